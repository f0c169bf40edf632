//! The server's version of each row: what the client had in view, and names as the base of its edits.
//!
//! Only versions other than 1 are kept: of a million rows that no one has edited since they were imported,
//! nothing is. That of a row which the app has deleted stays: if it makes the row anew, it has seen what was there.

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use crate::error::Error;
use crate::file::{File, int};
use crate::pairing::Paired;
use crate::table::RowRef;

/// The version of a row that is not in the table.
const FIRST: i64 = 1;

/// The row's version as the server last told it.
pub(crate) fn of(file: &mut File, row: &RowRef) -> Result<i64, Error> {
    Ok(kept(file, row)?.unwrap_or(FIRST))
}

/// The version that is kept of the row, if any is.
pub(crate) fn kept(file: &mut File, row: &RowRef) -> Result<Option<i64>, Error> {
    let found = file.first(
        "SELECT version FROM colsync_versions WHERE table_number = :? AND row_id = :?",
        &[Stored::Int(row.table), row.id.0.clone()],
    )?;
    Ok(found.and_then(|row| row.first().and_then(int)))
}

/// Whether every row is at its first version.
pub(crate) fn none(file: &mut File) -> Result<bool, Error> {
    Ok(file.int("SELECT EXISTS (SELECT 1 FROM colsync_versions)", &[])? == 0)
}

/// Keeps the row's version.
pub(crate) fn set(file: &mut File, row: &RowRef, version: i64) -> Result<(), Error> {
    if version == FIRST {
        return forget(file, row);
    }
    file.execute(
        "INSERT INTO colsync_versions (table_number, row_id, version) VALUES (:?, :?, :?) \
         ON CONFLICT (table_number, row_id) DO UPDATE SET version = excluded.version",
        &[
            Stored::Int(row.table),
            row.id.0.clone(),
            Stored::Int(version),
        ],
    )?;
    Ok(())
}

/// Forgets the versions of a table's rows that a pull from the beginning has not brought.
pub(crate) fn forget_unseen(file: &mut File, table: i64) -> Result<(), Error> {
    file.execute(
        "DELETE FROM colsync_versions WHERE table_number = :? AND NOT EXISTS (SELECT 1 FROM colsync_seen AS seen \
         WHERE seen.table_number = colsync_versions.table_number AND seen.row_id = colsync_versions.row_id)",
        &[Stored::Int(table)],
    )?;
    Ok(())
}

/// Forgets the versions of a table's rows that are gone from it, but for those whose delete is not pushed yet.
pub(crate) fn forget_gone(file: &mut File, paired: &Paired) -> Result<(), Error> {
    let (id, table) = (paired.local.id_expression("t"), quote(&paired.local.name));
    let number = Stored::Int(paired.local.number);
    let sql = format!(
        "DELETE FROM colsync_versions WHERE table_number = :? \
         AND row_id NOT IN (SELECT {id} FROM {table} AS t WHERE {id} IS NOT NULL) \
         AND row_id NOT IN (SELECT row_id FROM colsync_log WHERE table_number = :? AND row_id IS NOT NULL)"
    );
    file.execute_once(&sql, &[number.clone(), number]).map(drop)
}

/// Forgets the version of a row that is gone.
pub(crate) fn forget(file: &mut File, row: &RowRef) -> Result<(), Error> {
    file.execute(
        "DELETE FROM colsync_versions WHERE table_number = :? AND row_id = :?",
        &[Stored::Int(row.table), row.id.0.clone()],
    )?;
    Ok(())
}
