//! Between a stored row and the row that the merge sees.

use colsync_shared::merge::row::RowMerge;
use colsync_shared::merge::{self, Cell, Merged, UNWRITTEN};
use colsync_shared::{Stamp, Time, Value};

use crate::store::model::{DELETED, Entry, StoredRow, TableInfo};

/// What a column without an entry of its own inherits.
fn inherited(row: &StoredRow) -> Entry {
    let client = row.default_client;
    Entry {
        stamp: row.default_time.map(|time| Stamp { time, client }),
        version: row.stamps.birth_version,
        txid: row.stamps.birth_txid,
    }
}

/// The entry of the column called `name`, its own or the inherited one.
pub(crate) fn entry(row: &StoredRow, name: &str) -> Entry {
    row.stamps
        .entries
        .get(name)
        .copied()
        .unwrap_or_else(|| inherited(row))
}

/// Whether the column holds what the database put there when the row was made: NULL, or a default.
fn is_unwritten(row: &StoredRow, name: &str, value: &Value) -> bool {
    match row.stamps.entries.get(name) {
        None => value.is_null(),
        Some(entry) => entry.stamp.is_none() && entry.txid == row.stamps.birth_txid,
    }
}

/// The row as the merge sees it.
pub(super) fn for_merge(table: &TableInfo, row: &StoredRow) -> merge::Row {
    let cell = |value: Value, name: &str| {
        let Entry {
            stamp,
            version,
            txid: _,
        } = entry(row, name);
        Cell {
            value,
            stamp,
            version,
        }
    };
    let cells = table
        .spec
        .columns
        .iter()
        .zip(&row.values)
        .map(|(column, value)| {
            if is_unwritten(row, &column.name, value) {
                return Cell {
                    value: value.clone(),
                    stamp: None,
                    version: UNWRITTEN,
                };
            }
            cell(value.clone(), &column.name)
        });
    let cells = cells.collect();
    let deleted = cell(Value::Bool(row.deleted_at.is_some()), DELETED);
    merge::Row {
        version: row.version,
        deleted,
        cells,
    }
}

/// Writes what merging gave into `row`, as of the feed position `txid`. Returns the columns whose value
/// changed, or nothing if the row is as it was, stamps and all.
pub(super) fn store(
    table: &TableInfo,
    row: &mut StoredRow,
    merge: &RowMerge,
    txid: i64,
    now: Time,
) -> Option<Vec<usize>> {
    let mut changed = Vec::new();
    let mut touched = false;
    for (at, merged) in &merge.columns {
        let Some(column) = table.spec.columns.get(*at) else {
            continue;
        };
        touched |= restamp(row, &column.name, merged, txid);
        if merged.changed {
            if let Some(value) = row.values.get_mut(*at) {
                value.clone_from(&merged.cell.value);
            }
            changed.push(*at);
        }
    }
    for (at, cell) in &merge.restamped {
        if let Some(column) = table.spec.columns.get(*at) {
            touched |= stamp(row, &column.name, cell, row.version, None);
        }
    }
    if let Some(flag) = &merge.deleted {
        touched |= restamp(row, DELETED, flag, txid);
        if flag.changed {
            row.deleted_at = (flag.cell.value == Value::Bool(true)).then_some(now);
        }
    }
    if merge.changed() {
        row.version = merge.row.version;
        row.txid = txid;
        row.server_time = now;
    }
    touched.then_some(changed)
}

/// Gives the column its new stamp; false if it has it already.
fn restamp(row: &mut StoredRow, name: &str, merged: &Merged, txid: i64) -> bool {
    let moved = merged.changed.then_some(txid);
    stamp(row, name, &merged.cell, row.version, moved)
}

/// Gives the column the stamp of `cell`, its version if that is a new one of the row at `row_version`, and the
/// feed position `moved` if its value has changed: a column that only shares its group's stamp is where it
/// was in the feed, as every reader of that position has its value.
fn stamp(
    row: &mut StoredRow,
    name: &str,
    cell: &Cell,
    row_version: i64,
    moved: Option<i64>,
) -> bool {
    let known = entry(row, name);
    let is_new = moved.is_some() || cell.version > row_version;
    let new = Entry {
        stamp: cell.stamp,
        version: if is_new { cell.version } else { known.version },
        txid: moved.unwrap_or(known.txid),
    };
    let has_own = row.stamps.entries.contains_key(name);
    // What nobody has written stays so.
    let is_unwritten = moved.is_none() && new.stamp.is_none() && !has_own;
    if new == known || is_unwritten {
        return false;
    }
    if new == inherited(row) {
        row.stamps.entries.remove(name);
    } else {
        row.stamps.entries.insert(name.to_owned(), new);
    }
    true
}
