//! Where time enters the program: the one place of it that reads the clock.

use colsync_shared::Time;

/// The time now, in whole microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the program that reads the clock"
)]
pub(super) fn now() -> Time {
    Time::from(chrono::Utc::now())
}
