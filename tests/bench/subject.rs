//! What is measured: a server whose table is adopted, and a plain table of the same shape for the baseline.
//!
//! PostgreSQL has both tables in one database. SQLite has one writer a file, so they are in two.

use std::process::Command;

use colsync_tests::Backend;
use colsync_tests::process::{self, Process};
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection};
use tempfile::TempDir;

use crate::postgres::Cluster;

/// Rows of either table; their keys are 1 to this.
pub(crate) const ROWS: u64 = 10_000;
/// Values written are below this: two in a row are hardly ever the same.
pub(crate) const VALUES: u64 = 1 << 40;

const POSTGRES: &str = "CREATE TABLE $ (id bigint PRIMARY KEY, title text NOT NULL, notes text,
    state text NOT NULL, label text, priority bigint NOT NULL, quantity bigint NOT NULL,
    stock bigint NOT NULL, price double precision NOT NULL, done boolean NOT NULL);
    INSERT INTO $ SELECT n, 'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM generate_series(1, 10000) AS g(n);
    ANALYZE $;";
const SQLITE: &str = "CREATE TABLE $ (id INTEGER PRIMARY KEY, title TEXT NOT NULL, notes TEXT,
    state TEXT NOT NULL, label TEXT, priority INTEGER NOT NULL, quantity INTEGER NOT NULL,
    stock INTEGER NOT NULL, price REAL NOT NULL, done BOOLEAN NOT NULL);
    WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 10000)
    INSERT INTO $ SELECT n, 'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM g;
    ANALYZE $;";

diesel::table! {
    /// The baseline's table, as far as it is written here.
    plain (id) {
        id -> BigInt,
        quantity -> BigInt,
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// A server and its database.
pub(crate) struct Subject {
    process: Process,
    pub(crate) backend: Backend,
    /// The database with the adopted table: a URL or a file.
    place: String,
    pub(crate) folder: TempDir,
}

impl Subject {
    /// Makes the tables, adopts one and serves it.
    pub(crate) fn start(backend: Backend) -> Subject {
        let folder = TempDir::with_prefix("colsync-bench-").unwrap();
        let items = |sql: &str| sql.replace('$', "items");
        let plain = |sql: &str| sql.replace('$', "plain");
        let (place, url) = match backend {
            Backend::Postgres => {
                let url = Cluster::shared().database();
                let mut conn = PgConnection::establish(&url).unwrap();
                conn.batch_execute(&items(POSTGRES)).unwrap();
                conn.batch_execute(&plain(POSTGRES)).unwrap();
                (url.clone(), url)
            }
            Backend::Sqlite => {
                let file = folder.path().join("items.db").display().to_string();
                sqlite(&file).batch_execute(&items(SQLITE)).unwrap();
                let beside = folder.path().join("plain.db").display().to_string();
                sqlite(&beside).batch_execute(&plain(SQLITE)).unwrap();
                (file.clone(), format!("sqlite://{file}"))
            }
        };
        let config = folder.path().join("bench.toml");
        let settings = format!("database_url = '{url}'\nlisten = '127.0.0.1:0'\n[tables.items]\n");
        std::fs::write(&config, settings).unwrap();
        let command = || -> Command { process::command(folder.path(), &config) };
        let adopted = command()
            .args(["adopt", "--table", "items"])
            .output()
            .unwrap();
        assert!(adopted.status.success(), "{}", process::said(&adopted));
        let mut serve = command();
        serve.arg("serve");
        Subject {
            process: Process::start(serve),
            backend,
            place,
            folder,
        }
    }

    /// Where the server answers.
    pub(crate) fn address(&self) -> String {
        self.process.address.clone()
    }

    /// The PostgreSQL database of both tables, as a URL.
    pub(crate) fn url(&self) -> &str {
        assert_eq!(self.backend, Backend::Postgres);
        &self.place
    }

    /// A connection to PostgreSQL.
    pub(crate) fn pg(&self) -> PgConnection {
        PgConnection::establish(self.url()).unwrap()
    }

    /// A connection to the file of the plain table, as durable as the server's.
    pub(crate) fn plain_file(&self) -> SqliteConnection {
        sqlite(&self.folder.path().join("plain.db").display().to_string())
    }

    /// Writes out what the last measurement left to be written, so that the next does not pay for it.
    pub(crate) fn settle(&self) {
        match self.backend {
            Backend::Postgres => self.pg().batch_execute("CHECKPOINT").unwrap(),
            Backend::Sqlite => {
                let settled = "PRAGMA wal_checkpoint(PASSIVE)";
                self.plain_file().batch_execute(settled).unwrap();
                sqlite(&self.place).batch_execute(settled).unwrap();
            }
        }
    }

    /// How many versions the rows have got since they were adopted.
    pub(crate) fn versions(&self) -> u64 {
        let query =
            diesel::sql_query("SELECT CAST(sum(sync_version - 1) AS bigint) AS n FROM items");
        let count: Count = match self.backend {
            Backend::Postgres => query.get_result(&mut self.pg()).unwrap(),
            Backend::Sqlite => query.get_result(&mut sqlite(&self.place)).unwrap(),
        };
        count.n.try_into().unwrap()
    }

    /// Stops the server.
    pub(crate) fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.wait();
        assert!(status.success(), "{status}\n{}", self.process.stderr());
    }
}

fn sqlite(file: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(file).unwrap();
    conn.batch_execute(
        "PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
    )
    .unwrap();
    conn
}
