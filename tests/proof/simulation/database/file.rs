//! An SQLite file.

use std::path::{Path, PathBuf};

use colsync_tests::database::copy_sqlite;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};

use super::asked::Asked;
use crate::simulation::clock::{self, Clock};

/// A file, and a connection of a program that is not colsync.
pub(super) struct File {
    path: PathBuf,
    clock: Clock,
    /// None while the file is replaced.
    conn: Option<SqliteConnection>,
}

impl File {
    pub(super) fn open(path: PathBuf, clock: &Clock) -> File {
        File {
            conn: Some(connected(&path, clock)),
            path,
            clock: clock.clone(),
        }
    }

    fn conn(&mut self) -> &mut SqliteConnection {
        self.conn.as_mut().unwrap()
    }

    pub(super) fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    pub(super) fn close(self) -> PathBuf {
        self.path
    }

    pub(super) fn execute(&mut self, sql: &str) -> Result<(), String> {
        self.conn()
            .batch_execute(sql)
            .map_err(|refused| format!("{sql}: {refused}"))
    }

    pub(super) fn texts(&mut self, sql: &str, given: &[&str]) -> Vec<String> {
        Asked::new(sql, given)
            .load(self.conn())
            .unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    pub(super) fn copy(&self, to: PathBuf) -> PathBuf {
        copy_sqlite(&self.path, &to);
        to
    }

    pub(super) fn replace(&mut self, copied: &Path) {
        self.conn = None;
        copy_sqlite(copied, &self.path);
        self.conn = Some(connected(&self.path, &self.clock));
    }
}

fn connected(path: &Path, clock: &Clock) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    clock::read_by(&mut conn, clock);
    // Nothing here outlives the process, so nothing waits for a disk.
    conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 5000")
        .unwrap();
    conn
}
