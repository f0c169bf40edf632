//! A column's value, apart from any database and any wire format.

use bigdecimal::BigDecimal;
use serde_json::Value as Json;

/// What a column holds. Dates, times, UUIDs and enum labels are their canonical text
/// (see [`crate::ColumnType::decode`]), so that equal values are equal here.
#[derive(Debug, Clone)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A floating point number.
    Real(f64),
    /// An exact decimal; 1.5 and 1.50 are equal.
    Decimal(BigDecimal),
    /// Text, and everything whose canonical form is text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A JSON document, or an array of values in their wire form.
    Json(Json),
}

impl Value {
    /// Whether this is SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

impl PartialEq for Value {
    /// Equality as the merge needs it: a value equals itself, NaN too, and -0 equals 0 as in SQL.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Real(a), Value::Real(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Value::Decimal(a), Value::Decimal(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Json(a), Value::Json(b)) => a == b,
            (
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Real(_)
                | Value::Decimal(_)
                | Value::Text(_)
                | Value::Bytes(_)
                | Value::Json(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Value {}
