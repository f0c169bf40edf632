//! The lines of a pull: what each says of a row, written straight into the answer.
//!
//! Knows what the client has; which rows come is the feed's to say.

use colsync_shared::{ClientId, ColumnType};
use serde::Serialize;

use super::rowstate::entry;
use crate::store::horizon::Horizon;
use crate::store::model::{DELETED, StoredRow, TableInfo};

/// What a client has of a table.
pub(super) struct View<'a> {
    /// Whether it has the table at all.
    pub(super) covered: bool,
    /// What it has of the rows; `None`: perhaps nothing.
    pub(super) floor: Option<&'a Horizon>,
    /// Whose writes need no echo.
    pub(super) echo_of: Option<ClientId>,
}

impl View<'_> {
    fn is_new(&self, txid: i64) -> bool {
        self.floor.is_none_or(|horizon| !horizon.sees(txid))
    }

    fn is_own(&self, client: Option<ClientId>) -> bool {
        self.echo_of.is_some() && client == self.echo_of
    }
}

/// The lines of one table.
pub(super) struct Lines<'a> {
    /// `{"table":"todos","id":`
    head: Vec<u8>,
    columns: Vec<Column<'a>>,
}

/// A column as its lines have it.
struct Column<'a> {
    name: &'a str,
    ty: &'a ColumnType,
    is_key: bool,
    /// `"title":`
    head: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Those of `table`.
    pub(super) fn of(table: &'a TableInfo) -> Lines<'a> {
        let mut head = b"{\"table\":".to_vec();
        write(&table.spec.name, &mut head);
        head.extend_from_slice(b",\"id\":");
        let columns = table.spec.columns.iter().enumerate().map(|(at, column)| {
            let mut head = Vec::new();
            write(&column.name, &mut head);
            head.push(b':');
            Column {
                name: &column.name,
                ty: &column.ty,
                is_key: table.spec.is_key(at),
                head,
            }
        });
        Lines {
            head,
            columns: columns.collect(),
        }
    }

    /// Writes what a pull says of `row` to `out`: nothing, if the client has it all.
    pub(super) fn row(&self, row: &StoredRow, view: &View<'_>, out: &mut Vec<u8>) {
        let flag = entry(row, DELETED);
        if row.deleted_at.is_some() {
            let is_own = view.is_own(flag.stamp.map(|stamp| stamp.client));
            if view.covered && view.is_new(flag.txid) && !is_own {
                self.removed(&row.key.to_string(), "deleted", out);
            }
            return;
        }
        let birth = row.stamps.birth_txid;
        let born = view.is_new(birth) && !view.is_own(Some(row.default_client));
        let revived = flag.txid != birth && view.is_new(flag.txid);
        if born || revived {
            self.columns(row, true, |_column| true, out);
        } else {
            self.columns(row, false, |column| is_told(row, column, view), out);
        }
    }

    /// Writes that the row is gone.
    pub(super) fn removed(&self, id: &str, why: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        write(id, out);
        out.extend_from_slice(b",\"removed\":");
        write(why, out);
        out.extend_from_slice(b"}\n");
    }

    /// Writes the columns that are told; of none there is no line.
    fn columns(
        &self,
        row: &StoredRow,
        full: bool,
        is_told: impl Fn(&Column<'_>) -> bool,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(&self.head);
        write(&row.key.to_string(), out);
        out.extend_from_slice(b",\"version\":");
        write(&row.version, out);
        out.extend_from_slice(if full {
            b",\"full\":true,\"columns\":{"
        } else {
            b",\"columns\":{"
        });
        let first = out.len();
        for (column, value) in self.columns.iter().zip(&row.values) {
            if is_told(column) {
                if out.len() > first {
                    out.push(b',');
                }
                out.extend_from_slice(&column.head);
                column.ty.encode_raw(value, out);
            }
        }
        if out.len() == first && !full {
            out.truncate(start);
        } else {
            out.extend_from_slice(b"}}\n");
        }
    }
}

/// Whether the client lacks the column's value, of a row that it has.
fn is_told(row: &StoredRow, column: &Column<'_>, view: &View<'_>) -> bool {
    let entry = entry(row, column.name);
    // What the database filled in when the row was made is its maker's.
    let writer = entry.stamp.map_or(row.default_client, |stamp| stamp.client);
    !column.is_key && view.is_new(entry.txid) && !view.is_own(Some(writer))
}

/// Writes where the pull can be resumed.
pub(super) fn checkpoint(cursor: &str, complete: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"checkpoint\":");
    write(cursor, out);
    out.extend_from_slice(b",\"complete\":");
    write(&complete, out);
    out.extend_from_slice(b"}\n");
}

fn write<T: Serialize + ?Sized>(json: &T, out: &mut Vec<u8>) {
    // Writing text and numbers into memory cannot fail.
    let _ = serde_json::to_writer(out, json);
}
