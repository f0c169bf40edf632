//! Values in SQLite, where a column's type is only a wish: writing follows the declared type, reading
//! takes what is there.

use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use colsync_shared::{ColumnType, Value};
use serde_json::{Number, Value as Json};
use uuid::Uuid;

use crate::store::error::StoreError;
use crate::store::statement::{Bind, Cell};

/// What a REAL keeps of a decimal.
const DECIMAL_DIGITS: u64 = 15;

/// The value in a cell of a column declared as `ty`.
pub(crate) fn read(ty: &ColumnType, cell: Cell) -> Result<Value, StoreError> {
    Ok(match (ty, cell) {
        (_, Cell::Null) => Value::Null,
        (ColumnType::Bool, Cell::Int(n @ (0 | 1))) => Value::Bool(n == 1),
        (ColumnType::Decimal { .. }, Cell::Int(n)) => Value::Decimal(BigDecimal::from(n)),
        (ColumnType::Decimal { .. }, Cell::Real(x)) => {
            BigDecimal::from_str(&x.to_string()).map_or(Value::Real(x), Value::Decimal)
        }
        (ColumnType::Decimal { .. }, Cell::Text(text)) => match BigDecimal::from_str(&text) {
            Ok(number) => Value::Decimal(number),
            Err(_not_a_number) => Value::Text(text),
        },
        #[expect(
            clippy::cast_precision_loss,
            reason = "SQLite stores whole reals as integers"
        )]
        (ColumnType::Real { .. }, Cell::Int(n)) => Value::Real(n as f64),
        (ColumnType::Json, Cell::Text(text)) => match serde_json::from_str(&text) {
            Ok(document) => Value::Json(document),
            Err(_not_json) => Value::Text(text),
        },
        // The affinity of a column declared JSON turns a document that is a number into one.
        (ColumnType::Json, Cell::Int(n)) => Value::Json(Json::from(n)),
        (ColumnType::Json, Cell::Real(x)) => {
            Number::from_f64(x).map_or(Value::Real(x), |n| Value::Json(Json::Number(n)))
        }
        (
            ColumnType::Date | ColumnType::Time | ColumnType::DateTime | ColumnType::Timestamp,
            Cell::Text(text),
        ) => ty
            .decode(&Json::String(text.clone()))
            .unwrap_or(Value::Text(text)),
        (ColumnType::Uuid, Cell::Bytes(bytes)) => match Uuid::from_slice(&bytes) {
            Ok(uuid) => Value::Text(uuid.to_string()),
            Err(_other) => Value::Bytes(bytes),
        },
        (ColumnType::Bytes, Cell::Text(text)) => Value::Bytes(text.into_bytes()),
        (_, Cell::Bool(b)) => Value::Bool(b),
        (_, Cell::Int(n)) => Value::Int(n),
        (_, Cell::Real(x)) => Value::Real(x),
        (_, Cell::Text(text)) => Value::Text(text),
        (_, Cell::Bytes(bytes)) => Value::Bytes(bytes),
    })
}

/// The value as it is bound for a column declared as `ty`.
///
/// # Errors
/// [`StoreError::Refused`] for a decimal with more digits than SQLite keeps.
pub(crate) fn bind(name: &str, ty: &ColumnType, value: &Value) -> Result<Bind, StoreError> {
    Ok(match (ty, value) {
        (_, Value::Null) => Bind::Null,
        (_, Value::Bool(b)) => Bind::Int(i64::from(*b)),
        (_, Value::Int(n)) => Bind::Int(*n),
        (_, Value::Real(x)) => Bind::Real(*x),
        (_, Value::Decimal(d)) => {
            let whole = d.normalized();
            let fits_integer = whole.fractional_digit_count() <= 0
                && whole.to_plain_string().parse::<i64>().is_ok();
            if whole.digits() > DECIMAL_DIGITS && !fits_integer {
                return Err(StoreError::Refused(format!(
                    "{name}: SQLite keeps {DECIMAL_DIGITS} digits of a decimal"
                )));
            }
            Bind::Text(d.to_plain_string())
        }
        (ColumnType::DateTime, Value::Text(text)) => Bind::Text(short(&text.replacen('T', " ", 1))),
        (ColumnType::Time, Value::Text(text)) => Bind::Text(short(text)),
        (_, Value::Text(text)) => Bind::Text(text.clone()),
        (_, Value::Bytes(bytes)) => Bind::Bytes(bytes.clone()),
        (_, Value::Json(Json::Number(n))) if !survives(n) => {
            return Err(StoreError::Refused(format!(
                "{name}: SQLite keeps {DECIMAL_DIGITS} digits of a number"
            )));
        }
        (_, Value::Json(json)) => Bind::Text(json.to_string()),
    })
}

/// Whether SQLite gives back the number that it makes of a document that is only a number.
fn survives(n: &Number) -> bool {
    n.as_i64().is_some()
        || BigDecimal::from_str(&n.to_string())
            .is_ok_and(|n| n.normalized().digits() <= DECIMAL_DIGITS)
}

/// Without a fraction that is zero, as SQLite's own functions write times.
fn short(text: &str) -> String {
    text.strip_suffix(".000000").unwrap_or(text).to_owned()
}
