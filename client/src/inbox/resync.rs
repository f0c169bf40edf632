//! Starting over: a pull from the beginning into tables that have rows already.
//!
//! The server does not say which rows it no longer has; it only does not bring them. So the rows that come
//! are noted, and when all have come, the others go, but for those with unpushed edits. A first pull is no
//! other: what this file pushed before it, others may have deleted since.

use std::collections::BTreeSet;

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use super::pending::{PendingRow, PendingRows};
use super::{apply, held, versions, write};
use crate::error::Error;
use crate::file::{File, Meta, int};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// Lets the next pull start over, with all tables. Without the cursor nothing tells whether the server's history is still
/// the one that the file knows: versions of rows that the pull has not brought yet mean nothing.
pub(crate) fn begin(file: &mut File) -> Result<(), Error> {
    for what in [Meta::Cursor, Meta::Pulling, Meta::CursorTables] {
        file.set_meta(what, None)?;
    }
    unmark(file)?;
    file.execute("DELETE FROM colsync_seen", &[])?;
    let all = numbers(file, "SELECT number FROM colsync_tables")?;
    note(file, &all)?;
    file.set_meta(Meta::LostHistory, Some("1"))
}

/// Notes that a table is to come whole once more.
pub(crate) fn mark(file: &mut File, number: i64) -> Result<(), Error> {
    let sql = "UPDATE colsync_tables SET backfill = '' WHERE number = :?";
    file.execute(sql, &[Stored::Int(number)]).map(drop)
}

/// The tables that are to come whole once more, while the cursor covers them, by their numbers.
pub(crate) fn marked(file: &mut File) -> Result<BTreeSet<i64>, Error> {
    let sql = "SELECT number FROM colsync_tables WHERE backfill IS NOT NULL";
    numbers(file, sql)
}

fn numbers(file: &mut File, sql: &str) -> Result<BTreeSet<i64>, Error> {
    let found = file.load(sql, &[])?;
    let found = found.iter().filter_map(|row| row.first().and_then(int));
    Ok(found.collect())
}

/// Notes that the cursor covers no such table any more.
pub(crate) fn unmark(file: &mut File) -> Result<(), Error> {
    let sql = "UPDATE colsync_tables SET backfill = NULL WHERE backfill IS NOT NULL";
    file.execute(sql, &[]).map(drop)
}

/// Whether the pull under way starts over in another history.
pub(crate) fn in_another_history(file: &mut File) -> Result<bool, Error> {
    Ok(file.meta(Meta::LostHistory)?.is_some())
}

/// Lets a pull of the tables `pulled` that begins now be one that starts over with those of them that are `new` to it, of
/// which it brings all rows, all by their numbers. What is noted of these came with an earlier one, or was pushed before
/// this one, and may have been deleted since.
pub(crate) fn begin_with(
    file: &mut File,
    pulled: &BTreeSet<i64>,
    new: &[i64],
) -> Result<(), Error> {
    let mut under_way = under_way(file)?;
    under_way.retain(|number| pulled.contains(number));
    for number in new {
        file.execute(
            "DELETE FROM colsync_seen WHERE table_number = :?",
            &[Stored::Int(*number)],
        )?;
    }
    under_way.extend(new);
    note(file, &under_way)
}

/// The tables with which the pull under way starts over, by their numbers.
pub(crate) fn under_way(file: &mut File) -> Result<BTreeSet<i64>, Error> {
    file.meta_json(Meta::Resync)
}

fn note(file: &mut File, numbers: &BTreeSet<i64>) -> Result<(), Error> {
    file.set_meta_json(Meta::Resync, numbers)
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
    let under_way = under_way(file)?;
    let lost = in_another_history(file)?;
    let mut removed = 0;
    for paired in tables
        .iter()
        .filter(|table| table.server.is_ok() && under_way.contains(&table.local.number))
    {
        let sql = format!(
            "SELECT {id} FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM colsync_seen \
             WHERE table_number = :? AND row_id = {id})",
            id = paired.local.id_expression("t"),
            table = quote(&paired.local.name),
        );
        let number = paired.local.number;
        let mut stay = Vec::new();
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
            let Some(there) = apply::remove_or_hold(file, paired, &row)? else {
                stay.push(row);
                continue;
            };
            removed += u64::from(there);
            versions::forget(file, &row)?;
            held::forget(file, &row)?;
        }
        for (row, edits) in pending.of_table(number) {
            note_gone(file, paired, (row, edits), lost)?;
        }
        for row in held_unseen(file, number)? {
            if pending.of(&row).is_none() && !stay.contains(&row) {
                held::forget(file, &row)?;
                versions::forget(file, &row)?;
            }
        }
        if lost {
            versions::forget_unseen(file, number)?;
        }
    }
    file.execute("DELETE FROM colsync_seen", &[])?;
    file.set_meta(Meta::LostHistory, None)?;
    file.set_meta(Meta::Resync, None)?;
    Ok(removed)
}

/// A row with unpushed edits stays, unless the server brought it: it goes if they come to nothing, or are refused. So does
/// one that the app has deleted meanwhile, if that is taken back.
fn note_gone(
    file: &mut File,
    paired: &Paired,
    (row, edits): (&RowRef, &PendingRow),
    lost: bool,
) -> Result<(), Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM colsync_seen WHERE table_number = :? AND row_id = :?)";
    let has_come = file.int(sql, &[Stored::Int(row.table), row.id.0.clone()])? != 0;
    if has_come || (edits.inserted && !write::exists(file, paired, &row.id)?) {
        return Ok(());
    }
    let mut held = held::of(file, row)?;
    if lost {
        held.lose_bases(paired, edits);
    }
    if !edits.inserted {
        held.remove();
    }
    held::keep(file, row, &held, None)
}

/// The rows of a table that wait, as the app's table would not take them or has edits of them, and that did not come.
fn held_unseen(file: &mut File, table: i64) -> Result<Vec<RowRef>, Error> {
    let sql = "SELECT row_id FROM colsync_held AS h WHERE table_number = :? AND NOT EXISTS \
               (SELECT 1 FROM colsync_seen AS s WHERE s.table_number = h.table_number AND s.row_id = h.row_id)";
    let found = file.load(sql, &[Stored::Int(table)])?;
    let ids = found.into_iter().filter_map(|row| row.into_iter().next());
    Ok(ids
        .map(|id| RowRef {
            table,
            id: RowId(id),
        })
        .collect())
}
