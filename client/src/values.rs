//! Values between the app's file and the wire.
//!
//! What a value is, the server's column type says; how it lies in the file, the app's own declaration.

use colsync_shared::sqlite::{self, Stored, TooExact};
use colsync_shared::{ColumnType, Value};
use serde_json::{Number, Value as Json};
use uuid::Uuid;

use crate::table::bytes;

/// A stored value as it goes over the wire for a column of type `ty`.
pub(crate) fn to_wire(ty: &ColumnType, stored: Stored) -> Json {
    ty.encode(&sqlite::read(ty, stored))
}

/// A value from the wire as it is to be stored in a column that the app declared as `declared`. What is not
/// of the type comes from a database that holds it all the same, and is kept as it is.
pub(crate) fn from_wire(ty: &ColumnType, declared: &str, wire: &Json) -> Stored {
    match ty.decode(wire) {
        Ok(value) => to_store(ty, declared, value),
        Err(_not_of_the_type) => as_it_is(wire),
    }
}

/// As [`from_wire`], of JSON text.
pub(crate) fn from_raw(ty: &ColumnType, declared: &str, raw: &str) -> Stored {
    match ty.decode_raw(raw) {
        Ok(value) => to_store(ty, declared, value),
        Err(_not_of_the_type) => match serde_json::from_str(raw) {
            Ok(wire) => as_it_is(&wire),
            Err(_too_deep) => Stored::Text(raw.to_owned()),
        },
    }
}

/// A value as it is to be stored in a column that the app declared as `declared`.
pub(crate) fn to_store(ty: &ColumnType, declared: &str, value: Value) -> Stored {
    if let (ColumnType::Uuid, Value::Text(text)) = (ty, &value)
        && is_blob(declared)
        && let Ok(uuid) = Uuid::parse_str(text)
    {
        return Stored::Bytes(uuid.as_bytes().to_vec());
    }
    // More digits than a REAL keeps are text: exact, if the app's column is.
    sqlite::store(ty, value).unwrap_or_else(|TooExact(value)| as_it_is(&ty.encode(&value)))
}

/// The value as SQLite will give it back from a column declared as `declared`: the log names rows by what
/// is stored.
pub(crate) fn as_stored_in(declared: &str, value: Stored) -> Stored {
    let is_text = ["CHAR", "CLOB", "TEXT"]
        .iter()
        .any(|word| says(declared, word));
    let is_integer = says(declared, "INT");
    match value {
        Stored::Int(n) if is_text && !is_integer => Stored::Text(n.to_string()),
        Stored::Text(text) if !is_text && !is_blob(declared) => match text.parse::<i64>() {
            Ok(n) if n.to_string() == text => Stored::Int(n),
            _ => Stored::Text(text),
        },
        other => other,
    }
}

/// A stored value for people and programs where no server's type is known: bytes as an SQL literal.
pub(crate) fn plain(stored: &Stored) -> Json {
    match stored {
        Stored::Null => Json::Null,
        Stored::Int(n) => Json::from(*n),
        Stored::Real(x) => Number::from_f64(*x).map_or(Json::Null, Json::Number),
        Stored::Text(text) => Json::String(text.clone()),
        Stored::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Json::String(format!("x'{hex}'"))
        }
    }
}

/// The stored value of what [`plain`] made of one.
pub(crate) fn from_plain(declared: &str, json: &Json) -> Stored {
    match json {
        Json::Null => Stored::Null,
        Json::Bool(is_so) => Stored::Int(i64::from(*is_so)),
        Json::Number(number) => match number.as_i64() {
            Some(n) => Stored::Int(n),
            None => number.as_f64().map_or(Stored::Null, Stored::Real),
        },
        Json::String(text) => {
            let hex = text
                .strip_prefix("x'")
                .and_then(|rest| rest.strip_suffix('\''));
            let bytes = hex.filter(|_| is_blob(declared)).and_then(bytes);
            bytes.map_or_else(|| Stored::Text(text.clone()), Stored::Bytes)
        }
        Json::Array(_) | Json::Object(_) => Stored::Text(json.to_string()),
    }
}

fn is_blob(declared: &str) -> bool {
    declared.trim().is_empty() || says(declared, "BLOB")
}

/// Whether `word` is somewhere in `declared`, in any case.
fn says(declared: &str, word: &str) -> bool {
    let mut windows = declared.as_bytes().windows(word.len());
    windows.any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

fn as_it_is(wire: &Json) -> Stored {
    match wire {
        Json::Null => Stored::Null,
        Json::Bool(b) => Stored::Int(i64::from(*b)),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Stored::Int(n),
            (None, Some(x)) => Stored::Real(x),
            (None, None) => Stored::Text(n.to_string()),
        },
        Json::String(text) => Stored::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Stored::Text(wire.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_text_is_stored_as_its_document_is() {
        let types = [
            (ColumnType::Int { bits: 64 }, "INTEGER"),
            (ColumnType::Real { bits: 64 }, "REAL"),
            (
                ColumnType::Decimal {
                    precision: None,
                    scale: None,
                },
                "NUMERIC",
            ),
            (ColumnType::Text { max_length: None }, "TEXT"),
            (ColumnType::Uuid, "uuid"),
            (ColumnType::Uuid, "Blob"),
            (ColumnType::DateTime, "TIMESTAMP"),
            (ColumnType::Time, "TIME"),
            (ColumnType::Json, "JSON"),
            (ColumnType::Bool, "BOOLEAN"),
        ];
        let raws = [
            "null",
            "true",
            "12",
            "\"9223372036854775807\"",
            "0.1",
            "12345678901234567.25",
            "\"12345678901234567.25\"",
            "\"a \\\"b\\\"\"",
            "\"10:00:00.000000\"",
            "\"2026-11-22T10:00:00.000000\"",
            "\"2026-11-22T10:00:00.120000\"",
            "\"0190A000-0000-7000-8000-000000000001\"",
            "\"infinity\"",
            "[1, {\"a\": 2.50}]",
        ];
        for (ty, declared) in types {
            for raw in raws {
                let wire: Json = serde_json::from_str(raw).unwrap();
                assert_eq!(
                    from_raw(&ty, declared, raw),
                    from_wire(&ty, declared, &wire),
                    "{ty:?} of {raw}"
                );
            }
        }
        let datetime = from_raw(
            &ColumnType::DateTime,
            "TIMESTAMP",
            "\"2026-11-22T10:00:00\"",
        );
        assert_eq!(datetime, Stored::Text("2026-11-22 10:00:00".to_owned()));
    }
}
