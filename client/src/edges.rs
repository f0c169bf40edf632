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
pub(crate) fn client_id() -> ClientId {
    ClientId(random())
}

/// The least and the greatest of what [`first_local_id`] gives.
pub(crate) const FIRST_LOCAL_IDS: (i64, i64) = (-(1 << 24) - (1 << 30), -(1 << 24));

/// Where the numbers begin, downwards, that a file calls rows by for want of the server's. Each file draws its own, so
/// that no two call different rows by one; it fits into 32 bits, as a server's column may have.
pub(crate) fn first_local_id() -> i64 {
    let (high, _) = random().as_u64_pair();
    FIRST_LOCAL_IDS.1 - i64::try_from(high >> 34).unwrap_or(0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes random ids"
)]
fn random() -> Uuid {
    #[cfg(feature = "simulation")]
    if let Some(made) = colsync_shared::simulation::uuid4() {
        return made;
    }
    Uuid::new_v4()
}

/// A time between half of `longest` and `longest`, so that clients that failed together do not come back
/// together.
pub(crate) fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
