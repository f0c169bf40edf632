//! A database as other programs see it: rows, copies.

mod asked;
mod file;
mod served;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use colsync_tests::Cluster;
use serde_json::Value as Json;

use super::clock::Clock;
use super::plan::Table;
use super::tables::of_postgres;
use file::File;
use served::Served;
pub(super) use served::{Opened, cluster};

/// A row's columns by name.
pub(super) type Columns = BTreeMap<&'static str, Json>;

/// A database, and a connection of a program that is not colsync.
pub(super) struct Database {
    place: Place,
    /// Whether its tables are young, as far as that was asked.
    young: Option<bool>,
}

enum Place {
    File(File),
    Served(Box<Served>),
}

/// What a simulation's server begins with.
pub(super) enum Seedling {
    File(PathBuf),
    /// A database of a PostgreSQL.
    Served(Rc<Cluster>, String),
}

impl From<Place> for Database {
    fn from(place: Place) -> Database {
        Database { place, young: None }
    }
}

impl Seedling {
    /// A copy of its own; a file is made at `path`.
    pub(super) fn copy(&self, path: PathBuf, clock: &Clock) -> Database {
        match self {
            Seedling::File(from) => {
                std::fs::copy(from, &path).unwrap();
                Database::file(path, clock)
            }
            Seedling::Served(cluster, url) => {
                Database::from(Place::Served(Box::new(Served::like(cluster, url, clock))))
            }
        }
    }
}

impl Database {
    /// An SQLite file, which is made if it is not there.
    pub(super) fn file(path: PathBuf, clock: &Clock) -> Database {
        Database::from(Place::File(File::open(path, clock)))
    }

    /// A new one of a PostgreSQL.
    pub(super) fn served(cluster: &Rc<Cluster>, clock: &Clock) -> Database {
        Database::from(Place::Served(Box::new(Served::new(cluster, clock))))
    }

    pub(super) fn is_served(&self) -> bool {
        matches!(self.place, Place::Served(_))
    }

    /// Its URL, as the server takes it.
    pub(super) fn url(&self) -> String {
        match &self.place {
            Place::File(file) => file.url(),
            Place::Served(served) => served.url().to_owned(),
        }
    }

    /// Runs a statement; whether the database took it.
    pub(super) fn execute(&mut self, sql: &str) -> Result<(), String> {
        match &mut self.place {
            Place::File(file) => file.execute(sql),
            Place::Served(served) => served.execute(sql),
        }
    }

    /// Runs a statement in a transaction of its own, which stays open, at a server's database.
    pub(super) fn open(&mut self, sql: &str) -> Result<Opened, String> {
        match &mut self.place {
            Place::File(_) => Err("a file has one writer at a time".to_owned()),
            Place::Served(served) => served.open(sql),
        }
    }

    /// What a query of one column gives, as text; `:?` stands for each text that is given. It stays prepared, so its
    /// own text should come again.
    pub(super) fn texts(&mut self, sql: &str, given: &[&str]) -> Vec<String> {
        match &mut self.place {
            Place::File(file) => file.texts(sql, given),
            Place::Served(served) => served.texts(sql, given),
        }
    }

    /// As [`Database::texts`], of JSON.
    pub(super) fn lines(&mut self, sql: &str, given: &[&str]) -> Vec<Json> {
        let texts = self.texts(sql, given);
        texts
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Whether its tables lack the columns that come later.
    pub(super) fn is_young(&mut self) -> bool {
        if self.young.is_none() {
            let sql = match self.place {
                Place::File(_) => "SELECT name FROM pragma_table_info('notes')",
                Place::Served(_) => {
                    "SELECT CAST(attname AS TEXT) FROM pg_attribute \
                     WHERE attrelid = CAST('notes' AS regclass) AND NOT attisdropped"
                }
            };
            let names = self.texts(sql, &[]);
            self.young = Some(!names.iter().any(|name| Table::Notes.gets_later(name)));
        }
        self.young == Some(true)
    }

    /// Adds those columns, if it lacks them; whether it did.
    pub(super) fn grow(&mut self) -> bool {
        let was_young = self.is_young();
        if was_young {
            let mut growth: String = Table::ALL.iter().map(|table| table.growth()).collect();
            if self.is_served() {
                growth = of_postgres(&growth);
            }
            self.execute(&growth).unwrap();
            self.young = Some(false);
        }
        was_young
    }

    /// Whether the app syncs a table.
    pub(super) fn tracks(&mut self, table: Table) -> bool {
        let sql = "SELECT name FROM colsync_tables WHERE name = :?";
        !self.texts(sql, &[table.name()]).is_empty()
    }

    /// The columns of a table, as a query names them after others; NULL for those that it lacks.
    pub(super) fn columns(&mut self, table: Table) -> String {
        let is_young = self.is_young();
        let columns = table.columns().iter().map(|column| {
            let name = if is_young && table.gets_later(column.name) {
                "NULL"
            } else {
                column.name
            };
            format!(", {name}")
        });
        columns.collect()
    }

    /// The rows of a table by id, but for those that are soft-deleted.
    pub(super) fn rows(&mut self, table: Table, is_alive: &str) -> BTreeMap<String, Columns> {
        let sql = self.selection(table, is_alive);
        let lines = self.lines(&sql, &[]);
        lines.into_iter().map(|line| named(table, line)).collect()
    }

    /// The row at a place among those of a table, if there is any; places go round.
    pub(super) fn at(
        &mut self,
        table: Table,
        is_alive: &str,
        place: u8,
    ) -> Option<(String, Columns)> {
        let name = table.name();
        let sql = format!("SELECT CAST(count(*) AS TEXT) FROM {name} WHERE {is_alive}");
        let many = self.texts(&sql, &[]);
        let many: usize = many.first()?.parse().ok()?;
        let offset = usize::from(place).checked_rem(many)?;
        let selection = self.selection(table, is_alive);
        let sql = format!("{selection} LIMIT 1 OFFSET {offset}");
        let line = self.lines(&sql, &[]).pop()?;
        Some(named(table, line))
    }

    /// A query for rows of a table, in the order of their ids.
    fn selection(&mut self, table: Table, is_alive: &str) -> String {
        let (name, columns) = (table.name(), self.columns(table));
        format!("SELECT json_array(id{columns}) FROM {name} WHERE {is_alive} ORDER BY id")
    }

    /// Whether a table has a row of this id.
    pub(super) fn has(&mut self, table: Table, id: &str) -> bool {
        let name = table.name();
        let sql = format!("SELECT id FROM {name} WHERE id = :?");
        !self.texts(&sql, &[id]).is_empty()
    }

    /// A time of the server's metadata as a query has it, in µs.
    pub(super) fn micros(&self, column: &str) -> String {
        match self.place {
            Place::File(_) => column.to_owned(),
            Place::Served(_) => {
                format!("CAST(extract(epoch FROM {column}) * 1000000 AS BIGINT)")
            }
        }
    }

    /// The next number that a table of a server's gives is after `last`.
    pub(super) fn count_from(&mut self, table: &str, last: u64) -> Result<(), String> {
        let sql = match self.place {
            Place::File(_) => format!(
                "DELETE FROM sqlite_sequence WHERE name = '{table}'; \
                 INSERT INTO sqlite_sequence VALUES ('{table}', {last})"
            ),
            Place::Served(_) => {
                format!("SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last})")
            }
        };
        self.execute(&sql)
    }

    /// Has copies made of all files where a server has them, in place of dumps.
    pub(super) fn copy_files(&mut self) {
        if let Place::Served(served) = &mut self.place {
            served.copies_files = true;
        }
    }

    /// Whether copies are made so.
    pub(super) fn copies_files(&self) -> bool {
        matches!(&self.place, Place::Served(served) if served.copies_files)
    }

    /// Copies it as it is, to `folder` if it can be chosen; gives where the copy is.
    pub(super) fn copy(&self, folder: &Path) -> PathBuf {
        let to = folder.join("copy");
        match &self.place {
            Place::File(file) => file.copy(to),
            Place::Served(served) => served.copy(to),
        }
    }

    /// Puts a copy in its place. Nobody else may have it open.
    pub(super) fn replace(&mut self, copied: &Path) {
        match &mut self.place {
            Place::File(file) => file.replace(copied),
            Place::Served(served) => served.replace(copied),
        }
        self.young = None;
    }

    /// Makes it one to begin with, of which copies can be made.
    pub(super) fn into_seedling(self) -> Seedling {
        match self.place {
            Place::File(file) => Seedling::File(file.close()),
            Place::Served(served) => served.close(),
        }
    }

    /// Removes it, but for a file, which goes with its folder.
    pub(super) fn remove(self) {
        match self.place {
            Place::File(_) => {}
            Place::Served(served) => served.remove(),
        }
    }
}

/// A row's id and columns, of a line that has them in their order.
fn named(table: Table, line: Json) -> (String, Columns) {
    let Json::Array(values) = line else {
        panic!("{line}");
    };
    let mut values = values.into_iter();
    let id = values.next().unwrap().as_str().unwrap().to_owned();
    (id, by_name(table, values))
}

/// The columns of a row by name, of values in their order.
pub(super) fn by_name(table: Table, values: impl Iterator<Item = Json>) -> Columns {
    let columns = table.columns().iter().zip(values);
    let named = columns.map(|(column, value)| {
        let value = match value {
            // A JSON column is text in the file.
            Json::String(text) if text.starts_with(['[', '{']) => {
                serde_json::from_str(&text).unwrap()
            }
            value => value,
        };
        (column.name, value)
    });
    named.collect()
}
