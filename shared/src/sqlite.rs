//! How SQLite keeps values: its five storage classes, and what a declared type means.
//!
//! The server's embedded database and the client's file agree by it. Must not know a connection.

use std::str::FromStr as _;

use bigdecimal::{BigDecimal, Zero as _};
use serde_json::{Number, Value as Json};
use uuid::Uuid;

use crate::{ColumnType, Value};

/// A value as SQLite stores it.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(String),
    /// BLOB.
    Bytes(Vec<u8>),
}

/// A value of more digits than SQLite keeps, or beyond what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SQLite keeps {DECIMAL_DIGITS} digits of a {}, within the range of a double", if matches!(.0, Value::Decimal(_)) { "decimal" } else { "number" })]
pub struct TooExact(
    /// The value.
    pub Value,
);

/// What a REAL keeps of a decimal.
const DECIMAL_DIGITS: u64 = 15;

/// The value stored in a column of type `ty`. SQLite's types are only wishes: what does not fit the type
/// is given as it is.
#[must_use]
pub fn read(ty: &ColumnType, stored: Stored) -> Value {
    match (ty, stored) {
        (_, Stored::Null) => Value::Null,
        (ColumnType::Bool, Stored::Int(n @ (0 | 1))) => Value::Bool(n == 1),
        (ColumnType::Decimal { .. }, Stored::Int(n)) => Value::Decimal(BigDecimal::from(n)),
        (ColumnType::Decimal { .. }, Stored::Real(x)) => {
            BigDecimal::from_str(&x.to_string()).map_or(Value::Real(x), Value::Decimal)
        }
        (ColumnType::Decimal { .. }, Stored::Text(text)) => match BigDecimal::from_str(&text) {
            Ok(number) => Value::Decimal(number),
            Err(_not_a_number) => Value::Text(text),
        },
        #[expect(
            clippy::cast_precision_loss,
            reason = "SQLite stores whole reals as integers"
        )]
        (ColumnType::Real { .. }, Stored::Int(n)) => Value::Real(n as f64),
        (ColumnType::Json, Stored::Text(text)) => match serde_json::from_str(&text) {
            Ok(document) => Value::Json(document),
            Err(_not_json) => Value::Text(text),
        },
        (ColumnType::Array(_), Stored::Text(text)) => match serde_json::from_str(&text) {
            Ok(array @ Json::Array(_)) => Value::Json(array),
            Ok(_) | Err(_) => Value::Text(text),
        },
        // The affinity of a column declared JSON turns a document that is a number into one.
        (ColumnType::Json, Stored::Int(n)) => Value::Json(Json::from(n)),
        (ColumnType::Json, Stored::Real(x)) => {
            Number::from_f64(x).map_or(Value::Real(x), |n| Value::Json(Json::Number(n)))
        }
        (
            ColumnType::Date | ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp,
            Stored::Text(text),
        ) => ty.decode_text(&text).unwrap_or(Value::Text(text)),
        (ColumnType::Uuid, Stored::Bytes(bytes)) => match Uuid::from_slice(&bytes) {
            Ok(uuid) => Value::Text(uuid.to_string()),
            Err(_other) => Value::Bytes(bytes),
        },
        (ColumnType::Bytes, Stored::Text(text)) => Value::Bytes(text.into_bytes()),
        (_, Stored::Int(n)) => Value::Int(n),
        (_, Stored::Real(x)) => Value::Real(x),
        (_, Stored::Text(text)) => Value::Text(text),
        (_, Stored::Bytes(bytes)) => Value::Bytes(bytes),
    }
}

/// The value as SQLite is to store it in a column of type `ty`.
///
/// # Errors
/// For a decimal, or a document that is only a number, that SQLite would round, or make zero or an infinity.
pub fn store(ty: &ColumnType, value: Value) -> Result<Stored, TooExact> {
    Ok(match (ty, value) {
        (_, Value::Null) => Stored::Null,
        (_, Value::Bool(b)) => Stored::Int(i64::from(b)),
        (_, Value::Int(n)) => Stored::Int(n),
        (_, Value::Real(x)) => Stored::Real(x),
        (_, Value::Decimal(d)) => {
            let text = d.to_plain_string();
            let whole = d.normalized();
            let fits_integer = whole.fractional_digit_count() <= 0
                && whole.to_plain_string().parse::<i64>().is_ok();
            if !fits_integer && !fits_real(&whole, &text) {
                return Err(TooExact(Value::Decimal(d)));
            }
            Stored::Text(text)
        }
        (ColumnType::DateTime, Value::Text(text)) => Stored::Text(short(blank_for_t(text))),
        (ColumnType::Time, Value::Text(text)) => Stored::Text(short(text)),
        (_, Value::Text(text)) => Stored::Text(text),
        (_, Value::Bytes(bytes)) => Stored::Bytes(bytes),
        (_, Value::Json(Json::Number(n))) if !survives(&n) => {
            return Err(TooExact(Value::Json(Json::Number(n))));
        }
        (_, Value::Json(json)) => Stored::Text(json.to_string()),
    })
}

/// Whether SQLite gives back the number that it makes of a document that is only a number.
fn survives(n: &Number) -> bool {
    let text = n.as_str();
    n.as_i64().is_some()
        || BigDecimal::from_str(text).is_ok_and(|n| fits_real(&n.normalized(), text))
}

/// Whether a REAL keeps the number, whose `text` this is. What is not a normal double has fewer digits, or none.
fn fits_real(number: &BigDecimal, text: &str) -> bool {
    let is_in_range = || text.parse::<f64>().is_ok_and(f64::is_normal);
    number.is_zero() || (number.digits() <= DECIMAL_DIGITS && is_in_range())
}

/// With a blank between date and time, as SQLite's own functions write them.
fn blank_for_t(mut text: String) -> String {
    if let Some(at) = text.find('T') {
        text.replace_range(at..=at, " ");
    }
    text
}

/// Without a fraction that is zero, as they write times.
fn short(mut text: String) -> String {
    if let Some(whole) = text.strip_suffix(".000000") {
        text.truncate(whole.len());
    }
    text
}

/// The type that a column's declaration means: by its name first, then by the affinity that SQLite gives it.
/// `None` if it means none.
#[must_use]
pub fn column_type(declared: &str) -> Option<ColumnType> {
    let declared = declared.trim().to_ascii_uppercase();
    let (name, arguments) = match declared.split_once('(') {
        Some((name, rest)) => (
            name.trim_end(),
            rest.split([',', ')'])
                .map_while(|number| number.trim().parse().ok())
                .collect(),
        ),
        None => (declared.as_str(), Vec::<u32>::new()),
    };
    let first_word = name.split_whitespace().next()?;
    let decimal = ColumnType::Decimal {
        precision: arguments.first().copied(),
        // NUMERIC(10) is NUMERIC(10, 0), as in standard SQL.
        scale: arguments
            .first()
            .map(|_precision| arguments.get(1).copied().unwrap_or(0)),
    };
    let by_name = match first_word {
        "ANY" => return None,
        "DATE" => Some(ColumnType::Date),
        "TIME" => Some(ColumnType::Time),
        "JSON" | "JSONB" => Some(ColumnType::Json),
        "UUID" | "GUID" | "UNIQUEIDENTIFIER" => Some(ColumnType::Uuid),
        "NUMERIC" | "DECIMAL" => Some(decimal.clone()),
        _ if first_word.starts_with("BOOL") => Some(ColumnType::Bool),
        _ if first_word.starts_with("DATETIME") || first_word.starts_with("TIMESTAMP") => {
            Some(ColumnType::DateTime)
        }
        _ => None,
    };
    if by_name.is_some() {
        return by_name;
    }
    let has = |part: &str| declared.contains(part);
    // SQLite's own rules, in their order: https://www.sqlite.org/datatype3.html, section 3.1.
    Some(if has("INT") {
        ColumnType::Int { bits: 64 }
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        ColumnType::Text {
            max_length: arguments.first().copied(),
        }
    } else if has("BLOB") {
        ColumnType::Bytes
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        ColumnType::Real { bits: 64 }
    } else {
        decimal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(declared: &str, expect: Option<ColumnType>) {
        assert_eq!(column_type(declared), expect, "{declared}");
    }

    #[test]
    fn a_decimal_beyond_what_sqlite_keeps_is_not_stored() {
        let decimal = |text: &str| Value::Decimal(BigDecimal::from_str(text).unwrap());
        let document = |text: &str| Value::Json(serde_json::from_str(text).unwrap());
        let any = ColumnType::Decimal {
            precision: None,
            scale: None,
        };
        for (sent, is_kept) in [
            ("0", true),
            ("1e308", true),
            ("-1.5e-300", true),
            ("9223372036854775807", true),
            ("1e309", false),
            ("1e400", false),
            ("1e-310", false),
            ("-1e-400", false),
            ("0.1234567890123456", false),
        ] {
            let kept = store(&any, decimal(sent)).is_ok();
            assert_eq!(kept, is_kept, "{sent}");
            let plain = store(&ColumnType::Json, document(sent)).is_ok();
            assert_eq!(plain, is_kept, "a document {sent}");
        }
    }

    #[test]
    fn a_declared_type_counts_by_its_name_then_by_its_affinity() {
        let text = |max_length| Some(ColumnType::Text { max_length });
        let decimal = |precision, scale| Some(ColumnType::Decimal { precision, scale });
        let int = Some(ColumnType::Int { bits: 64 });
        let real = Some(ColumnType::Real { bits: 64 });
        check("boolean", Some(ColumnType::Bool));
        check("BOOL", Some(ColumnType::Bool));
        check("Date", Some(ColumnType::Date));
        check("DATETIME", Some(ColumnType::DateTime));
        check("datetime(6)", Some(ColumnType::DateTime));
        check("TIMESTAMP WITHOUT TIME ZONE", Some(ColumnType::DateTime));
        check("TIME", Some(ColumnType::Time));
        check("json", Some(ColumnType::Json));
        check("uuid", Some(ColumnType::Uuid));
        check("NUMERIC(10,2)", decimal(Some(10), Some(2)));
        check("DECIMAL( 10 , 2 )", decimal(Some(10), Some(2)));
        check("DECIMAL(10)", decimal(Some(10), Some(0)));
        check("NUMERIC", decimal(None, None));
        check("STRING", decimal(None, None));
        check("NVARCHAR(160)", text(Some(160)));
        check("VARCHAR (20)", text(Some(20)));
        check("text", text(None));
        check("UNSIGNED BIG INT", int.clone());
        check("INTEGER", int);
        check("DOUBLE PRECISION", real.clone());
        check("FLOAT", real);
        check("BLOB", Some(ColumnType::Bytes));
        check("", None);
        check("ANY", None);
    }
}
