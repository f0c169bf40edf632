//! Times for the stories: one instant a process, and everything else relative to it.

use std::sync::OnceLock;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

static START: OnceLock<DateTime<Utc>> = OnceLock::new();

fn start() -> DateTime<Utc> {
    *START.get_or_init(Utc::now)
}

/// The time `seconds` before this process first asked, as the wire writes it. The same number gives the
/// same text all the while.
#[must_use]
pub fn ago(seconds: i64) -> String {
    write(start() - TimeDelta::seconds(seconds))
}

/// What a clock that is `skew` seconds ahead of the right time shows now.
#[must_use]
pub fn now_with(skew: i64) -> String {
    write(Utc::now() + TimeDelta::seconds(skew))
}

/// The time that `text`, RFC 3339, stands for.
#[must_use]
#[track_caller]
pub fn time(text: &str) -> DateTime<Utc> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed
        .unwrap_or_else(|refused| panic!("{text}: {refused}"))
        .to_utc()
}

fn write(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
