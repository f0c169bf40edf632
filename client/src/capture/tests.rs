//! Capture, tried with plain SQL from a connection that knows nothing of colsync.
//!
//! After every story and every random case the tables are rolled back by the log alone, and must then be
//! what they were at the start: so nothing was missed.

mod property;
mod schema;
mod writes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::lines::{self, Line, LineOp};
use super::{refresh, track};
use crate::file::File;
use crate::table::{LocalTable, RowId};

/// The rows of a table: the values of their columns that are no part of the key.
type Rows = HashMap<RowId, Vec<Stored>>;

/// A file with tracked tables, whose rows at the start are known to the server.
struct Story {
    file: File,
    path: PathBuf,
    tables: Vec<LocalTable>,
    base: Vec<Rows>,
    _dir: TempDir,
}

impl Story {
    /// Runs `sql` on a new file, then tracks these tables.
    fn new(sql: &str, tracked: &[&str]) -> Story {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("app.db");
        let mut file = File::open(&path).unwrap();
        file.batch(sql).unwrap();
        for table in tracked {
            track(&mut file, table).unwrap();
        }
        file.batch("DELETE FROM colsync_log").unwrap();
        let mut story = Story {
            file,
            path,
            tables: Vec::new(),
            base: Vec::new(),
            _dir: dir,
        };
        story.begin();
        story
    }

    /// Opens a copy of a file in which tables are tracked already.
    fn of(content: &[u8]) -> Story {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("app.db");
        std::fs::write(&path, content).unwrap();
        let mut story = Story {
            file: File::open(&path).unwrap(),
            path,
            tables: Vec::new(),
            base: Vec::new(),
            _dir: dir,
        };
        story.begin();
        story
    }

    /// Takes the tables as they are for those of the start.
    fn begin(&mut self) {
        self.file.batch("DELETE FROM colsync_log").unwrap();
        self.tables = refresh(&mut self.file).unwrap();
        let tables = self.tables.iter();
        self.base = tables.map(|table| rows(&mut self.file, table)).collect();
    }

    /// Runs `sql` as the app does, with foreign keys on; gives the lines that it left, for people.
    #[track_caller]
    fn app(&mut self, sql: &str) -> Vec<String> {
        let seq = self.last();
        let mut app = app(&self.path, "PRAGMA foreign_keys = ON;");
        app.batch_execute(sql).unwrap();
        self.check(sql);
        self.told(seq)
    }

    fn last(&mut self) -> i64 {
        self.file
            .int("SELECT max(seq) FROM colsync_log", &[])
            .unwrap()
    }

    /// The lines after the one at `seq`, as `op id column old new`.
    fn told(&mut self, seq: i64) -> Vec<String> {
        let lines = lines::after(&mut self.file, seq, usize::MAX).unwrap();
        lines.iter().map(tell).collect()
    }

    /// Asserts that the log rolls the tables back to what they were at the start.
    #[track_caller]
    fn check(&mut self, why: &str) {
        let lines = lines::after(&mut self.file, 0, usize::MAX).unwrap();
        for (at, table) in self.tables.iter().enumerate() {
            let now = rows(&mut self.file, table);
            let mine: Vec<&Line> = lines
                .iter()
                .filter(|line| line.row.table == table.number)
                .collect();
            let found = rolled_back(table, now, &mine);
            assert_eq!(found, self.base[at], "{} after {why}", table.name);
        }
    }
}

/// A connection as an app opens it.
fn app(path: &Path, settings: &str) -> SqliteConnection {
    let mut app = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    app.batch_execute(settings).unwrap();
    app
}

/// The rows that have a key.
fn rows(file: &mut File, table: &LocalTable) -> Rows {
    let name = quote(&table.name);
    let mut select = vec![table.id_expression(&name)];
    select.extend(values(table).map(|column| format!("{name}.{}", quote(column))));
    let sql = format!("SELECT {} FROM {name}", select.join(", "));
    let rows = file.load(&sql, &[]).unwrap().into_iter();
    rows.map(|mut row| (RowId(row.remove(0)), row))
        .filter(|(id, _)| id.0 != Stored::Null)
        .collect()
}

fn values(table: &LocalTable) -> impl Iterator<Item = &str> {
    let columns = table.columns.iter().enumerate();
    columns
        .filter(|(at, _)| !table.is_key(*at))
        .map(|(_, column)| column.name.as_str())
}

/// What the rows were before `lines`, read as the rest of the client reads them.
fn rolled_back(table: &LocalTable, now: Rows, lines: &[&Line]) -> Rows {
    let mut by_row: HashMap<&RowId, Vec<&Line>> = HashMap::new();
    for line in lines {
        assert_ne!(line.row.id.0, Stored::Null, "{line:?}");
        assert!(line.at_ms > 1_700_000_000_000, "{line:?}");
        by_row.entry(&line.row.id).or_default().push(line);
    }
    let mut base = now.clone();
    for (id, lines) in by_row {
        if lines[0].op == LineOp::Inserted {
            base.remove(id);
            continue;
        }
        let original = |(at, column): (usize, &str)| {
            let first = lines
                .iter()
                .find(|line| line.column.as_deref() == Some(column));
            match first {
                Some(line) => line.old.clone(),
                None => now[id][at].clone(),
            }
        };
        let values = values(table).enumerate().map(original).collect();
        base.insert(id.clone(), values);
    }
    base
}

fn tell(line: &Line) -> String {
    let op = match line.op {
        LineOp::Changed => "changed",
        LineOp::Inserted => "inserted",
        LineOp::Deleted => "deleted",
        LineOp::MayBeReplaced => "may be replaced",
    };
    let id = value(&line.row.id.0);
    match &line.column {
        None => format!("{op} {id}"),
        Some(column) => format!(
            "{op} {id} {column} {} {}",
            value(&line.old),
            value(&line.new)
        ),
    }
}

fn value(stored: &Stored) -> String {
    match stored {
        Stored::Null => "NULL".to_owned(),
        Stored::Int(n) => n.to_string(),
        Stored::Real(x) => format!("{x:?}"),
        Stored::Text(text) => format!("'{text}'"),
        Stored::Bytes(bytes) => format!("x{bytes:?}"),
    }
}
