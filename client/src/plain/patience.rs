//! How long an API asks to be left alone, and whether a sync waits so long.
//!
//! Pure. Must not wait.

use std::time::Duration;

use chrono::DateTime;
use colsync_shared::Time;

/// A sync waits no longer than this before it asks again.
const LONGEST: Duration = Duration::from_secs(30);

/// How often a call is made before it counts as refused.
const MOST_CALLS: u32 = 5;

/// How long to wait before the call that was answered 429 or 503 is made again; `None` if it is not worth it. `told` is
/// `Retry-After`: seconds, or a time; `calls` is how often the call was made.
pub(super) fn pause(status: u16, told: Option<&str>, now: Time, calls: u32) -> Option<Duration> {
    let pause = match (status, told) {
        (429 | 503, Some(told)) => wanted(told.trim(), now)?,
        // A server that is down does not say for how long.
        (429, None) => Duration::from_secs(1 << calls.saturating_sub(1).min(8)),
        _ => return None,
    };
    (calls < MOST_CALLS && pause <= LONGEST).then_some(pause)
}

fn wanted(told: &str, now: Time) -> Option<Duration> {
    if let Ok(seconds) = told.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(told).ok()?;
    let micros = Time::from(until.to_utc()).since(now);
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_waited_for_if_that_is_not_long_nor_often() {
        let now: Time = "2026-11-22T10:00:00Z".parse().unwrap();
        let check = |status, told, calls, seconds: Option<u64>| {
            let pause = pause(status, told, now, calls);
            assert_eq!(
                pause,
                seconds.map(Duration::from_secs),
                "{status} {told:?} {calls}"
            );
        };
        check(429, Some("7"), 1, Some(7));
        check(429, Some(" 30"), 4, Some(30));
        check(429, Some("31"), 1, None);
        check(429, Some("7"), 5, None);
        check(429, Some("soon"), 1, None);
        check(429, Some("Sun, 22 Nov 2026 10:00:20 GMT"), 1, Some(20));
        check(429, Some("Sun, 22 Nov 2026 09:00:00 GMT"), 1, Some(0));
        check(429, Some("Sun, 22 Nov 2026 11:00:00 GMT"), 1, None);
        check(503, Some("7"), 1, Some(7));
        check(503, None, 1, None);
        check(500, Some("7"), 1, None);
        for (calls, seconds) in [
            (1, Some(1)),
            (2, Some(2)),
            (3, Some(4)),
            (4, Some(8)),
            (5, None),
        ] {
            check(429, None, calls, seconds);
        }
    }
}
