//! A network that a simulation provides, in place of sockets, and SQLite's clock.
//!
//! Behind the feature `simulation`, with which no program is shipped. Where a thread was given none, calls go over
//! the real one; where no time was set, SQLite has the system's.

use std::cell::RefCell;
use std::io::{self, Cursor, Read};

use colsync_shared::simulation::now;
use diesel::{QueryResult, SqliteConnection};
use ureq::http::{Request, Response};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::{Body, Error, SendBody};

/// Answers a call, or fails as a network does.
pub type Network = Box<dyn FnMut(Request<Vec<u8>>) -> io::Result<Response<Arrived>>>;

/// What arrives of an answer's body.
pub struct Arrived {
    /// The bytes that do.
    pub bytes: Vec<u8>,
    /// Whether the connection is cut after them.
    pub cut: bool,
}

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// Has all calls of this thread answered by `network`.
pub fn set_network(network: Network) {
    NETWORK.set(Some(network));
}

/// A connection that was cut.
struct Cut;

impl Read for Cut {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

mod sql {
    #[diesel::declare_sql_function]
    extern "SQL" {
        /// The Julian day of now.
        fn julianday() -> Double;
    }

    pub(super) use julianday_utils::register_nondeterministic_impl as julianday_as;
}

/// The milliseconds of the Julian calendar before 1970.
const JULIAN_MS: i64 = 210_866_760_000_000;

/// Has SQLite ask `clock` for the time, in µs since 1970, wherever a client's triggers want it on this connection.
///
/// # Errors
/// SQLite's.
pub fn set_clock(
    conn: &mut SqliteConnection,
    mut clock: impl FnMut() -> i64 + Send + std::panic::UnwindSafe + 'static,
) -> QueryResult<()> {
    sql::julianday_as(conn, move || {
        (clock() / 1000 + JULIAN_MS) as f64 / 86_400_000.0
    })
}

/// Has SQLite read the time that was set, if any was.
pub(crate) fn read_set_time(conn: &mut SqliteConnection) -> QueryResult<()> {
    if now().is_none() {
        return Ok(());
    }
    set_clock(conn, || now().map_or(0, |set| set.micros()))
}

/// Asks this thread's network, if it has one.
pub(crate) struct Instead;

impl Middleware for Instead {
    fn handle(
        &self,
        request: Request<SendBody<'_>>,
        next: MiddlewareNext<'_>,
    ) -> Result<Response<Body>, Error> {
        NETWORK.with_borrow_mut(|network| match network {
            None => next.handle(request),
            Some(network) => {
                let (head, body) = request.into_parts();
                let mut bytes = Vec::new();
                body.into_reader().read_to_end(&mut bytes)?;
                let answer = network(Request::from_parts(head, bytes))?;
                Ok(answer.map(|Arrived { bytes, cut }| {
                    if cut {
                        Body::builder().reader(Cursor::new(bytes).chain(Cut))
                    } else {
                        Body::builder().data(bytes)
                    }
                }))
            }
        })
    }
}
