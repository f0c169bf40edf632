//! Documents and arrays, from the wire's JSON to their canonical form: numbers are written without exponents, as
//! PostgreSQL writes them.
//!
//! A number's text is measured before it becomes one: to read many digits takes their square, and `1e-999999999` is a
//! billion zeros.

use std::num::IntErrorKind;
use std::str::FromStr as _;

use bigdecimal::BigDecimal;
use serde_json::{Number, Value as Json};

use super::decode::no_nul;
use super::{ColumnType, ValueError};

/// The largest exponent of a number that is written with one: those of all doubles are smaller.
pub(super) const EXPONENT: usize = 400;
/// The most characters of a document's number, written out: PostgreSQL holds 16,383 digits after the point.
const NUMBER_LENGTH: usize = 16_383 + EXPONENT;
/// Characters by which a value's numbers may grow when they are written out.
const GROWTH: usize = 16 << 20;

/// A document that both backends store alike: no NUL, and numbers that a double can hold.
pub(super) fn document(json: &Json) -> Result<Json, ValueError> {
    Room(GROWTH).document(json)
}

/// An array of values of type `of`, in their wire form.
pub(super) fn array(of: &ColumnType, json: &Json) -> Result<Json, ValueError> {
    Room(GROWTH).array(of, json)
}

/// About how many characters the number `text` has without its exponent; `None` if that is larger than [`EXPONENT`].
pub(super) fn written_out(text: &str) -> Option<usize> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let zeros = match exponent.parse::<i32>() {
        Ok(exponent) => usize::try_from(exponent.unsigned_abs()).ok()?,
        Err(broken) => match broken.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => return None,
            // No number at all, as whoever reads it will say.
            _ => 0,
        },
    };
    (zeros <= EXPONENT).then(|| digits.len().saturating_add(zeros))
}

/// What is left of [`GROWTH`].
struct Room(usize);

impl Room {
    fn take(&mut self, sent: usize, written: usize) -> Result<(), ValueError> {
        let left = self.0.checked_sub(written.saturating_sub(sent));
        self.0 = left.ok_or_else(|| ValueError::new("its numbers, written out, are too long"))?;
        Ok(())
    }

    fn document(&mut self, json: &Json) -> Result<Json, ValueError> {
        Ok(match json {
            Json::Null | Json::Bool(_) => json.clone(),
            Json::Number(n) => self.number(n)?,
            Json::String(text) => {
                no_nul(text)?;
                json.clone()
            }
            Json::Array(items) => {
                let items = items.iter().map(|item| self.document(item));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Json::Object(members) => {
                let members = members.iter().map(|(name, member)| {
                    no_nul(name)?;
                    Ok((name.clone(), self.document(member)?))
                });
                Json::Object(members.collect::<Result<_, ValueError>>()?)
            }
        })
    }

    fn number(&mut self, n: &Number) -> Result<Json, ValueError> {
        let out_of_range = || ValueError::new("a number out of range");
        let text = n.as_str();
        if n.as_f64().is_none_or(|x| !x.is_finite())
            || written_out(text).is_none_or(|length| length > NUMBER_LENGTH)
        {
            return Err(out_of_range());
        }
        if !text.contains(['e', 'E']) {
            return Ok(Json::Number(n.clone()));
        }
        let plain = BigDecimal::from_str(text)
            .map_err(|_refused| out_of_range())?
            .to_plain_string();
        self.take(text.len(), plain.len())?;
        serde_json::from_str(&plain).map_err(|_refused| out_of_range())
    }

    fn array(&mut self, of: &ColumnType, json: &Json) -> Result<Json, ValueError> {
        let items = json
            .as_array()
            .ok_or_else(|| ValueError::new("expected an array"))?;
        // SQL arrays are rectangular: either every item is an array, or none is.
        let nested = items.iter().filter(|item| item.is_array()).count();
        if nested == 0 || *of == ColumnType::Json {
            let items = items.iter().map(|item| self.item(of, item));
            return Ok(Json::Array(items.collect::<Result<_, _>>()?));
        }
        let lengths: Vec<Option<usize>> = items
            .iter()
            .map(|item| item.as_array().map(Vec::len))
            .collect();
        if lengths.windows(2).any(|pair| pair.first() != pair.last()) || lengths.contains(&Some(0))
        {
            return Err(ValueError::new(
                "nested arrays must all have the same length",
            ));
        }
        let items = items.iter().map(|item| self.array(of, item));
        Ok(Json::Array(items.collect::<Result<_, _>>()?))
    }

    fn item(&mut self, of: &ColumnType, sent: &Json) -> Result<Json, ValueError> {
        if *of == ColumnType::Json {
            return self.document(sent);
        }
        let item = of.encode(&of.decode(sent)?);
        self.take(length(sent), length(&item))?;
        Ok(item)
    }
}

fn length(json: &Json) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Number(n) => n.as_str().len(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(ty: &ColumnType, sent: Json, expect: Option<Json>) {
        let decoded = ty.decode(&sent).ok().map(|value| ty.encode(&value));
        assert_eq!(decoded, expect, "{ty:?} of {sent}");
    }

    #[test]
    fn documents_are_free_of_what_one_backend_could_not_store() {
        check(&ColumnType::Json, json!({"a": ["x\0"]}), None);
        check(&ColumnType::Json, json!({"a\0": 1}), None);
        check(
            &ColumnType::Json,
            serde_json::from_str("[1e2]").unwrap(),
            Some(json!([100])),
        );
        check(
            &ColumnType::Json,
            serde_json::from_str("1e999").unwrap(),
            None,
        );
        let exact: Json = serde_json::from_str("123456789012345678901234567890.5").unwrap();
        check(&ColumnType::Json, exact.clone(), Some(exact));
    }

    #[test]
    fn a_number_of_a_document_is_measured_before_it_is_written_out() {
        let check = |sent: &str, expect: Option<&str>| {
            let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
            check(&ColumnType::Json, json(sent), expect.map(json));
        };
        let smallest = format!("0.{}5", "0".repeat(323));
        check("[5e-324]", Some(&format!("[{smallest}]")));
        check("[1.50E+3]", Some("[1500]"));
        check("[0e9000000000000000000]", None);
        check("[1e-9000000000000000000]", None);
        check("[-1e-99999999999999999999]", None);
        check("[1e-999999999]", None);
        check(&format!("[0.{}1]", "0".repeat(16 << 20)), None);
    }

    #[test]
    fn a_document_does_not_grow_without_bound() {
        let many = |number: &str, count: usize| -> Json {
            serde_json::from_str(&format!("[{}1]", format!("{number},").repeat(count))).unwrap()
        };
        let of = ColumnType::Array(Box::new(ColumnType::Decimal {
            precision: None,
            scale: None,
        }));
        for ty in [ColumnType::Json, of] {
            assert!(ty.decode(&many("1e308", 10_000)).is_ok(), "{ty:?}");
            assert!(ty.decode(&many("1e308", 60_000)).is_err(), "{ty:?}");
            assert!(ty.decode(&many("0.125", 60_000)).is_ok(), "{ty:?}");
        }
    }

    #[test]
    fn arrays_hold_values_of_their_type_and_are_rectangular() {
        let of = ColumnType::Array(Box::new(ColumnType::Int { bits: 32 }));
        check(&of, json!([1, null, "2"]), Some(json!([1, null, 2])));
        check(&of, json!([[1], [2]]), Some(json!([[1], [2]])));
        check(&of, json!([[1], [2, 3]]), None);
        check(&of, json!([1, [2]]), None);
        check(&of, json!(["x"]), None);
    }
}
