//! What the server sent of a row that the app's table cannot take yet.
//!
//! A column with an unpushed edit keeps its edited value. What the server has for it waits here, and so does
//! the version that the edit was made from: a pull never moves the base of an unpushed edit. A row that the
//! table's own constraints refuse waits here, too.

use std::collections::BTreeMap;

use colsync_shared::sqlite::Stored;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::pending::PendingRow;
use crate::error::Error;
use crate::file::{File, text};
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// A base version in a history that the server has lost: the edit is to name its Original instead.
pub(crate) const LOST: i64 = -1;

/// What waits for one row. Columns go by the server's names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    /// The version that an unpushed edit of the row as a whole was made from, where the row has moved on since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_base: Option<i64>,
    /// The versions that unpushed edits of columns were made from, where the row has moved on since.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) bases: BTreeMap<String, i64>,
    /// What the server has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) columns: BTreeMap<String, Json>,
    /// Whether that is the whole row.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) full: bool,
    /// Whether the row is gone there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) removed: bool,
    /// The row's version there, where it is not yet the one in the table of versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<i64>,
}

impl Held {
    /// That of a row that is gone at the server.
    pub(crate) fn gone() -> Held {
        Held {
            removed: true,
            ..Held::default()
        }
    }

    /// Whether there is something to write into the app's table.
    pub(crate) fn waits(&self) -> bool {
        self.removed || self.full || !self.columns.is_empty()
    }

    /// Notes that the row is gone at the server.
    pub(crate) fn remove(&mut self) {
        self.removed = true;
        self.full = false;
        self.columns.clear();
    }

    /// What is kept of columns that `these` says, which is kept apart from now on.
    pub(crate) fn split_off(&mut self, these: impl Fn(&str) -> bool) -> Held {
        let columns = std::mem::take(&mut self.columns).into_iter();
        let bases = std::mem::take(&mut self.bases).into_iter();
        let mut apart = Held::default();
        (apart.columns, self.columns) = columns.partition(|(name, _)| these(name));
        (apart.bases, self.bases) = bases.partition(|(name, _)| these(name));
        apart
    }

    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Held::default()
    }

    /// The version of which the app had every column in view: what a delete was made from. 0, which is before
    /// every version, where that is lost.
    pub(crate) fn least_base(&self, version: i64) -> i64 {
        let noted = self.bases.values().copied().chain(self.row_base);
        noted.fold(version, i64::min).max(0)
    }

    /// Notes the version that a column's edit was made from, unless an earlier one is noted.
    pub(crate) fn note_base(&mut self, column: &str, version: i64) {
        if version == LOST {
            self.bases.insert(column.to_owned(), LOST);
        } else {
            self.bases.entry(column.to_owned()).or_insert(version);
        }
    }

    /// Notes that what the unpushed `edits` were made from is of a history that the server has lost.
    pub(crate) fn lose_bases(&mut self, paired: &Paired, edits: &PendingRow) {
        self.row_base = Some(LOST);
        for at in 0..paired.local.columns.len() {
            let is_edited = paired.touches(at, |name| edits.has(name));
            if let Some(there) = paired.column(at).filter(|_| is_edited) {
                self.note_base(&there.name, LOST);
            }
        }
    }

    /// Notes `version` as the one that the app has in view for every column that waits.
    pub(crate) fn note_unseen(&mut self, version: i64) {
        let names: Vec<String> = self.columns.keys().cloned().collect();
        for name in names {
            self.note_base(&name, version);
        }
    }
}

/// What waits for a row; nothing, mostly.
pub(crate) fn of(file: &mut File, row: &RowRef) -> Result<Held, Error> {
    let found = file.first(
        "SELECT body FROM colsync_held WHERE table_number = :? AND row_id = :?",
        &[Stored::Int(row.table), row.id.0.clone()],
    )?;
    match found.as_deref() {
        None => Ok(Held::default()),
        Some([body]) => read(body),
        Some(_) => Err(corrupt()),
    }
}

/// Keeps `held` for a row; `reason` is why its table refuses it, if it does.
pub(crate) fn keep(
    file: &mut File,
    row: &RowRef,
    held: &Held,
    reason: Option<&str>,
) -> Result<(), Error> {
    if held.is_empty() {
        return forget(file, row);
    }
    let reason = reason.map_or(Stored::Null, |reason| Stored::Text(reason.to_owned()));
    write(
        file,
        row,
        held,
        reason,
        "body = excluded.body, reason = excluded.reason",
    )
}

/// Keeps `held` for a row, and the reason why its table refuses it, if it does.
pub(crate) fn amend(file: &mut File, row: &RowRef, held: &Held) -> Result<(), Error> {
    write(file, row, held, Stored::Null, "body = excluded.body")
}

fn write(
    file: &mut File,
    row: &RowRef,
    held: &Held,
    reason: Stored,
    set: &str,
) -> Result<(), Error> {
    let body = serde_json::to_string(held).map_err(|_unserializable| corrupt())?;
    file.execute(
        &format!(
            "INSERT INTO colsync_held (table_number, row_id, body, reason) VALUES (:?, :?, :?, :?) \
             ON CONFLICT (table_number, row_id) DO UPDATE SET {set}"
        ),
        &[
            Stored::Int(row.table),
            row.id.0.clone(),
            Stored::Text(body),
            reason,
        ],
    )?;
    Ok(())
}

/// Forgets what waits for a row.
pub(crate) fn forget(file: &mut File, row: &RowRef) -> Result<(), Error> {
    file.execute(
        "DELETE FROM colsync_held WHERE table_number = :? AND row_id = :?",
        &[Stored::Int(row.table), row.id.0.clone()],
    )?;
    Ok(())
}

/// Whether nothing waits for any row.
pub(crate) fn none(file: &mut File) -> Result<bool, Error> {
    Ok(file.int("SELECT EXISTS (SELECT 1 FROM colsync_held)", &[])? == 0)
}

/// All that waits.
pub(crate) fn all(file: &mut File) -> Result<Vec<(RowRef, Held)>, Error> {
    let rows = file.load("SELECT table_number, row_id, body FROM colsync_held", &[])?;
    rows.into_iter()
        .map(|row| match <[Stored; 3]>::try_from(row) {
            Ok([Stored::Int(table), id, body]) => {
                let id = RowId(id);
                Ok((RowRef { table, id }, read(&body)?))
            }
            Ok(_) | Err(_) => Err(corrupt()),
        })
        .collect()
}

fn read(body: &Stored) -> Result<Held, Error> {
    let body = text(body).ok_or_else(corrupt)?;
    serde_json::from_str(body).map_err(|_unreadable| corrupt())
}

fn corrupt() -> Error {
    Error::Corrupt("a row of colsync_held".to_owned())
}
