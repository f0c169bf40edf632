//! A push is frozen before it is sent: its number, its bytes and what it covers are in the file, so that it
//! can be repeated word for word after whatever happens. Edits made after that are the next push's.

use std::collections::HashSet;

use colsync_shared::Time;
use colsync_shared::sqlite::Stored;
use serde::{Deserialize, Serialize};

use super::edit::{Draft, WireEdit, draft};
use super::history::{self, Net, row_now};
use crate::error::Error;
use crate::file::{File, Meta, int};
use crate::inbox::{apply, write};
use crate::keys::{self, Stance};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// A push's JSON is kept below this, in bytes; the server takes four times as much.
const BODY_BYTES: usize = 4 << 20;

/// Pushes kept after they were answered for, to be sent again to a server that lost them: at most so many,
const KEPT_PUSHES: i64 = 1_000;
/// and so many bytes,
const KEPT_BYTES: i64 = 1 << 20;
/// for so long, ms.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// zstd's level: edits are small and much alike.
const LEVEL: i32 = 3;

/// The body of a push.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) push: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<String>,
    pub(crate) edits: Vec<WireEdit>,
}

/// A push as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    pub(crate) number: i64,
    /// JSON, zstd.
    pub(crate) body: Vec<u8>,
    pub(crate) edits: u64,
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
    /// The first so many with edits up to a line of the log, without some.
    First {
        most: usize,
        upto: i64,
        skip: &'a HashSet<RowRef>,
    },
    /// These.
    Rows(&'a [RowRef]),
}

/// Freezes the next push.
pub(crate) fn freeze(
    file: &mut File,
    tables: &[Paired],
    schema: Option<&str>,
    choice: &Choice<'_>,
    break_cycles: bool,
) -> Result<Frost, Error> {
    file.write(|file| {
        let links = keys::Links::read(file, tables)?;
        let mut locals = keys::Locals::read(file, tables, &links)?;
        let rows = match choice {
            Choice::First { most, upto, skip } => {
                history::first_rows(file, *most, *upto, |row| skip.contains(row))?
            }
            Choice::Rows(rows) => rows.to_vec(),
        };
        let mut frost = Frost::default();
        let mut edits = Vec::new();
        let mut sent = Vec::new();
        let mut undone = Vec::new();
        let mut bytes = 0;
        for history in history::of(file, &rows)? {
            let Some(paired) = tables.iter().find(|t| t.local.number == history.row.table) else {
                let reason = "its table is not in the file any more".to_owned();
                frost.waiting.push((history.row, reason));
                continue;
            };
            let now = row_now(file, &paired.local, &history.row)?;
            let net = history.net(&paired.local, now);
            let is_nothing = matches!(net, Net::Nothing);
            match draft(file, paired, &history, net)? {
                Draft::Nothing => undone.push(history),
                Draft::Waits(reason) => frost.waiting.push((history.row, reason)),
                Draft::Edit(mut edit) => {
                    debug_assert!(!is_nothing);
                    match keys::stance(
                        file,
                        &links,
                        &mut locals,
                        paired,
                        &history.row,
                        &mut edit,
                        break_cycles,
                    )? {
                        Stance::Goes => {}
                        Stance::WaitsForId(reason) => {
                            frost.later.push((history.row, reason));
                            continue;
                        }
                        Stance::Waits(reason) => {
                            frost.waiting.push((history.row, reason));
                            continue;
                        }
                    }
                    bytes += serde_json::to_vec(&edit).map_err(unwritable)?.len();
                    if bytes > BODY_BYTES && !edits.is_empty() {
                        break;
                    }
                    sent.push((history.row.clone(), history.upto()));
                    edits.push(edit);
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
        if !edits.is_empty() {
            frost.push = Some(store(file, schema, edits, &sent)?);
        }
        Ok(frost)
    })
}

fn store(
    file: &mut File,
    schema: Option<&str>,
    edits: Vec<WireEdit>,
    sent: &[(RowRef, i64)],
) -> Result<Frozen, Error> {
    let number = file.meta_int(Meta::Push)?.unwrap_or(0) + 1;
    let count = edits.len() as u64;
    let body = Body {
        push: number,
        schema: schema.map(str::to_owned),
        edits,
    };
    let json = serde_json::to_vec(&body).map_err(unwritable)?;
    let body = zstd::bulk::compress(&json, LEVEL)?;
    file.execute(
        "INSERT INTO colsync_pushes (push, body, edits) VALUES (:?, :?, :?)",
        &[
            Stored::Int(number),
            Stored::Bytes(body.clone()),
            Stored::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        ],
    )?;
    for (position, (row, upto)) in (0..).zip(sent) {
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
        body,
        edits: count,
    })
}

/// The push that has no answer yet.
pub(crate) fn unanswered(file: &mut File) -> Result<Option<Frozen>, Error> {
    let row = file.first(
        "SELECT push, body, edits FROM colsync_pushes WHERE settled_at_ms IS NULL",
        &[],
    )?;
    row.map(read).transpose()
}

/// The pushes from `number` on, oldest first, if all up to the last are kept.
pub(crate) fn kept_from(file: &mut File, number: i64) -> Result<Option<Vec<Frozen>>, Error> {
    let last = file.meta_int(Meta::Push)?.unwrap_or(0);
    let rows = file.load(
        "SELECT push, body, edits FROM colsync_pushes \
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
    file.execute(
        "UPDATE colsync_pushes SET settled_at_ms = :? WHERE push = :?",
        &[Stored::Int(now_ms), Stored::Int(number)],
    )?;
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

/// The edits of a push.
pub(crate) fn edits(frozen: &Frozen) -> Result<Vec<WireEdit>, Error> {
    Ok(body(frozen)?.edits)
}

fn body(frozen: &Frozen) -> Result<Body, Error> {
    let corrupt = || Error::Corrupt(format!("push {} in colsync_pushes", frozen.number));
    let json = zstd::stream::decode_all(frozen.body.as_slice()).map_err(|_broken| corrupt())?;
    serde_json::from_slice(&json).map_err(|_broken| corrupt())
}

/// Writes the ids that the server has made into a push that is kept: sent again, it makes the same rows.
pub(crate) fn name_made(
    file: &mut File,
    frozen: &Frozen,
    made: impl Fn(usize) -> Option<String>,
) -> Result<(), Error> {
    let mut body = body(frozen)?;
    for (position, edit) in body.edits.iter_mut().enumerate() {
        if edit.id.is_none() {
            edit.id = made(position);
        }
    }
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
    match <[Stored; 3]>::try_from(row) {
        Ok([Stored::Int(number), Stored::Bytes(body), Stored::Int(edits)]) => Ok(Frozen {
            number,
            body,
            edits: u64::try_from(edits).unwrap_or(0),
        }),
        Ok(_) | Err(_) => Err(Error::Corrupt("a row of colsync_pushes".to_owned())),
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Corrupt(format!("an edit that JSON cannot hold: {error}"))
}

/// [`thaw`], in a transaction of its own.
pub(crate) fn thaw_now(file: &mut File) -> Result<(), Error> {
    file.write(thaw)
}
