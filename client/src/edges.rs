//! Where time and chance enter the client: the one place that reads the clock, makes random ids and rolls
//! dice.
//!
//! Everything behind it takes them as arguments; `clippy.toml` bans the calls elsewhere.

use std::time::Duration;

use colsync_shared::{ClientId, Time};
use uuid::Uuid;

/// The clock that a client tells the server, and notes its own doings by. What the app writes is timed by
/// the triggers, which ask SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    ahead_us: i64,
}

impl Clock {
    /// The system's clock, put forward by so many microseconds: to try what a wrong clock does.
    #[must_use]
    pub fn ahead_by(micros: i64) -> Clock {
        Clock { ahead_us: micros }
    }

    /// The time now, in whole microseconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    pub(crate) fn now(self) -> Time {
        #[cfg(feature = "simulation")]
        if let Some(set) = colsync_shared::simulation::now() {
            return set.shifted(self.ahead_us);
        }
        Time::from(chrono::Utc::now()).shifted(self.ahead_us)
    }
}

/// An identity for a new installation.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes random ids"
)]
pub(crate) fn client_id() -> ClientId {
    #[cfg(feature = "simulation")]
    if let Some(made) = colsync_shared::simulation::uuid4() {
        return ClientId(made);
    }
    ClientId(Uuid::new_v4())
}

/// A time between half of `longest` and `longest`, so that clients that failed together do not come back
/// together.
pub(crate) fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
