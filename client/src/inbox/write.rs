//! Writing what the server has into the app's tables.
//!
//! Always inside a transaction in which the capture triggers look away. Whether a row may be written is
//! decided elsewhere. A row that is not written is refused, whatever the table's constraints and triggers would make of
//! it: no other row goes in its place, and none is left out in silence.

use std::collections::BTreeMap;

use colsync_shared::sql::{PLACEHOLDER, quote};
use colsync_shared::sqlite::Stored;
use serde_json::Value as Json;

use super::line::Columns;
use crate::error::Error;
use crate::file::{File, text};
use crate::pairing::Paired;
use crate::table::{LocalTable, RowId};

/// The triggers on a table in which `RAISE` stands; those of capture have none.
const REFUSING: &str = "
    SELECT name, sql FROM sqlite_master
    WHERE type = 'trigger' AND tbl_name = :? COLLATE NOCASE AND sql LIKE '%raise%'
    ORDER BY rowid";

/// Writes whole rows of one table with a statement made once.
pub(crate) struct Upsert<'a> {
    paired: &'a Paired,
    /// Positions of the columns that both sides have.
    positions: Vec<usize>,
    sql: String,
}

impl<'a> Upsert<'a> {
    /// The statement for `paired`.
    pub(crate) fn new(paired: &'a Paired) -> Self {
        let positions: Vec<usize> = (0..paired.local.columns.len())
            .filter(|&at| paired.column(at).is_some())
            .collect();
        let sql = upsert_sql(paired, &positions);
        Upsert {
            paired,
            positions,
            sql,
        }
    }

    /// How many columns it writes, the key's among them.
    pub(crate) fn columns(&self) -> usize {
        self.positions.len()
    }

    /// Whose rows it writes.
    pub(crate) fn paired(&self) -> &'a Paired {
        self.paired
    }

    /// Makes the row, or makes it what the server has.
    ///
    /// # Errors
    /// SQLite's; [`Error::Ignored`] if the table does not take it.
    pub(crate) fn run(
        &self,
        file: &mut File,
        id: &RowId,
        columns: &impl Values,
    ) -> Result<(), Error> {
        let mut binds = Vec::with_capacity(self.positions.len());
        let mut parts = self.paired.local.parts(id);
        for (place, &at) in self.positions.iter().enumerate() {
            let part = self.paired.local.key.iter().position(|&key| key == at);
            binds.push(match part.and_then(|part| parts.get_mut(part)) {
                Some(part) => std::mem::replace(part, Stored::Null),
                None => {
                    let Some(sent) = columns.stored(self.paired, at, place) else {
                        // A column that the server did not send is not made NULL.
                        return self.without_missing(file, id, columns);
                    };
                    sent
                }
            });
        }
        if file.execute_often(&self.sql, &binds)? > 0 {
            return Ok(());
        }
        // A row that is its key alone is there already.
        if self.positions.len() == self.paired.local.key.len() && exists(file, self.paired, id)? {
            return Ok(());
        }
        Err(ignored(&self.paired.local))
    }

    fn without_missing(
        &self,
        file: &mut File,
        id: &RowId,
        columns: &impl Values,
    ) -> Result<(), Error> {
        let is_sent = |at: &usize| {
            self.paired.local.is_key(*at) || columns.stored(self.paired, *at, *at).is_some()
        };
        let positions: Vec<usize> = self.positions.iter().copied().filter(is_sent).collect();
        let sql = upsert_sql(self.paired, &positions);
        let part = Upsert {
            paired: self.paired,
            positions,
            sql,
        };
        part.run(file, id, columns)
    }
}

/// Values by the server's columns, as they came or as they were kept.
pub(crate) trait Values {
    /// What is to be stored in the column at `at`, which is most likely the one at `place`; `None` if the server
    /// has not sent it.
    fn stored(&self, paired: &Paired, at: usize, place: usize) -> Option<Stored>;
}

impl Values for Columns<'_> {
    fn stored(&self, paired: &Paired, at: usize, place: usize) -> Option<Stored> {
        let sent = self.get(&paired.column(at)?.name, place)?;
        Some(paired.stored_raw(at, sent))
    }
}

impl Values for BTreeMap<String, Json> {
    fn stored(&self, paired: &Paired, at: usize, _place: usize) -> Option<Stored> {
        let sent = self.get(&paired.column(at)?.name)?;
        Some(paired.stored(at, sent))
    }
}

fn upsert_sql(paired: &Paired, positions: &[usize]) -> String {
    let local = &paired.local;
    let table = quote(&local.name);
    let names: Vec<String> = positions
        .iter()
        .filter_map(|&at| local.columns.get(at))
        .map(|column| quote(&column.name))
        .collect();
    let key: Vec<String> = local.key_columns().map(|c| quote(&c.name)).collect();
    let sets: Vec<String> = positions
        .iter()
        .filter(|&&at| !local.is_key(at))
        .filter_map(|&at| local.columns.get(at))
        .map(|column| {
            let name = quote(&column.name);
            format!("{name} = excluded.{name}")
        })
        .collect();
    let otherwise = if sets.is_empty() {
        "NOTHING".to_owned()
    } else {
        // Under NOCASE, 'abc' is in the way of 'ABC', and is not that row.
        let same = key
            .iter()
            .map(|name| format!("{table}.{name} = excluded.{name} COLLATE BINARY"));
        let same: Vec<String> = same.collect();
        format!(
            "UPDATE SET {} WHERE {}",
            sets.join(", "),
            same.join(" AND ")
        )
    };
    format!(
        "INSERT{or_abort} INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({key}) DO {otherwise}",
        or_abort = or_abort(local),
        names = names.join(", "),
        values = vec![PLACEHOLDER; names.len()].join(", "),
        key = key.join(", "),
    )
}

/// What has a conflict refuse the row, where the table's constraints would make something else of it. It is not said
/// where they do not, as it also holds for what the app's triggers write.
fn or_abort(local: &LocalTable) -> &'static str {
    if local.resolves { " OR ABORT" } else { "" }
}

/// A trigger left a write out and said nothing (`RAISE(IGNORE)`), or another row is in the way.
fn ignored(local: &LocalTable) -> Error {
    Error::Ignored(local.name.clone())
}

/// Writes some columns of a row; whether there is one.
pub(crate) fn update(
    file: &mut File,
    paired: &Paired,
    id: &RowId,
    columns: &[(usize, Stored)],
) -> Result<bool, Error> {
    let local = &paired.local;
    if columns.is_empty() {
        return exists(file, paired, id);
    }
    let mut binds = Vec::with_capacity(columns.len() + 2);
    let mut sets = Vec::with_capacity(columns.len());
    for (at, value) in columns {
        if let Some(column) = local.columns.get(*at) {
            sets.push(format!("{} = {PLACEHOLDER}", quote(&column.name)));
            binds.push(value.clone());
        }
    }
    let (condition, at_id) = local.at_id(id);
    binds.extend(at_id);
    let table = quote(&local.name);
    let or_abort = or_abort(local);
    let sets = sets.join(", ");
    let sql = format!("UPDATE{or_abort} {table} SET {sets} WHERE {condition}");
    if file.execute(&sql, &binds)? > 0 {
        return Ok(true);
    }
    is_not_there(file, paired, id)
}

/// Nothing was changed: `false` if there is no such row.
fn is_not_there(file: &mut File, paired: &Paired, id: &RowId) -> Result<bool, Error> {
    if exists(file, paired, id)? {
        Err(ignored(&paired.local))
    } else {
        Ok(false)
    }
}

/// Whether the row is there.
pub(crate) fn exists(file: &mut File, paired: &Paired, id: &RowId) -> Result<bool, Error> {
    let (condition, binds) = paired.local.at_id(id);
    let table = quote(&paired.local.name);
    let sql = format!("SELECT 1 FROM {table} WHERE {condition}");
    Ok(file.first(&sql, &binds)?.is_some())
}

/// Whether the table has any row.
pub(crate) fn has_rows(file: &mut File, paired: &Paired) -> Result<bool, Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {})",
        quote(&paired.local.name)
    );
    Ok(file.int(&sql, &[])? == 1)
}

/// Removes the row; whether there was one.
pub(crate) fn delete(file: &mut File, paired: &Paired, id: &RowId) -> Result<bool, Error> {
    let (condition, binds) = paired.local.at_id(id);
    let table = quote(&paired.local.name);
    let sql = format!("DELETE FROM {table} WHERE {condition}");
    if file.execute(&sql, &binds)? > 0 {
        return Ok(true);
    }
    is_not_there(file, paired, id)
}

/// Makes the row of these values, key columns left out: they are in the id.
pub(crate) fn insert(
    file: &mut File,
    paired: &Paired,
    id: &RowId,
    columns: &[(usize, Stored)],
) -> Result<(), Error> {
    let local = &paired.local;
    let mut names = Vec::new();
    let mut binds = Vec::new();
    for (&at, part) in local.key.iter().zip(local.parts(id)) {
        if let Some(column) = local.columns.get(at) {
            names.push(quote(&column.name));
            binds.push(part);
        }
    }
    for (at, value) in columns.iter().filter(|(at, _)| !local.is_key(*at)) {
        if let Some(column) = local.columns.get(*at) {
            names.push(quote(&column.name));
            binds.push(value.clone());
        }
    }
    let sql = format!(
        "INSERT{} INTO {} ({}) VALUES ({})",
        or_abort(local),
        quote(&local.name),
        names.join(", "),
        vec![PLACEHOLDER; names.len()].join(", ")
    );
    match file.execute(&sql, &binds)? {
        0 => Err(ignored(local)),
        _ => Ok(()),
    }
}

/// Runs `work` with the app's own triggers that write to tracked tables set aside: what they would do has
/// come from the server, from where the app's statement ran. Those that would end the transaction refuse the row alone.
/// Nobody else sees them changed, as it is one transaction.
pub(crate) fn without_echo<T>(
    file: &mut File,
    tables: &[Paired],
    work: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    let locals = || tables.iter().map(|table| &table.local);
    for (name, _) in locals().flat_map(|local| &local.echoing) {
        drop_trigger(file, name)?;
    }
    for (name, _, softened) in locals().flat_map(|local| &local.ending) {
        drop_trigger(file, name)?;
        file.batch(softened)?;
    }
    let done = work(file)?;
    for (_, sql) in locals().flat_map(|local| &local.echoing) {
        file.batch(sql)?;
    }
    for (name, sql, _) in locals().flat_map(|local| &local.ending) {
        drop_trigger(file, name)?;
        file.batch(sql)?;
    }
    if locals().any(LocalTable::has_to_stand_aside) {
        crate::capture::mend(file)?;
    }
    Ok(done)
}

/// Runs `work` with those of the app's own triggers on a table set aside that may refuse a row: for what is no edit of
/// anybody's, such as another number for a row.
pub(crate) fn unopposed<T>(
    file: &mut File,
    table: &str,
    work: impl FnOnce(&mut File) -> Result<T, Error>,
) -> Result<T, Error> {
    let found = file.load(REFUSING, &[Stored::Text(table.to_owned())])?;
    let texts = |row: Vec<Stored>| <[Stored; 2]>::try_from(row).ok();
    let refusing: Vec<[Stored; 2]> = found.into_iter().filter_map(texts).collect();
    for name in refusing.iter().filter_map(|[name, _]| text(name)) {
        drop_trigger(file, name)?;
    }
    let done = work(file)?;
    for sql in refusing.iter().filter_map(|[_, sql]| text(sql)) {
        file.batch(sql)?;
    }
    Ok(done)
}

fn drop_trigger(file: &mut File, name: &str) -> Result<(), Error> {
    file.batch(&format!("DROP TRIGGER IF EXISTS {}", quote(name)))
}
