//! Values between a column and JSON text, without the JSON document between them. A million rows are decoded and
//! encoded by it; the tests hold it to what [`super::decode`] and [`ColumnType::encode`] do.

use serde::Serialize;
use serde_json::Value as Json;

use super::{ColumnType, SAFE_INTEGER, ValueError, decode};
use crate::Value;

pub(super) fn decode(ty: &ColumnType, raw: &str) -> Result<Value, ValueError> {
    match (ty, raw.as_bytes()) {
        (_, b"null") => Ok(Value::Null),
        (ColumnType::Bool, b"true") => Ok(Value::Bool(true)),
        (ColumnType::Bool, b"false") => Ok(Value::Bool(false)),
        (ColumnType::Int { bits }, [b'-' | b'0'..=b'9', ..]) => {
            decode::integer(*bits, raw.parse().ok())
        }
        (ColumnType::Real { bits }, [b'-' | b'0'..=b'9', ..]) => {
            decode::real(*bits, raw.parse().ok().filter(|x: &f64| x.is_finite()))
        }
        _ => match unescaped(raw) {
            Some(text) => decode::text(ty, text),
            None => {
                let json: Json = serde_json::from_str(raw)
                    .map_err(|broken| ValueError::new(broken.to_string()))?;
                decode::value(ty, &json)
            }
        },
    }
}

/// What is between the quotes, if `raw` is a string that needs no more to be read.
fn unescaped(raw: &str) -> Option<&str> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

pub(super) fn encode(ty: &ColumnType, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => write(b, out),
        Value::Int(n) if (-SAFE_INTEGER..=SAFE_INTEGER).contains(n) => write(n, out),
        Value::Real(x) if x.is_finite() => write(&ty.exact(*x), out),
        Value::Text(text) => write(text, out),
        Value::Json(json) => write(json, out),
        Value::Int(_) | Value::Real(_) | Value::Decimal(_) | Value::Bytes(_) => {
            write(&ty.encode(value), out);
        }
    }
}

fn write(json: &impl Serialize, out: &mut Vec<u8>) {
    // Writing what is no map into memory cannot fail, nor can a document.
    let _ = serde_json::to_writer(out, json);
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use bigdecimal::BigDecimal;
    use proptest::prelude::*;

    use super::*;

    fn types() -> impl Strategy<Value = ColumnType> {
        let labels = vec!["low".to_owned(), "höch".to_owned()];
        prop::sample::select(vec![
            ColumnType::Bool,
            ColumnType::Int { bits: 16 },
            ColumnType::Int { bits: 64 },
            ColumnType::Real { bits: 32 },
            ColumnType::Real { bits: 64 },
            ColumnType::Decimal {
                precision: Some(10),
                scale: Some(2),
            },
            ColumnType::Text {
                max_length: Some(5),
            },
            ColumnType::Text { max_length: None },
            ColumnType::Uuid,
            ColumnType::Date,
            ColumnType::Time,
            ColumnType::DateTime,
            ColumnType::Timestamp,
            ColumnType::Bytes,
            ColumnType::Json,
            ColumnType::Enum { labels },
            ColumnType::Array(Box::new(ColumnType::Int { bits: 32 })),
        ])
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[\"\\\\\\x00a-c\u{e9}]{0,6}",
            "-?[0-9]{1,20}(\\.[0-9]{1,4})?",
            "[0-9a-fA-F]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
            "20[0-9]{2}-[01][0-9]-[0-3][0-9]",
            "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,7})?",
            "20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{6})?Z?",
            prop::sample::select(vec!["low", "höch", "NaN", "YWJj"]).prop_map(str::to_owned),
        ]
    }

    /// JSON text, as it may be written.
    fn raws() -> impl Strategy<Value = String> {
        let quoted = texts().prop_map(|text| Json::from(text).to_string());
        let escaped = texts().prop_map(|text| {
            let units = text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            format!("\"{units}\"")
        });
        let scalar = prop_oneof![
            prop::sample::select(vec!["null", "true", "false", "-0", "1e3", "1E400", "2.0"])
                .prop_map(str::to_owned),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            quoted,
            escaped,
        ];
        scalar.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                inner.prop_map(|member| format!("{{\"a\": {member}}}")),
            ]
        })
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-9_007_199_254_740_993_i64..9_007_199_254_740_993).prop_map(Value::Int),
            prop::num::f64::ANY.prop_map(Value::Real),
            any::<f32>().prop_map(|x| Value::Real(x.into())),
            "-?[0-9]{1,20}(\\.[0-9]{1,4})?"
                .prop_map(|text| Value::Decimal(BigDecimal::from_str(&text).unwrap())),
            texts().prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            raws().prop_map(|raw| Value::Json(serde_json::from_str(&raw).unwrap())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn text_is_decoded_as_the_document_that_it_stands_for(ty in types(), raw in raws()) {
            let json: Json = serde_json::from_str(&raw).unwrap();
            prop_assert_eq!(ty.decode_raw(&raw), ty.decode(&json), "{:?} of {}", ty, raw);
        }

        #[test]
        fn a_value_is_written_as_its_document_is(ty in types(), value in values()) {
            let mut written = Vec::new();
            ty.encode_raw(&value, &mut written);
            let expect = ty.encode(&value).to_string();
            prop_assert_eq!(String::from_utf8(written).unwrap(), expect);
        }
    }
}
