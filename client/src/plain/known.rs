//! What the file keeps of an API: its rows as last known, their place in a feed, and the writes under way.
//!
//! The only part of this room that knows SQL; must not know HTTP. It has a connection of its own, and each of its
//! transactions is over before the next call to the API.

use std::path::Path;

use colsync_shared::Receipt;
use colsync_shared::sqlite::Stored;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::look::KnownRow;
use super::times::later;
use crate::edges;
use crate::error::Error;
use crate::file::{File, int, text};
use crate::outbox::edit::WireEdit;
use crate::outbox::letters::{self, Conflict};

const SCHEMA: &str = include_str!("known.sql");

const SELECT: &str = "SELECT id, version, position, deleted, body, marks FROM colsync_remote_rows";

const KEEP: &str = "
    INSERT INTO colsync_remote_rows (table_name, id, version, position, deleted, body, marks)
    VALUES (:?, :?, :?, :?, :?, :?, :?)
    ON CONFLICT (table_name, id) DO UPDATE SET version = excluded.version, position = excluded.position,
        deleted = excluded.deleted, body = excluded.body, marks = excluded.marks";

const KEEP_TABLE: &str = "
    INSERT INTO colsync_remote_tables (name, etag, since, latest, pulls, shape) VALUES (:?, :?, :?, :?, :?, :?)
    ON CONFLICT (name) DO UPDATE SET etag = excluded.etag, since = excluded.since, latest = excluded.latest,
        pulls = excluded.pulls, shape = excluded.shape";

/// Files of earlier days lack it.
const HAS_LATEST: &str =
    "SELECT count(*) FROM pragma_table_info('colsync_remote_tables') WHERE name = 'latest'";

const KEEP_WRITE: &str = "
    INSERT INTO colsync_remote_writes (push, number, edit, begun, receipt) VALUES (:?, :?, :?, :?, :?)
    ON CONFLICT (push, number) DO UPDATE SET edit = excluded.edit, begun = excluded.begun,
        receipt = excluded.receipt";

/// The file's knowledge of an API.
pub(super) struct Known {
    file: File,
    /// Counts up with each change found.
    position: i64,
    incarnation: String,
    first_version: i64,
}

/// How far a table's lists have come.
#[derive(Debug, Clone, Default)]
pub(super) struct TableState {
    pub(super) etag: Option<String>,
    pub(super) since: Option<Json>,
    pub(super) latest: Option<Json>,
    pub(super) pulls: u64,
    pub(super) shape: String,
}

impl TableState {
    /// A list told these times as the latest of its first page, and of all. What was on a page may have changed while
    /// the next ones were read: nothing is missed that is later than what the first page told, or than what was told
    /// before this list began.
    pub(super) fn has_told(&mut self, first: Option<Json>, latest: Option<Json>) {
        let before = std::mem::replace(&mut self.latest, latest);
        self.since = later(later(self.since.take(), before), first);
    }
}

/// One edit of the push under way.
pub(super) struct WriteAt<'a> {
    pub(super) push: i64,
    pub(super) number: i64,
    pub(super) edit: &'a str,
}

/// What a kept write came to.
pub(super) enum Kept<B> {
    /// Nothing is known of it.
    New,
    /// It may have been sent.
    Begun(Box<B>),
    /// It is done.
    Done(Box<Receipt>),
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(format!("{what} of colsync_remote tables"))
}

fn json<T: Serialize>(value: &T) -> Result<Stored, Error> {
    serde_json::to_string(value)
        .map(Stored::Text)
        .map_err(|broken| Error::Corrupt(broken.to_string()))
}

fn read<T: DeserializeOwned>(kept: &str, what: &str) -> Result<T, Error> {
    serde_json::from_str(kept).map_err(|_unreadable| corrupt(what))
}

impl Known {
    /// The knowledge in the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Known, Error> {
        let mut file = File::open(path)?;
        file.write(|file| {
            file.batch(SCHEMA)?;
            if file.int(HAS_LATEST, &[])? == 0 {
                file.batch("ALTER TABLE colsync_remote_tables ADD COLUMN latest TEXT")?;
            }
            Ok(())
        })?;
        let mut known = Known {
            file,
            position: 0,
            incarnation: String::new(),
            first_version: 1,
        };
        known.recall()?;
        Ok(known)
    }

    fn recall(&mut self) -> Result<(), Error> {
        let number = |text: Option<String>, otherwise: i64| match text {
            None => Ok(otherwise),
            Some(text) => text.parse().map_err(|_not_a_number| corrupt("a number")),
        };
        self.position = number(state(&mut self.file, "position")?, 0)?;
        self.first_version = number(state(&mut self.file, "first_version")?, 1)?;
        self.incarnation = state(&mut self.file, "incarnation")?.unwrap_or_default();
        Ok(())
    }

    /// Forgets what is known of another API than this one. Versions go on from there: a base version of that
    /// history must not look like one of this.
    pub(super) fn is_of(&mut self, identity: &str) -> Result<(), Error> {
        if state(&mut self.file, "identity")?.as_deref() == Some(identity) {
            return Ok(());
        }
        self.file.write(|file| {
            let last = file.int(
                "SELECT max((SELECT coalesce(max(version), 0) FROM colsync_remote_rows), \
                 (SELECT coalesce(max(version), 0) FROM colsync_versions))",
                &[],
            )?;
            file.batch(
                "DELETE FROM colsync_remote_rows; DELETE FROM colsync_remote_tables; \
                 DELETE FROM colsync_remote_writes; DELETE FROM colsync_remote_state",
            )?;
            set_state(file, "identity", identity)?;
            set_state(file, "incarnation", &edges::client_id().to_string())?;
            set_state(file, "first_version", &(last + 1).to_string())
        })?;
        self.recall()
    }

    /// Changes whenever all is forgotten.
    pub(super) fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// The place of the last change in the feed.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// The version of a row that was never known.
    pub(super) fn first_version(&self) -> i64 {
        self.first_version
    }

    /// Runs `work` in one transaction, and keeps how far the feed has come by it.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Open<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.position;
        let first_version = self.first_version;
        let mut position = before;
        let done = self.file.write(|file| {
            let mut open = Open {
                file,
                position: &mut position,
                first_version,
            };
            let done = work(&mut open)?;
            if position != before {
                set_state(file, "position", &position.to_string())?;
            }
            Ok(done)
        })?;
        self.position = position;
        Ok(done)
    }

    /// The row as last known.
    pub(super) fn row(&mut self, table: &str, id: &str) -> Result<Option<KnownRow>, Error> {
        row(&mut self.file, table, id)
    }

    /// The ids of the rows that are not deleted, as far as known.
    pub(super) fn alive(&mut self, table: &str) -> Result<Vec<String>, Error> {
        let rows = self.file.load(
            "SELECT id FROM colsync_remote_rows WHERE table_name = :? AND NOT deleted",
            &[Stored::Text(table.to_owned())],
        )?;
        rows.iter()
            .map(|row| {
                let id = row.first().and_then(text);
                id.map(str::to_owned).ok_or_else(|| corrupt("an id"))
            })
            .collect()
    }

    /// How far the table's lists have come.
    pub(super) fn table(&mut self, name: &str) -> Result<TableState, Error> {
        let found = self.file.first(
            "SELECT etag, since, latest, pulls, shape FROM colsync_remote_tables WHERE name = :?",
            &[Stored::Text(name.to_owned())],
        )?;
        let Some(row) = found else {
            return Ok(TableState::default());
        };
        let owned = |at: usize| row.get(at).and_then(text).map(str::to_owned);
        let time = |at: usize| owned(at).map(|told| read(&told, "a time")).transpose();
        Ok(TableState {
            etag: owned(0),
            since: time(1)?,
            latest: time(2)?,
            pulls: row.get(3).and_then(int).unwrap_or(0).unsigned_abs(),
            shape: owned(4).unwrap_or_default(),
        })
    }

    /// What is kept of a write.
    pub(super) fn kept<B: DeserializeOwned>(&mut self, at: &WriteAt<'_>) -> Result<Kept<B>, Error> {
        let found = self.file.first(
            "SELECT edit, begun, receipt FROM colsync_remote_writes WHERE push = :? AND number = :?",
            &[Stored::Int(at.push), Stored::Int(at.number)],
        )?;
        let Some(row) = found else {
            return Ok(Kept::New);
        };
        // The same number may have been given again, to other edits.
        if row.first().and_then(text) != Some(at.edit) {
            return Ok(Kept::New);
        }
        if let Some(receipt) = row.get(2).and_then(text) {
            return Ok(Kept::Done(read(receipt, "a receipt")?));
        }
        match row.get(1).and_then(text) {
            Some(begun) => Ok(Kept::Begun(read(begun, "a write")?)),
            None => Ok(Kept::New),
        }
    }
}

/// The knowledge, inside a transaction.
pub(super) struct Open<'a> {
    file: &'a mut File,
    position: &'a mut i64,
    first_version: i64,
}

impl Open<'_> {
    /// The next place in the feed; it is used up by [`Open::moved`].
    pub(super) fn next_position(&self) -> i64 {
        *self.position + 1
    }

    /// A change took the next place in the feed.
    pub(super) fn moved(&mut self) {
        *self.position += 1;
    }

    pub(super) fn first_version(&self) -> i64 {
        self.first_version
    }

    pub(super) fn row(&mut self, table: &str, id: &str) -> Result<Option<KnownRow>, Error> {
        row(self.file, table, id)
    }

    /// Keeps a row as it is known from now on. The list whose ETag is known does not tell it so: if it comes to be that
    /// again, it is news.
    pub(super) fn keep(&mut self, table: &str, id: &str, row: &KnownRow) -> Result<(), Error> {
        self.file.execute(
            "UPDATE colsync_remote_tables SET etag = NULL WHERE name = :? AND etag IS NOT NULL",
            &[Stored::Text(table.to_owned())],
        )?;
        self.file.execute(
            KEEP,
            &[
                Stored::Text(table.to_owned()),
                Stored::Text(id.to_owned()),
                Stored::Int(row.version),
                Stored::Int(row.position),
                Stored::Int(i64::from(row.deleted)),
                json(&row.body)?,
                json(&row.marks)?,
            ],
        )?;
        Ok(())
    }

    pub(super) fn keep_table(&mut self, name: &str, state: &TableState) -> Result<(), Error> {
        let etag = state.etag.clone().map_or(Stored::Null, Stored::Text);
        let time = |told: &Option<Json>| told.as_ref().map_or(Ok(Stored::Null), json);
        self.file.execute(
            KEEP_TABLE,
            &[
                Stored::Text(name.to_owned()),
                etag,
                time(&state.since)?,
                time(&state.latest)?,
                Stored::Int(i64::try_from(state.pulls).unwrap_or(i64::MAX)),
                Stored::Text(state.shape.clone()),
            ],
        )?;
        Ok(())
    }

    /// Notes that a write is about to be sent. What is kept of other pushes has been settled.
    pub(super) fn begin<B: Serialize>(&mut self, at: &WriteAt<'_>, begun: &B) -> Result<(), Error> {
        let begun = json(begun)?;
        self.keep_write(at, begun, Stored::Null)
    }

    /// Notes the answer to a write.
    pub(super) fn done(&mut self, at: &WriteAt<'_>, receipt: &Receipt) -> Result<(), Error> {
        let receipt = json(receipt)?;
        self.keep_write(at, Stored::Null, receipt)
    }

    fn keep_write(
        &mut self,
        at: &WriteAt<'_>,
        begun: Stored,
        receipt: Stored,
    ) -> Result<(), Error> {
        self.file.execute(
            "DELETE FROM colsync_remote_writes WHERE push <> :?",
            &[Stored::Int(at.push)],
        )?;
        let edit = Stored::Text(at.edit.to_owned());
        let (push, number) = (Stored::Int(at.push), Stored::Int(at.number));
        self.file
            .execute(KEEP_WRITE, &[push, number, edit, begun, receipt])
            .map(drop)
    }

    /// Tells the app what of others' its edit replaced.
    pub(super) fn tell(
        &mut self,
        edit: &WireEdit,
        conflicts: Vec<Conflict>,
        now: colsync_shared::Time,
    ) -> Result<(), Error> {
        letters::note_conflicts(self.file, edit, conflicts, now)
    }
}

/// Rows of the feed, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct After {
    pub(super) position: i64,
    pub(super) id: String,
}

/// Rows of `table` in the feed after `after` and up to `until`.
pub(super) fn feed(
    file: &mut File,
    table: &str,
    after: &After,
    until: i64,
    most: i64,
) -> Result<Vec<(String, KnownRow)>, Error> {
    let sql = format!(
        "{SELECT} WHERE table_name = :? AND (position, id) > (:?, :?) AND position <= :? \
         ORDER BY position, id LIMIT :?"
    );
    let rows = file.load(
        &sql,
        &[
            Stored::Text(table.to_owned()),
            Stored::Int(after.position),
            Stored::Text(after.id.clone()),
            Stored::Int(until),
            Stored::Int(most),
        ],
    )?;
    rows.into_iter().map(known_row).collect()
}

fn row(file: &mut File, table: &str, id: &str) -> Result<Option<KnownRow>, Error> {
    let sql = format!("{SELECT} WHERE table_name = :? AND id = :?");
    let (table, id) = (Stored::Text(table.to_owned()), Stored::Text(id.to_owned()));
    let found = file.first(&sql, &[table, id])?;
    Ok(found.map(known_row).transpose()?.map(|(_, row)| row))
}

fn known_row(row: Vec<Stored>) -> Result<(String, KnownRow), Error> {
    match <[Stored; 6]>::try_from(row) {
        Ok(
            [
                Stored::Text(id),
                Stored::Int(version),
                Stored::Int(position),
                Stored::Int(deleted),
                Stored::Text(body),
                Stored::Text(marks),
            ],
        ) => {
            let row = KnownRow {
                version,
                position,
                deleted: deleted != 0,
                body: read(&body, "a row")?,
                marks: read(&marks, "a row's marks")?,
            };
            Ok((id, row))
        }
        Ok(_) | Err(_) => Err(corrupt("a row")),
    }
}

fn state(file: &mut File, name: &str) -> Result<Option<String>, Error> {
    let found = file.first(
        "SELECT value FROM colsync_remote_state WHERE name = :?",
        &[Stored::Text(name.to_owned())],
    )?;
    Ok(found.and_then(|row| row.first().and_then(text).map(str::to_owned)))
}

fn set_state(file: &mut File, name: &str, value: &str) -> Result<(), Error> {
    file.execute(
        "INSERT INTO colsync_remote_state (name, value) VALUES (:?, :?) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[
            Stored::Text(name.to_owned()),
            Stored::Text(value.to_owned()),
        ],
    )?;
    Ok(())
}
