//! The app's SQLite file: one connection to it, colsync's own tables in it, and transactions.
//!
//! Knows SQL and nothing of the network. Which SQL is run is said by the rooms that own it.

mod applying;
mod meta;
mod statement;

use std::path::{Path, PathBuf};

use colsync_shared::sql::pieces;
use colsync_shared::sqlite::Stored;
use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::result::DatabaseErrorKind;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};

use applying::Applying;
pub(crate) use applying::IS_THE_APPS;
pub(crate) use meta::Meta;
use statement::{SLOTS, Statement, Values, execute_in_slot};

use crate::error::Error;

/// The version of colsync's own tables; a file of a later one is not touched.
const FORMAT: i64 = 3;

/// What a file of the first version lacks.
const SECOND: &str =
    "ALTER TABLE colsync_pushes ADD COLUMN mode TEXT NOT NULL DEFAULT 'differential'";

const SCHEMA: &str = include_str!("file/schema.sql");

/// Foreign keys are off: the feed brings a row's latest state, so that a child may come before its parent,
/// and a delete must not cascade by itself.
const SETTINGS: &str = "PRAGMA busy_timeout = 15000; PRAGMA foreign_keys = OFF; \
     PRAGMA recursive_triggers = OFF;";

/// A row as SQLite gave it, values in the order of the select list.
pub(crate) type Row = Vec<Stored>;

/// A connection to the app's file.
pub(crate) struct File {
    conn: SqliteConnection,
    path: PathBuf,
    /// The statements that are run most, each in its slot for as long as the connection lasts: the text, and that
    /// between its placeholders.
    often: Vec<(String, Vec<String>)>,
    applying: Applying,
}

impl File {
    /// Opens the file, and makes it if there is none; puts colsync's own tables into it.
    ///
    /// # Errors
    /// [`Error::File`] if it is no SQLite database in UTF-8 or cannot be written, [`Error::LaterFormat`] if a later
    /// colsync made it.
    pub(crate) fn open(path: &Path) -> Result<File, Error> {
        let mut file = File::open_as_it_is(path)?;
        let format = match file.load(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'colsync_meta'",
            &[],
        )? {
            found if found.is_empty() => None,
            _ => file.meta(Meta::Format)?,
        };
        match format.map(|text| text.parse::<i64>()) {
            None => {
                if file.int("PRAGMA page_count", &[])? == 0 {
                    // A new file: an app can read it while a sync writes. One that exists stays as it is.
                    file.batch("PRAGMA journal_mode = WAL")?;
                }
                file.write(|file| {
                    file.batch(SCHEMA)?;
                    file.set_meta(Meta::Format, Some(&FORMAT.to_string()))
                })?;
            }
            Some(Ok(FORMAT)) => {}
            Some(Ok(1..FORMAT)) => file.write(File::bring_up)?,
            Some(_) => return Err(Error::LaterFormat),
        }
        Ok(file)
    }

    /// Makes a file of an earlier version one of this. The table `colsync_applying`, which the third lacks, stays:
    /// its triggers are made anew when the schema is looked at, and until then they ask it.
    fn bring_up(&mut self) -> Result<(), Error> {
        // Another process may have been faster.
        let format = self.meta_int(Meta::Format)?;
        if format == Some(1) {
            self.batch(SECOND)?;
        }
        if format < Some(FORMAT) {
            self.set_meta(Meta::Format, Some(&FORMAT.to_string()))?;
        }
        Ok(())
    }

    /// Opens the file without making colsync's tables.
    fn open_as_it_is(path: &Path) -> Result<File, Error> {
        let name = path.to_str().ok_or_else(|| Error::File {
            path: path.to_owned(),
            reason: "its path is not UTF-8".to_owned(),
        })?;
        let mut conn = SqliteConnection::establish(name).map_err(|refused| Error::File {
            path: path.to_owned(),
            reason: refused.to_string(),
        })?;
        conn.batch_execute(SETTINGS)?;
        #[cfg(feature = "simulation")]
        crate::simulation::read_set_time(&mut conn)?;
        let mut file = File {
            applying: Applying::of(&mut conn)?,
            conn,
            path: path.to_owned(),
            often: Vec::new(),
        };
        // Values are read as they lie.
        if file.int("SELECT encoding <> 'UTF-8' FROM pragma_encoding", &[])? != 0 {
            return Err(Error::File {
                path: path.to_owned(),
                reason: "its encoding is UTF-16, and colsync reads UTF-8 alone".to_owned(),
            });
        }
        Ok(file)
    }

    /// Whether commits wait for the disk. What a pull wrote and a power cut took comes again with the next one; so
    /// the write-ahead log may then grow to 32 MB, and is copied into the file eight times less often. With a rollback
    /// journal the file itself would be at risk, so there it always waits.
    pub(crate) fn wait_for_disk(&mut self, waits: bool) -> Result<(), Error> {
        let mode = self.first("PRAGMA journal_mode", &[])?;
        let is_wal = mode.is_some_and(|row| row.first().and_then(text) == Some("wal"));
        self.batch(if waits || !is_wal {
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000"
        } else {
            "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000"
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a query whose text will come again; `:?` stands for each value.
    pub(crate) fn load(&mut self, sql: &str, binds: &[Stored]) -> Result<Vec<Row>, Error> {
        let statement = Statement {
            sql,
            binds,
            cached: true,
        };
        let rows: Vec<Values> = statement.load(&mut self.conn)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// The first row of a query.
    pub(crate) fn first(&mut self, sql: &str, binds: &[Stored]) -> Result<Option<Row>, Error> {
        Ok(self.load(sql, binds)?.into_iter().next())
    }

    /// The integer that is the first value of a query's first row; 0 if there is none.
    pub(crate) fn int(&mut self, sql: &str, binds: &[Stored]) -> Result<i64, Error> {
        Ok(
            match self
                .first(sql, binds)?
                .and_then(|row| row.into_iter().next())
            {
                Some(Stored::Int(n)) => n,
                _ => 0,
            },
        )
    }

    /// Runs a statement whose text will come again; gives the number of rows it changed.
    pub(crate) fn execute(&mut self, sql: &str, binds: &[Stored]) -> Result<usize, Error> {
        let statement = Statement {
            sql,
            binds,
            cached: true,
        };
        Ok(statement.execute(&mut self.conn)?)
    }

    /// Runs a statement that is run for row after row; gives the number of rows it changed.
    pub(crate) fn execute_often(&mut self, sql: &str, binds: &[Stored]) -> Result<usize, Error> {
        let found = self.often.iter().position(|(text, _)| text == sql);
        let slot = match found {
            Some(slot) => slot,
            None if self.often.len() == SLOTS => return self.execute(sql, binds),
            None => {
                let pieces = pieces(sql).map(str::to_owned).collect();
                self.often.push((sql.to_owned(), pieces));
                self.often.len() - 1
            }
        };
        let pieces = self.often.get(slot).map(|(_, pieces)| pieces.as_slice());
        let pieces = pieces.unwrap_or_default();
        Ok(execute_in_slot(&mut self.conn, slot, pieces, binds)?)
    }

    /// Runs a statement whose text will hardly come again.
    pub(crate) fn execute_once(&mut self, sql: &str, binds: &[Stored]) -> Result<usize, Error> {
        let statement = Statement {
            sql,
            binds,
            cached: false,
        };
        Ok(statement.execute(&mut self.conn)?)
    }

    /// Runs statements without values.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), Error> {
        Ok(self.conn.batch_execute(sql)?)
    }

    /// Runs `work` in a transaction that holds the write lock from its beginning. It is committed if `work`
    /// succeeds, and rolled back if not.
    pub(crate) fn write<T>(
        &mut self,
        work: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction("BEGIN IMMEDIATE", work)
    }

    /// Runs `work` on one snapshot of the file.
    pub(crate) fn read<T>(
        &mut self,
        work: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transaction("BEGIN", work)
    }

    fn transaction<T>(
        &mut self,
        begin: &str,
        work: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<T, Error> {
        AnsiTransactionManager::begin_transaction_sql(&mut self.conn, begin)?;
        match work(self) {
            Ok(done) => {
                if let Err(failure) = AnsiTransactionManager::commit_transaction(&mut self.conn) {
                    self.roll_back();
                    return Err(failure.into());
                }
                Ok(done)
            }
            Err(failure) => {
                self.roll_back();
                Err(failure)
            }
        }
    }

    fn roll_back(&mut self) {
        // SQLite has rolled back by itself after some failures, such as a full disk.
        if let Err(failure) = AnsiTransactionManager::rollback_transaction(&mut self.conn) {
            log::debug!("rollback: {failure}");
        }
    }

    /// Runs `work` inside the open transaction; what it did is undone if it fails.
    pub(crate) fn savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.batch("SAVEPOINT colsync")?;
        match work(self) {
            Ok(done) => {
                self.batch("RELEASE colsync")?;
                Ok(done)
            }
            Err(failure) => {
                self.batch("ROLLBACK TO colsync; RELEASE colsync")?;
                Err(failure)
            }
        }
    }

    /// Whether there is a transaction still: a trigger may have ended it, where `RAISE(ROLLBACK)` is.
    fn is_in_transaction(&mut self) -> bool {
        // There is no other way to ask by SQL.
        let began = self.conn.batch_execute("BEGIN").is_ok();
        if began {
            self.roll_back();
        }
        !began
    }

    /// Runs `work` inside the open transaction while the capture triggers look away.
    pub(crate) fn uncaptured<T>(
        &mut self,
        work: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _looking_away = self.applying.begin();
        work(self)
    }
}

/// Whether the failure of a write to a table is that table's own refusal of the row: a constraint, a trigger that raised or
/// said nothing, an expression that the row's values do not suit. It is none if the transaction went with it.
pub(crate) fn is_refusal(file: &mut File, error: &Error) -> bool {
    let is_the_tables = match error {
        Error::Ignored(_) => true,
        Error::Sqlite(diesel::result::Error::DatabaseError(kind, info)) => match kind {
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => true,
            // STRICT tables, RAISE in a trigger, and functions in expressions have no kind of their own, and their own words.
            DatabaseErrorKind::Unknown => {
                let text = info.message();
                !SQLITES_OWN.iter().any(|own| text.starts_with(own)) || raises(file, text)
            }
            _ => false,
        },
        _ => false,
    };
    is_the_tables && file.is_in_transaction()
}

/// How the failures begin that are SQLite's own, or the file's, and no row's
/// ([result codes](https://www.sqlite.org/rescode.html)).
const SQLITES_OWN: &[&str] = &[
    "SQL logic error",
    "abort due to ROLLBACK",
    "access permission denied",
    "attempt to write a readonly database",
    "authorization denied",
    "bad parameter or other API misuse",
    "database disk image is malformed",
    "database is locked",
    "database or disk is full",
    "database schema",
    "database table is locked",
    "disk I/O error",
    "file is not a database",
    "interrupted",
    "locking protocol",
    "no such",
    "out of memory",
    "query aborted",
    "unable to open database file",
];

/// Whether a trigger raises this, as it is written there.
fn raises(file: &mut File, text: &str) -> bool {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND instr(sql, :?) > 0)";
    let written = format!("'{}'", text.replace('\'', "''"));
    file.int(sql, &[Stored::Text(written)])
        .is_ok_and(|found| found != 0)
}

/// The text in a value; None if it is no text.
pub(crate) fn text(value: &Stored) -> Option<&str> {
    match value {
        Stored::Text(text) => Some(text),
        Stored::Null | Stored::Int(_) | Stored::Real(_) | Stored::Bytes(_) => None,
    }
}

/// The integer in a value; None if it is none.
pub(crate) fn int(value: &Stored) -> Option<i64> {
    match value {
        Stored::Int(n) => Some(*n),
        Stored::Null | Stored::Real(_) | Stored::Text(_) | Stored::Bytes(_) => None,
    }
}
