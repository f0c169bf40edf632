//! What adopting a table means on both backends: why it may be refused.
//!
//! The statements themselves are each backend's own. Must not know a connection.

use std::fmt::Write as _;

use super::introspected::{Introspected, METADATA};

/// True of the rows that stand in the feed's index: all but those that are as they were adopted. A query that is to
/// use the index says it in these words, as neither database sees that a position bound to it is above 0. Not in others:
/// of two lower bounds SQLite would take the first, and look at all that has ever moved.
pub(super) const HAS_MOVED: &str = "sync_txid <> 0";

/// Why tables were not adopted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// Some of the tables cannot be synced; nothing was planned.
    #[error("{}", listing(.0))]
    Refused(Vec<Refusal>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// Everything that stands against syncing one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) table: String,
    pub(crate) problems: Vec<Problem>,
}

/// One thing that stands against syncing a table. Its text is a clause about the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("there is no such table")]
    Missing,
    #[error("it is {0}, not an ordinary table")]
    Kind(&'static str),
    #[error("it belongs to colsync itself")]
    Internal,
    #[error("it has no primary key")]
    NoKey,
    #[error("its primary key is DEFERRABLE, and no row can be made by such a key")]
    DeferrableKey,
    #[error("it has {0} columns, and colsync's triggers take at most {1}")]
    TooManyColumns(usize, usize),
    #[error("key column {column} is of type {ty}: a key is made of uuid, text and integer columns")]
    KeyType { column: String, ty: String },
    #[error(
        "key column {column} has collation {collation}, under which different keys may be equal"
    )]
    KeyCollation { column: String, collation: String },
    #[error("key column {column} is NULL in {count} row(s)")]
    NullKey { column: String, count: i64 },
    #[error("key column {column} is neither a number nor a text in {count} row(s)")]
    KeyBlob { column: String, count: i64 },
    #[error("column {column} is of type {ty}, which cannot be synced")]
    ColumnType { column: String, ty: String },
    #[error("column {0} has no declared type")]
    Undeclared(String),
    #[error("column {0}: names that begin with sync_ are colsync's own")]
    Reserved(String),
    #[error("it has a column with an empty name")]
    Unnamed,
    #[error("column {column} ({ty}) holds {count} value(s) that are not {expected}")]
    Values {
        column: String,
        ty: String,
        count: i64,
        expected: &'static str,
    },
}

impl Problem {
    /// Whether it only keeps a column out of sync that was added after the table was adopted.
    fn is_about_other_columns(&self) -> bool {
        match self {
            Problem::ColumnType { .. }
            | Problem::Undeclared(_)
            | Problem::Reserved(_)
            | Problem::Unnamed => true,
            Problem::Missing
            | Problem::Kind(_)
            | Problem::Internal
            | Problem::NoKey
            | Problem::DeferrableKey
            | Problem::TooManyColumns(..)
            | Problem::KeyType { .. }
            | Problem::KeyCollation { .. }
            | Problem::NullKey { .. }
            | Problem::KeyBlob { .. }
            | Problem::Values { .. } => false,
        }
    }
}

/// What stands against syncing the table, if anything. One already adopted is not refused for columns
/// that were added to it since: they are left out.
pub(super) fn problems(found: &Introspected, is_registered: bool) -> Vec<Problem> {
    let mut problems = found.problems.clone();
    if is_registered && found.adopted {
        problems.retain(|problem| {
            // Rows under a deferrable key are still changed.
            !problem.is_about_other_columns() && *problem != Problem::DeferrableKey
        });
    } else if !is_registered && !found.adopted {
        let taken = found.metadata.iter().cloned().map(Problem::Reserved);
        problems.extend(taken);
    }
    problems
}

/// Those of colsync's own columns that the table lacks.
pub(super) fn missing_metadata(found: &Introspected) -> Vec<&'static str> {
    METADATA
        .into_iter()
        .filter(|name| !found.metadata.iter().any(|has| has == name))
        .collect()
}

/// What is to be done where a table that was adopted before lacks colsync's columns: it was dropped and made anew, or has
/// lost them. Its rows' versions begin again, and what clients know of the ones before is of another history, as it is
/// after a restore: all cursors expire.
pub(super) fn forgotten_history(is_registered: bool, missing: &[&str]) -> Option<String> {
    (is_registered && !missing.is_empty()).then(|| "DELETE FROM colsync_anchors;".to_owned())
}

/// Whether the name is that of one of colsync's own tables, or of diesel's.
pub(super) fn is_internal(table: &str) -> bool {
    let name = table.to_ascii_lowercase();
    name.starts_with("colsync_") || name == "__diesel_schema_migrations"
}

fn listing(refusals: &[Refusal]) -> String {
    let mut text = String::from("cannot adopt:");
    for refusal in refusals {
        for problem in &refusal.problems {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {}: {problem}", refusal.table);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_every_reason() {
        let error = AdoptError::Refused(vec![Refusal {
            table: "todos".to_owned(),
            problems: vec![Problem::NoKey, Problem::Reserved("sync_x".to_owned())],
        }]);
        assert_eq!(
            error.to_string(),
            "cannot adopt:\n  todos: it has no primary key\n  todos: column sync_x: names that begin \
             with sync_ are colsync's own"
        );
    }
}
