//! Columns that have come in the place of others while the server was away. `sync_stamps` knows a column by its name: under
//! a new one a value would seem to stand since its row was made, and whoever wrote it since to have been seen by everyone.
//!
//! Must not know what a client has.

use std::collections::BTreeMap;
use std::sync::Arc;

use colsync_shared::{ClientId, Stamp, Time};

use super::conn::Conn;
use super::error::StoreError;
use super::internal;
use super::model::{Entry, RowUpdate, TableInfo};

/// Where the names of the tables' columns stand in `colsync_meta`, by the tables' identities; a JSON object.
const COLUMNS: &str = "columns";

/// Rows that are looked at together.
const PAGE: usize = 100;

/// By the tables' identities.
type Columns = BTreeMap<i64, Vec<String>>;

/// A table with columns that it did not have, while others are gone.
struct Renamed<'a> {
    table: &'a TableInfo,
    gone: Vec<&'a String>,
    new: Vec<&'a String>,
}

impl Conn {
    /// Looks whether columns were renamed since the last start. In rows that know one by its old name, those that are new
    /// count as written by direct SQL now: who has the row's version has seen them, and the next pull brings them.
    pub(super) fn note_columns(
        &mut self,
        tables: &[Arc<TableInfo>],
        now: Time,
    ) -> Result<(), StoreError> {
        let known: Columns = match internal::meta(self, COLUMNS)? {
            None => Columns::new(),
            Some(json) => serde_json::from_str(&json)
                .map_err(|_unreadable| StoreError::Corrupt(format!("{COLUMNS} in colsync_meta")))?,
        };
        let here: Columns = tables
            .iter()
            .map(|table| (table.id, names(table)))
            .collect();
        if here.iter().all(|(id, names)| known.get(id) == Some(names)) {
            return Ok(());
        }
        let renamed = tables.iter().filter_map(|table| {
            let (before, here) = (known.get(&table.id)?, here.get(&table.id)?);
            let gone: Vec<_> = before.iter().filter(|name| !here.contains(name)).collect();
            let new: Vec<_> = here.iter().filter(|name| !before.contains(name)).collect();
            let is_renamed = !gone.is_empty() && !new.is_empty();
            is_renamed.then_some(Renamed { table, gone, new })
        });
        let renamed: Vec<Renamed<'_>> = renamed.collect();
        // One that is not configured now may be again.
        let all: Columns = known.clone().into_iter().chain(here.clone()).collect();
        let all = serde_json::to_string(&all)
            .map_err(|broken| StoreError::Corrupt(format!("{COLUMNS} as JSON: {broken}")))?;
        self.unhurried(|conn| {
            conn.begin_write()?;
            let done = renamed.iter().try_for_each(|one| conn.write_anew(one, now));
            let done = done.and_then(|()| internal::set_meta(conn, COLUMNS, &all));
            done.and_then(|()| conn.commit_write())
                .inspect_err(|_failure| conn.rollback())
        })
    }

    /// Gives the new columns an entry in every row that has one of a column that is gone.
    fn write_anew(&mut self, renamed: &Renamed<'_>, now: Time) -> Result<(), StoreError> {
        let Renamed { table, gone, new } = renamed;
        let name = &table.spec.name;
        log::warn!("tables.{name}: columns {gone:?} are gone, and {new:?} new: they are told anew");
        let txid = self.txid()?;
        let mut after = None;
        loop {
            let page = self.read_page(table, after.as_ref(), PAGE, true)?;
            let keys = page.iter().filter(|row| {
                let mut gone = gone.iter();
                gone.any(|name| row.stamps.entries.contains_key(*name))
            });
            let keys: Vec<_> = keys.map(|row| row.key.clone()).collect();
            let mut rows = Vec::new();
            if !keys.is_empty() {
                (rows, _) = self.lock_rows(table, &keys)?;
            }
            for row in &mut rows {
                row.txid = txid;
                let entry = Entry {
                    stamp: Some(Stamp {
                        time: now,
                        client: ClientId::DIRECT_SQL,
                    }),
                    version: row.version,
                    txid,
                };
                let entries = new.iter().map(|name| ((*name).clone(), entry));
                row.stamps.entries.extend(entries);
            }
            let updates = rows
                .iter()
                .map(|row| RowUpdate::of_metadata(row, row.version));
            let updates: Vec<RowUpdate<'_>> = updates.collect();
            if !updates.is_empty() {
                self.update_rows(table, &updates)?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.key.clone()),
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// The columns that `sync_stamps` may name.
fn names(table: &Arc<TableInfo>) -> Vec<String> {
    let columns = table.spec.columns.iter().enumerate();
    let stamped = columns.filter(|(at, _)| !table.spec.is_key(*at));
    stamped.map(|(_, column)| column.name.clone()).collect()
}
