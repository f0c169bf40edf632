//! The feed of what was found at an API, as the lines of a pull: read from the file as they are asked for.
//!
//! Must not know SQL nor HTTP.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::known::{After, feed};
use super::look::KnownRow;
use crate::error::Error;
use crate::file::File;

/// Rows read from the file at once.
const ROWS: usize = 500;

/// One table of a pull.
pub(super) struct TableFeed {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// What is later in the feed is wanted; `None` for all there is.
    pub(super) after: Option<i64>,
}

/// The lines of a pull.
pub(super) struct Lines {
    file: File,
    tables: VecDeque<TableFeed>,
    /// Where the first of `tables` has come.
    reached: After,
    until: i64,
    checkpoint: Option<String>,
    waiting: VecDeque<u8>,
}

impl Lines {
    /// What is in the feed of `tables` up to `until`, and the cursor for what comes later.
    pub(super) fn new(
        path: &Path,
        tables: Vec<TableFeed>,
        until: i64,
        cursor: String,
    ) -> Result<Lines, Error> {
        let mut lines = Lines {
            file: File::open(path)?,
            tables: tables.into(),
            reached: beginning(None),
            until,
            checkpoint: Some(cursor),
            waiting: VecDeque::new(),
        };
        lines.begin();
        Ok(lines)
    }

    fn begin(&mut self) {
        self.reached = beginning(self.tables.front().and_then(|table| table.after));
    }

    /// Makes more lines; false if there are no more.
    fn more(&mut self) -> Result<bool, Error> {
        let Some(table) = self.tables.front() else {
            let Some(cursor) = self.checkpoint.take() else {
                return Ok(false);
            };
            let line = json!({ "checkpoint": cursor, "complete": true });
            push(&mut self.waiting, &line);
            return Ok(true);
        };
        let most = i64::try_from(ROWS).unwrap_or(i64::MAX);
        let rows = feed(&mut self.file, &table.name, &self.reached, self.until, most)?;
        for (id, row) in &rows {
            if let Some(line) = line(table, id, row) {
                push(&mut self.waiting, &line);
            }
        }
        match rows.into_iter().last() {
            Some((id, row)) => {
                let position = row.position;
                self.reached = After { position, id };
            }
            None => {
                self.tables.pop_front();
                self.begin();
            }
        }
        Ok(true)
    }
}

/// Before the first row after `after`.
fn beginning(after: Option<i64>) -> After {
    After {
        position: after.map_or(-1, |after| after.saturating_add(1)),
        id: String::new(),
    }
}

fn push(to: &mut VecDeque<u8>, line: &Json) {
    to.extend(line.to_string().bytes());
    to.push_back(b'\n');
}

/// What is to be told of a row.
fn line(table: &TableFeed, id: &str, row: &KnownRow) -> Option<Json> {
    if row.deleted {
        // Who has nothing need not hear what is gone.
        return table
            .after
            .map(|_| json!({ "table": table.name, "id": id, "removed": "deleted" }));
    }
    let is_new = |position: i64| table.after.is_none_or(|after| position > after);
    let full = table.after.is_none()
        || is_new(row.marks.birth.position)
        || row.marks.flag.is_some_and(|flag| is_new(flag.position));
    let wanted = row.body.iter().filter(|(name, _)| {
        table.columns.contains(name) && (full || is_new(row.mark(name).position))
    });
    let columns: Map<String, Json> = wanted
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let version = row.version;
    Some(if full {
        json!({ "table": table.name, "id": id, "version": version, "full": true, "columns": columns })
    } else {
        json!({ "table": table.name, "id": id, "version": version, "columns": columns })
    })
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.waiting.is_empty() {
            if !self.more().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
        self.waiting.read(buffer)
    }
}
