//! A row's primary key and its text form, the `id` of the wire.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use crate::types::{ColumnType, ValueError};
use crate::{Table, Value};

/// A primary key, its parts in the order of the key's columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Vec<KeyPart>);

/// One column's part of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPart {
    /// An integer.
    Int(i64),
    /// Text, or a UUID in its canonical text.
    Text(String),
}

impl KeyPart {
    /// The part as the value of its column.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            KeyPart::Int(n) => Value::Int(*n),
            KeyPart::Text(text) => Value::Text(text.clone()),
        }
    }

    /// The part that a key column's value makes; only integers and text can be part of a key.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<KeyPart> {
        match value {
            Value::Int(n) => Some(KeyPart::Int(*n)),
            Value::Text(text) => Some(KeyPart::Text(text.clone())),
            Value::Null
            | Value::Bool(_)
            | Value::Real(_)
            | Value::Decimal(_)
            | Value::Bytes(_)
            | Value::Json(_) => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            KeyPart::Int(n) => Cow::Owned(n.to_string()),
            KeyPart::Text(text) => Cow::Borrowed(text),
        }
    }
}

impl fmt::Display for RowKey {
    /// The wire's `id`: the key's text, or the parts percent-encoded and joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => f.write_str(&only.text()),
            parts => {
                for (position, part) in parts.iter().enumerate() {
                    if position > 0 {
                        f.write_str(",")?;
                    }
                    // No more than what the comma needs, so that the triggers' SQL can write it too.
                    f.write_str(&part.text().replace('%', "%25").replace(',', "%2C"))?;
                }
                Ok(())
            }
        }
    }
}

impl RowKey {
    /// Reads the wire's `id` for `table`.
    ///
    /// # Errors
    /// If the number of parts or the type of one does not fit the table's key.
    pub fn from_id(table: &Table, id: &str) -> Result<RowKey, ValueError> {
        let columns = table.key_columns();
        if columns.len() == 1 {
            let parts = columns.iter().map(|column| part(&column.ty, id));
            return Ok(RowKey(parts.collect::<Result<_, _>>()?));
        }
        let texts: Vec<&str> = id.split(',').collect();
        if texts.len() != columns.len() {
            return Err(ValueError::new(format!(
                "the key of {} has {} parts, joined by commas",
                table.name,
                columns.len()
            )));
        }
        let parts = columns.iter().zip(texts).map(|(column, text)| {
            let text = percent_decode_str(text)
                .decode_utf8()
                .map_err(|_not_utf8| ValueError::new("percent-encoding is not UTF-8"))?;
            part(&column.ty, &text)
        });
        Ok(RowKey(parts.collect::<Result<_, _>>()?))
    }

    /// The key inside a whole row's values, in the table's column order.
    #[must_use]
    pub fn from_values(table: &Table, values: &[Value]) -> Option<RowKey> {
        let parts = table
            .key
            .iter()
            .map(|&at| KeyPart::from_value(values.get(at)?));
        parts.collect::<Option<_>>().map(RowKey)
    }
}

fn part(ty: &ColumnType, text: &str) -> Result<KeyPart, ValueError> {
    let value = ty.decode(&Json::String(text.to_owned()))?;
    KeyPart::from_value(&value).ok_or_else(|| ValueError::new("not a key"))
}
