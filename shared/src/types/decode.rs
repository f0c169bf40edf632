//! From the wire's JSON to a canonical value, type by type.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::BigDecimal;
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{ColumnType, ValueError, canonical, document};
use crate::{Time, Value};

/// PostgreSQL's numeric holds this many digits before and after the point.
const DECIMAL_DIGITS_BEFORE: i64 = 131_072;
const DECIMAL_DIGITS_AFTER: i64 = 16_383;
/// The most characters of a decimal, written out.
const DECIMAL_LENGTH: usize = 131_072 + 16_383 + document::EXPONENT;

const BOOL: &str = "expected true or false";
const DECIMAL: &str = "expected a decimal number in a string";
const UUID: &str = "expected a UUID";
const DATE: &str = "expected a date such as 2026-11-22";
const TIME: &str = "expected a time of day such as 10:00:00";
const DATETIME: &str = "expected a date and time without a zone, such as 2026-11-22T10:00:00";
const BYTES: &str = "expected bytes in base64";

pub(super) fn value(ty: &ColumnType, json: &Json) -> Result<Value, ValueError> {
    let expected = |what: &str| Err(ValueError::new(what));
    match (ty, json) {
        (_, Json::Null) => Ok(Value::Null),
        (ty, Json::String(sent)) => text(ty, sent),
        (ColumnType::Bool, Json::Bool(b)) => Ok(Value::Bool(*b)),
        (ColumnType::Bool, _) => expected(BOOL),
        (ColumnType::Int { bits }, other) => integer(*bits, other.as_i64()),
        (ColumnType::Real { bits }, other) => real(*bits, other.as_f64()),
        (ColumnType::Decimal { precision, scale }, Json::Number(n)) => {
            decimal(*precision, *scale, &n.to_string())
        }
        (ColumnType::Decimal { .. }, _) => expected(DECIMAL),
        (ColumnType::Text { .. }, _) => expected("expected a string"),
        (ColumnType::Uuid, _) => expected(UUID),
        (ColumnType::Date, _) => expected(DATE),
        (ColumnType::Time, _) => expected(TIME),
        (ColumnType::DateTime, _) => expected(DATETIME),
        (ColumnType::Timestamp, _) => expected("expected an RFC 3339 time"),
        (ColumnType::Bytes, _) => expected(BYTES),
        (ColumnType::Enum { .. }, _) => expected("expected one of the enum's labels"),
        (ColumnType::Json, other) => document::document(other).map(Value::Json),
        (ColumnType::Array(of), other) => document::array(of, other).map(Value::Json),
    }
}

/// The value that a JSON string stands for.
pub(super) fn text(ty: &ColumnType, text: &str) -> Result<Value, ValueError> {
    match ty {
        ColumnType::Bool => Err(ValueError::new(BOOL)),
        ColumnType::Int { bits } => integer(*bits, text.parse().ok()),
        ColumnType::Real { bits } => real(*bits, None),
        ColumnType::Decimal { precision, scale } => decimal(*precision, *scale, text),
        ColumnType::Text { max_length } => {
            no_nul(text)?;
            match max_length {
                Some(max) if text.chars().count() > *max as usize => {
                    Err(ValueError::new(format!("longer than {max} characters")))
                }
                _ => Ok(Value::Text(text.to_owned())),
            }
        }
        ColumnType::Uuid => {
            let uuid = Uuid::parse_str(text).map_err(|_refused| ValueError::new(UUID))?;
            let canonical = &mut Uuid::encode_buffer();
            Ok(Value::Text(
                uuid.hyphenated().encode_lower(canonical).to_owned(),
            ))
        }
        ColumnType::Date => date(text),
        ColumnType::Time => time(text),
        ColumnType::DateTime => datetime(text),
        ColumnType::Timestamp => timestamp(text),
        ColumnType::Bytes => {
            let bytes = BASE64.decode(text);
            bytes
                .map(Value::Bytes)
                .map_err(|_refused| ValueError::new(BYTES))
        }
        ColumnType::Json => {
            no_nul(text)?;
            Ok(Value::Json(Json::String(text.to_owned())))
        }
        ColumnType::Enum { labels } => {
            no_nul(text)?;
            if labels.iter().any(|label| label == text) {
                Ok(Value::Text(text.to_owned()))
            } else {
                let labels = labels.join(", ");
                Err(ValueError::new(format!("expected one of {labels}")))
            }
        }
        ColumnType::Array(_) => Err(ValueError::new("expected an array")),
    }
}

pub(super) fn no_nul(text: &str) -> Result<(), ValueError> {
    if text.contains('\0') {
        Err(ValueError::new("text may not contain NUL"))
    } else {
        Ok(())
    }
}

pub(super) fn integer(bits: u8, sent: Option<i64>) -> Result<Value, ValueError> {
    let n = sent.ok_or_else(|| ValueError::new("expected an integer of at most 64 bits"))?;
    let bound = i64::MAX >> (64 - u32::from(bits));
    if (-bound - 1..=bound).contains(&n) {
        Ok(Value::Int(n))
    } else {
        Err(ValueError::new(format!(
            "out of range for an integer of {bits} bits"
        )))
    }
}

pub(super) fn real(bits: u8, sent: Option<f64>) -> Result<Value, ValueError> {
    let x = sent.ok_or_else(|| ValueError::new("expected a number"))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a 32-bit column stores the nearest f32"
    )]
    let stored = if bits == 32 { f64::from(x as f32) } else { x };
    if stored.is_finite() {
        Ok(Value::Real(stored))
    } else {
        Err(ValueError::new("out of range for a real"))
    }
}

fn decimal(precision: Option<u32>, scale: Option<u32>, digits: &str) -> Result<Value, ValueError> {
    let expected = || ValueError::new(DECIMAL);
    let plain = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if !plain {
        return Err(expected());
    }
    if document::written_out(digits).is_none_or(|length| length > DECIMAL_LENGTH) {
        return Err(ValueError::new("out of range for a decimal"));
    }
    let number = BigDecimal::from_str(digits).map_err(|_refused| expected())?;
    let (_, exponent) = number.as_bigint_and_exponent();
    if !(-DECIMAL_DIGITS_BEFORE..=DECIMAL_DIGITS_AFTER).contains(&exponent) {
        return Err(ValueError::new("out of range for a decimal"));
    }
    let number = number.normalized();
    let after = number.fractional_digit_count().max(0);
    if scale.is_some_and(|scale| after > i64::from(scale)) {
        return Err(ValueError::new(format!(
            "more than {} digits after the point",
            scale.unwrap_or(0)
        )));
    }
    let before = i64::try_from(number.digits())
        .unwrap_or(i64::MAX)
        .saturating_sub(number.fractional_digit_count());
    let room = precision.map_or(DECIMAL_DIGITS_BEFORE, |p| {
        i64::from(p) - i64::from(scale.unwrap_or(0))
    });
    if before > room && number != 0 {
        return Err(ValueError::new(format!(
            "more than {room} digits before the point"
        )));
    }
    Ok(Value::Decimal(number))
}

fn date(text: &str) -> Result<Value, ValueError> {
    if canonical::is_date(text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let date =
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_refused| ValueError::new(DATE))?;
    in_years(date)?;
    Ok(Value::Text(date.format("%Y-%m-%d").to_string()))
}

fn time(text: &str) -> Result<Value, ValueError> {
    no_nul(text)?;
    let time =
        NaiveTime::parse_from_str(text, "%H:%M:%S%.f").map_err(|_refused| ValueError::new(TIME))?;
    micros_only(time)?;
    Ok(Value::Text(time.format("%H:%M:%S%.6f").to_string()))
}

fn datetime(text: &str) -> Result<Value, ValueError> {
    if let Some(canonical) = canonical::datetime(text) {
        return Ok(Value::Text(canonical));
    }
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_no_t| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .map_err(|_refused| ValueError::new(DATETIME))?;
    in_years(at.date())?;
    micros_only(at.time())?;
    Ok(Value::Text(at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()))
}

fn timestamp(text: &str) -> Result<Value, ValueError> {
    no_nul(text)?;
    if canonical::is_timestamp(text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let time = Time::from_str(text).map_err(|refused| ValueError::new(refused.to_string()))?;
    Ok(Value::Text(time.to_string()))
}

fn in_years(date: NaiveDate) -> Result<(), ValueError> {
    if (1..=9999).contains(&date.year()) {
        Ok(())
    } else {
        Err(ValueError::new("the year must be from 1 to 9999"))
    }
}

/// Leap seconds and anything finer than a microsecond would not come back as they were sent.
fn micros_only(time: NaiveTime) -> Result<(), ValueError> {
    let nanos = time.nanosecond();
    if nanos >= 1_000_000_000 || !nanos.is_multiple_of(1_000) {
        return Err(ValueError::new(
            "finer than a microsecond, or a leap second",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(ty: &ColumnType, sent: Json, expect: Option<Json>) {
        let decoded = ty.decode(&sent).ok().map(|value| ty.encode(&value));
        assert_eq!(decoded, expect, "{ty:?} of {sent}");
    }

    #[test]
    fn integers_are_exact_to_64_bits_and_bounded_by_their_column() {
        let bits = |bits| ColumnType::Int { bits };
        check(
            &bits(64),
            json!(9_007_199_254_740_991_i64),
            Some(json!(9_007_199_254_740_991_i64)),
        );
        check(
            &bits(64),
            json!("9223372036854775807"),
            Some(json!("9223372036854775807")),
        );
        check(
            &bits(64),
            json!(-9_223_372_036_854_775_808_i64),
            Some(json!("-9223372036854775808")),
        );
        check(&bits(64), json!("9223372036854775808"), None);
        check(&bits(16), json!(32767), Some(json!(32767)));
        check(&bits(16), json!(32768), None);
        check(&bits(32), json!(-2_147_483_649_i64), None);
        check(&bits(64), json!(1.5), None);
        check(&bits(64), json!("abc"), None);
    }

    #[test]
    fn decimals_keep_every_digit_and_refuse_what_the_column_would_round() {
        let money = ColumnType::Decimal {
            precision: Some(10),
            scale: Some(2),
        };
        check(&money, json!("0.99"), Some(json!("0.99")));
        check(&money, json!(1.5), Some(json!("1.50")));
        check(&money, json!("1.500"), Some(json!("1.50")));
        check(&money, json!("0.999"), None);
        check(&money, json!("99999999.99"), Some(json!("99999999.99")));
        check(&money, json!("100000000"), None);
        check(&money, json!("NaN"), None);
        check(&money, json!("1e3"), Some(json!("1000.00")));
        let any = ColumnType::Decimal {
            precision: None,
            scale: None,
        };
        check(&any, json!("1e999999999"), None);
        check(
            &any,
            json!("0.12345678901234567890123456789"),
            Some(json!("0.12345678901234567890123456789")),
        );
        assert_eq!(any.decode(&json!("1.5")), any.decode(&json!("1.50")));
        check(&any, json!(format!("1e{}", i64::MAX)), None);
        check(&any, json!("1e-9000000000000000000"), None);
        check(&any, json!("1".repeat(16 << 20)), None);
        let most = "9".repeat(131_072);
        check(&any, json!(most), Some(json!(most)));
    }

    #[test]
    fn text_without_nul_up_to_its_length() {
        check(
            &ColumnType::Text {
                max_length: Some(3),
            },
            json!("äöü"),
            Some(json!("äöü")),
        );
        check(
            &ColumnType::Text {
                max_length: Some(3),
            },
            json!("four"),
            None,
        );
        check(&ColumnType::Text { max_length: None }, json!("a\0b"), None);
        check(&ColumnType::Text { max_length: None }, json!(5), None);
    }

    #[test]
    fn times_are_canonical_so_that_equal_times_are_equal_text() {
        check(
            &ColumnType::Timestamp,
            json!("2026-11-22T12:00:00+02:00"),
            Some(json!("2026-11-22T10:00:00.000000Z")),
        );
        check(&ColumnType::Timestamp, json!("2026-11-22T12:00:00"), None);
        check(
            &ColumnType::DateTime,
            json!("2009-01-01 00:00:00"),
            Some(json!("2009-01-01T00:00:00.000000")),
        );
        check(
            &ColumnType::DateTime,
            json!("2009-01-01T00:00:00.1234567"),
            None,
        );
        check(&ColumnType::Date, json!("2024-02-30"), None);
        check(
            &ColumnType::Date,
            json!("2024-02-29"),
            Some(json!("2024-02-29")),
        );
        check(&ColumnType::Time, json!("23:59:60"), None);
    }

    #[test]
    fn reals_are_finite_and_a_short_real_reads_as_it_was_written() {
        check(&ColumnType::Real { bits: 32 }, json!(0.1), Some(json!(0.1)));
        check(&ColumnType::Real { bits: 32 }, json!(1e39), None);
        check(
            &ColumnType::Real { bits: 64 },
            serde_json::from_str("1e400").unwrap(),
            None,
        );
        check(&ColumnType::Real { bits: 64 }, json!("NaN"), None);
    }
}
