//! A line of a pull: one row, or a checkpoint.
//!
//! It is read in place: names and values are those of the text that came, and a value is decoded once it is known
//! which column takes it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::error::Error;

/// What a line says.
#[derive(Debug)]
pub(crate) enum Line<'a> {
    /// A row's state.
    Row(Change<'a>),
    /// Resume here.
    Checkpoint { cursor: String, complete: bool },
}

/// What the server says of one row.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) table: Cow<'a, str>,
    pub(crate) id: Cow<'a, str>,
    pub(crate) what: What<'a>,
}

/// What became of the row.
#[derive(Debug)]
pub(crate) enum What<'a> {
    /// These are its values now, all of them if `full`.
    Columns {
        version: i64,
        full: bool,
        columns: Columns<'a>,
    },
    /// It is gone, for this client at least.
    Removed,
}

/// Columns by the server's names, each with its value as JSON text, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Columns<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Columns<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// The value of the column `name`, which is most likely the one at `place`.
    pub(crate) fn get(&self, name: &str, place: usize) -> Option<&str> {
        let likely = self.0.get(place).filter(|(there, _)| there == name);
        let found = likely.or_else(|| self.0.iter().find(|(there, _)| there == name));
        found.map(|(_, value)| value.get())
    }

    /// All of them, as what cannot be written yet is kept.
    ///
    /// # Errors
    /// [`Error::Nonsense`] for a document that nests too deep.
    pub(crate) fn documents(&self) -> Result<BTreeMap<String, Json>, Error> {
        let columns = self.0.iter().map(|(name, value)| {
            let value = serde_json::from_str(value.get())
                .map_err(|broken| Error::Nonsense(format!("a value of a pull: {broken}")))?;
            Ok((name.to_string(), value))
        });
        columns.collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Columns<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Columns<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of columns")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut members: A,
            ) -> Result<Columns<'de>, A::Error> {
                let mut columns = Vec::with_capacity(16);
                while let Some((Text(name), value)) = members.next_entry()? {
                    columns.push((name, value));
                }
                Ok(Columns(columns))
            }
        }
        from.deserialize_map(Members)
    }
}

/// A text that is borrowed where no escape is in it. serde does so for a plain [`Cow`] alone, and not inside of
/// an [`Option`].
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Either)
    }
}

/// A line as it comes, before it is known which it is. One struct and not an untagged enum: that would go
/// through a form that cannot hold numbers of any size.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    table: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    version: Option<i64>,
    #[serde(default)]
    full: bool,
    #[serde(borrow)]
    columns: Option<Columns<'a>>,
    #[serde(borrow)]
    removed: Option<Text<'a>>,
    checkpoint: Option<String>,
    #[serde(default)]
    complete: bool,
}

impl<'a> Line<'a> {
    /// Whether the line is a row's, by its beginning; of another it is not known before it is read.
    pub(crate) fn is_row(line: &[u8]) -> bool {
        line.starts_with(b"{\"table\":")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Nonsense`] if it is none of the protocol's.
    pub(crate) fn read(line: &'a str) -> Result<Line<'a>, Error> {
        let nonsense = || Error::Nonsense("a line of a pull that is none".to_owned());
        let raw: Raw<'a> = serde_json::from_str(line)
            .map_err(|broken| Error::Nonsense(format!("a line of a pull: {broken}")))?;
        if let Some(cursor) = raw.checkpoint {
            let complete = raw.complete;
            return Ok(Line::Checkpoint { cursor, complete });
        }
        let (Some(Text(table)), Some(Text(id))) = (raw.table, raw.id) else {
            return Err(nonsense());
        };
        let what = match (raw.removed, raw.version, raw.columns) {
            (Some(_why), _, _) => What::Removed,
            (None, Some(version), Some(columns)) => What::Columns {
                version,
                full: raw.full,
                columns,
            },
            (None, _, _) => return Err(nonsense()),
        };
        Ok(Line::Row(Change { table, id, what }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_row_a_removal_or_a_checkpoint() {
        fn read(line: &str) -> Result<Line<'_>, Error> {
            Line::read(line)
        }
        assert!(matches!(
            read(r#"{"table":"t","id":"1","version":2,"columns":{"n":12345678901234567890.5}}"#),
            Ok(Line::Row(Change {
                what: What::Columns {
                    version: 2,
                    full: false,
                    ..
                },
                ..
            }))
        ));
        assert!(matches!(
            read(r#"{"table":"t","id":"1","removed":"out_of_scope"}"#),
            Ok(Line::Row(Change {
                what: What::Removed,
                ..
            }))
        ));
        assert!(matches!(
            read(r#"{"checkpoint":"abc","complete":true}"#),
            Ok(Line::Checkpoint { complete: true, .. })
        ));
        for hostile in ["", "{}", "[]", "{\"table\":1}", r#"{"table":"t","id":"1"}"#] {
            assert!(
                matches!(read(hostile), Err(Error::Nonsense(_))),
                "{hostile}"
            );
        }
    }
}
