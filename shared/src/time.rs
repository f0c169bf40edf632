//! A point in time, in whole microseconds since 1970-01-01 UTC.
//!
//! Never reads a clock: where the time comes from is the caller's business.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since the Unix epoch. On the wire: RFC 3339 in UTC with six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// A text that is no RFC 3339 time between the years 1 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time with an offset, such as 2026-11-22T10:00:00.120000Z")]
pub struct TimeError;

/// 9999-12-31T23:59:59.999999Z, the last time that RFC 3339 can write.
const LAST: i64 = 253_402_300_799_999_999;
/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800_000_000;

impl Time {
    /// The time `micros` µs after the epoch, held inside the years 1 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Time(micros.clamp(FIRST, LAST))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// This time moved by `micros` µs.
    #[must_use]
    pub fn shifted(self, micros: i64) -> Self {
        Time::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to `self`; negative if `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same time as chrono's type, for formats other than the wire's.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(at: DateTime<Utc>) -> Self {
        Time::from_micros(at.timestamp_micros())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at = DateTime::parse_from_rfc3339(text)
            .map_err(|_refused| TimeError)?
            .to_utc();
        let leap_second = at.timestamp_subsec_nanos() >= 1_000_000_000;
        if leap_second || !(1..=9999).contains(&at.year()) {
            return Err(TimeError);
        }
        Ok(Time::from(at))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_six_decimals() {
        let at: Time = "2026-11-22T12:00:00.12+02:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-22T10:00:00.120000Z");
    }

    #[test]
    fn times_that_the_wire_cannot_write_are_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "0000-01-01T00:00:00Z",
            "2026-06-30T23:59:60Z",
        ] {
            assert_eq!(text.parse::<Time>(), Err(TimeError), "{text}");
        }
    }
}
