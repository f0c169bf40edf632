//! An SQLite file as other programs see it: rows, copies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::sql_types::Text;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};
use serde_json::Value as Json;

use super::clock::{self, Clock};
use super::plan::Table;

/// A row's columns by name.
pub(super) type Columns = BTreeMap<&'static str, Json>;

/// A file, and a connection of a program that is not colsync.
pub(super) struct File {
    pub(super) path: PathBuf,
    clock: Clock,
    conn: Option<SqliteConnection>,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

impl File {
    pub(super) fn open(path: PathBuf, clock: &Clock) -> File {
        let mut file = File {
            path,
            clock: clock.clone(),
            conn: None,
        };
        file.reopen();
        file
    }

    fn reopen(&mut self) {
        let mut conn = SqliteConnection::establish(self.path.to_str().unwrap()).unwrap();
        clock::read_by(&mut conn, &self.clock);
        // Nothing here outlives the process, so nothing waits for a disk.
        conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 5000")
            .unwrap();
        self.conn = Some(conn);
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        self.conn.as_mut().unwrap()
    }

    /// Runs a statement; whether the database took it.
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), String> {
        self.conn()
            .batch_execute(sql)
            .map_err(|refused| format!("{sql}: {refused}"))
    }

    /// What a query gives, a JSON text a row in the column `line`.
    pub(super) fn lines(&mut self, sql: &str) -> Vec<Json> {
        let lines: Vec<Line> = sql_query(sql)
            .load(self.conn())
            .unwrap_or_else(|refused| panic!("{sql}: {refused}"));
        lines
            .iter()
            .map(|line| serde_json::from_str(&line.line).unwrap())
            .collect()
    }

    /// The rows of a table by id, but for those that are soft-deleted.
    pub(super) fn rows(&mut self, table: Table, is_alive: &str) -> BTreeMap<String, Columns> {
        let columns = table.columns();
        let values: String = columns.iter().map(|c| format!(", {}", c.name)).collect();
        let name = table.name();
        let sql = format!(
            "SELECT json_array(id{values}) AS line FROM {name} WHERE {is_alive} ORDER BY id"
        );
        let rows = self.lines(&sql).into_iter().map(|line| {
            let mut values = line.as_array().unwrap().clone().into_iter();
            let id = values.next().unwrap().as_str().unwrap().to_owned();
            let named = columns.iter().zip(values).map(|(column, value)| {
                let value = match value {
                    // A JSON column is text in the file.
                    Json::String(text) if text.starts_with('[') => {
                        serde_json::from_str(&text).unwrap()
                    }
                    value => value,
                };
                (column.name, value)
            });
            (id, named.collect())
        });
        rows.collect()
    }

    /// Copies the file as it is to `folder`.
    pub(super) fn copy(&self, folder: &Path) -> PathBuf {
        let to = folder.join("copy");
        copy(&self.path, &to);
        to
    }

    /// Puts a copy in the place of the file. Nobody else may have it open.
    pub(super) fn replace(&mut self, copied: &Path) {
        self.conn = None;
        copy(copied, &self.path);
        self.reopen();
    }
}

fn copy(from: &Path, to: &Path) {
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
