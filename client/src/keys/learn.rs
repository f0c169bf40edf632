//! What the receipts of new rows bring: their ids; and columns that could not be told before these were known.
//!
//! Inside the caller's transaction, and but for [`abandon`] while the capture triggers look away.

use std::collections::BTreeMap;

use colsync_shared::Op;
use colsync_shared::receipt::Receipt;
use colsync_shared::sqlite::Stored;
use serde_json::Value as Json;

use super::shift::{self, Kept, Since, aside};
use super::{Links, number};
use crate::error::Error;
use crate::file::File;
use crate::inbox::{held, versions, write};
use crate::outbox::edit::{WireColumn, WireEdit};
use crate::outbox::history::{self, History, row_now};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// The server's ids of rows, by their tables' numbers and their local ids.
pub(crate) type Learnt = BTreeMap<i64, BTreeMap<i64, i64>>;

/// A column of a new row that was not sent, as it points to a row that had no id.
#[derive(Debug, Clone)]
pub(crate) struct LeftOut {
    /// Its position.
    pub(crate) at: usize,
    pub(crate) value: Stored,
    /// What the server has there, where it tells.
    pub(crate) there: Option<Json>,
}

/// Notes the id that a receipt brings.
///
/// # Errors
/// [`Error::Nonsense`] if it brings none.
pub(crate) fn note(
    learnt: &mut Learnt,
    paired: &Paired,
    row: &RowRef,
    receipt: &Receipt,
) -> Result<(), Error> {
    let id = receipt.id.as_deref().and_then(|id| paired.row_id(id));
    let (Some(local), Some(servers)) = (number(&row.id.0), id.and_then(|id| number(&id.0))) else {
        return Err(Error::Nonsense(
            "a receipt of a new row without its id".to_owned(),
        ));
    };
    learnt.entry(row.table).or_default().insert(local, servers);
    Ok(())
}

/// Puts the columns that a row was sent without into its edit, as the app meant it: with local ids.
pub(crate) fn put_back(paired: &Paired, left_out: &[LeftOut], edit: &mut WireEdit) {
    for LeftOut { at, value, .. } in left_out {
        if let Some(there) = paired.column(*at) {
            let sent = WireColumn {
                value: paired.wire(*at, value),
                base: None,
                base_version: None,
                at: None,
                local: true,
                plain: false,
            };
            edit.columns.insert(there.name.clone(), sent);
        }
    }
}

/// Calls rows by the server's ids.
pub(crate) fn learn(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    learnt: &Learnt,
) -> Result<(), Error> {
    for paired in tables {
        let Some(moves) = learnt.get(&paired.local.number) else {
            continue;
        };
        let moves: BTreeMap<i64, i64> = moves
            .iter()
            .filter(|(local, servers)| local != servers)
            .map(|(local, servers)| (*local, *servers))
            .collect();
        for id in moves.values() {
            take_away(file, paired, *id)?;
        }
        let moves = (&moves, &Since::new());
        shift::shift(file, (tables, links), paired, moves, Kept::Moves)?;
    }
    Ok(())
}

/// A row that the server no longer has can be here until the next pull. Its id is another row's now.
fn take_away(file: &mut File, paired: &Paired, id: i64) -> Result<(), Error> {
    let row = RowRef {
        table: paired.local.number,
        id: RowId(Stored::Int(id)),
    };
    let is_here = write::unopposed(file, &paired.local.name, |file| {
        write::delete(file, paired, &row.id)
    })?;
    if is_here {
        log::warn!("{}: the server has made {id} anew", paired.local.name);
        for history in history::of(file, std::slice::from_ref(&row))? {
            history::forget(file, history.lines.iter().map(|(seq, _)| *seq).collect())?;
        }
    }
    versions::forget(file, &row)?;
    held::forget(file, &row)
}

/// The server refused to make the row. It is called by a number that neither the server nor the app will make, so
/// that what points to it never points to another row; gives its row.
pub(crate) fn give_up(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    row: &RowRef,
) -> Result<RowRef, Error> {
    let id = number(&row.id.0).filter(|_| links.is_maker(row.table));
    let Some(id) = id else {
        return Ok(row.clone());
    };
    let moves = aside(file, tables, links, &Since::from([((row.table, id), 0)]))?;
    let new = moves.get(&row.table).and_then(|ids| ids.get(&id));
    Ok(RowRef {
        table: row.table,
        id: RowId(Stored::Int(new.copied().unwrap_or(id))),
    })
}

/// These rows, made by the app, are gone before the server has heard of them. What still points to them points to
/// nothing, and is not to meet a row of the server's there.
pub(crate) fn abandon(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    rows: &[RowRef],
) -> Result<(), Error> {
    let ids = rows.iter().filter(|row| !links.into(row.table).is_empty());
    let ids: Since = ids
        .filter_map(|row| Some(((row.table, number(&row.id.0)?), 0)))
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    write::without_echo(file, tables, |file| {
        file.uncaptured(|file| aside(file, tables, links, &ids).map(drop))
    })
}

/// Takes the columns that the row was sent without out of its receipt, which has what the server made of them; gives
/// them.
pub(crate) fn without_left_out(
    file: &mut File,
    links: &Links,
    paired: &Paired,
    history: &History,
    upto: i64,
    edit: &WireEdit,
    receipt: &mut Receipt,
) -> Result<Vec<LeftOut>, Error> {
    let mut found = Vec::new();
    // A new row goes up as an insert or whole; of a whole row that was there before nothing is left out.
    if !matches!(edit.op, Op::Insert | Op::Replace) {
        return Ok(found);
    }
    let candidates: Vec<(usize, &str)> = (0..paired.local.columns.len())
        .filter(|&at| links.target(paired.local.number, at).is_some() && !paired.local.is_key(at))
        .filter_map(|at| Some((at, paired.column(at)?.name.as_str())))
        .filter(|(_, name)| !edit.columns.contains_key(*name))
        .collect();
    if candidates.is_empty() {
        return Ok(found);
    }
    let now = row_now(file, &paired.local, &history.row)?;
    for (at, name) in candidates {
        // As it was when the push was frozen.
        let value = match later_line(paired, history, upto, at) {
            Some(seq) => {
                let sql = "SELECT old FROM colsync_log WHERE seq = :?";
                let line = file.first(sql, &[Stored::Int(seq)])?;
                line.and_then(|line| line.into_iter().next())
            }
            None => now.as_ref().and_then(|now| now.get(at)).cloned(),
        };
        match value {
            None | Some(Stored::Null) => {}
            Some(value) => {
                let there = receipt.changed.remove(name);
                found.push(LeftOut { at, value, there });
            }
        }
    }
    Ok(found)
}

/// The server made the row without these columns: they are pending edits of it.
pub(crate) fn keep_left_out(
    file: &mut File,
    paired: &Paired,
    history: &History,
    upto: i64,
    left_out: &[LeftOut],
) -> Result<(), Error> {
    for LeftOut { at, value, .. } in left_out {
        let Some(column) = paired.local.columns.get(*at) else {
            continue;
        };
        if let Some(seq) = later_line(paired, history, upto, *at) {
            let sql = "UPDATE colsync_log SET old = NULL WHERE seq = :?";
            file.execute(sql, &[Stored::Int(seq)])?;
            continue;
        }
        history::append(file, &history.row, &column.name, value, history.at_ms)?;
    }
    Ok(())
}

/// The first line about a column after the one at `upto`.
fn later_line(paired: &Paired, history: &History, upto: i64, at: usize) -> Option<i64> {
    let column = paired.local.columns.get(at)?;
    let mut lines = history.lines.iter();
    let found = lines.find(|(seq, name)| {
        let name = name.as_ref();
        *seq > upto && name.is_some_and(|name| name.eq_ignore_ascii_case(&column.name))
    });
    found.map(|(seq, _)| *seq)
}
