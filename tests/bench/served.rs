//! A server of the benchmark's own: its database, its folder, its process.

use std::process::Command;

use colsync_tests::process::{self, Process};
use colsync_tests::{Backend, Cluster, memory};
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection};
use tempfile::TempDir;

/// What a database is called in the figures.
pub(crate) fn name_of(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// A database that is there before a server is.
pub(crate) struct Place {
    pub(crate) backend: Backend,
    /// A URL or a file.
    place: String,
    pub(crate) folder: TempDir,
}

impl Place {
    /// An empty one.
    pub(crate) fn new(backend: Backend) -> Place {
        let folder = TempDir::with_prefix("colsync-bench-").unwrap();
        let place = match backend {
            Backend::Postgres => Cluster::durable().database(),
            Backend::Sqlite => folder.path().join("server.db").display().to_string(),
        };
        Place {
            backend,
            place,
            folder,
        }
    }

    /// Runs statements.
    pub(crate) fn batch(&self, sql: &str) {
        match self.backend {
            Backend::Postgres => self.pg().batch_execute(sql),
            Backend::Sqlite => self.file().batch_execute(sql),
        }
        .unwrap();
    }

    /// Has PostgreSQL do at once what it would do by itself, so that it does not meet one side's turn.
    pub(crate) fn tidy(&self, table: &str) {
        match self.backend {
            Backend::Postgres => self.batch(&format!("VACUUM ANALYZE {table}")),
            Backend::Sqlite => {}
        }
    }

    /// The column `n` of the row that a query gives.
    pub(crate) fn int(&self, sql: &str) -> u64 {
        let n = match self.backend {
            Backend::Postgres => diesel::sql_query(sql).get_result(&mut self.pg()),
            Backend::Sqlite => diesel::sql_query(sql).get_result(&mut self.file()),
        };
        let Count { n } = n.unwrap();
        n.try_into().unwrap()
    }

    /// The database as a URL.
    pub(crate) fn url(&self) -> String {
        match self.backend {
            Backend::Postgres => self.place.clone(),
            Backend::Sqlite => format!("sqlite://{}", self.place),
        }
    }

    /// A connection to PostgreSQL.
    pub(crate) fn pg(&self) -> PgConnection {
        assert_eq!(self.backend, Backend::Postgres);
        PgConnection::establish(&self.place).unwrap()
    }

    /// A connection to SQLite's file, as durable as the server's.
    pub(crate) fn file(&self) -> SqliteConnection {
        assert_eq!(self.backend, Backend::Sqlite);
        sqlite(&self.place)
    }

    /// Adopts `table` and serves it.
    pub(crate) fn serve(self, table: &str) -> Served {
        let config = self.folder.path().join("bench.toml");
        let url = self.url();
        let settings =
            format!("database_url = '{url}'\nlisten = '127.0.0.1:0'\n[tables.{table}]\n");
        std::fs::write(&config, settings).unwrap();
        let command = || -> Command { process::command(self.folder.path(), &config) };
        let adopted = command()
            .args(["adopt", "--table", table])
            .output()
            .unwrap();
        assert!(adopted.status.success(), "{}", process::said(&adopted));
        let mut serve = command();
        serve.arg("serve");
        let process = Process::start(serve);
        Served {
            process,
            place: self,
        }
    }
}

/// A server and its database.
pub(crate) struct Served {
    process: Process,
    pub(crate) place: Place,
}

impl Served {
    /// Where it answers.
    pub(crate) fn address(&self) -> String {
        self.process.address.clone()
    }

    /// The most memory that it has had, in MiB.
    pub(crate) fn peak_memory(&self) -> f64 {
        memory::peak(self.process.pid()).unwrap()
    }

    /// Stops it.
    pub(crate) fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.wait();
        assert!(status.success(), "{status}\n{}", self.process.stderr());
    }
}

/// A connection to the file, as durable as the server's, with its page cache and its checkpoints.
pub(crate) fn sqlite(file: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(file).unwrap();
    conn.batch_execute(
        "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4000;",
    )
    .unwrap();
    conn
}
