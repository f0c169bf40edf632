//! SQLite's clock as the simulation sets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use colsync_client::simulation::set_clock;
use diesel::SqliteConnection;

/// A clock, in µs since 1970.
pub(super) type Clock = Arc<AtomicI64>;

/// What a clock says.
pub(super) fn now(clock: &Clock) -> i64 {
    clock.load(Ordering::SeqCst)
}

mod sql {
    use diesel::sql_types::Text;

    #[diesel::declare_sql_function]
    extern "SQL" {
        /// Now, in a format; of those that colsync's triggers ask for.
        fn strftime(format: Text, modifier: Text) -> Text;
    }

    pub(super) use strftime_utils::register_nondeterministic_impl as strftime_as;
}

/// Has SQLite read `clock` on this connection, wherever colsync's triggers ask for the time.
pub(super) fn read_by(conn: &mut SqliteConnection, clock: &Clock) {
    let julian = clock.clone();
    set_clock(conn, move || now(&julian)).unwrap();
    let text = clock.clone();
    sql::strftime_as(conn, move |format: String, _now: String| {
        let ms = now(&text) / 1000;
        match format.as_str() {
            "%s" => (ms / 1000).to_string(),
            "%f" => format!("{:02}.{:03}", ms / 1000 % 60, ms % 1000),
            other => panic!("strftime({other})"),
        }
    })
    .unwrap();
}
