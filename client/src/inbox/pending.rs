//! Which rows and columns have edits that the server has not seen, while a pull is applied.

use std::collections::{HashMap, HashSet};

use crate::capture::lines::{self, LineOp};
use crate::error::Error;
use crate::file::File;
use crate::table::RowRef;

/// Lines read at once.
const CHUNK: usize = 5_000;

/// The rows with unpushed edits. Kept up to date from page to page by reading only the new lines.
#[derive(Debug, Default)]
pub(crate) struct PendingRows {
    rows: HashMap<RowRef, PendingRow>,
    read_upto: i64,
}

/// The unpushed edits of one row.
#[derive(Debug, Default)]
pub(crate) struct PendingRow {
    /// Whether the app made the row.
    pub(crate) inserted: bool,
    /// The app's names of the columns it has written.
    pub(crate) columns: HashSet<String>,
}

impl PendingRows {
    /// Reads the lines that were not there the last time.
    pub(crate) fn refresh(&mut self, file: &mut File) -> Result<(), Error> {
        loop {
            let chunk = lines::after(file, self.read_upto, CHUNK)?;
            let Some(last) = chunk.last() else {
                return Ok(());
            };
            self.read_upto = last.seq;
            for line in chunk {
                let inserted = matches!(line.op, LineOp::Inserted);
                let row = self.rows.entry(line.row).or_insert_with(|| PendingRow {
                    inserted,
                    columns: HashSet::new(),
                });
                row.columns
                    .extend(line.column.map(|name| name.to_ascii_lowercase()));
            }
        }
    }

    /// Reads all lines again: rows have got other ids.
    pub(crate) fn read_again(&mut self, file: &mut File) -> Result<(), Error> {
        *self = PendingRows::default();
        self.refresh(file)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Those of the table of this number.
    pub(crate) fn of_table(&self, number: i64) -> impl Iterator<Item = (&RowRef, &PendingRow)> {
        self.rows.iter().filter(move |(row, _)| row.table == number)
    }

    /// The row's unpushed edits, if it has any.
    pub(crate) fn of(&self, row: &RowRef) -> Option<&PendingRow> {
        self.rows.get(row)
    }
}

impl PendingRow {
    /// Whether the app has written the column that it calls `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.contains(&name.to_ascii_lowercase())
    }
}
