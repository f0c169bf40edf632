//! An SQLite file as other programs see it: rows, copies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::{Connection as _, QueryResult, RunQueryDsl, SqliteConnection};
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
    /// Whether its tables are young, as far as that was asked.
    young: Option<bool>,
}

/// A query, which is prepared once a connection, and texts for its placeholders.
struct Asked<'a> {
    /// The text, between its placeholders.
    pieces: Vec<&'a str>,
    given: &'a [&'a str],
}

impl QueryId for Asked<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Asked<'_> {
    type SqlType = Text;
}

impl RunQueryDsl<SqliteConnection> for Asked<'_> {}

impl QueryFragment<Sqlite> for Asked<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut given = self.given.iter();
        for (at, piece) in self.pieces.iter().enumerate() {
            if at > 0 {
                out.push_bind_param::<Text, _>(given.next().unwrap())?;
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

impl File {
    pub(super) fn open(path: PathBuf, clock: &Clock) -> File {
        let mut file = File {
            path,
            clock: clock.clone(),
            conn: None,
            young: None,
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
        self.young = None;
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

    /// What a query of one column gives, as text; `:?` stands for each text that is given. It stays prepared, so its
    /// own text should come again.
    pub(super) fn texts(&mut self, sql: &str, given: &[&str]) -> Vec<String> {
        let pieces = sql.split(":?").collect();
        let asked = Asked { pieces, given };
        asked
            .load(self.conn())
            .unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    /// As [`File::texts`], of JSON.
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
            let sql = "SELECT name FROM pragma_table_info('notes')";
            let names = self.texts(sql, &[]);
            self.young = Some(!names.iter().any(|name| Table::Notes.gets_later(name)));
        }
        self.young == Some(true)
    }

    /// Adds those columns, if it lacks them; whether it did.
    pub(super) fn grow(&mut self) -> bool {
        let was_young = self.is_young();
        if was_young {
            let growth: String = Table::ALL.iter().map(|table| table.growth()).collect();
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
