//! Copies of a server's database, to go back to.

use tempfile::TempDir;

use super::Server;
use crate::database::Database;

/// A copy of a database, to go back to.
pub enum Backup {
    /// A folder with the file and what belongs to it.
    Sqlite(TempDir),
    /// The name of a copy beside it.
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
                for suffix in ["", "-wal"] {
                    let from = format!("{}{suffix}", path.display());
                    if std::fs::exists(&from).unwrap() {
                        std::fs::copy(from, copy.path().join(format!("copy{suffix}"))).unwrap();
                    }
                }
                Backup::Sqlite(copy)
            }
            Database::Postgres { url, cluster } => {
                let name = url.rsplit('/').next().unwrap();
                let copy = format!("{name}_copy");
                cluster.get().maintain(&format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                ));
                cluster
                    .get()
                    .maintain(&format!("CREATE DATABASE {copy} TEMPLATE {name}"));
                Backup::Postgres(copy)
            }
        }
    }

    /// Puts a copy in the place of the database while the server is stopped.
    #[track_caller]
    pub fn restore(&self, backup: &Backup) {
        assert!(self.process.is_none(), "stop the server first");
        match (&self.database, backup) {
            (Database::Sqlite(path), Backup::Sqlite(copy)) => {
                for suffix in ["", "-wal", "-shm"] {
                    let to = format!("{}{suffix}", path.display());
                    let from = copy.path().join(format!("copy{suffix}"));
                    drop(std::fs::remove_file(&to));
                    if from.exists() {
                        std::fs::copy(from, to).unwrap();
                    }
                }
            }
            (Database::Postgres { url, cluster }, Backup::Postgres(copy)) => {
                let name = url.rsplit('/').next().unwrap();
                cluster
                    .get()
                    .maintain(&format!("DROP DATABASE {name} WITH (FORCE)"));
                cluster
                    .get()
                    .maintain(&format!("CREATE DATABASE {name} TEMPLATE {copy}"));
            }
            (Database::Sqlite(_), Backup::Postgres(_))
            | (Database::Postgres { .. }, Backup::Sqlite(_)) => {
                panic!("a copy of another backend")
            }
        }
    }
}
