//! What a table looks like in the database, whichever backend it is in.
//!
//! Says what stands against syncing a table, and decides nothing about it. Must not know a connection.

use colsync_shared::Column;
use colsync_shared::schema_wire::ForeignKeyWire;

use super::adopt::Problem;

/// A table as found.
#[derive(Debug, Clone)]
pub(crate) struct Introspected {
    /// The columns that take part in sync, in the database's order: neither colsync's own, nor generated
    /// ones, nor those of a type that colsync cannot sync (these are among `problems`).
    pub(crate) columns: Vec<Column>,
    /// Positions of the key's columns in `columns`, in the key's order.
    pub(crate) key: Vec<usize>,
    /// For each of `columns`, the type's name to cast to (PostgreSQL, without length or scale) or as
    /// declared (SQLite).
    pub(crate) sql_types: Vec<String>,
    /// Whether other triggers than colsync's are on it.
    pub(crate) has_foreign_triggers: bool,
    /// Whether its constraints say ON CONFLICT (SQLite): then a statement that does not say otherwise may delete other
    /// rows, or write nothing.
    pub(crate) resolves_conflicts: bool,
    /// Names of all tables that its foreign keys point to, itself perhaps among them.
    pub(crate) parents: Vec<String>,
    /// Its foreign keys to tables of the same schema, with the columns they mean, in order. They may name
    /// tables and columns that are not synced.
    pub(crate) foreign_keys: Vec<ForeignKeyWire>,
    /// Names of colsync's own columns that it has.
    pub(crate) metadata: Vec<String>,
    /// Whether it has all of colsync's own columns.
    pub(crate) adopted: bool,
    /// What stands against syncing it, as far as its definition tells.
    pub(crate) problems: Vec<Problem>,
}

/// colsync's own columns, in the order in which they are added.
pub(crate) const METADATA: [&str; 7] = [
    "sync_version",
    "sync_deleted_at",
    "sync_server_last_updated",
    "sync_client_last_updated",
    "sync_client_id",
    "sync_stamps",
    "sync_txid",
];

impl Introspected {
    /// A table of which nothing is known yet.
    pub(super) fn empty() -> Self {
        Introspected {
            columns: Vec::new(),
            key: Vec::new(),
            sql_types: Vec::new(),
            has_foreign_triggers: false,
            resolves_conflicts: false,
            parents: Vec::new(),
            foreign_keys: Vec::new(),
            metadata: Vec::new(),
            adopted: false,
            problems: Vec::new(),
        }
    }

    /// The key's columns, in the key's order.
    pub(crate) fn key_columns(&self) -> Vec<&Column> {
        self.key
            .iter()
            .filter_map(|&at| self.columns.get(at))
            .collect()
    }
}
