//! Rows of the user's tables, on either backend: locked, made, written back, removed.

use std::collections::HashMap;

use colsync_shared::sql::quote;
use colsync_shared::{ClientId, RowKey, Stamp};

use super::conn::Conn;
use super::error::StoreError;
use super::model::{Entry, NewRow, RowUpdate, StoredRow, TableInfo};
use super::statement::{Bind, Statement};
use super::{pg, select, sqlite};

type Result<T> = std::result::Result<T, StoreError>;

impl Conn {
    /// The rows of these keys that are there, and the transaction's position in the feed if it came with them.
    pub(crate) fn lock_rows(
        &mut self,
        table: &TableInfo,
        keys: &[RowKey],
    ) -> Result<(Vec<StoredRow>, Option<i64>)> {
        let found = match self {
            Conn::Pg(c) => pg::rows::lock(c, table, keys),
            Conn::Sqlite(c) => sqlite::rows::find(c, table, keys).map(|rows| (rows, None)),
        };
        self.noted(found)
    }

    pub(crate) fn read_row(
        &mut self,
        table: &TableInfo,
        key: &RowKey,
    ) -> Result<Option<StoredRow>> {
        Ok(self
            .find(table, std::slice::from_ref(key))?
            .into_iter()
            .next())
    }

    /// Versions at which rows were purged.
    pub(crate) fn tombstones(
        &mut self,
        table: &TableInfo,
        keys: &[RowKey],
    ) -> Result<Vec<(RowKey, i64)>> {
        match self {
            Conn::Pg(c) => pg::rows::tombstones(c, table, keys),
            Conn::Sqlite(c) => sqlite::rows::tombstones(c, table, keys),
        }
    }

    /// Makes rows at the transaction's position `txid` and gives them back as stored, in the order given.
    ///
    /// # Errors
    /// [`StoreError::Raced`] if one of the keys is there already, or was made and removed meanwhile.
    pub(crate) fn insert_rows(
        &mut self,
        table: &TableInfo,
        rows: &[NewRow],
        txid: i64,
    ) -> Result<Vec<StoredRow>> {
        let made = match self {
            Conn::Pg(c) => pg::rows::insert(c, table, rows, txid),
            Conn::Sqlite(c) => sqlite::rows::insert(c, table, rows, txid),
        };
        let mut made = self.noted(made)?;
        if table.has_foreign_triggers {
            // The table's own triggers may have gone over the rows since.
            for row in &mut made {
                let found = self.find(table, std::slice::from_ref(&row.key))?;
                if let Some(found) = found.into_iter().next() {
                    *row = found;
                }
            }
        }
        self.unburied(table, made, rows)
    }

    /// Writes locked rows back. Where the table has triggers of its own, gives the rows as stored, in the order
    /// given; else they are stored as they are.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if one has another version than the one that it was to go over.
    pub(crate) fn update_rows(
        &mut self,
        table: &TableInfo,
        rows: &[RowUpdate<'_>],
    ) -> Result<Option<Vec<StoredRow>>> {
        self.write_back(table, rows)?;
        if table.has_foreign_triggers {
            self.after_triggers(table, rows).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Removes rows from their table. The triggers leave the tombstones; whose they are is noted here. Gives the
    /// version of each, in the order of `rows`.
    pub(crate) fn purge_rows(
        &mut self,
        table: &TableInfo,
        rows: &[(RowKey, ClientId)],
    ) -> Result<Vec<i64>> {
        let backend = self.backend();
        let name = quote(&table.spec.name);
        let keys = select::key_names(table, "");
        let places = select::key_places(backend, table);
        let mut versions = Vec::with_capacity(rows.len());
        for (key, client) in rows {
            self.stands_alone(table, key)?;
            let binds = select::key_binds(backend, key);
            let sql = format!("DELETE FROM {name} WHERE ({keys}) = ({places})");
            if self.execute(Statement::new(sql, binds))? == 0 {
                return Err(StoreError::Refused("the row was not deleted".to_owned()));
            }
            let bury =
                "UPDATE colsync_tombstones SET client = :? WHERE table_name = :? AND row_id = :?";
            let of_key = [&table.spec.name, &key.to_string()].map(|text| Bind::Text(text.clone()));
            let binds = std::iter::once(Bind::Text(client.to_string())).chain(of_key);
            self.execute(Statement::new(bury, binds.collect()))?;
            let buried = self.tombstones(table, std::slice::from_ref(key))?;
            let version = buried.first().map(|(_, version)| *version);
            versions.push(version.ok_or_else(|| {
                StoreError::Corrupt(format!("{}: no tombstone of {key}", table.spec.name))
            })?);
        }
        Ok(versions)
    }

    pub(super) fn write_back(&mut self, table: &TableInfo, rows: &[RowUpdate<'_>]) -> Result<()> {
        let done = match self {
            Conn::Pg(c) => pg::rows::update(c, table, rows),
            Conn::Sqlite(c) => sqlite::rows::update(c, table, rows),
        };
        self.noted(done)
    }

    /// The rows as the table's own triggers left them. What those changed beside the columns written is a
    /// direct write: without a stamp and a place in the feed no client would hear of it.
    fn after_triggers(
        &mut self,
        table: &TableInfo,
        written: &[RowUpdate<'_>],
    ) -> Result<Vec<StoredRow>> {
        let keys: Vec<RowKey> = written
            .iter()
            .map(|update| update.row.key.clone())
            .collect();
        let mut found: HashMap<RowKey, StoredRow> = self
            .find(table, &keys)?
            .into_iter()
            .map(|row| (row.key.clone(), row))
            .collect();
        let (mut rows, mut again) = (Vec::with_capacity(written.len()), Vec::new());
        for RowUpdate { row: given, .. } in written {
            let mut row = found
                .remove(&given.key)
                .unwrap_or_else(|| StoredRow::clone(given));
            let unstamped = row.version == given.version;
            let pairs = table
                .spec
                .columns
                .iter()
                .zip(row.values.iter().zip(&given.values));
            let moved: Vec<String> = pairs
                .filter(|(_, (stored, given))| unstamped && stored != given)
                .map(|(column, _)| column.name.clone())
                .collect();
            if !moved.is_empty() {
                row.version += 1;
                row.txid = given.txid;
                let stamp = Some(Stamp {
                    time: row.server_time,
                    client: ClientId::DIRECT_SQL,
                });
                for name in moved {
                    row.stamps.entries.insert(
                        name,
                        Entry {
                            stamp,
                            version: row.version,
                            txid: row.txid,
                        },
                    );
                }
                again.push(rows.len());
            }
            rows.push(row);
        }
        if !again.is_empty() {
            let again = again.into_iter().filter_map(|at| rows.get(at));
            let again = again.map(|row| RowUpdate::of_metadata(row, row.version - 1));
            let again: Vec<RowUpdate<'_>> = again.collect();
            self.write_back(table, &again)?;
        }
        Ok(rows)
    }

    fn find(&mut self, table: &TableInfo, keys: &[RowKey]) -> Result<Vec<StoredRow>> {
        let found = match self {
            Conn::Pg(c) => pg::rows::find(c, table, keys),
            Conn::Sqlite(c) => sqlite::rows::find(c, table, keys),
        };
        self.noted(found)
    }
}
