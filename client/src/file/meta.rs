//! Single values that the client keeps in its file.

use colsync_shared::sqlite::Stored;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{File, text};
use crate::error::Error;

/// What is kept under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    /// Version of colsync's own tables.
    Format,
    /// This installation's id.
    ClientId,
    /// The server's base URL.
    Server,
    /// The description of an API that knows no sync, TOML; none for a colsync server.
    Remote,
    /// Number of the last push that was answered for.
    Push,
    /// Where the next pull goes on.
    Cursor,
    /// The tables of the pull of which that is a checkpoint, by the server's names; a JSON list. None where it is complete.
    Pulling,
    /// The server's schema as it last told it, JSON.
    Schema,
    /// The server's clock less this one's, µs.
    OffsetUs,
    /// SQLite's schema version when the triggers were last made, and their kind.
    SchemaVersion,
    /// When all was last in sync, ms since 1970.
    SyncedAt,
    /// The tables with which the pull under way starts over, by their numbers; a JSON list.
    Resync,
    /// Whether it does so because the server's history may be another.
    LostHistory,
    /// How edits go up.
    Mode,
    /// Columns that have met the server's since their rows were pulled: names, by the tables' numbers; a JSON object.
    Fresh,
    /// Whether something came of a row that is not there: the next pull starts over.
    LacksRows,
    /// The tables of which the cursor's pulls have brought everything, by the server's names; a JSON list.
    CursorTables,
    /// The last number that a table was given.
    TableNumber,
    /// The last number below 0 that a row was given for want of the server's.
    LocalId,
    /// The first of the pushes that the server has lost and is to be sent again.
    Replay,
    /// The last failure, for people.
    LastError,
}

impl Meta {
    fn name(self) -> &'static str {
        match self {
            Meta::Format => "format",
            Meta::ClientId => "client_id",
            Meta::Server => "server",
            Meta::Remote => "remote",
            Meta::Push => "push",
            Meta::Cursor => "cursor",
            Meta::Pulling => "pulling",
            Meta::Schema => "schema",
            Meta::OffsetUs => "offset_us",
            Meta::SchemaVersion => "schema_version",
            Meta::SyncedAt => "synced_at_ms",
            Meta::Resync => "resync",
            Meta::LostHistory => "lost_history",
            Meta::Mode => "mode",
            Meta::Fresh => "fresh",
            Meta::LacksRows => "lacks_rows",
            Meta::CursorTables => "cursor_tables",
            Meta::TableNumber => "table_number",
            Meta::LocalId => "local_id",
            Meta::Replay => "replay",
            Meta::LastError => "last_error",
        }
    }
}

impl File {
    /// What is kept under this name.
    pub(crate) fn meta(&mut self, what: Meta) -> Result<Option<String>, Error> {
        let row = self.first(
            "SELECT value FROM colsync_meta WHERE name = :?",
            &[Stored::Text(what.name().to_owned())],
        )?;
        Ok(row.and_then(|row| text(row.first()?).map(str::to_owned)))
    }

    /// The number kept under this name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what is there is none.
    pub(crate) fn meta_int(&mut self, what: Meta) -> Result<Option<i64>, Error> {
        let kept = self.meta(what)?;
        kept.map(|text| {
            text.parse()
                .map_err(|_not_a_number| Error::Corrupt(format!("{} in colsync_meta", what.name())))
        })
        .transpose()
    }

    /// What is kept under this name as JSON; the default where nothing is.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if what is there is something else.
    pub(crate) fn meta_json<T: Default + DeserializeOwned>(
        &mut self,
        what: Meta,
    ) -> Result<T, Error> {
        match self.meta(what)? {
            None => Ok(T::default()),
            Some(json) => serde_json::from_str(&json)
                .map_err(|_unreadable| Error::Corrupt(format!("{} in colsync_meta", what.name()))),
        }
    }

    /// Keeps `value` under this name as JSON.
    pub(crate) fn set_meta_json<T: Serialize + ?Sized>(
        &mut self,
        what: Meta,
        value: &T,
    ) -> Result<(), Error> {
        let json = serde_json::to_string(value)
            .map_err(|broken| Error::Corrupt(format!("{} as JSON: {broken}", what.name())))?;
        self.set_meta(what, Some(&json))
    }

    /// Keeps `value` under this name, or forgets it.
    pub(crate) fn set_meta(&mut self, what: Meta, value: Option<&str>) -> Result<(), Error> {
        let name = Stored::Text(what.name().to_owned());
        match value {
            Some(value) => self.execute(
                "INSERT INTO colsync_meta (name, value) VALUES (:?, :?) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                &[name, Stored::Text(value.to_owned())],
            )?,
            None => self.execute("DELETE FROM colsync_meta WHERE name = :?", &[name])?,
        };
        Ok(())
    }
}
