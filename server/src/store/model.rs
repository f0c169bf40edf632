//! What passes between `sync` and the database: rows with their metadata, and what to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use colsync_shared::schema_wire::ForeignKeyWire;
use colsync_shared::{ClientId, RowKey, Stamp, Table, Time, Value};

use super::late::Late;
use super::pointed::Acting;
use super::statement::Kept;

/// A synced table as found in the database.
#[derive(Debug, Clone)]
pub(crate) struct TableInfo {
    /// Its identity in `colsync_tables`; a table dropped and adopted anew gets another.
    pub(crate) id: i64,
    /// What the merge needs to know of it.
    pub(crate) spec: Table,
    /// For each of `spec.columns`, the type's name to cast to (PostgreSQL, without length or scale) or
    /// as declared (SQLite).
    pub(crate) sql_types: Vec<String>,
    /// Whether writing a row may change more than was written: other triggers than colsync's are on it.
    pub(crate) has_foreign_triggers: bool,
    /// Whether its constraints say ON CONFLICT: every write of it says otherwise.
    pub(crate) resolves_conflicts: bool,
    /// Names of the tables that this one's foreign keys point to.
    pub(crate) parents: Vec<String>,
    /// Its foreign keys of which both ends are synced.
    pub(crate) foreign_keys: Vec<ForeignKeyWire>,
    /// The foreign keys into it that would take synced rows, or what they hold, with one of its rows; where rows may be removed
    /// for good.
    pub(crate) acting: Vec<Acting>,
    /// The foreign keys of it and into it that SQLite checks at COMMIT only.
    pub(crate) late: Vec<Late>,
    /// Statements about it that stay prepared.
    pub(crate) kept: Kept,
}

/// All synced tables, parents before children, otherwise in their configured order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Arc<TableInfo>>,
    /// Changes whenever a client would see another schema.
    pub(crate) hash: String,
    /// Whether writing a row may change others: there are other triggers than colsync's, or foreign keys that act.
    pub(crate) others_change: bool,
    /// PostgreSQL's unique constraints that are checked at COMMIT, as SQL lists them; `None` if there are none.
    pub(crate) late_uniques: Option<String>,
}

impl Schema {
    pub(crate) fn table(&self, name: &str) -> Option<&Arc<TableInfo>> {
        self.tables.iter().find(|table| table.spec.name == name)
    }
}

/// A column's own entry in `sync_stamps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// None: unknown.
    pub(crate) stamp: Option<Stamp>,
    /// The row's version when the column changed last.
    pub(crate) version: i64,
    /// The feed position of that change.
    pub(crate) txid: i64,
}

/// The sparse map of a row, and the birth that columns without an entry inherit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// The row's version and feed position when it was made; what columns without an entry have.
    pub(crate) birth_version: i64,
    pub(crate) birth_txid: i64,
    /// By column name; the deleted flag stands under [`DELETED`].
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// The entry of the row's deleted flag.
pub(crate) const DELETED: &str = "sync_deleted_at";

/// A row with everything colsync keeps about it.
#[derive(Debug, Clone)]
pub(crate) struct StoredRow {
    pub(crate) key: RowKey,
    /// In the order of the table's columns.
    pub(crate) values: Vec<Value>,
    pub(crate) version: i64,
    pub(crate) deleted_at: Option<Time>,
    pub(crate) server_time: Time,
    /// What columns without an entry inherit. A missing time makes the whole stamp unknown.
    pub(crate) default_time: Option<Time>,
    pub(crate) default_client: ClientId,
    pub(crate) stamps: Stamps,
    /// Position of the row's last change in the feed.
    pub(crate) txid: i64,
}

/// A row to be made. Columns not named take the database's default.
#[derive(Debug, Clone)]
pub(crate) struct NewRow {
    /// None: the database makes the key.
    pub(crate) key: Option<RowKey>,
    /// Position in the table's columns and value, key columns not among them.
    pub(crate) values: Vec<(usize, Value)>,
    pub(crate) version: i64,
    pub(crate) server_time: Time,
    pub(crate) default: Stamp,
    /// Entries of columns whose stamp is not the row's default, without txid: it is the transaction's.
    pub(crate) entries: Vec<(usize, Stamp)>,
}

/// A locked row to be written back. Its version, stamps and txid are already the new ones.
#[derive(Debug, Clone)]
pub(crate) struct RowUpdate<'a> {
    pub(crate) row: &'a StoredRow,
    /// Columns whose value changed; empty where only stamps or the deleted flag did.
    pub(crate) changed: Vec<usize>,
    /// The version of the row that is written over. Where it has another one in its table, a trigger of the user's own has
    /// written it meanwhile, and what that has changed would lose its entry.
    pub(crate) over: i64,
}

impl RowUpdate<'_> {
    /// A row whose values are as they were at the version `over`.
    pub(crate) fn of_metadata(row: &StoredRow, over: i64) -> RowUpdate<'_> {
        RowUpdate {
            row,
            changed: Vec::new(),
            over,
        }
    }
}
