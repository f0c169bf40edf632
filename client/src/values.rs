//! Values between the app's file and the wire.
//!
//! What a value is, the server's column type says; how it lies in the file, the app's own declaration.

use colsync_shared::sqlite::{self, Stored};
use colsync_shared::{ColumnType, Value};
use serde_json::{Number, Value as Json};
use uuid::Uuid;

/// A stored value as it goes over the wire for a column of type `ty`.
pub(crate) fn to_wire(ty: &ColumnType, stored: Stored) -> Json {
    ty.encode(&sqlite::read(ty, stored))
}

/// A value from the wire as it is to be stored in a column that the app declared as `declared`. What is not
/// of the type comes from a database that holds it all the same, and is kept as it is.
pub(crate) fn from_wire(ty: &ColumnType, declared: &str, wire: &Json) -> Stored {
    let Ok(value) = ty.decode(wire) else {
        return as_it_is(wire);
    };
    if let (ColumnType::Uuid, Value::Text(text)) = (ty, &value)
        && is_blob(declared)
        && let Ok(uuid) = Uuid::parse_str(text)
    {
        return Stored::Bytes(uuid.as_bytes().to_vec());
    }
    // More digits than a REAL keeps are text: exact, if the app's column is.
    sqlite::store(ty, &value).unwrap_or_else(|_too_exact| as_it_is(&ty.encode(&value)))
}

/// The value as SQLite will give it back from a column declared as `declared`: the log names rows by what
/// is stored.
pub(crate) fn as_stored_in(declared: &str, value: Stored) -> Stored {
    let upper = declared.to_ascii_uppercase();
    let is_text = ["CHAR", "CLOB", "TEXT"]
        .iter()
        .any(|word| upper.contains(word));
    let is_integer = upper.contains("INT");
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

fn is_blob(declared: &str) -> bool {
    declared.trim().is_empty() || declared.to_ascii_uppercase().contains("BLOB")
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
