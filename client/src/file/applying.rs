//! How the capture triggers look away while the server's rows are applied.
//!
//! They ask SQLite for its version. It tells everyone; only colsync's own connection has no answer while it applies.
//! So the triggers are plain SQL, no other connection can be meant, and no sign that was left behind in the file
//! can silence them. A table with a row as the sign would have to be opened for each line: the triggers would
//! then cost the app up to a fifth more, and a pull half as much again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::{QueryResult, RunQueryDsl as _, SqliteConnection};

/// The condition that what is written is the app's. It is true in every connection that is not ours.
pub(crate) const IS_THE_APPS: &str = "sqlite_version() IS NOT NULL";

#[diesel::declare_sql_function]
extern "SQL" {
    /// SQLite's version; NULL while rows are applied.
    fn sqlite_version() -> Nullable<Text>;
}

/// Whether a connection applies the server's rows.
pub(super) struct Applying(Arc<AtomicBool>);

/// The triggers look away for as long as it lives.
pub(super) struct LookingAway(Arc<AtomicBool>);

impl Applying {
    /// Teaches the connection to keep its version to itself. It does not apply anything yet.
    pub(super) fn of(conn: &mut SqliteConnection) -> QueryResult<Applying> {
        let version: Option<String> = diesel::select(sqlite_version()).get_result(conn)?;
        let applying = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&applying);
        sqlite_version_utils::register_nondeterministic_impl(conn, move || {
            version.clone().filter(|_| !now.load(Ordering::Relaxed))
        })?;
        Ok(Applying(applying))
    }

    pub(super) fn begin(&self) -> LookingAway {
        self.0.store(true, Ordering::Relaxed);
        LookingAway(Arc::clone(&self.0))
    }
}

impl Drop for LookingAway {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
