//! Policies that make one value of both sides' edits, from what each changed of the Original.
//!
//! A value that such a policy has no meaning for (text in a counter, an object in a set, a sum that the column
//! cannot hold) gives `None`: then the later writer wins, and the loser is in the ledger.

use std::collections::{HashMap, HashSet};

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
    let names = |items: &[Json]| items.iter().map(Json::to_string).collect::<HashSet<_>>();
    let (known, wanted) = (names(before), names(after));
    let mut merged: Vec<Json> = Vec::with_capacity(now.len() + after.len());
    let mut there = HashSet::with_capacity(merged.capacity());
    let sides = now.iter().map(|item| (item, true));
    for (item, is_current) in sides.chain(after.iter().map(|item| (item, false))) {
        let name = item.to_string();
        let stays = if is_current {
            !known.contains(&name) || wanted.contains(&name)
        } else {
            !known.contains(&name)
        };
        if stays && there.insert(name) {
            merged.push(item.clone());
        }
    }
    if merged.is_empty() && (edited.is_null() || current.is_null()) {
        return Some(Value::Null);
    }
    Some(Value::Json(Json::Array(merged)))
}

/// The longest text that is merged by words, blanks counted too: two that share nothing take the square of it.
const MOST_WORDS: usize = 5_000;

/// Both sides' changes of a text, word by word; `None` where they overlap. NULL counts as empty, and NULL on one
/// side stays one side's value.
pub(super) fn text(current: &Value, base: &Value, edited: &Value) -> Option<Value> {
    let (Value::Text(current), Value::Text(base), Value::Text(edited)) = (current, base, edited)
    else {
        return None;
    };
    let mut words = Words::default();
    let [base, current, edited] = [base, current, edited].map(|text| words.lines(text));
    if [&base, &current, &edited]
        .iter()
        .any(|text| text.lines().count() > MOST_WORDS)
    {
        return None;
    }
    let merged = diffy::merge(&base, &current, &edited).ok()?;
    words.text(&merged).map(Value::Text)
}

/// Words as numbers, a line each, so that a merge by lines is one by words.
#[derive(Default)]
struct Words<'a> {
    known: HashMap<&'a str, usize>,
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn lines(&mut self, text: &'a str) -> String {
        let mut lines = String::new();
        for word in text.split_inclusive([' ', '\n', '\t']) {
            // What ends a word is a word of its own, or a change at one's end would be two.
            let (bare, end) = match word.char_indices().next_back() {
                Some((at, ' ' | '\n' | '\t')) => word.split_at(at),
                Some(_) | None => (word, ""),
            };
            for part in [bare, end].into_iter().filter(|part| !part.is_empty()) {
                let next = self.words.len();
                let number = *self.known.entry(part).or_insert(next);
                if number == next {
                    self.words.push(part);
                }
                lines.push_str(&number.to_string());
                lines.push('\n');
            }
        }
        lines
    }

    fn text(&self, lines: &str) -> Option<String> {
        let words = lines.lines().map(|line| {
            let number: usize = line.parse().ok()?;
            self.words.get(number).copied()
        });
        words.collect()
    }
}

/// Both sides' changes of a document, member by member, and whether both changed one: then it has the edit's
/// if `edit_is_later`. Arrays are one value.
pub(super) fn json(
    current: &Value,
    base: &Value,
    edited: &Value,
    edit_is_later: bool,
) -> Option<(Value, bool)> {
    let (Value::Json(current), Value::Json(base), Value::Json(edited)) = (current, base, edited)
    else {
        return None;
    };
    let mut clash = false;
    let sides = [current, base, edited].map(Some);
    let merged = member(sides, edit_is_later, &mut clash)?;
    Some((Value::Json(merged), clash))
}

/// One member of a document; `None` where it is absent.
fn member(
    [current, base, edited]: [Option<&Json>; 3],
    edit_is_later: bool,
    clash: &mut bool,
) -> Option<Json> {
    if edited == base || edited == current {
        return current.cloned();
    }
    if current == base {
        return edited.cloned();
    }
    let (Some(Json::Object(now)), Some(Json::Object(after))) = (current, edited) else {
        *clash = true;
        return if edit_is_later { edited } else { current }.cloned();
    };
    let before = base.and_then(Json::as_object);
    let mut merged = serde_json::Map::new();
    let added = after.keys().filter(|name| !now.contains_key(*name));
    for name in now.keys().chain(added) {
        let sides = [
            now.get(name),
            before.and_then(|b| b.get(name)),
            after.get(name),
        ];
        if let Some(value) = member(sides, edit_is_later, clash) {
            merged.insert(name.clone(), value);
        }
    }
    Some(Json::Object(merged))
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

    #[test]
    fn a_text_takes_both_sides_words() {
        #[track_caller]
        fn check([current, base, edited]: [&str; 3], expect: Option<&str>) {
            let [current, base, edited] =
                [current, base, edited].map(|t| Value::Text(t.to_owned()));
            let expect = expect.map(|text| Value::Text(text.to_owned()));
            assert_eq!(text(&current, &base, &edited), expect);
        }
        check(
            ["a big cat sat", "a cat sat", "a cat slept"],
            Some("a big cat slept"),
        );
        check(
            ["one\ntwo\nTHREE", "one\ntwo\nthree", "ONE\ntwo\nthree"],
            Some("ONE\ntwo\nTHREE"),
        );
        check(["a dog sat", "a cat sat", "a cow sat"], None);
        check(["", "a", "a b"], None);
        check(["a b", "", ""], Some("a b"));
        check(
            ["12 apples\n", "apples\n", "apples\n7\n"],
            Some("12 apples\n7\n"),
        );
        assert_eq!(
            text(&Value::Null, &Value::Null, &Value::Text("a".into())),
            None
        );
    }

    #[test]
    fn a_document_takes_both_sides_members() {
        #[track_caller]
        fn check([current, base, edited]: [Json; 3], expect: Json, clashes: bool) {
            let [current, base, edited] = [current, base, edited].map(Value::Json);
            for later in [true, false] {
                let (merged, clash) = json(&current, &base, &edited, later).unwrap();
                assert_eq!(clash, clashes);
                if !clash || later {
                    assert_eq!(merged, Value::Json(expect.clone()));
                }
            }
        }
        check(
            [
                json!({"a": 2, "b": 1}),
                json!({"a": 1, "b": 1}),
                json!({"a": 1, "b": 2}),
            ],
            json!({"a": 2, "b": 2}),
            false,
        );
        check(
            [
                json!({"n": {"x": 2, "y": 1}}),
                json!({"n": {"x": 1, "y": 1}}),
                json!({"n": {"x": 1}}),
            ],
            json!({"n": {"x": 2}}),
            false,
        );
        check(
            [
                json!({"l": [1, 2]}),
                json!({"l": [1]}),
                json!({"l": [1, 3]}),
            ],
            json!({"l": [1, 3]}),
            true,
        );
        check(
            [
                json!({"new": {"a": 1}}),
                json!({}),
                json!({"new": {"b": 2}}),
            ],
            json!({"new": {"a": 1, "b": 2}}),
            false,
        );
        check(
            [json!({"a": null}), json!({"a": 1}), json!({})],
            json!({}),
            true,
        );
    }
}
