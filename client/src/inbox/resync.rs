//! Starting over: a pull from the beginning into tables that have rows already.
//!
//! The server does not say which rows it no longer has; it only does not bring them. So the rows that come
//! are noted, and when all have come, the others go, but for those with unpushed edits.

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use super::pending::PendingRows;
use super::{held, versions, write};
use crate::error::Error;
use crate::file::{File, Meta, is_refusal};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// Lets the next pull start over.
pub(crate) fn begin(file: &mut File) -> Result<(), Error> {
    file.set_meta(Meta::Cursor, None)?;
    file.set_meta(Meta::Resync, Some("1"))?;
    file.execute("DELETE FROM colsync_seen", &[])?;
    Ok(())
}

/// Whether one is under way.
pub(crate) fn is_under_way(file: &mut File) -> Result<bool, Error> {
    Ok(file.meta(Meta::Resync)?.is_some())
}

/// Notes that the server has the row.
pub(crate) fn seen(file: &mut File, row: &RowRef) -> Result<(), Error> {
    file.execute(
        "INSERT INTO colsync_seen (table_number, row_id) VALUES (:?, :?) ON CONFLICT DO NOTHING",
        &[Stored::Int(row.table), row.id.0.clone()],
    )?;
    Ok(())
}

/// Removes the rows that the server did not bring, inside a transaction without capture; how many.
pub(crate) fn finish(
    file: &mut File,
    tables: &[Paired],
    pending: &PendingRows,
) -> Result<u64, Error> {
    let mut removed = 0;
    for paired in tables.iter().filter(|table| table.server.is_ok()) {
        let sql = format!(
            "SELECT {id} FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM colsync_seen \
             WHERE table_number = :? AND row_id = {id})",
            id = paired.local.id_expression("t"),
            table = quote(&paired.local.name),
        );
        let number = paired.local.number;
        for values in file.load(&sql, &[Stored::Int(number)])? {
            let Some(id) = values.into_iter().next() else {
                continue;
            };
            let row = RowRef {
                table: number,
                id: RowId(id),
            };
            if pending.of(&row).is_some() {
                continue;
            }
            match write::delete(file, paired, &row.id) {
                Ok(there) => removed += u64::from(there),
                Err(refused) if is_refusal(&refused) => {
                    log::warn!("{}: a row stays: {refused}", paired.local.name);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
            versions::forget(file, &row)?;
            held::forget(file, &row)?;
        }
    }
    file.execute("DELETE FROM colsync_seen", &[])?;
    file.set_meta(Meta::Resync, None)?;
    Ok(removed)
}
