//! A point in time, in whole microseconds since 1970-01-01 UTC.
//!
//! Never reads a clock: where the time comes from is the caller's business.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};
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
        // Every time is between the years 1 and 9999.
        f.write_str(&civil(self.0).unwrap_or_default())?;
        f.write_str("Z")
    }
}

/// The date and time of day `micros` µs after 1970 began, such as `2026-11-22T10:00:00.120000`; `None` outside the
/// years 1 to 9999.
#[must_use]
pub fn civil(micros: i64) -> Option<String> {
    const DAY: i64 = 86_400_000_000;
    if !(FIRST..=LAST).contains(&micros) {
        return None;
    }
    let (year, month, day) = date(micros.div_euclid(DAY));
    let micros = micros.rem_euclid(DAY);
    let seconds = micros / 1_000_000;
    let mut text = String::with_capacity("2026-11-22T10:00:00.120000Z".len());
    let parts = [
        ("", year, 1000),
        ("-", month, 10),
        ("-", day, 10),
        ("T", seconds / 3600, 10),
        (":", seconds / 60 % 60, 10),
        (":", seconds % 60, 10),
        (".", micros % 1_000_000, 100_000),
    ];
    for (before, number, highest) in parts {
        text.push_str(before);
        let mut place = highest;
        while place > 0 {
            let digit = u8::try_from(number / place % 10).unwrap_or(0);
            text.push(char::from(b'0' + digit));
            place /= 10;
        }
    }
    Some(text)
}

/// Year, month and day of the date `days` days after 1970 began, in the Gregorian calendar as if it had always
/// been. After `civil_from_days` of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400
/// years, and years that begin in March, so that a leap day is the last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 {
        march_based + 3
    } else {
        march_based - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
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
    use chrono::SecondsFormat;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_six_decimals() {
        let at: Time = "2026-11-22T12:00:00.12+02:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-22T10:00:00.120000Z");
    }

    #[test]
    fn every_day_is_written_as_the_calendar_has_it() {
        let odd = 86_400_000_000 + 3_723_000_417;
        let mut micros = FIRST;
        while micros <= LAST {
            let time = Time(micros);
            let expect = time.to_utc().to_rfc3339_opts(SecondsFormat::Micros, true);
            assert_eq!(time.to_string(), expect);
            micros += odd;
        }
        assert_eq!(Time(FIRST).to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(Time(LAST).to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!((civil(FIRST - 1), civil(LAST + 1)), (None, None));
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
