//! The body of a push, in each of the modes. Knows JSON, and nothing of the file.

use std::collections::{BTreeMap, BTreeSet};

use colsync_shared::{Op, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::edit::{WireColumn, WireEdit};

/// The body of a push. One of the three lists is there, as its mode has it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) push: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edits: Option<Vec<WireEdit>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<Vec<Entry>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<Vec<WholeRow>>,
}

/// One edit of a transaction log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) table: String,
    /// None of a new row whose key the server makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) action: Op,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_version: Option<i64>,
    pub(crate) at: Time,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) columns: BTreeMap<String, Json>,
    /// The values edited from, where the policy needs them or the base version is lost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) base: BTreeMap<String, Json>,
    /// Columns that the app had not in view, where that is not for the base version to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<String>,
}

/// A row as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WholeRow {
    pub(crate) table: String,
    /// None of a new row whose key the server makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_version: Option<i64>,
    pub(crate) at: Time,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) columns: BTreeMap<String, Json>,
    /// Columns that the app had not in view, where that is not for the base version to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<String>,
}

impl Body {
    /// Gives each new row the id that the server `made`, by the row's place among the rows of the push.
    pub(crate) fn name_made(&mut self, made: impl Fn(usize) -> Option<String>) {
        let edits = self.edits.iter_mut().flatten();
        let entries = self.entries.iter_mut().flatten();
        let rows = self.rows.iter_mut().flatten();
        let items = edits
            .map(|edit| (&edit.table, &mut edit.id))
            .chain(entries.map(|entry| (&entry.table, &mut entry.id)))
            .chain(rows.map(|row| (&row.table, &mut row.id)));
        let mut known = BTreeSet::new();
        let mut place = 0;
        for (table, id) in items {
            match id {
                Some(id) => {
                    if known.insert((table.clone(), id.clone())) {
                        place += 1;
                    }
                }
                None => {
                    *id = made(place);
                    place += 1;
                }
            }
        }
    }

    /// What is asked for, one edit for each receipt.
    pub(crate) fn into_edits(self) -> Vec<WireEdit> {
        let edits = self.edits.unwrap_or_default().into_iter();
        let entries = self.entries.unwrap_or_default().into_iter();
        let rows = self.rows.unwrap_or_default().into_iter();
        edits
            .chain(entries.map(Entry::into_edit))
            .chain(rows.map(WholeRow::into_edit))
            .collect()
    }
}

impl Entry {
    /// The entry that makes a row, of the edit that does.
    pub(crate) fn of(edit: WireEdit) -> Entry {
        let columns = edit.columns.into_iter();
        Entry {
            table: edit.table,
            id: edit.id,
            action: edit.op,
            base_version: edit.base_version,
            at: edit.at,
            columns: columns.map(|(name, column)| (name, column.value)).collect(),
            base: BTreeMap::new(),
            unseen: Vec::new(),
        }
    }

    pub(crate) fn into_edit(self) -> WireEdit {
        let base = self.base;
        let columns = self.columns.into_iter().map(|(name, value)| {
            let base = base.get(&name).cloned();
            (name, plain(value, base))
        });
        WireEdit {
            table: self.table,
            id: self.id,
            op: self.action,
            base_version: self.base_version,
            at: self.at,
            columns: columns.collect(),
        }
    }
}

impl WholeRow {
    /// The whole row of which `edit` changes some columns, or which it makes or deletes; `all` are its values.
    pub(crate) fn of(edit: WireEdit, base_version: i64, all: BTreeMap<String, Json>) -> WholeRow {
        let times = edit.columns.values().filter_map(|column| column.at);
        let deleted = matches!(edit.op, Op::Delete | Op::HardDelete);
        WholeRow {
            at: times.fold(edit.at, Ord::max),
            table: edit.table,
            id: edit.id,
            base_version: Some(base_version),
            deleted,
            columns: if deleted { BTreeMap::new() } else { all },
            unseen: Vec::new(),
        }
    }

    fn into_edit(self) -> WireEdit {
        let columns = self.columns.into_iter();
        WireEdit {
            table: self.table,
            id: self.id,
            op: if self.deleted {
                Op::Delete
            } else {
                Op::Replace
            },
            base_version: self.base_version,
            at: self.at,
            columns: columns
                .map(|(name, value)| (name, plain(value, None)))
                .collect(),
        }
    }
}

fn plain(value: Json, base: Option<Json>) -> WireColumn {
    WireColumn {
        value,
        base,
        base_version: None,
        at: None,
        local: false,
        plain: false,
    }
}
