//! Giving rows other ids: in their table, in all that points to them, and in what is kept of them.
//!
//! Always inside a write transaction in which the capture triggers look away. The new ids must be free.

use std::collections::BTreeMap;

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use super::links::Pointer;
use super::{Links, number};
use crate::edges::{self, FIRST_LOCAL_IDS};
use crate::error::Error;
use crate::file::{File, Meta, is_refusal, text};
use crate::inbox::write;
use crate::outbox::edit::WireEdit;
use crate::pairing::Paired;
use crate::table::{LocalTable, RowId};

/// Old and new ids, for the statements below, and the line from which on the old one means the row.
const MAPS: &str = "
    CREATE TEMP TABLE IF NOT EXISTS colsync_moves
        (old INTEGER PRIMARY KEY, new INTEGER NOT NULL, since INTEGER NOT NULL);
    CREATE TEMP TABLE IF NOT EXISTS colsync_names (old TEXT PRIMARY KEY, new TEXT NOT NULL);
    DELETE FROM temp.colsync_moves; DELETE FROM temp.colsync_names";

/// The rows of a table that have lines about a column, or are new.
const WRITTEN: &str = "
    SELECT row_id FROM colsync_log
    WHERE table_number = :? AND (op = 1 OR column_name = :? COLLATE NOCASE)";

/// The first value of a column that the log has is the server's, unless the row is new.
const OLD_VALUES: &str = "
    UPDATE colsync_log SET old = (SELECT m.new FROM temp.colsync_moves AS m WHERE m.old = colsync_log.old)
    WHERE table_number = :? AND column_name = :? COLLATE NOCASE
    AND old IN (SELECT m.old FROM temp.colsync_moves AS m WHERE colsync_log.seq >= m.since)
    AND EXISTS (SELECT 1 FROM colsync_log AS e WHERE e.table_number = colsync_log.table_number
        AND e.row_id = colsync_log.row_id AND e.seq < colsync_log.seq
        AND (e.op = 1 OR e.column_name = colsync_log.column_name COLLATE NOCASE))";

const NEW_VALUES: &str = "
    UPDATE colsync_log SET new = (SELECT m.new FROM temp.colsync_moves AS m WHERE m.old = colsync_log.new)
    WHERE table_number = :? AND column_name = :? COLLATE NOCASE
    AND new IN (SELECT m.old FROM temp.colsync_moves AS m WHERE colsync_log.seq >= m.since)";

/// What is known of rows that the server has: its versions, and what waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It goes along: the rows are now called as the server calls them.
    Moves,
    /// It stays: it is about rows of the server's that are called by the old ids.
    Stays,
}

/// Rows of several tables, by the tables' numbers: old and new ids.
pub(super) type Moves = BTreeMap<i64, BTreeMap<i64, i64>>;

/// Where numbers begin that take the place of those below 0, in tables that refuse these.
pub(super) const BEYOND: i64 = 1 << 52;

/// The numbers among which are those that [`aside`] has given in a file. Others below 0 and above [`BEYOND`] are the
/// app's or the server's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Aside {
    least: i64,
}

impl Aside {
    pub(super) fn read(file: &mut File) -> Result<Aside, Error> {
        let last = file.meta_int(Meta::LocalId)?.unwrap_or(0);
        Ok(Aside {
            least: last.min(FIRST_LOCAL_IDS.0),
        })
    }

    pub(super) fn has(self, id: i64) -> bool {
        let below = if id > BEYOND { BEYOND - id } else { id };
        (self.least..=FIRST_LOCAL_IDS.1).contains(&below)
    }
}

/// Rows by their tables' numbers and their ids, each with the line of the log from which on the id means it: 0 where it
/// always did.
pub(super) type Since = BTreeMap<(i64, i64), i64>;

/// Gives these rows ids that neither the server nor the app makes; gives old and new ones.
pub(super) fn aside(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    rows: &Since,
) -> Result<Moves, Error> {
    let mut moves = Moves::new();
    for &(table, id) in rows.keys() {
        let paired = tables.iter().find(|paired| paired.local.number == table);
        if let Some(paired) = paired {
            let new = fresh(file, &paired.local)?;
            moves.entry(table).or_default().insert(id, new);
        }
    }
    let all = |file: &mut File, moves: &Moves| {
        for paired in tables {
            if let Some(moves) = moves.get(&paired.local.number) {
                shift(file, (tables, links), paired, (moves, rows), Kept::Stays)?;
            }
        }
        Ok(())
    };
    match file.savepoint(|file| all(file, &moves)) {
        Err(refused) if is_refusal(file, &refused) => {
            let news = moves.values_mut().flat_map(BTreeMap::values_mut);
            news.for_each(|new| *new = BEYOND - *new);
            all(file, &moves)?;
        }
        done => done?,
    }
    Ok(moves)
}

/// A number that is no row's id, here or in another file: below 0, as no server makes them, and never twice the same.
pub(crate) fn fresh(file: &mut File, table: &LocalTable) -> Result<i64, Error> {
    let last = file.meta_int(Meta::LocalId)?;
    let mut least = last.map_or_else(edges::first_local_id, |last| last.min(0));
    if let Some(key) = table.key_columns().next() {
        let sql = format!(
            "SELECT min({}) FROM {}",
            quote(&key.name),
            quote(&table.name)
        );
        least = least.min(file.int(&sql, &[])?);
    }
    let id = least.saturating_sub(1);
    file.set_meta(Meta::LocalId, Some(&id.to_string()))?;
    Ok(id)
}

/// Gives rows of `paired` other ids, old to new; of those in `since`, lines before that mean other rows.
pub(super) fn shift(
    file: &mut File,
    (tables, links): (&[Paired], &Links),
    paired: &Paired,
    (moves, since): (&BTreeMap<i64, i64>, &Since),
    kept: Kept,
) -> Result<(), Error> {
    if moves.is_empty() {
        return Ok(());
    }
    file.batch(MAPS)?;
    let number = paired.local.number;
    for (old, new) in moves {
        let since = since.get(&(number, *old)).copied().unwrap_or(0);
        file.execute(
            "INSERT INTO temp.colsync_moves (old, new, since) VALUES (:?, :?, :?)",
            &[*old, *new, since].map(Stored::Int),
        )?;
    }
    for pointer in links.into(number) {
        let child = pointer.number.and_then(|number| {
            let mut tables = tables.iter();
            tables.find(|child| child.local.number == number)
        });
        match child {
            None => untracked(file, pointer)?,
            Some(child) => {
                let at = child.local.position(&pointer.column);
                // Keys last: what is written to the log finds rows by them.
                if at.is_some_and(|at| !child.local.is_key(at)) {
                    column(file, &child.local, &pointer.column)?;
                }
            }
        }
    }
    for child in tables {
        let is_part = |at: &usize| links.target(child.local.number, *at) == Some(number);
        if child.local.key.iter().any(is_part) {
            key_parts(file, &child.local, moves, is_part)?;
        }
    }
    itself(file, &paired.local, kept)?;
    letters(file, tables, links, (number, kept), moves)
}

/// The rows of a table that colsync does not capture: whatever number they hold, the app wrote it.
fn untracked(file: &mut File, pointer: &Pointer) -> Result<(), Error> {
    let sql = renumber(&pointer.table, &pointer.column, "");
    write::unopposed(file, &pointer.table, |file| file.execute_once(&sql, &[]))?;
    Ok(())
}

/// A column of a captured table that is no part of its key, and the lines about it. A number that the app has not
/// written since the last push came from the server, and means the server's row.
fn column(file: &mut File, child: &LocalTable, name: &str) -> Result<(), Error> {
    let id = child.id_expression(&quote(&child.name));
    let sql = renumber(&child.name, name, &format!(" AND {id} IN ({WRITTEN})"));
    let of_column = [Stored::Int(child.number), Stored::Text(name.to_owned())];
    write::unopposed(file, &child.name, |file| {
        file.execute_once(&sql, &of_column)
    })?;
    file.execute(OLD_VALUES, &of_column)?;
    file.execute(NEW_VALUES, &of_column)?;
    Ok(())
}

/// The statement that gives a column the new numbers for the old.
fn renumber(table: &str, column: &str, further: &str) -> String {
    let (table, column) = (quote(table), quote(column));
    format!(
        "UPDATE {table} SET {column} = \
         (SELECT m.new FROM temp.colsync_moves AS m WHERE m.old = {table}.{column}) \
         WHERE {column} IN (SELECT m.old FROM temp.colsync_moves AS m){further}"
    )
}

/// The rows that the app made in a table whose key contains the columns that `is_part` says: they are called
/// otherwise, too.
fn key_parts(
    file: &mut File,
    child: &LocalTable,
    moves: &BTreeMap<i64, i64>,
    is_part: impl Fn(&usize) -> bool,
) -> Result<(), Error> {
    let made = file.load(
        "SELECT DISTINCT row_id FROM colsync_log WHERE table_number = :? AND op = 1",
        &[Stored::Int(child.number)],
    )?;
    let mut renamed = 0;
    for old in made.into_iter().filter_map(|row| row.into_iter().next()) {
        let old = RowId(old);
        let mut parts = child.parts(&old);
        let mut sets = Vec::new();
        let mut binds = Vec::new();
        for (at, part) in child.key.iter().zip(&mut parts) {
            let new = number(part).filter(|_| is_part(at));
            if let (Some(new), Some(column)) =
                (new.and_then(|id| moves.get(&id)), child.columns.get(*at))
            {
                *part = Stored::Int(*new);
                sets.push(format!("{} = :?", quote(&column.name)));
                binds.push(Stored::Int(*new));
            }
        }
        if sets.is_empty() {
            continue;
        }
        let (condition, at_id) = child.at_id(&old);
        binds.extend(at_id);
        let table = quote(&child.name);
        let sql = format!("UPDATE {table} SET {} WHERE {condition}", sets.join(", "));
        write::unopposed(file, &child.name, |file| file.execute(&sql, &binds))?;
        if let ([_, _, ..], Stored::Text(old)) = (parts.as_slice(), &old.0) {
            file.execute(
                "INSERT INTO temp.colsync_names (old, new) VALUES (:?, :?)",
                &[Stored::Text(old.clone()), child.id_of_parts(&parts).0],
            )?;
            renamed += 1;
        }
    }
    let of_child = [Stored::Int(child.number)];
    if renamed > 0 {
        file.execute(
            "UPDATE colsync_log SET row_id = \
             (SELECT n.new FROM temp.colsync_names AS n WHERE n.old = colsync_log.row_id) \
             WHERE table_number = :? AND row_id IN (SELECT n.old FROM temp.colsync_names AS n)",
            &of_child,
        )?;
        file.batch("DELETE FROM temp.colsync_names")?;
    } else if child.key.len() == 1 {
        row_ids(file, "colsync_log", child.number)?;
    }
    Ok(())
}

/// The rows themselves, and what is kept of them.
fn itself(file: &mut File, table: &LocalTable, kept: Kept) -> Result<(), Error> {
    write::unopposed(file, &table.name, |file| {
        for key in table.key_columns() {
            file.execute_once(&renumber(&table.name, &key.name, ""), &[])?;
        }
        Ok(())
    })?;
    row_ids(file, "colsync_log", table.number)?;
    row_ids(file, "colsync_sent", table.number)?;
    if kept == Kept::Moves {
        row_ids(file, "colsync_versions", table.number)?;
        row_ids(file, "colsync_held", table.number)?;
    }
    Ok(())
}

fn row_ids(file: &mut File, kept_in: &str, number: i64) -> Result<(), Error> {
    let further = " AND table_number = :?";
    let sql = renumber(kept_in, "row_id", further);
    file.execute(&sql, &[Stored::Int(number)]).map(drop)
}

/// Refused edits that point to the rows: to be made again as the app meant them. Any other number that they hold means the
/// server's row, whatever this file has called by it since.
fn letters(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    (table, kept): (i64, Kept),
    moves: &BTreeMap<i64, i64>,
) -> Result<(), Error> {
    let aside = Aside::read(file)?;
    let found = file.load(
        "SELECT number, table_name, edit FROM colsync_dead_letters",
        &[],
    )?;
    for row in found {
        let (Some(name), Some(json)) = (row.get(1).and_then(text), row.get(2).and_then(text))
        else {
            continue;
        };
        let child = tables
            .iter()
            .find(|paired| paired.server.as_deref() == Ok(name));
        let edit: Option<WireEdit> = serde_json::from_str(json).ok();
        let (Some(child), Some(mut edit)) = (child, edit) else {
            continue;
        };
        let mut is_changed = false;
        for (column, sent) in &mut edit.columns {
            let Some(at) = child.position(column) else {
                continue;
            };
            let pointed = number(&child.stored(at, &sent.value));
            let pointed = pointed.filter(|id| sent.local || aside.has(*id));
            if links.target(child.local.number, at) == Some(table)
                && let Some(new) = pointed.and_then(|id| moves.get(&id))
            {
                sent.value = child.wire(at, &Stored::Int(*new));
                sent.local = kept == Kept::Stays;
                is_changed = true;
            }
        }
        if let (true, Some(Stored::Int(letter))) = (is_changed, row.first()) {
            let json = serde_json::to_string(&edit)
                .map_err(|broken| Error::Corrupt(format!("a refused edit: {broken}")))?;
            file.execute(
                "UPDATE colsync_dead_letters SET edit = :? WHERE number = :?",
                &[Stored::Text(json), Stored::Int(*letter)],
            )?;
        }
    }
    Ok(())
}
