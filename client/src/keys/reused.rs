//! Numbers that SQLite gave a second time: an app deleted the last row of a table and made another one, which got
//! the same number. To the log that is one row; to everybody else the two must be two.
//!
//! Inside the caller's write transaction. See ADR 0016.

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use super::shift::Since;
use super::{Links, number, shift};
use crate::error::Error;
use crate::file::File;
use crate::inbox::write;
use crate::outbox::freeze;
use crate::outbox::history::{self, History, Net, row_now};
use crate::pairing::Paired;
use crate::table::{LocalTable, RowId, RowRef};

/// Rows of a table that were deleted by themselves and made after that, each with the line that made it first.
const MADE_AGAIN: &str = "
    WITH gone AS (SELECT row_id, min(seq) AS seq FROM colsync_log
        WHERE table_number = :? AND op = 2 GROUP BY row_id)
    SELECT m.row_id, min(m.seq) FROM colsync_log AS m CROSS JOIN gone AS g
    WHERE m.table_number = :? AND m.op = 1 AND g.row_id = m.row_id AND g.seq < m.seq
    GROUP BY m.row_id";

/// Rows of a table that were made before a line, and not since.
const MADE_BEFORE: &str = "
    SELECT row_id FROM colsync_log WHERE table_number = :? AND op = 1
    GROUP BY row_id HAVING max(seq) < :?";

/// Takes lines out of the sight of whoever goes by a table's number.
const HIDE: &str = "
    UPDATE colsync_log SET table_number = -table_number
    WHERE table_number = :? AND row_id = :? AND seq < :?";

/// Whether lines of a table before one say that a column held a number; or, of a column that is a part of the key, that a
/// row went, whichever it was.
const POINTED_TO: &str = "
    SELECT EXISTS (SELECT 1 FROM colsync_log WHERE table_number = :? AND seq < :?
        AND CASE WHEN :? THEN op = 2
            ELSE column_name = :? COLLATE NOCASE AND :? IN (old, new) END)";

const SHOW: &str = "UPDATE colsync_log SET table_number = -table_number WHERE table_number < 0";

/// [`tell_apart`] for all rows that wait in the log, before the server's numbers come: rows above these would hide that
/// SQLite has chosen their numbers.
pub(crate) fn tell_all_apart(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
) -> Result<(), Error> {
    let mut rows = Vec::new();
    for paired in tables {
        let table = paired.local.number;
        if links.is_maker(table) {
            let ids = made_again(file, table)?.into_iter();
            rows.extend(ids.map(|(id, _)| RowRef { table, id }));
        }
    }
    if !rows.is_empty() {
        let histories = history::of(file, &rows)?;
        tell_apart(file, tables, links, &histories)?;
    }
    Ok(())
}

/// Gives rows that the app made under the number of one that it had deleted a number of their own. The delete stays
/// with the server's row. Says whether there were any among `histories`.
pub(crate) fn tell_apart(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    histories: &[History],
) -> Result<bool, Error> {
    let mut rows = Since::new();
    for history in histories {
        let row = &history.row;
        let made_at = history.made_again.filter(|_| links.is_maker(row.table));
        let paired = tables
            .iter()
            .find(|paired| paired.local.number == row.table);
        let (Some(made_at), Some(paired), Some(id)) = (made_at, paired, number(&row.id.0)) else {
            continue;
        };
        // One that nobody else ever met matters to nobody, unless something that is told of pointed to it.
        if could_be_given(file, &paired.local, id, made_at)?
            && is_another(file, paired, history)?
            && (history.existed || was_pointed_to(file, tables, links, (row.table, id), made_at)?)
        {
            rows.insert((row.table, id), made_at);
        }
    }
    // What is under way keeps its name.
    if !rows.is_empty() {
        for (row, _) in freeze::sent(file)? {
            number(&row.id.0).map(|id| rows.remove(&(row.table, id)));
        }
    }
    if rows.is_empty() {
        return Ok(false);
    }
    for (&(table, id), &made_at) in &rows {
        hide(file, table, Stored::Int(id), made_at)?;
        for child in tables {
            hide_parts(file, links, child, (table, id), made_at)?;
        }
    }
    // What pointed to the number before means the row that was there then.
    write::without_echo(file, tables, |file| {
        file.uncaptured(|file| shift::aside(file, tables, links, &rows).map(drop))
    })?;
    file.execute(SHOW, &[])?;
    Ok(true)
}

/// Rows of a table that were deleted and made again, each with the line that made it first.
fn made_again(file: &mut File, table: i64) -> Result<Vec<(RowId, i64)>, Error> {
    let lines = file.load(MADE_AGAIN, &[Stored::Int(table), Stored::Int(table)])?;
    let rows = lines
        .into_iter()
        .filter_map(|line| match <[Stored; 2]>::try_from(line) {
            Ok([id, Stored::Int(made_at)]) => Some((RowId(id), made_at)),
            Ok(_) | Err(_) => None,
        });
    Ok(rows.collect())
}

/// Whether SQLite may have chosen the number: one above all that were there, and above those that it remembers
/// (`AUTOINCREMENT`), which the line tells. Where it may not, the app has named it and means the row that it had deleted.
fn could_be_given(
    file: &mut File,
    table: &LocalTable,
    id: i64,
    made_at: i64,
) -> Result<bool, Error> {
    let Some(key) = table.key_columns().next() else {
        return Ok(false);
    };
    let (key, name) = (quote(&key.name), quote(&table.name));
    // A row was there then if it still is and the log says no more of it, or if what the log says next is not that it
    // was made.
    let sql = format!(
        "SELECT NOT EXISTS (SELECT 1 FROM colsync_log WHERE seq = :? AND new = 1)
         AND NOT EXISTS (SELECT 1 FROM {name} WHERE {key} > :? AND {key} NOT IN
             (SELECT row_id FROM colsync_log WHERE table_number = :? AND seq > :?))
         AND NOT EXISTS (SELECT 1 FROM (SELECT op, min(seq) FROM colsync_log
             WHERE table_number = :? AND row_id > :? AND seq > :? GROUP BY row_id) WHERE op <> 1)"
    );
    let (id, made_at) = (Stored::Int(id), Stored::Int(made_at));
    let number = Stored::Int(table.number);
    let binds = [
        made_at.clone(),
        id.clone(),
        number.clone(),
        made_at.clone(),
        number,
        id,
        made_at,
    ];
    Ok(file.int(&sql, &binds)? == 1)
}

/// Whether a row that was made under the number of the server's is not that one: one that is as that was, was put back.
fn is_another(file: &mut File, paired: &Paired, history: &History) -> Result<bool, Error> {
    let now = row_now(file, &paired.local, &history.row)?;
    Ok(!matches!(history.net(&paired.local, now), Net::Nothing))
}

/// Whether the log has rows that pointed to the number before the line at `made_at`, or may have had it in their key.
fn was_pointed_to(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    (table, id): (i64, i64),
    made_at: i64,
) -> Result<bool, Error> {
    for pointer in links.into(table) {
        let child = tables
            .iter()
            .find(|child| Some(child.local.number) == pointer.number);
        let Some(child) = child.map(|child| &child.local) else {
            continue;
        };
        let at = child.position(&pointer.column);
        let binds = [
            Stored::Int(child.number),
            Stored::Int(made_at),
            Stored::Int(at.is_some_and(|at| child.is_key(at)).into()),
            Stored::Text(pointer.column.clone()),
            Stored::Int(id),
        ];
        if file.int(POINTED_TO, &binds)? == 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn hide(file: &mut File, table: i64, row: Stored, made_at: i64) -> Result<(), Error> {
    let binds = [Stored::Int(table), row, Stored::Int(made_at)];
    file.execute(HIDE, &binds).map(drop)
}

/// Rows whose key contains the number, and that were deleted and made again under it, are two as well. Those that were made
/// before `made_at` alone are the row's that was there then.
fn hide_parts(
    file: &mut File,
    links: &Links,
    child: &Paired,
    (table, id): (i64, i64),
    made_at: i64,
) -> Result<(), Error> {
    let local = &child.local;
    let is_part = |at: &usize| links.target(local.number, *at) == Some(table);
    if !local.key.iter().any(is_part) {
        return Ok(());
    }
    let names_it = |row: &RowId| {
        let parts = local.parts(row);
        let mut parts = local.key.iter().zip(&parts);
        parts.any(|(at, part)| is_part(at) && number(part) == Some(id))
    };
    for (row, child_made_at) in made_again(file, local.number)? {
        if names_it(&row) && child_made_at > made_at {
            hide(file, local.number, row.0, child_made_at)?;
        }
    }
    let before = [Stored::Int(local.number), Stored::Int(made_at)];
    for row in file.load(MADE_BEFORE, &before)? {
        if let Some(row) = row.into_iter().next().map(RowId).filter(names_it) {
            hide(file, local.number, row.0, i64::MAX)?;
        }
    }
    Ok(())
}
