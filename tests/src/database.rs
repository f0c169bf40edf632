//! The SQL door: a database as any other program sees it.

use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{Nullable, Text};
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection};

use crate::cluster::Cluster;

/// Which database a story runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// An embedded file.
    Sqlite,
    /// A server.
    Postgres,
}

/// One story's database.
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A URL, with the cluster if it is the story's own.
    Postgres {
        /// Where it is.
        url: String,
        /// The cluster it is in.
        cluster: ClusterRef,
    },
}

/// What an SQLite database in WAL mode is made of.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Puts a copy of the SQLite file at `from`, as it is, in the place of the one at `to`. Nobody may have that open.
///
/// # Panics
/// If a file cannot be copied.
pub fn copy_sqlite(from: &Path, to: &Path) {
    let with = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in SUFFIXES {
        drop(std::fs::remove_file(with(to, suffix)));
    }
    for suffix in &SUFFIXES[..2] {
        let from = with(from, suffix);
        if from.exists() {
            std::fs::copy(from, with(to, suffix)).unwrap();
        }
    }
}

/// A cluster of one's own, or the one all share.
pub enum ClusterRef {
    /// The shared one.
    Shared(&'static Cluster),
    /// The story's own.
    Own(Box<Cluster>),
}

impl ClusterRef {
    /// The cluster.
    #[must_use]
    pub fn get(&self) -> &Cluster {
        match self {
            ClusterRef::Shared(cluster) => cluster,
            ClusterRef::Own(cluster) => cluster,
        }
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Nullable<Text>)]
    v: Option<String>,
}

/// Tables whose rows move by themselves, or with every request.
const RESTLESS: [&str; 5] = [
    "colsync_clients",
    "colsync_anchors",
    "colsync_meta",
    "colsync_feed",
    "__diesel_schema_migrations",
];

impl Database {
    /// Its URL, as the server takes it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Database::Sqlite(path) => format!("sqlite://{}", path.display()),
            Database::Postgres { url, .. } => url.clone(),
        }
    }

    /// Runs `sql`, one or more statements, as another program would.
    ///
    /// # Panics
    /// If the database refuses it.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.try_sql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The same; or what the database says against it.
    ///
    /// # Errors
    /// If the database refuses it.
    pub fn try_sql(&self, sql: &str) -> Result<(), String> {
        let done = match self {
            Database::Sqlite(path) => sqlite(path).batch_execute(sql),
            Database::Postgres { url, .. } => pg(url).batch_execute(sql),
        };
        done.map_err(|refused| refused.to_string())
    }

    /// The values of the one column of the query `sql`, as text.
    ///
    /// # Panics
    /// If the database refuses it.
    #[track_caller]
    #[must_use]
    pub fn column(&self, sql: &str) -> Vec<Option<String>> {
        let query = diesel::sql_query(format!(
            "WITH q(v) AS ({sql}) SELECT CAST(v AS TEXT) AS v FROM q"
        ));
        let lines: diesel::QueryResult<Vec<Line>> = match self {
            Database::Sqlite(path) => query.load(&mut sqlite(path)),
            Database::Postgres { url, .. } => query.load(&mut pg(url)),
        };
        lines
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
            .into_iter()
            .map(|line| line.v)
            .collect()
    }

    /// The value of the query `sql`, one row of one column.
    #[track_caller]
    #[must_use]
    pub fn value(&self, sql: &str) -> Option<String> {
        let mut values = self.column(sql);
        assert_eq!(values.len(), 1, "{sql}");
        values.pop().flatten()
    }

    /// A connection to a file, for transactions that stay open.
    #[track_caller]
    #[must_use]
    pub fn file(&self) -> SqliteConnection {
        match self {
            Database::Sqlite(path) => sqlite(path),
            Database::Postgres { .. } => panic!("not a file"),
        }
    }

    /// A connection to PostgreSQL, for transactions that stay open.
    #[track_caller]
    #[must_use]
    pub fn pg(&self) -> PgConnection {
        match self {
            Database::Sqlite(_) => panic!("not on PostgreSQL"),
            Database::Postgres { url, .. } => pg(url),
        }
    }

    /// Every row of every table, as text, to compare before and after. What moves by itself is left out.
    #[must_use]
    pub fn dump(&self) -> String {
        self.dump_without(&[])
    }

    /// The same without the pushes: what a push of rejected edits must leave as it was.
    #[must_use]
    pub fn row_dump(&self) -> String {
        self.dump_without(&["colsync_pushes"])
    }

    fn dump_without(&self, left_out: &[&str]) -> String {
        let tables = match self {
            Database::Sqlite(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            }
            Database::Postgres { .. } => {
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            }
        };
        let mut names: Vec<String> = self.column(tables).into_iter().flatten().collect();
        let stays = |name: &&str| !RESTLESS.contains(name) && !left_out.contains(name);
        names.retain(|name| stays(&name.as_str()));
        names.sort();
        let mut dump = String::new();
        for name in names {
            let rows = match self {
                Database::Sqlite(_) => {
                    let columns =
                        self.column(&format!("SELECT name FROM pragma_table_info('{name}')"));
                    let quoted = columns
                        .into_iter()
                        .flatten()
                        .map(|column| format!("quote(\"{column}\")"));
                    let quoted: Vec<String> = quoted.collect();
                    format!("SELECT {} FROM \"{name}\"", quoted.join(" || ', ' || "))
                }
                Database::Postgres { .. } => {
                    format!("SELECT row_to_json(t)::text FROM \"{name}\" AS t")
                }
            };
            let mut rows: Vec<String> = self.column(&rows).into_iter().flatten().collect();
            rows.sort();
            dump.push_str(&format!("{name}\n{}\n", rows.join("\n")));
        }
        dump
    }
}

#[track_caller]
fn sqlite(path: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(&path.display().to_string()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 30000; PRAGMA foreign_keys = ON")
        .unwrap();
    conn
}

#[track_caller]
fn pg(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}
