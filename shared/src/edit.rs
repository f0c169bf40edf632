//! An edit: an intention going up, decoded and typed.

use serde::{Deserialize, Serialize};

use crate::{RowKey, Time, Value};

/// What an edit wants of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Make the row; if it exists, merge into it.
    Insert,
    /// Change columns of a row that exists.
    Update,
    /// Delete the row softly.
    Delete,
    /// Write the whole row; make it if it does not exist.
    Replace,
    /// Remove the row from its table, and leave a tombstone.
    HardDelete,
}

/// One edit of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// The row; `None` where the server makes the key.
    pub key: Option<RowKey>,
    /// What to do.
    pub op: Op,
    /// The row's version that the client had in view; `None` if it knew none.
    pub base_version: Option<i64>,
    /// ClientLastUpdated of the edit as a whole: a delete's, and a made row's default.
    pub at: Time,
    /// The columns named, none twice, none of the key.
    pub columns: Vec<ColumnEdit>,
    /// Positions of columns that the client had not in view, whatever version it names: its table lacks them.
    pub unseen: Vec<usize>,
}

/// One column of an edit.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnEdit {
    /// Position in the table's columns.
    pub column: usize,
    /// The edited value.
    pub value: Value,
    /// The Original value, where the client sent it.
    pub base: Option<Value>,
    /// The version at which the client saw this column, where it is not the edit's.
    pub base_version: Option<i64>,
    /// ClientLastUpdated of this column.
    pub at: Time,
}
