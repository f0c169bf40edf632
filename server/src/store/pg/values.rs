//! Values in PostgreSQL: what is read in binary and what as text, and everything written as text with a
//! cast. Stored values that no client could send (infinities, years beyond 9999) are read as their text.

use std::fmt::Write as _;
use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime};
use colsync_shared::time::civil;
use colsync_shared::{ColumnType, Time, Value};
use serde_json::Value as Json;

use crate::store::error::StoreError;
use crate::store::statement::Cell;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// How to select the column `name`, so that [`read`] understands the cell.
pub(crate) fn read_expression(name: &str, ty: &ColumnType) -> String {
    match ty {
        ColumnType::Decimal { .. } | ColumnType::Enum { .. } => format!("{name}::text"),
        ColumnType::Array(_) => format!("array_to_json({name}::text[])::text"),
        ColumnType::Bool
        | ColumnType::Int { .. }
        | ColumnType::Real { .. }
        | ColumnType::Text { .. }
        | ColumnType::Uuid
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::Bytes
        | ColumnType::Json => name.to_owned(),
    }
}

/// The value in a cell that was selected by [`read_expression`].
pub(crate) fn read(ty: &ColumnType, cell: Cell) -> Result<Value, StoreError> {
    Ok(match (ty, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Bool(b)) => Value::Bool(b),
        (_, Cell::Real(x)) => Value::Real(x),
        (_, Cell::Bytes(bytes)) => Value::Bytes(bytes),
        (
            ColumnType::Date | ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp,
            Cell::Int(i64::MAX),
        ) => Value::Text("infinity".to_owned()),
        (
            ColumnType::Date | ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp,
            Cell::Int(i64::MIN),
        ) => Value::Text("-infinity".to_owned()),
        (ColumnType::Date, Cell::Int(days)) => Value::Text(date(days)),
        // PostgreSQL's end of the day, which is not its beginning.
        (ColumnType::Time, Cell::Int(DAY)) => Value::Text("24:00:00.000000".to_owned()),
        (ColumnType::Time, Cell::Int(micros)) => {
            let time = NaiveTime::MIN + Duration::microseconds(micros);
            Value::Text(time.format("%H:%M:%S%.6f").to_string())
        }
        (ColumnType::DateTime, Cell::Int(micros)) => Value::Text(instant(micros, "")),
        (ColumnType::Timestamp, Cell::Int(micros)) => Value::Text(instant(micros, "Z")),
        (_, Cell::Int(n)) => Value::Int(n),
        (ColumnType::Array(of), Cell::Text(text)) => {
            Value::Json(array_from_json(of, &json(&text)?))
        }
        (ty, Cell::Text(text)) => from_text(ty, text),
    })
}

fn date(days: i64) -> String {
    let date =
        Duration::try_days(days).and_then(|days| NaiveDate::default().checked_add_signed(days));
    date.map_or_else(
        || days.to_string(),
        |date| date.format("%Y-%m-%d").to_string(),
    )
}

/// A date and time with `zone` after it.
fn instant(micros: i64, zone: &str) -> String {
    match (civil(micros), DateTime::from_timestamp_micros(micros)) {
        (Some(civil), _) => civil + zone,
        (None, Some(at)) => format!("{}{zone}", at.format("%Y-%m-%dT%H:%M:%S%.6f")),
        (None, None) => micros.to_string(),
    }
}

fn json(text: &str) -> Result<Json, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("a stored document: {e}")))
}

/// A value from its text form, as elements of arrays come.
fn from_text(ty: &ColumnType, text: String) -> Value {
    let parsed = match ty {
        ColumnType::Bool => match text.as_str() {
            "true" | "t" => Some(Value::Bool(true)),
            "false" | "f" => Some(Value::Bool(false)),
            _ => None,
        },
        ColumnType::Int { .. } => text.parse().ok().map(Value::Int),
        ColumnType::Real { .. } => text.parse().ok().map(Value::Real),
        ColumnType::Decimal { .. } => BigDecimal::from_str(&text).ok().map(Value::Decimal),
        ColumnType::Timestamp => {
            let iso = text.replacen(' ', "T", 1) + if text.ends_with("+00") { ":00" } else { "" };
            Time::from_str(&iso)
                .ok()
                .map(|time| Value::Text(time.to_string()))
        }
        ColumnType::Date | ColumnType::Time | ColumnType::DateTime => {
            ty.decode(&Json::String(text.clone())).ok()
        }
        ColumnType::Bytes => text.strip_prefix("\\x").and_then(unhex).map(Value::Bytes),
        ColumnType::Json => serde_json::from_str(&text).ok().map(Value::Json),
        ColumnType::Text { .. }
        | ColumnType::Uuid
        | ColumnType::Enum { .. }
        | ColumnType::Array(_) => None,
    };
    parsed.unwrap_or(Value::Text(text))
}

fn array_from_json(of: &ColumnType, json: &Json) -> Json {
    match json {
        Json::Array(items) => {
            Json::Array(items.iter().map(|item| array_from_json(of, item)).collect())
        }
        Json::String(text) => of.encode(&from_text(of, text.clone())),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => json.clone(),
    }
}

/// The text that a cast turns into the value.
pub(crate) fn text(ty: &ColumnType, value: &Value) -> Option<String> {
    match (ty, value) {
        (_, Value::Null) => None,
        (_, Value::Bool(b)) => Some(b.to_string()),
        (_, Value::Int(n)) => Some(n.to_string()),
        (_, Value::Real(x)) => Some(format!("{x:?}")),
        (_, Value::Decimal(d)) => Some(d.to_plain_string()),
        (_, Value::Text(text)) => Some(text.clone()),
        (_, Value::Bytes(bytes)) => {
            let mut hex = String::with_capacity(2 + bytes.len() * 2);
            hex.push_str("\\x");
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            Some(hex)
        }
        (ColumnType::Array(of), Value::Json(json)) => Some(literal(of, json)),
        (_, Value::Json(json)) => Some(json.to_string()),
    }
}

/// An array's literal: `{"a","b",NULL}`.
fn literal(of: &ColumnType, json: &Json) -> String {
    let Json::Array(items) = json else {
        return "{}".to_owned();
    };
    let items = items.iter().map(|item| match item {
        Json::Null => "NULL".to_owned(),
        Json::Array(_) if *of != ColumnType::Json => literal(of, item),
        item => {
            let value = of
                .decode(item)
                .unwrap_or_else(|_kept| Value::Text(item.to_string()));
            let text = text(of, &value).unwrap_or_default();
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    });
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits?;
    let bytes = pairs.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_array_is_written_with_every_element_quoted() {
        let of = ColumnType::Array(Box::new(ColumnType::Text { max_length: None }));
        let value = Value::Json(json!(["a,b", "q\"\\", null, "NULL"]));
        assert_eq!(text(&of, &value).unwrap(), r#"{"a,b","q\"\\",NULL,"NULL"}"#);
    }

    #[test]
    fn binary_dates_and_times_become_the_wires_text() {
        assert_eq!(
            read(&ColumnType::Date, Cell::Int(20_779)).unwrap(),
            Value::Text("2026-11-22".to_owned())
        );
        assert_eq!(
            read(&ColumnType::Timestamp, Cell::Int(0)).unwrap(),
            Value::Text("1970-01-01T00:00:00.000000Z".to_owned())
        );
        assert_eq!(
            read(&ColumnType::Timestamp, Cell::Int(i64::MAX)).unwrap(),
            Value::Text("infinity".to_owned())
        );
    }
}
