//! Where time and chance enter the client: the one place that reads the clock, makes random ids and rolls
//! dice.
//!
//! Everything behind it takes them as arguments; `clippy.toml` bans the calls elsewhere.

use std::time::Duration;

use colsync_shared::{ClientId, Time};
use uuid::Uuid;

/// The time now, in whole microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> Time {
    Time::from(chrono::Utc::now())
}

/// An identity for a new installation.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes random ids"
)]
pub(crate) fn client_id() -> ClientId {
    ClientId(Uuid::new_v4())
}

/// A time between half of `longest` and `longest`, so that clients that failed together do not come back
/// together.
pub(crate) fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
