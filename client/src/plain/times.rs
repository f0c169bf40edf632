//! Times as APIs write them: texts of RFC 3339, or numbers of seconds, ms or µs since 1970.
//!
//! Pure.

use colsync_shared::Time;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// How an API writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// A text (RFC 3339).
    Rfc3339,
    /// Seconds since 1970.
    S,
    /// Milliseconds since 1970.
    Ms,
    /// Microseconds since 1970.
    Us,
}

impl Form {
    /// The one of a time that the API told, by its size if it is a number.
    pub(super) fn of(told: &Json) -> Option<Form> {
        match told {
            Json::String(_) => Some(Form::Rfc3339),
            Json::Number(n) => Some(match n.as_i64()? {
                ..100_000_000_000 => Form::S,
                100_000_000_000..100_000_000_000_000 => Form::Ms,
                100_000_000_000_000.. => Form::Us,
            }),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// A microsecond's worth of it.
    fn micros(self) -> i64 {
        match self {
            Form::S => 1_000_000,
            Form::Ms => 1_000,
            Form::Us | Form::Rfc3339 => 1,
        }
    }

    /// The next time that can be told from one, µs. Many an API keeps texts by the millisecond.
    fn step(self) -> i64 {
        match self {
            Form::Rfc3339 => 1_000,
            Form::S | Form::Ms | Form::Us => self.micros(),
        }
    }

    /// A time in this form.
    pub(super) fn write(self, time: Time) -> Json {
        match self {
            Form::Rfc3339 => json!(time.to_string()),
            Form::S | Form::Ms | Form::Us => json!(time.micros().div_euclid(self.micros())),
        }
    }
}

/// How a writer tells the time of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling {
    pub(super) form: Form,
    /// The one that the row has.
    pub(super) before: Option<Time>,
    pub(super) now: Time,
}

impl Telling {
    /// What is told of a change at `time`. Whoever asks for the changes since the time that the row has would not hear of an
    /// earlier one.
    pub(super) fn write(self, time: Time) -> Json {
        let next = self.before.map(|before| before.shifted(self.form.step()));
        let next = next.map(|next| next.min(self.now));
        self.form.write(next.map_or(time, |next| next.max(time)))
    }
}

/// A time that the API told, if it is one.
pub(super) fn read(told: &Json) -> Option<Time> {
    match told {
        Json::String(text) => text.parse().ok(),
        told => {
            let form = Form::of(told)?;
            Some(Time::from_micros(
                told.as_i64()?.saturating_mul(form.micros()),
            ))
        }
    }
}

/// The later of two that the API told; where it cannot be known which that is, the first.
pub(super) fn later(a: Option<Json>, b: Option<Json>) -> Option<Json> {
    match (a, b) {
        (Some(a), Some(b)) if is_later(&b, &a) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// Whether `a` tells a later time than `b`.
fn is_later(a: &Json, b: &Json) -> bool {
    match (read(a), read(b), a, b) {
        (Some(a), Some(b), _, _) => a > b,
        (_, _, Json::String(a), Json::String(b)) => a > b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_size_and_written_as_they_are_told() {
        let at: Time = "2026-11-22T10:00:00Z".parse().unwrap();
        for told in [
            json!("2026-11-22T11:00:00+01:00"),
            json!(1_795_341_600),
            json!(1_795_341_600_000_i64),
            json!(1_795_341_600_000_000_i64),
        ] {
            assert_eq!(read(&told), Some(at), "{told}");
            let written = Form::of(&told).unwrap().write(at);
            assert_eq!(written.is_number(), told.is_number());
            assert_eq!(read(&written), Some(at), "{told}");
        }
        assert_eq!(read(&json!("yesterday")), None);
        assert!(is_later(&json!(2), &json!(1)));
    }

    #[test]
    fn a_time_that_is_told_does_not_go_back_nor_into_the_future() {
        let at = Time::from_micros;
        let check = |form, before, time, expected: Json| {
            let (before, now) = (Some(at(before)), at(9_000_000));
            let telling = Telling { form, before, now };
            assert_eq!(telling.write(at(time)), expected);
        };
        check(Form::Us, 5, 9, json!(9));
        check(Form::Us, 9, 5, json!(10));
        check(Form::Ms, 5_000, 1_000, json!(6));
        check(Form::S, 8_000_000, 1_000_000, json!(9));
        check(Form::S, 9_000_000, 1_000_000, json!(9));
        check(Form::Rfc3339, 0, 0, json!(at(1_000).to_string()));
    }
}
