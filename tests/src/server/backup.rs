//! Copies of a server's database, to go back to.

use tempfile::TempDir;

use super::Server;
use crate::database::{Database, copy_sqlite};

/// A copy of a database, to go back to.
pub enum Backup {
    /// A folder with the file and what belongs to it.
    Sqlite(TempDir),
    /// The URL of a copy beside it.
    Postgres(String),
}

impl Server {
    /// Stops the server, copies its database, and goes on.
    #[track_caller]
    #[must_use]
    pub fn back_up(&mut self) -> Backup {
        self.terminate();
        let backup = self.backup();
        self.resume();
        backup
    }

    /// Stops the server, puts a copy in the place of its database, and goes on with that.
    #[track_caller]
    pub fn go_back(&mut self, backup: &Backup) {
        self.terminate();
        self.restore(backup);
        self.resume();
    }

    /// Copies the database while the server is stopped.
    #[track_caller]
    #[must_use]
    pub fn backup(&self) -> Backup {
        assert!(self.process.is_none(), "stop the server first");
        match &self.database {
            Database::Sqlite(path) => {
                let copy = TempDir::new().unwrap();
                copy_sqlite(path, &copy.path().join("copy"));
                Backup::Sqlite(copy)
            }
            Database::Postgres { url, cluster } => {
                cluster.get().disconnect(url);
                Backup::Postgres(cluster.get().database_like(url))
            }
        }
    }

    /// Puts a copy in the place of the database while the server is stopped.
    #[track_caller]
    pub fn restore(&self, backup: &Backup) {
        assert!(self.process.is_none(), "stop the server first");
        match (&self.database, backup) {
            (Database::Sqlite(path), Backup::Sqlite(copy)) => {
                copy_sqlite(&copy.path().join("copy"), path);
            }
            (Database::Postgres { url, cluster }, Backup::Postgres(copy)) => {
                cluster.get().replace_database(url, Some(copy));
            }
            (Database::Sqlite(_), Backup::Postgres(_))
            | (Database::Postgres { .. }, Backup::Sqlite(_)) => {
                panic!("a copy of another backend")
            }
        }
    }
}
