//! What an app can see: pending edits, Originals, conflicts, dead letters, and how the file stands.
//!
//! Writes nothing.

use std::collections::BTreeMap;

use colsync_shared::sqlite::Stored;
use colsync_shared::{Op, Time};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::capture;
use crate::engine::session::known_schema;
use crate::error::Error;
use crate::file::{File, Meta, Row, int, text};
use crate::inbox::held;
use crate::keys::{self, Stance};
use crate::outbox::edit::{Draft, draft, time};
use crate::outbox::history::{self, History, Net, row_now};
use crate::pairing::{Paired, pair};
use crate::table::RowRef;

/// A row's edit that the server has not answered for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pending {
    /// The table, as the file spells it.
    pub table: String,
    /// The row's id.
    pub id: String,
    /// What the app did.
    pub op: Op,
    /// The columns that differ; of an inserted or deleted row, all.
    pub columns: BTreeMap<String, Diff>,
    /// When it was last written.
    pub at: Time,
    /// Why it is not sent, if it cannot be.
    pub waiting: Option<String>,
}

/// One column of a pending edit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// As the server last told it; null where there was no row.
    pub original: Json,
    /// As the app left it; null where the row is gone.
    pub edited: Json,
    /// When.
    pub at: Time,
}

/// An edit of this client's that met someone else's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conflict {
    /// Its number here.
    pub number: i64,
    /// The server's name of the table.
    pub table: String,
    /// The row's id.
    pub id: String,
    /// The column; none if it is about the row.
    pub column: Option<String>,
    /// `superseded`, `merged`, `held`, or `deleted` about a row.
    pub outcome: String,
    /// The Original.
    pub base: Option<Json>,
    /// What the app had written.
    pub mine: Option<Json>,
    /// What someone else had, where it is known.
    pub theirs: Option<Json>,
    /// What it is now.
    pub result: Option<Json>,
    /// The entry in the server's ledger.
    pub conflict: Option<String>,
    /// When the receipt came.
    pub at: Time,
}

/// An edit that the server refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Its number here.
    pub number: i64,
    /// The server's name of the table.
    pub table: String,
    /// The row's id.
    pub id: String,
    /// The edit as it was sent, each column with its Original as `base`.
    pub edit: Json,
    /// The server's code.
    pub code: String,
    /// A sentence.
    pub detail: String,
    /// The column or constraint at fault.
    pub field: Option<String>,
    /// When the receipt came.
    pub at: Time,
}

/// How a file stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileStatus {
    /// This installation's id.
    pub client: String,
    /// The server's URL.
    pub server: Option<String>,
    /// The tracked tables.
    pub tables: Vec<TableStatus>,
    /// Rows with edits that the server has not answered for.
    pub pending: u64,
    /// Edits that the server refused.
    pub dead_letters: u64,
    /// Conflicts noted.
    pub conflicts: u64,
    /// Rows of which something waits to be written: for edits to be pushed, or as a constraint refuses it.
    pub held: u64,
    /// When all was last in sync.
    pub synced_at: Option<Time>,
    /// The server's clock less this one's, µs.
    pub clock_offset_us: Option<i64>,
    /// Why the last sync failed, if it did.
    pub last_error: Option<String>,
    /// Why edits are not sent, each reason once.
    pub waiting: Vec<String>,
}

/// How a tracked table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableStatus {
    /// As the file spells it.
    pub name: String,
    /// Rows with edits that the server has not answered for.
    pub pending: u64,
    /// Rows.
    pub rows: u64,
    /// Why it is not synced, if it is not; a clause.
    pub stays_out: Option<String>,
}

/// The tracked tables beside the server's, as it was last known.
pub(crate) fn tables(file: &mut File) -> Result<Vec<Paired>, Error> {
    let schema = known_schema(file)?;
    Ok(pair(capture::refresh(file)?, schema.as_ref()))
}

/// A tracked table by its name.
pub(crate) fn table(file: &mut File, name: &str) -> Result<Paired, Error> {
    let found = tables(file)?
        .into_iter()
        .find(|table| table.local.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Error::Unknown {
        what: "tracked table",
        name: name.to_owned(),
    })
}

/// The row of a table that people call `id`.
pub(crate) fn row(paired: &Paired, id: &str) -> Result<RowRef, Error> {
    let found = paired.shown_row_id(id).ok_or_else(|| Error::Unknown {
        what: "row",
        name: id.to_owned(),
    })?;
    Ok(RowRef {
        table: paired.local.number,
        id: found,
    })
}

pub(crate) fn pending(file: &mut File) -> Result<Vec<Pending>, Error> {
    let tables = tables(file)?;
    file.read(|file| {
        let mut found = Vec::new();
        let links = keys::Links::read(file, &tables)?;
        let mut locals = keys::Locals::read(file, &tables, &links)?;
        for history in history::all(file)? {
            let Some(paired) = tables.iter().find(|t| t.local.number == history.row.table) else {
                continue;
            };
            let now = row_now(file, &paired.local, &history.row)?;
            let net = history.net(&paired.local, now);
            let waiting = match draft(file, paired, &history, net.clone())? {
                Draft::Nothing => continue,
                Draft::Edit(mut edit) => {
                    let row = &history.row;
                    match keys::stance(file, &links, &mut locals, paired, row, &mut edit, false)? {
                        Stance::Goes | Stance::WaitsForId(_) => None,
                        Stance::Waits(reason) => Some(reason),
                    }
                }
                Draft::Waits(reason) => Some(reason),
            };
            found.push(show(paired, &history, net, waiting));
        }
        Ok(found)
    })
}

fn show(paired: &Paired, history: &History, net: Net, waiting: Option<String>) -> Pending {
    let mut columns = BTreeMap::new();
    let (op, at) = match net {
        Net::Nothing => (Op::Update, history.at_ms),
        Net::Insert(row) => {
            for (position, value) in row.iter().enumerate() {
                put(
                    &mut columns,
                    paired,
                    history,
                    position,
                    &Stored::Null,
                    value,
                );
            }
            (Op::Insert, history.at_ms)
        }
        Net::Update(changed) => {
            for column in &changed {
                let (position, original) = (column.position, &column.original);
                put(
                    &mut columns,
                    paired,
                    history,
                    position,
                    original,
                    &column.edited,
                );
            }
            let latest = changed.iter().map(|column| column.at_ms).max();
            (Op::Update, latest.unwrap_or(history.at_ms))
        }
        Net::Delete => {
            for (name, original) in &history.originals {
                if let Some(position) = paired.local.position(name) {
                    put(
                        &mut columns,
                        paired,
                        history,
                        position,
                        original,
                        &Stored::Null,
                    );
                }
            }
            (Op::Delete, history.at_ms)
        }
    };
    Pending {
        table: paired.local.name.clone(),
        id: paired.shown_id(&history.row.id),
        op,
        columns,
        at: time(at),
        waiting,
    }
}

fn put(
    columns: &mut BTreeMap<String, Diff>,
    paired: &Paired,
    history: &History,
    position: usize,
    original: &Stored,
    edited: &Stored,
) {
    if let Some(column) = paired.local.columns.get(position) {
        let diff = Diff {
            original: paired.wire(position, original),
            edited: paired.wire(position, edited),
            at: time(history.written_at(&column.name)),
        };
        columns.insert(column.name.clone(), diff);
    }
}

pub(crate) fn original(
    file: &mut File,
    name: &str,
    id: &str,
) -> Result<Option<Map<String, Json>>, Error> {
    let paired = table(file, name)?;
    let row = row(&paired, id)?;
    file.read(|file| {
        let history = history::of(file, std::slice::from_ref(&row))?.pop();
        let now = row_now(file, &paired.local, &row)?;
        let values = match (&history, now) {
            (Some(history), _) if !history.existed => return Ok(None),
            (None, None) => return Ok(None),
            (None, Some(now)) => now,
            (Some(history), now) => laid_back(&paired, history, now),
        };
        Ok(Some(shown(&paired, &values)))
    })
}

/// The Original of a row: what the log has of it, laid over what it is now.
pub(crate) fn laid_back(paired: &Paired, history: &History, now: Option<Row>) -> Row {
    let local = &paired.local;
    let mut values = now.unwrap_or_else(|| vec![Stored::Null; local.columns.len()]);
    for (&at, part) in local.key.iter().zip(local.parts(&history.row.id)) {
        if let Some(value) = values.get_mut(at) {
            *value = part;
        }
    }
    for (name, original) in &history.originals {
        let at = local.position(name);
        if let Some(value) = at.and_then(|at| values.get_mut(at)) {
            *value = original.clone();
        }
    }
    values
}

fn shown(paired: &Paired, values: &[Stored]) -> Map<String, Json> {
    let columns = paired.local.columns.iter().zip(values).enumerate();
    columns
        .map(|(at, (column, value))| (column.name.clone(), paired.wire(at, value)))
        .collect()
}

pub(crate) fn conflicts(file: &mut File) -> Result<Vec<Conflict>, Error> {
    let rows = file.load(
        "SELECT number, table_name, id, column_name, outcome, base, mine, theirs, result, conflict, at_ms \
         FROM colsync_conflicts ORDER BY number",
        &[],
    )?;
    rows.into_iter()
        .map(|row| {
            let [
                number,
                table,
                id,
                column,
                outcome,
                base,
                mine,
                theirs,
                result,
                conflict,
                at,
            ] = <[Stored; 11]>::try_from(row)
                .map_err(|_other_length| corrupt("colsync_conflicts"))?;
            Ok(Conflict {
                number: int(&number).ok_or_else(|| corrupt("colsync_conflicts"))?,
                table: text(&table).unwrap_or_default().to_owned(),
                id: text(&id).unwrap_or_default().to_owned(),
                column: text(&column).map(str::to_owned),
                outcome: text(&outcome).unwrap_or_default().to_owned(),
                base: json(&base)?,
                mine: json(&mine)?,
                theirs: json(&theirs)?,
                result: json(&result)?,
                conflict: text(&conflict).map(str::to_owned),
                at: time(int(&at).unwrap_or(0)),
            })
        })
        .collect()
}

pub(crate) fn dead_letters(file: &mut File) -> Result<Vec<DeadLetter>, Error> {
    let rows = file.load(
        "SELECT number, table_name, id, edit, code, detail, field, at_ms \
         FROM colsync_dead_letters ORDER BY number",
        &[],
    )?;
    rows.into_iter()
        .map(|row| {
            let [number, table, id, edit, code, detail, field, at] =
                <[Stored; 8]>::try_from(row)
                    .map_err(|_other_length| corrupt("colsync_dead_letters"))?;
            Ok(DeadLetter {
                number: int(&number).ok_or_else(|| corrupt("colsync_dead_letters"))?,
                table: text(&table).unwrap_or_default().to_owned(),
                id: text(&id).unwrap_or_default().to_owned(),
                edit: json(&edit)?.unwrap_or(Json::Null),
                code: text(&code).unwrap_or_default().to_owned(),
                detail: text(&detail).unwrap_or_default().to_owned(),
                field: text(&field).map(str::to_owned),
                at: time(int(&at).unwrap_or(0)),
            })
        })
        .collect()
}

pub(crate) fn status(file: &mut File) -> Result<FileStatus, Error> {
    let waiting_or_not = pending(file)?;
    let paired = tables(file)?;
    let mut tables = Vec::with_capacity(paired.len());
    let mut waiting: Vec<String> = Vec::new();
    for edit in &waiting_or_not {
        waiting.extend(
            edit.waiting
                .clone()
                .filter(|reason| !waiting.contains(reason)),
        );
    }
    for table in paired {
        let name = table.local.name;
        let quoted = colsync_shared::sql::quote(&name);
        let rows = file.int(&format!("SELECT count(*) FROM {quoted}"), &[])?;
        tables.push(TableStatus {
            pending: waiting_or_not
                .iter()
                .filter(|edit| edit.table == name)
                .count() as u64,
            rows: u64::try_from(rows).unwrap_or(0),
            stays_out: table.server.err(),
            name,
        });
    }
    let mut count = |sql: &str| file.int(sql, &[]).map(|n| u64::try_from(n).unwrap_or(0));
    let dead_letters = count("SELECT count(*) FROM colsync_dead_letters")?;
    let conflicts = count("SELECT count(*) FROM colsync_conflicts")?;
    let held = if held::none(file)? {
        0
    } else {
        held::all(file)?
            .iter()
            .filter(|(_, held)| held.waits())
            .count() as u64
    };
    Ok(FileStatus {
        client: file.meta(Meta::ClientId)?.unwrap_or_default(),
        server: file.meta(Meta::Server)?,
        pending: waiting_or_not.len() as u64,
        tables,
        dead_letters,
        conflicts,
        held,
        synced_at: file.meta_int(Meta::SyncedAt)?.map(time),
        clock_offset_us: file.meta_int(Meta::OffsetUs)?,
        last_error: file.meta(Meta::LastError)?,
        waiting,
    })
}

fn json(stored: &Stored) -> Result<Option<Json>, Error> {
    let json = text(stored).map(serde_json::from_str);
    json.transpose()
        .map_err(|_unreadable| corrupt("a value in colsync's tables"))
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(what.to_owned())
}
