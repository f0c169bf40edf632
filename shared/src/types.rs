//! The types a column can have, and how a value of each looks on the wire.
//!
//! Decoding is strict and makes values canonical, so that the merge can compare them. Encoding never
//! fails: a database may hold values that no client could send (NaN, a time of year 12000, text in an
//! integer column of SQLite), and they must still reach the clients.

mod canonical;
mod decode;
mod document;
mod raw;

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bigdecimal::RoundingMode;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};

use crate::Value;

/// The largest integer that every JSON reader keeps exact: 2^53 − 1.
const SAFE_INTEGER: i64 = (1 << 53) - 1;

/// A column's type, the same for both backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// `true` or `false`.
    Bool,
    /// A signed integer of 16, 32 or 64 bits; a JSON integer, or a string of digits.
    Int {
        /// Width in bits.
        bits: u8,
    },
    /// A floating point number of 32 or 64 bits; finite.
    Real {
        /// Width in bits.
        bits: u8,
    },
    /// An exact decimal, written as a string.
    Decimal {
        /// The most significant digits it holds, if bounded.
        precision: Option<u32>,
        /// Its digits after the point, if fixed.
        scale: Option<u32>,
    },
    /// Text without NUL.
    Text {
        /// The most characters it holds, if bounded.
        max_length: Option<u32>,
    },
    /// A UUID in lower case with hyphens.
    Uuid,
    /// `2026-11-22`.
    Date,
    /// A time of day, `10:00:00.120000`.
    Time,
    /// A date and time without a zone, `2026-11-22T10:00:00.120000`.
    DateTime,
    /// A point in time, RFC 3339 in UTC: `2026-11-22T10:00:00.120000Z`.
    Timestamp,
    /// Bytes, in base64.
    Bytes,
    /// A JSON document.
    Json,
    /// One of a list of labels, in their order.
    Enum {
        /// The labels, lowest first.
        labels: Vec<String>,
    },
    /// A JSON array of values of one type; arrays may hold arrays.
    Array(Box<ColumnType>),
}

/// Why a JSON value is not one of a column's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    /// An error that reads `reason`, a clause without a full stop.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        ValueError(reason.into())
    }
}

/// A type as `GET /v1/schema` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeWire {
    /// `bool`, `integer`, `real`, `decimal`, `text`, `uuid`, `date`, `time`, `datetime`, `timestamp`,
    /// `bytes`, `json`, `enum` or `array`.
    pub name: String,
    /// Width of an integer or real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Digits a decimal holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<u32>,
    /// Digits after a decimal's point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u32>,
    /// Characters a text holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// An enum's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// An array's element type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Box<TypeWire>>,
}

impl TypeWire {
    /// The type that is meant; None if this version of colsync does not know it.
    #[must_use]
    pub fn to_type(&self) -> Option<ColumnType> {
        Some(match self.name.as_str() {
            "bool" => ColumnType::Bool,
            "integer" => ColumnType::Int {
                bits: self.bits_among(&[16, 32, 64])?,
            },
            "real" => ColumnType::Real {
                bits: self.bits_among(&[32, 64])?,
            },
            "decimal" => ColumnType::Decimal {
                precision: self.precision,
                scale: self.scale,
            },
            "text" => ColumnType::Text {
                max_length: self.max_length,
            },
            "uuid" => ColumnType::Uuid,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time,
            "datetime" => ColumnType::DateTime,
            "timestamp" => ColumnType::Timestamp,
            "bytes" => ColumnType::Bytes,
            "json" => ColumnType::Json,
            "enum" => ColumnType::Enum {
                labels: self.labels.clone()?,
            },
            "array" => ColumnType::Array(Box::new(self.of.as_ref()?.to_type()?)),
            _ => return None,
        })
    }

    fn bits_among(&self, known: &[u8]) -> Option<u8> {
        self.bits.filter(|bits| known.contains(bits))
    }
}

impl ColumnType {
    /// The value that `json` stands for in a column of this type, in canonical form.
    ///
    /// # Errors
    /// If `json` is not a value of this type, or one that not every backend could store exactly.
    pub fn decode(&self, json: &Json) -> Result<Value, ValueError> {
        decode::value(self, json)
    }

    /// As [`ColumnType::decode`] of a JSON string.
    ///
    /// # Errors
    /// As there.
    pub fn decode_text(&self, text: &str) -> Result<Value, ValueError> {
        decode::text(self, text)
    }

    /// As [`ColumnType::decode`] of what the JSON text `raw` stands for, mostly without making that first.
    ///
    /// # Errors
    /// As there; also if `raw` is no JSON.
    pub fn decode_raw(&self, raw: &str) -> Result<Value, ValueError> {
        raw::decode(self, raw)
    }

    /// Writes the JSON text of [`ColumnType::encode`] to `out`, mostly without making that first.
    pub fn encode_raw(&self, value: &Value, out: &mut Vec<u8>) {
        raw::encode(self, value, out);
    }

    /// How `value` is written on the wire.
    #[must_use]
    pub fn encode(&self, value: &Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(n) if (-SAFE_INTEGER..=SAFE_INTEGER).contains(n) => Json::from(*n),
            Value::Int(n) => Json::String(n.to_string()),
            Value::Real(x) => self.encode_real(*x),
            Value::Decimal(d) => Json::String(match self {
                ColumnType::Decimal {
                    scale: Some(scale), ..
                } if d.fractional_digit_count() < i64::from(*scale) => d
                    .with_scale_round(i64::from(*scale), RoundingMode::HalfUp)
                    .to_plain_string(),
                _ => d.to_plain_string(),
            }),
            Value::Text(text) => Json::String(text.clone()),
            Value::Bytes(bytes) => Json::String(BASE64.encode(bytes)),
            Value::Json(json) => json.clone(),
        }
    }

    fn encode_real(&self, x: f64) -> Json {
        if x.is_nan() {
            return Json::String("NaN".to_owned());
        }
        if x.is_infinite() {
            return Json::String(if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned());
        }
        Number::from_f64(self.exact(x)).map_or(Json::Null, Json::Number)
    }

    /// A 32-bit column holds the nearest f32; its own shortest digits are what the user wrote.
    fn exact(&self, x: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the value came from an f32"
        )]
        match self {
            ColumnType::Real { bits: 32 } => (x as f32).to_string().parse().unwrap_or(x),
            _ => x,
        }
    }

    /// Which of two values is the greater, for the policies `max` and `min`. NULL is below all others.
    #[must_use]
    pub fn compare(&self, a: &Value, b: &Value) -> Ordering {
        match (a, b) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Less,
            (_, Value::Null) => Ordering::Greater,
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Real(a), Value::Real(b)) => a.partial_cmp(b).unwrap_or_else(|| a.total_cmp(b)),
            (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => match self {
                ColumnType::Enum { labels } => {
                    let rank = |text: &String| labels.iter().position(|label| label == text);
                    rank(a).cmp(&rank(b))
                }
                _ => a.cmp(b),
            },
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            // Values of different kinds, or documents: no order means anything, but it must be one.
            (a, b) => format!("{a:?}").cmp(&format!("{b:?}")),
        }
    }

    /// Whether the policies `max` and `min` have a meaning for this type.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, ColumnType::Json | ColumnType::Array(_))
    }

    /// The type as the schema call writes it.
    #[must_use]
    pub fn to_wire(&self) -> TypeWire {
        let named = |name: &str| TypeWire {
            name: name.to_owned(),
            bits: None,
            precision: None,
            scale: None,
            max_length: None,
            labels: None,
            of: None,
        };
        match self {
            ColumnType::Bool => named("bool"),
            ColumnType::Int { bits } => TypeWire {
                bits: Some(*bits),
                ..named("integer")
            },
            ColumnType::Real { bits } => TypeWire {
                bits: Some(*bits),
                ..named("real")
            },
            ColumnType::Decimal { precision, scale } => TypeWire {
                precision: *precision,
                scale: *scale,
                ..named("decimal")
            },
            ColumnType::Text { max_length } => TypeWire {
                max_length: *max_length,
                ..named("text")
            },
            ColumnType::Uuid => named("uuid"),
            ColumnType::Date => named("date"),
            ColumnType::Time => named("time"),
            ColumnType::DateTime => named("datetime"),
            ColumnType::Timestamp => named("timestamp"),
            ColumnType::Bytes => named("bytes"),
            ColumnType::Json => named("json"),
            ColumnType::Enum { labels } => TypeWire {
                labels: Some(labels.clone()),
                ..named("enum")
            },
            ColumnType::Array(of) => TypeWire {
                of: Some(Box::new(of.to_wire())),
                ..named("array")
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_the_wire_as_it_went() {
        let (precision, scale) = (Some(10), Some(2));
        let labels = vec!["low".to_owned(), "high".to_owned()];
        let types = [
            ColumnType::Bool,
            ColumnType::Int { bits: 16 },
            ColumnType::Real { bits: 32 },
            ColumnType::Decimal { precision, scale },
            ColumnType::Text { max_length: None },
            ColumnType::Uuid,
            ColumnType::Date,
            ColumnType::Time,
            ColumnType::DateTime,
            ColumnType::Timestamp,
            ColumnType::Bytes,
            ColumnType::Json,
            ColumnType::Enum { labels },
            ColumnType::Array(Box::new(ColumnType::Array(Box::new(ColumnType::Date)))),
        ];
        for ty in types {
            assert_eq!(ty.to_wire().to_type(), Some(ty));
        }
    }

    #[test]
    fn an_unknown_type_is_none_also_inside_an_array() {
        for text in [
            r#"{"name":"polygon"}"#,
            r#"{"name":"integer","bits":128}"#,
            r#"{"name":"array","of":{"name":"polygon"}}"#,
            r#"{"name":"enum"}"#,
        ] {
            let ty: TypeWire = serde_json::from_str(text).unwrap();
            assert_eq!(ty.to_type(), None, "{text}");
        }
    }
}
