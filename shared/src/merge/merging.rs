//! Policies that make one value of both sides' edits, from what each changed of the Original.
//!
//! A value that such a policy has no meaning for (text in a counter, an object in a set, a sum that the column
//! cannot hold) gives `None`: then the later writer wins, and the loser is in the ledger.

use serde_json::Value as Json;

use crate::{ColumnType, Value};

/// `current + (edited − base)`; NULL counts as 0.
pub(super) fn counter(
    ty: &ColumnType,
    current: &Value,
    base: &Value,
    edited: &Value,
) -> Option<Value> {
    match ty {
        ColumnType::Int { bits } => {
            let (current, base, edited) = (int(current)?, int(base)?, int(edited)?);
            let sum = current.checked_add(edited.checked_sub(base)?)?;
            let most = i64::MAX >> (64 - u32::from(*bits).clamp(1, 64));
            (-most - 1..=most).contains(&sum).then_some(Value::Int(sum))
        }
        ColumnType::Decimal { .. } => {
            let (current, base, edited) = (decimal(current)?, decimal(base)?, decimal(edited)?);
            let sum = Value::Decimal(current + edited - base);
            // More digits than the column has are refused, not rounded.
            ty.decode(&ty.encode(&sum)).ok()
        }
        ColumnType::Real { .. } => {
            let sum = real(current)? + (real(edited)? - real(base)?);
            sum.is_finite().then_some(Value::Real(sum))
        }
        ColumnType::Bool
        | ColumnType::Text { .. }
        | ColumnType::Uuid
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::Bytes
        | ColumnType::Json
        | ColumnType::Enum { .. }
        | ColumnType::Array(_) => None,
    }
}

/// `current + added − removed`, of JSON arrays as sets: what is current keeps its order, what was added comes
/// after it. NULL counts as empty, and stays NULL where nothing is left of it.
pub(super) fn set(current: &Value, base: &Value, edited: &Value) -> Option<Value> {
    let (now, before, after) = (items(current)?, items(base)?, items(edited)?);
    let mut merged: Vec<Json> = Vec::with_capacity(now.len() + after.len());
    let kept = now
        .iter()
        .filter(|item| !before.contains(item) || after.contains(item));
    let added = after.iter().filter(|item| !before.contains(item));
    for item in kept.chain(added) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    if merged.is_empty() && (edited.is_null() || current.is_null()) {
        return Some(Value::Null);
    }
    Some(Value::Json(Json::Array(merged)))
}

fn items(value: &Value) -> Option<&[Json]> {
    match value {
        Value::Null => Some(&[]),
        Value::Json(Json::Array(items)) => Some(items),
        Value::Json(_)
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Real(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Bytes(_) => None,
    }
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Int(n) => Some(*n),
        Value::Bool(_)
        | Value::Real(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Json(_) => None,
    }
}

fn decimal(value: &Value) -> Option<bigdecimal::BigDecimal> {
    match value {
        Value::Null => Some(0.into()),
        Value::Decimal(d) => Some(d.clone()),
        Value::Int(n) => Some((*n).into()),
        Value::Bool(_) | Value::Real(_) | Value::Text(_) | Value::Bytes(_) | Value::Json(_) => None,
    }
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(0.0),
        Value::Real(x) => Some(*x),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Json(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn sums(ty: &ColumnType, [current, base, edited]: [Json; 3], expect: Option<Json>) {
        let value = |json: &Json| ty.decode(json).unwrap();
        let merged = counter(ty, &value(&current), &value(&base), &value(&edited));
        assert_eq!(merged.map(|merged| ty.encode(&merged)), expect);
    }

    #[test]
    fn a_counter_adds_what_the_edit_added() {
        let int = |bits| ColumnType::Int { bits };
        sums(&int(64), [json!(7), json!(5), json!(6)], Some(json!(8)));
        sums(&int(64), [json!(7), json!(5), json!(2)], Some(json!(4)));
        sums(
            &int(64),
            [json!(null), json!(null), json!(3)],
            Some(json!(3)),
        );
        sums(&int(64), [json!(7), json!(5), json!(null)], Some(json!(2)));
        // What the column cannot hold is no sum.
        sums(&int(16), [json!(32767), json!(0), json!(1)], None);
        sums(
            &int(16),
            [json!(-32767), json!(1), json!(0)],
            Some(json!(-32768)),
        );
        let most = json!("9223372036854775807");
        sums(&int(64), [most, json!(0), json!(1)], None);
        let money = ColumnType::Decimal {
            precision: Some(4),
            scale: Some(2),
        };
        sums(
            &money,
            [json!("1.10"), json!("1.00"), json!("1.05")],
            Some(json!("1.15")),
        );
        sums(&money, [json!("99.99"), json!("1.00"), json!("1.01")], None);
        let real = ColumnType::Real { bits: 64 };
        sums(
            &real,
            [json!(1.5), json!(1.0), json!(3.0)],
            Some(json!(3.5)),
        );
        let text = ColumnType::Text { max_length: None };
        sums(&text, [json!("a"), json!("b"), json!("c")], None);
    }

    #[track_caller]
    fn joins([current, base, edited]: [Json; 3], expect: Option<Json>) {
        let value = |json: &Json| ColumnType::Json.decode(json).unwrap();
        let merged = set(&value(&current), &value(&base), &value(&edited));
        assert_eq!(
            merged.map(|merged| ColumnType::Json.encode(&merged)),
            expect
        );
    }

    #[test]
    fn a_set_gains_what_was_added_and_loses_what_was_removed() {
        joins(
            [json!(["a", "b"]), json!(["a"]), json!(["a", "c"])],
            Some(json!(["a", "b", "c"])),
        );
        joins(
            [json!(["b", "a"]), json!(["a", "b"]), json!(["b"])],
            Some(json!(["b"])),
        );
        joins(
            [json!(["a", "b"]), json!(["a"]), json!([])],
            Some(json!(["b"])),
        );
        joins(
            [json!(["x"]), json!([]), json!(["x", "x"])],
            Some(json!(["x"])),
        );
        joins(
            [json!(null), json!(["a"]), json!(["a", "b"])],
            Some(json!(["b"])),
        );
        joins([json!(["a"]), json!(["a"]), json!(null)], Some(json!(null)));
        joins(
            [json!([1, {"k": [2]}]), json!([1]), json!([{"k": [2]}])],
            Some(json!([{"k": [2]}])),
        );
        joins([json!({"a": 1}), json!([]), json!(["b"])], None);
    }
}
