//! Reading rows of the user's tables: the select list, keys in conditions, and rows made of cells.

use colsync_shared::key::KeyPart;
use colsync_shared::{ClientId, RowKey, Time};
use uuid::Uuid;

use super::conn::{Backend, Conn};
use super::error::StoreError;
use super::introspected::METADATA;
use super::model::{Stamps, StoredRow, TableInfo};
use super::statement::{Bind, Cell, DynRow, Statement};
use super::{pg, sqlite};
use colsync_shared::sql::quote;

/// All columns of the table `t`, then colsync's own.
pub(crate) fn list(backend: Backend, table: &TableInfo) -> String {
    list_of(backend, table, "t.")
}

/// The same, each name after `prefix`.
pub(crate) fn list_of(backend: Backend, table: &TableInfo, prefix: &str) -> String {
    let mut list = String::new();
    for column in &table.spec.columns {
        let name = format!("{prefix}{}", quote(&column.name));
        match backend {
            Backend::Pg => list.push_str(&pg::values::read_expression(&name, &column.ty)),
            Backend::Sqlite => list.push_str(&name),
        }
        list.push_str(", ");
    }
    list.push_str(&METADATA.map(|name| format!("{prefix}{name}")).join(", "));
    list
}

/// Names of the key's columns, each after `prefix`, joined by commas.
pub(crate) fn key_names(table: &TableInfo, prefix: &str) -> String {
    let names = table
        .spec
        .key_columns()
        .into_iter()
        .map(|column| format!("{prefix}{}", quote(&column.name)));
    names.collect::<Vec<_>>().join(", ")
}

/// Placeholders for a key, joined by commas.
pub(crate) fn key_places(backend: Backend, table: &TableInfo) -> String {
    let places = table.spec.key.iter().map(|&at| match backend {
        Backend::Pg => format!("(:?)::{}", sql_type(table, at)),
        Backend::Sqlite => ":?".to_owned(),
    });
    places.collect::<Vec<_>>().join(", ")
}

pub(crate) fn key_binds(backend: Backend, key: &RowKey) -> Vec<Bind> {
    let binds = key.0.iter().map(|part| match (backend, part) {
        (_, KeyPart::Text(text)) => Bind::Text(text.clone()),
        (Backend::Pg, KeyPart::Int(n)) => Bind::Text(n.to_string()),
        (Backend::Sqlite, KeyPart::Int(n)) => Bind::Int(*n),
    });
    binds.collect()
}

pub(crate) fn sql_type(table: &TableInfo, column: usize) -> &str {
    table.sql_types.get(column).map_or("text", String::as_str)
}

impl Conn {
    /// Runs a statement that selects [`list`] of `table`.
    pub(crate) fn load_rows(
        &mut self,
        table: &TableInfo,
        statement: Statement,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let backend = self.backend();
        self.load(statement)?
            .into_iter()
            .map(|row| stored(backend, table, row))
            .collect()
    }
}

/// The row that a select of [`list`] gave.
pub(crate) fn stored(
    backend: Backend,
    table: &TableInfo,
    row: DynRow,
) -> Result<StoredRow, StoreError> {
    let mut cells = row.0.into_iter();
    let mut values = Vec::with_capacity(table.spec.columns.len());
    for column in &table.spec.columns {
        let cell = cells.next().unwrap_or(Cell::Null);
        values.push(match backend {
            Backend::Pg => pg::values::read(&column.ty, cell)?,
            Backend::Sqlite => sqlite::values::read(&column.ty, cell),
        });
    }
    let corrupt = |what: &str| StoreError::Corrupt(format!("{}: {what}", table.spec.name));
    let mut next = || cells.next().unwrap_or(Cell::Null);
    let version = next().int().ok_or_else(|| corrupt("no sync_version"))?;
    let deletion = next();
    let server_time = next()
        .int()
        .map(Time::from_micros)
        .ok_or_else(|| corrupt("no sync_server_last_updated"))?;
    let deleted_at = match deletion {
        Cell::Null => None,
        Cell::Int(micros) => Some(Time::from_micros(micros)),
        // SQLite holds whatever direct SQL put there; the row is deleted all the same.
        Cell::Bool(_) | Cell::Real(_) | Cell::Text(_) | Cell::Bytes(_) => Some(server_time),
    };
    let default_time = next().int().map(Time::from_micros);
    let default_client = match next() {
        Cell::Text(text) => Uuid::parse_str(&text).ok(),
        Cell::Bytes(bytes) => Uuid::from_slice(&bytes).ok(),
        Cell::Null | Cell::Bool(_) | Cell::Int(_) | Cell::Real(_) => None,
    };
    let stamps = next();
    let txid = next().int().ok_or_else(|| corrupt("no sync_txid"))?;
    let key = RowKey::from_values(&table.spec, &values)
        .ok_or_else(|| corrupt("a key that is not one"))?;
    Ok(StoredRow {
        key,
        values,
        version,
        deleted_at,
        server_time,
        default_time,
        default_client: default_client
            .map(ClientId)
            .ok_or_else(|| corrupt("no sync_client_id"))?,
        stamps: Stamps::read(stamps.text(), version, txid)?,
        txid,
    })
}
