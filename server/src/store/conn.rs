//! Connections: which backend, how they are opened and pooled, and how transactions run on them.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::error::StoreError;
use super::horizon::Horizon;
use super::model::TableInfo;
use super::statement::{Bind, DynRow, Statement};
use super::{pg, sqlite};
use crate::config::DatabaseUrl;

type Result<T> = std::result::Result<T, StoreError>;

/// A connection to either database.
pub(crate) enum Conn {
    Pg(PgConnection),
    Sqlite(SqliteConnection),
}

/// Which database a connection is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Pg,
    Sqlite,
}

/// Writes typed DSL once and compiles it for both backends.
macro_rules! on_backend {
    ($conn:expr, $c:ident => $query:expr) => {
        match $conn {
            $crate::store::conn::Conn::Pg($c) => $query,
            $crate::store::conn::Conn::Sqlite($c) => $query,
        }
    };
}
pub(crate) use on_backend;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const PG_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 4000;";
/// 32 MiB of pages for whoever writes, so that no page of a transaction is written before its COMMIT. What a statement
/// of many rows would need to be undone stays in memory: SQLite would make a file for it, each time.
const SQLITE_WRITER_SETTINGS: &str = "PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;";
const PG_SETTINGS: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET lock_timeout = '10s'; \
     SET statement_timeout = '60s'; SET application_name = 'colsync'; SET client_min_messages = 'warning'; \
     SET bytea_output = 'hex'; SET extra_float_digits = 1; \
     DO $$ BEGIN PERFORM set_config('lc_messages', 'C', false); \
     EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;";
/// Serialises the migrations of servers that start together: "colsync" in ASCII.
const PG_MIGRATION_LOCK: i64 = 0x63_6f6c_7379_6e63;

/// Opens connections to the database that a URL names; the pool's way to make new ones.
#[derive(Debug, Clone)]
pub(crate) struct Manager {
    pub(crate) url: DatabaseUrl,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Lent;
    type Error = StoreError;

    fn connect(&self) -> Result<Lent> {
        Ok(Lent {
            conn: Conn::open(&self.url)?,
            checked: Instant::now(),
        })
    }

    fn is_valid(&self, lent: &mut Lent) -> Result<()> {
        match lent.conn {
            Conn::Pg(_) if lent.checked.elapsed() > CHECKED_FOR => lent.conn.ping()?,
            // A file does not go away.
            Conn::Pg(_) | Conn::Sqlite(_) => return Ok(()),
        }
        lent.checked = Instant::now();
        Ok(())
    }

    fn has_broken(&self, lent: &mut Lent) -> bool {
        lent.conn.in_transaction()
    }
}

/// A connection of the pool, and when it was last seen to work.
pub(crate) struct Lent {
    conn: Conn,
    checked: Instant,
}

/// For so long a connection is lent out again without a question, which would be one more round trip.
const CHECKED_FOR: Duration = Duration::from_secs(1);

impl Deref for Lent {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// Rows of a table by state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) alive: i64,
    pub(crate) deleted: i64,
    pub(crate) tombstones: i64,
}

/// A row purged from its table.
#[derive(Debug, Clone)]
pub(crate) struct Grave {
    pub(crate) row_id: String,
    pub(crate) txid: i64,
}

impl Conn {
    /// Opens the database at `url`.
    pub(crate) fn open(url: &DatabaseUrl) -> Result<Conn> {
        let refused = |e: ConnectionError| StoreError::Unavailable(e.to_string());
        let mut conn = match url {
            DatabaseUrl::Sqlite { path } => {
                Conn::Sqlite(SqliteConnection::establish(path).map_err(refused)?)
            }
            DatabaseUrl::Postgres { url } => {
                Conn::Pg(PgConnection::establish(url).map_err(refused)?)
            }
        };
        let settings = match conn {
            Conn::Pg(_) => PG_SETTINGS,
            Conn::Sqlite(_) => SQLITE_SETTINGS,
        };
        conn.batch(settings)?;
        Ok(conn)
    }

    /// Makes the connection one of the commit queue's.
    pub(crate) fn prepare_to_write(&mut self) -> Result<()> {
        match self {
            Conn::Pg(_) => Ok(()),
            Conn::Sqlite(_) => self.batch(SQLITE_WRITER_SETTINGS),
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Conn::Pg(_) => Backend::Pg,
            Conn::Sqlite(_) => Backend::Sqlite,
        }
    }

    /// Brings colsync's own tables up to date.
    pub(crate) fn migrate(&mut self) -> Result<()> {
        let failed = |e| StoreError::Other(format!("migration: {e}"));
        match self {
            Conn::Sqlite(c) => {
                c.run_pending_migrations(SQLITE_MIGRATIONS)
                    .map_err(failed)?;
            }
            Conn::Pg(c) => {
                c.batch_execute(&format!("SELECT pg_advisory_lock({PG_MIGRATION_LOCK})"))?;
                let done = c
                    .run_pending_migrations(PG_MIGRATIONS)
                    .map(drop)
                    .map_err(failed);
                c.batch_execute(&format!("SELECT pg_advisory_unlock({PG_MIGRATION_LOCK})"))?;
                done?;
            }
        }
        Ok(())
    }

    /// Runs `work` without the bound on a statement's time: changing a big table takes as long as it takes.
    pub(super) fn unhurried<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Conn) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if let Conn::Pg(_) = self {
            self.batch("SET statement_timeout = 0")?;
        }
        let done = work(self);
        if let Conn::Pg(_) = self {
            self.batch("SET statement_timeout = '60s'")?;
        }
        done
    }

    pub(crate) fn load(&mut self, statement: Statement) -> Result<Vec<DynRow>> {
        let done = on_backend!(self, c => statement.load::<DynRow>(c));
        self.noted(done.map_err(StoreError::from))
    }

    pub(crate) fn execute(&mut self, statement: Statement) -> Result<usize> {
        let done = on_backend!(self, c => statement.execute(c));
        self.noted(done.map_err(StoreError::from))
    }

    /// Breaks the connection after a change of the schema, so that the pool lets go of it: its prepared
    /// statements would fail for ever.
    pub(super) fn noted<T>(&mut self, done: Result<T>) -> Result<T> {
        fn breaks<C: Connection<TransactionManager = AnsiTransactionManager>>(c: &mut C) {
            AnsiTransactionManager::transaction_manager_status_mut(c).set_in_error();
        }
        if matches!(done, Err(StoreError::SchemaChanged(_))) {
            on_backend!(self, c => breaks(c));
        }
        done
    }

    pub(crate) fn batch(&mut self, sql: &str) -> Result<()> {
        Ok(on_backend!(self, c => c.batch_execute(sql))?)
    }

    /// Whether the database answers.
    pub(crate) fn ping(&mut self) -> Result<()> {
        self.batch("SELECT 1")
    }

    fn in_transaction(&mut self) -> bool {
        fn open<C: Connection<TransactionManager = AnsiTransactionManager>>(c: &mut C) -> bool {
            !matches!(
                AnsiTransactionManager::transaction_manager_status_mut(c).transaction_depth(),
                Ok(None)
            )
        }
        on_backend!(self, c => open(c))
    }

    /// Begins a transaction that will write. On SQLite it takes the write lock and its place in the feed
    /// at once.
    pub(crate) fn begin_write(&mut self) -> Result<()> {
        match self {
            Conn::Pg(c) => AnsiTransactionManager::begin_transaction(c)?,
            Conn::Sqlite(c) => {
                AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?;
                sqlite::rows::take_place(c)?;
            }
        }
        Ok(())
    }

    pub(crate) fn commit_write(&mut self) -> Result<()> {
        match self {
            // A bare COMMIT of a failed transaction rolls back and calls that success.
            Conn::Pg(c) => c.batch_execute("SELECT 1; COMMIT")?,
            Conn::Sqlite(c) => {
                sqlite::rows::leave_place(c)?;
                AnsiTransactionManager::commit_transaction(c)?;
            }
        }
        Ok(())
    }

    /// Rolls the open transaction back, if one is. A failure leaves the connection broken, which the pool
    /// notices.
    pub(crate) fn rollback(&mut self) {
        if self.in_transaction() {
            let done = on_backend!(self, c => AnsiTransactionManager::rollback_transaction(c));
            if let Err(failure) = done {
                log::debug!("rollback: {failure}");
            }
        }
    }

    pub(crate) fn savepoint(&mut self, name: &str) -> Result<()> {
        self.batch(&format!("SAVEPOINT colsync_{name}"))
    }

    pub(crate) fn release(&mut self, name: &str) -> Result<()> {
        self.batch(&format!("RELEASE SAVEPOINT colsync_{name}"))
    }

    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.batch(&format!("ROLLBACK TO SAVEPOINT colsync_{name}"))
    }

    /// Checks deferrable constraints statement by statement for the rest of the transaction, but for those that are
    /// `left`.
    pub(crate) fn constraints_now(&mut self, left: Option<&str>) -> Result<()> {
        match (&self, left) {
            (Conn::Pg(_), None) => self.batch("SET CONSTRAINTS ALL IMMEDIATE"),
            (Conn::Pg(_), Some(left)) => self.batch(&format!(
                "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS {left} DEFERRED"
            )),
            // Each row is asked for its own (`late`).
            (Conn::Sqlite(_), _) => Ok(()),
        }
    }

    /// Runs `read` in one snapshot, and ends the transaction whatever comes of it.
    pub(crate) fn snapshot_read<T>(
        &mut self,
        read: impl FnOnce(&mut Conn) -> Result<T>,
    ) -> Result<T> {
        match self {
            Conn::Pg(c) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                AnsiTransactionManager::begin_transaction_sql(c, begin)?;
            }
            Conn::Sqlite(c) => AnsiTransactionManager::begin_transaction(c)?,
        }
        let done = read(self);
        self.rollback();
        done
    }

    /// Position of the open write transaction in the feed.
    pub(crate) fn txid(&mut self) -> Result<i64> {
        match self {
            Conn::Pg(c) => pg::rows::txid(c),
            Conn::Sqlite(c) => sqlite::rows::txid(c),
        }
    }

    /// What of the feed is visible now.
    pub(crate) fn snapshot(&mut self) -> Result<Horizon> {
        match self {
            Conn::Pg(c) => {
                let text = pg::rows::snapshot(c)?;
                text.parse()
                    .map_err(|e| StoreError::Corrupt(format!("a snapshot: {e}")))
            }
            Conn::Sqlite(c) => Ok(Horizon::up_to(sqlite::rows::last_txid(c)?)),
        }
    }

    pub(crate) fn counts(&mut self, table: &TableInfo) -> Result<Counts> {
        let name = colsync_shared::sql::quote(&table.spec.name);
        let sql = format!(
            "SELECT count(*), count(sync_deleted_at), \
             (SELECT count(*) FROM colsync_tombstones WHERE table_name = :?) FROM {name}"
        );
        let binds = vec![Bind::Text(table.spec.name.clone())];
        let rows = self.load(Statement::new(sql, binds))?;
        let cell = |at: usize| {
            rows.first()
                .and_then(|row| row.0.get(at)?.int())
                .unwrap_or(0)
        };
        Ok(Counts {
            alive: cell(0) - cell(1),
            deleted: cell(1),
            tombstones: cell(2),
        })
    }
}
