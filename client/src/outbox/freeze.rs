//! A push is frozen before it is sent: its number, its bytes and what it covers are in the file, so that it
//! can be repeated word for word after whatever happens. Edits made after that are the next push's.

mod row;

use std::collections::HashSet;

use colsync_shared::sqlite::Stored;
use colsync_shared::{Time, step};
use serde::Serialize;

use super::body::Body;
use super::edit::WireEdit;
use super::history::{self, History};
use super::mode::Mode;
use crate::error::Error;
use crate::file::{File, Meta, int};
use crate::inbox::{apply, write};
use crate::keys;
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};
use row::{Ids, Item, Written, logged, net};

/// A push's JSON is kept below this, in bytes; the server takes four times as much.
const BODY_BYTES: usize = 4 << 20;
/// And below so many edits; the server takes twice as many.
const BODY_ITEMS: usize = 5_000;

/// Pushes kept after they were answered for, to be sent again to a server that lost them: at most so many,
const KEPT_PUSHES: i64 = 1_000;
/// and so many bytes,
const KEPT_BYTES: i64 = 1 << 20;
/// for so long, ms.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// zstd's level: edits are small and much alike.
const LEVEL: i32 = 3;

/// A push as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) number: i64,
    pub(crate) mode: Mode,
    /// JSON, zstd.
    pub(crate) body: Vec<u8>,
    pub(crate) edits: u64,
    /// Whether it is the beginning of what a row's log tells, the rest of which did not fit.
    pub(crate) is_part: bool,
}

/// What freezing gave.
#[derive(Debug, Default)]
pub(crate) struct Frost {
    /// The push, if there is anything to send.
    pub(crate) push: Option<Frozen>,
    /// Rows whose edits stay pending, each with a clause.
    pub(crate) waiting: Vec<(RowRef, String)>,
    /// Rows that wait for the ids of others, each with a clause, should these never come.
    pub(crate) later: Vec<(RowRef, String)>,
    /// Rows whose edits had come to nothing.
    pub(crate) dropped: usize,
}

/// Which rows a push is to be made of.
pub(crate) enum Choice<'a> {
    /// The first so many with edits up to a line of the log, without some. Of a row's log so many `entries`; what it comes
    /// to instead, if there is no room for any.
    First {
        most: usize,
        entries: usize,
        upto: i64,
        skip: &'a HashSet<RowRef>,
    },
    /// These; of a row's log so many entries, as above.
    Rows { rows: &'a [RowRef], entries: usize },
}

/// What a push is written for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) mode: Mode,
    /// The hash of the server's schema, as it is known here.
    pub(crate) schema: Option<&'a str>,
    /// Whether new rows go without the columns by which they point to others that are still to be made.
    pub(crate) break_cycles: bool,
}

/// Freezes the next push.
pub(crate) fn freeze(
    file: &mut File,
    tables: &[Paired],
    terms: Terms<'_>,
    choice: &Choice<'_>,
) -> Result<Frost, Error> {
    let frost = file.write(|file| {
        let links = keys::Links::read(file, tables)?;
        let mut histories = chosen(file, choice)?;
        step::reach("log.read");
        if keys::tell_apart(file, tables, &links, &histories)? {
            histories = chosen(file, choice)?;
        }
        let locals = keys::Locals::read(file, tables, &links)?;
        let mut ids = Ids {
            links: &links,
            locals,
            break_cycles: terms.break_cycles,
        };
        let mut frost = Frost::default();
        let mut load = Load::default();
        let mut undone = Vec::new();
        let most_entries = match choice {
            Choice::First { entries, .. } | Choice::Rows { entries, .. } => *entries,
        };
        let rows: Vec<RowRef> = histories.iter().map(|one| one.row.clone()).collect();
        let mut lines = match terms.mode {
            Mode::TransactionLog => history::lines_of(file, &rows)?,
            Mode::Differential | Mode::WholeRow => Vec::new(),
        }
        .into_iter();
        for history in histories {
            let lines = lines.next().unwrap_or_default();
            let Some(paired) = tables.iter().find(|t| t.local.number == history.row.table) else {
                let reason = "its table is not in the file any more".to_owned();
                frost.waiting.push((history.row, reason));
                continue;
            };
            // Of a row whose id the server makes, later edits could not name it.
            let is_new = paired.makes_key && history.is_local;
            let is_logged = terms.mode == Mode::TransactionLog && !is_new && most_entries > 0;
            let written = if is_logged {
                logged(file, &mut ids, paired, &history, &lines, most_entries)?
            } else {
                net(file, &mut ids, paired, &history, terms.mode)?
            };
            match written {
                Written::Nothing => undone.push(history),
                Written::Later(reason) => frost.later.push((history.row, reason)),
                Written::Waits(reason) => frost.waiting.push((history.row, reason)),
                Written::Items(items, upto) => {
                    let is_part = most_entries < usize::MAX && history.has_after(upto);
                    if !load.add(history.row, items, upto)? {
                        break;
                    }
                    load.is_part |= is_part;
                }
            }
        }
        frost.dropped = undone.len();
        let gone = undone.iter().filter(|history| history.is_local);
        let gone: Vec<RowRef> = gone.map(|history| history.row.clone()).collect();
        keys::abandon(file, tables, &links, &gone)?;
        for history in undone {
            let seqs = history.lines.iter().map(|(seq, _)| *seq).collect();
            history::forget(file, seqs)?;
            // What came while the column was edited can be written now.
            if let Some(paired) = tables.iter().find(|t| t.local.number == history.row.table) {
                let this = std::slice::from_ref(paired);
                write::without_echo(file, this, |file| {
                    file.uncaptured(|file| apply::release(file, paired, &history.row))
                })?;
            }
        }
        if !load.rows.is_empty() {
            frost.push = Some(store(file, terms, load)?);
            step::reach("freeze.before_commit");
        }
        Ok(frost)
    })?;
    if frost.push.is_some() {
        step::reach("freeze.frozen");
    }
    Ok(frost)
}

fn chosen(file: &mut File, choice: &Choice<'_>) -> Result<Vec<History>, Error> {
    let rows = match choice {
        Choice::First {
            most, upto, skip, ..
        } => history::first_rows(file, *most, *upto, |row| skip.contains(row))?,
        Choice::Rows { rows, .. } => rows.to_vec(),
    };
    history::of(file, &rows)
}

/// The rows of a push in the making.
#[derive(Default)]
struct Load {
    rows: Vec<(RowRef, i64)>,
    items: Vec<Vec<Item>>,
    count: usize,
    bytes: usize,
    is_part: bool,
}

impl Load {
    /// Adds a row; false if the push is full without it.
    fn add(&mut self, row: RowRef, items: Vec<Item>, upto: i64) -> Result<bool, Error> {
        let mut bytes = 0;
        for item in &items {
            bytes += match item {
                Item::Edit(edit) => size(edit)?,
                Item::Entry(_, entry) => size(entry)?,
                Item::Row(row) => size(row)?,
            };
        }
        let too_much = self.bytes + bytes > BODY_BYTES || self.count + items.len() > BODY_ITEMS;
        if too_much && !self.rows.is_empty() {
            return Ok(false);
        }
        self.bytes += bytes;
        self.count += items.len();
        self.rows.push((row, upto));
        self.items.push(items);
        Ok(true)
    }

    /// The body, and the rows in the order of their first items in it.
    fn into_body(self, number: i64, terms: Terms<'_>) -> (Body, Vec<(RowRef, i64)>) {
        let mut body = Body {
            push: number,
            schema: terms.schema.map(str::to_owned),
            ..Body::default()
        };
        let first = |items: &Vec<Item>| match items.first() {
            Some(Item::Entry(seq, _)) => *seq,
            Some(Item::Edit(_) | Item::Row(_)) | None => 0,
        };
        let mut all: Vec<_> = self.rows.into_iter().zip(self.items).collect();
        all.sort_by_key(|(_, items)| first(items));
        let (sent, items): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let (mut edits, mut entries, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for item in items.into_iter().flatten() {
            match item {
                Item::Edit(edit) => edits.push(edit),
                Item::Entry(seq, entry) => entries.push((seq, entry)),
                Item::Row(row) => rows.push(row),
            }
        }
        match terms.mode {
            Mode::Differential => body.edits = Some(edits),
            Mode::WholeRow => body.rows = Some(rows),
            Mode::TransactionLog => {
                // As they were done, across rows.
                entries.sort_by_key(|(seq, _)| *seq);
                body.entries = Some(entries.into_iter().map(|(_, entry)| entry).collect());
            }
        }
        (body, sent)
    }
}

fn size(item: &impl Serialize) -> Result<usize, Error> {
    Ok(serde_json::to_vec(item).map_err(unwritable)?.len())
}

fn store(file: &mut File, terms: Terms<'_>, load: Load) -> Result<Frozen, Error> {
    let number = file.meta_int(Meta::Push)?.unwrap_or(0) + 1;
    let (count, is_part) = (load.count as u64, load.is_part);
    let (body, sent) = load.into_body(number, terms);
    let json = serde_json::to_vec(&body).map_err(unwritable)?;
    let body = zstd::bulk::compress(&json, LEVEL)?;
    file.execute(
        "INSERT INTO colsync_pushes (push, mode, body, edits) VALUES (:?, :?, :?, :?)",
        &[
            Stored::Int(number),
            Stored::Text(terms.mode.name().to_owned()),
            Stored::Bytes(body.clone()),
            Stored::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        ],
    )?;
    for (position, (row, upto)) in (0..).zip(&sent) {
        file.execute(
            "INSERT INTO colsync_sent (position, table_number, row_id, upto) VALUES (:?, :?, :?, :?)",
            &[
                Stored::Int(position),
                Stored::Int(row.table),
                row.id.0.clone(),
                Stored::Int(*upto),
            ],
        )?;
    }
    Ok(Frozen {
        number,
        mode: terms.mode,
        body,
        edits: count,
        is_part,
    })
}

/// The push that has no answer yet.
pub(crate) fn unanswered(file: &mut File) -> Result<Option<Frozen>, Error> {
    let row = file.first(
        "SELECT push, mode, body, edits FROM colsync_pushes WHERE settled_at_ms IS NULL",
        &[],
    )?;
    row.map(read).transpose()
}

/// The pushes from `number` on, oldest first, if all up to the last are kept.
pub(crate) fn kept_from(file: &mut File, number: i64) -> Result<Option<Vec<Frozen>>, Error> {
    let last = file.meta_int(Meta::Push)?.unwrap_or(0);
    let rows = file.load(
        "SELECT push, mode, body, edits FROM colsync_pushes \
         WHERE push >= :? AND settled_at_ms IS NOT NULL ORDER BY push",
        &[Stored::Int(number)],
    )?;
    let pushes: Vec<Frozen> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    let whole = number >= 1
        && pushes
            .iter()
            .zip(number..)
            .all(|(push, at)| push.number == at);
    let upto = i64::try_from(pushes.len())
        .unwrap_or(i64::MAX)
        .saturating_add(number - 1);
    Ok((whole && upto == last).then_some(pushes))
}

/// The rows of the push without an answer, in the order of its edits, each with its last line.
pub(crate) fn sent(file: &mut File) -> Result<Vec<(RowRef, i64)>, Error> {
    let rows = file.load(
        "SELECT table_number, row_id, upto FROM colsync_sent ORDER BY position",
        &[],
    )?;
    rows.into_iter()
        .map(|row| match <[Stored; 3]>::try_from(row) {
            Ok([Stored::Int(table), id, Stored::Int(upto)]) => {
                let id = RowId(id);
                Ok((RowRef { table, id }, upto))
            }
            Ok(_) | Err(_) => Err(Error::Corrupt("a row of colsync_sent".to_owned())),
        })
        .collect()
}

/// Takes back the push without an answer: its edits are pending as before.
pub(crate) fn thaw(file: &mut File) -> Result<(), Error> {
    file.batch("DELETE FROM colsync_sent; DELETE FROM colsync_pushes WHERE settled_at_ms IS NULL")
}

/// Notes that the push has its answer, and forgets the oldest ones.
pub(crate) fn answered(file: &mut File, number: i64, now: Time) -> Result<(), Error> {
    let now_ms = now.micros() / 1000;
    file.execute("DELETE FROM colsync_sent", &[])?;
    note_answer(file, number, now)?;
    file.set_meta(Meta::Push, Some(&number.to_string()))?;
    file.execute(
        "DELETE FROM colsync_pushes WHERE push <= :? OR settled_at_ms < :?",
        &[
            Stored::Int(number - KEPT_PUSHES),
            Stored::Int(now_ms - KEPT_MS),
        ],
    )?;
    let sizes = file.load(
        "SELECT push, length(body) FROM colsync_pushes ORDER BY push DESC",
        &[],
    )?;
    let mut total = 0;
    for row in sizes {
        let (push, size) = (row.first().and_then(int), row.get(1).and_then(int));
        total += size.unwrap_or(0);
        if total > KEPT_BYTES {
            let upto = push.unwrap_or(0);
            file.execute(
                "DELETE FROM colsync_pushes WHERE push <= :? AND settled_at_ms IS NOT NULL",
                &[Stored::Int(upto)],
            )?;
            break;
        }
    }
    Ok(())
}

/// Notes when a push was answered: now. That of one which the server had lost, and has again, is as good as new.
pub(crate) fn note_answer(file: &mut File, number: i64, now: Time) -> Result<(), Error> {
    file.execute(
        "UPDATE colsync_pushes SET settled_at_ms = :? WHERE push = :?",
        &[Stored::Int(now.micros() / 1000), Stored::Int(number)],
    )?;
    Ok(())
}

/// The push in these bytes.
pub(crate) fn body(bytes: &[u8]) -> Result<Body, Error> {
    let corrupt = || Error::Corrupt("a push in colsync_pushes".to_owned());
    let json = zstd::stream::decode_all(bytes).map_err(|_broken| corrupt())?;
    serde_json::from_slice(&json).map_err(|_broken| corrupt())
}

/// The edits of a push, one for each receipt.
pub(crate) fn edits(frozen: &Frozen) -> Result<Vec<WireEdit>, Error> {
    body(&frozen.body).map(Body::into_edits)
}

/// Writes the ids that the server has made into a push that is kept: sent again, it makes the same rows.
pub(crate) fn name_made(
    file: &mut File,
    frozen: &Frozen,
    made: impl Fn(usize) -> Option<String>,
) -> Result<(), Error> {
    let mut body = body(&frozen.body)?;
    body.name_made(made);
    let json = serde_json::to_vec(&body).map_err(unwritable)?;
    file.execute(
        "UPDATE colsync_pushes SET body = :? WHERE push = :?",
        &[
            Stored::Bytes(zstd::bulk::compress(&json, LEVEL)?),
            Stored::Int(frozen.number),
        ],
    )?;
    Ok(())
}

fn read(row: Vec<Stored>) -> Result<Frozen, Error> {
    let corrupt = || Error::Corrupt("a row of colsync_pushes".to_owned());
    match <[Stored; 4]>::try_from(row) {
        Ok(
            [
                Stored::Int(number),
                Stored::Text(mode),
                Stored::Bytes(body),
                Stored::Int(edits),
            ],
        ) => Ok(Frozen {
            number,
            mode: Mode::from_name(&mode).ok_or_else(corrupt)?,
            body,
            edits: u64::try_from(edits).unwrap_or(0),
            is_part: false,
        }),
        Ok(_) | Err(_) => Err(corrupt()),
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Corrupt(format!("an edit that JSON cannot hold: {error}"))
}

/// [`thaw`], in a transaction of its own.
pub(crate) fn thaw_now(file: &mut File) -> Result<(), Error> {
    file.write(thaw)
}
