//! A line of a pull: one row, or a checkpoint.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::error::Error;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// A row's state.
    Row(Change),
    /// Resume here.
    Checkpoint { cursor: String, complete: bool },
}

/// What the server says of one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) what: What,
}

/// What became of the row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// These are its values now, all of them if `full`.
    Columns {
        version: i64,
        full: bool,
        columns: BTreeMap<String, Json>,
    },
    /// It is gone, for this client at least.
    Removed,
}

/// A line as it comes, before it is known which it is. One struct and not an untagged enum: that would go
/// through a form that cannot hold numbers of any size.
#[derive(Deserialize)]
struct Raw {
    table: Option<String>,
    id: Option<String>,
    version: Option<i64>,
    #[serde(default)]
    full: bool,
    columns: Option<BTreeMap<String, Json>>,
    removed: Option<String>,
    checkpoint: Option<String>,
    #[serde(default)]
    complete: bool,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Nonsense`] if it is none of the protocol's.
    pub(crate) fn read(line: &[u8]) -> Result<Line, Error> {
        let nonsense = || Error::Nonsense("a line of a pull that is none".to_owned());
        let raw: Raw = serde_json::from_slice(line)
            .map_err(|broken| Error::Nonsense(format!("a line of a pull: {broken}")))?;
        if let Some(cursor) = raw.checkpoint {
            let complete = raw.complete;
            return Ok(Line::Checkpoint { cursor, complete });
        }
        let (Some(table), Some(id)) = (raw.table, raw.id) else {
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
        let read = |line: &str| Line::read(line.as_bytes());
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
