//! Taking edits back, and making refused ones again.

use colsync_shared::Op;
use colsync_shared::sqlite::Stored;

use crate::capture::lines;
use crate::error::Error;
use crate::file::{File, text};
use crate::inbox::{apply, held, resync, write};
use crate::keys;
use crate::outbox::edit::{WireColumn, WireEdit};
use crate::outbox::freeze;
use crate::outbox::history::{self, Net, row_now};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};
use crate::values;
use crate::view::{self, laid_back};

/// Makes the row its Original again, and drops its edits. If they are in a push without an answer, taking
/// them back is an edit of its own; so it is of a new row before the server was first asked, if its key is a number.
pub(crate) fn row(file: &mut File, table: &str, id: &str) -> Result<(), Error> {
    let paired = view::table(file, table)?;
    let row = view::row(&paired, id)?;
    let tables = view::tables(file)?;
    file.write(|file| {
        let Some(history) = history::of(file, std::slice::from_ref(&row))?.pop() else {
            return Err(Error::Unknown {
                what: "pending edit of row",
                name: id.to_owned(),
            });
        };
        let is_sent = freeze::sent(file)?.iter().any(|(sent, _)| *sent == row);
        let now = row_now(file, &paired.local, &row)?;
        let there = now.is_some();
        let original = history
            .existed
            .then(|| laid_back(&paired, &history, now))
            .map(|values| values.into_iter().enumerate().collect::<Vec<_>>());
        let back = |file: &mut File| restore(file, &paired, &row, there, original);
        // Before the server was asked it is not known who makes the keys. Then the log has to tell that a row was made
        // and is gone: what points to it is not to meet another one of its number.
        let may_be_local =
            history.is_local && paired.server.is_err() && matches!(row.id.0, Stored::Int(_));
        if is_sent || may_be_local {
            return back(file);
        }
        let this = std::slice::from_ref(&paired);
        write::without_echo(file, this, |file| {
            file.uncaptured(|file| {
                back(file)?;
                let seqs = history.lines.iter().map(|(seq, _)| *seq).collect();
                history::forget(file, seqs)?;
                if paired.server.is_ok() {
                    apply::release(file, &paired, &row)?;
                }
                Ok(())
            })
        })?;
        if history.is_local {
            let links = keys::Links::read(file, &tables)?;
            keys::abandon(file, &tables, &links, std::slice::from_ref(&row))?;
        }
        Ok(())
    })
}

fn restore(
    file: &mut File,
    paired: &Paired,
    row: &RowRef,
    there: bool,
    original: Option<Vec<(usize, Stored)>>,
) -> Result<(), Error> {
    match (original, there) {
        (None, true) => write::delete(file, paired, &row.id).map(drop),
        (None, false) => Ok(()),
        (Some(values), true) => {
            let free: Vec<(usize, Stored)> = values
                .into_iter()
                .filter(|(at, _)| !paired.local.is_key(*at))
                .collect();
            write::update(file, paired, &row.id, &free).map(drop)
        }
        (Some(values), false) => write::insert(file, paired, &row.id, &values),
    }
}

/// Makes a refused edit again with capture on, so that it is pending, and drops the letter.
pub(crate) fn retry(file: &mut File, number: i64) -> Result<(), Error> {
    let (table, edit) = letter(file, number)?;
    let tables = view::tables(file)?;
    let found = tables
        .iter()
        .find(|paired| paired.server.as_ref() == Ok(&table));
    let paired = found.ok_or_else(|| Error::Unknown {
        what: "tracked table",
        name: table.clone(),
    })?;
    file.write(|file| {
        keys::for_letter(file, &tables, paired, &edit)?;
        let row = match &edit.id {
            Some(id) => view::row(paired, id)?,
            None => RowRef {
                table: paired.local.number,
                id: RowId(Stored::Int(keys::fresh(file, &paired.local)?)),
            },
        };
        let there = write::exists(file, paired, &row.id)?;
        let columns = edit.columns.iter().map(|(name, column)| {
            let value = value_again(paired, name, column);
            // The edit is not made again in part.
            value.ok_or_else(|| Error::Unknown {
                what: "column",
                name: format!("{}.{name}", paired.local.name),
            })
        });
        let columns: Vec<(usize, Stored)> = columns.collect::<Result<_, _>>()?;
        match (edit.op, there) {
            (Op::Delete | Op::HardDelete, true) => {
                write::delete(file, paired, &row.id).map(drop)?
            }
            (Op::Delete | Op::HardDelete, false) => {}
            (Op::Insert | Op::Update | Op::Replace, true) => {
                write::update(file, paired, &row.id, &columns).map(drop)?;
            }
            (Op::Insert | Op::Update | Op::Replace, false) => {
                // Where its delete waits, so does what the server has told of the row since.
                if lines::of_row(file, &row)?.is_empty() {
                    held::forget(file, &row)?;
                }
                write::insert(file, paired, &row.id, &columns)?;
            }
        }
        // The row may hold some of what was refused, if that was accepted once, in a history that the server has lost. That
        // is no edit then, and gone when the row comes anew.
        if !is_pending(file, paired, &row, &columns)? {
            let name = || paired.local.name.clone();
            if resync::under_way(file)?.contains(&row.table) {
                return Err(Error::StartsOver(name()));
            }
            if is_to_change(file, paired, &row, &columns)? {
                return Err(Error::RowWaits(name()));
            }
        }
        drop_letter(file, number)
    })
}

/// What a refused edit wrote to the column `name`, and where that stands in the app's table; `None` if either side has no
/// such column any more.
fn value_again(paired: &Paired, name: &str, column: &WireColumn) -> Option<(usize, Stored)> {
    if column.plain {
        // The server may lack it still.
        let at = paired.local.position(name)?;
        let declared = &paired.local.columns.get(at)?.declared;
        return Some((at, values::from_plain(declared, &column.value)));
    }
    let at = paired.position(name)?;
    Some((at, paired.stored(at, &column.value)))
}

/// Whether the server has something else, which waits, in place of one of these columns of a row.
fn is_to_change(
    file: &mut File,
    paired: &Paired,
    row: &RowRef,
    columns: &[(usize, Stored)],
) -> Result<bool, Error> {
    let held = held::of(file, row)?;
    let mut names = columns.iter().filter_map(|(at, _)| paired.column(*at));
    Ok(held.removed || held.full || names.any(|there| held.columns.contains_key(&there.name)))
}

/// Whether all of an edit of a row waits to be sent.
fn is_pending(
    file: &mut File,
    paired: &Paired,
    row: &RowRef,
    columns: &[(usize, Stored)],
) -> Result<bool, Error> {
    let Some(history) = history::of(file, std::slice::from_ref(row))?.pop() else {
        return Ok(false);
    };
    let now = row_now(file, &paired.local, row)?;
    Ok(match history.net(&paired.local, now) {
        Net::Nothing => false,
        Net::Insert(_) | Net::Delete => true,
        Net::Update(changed) => columns.iter().all(|(at, _)| {
            let mut changed = changed.iter();
            changed.any(|column| column.position == *at)
        }),
    })
}

/// Forgets a refused edit.
pub(crate) fn discard(file: &mut File, number: i64) -> Result<(), Error> {
    file.write(|file| {
        letter(file, number)?;
        drop_letter(file, number)
    })
}

fn drop_letter(file: &mut File, number: i64) -> Result<(), Error> {
    file.execute(
        "DELETE FROM colsync_dead_letters WHERE number = :?",
        &[Stored::Int(number)],
    )
    .map(drop)
}

fn letter(file: &mut File, number: i64) -> Result<(String, WireEdit), Error> {
    let row = file.first(
        "SELECT table_name, edit FROM colsync_dead_letters WHERE number = :?",
        &[Stored::Int(number)],
    )?;
    let row = row.ok_or_else(|| Error::Unknown {
        what: "dead letter",
        name: number.to_string(),
    })?;
    let unreadable = || Error::Corrupt(format!("dead letter {number}"));
    let (Some(table), Some(edit)) = (row.first().and_then(text), row.get(1).and_then(text)) else {
        return Err(unreadable());
    };
    let edit = serde_json::from_str(edit).map_err(|_broken| unreadable())?;
    Ok((table.to_owned(), edit))
}
