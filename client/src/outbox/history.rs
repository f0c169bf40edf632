//! What the log tells of one row: whether it was there, its Original, and what the app made of it.

use std::collections::{HashMap, HashSet};

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

use crate::capture::lines::{self, Line, LineOp};
use crate::error::Error;
use crate::file::{File, Row};
use crate::table::{LocalTable, RowRef};

/// Lines read at once.
const CHUNK: usize = 5_000;

/// A log longer than this gets an index while it is worked off; a shorter one is read as a whole.
const SHORT: i64 = 20_000;

/// The lines of one row, in order, put together.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) row: RowRef,
    /// Whether the row was there before its first line.
    pub(crate) existed: bool,
    /// Whether the app made it under an id of its own, and not one that the server had told.
    pub(crate) is_local: bool,
    /// Each column's value before its first line.
    pub(crate) originals: Vec<(String, Stored)>,
    /// When each of these columns was last written, ms.
    pub(crate) times: Vec<(String, i64)>,
    /// When the row was last inserted, deleted or changed, ms.
    pub(crate) at_ms: i64,
    /// When it was inserted, ms; if it was.
    pub(crate) inserted_at_ms: Option<i64>,
    /// The line that made it again after it had been deleted by itself.
    pub(crate) made_again: Option<i64>,
    /// Whether it was deleted by itself, and made after that.
    is_deleted: bool,
    /// When an OR REPLACE was about to delete it, if nothing was written to it since.
    replaced_at: Option<i64>,
    /// Whether the log ends with its delete.
    is_gone: bool,
    /// Its lines: number, and column if it is about one.
    pub(crate) lines: Vec<(i64, Option<String>)>,
}

/// What a row's history comes to, against the row as it is now.
#[derive(Debug, Clone)]
pub(crate) enum Net {
    /// Nothing: it is as it was.
    Nothing,
    /// A new row, with all its values.
    Insert(Row),
    /// A changed row: the columns that differ.
    Update(Vec<Changed>),
    /// A deleted row.
    Delete,
}

/// A column that differs from its Original.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    /// Its position in the table.
    pub(crate) position: usize,
    pub(crate) original: Stored,
    pub(crate) edited: Stored,
    pub(crate) at_ms: i64,
}

impl History {
    fn begin(line: &Line) -> History {
        History {
            row: line.row.clone(),
            existed: !matches!(line.op, LineOp::Inserted),
            is_local: matches!((line.op, &line.old), (LineOp::Inserted, Stored::Null)),
            originals: Vec::new(),
            times: Vec::new(),
            at_ms: line.at_ms,
            inserted_at_ms: None,
            made_again: None,
            is_deleted: false,
            replaced_at: None,
            is_gone: false,
            lines: Vec::new(),
        }
    }

    fn take(&mut self, line: Line) {
        self.lines.push((line.seq, line.column.clone()));
        self.at_ms = self.at_ms.max(line.at_ms);
        match line.op {
            LineOp::Inserted => {
                self.inserted_at_ms = Some(line.at_ms);
                let is_replaced = self.replaced_at.take() == Some(line.at_ms);
                if std::mem::take(&mut self.is_gone) && !is_replaced {
                    self.is_deleted = true;
                }
                if self.is_deleted {
                    self.made_again = self.made_again.or(Some(line.seq));
                }
            }
            LineOp::Deleted => self.is_gone = true,
            LineOp::Changed => self.replaced_at = None,
            // Where the app's connection has recursive triggers on, its delete and its insert follow at once.
            LineOp::MayBeReplaced => self.replaced_at = Some(line.at_ms),
        }
        let Some(column) = line.column else {
            return;
        };
        // Where an OR REPLACE did replace the row, its insert has the time.
        if !matches!(line.op, LineOp::MayBeReplaced) {
            match self.times.iter_mut().find(|(name, _)| *name == column) {
                Some((_, at)) => *at = line.at_ms,
                None => self.times.push((column.clone(), line.at_ms)),
            }
        }
        if !self.originals.iter().any(|(name, _)| *name == column) {
            self.originals.push((column, line.old));
        }
    }

    /// The last line that is in it.
    pub(crate) fn upto(&self) -> i64 {
        self.lines.last().map(|(seq, _)| *seq).unwrap_or_default()
    }

    /// Whether it goes on after the line `upto`.
    pub(crate) fn has_after(&self, upto: i64) -> bool {
        self.upto() > upto
    }

    /// The Original of a column, if the log has it.
    pub(crate) fn original(&self, column: &str) -> Option<&Stored> {
        self.originals
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))
            .map(|(_, value)| value)
    }

    /// When a column was last written; when the row was, if the log does not say.
    pub(crate) fn written_at(&self, column: &str) -> i64 {
        let of_column = self
            .times
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))
            .map(|(_, at)| *at);
        let inserted = self.inserted_at_ms;
        of_column.max(inserted).unwrap_or(self.at_ms)
    }

    /// What it comes to for the row as it is now, `None` if there is none.
    pub(crate) fn net(&self, table: &LocalTable, now: Option<Row>) -> Net {
        let row = match (self.existed, now) {
            (false, None) => return Net::Nothing,
            (false, Some(row)) => return Net::Insert(row),
            (true, None) => return Net::Delete,
            (true, Some(row)) => row,
        };
        let mut changed = Vec::new();
        for (name, original) in &self.originals {
            let Some(position) = table.position(name) else {
                continue;
            };
            match row.get(position) {
                Some(edited) if edited != original => changed.push(Changed {
                    position,
                    original: original.clone(),
                    edited: edited.clone(),
                    at_ms: self.written_at(name),
                }),
                Some(_) | None => {}
            }
        }
        if changed.is_empty() {
            Net::Nothing
        } else {
            changed.sort_by_key(|column| column.position);
            Net::Update(changed)
        }
    }
}

/// The row's values in the order of the table's columns, `None` if it is not there.
pub(crate) fn row_now(
    file: &mut File,
    table: &LocalTable,
    row: &RowRef,
) -> Result<Option<Row>, Error> {
    let (condition, binds) = table.at_id(&row.id);
    let sql = format!("{} WHERE {condition}", select(table));
    file.first(&sql, &binds)
}

/// Whether the table has the row although it is not found by its id: SQLite may keep a key that cannot be told from
/// another, such as text that is no UTF-8. It is found as the triggers have noted it.
pub(crate) fn is_hidden(
    file: &mut File,
    table: &LocalTable,
    history: &History,
) -> Result<bool, Error> {
    let row = &history.row;
    let is_bytes = matches!(row.id.0, Stored::Bytes(_));
    if (history.is_gone && !is_bytes) || row_now(file, table, row)?.is_some() {
        return Ok(false);
    }
    // Bytes may have been read from a text that is no UTF-8.
    let ids = if is_bytes {
        ":?, CAST(:? AS TEXT)"
    } else {
        ":?"
    };
    let id = table.id_expression("t");
    // A key of one column is its own index.
    let by_key = match table.key.as_slice() {
        [_] => format!("{id} IN ({ids}) AND"),
        _ => String::new(),
    };
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} AS t WHERE {by_key} ({id}) COLLATE BINARY IN ({ids}))",
        quote(&table.name),
    );
    let places = if by_key.is_empty() { 1 } else { 2 };
    let binds = vec![row.id.0.clone(); places * (1 + usize::from(is_bytes))];
    Ok(file.int(&sql, &binds)? == 1)
}

/// The query of all captured columns.
pub(crate) fn select(table: &LocalTable) -> String {
    let columns: Vec<String> = table.columns.iter().map(|c| quote(&c.name)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), quote(&table.name))
}

/// The first `most` rows that the log names up to its line `upto` and that `skip` does not, in the order of
/// their first lines.
pub(crate) fn first_rows(
    file: &mut File,
    most: usize,
    upto: i64,
    skip: impl Fn(&RowRef) -> bool,
) -> Result<Vec<RowRef>, Error> {
    let mut rows = Vec::new();
    let mut known = HashSet::new();
    let mut seq = 0;
    loop {
        let chunk = lines::after(file, seq, CHUNK)?;
        let Some(last) = chunk.last() else {
            return Ok(rows);
        };
        seq = last.seq;
        for line in chunk {
            if known.contains(&line.row) || skip(&line.row) {
                continue;
            }
            if rows.len() == most || line.seq > upto {
                return Ok(rows);
            }
            known.insert(line.row.clone());
            rows.push(line.row);
        }
    }
}

/// The histories of these rows, in the order of `rows`; of rows without a line, none.
pub(crate) fn of(file: &mut File, rows: &[RowRef]) -> Result<Vec<History>, Error> {
    let mut histories: HashMap<RowRef, History> = HashMap::with_capacity(rows.len());
    let wanted: HashSet<&RowRef> = rows.iter().collect();
    let mut take = |line: Line| {
        histories
            .entry(line.row.clone())
            .or_insert_with(|| History::begin(&line))
            .take(line);
    };
    if is_indexed(file)? {
        for row in rows {
            lines::of_row(file, row)?.into_iter().for_each(&mut take);
        }
    } else {
        each(file, |line| {
            if wanted.contains(&line.row) {
                take(line);
            }
        })?;
    }
    Ok(rows
        .iter()
        .filter_map(|row| histories.remove(row))
        .collect())
}

/// The lines of each of these rows, in the order of `rows`.
pub(crate) fn lines_of(file: &mut File, rows: &[RowRef]) -> Result<Vec<Vec<Line>>, Error> {
    let mut found: HashMap<RowRef, Vec<Line>> =
        rows.iter().map(|row| (row.clone(), Vec::new())).collect();
    if is_indexed(file)? {
        for row in rows {
            found.insert(row.clone(), lines::of_row(file, row)?);
        }
    } else {
        each(file, |line| {
            if let Some(of_row) = found.get_mut(&line.row) {
                of_row.push(line);
            }
        })?;
    }
    let found = rows.iter().map(|row| found.remove(row).unwrap_or_default());
    Ok(found.collect())
}

/// All histories, in the order of their first lines.
pub(crate) fn all(file: &mut File) -> Result<Vec<History>, Error> {
    let mut order: Vec<History> = Vec::new();
    let mut at: HashMap<RowRef, usize> = HashMap::new();
    each(file, |line| {
        let position = *at.entry(line.row.clone()).or_insert_with(|| {
            order.push(History::begin(&line));
            order.len() - 1
        });
        if let Some(history) = order.get_mut(position) {
            history.take(line);
        }
    })?;
    Ok(order)
}

/// Hands every line to `take`, in order.
fn each(file: &mut File, mut take: impl FnMut(Line)) -> Result<(), Error> {
    let mut seq = 0;
    loop {
        let chunk = lines::after(file, seq, CHUNK)?;
        let Some(last) = chunk.last() else {
            return Ok(());
        };
        seq = last.seq;
        chunk.into_iter().for_each(&mut take);
    }
}

/// The number of the last line; 0 if there is none.
pub(crate) fn last_line(file: &mut File) -> Result<i64, Error> {
    file.int("SELECT coalesce(max(seq), 0) FROM colsync_log", &[])
}

/// Appends a line to the log: the server has NULL in a column of a row, and the app `value`.
pub(crate) fn append(
    file: &mut File,
    row: &RowRef,
    column: &str,
    value: &Stored,
    at_ms: i64,
) -> Result<(), Error> {
    file.execute(
        "INSERT INTO colsync_log (op, table_number, row_id, column_name, old, new, at_ms) \
         VALUES (0, :?, :?, :?, NULL, :?, :?)",
        &[
            Stored::Int(row.table),
            row.id.0.clone(),
            Stored::Text(column.to_owned()),
            value.clone(),
            Stored::Int(at_ms),
        ],
    )?;
    Ok(())
}

/// Removes lines from the log.
pub(crate) fn forget(file: &mut File, mut seqs: Vec<i64>) -> Result<(), Error> {
    seqs.sort_unstable();
    let mut run: Option<(i64, i64)> = None;
    let mut runs = Vec::new();
    for seq in seqs {
        run = Some(match run {
            Some((first, last)) if last + 1 == seq => (first, seq),
            Some(done) => {
                runs.push(done);
                (seq, seq)
            }
            None => (seq, seq),
        });
    }
    runs.extend(run);
    for (first, last) in runs {
        file.execute(
            "DELETE FROM colsync_log WHERE seq BETWEEN :? AND :?",
            &[Stored::Int(first), Stored::Int(last)],
        )?;
    }
    Ok(())
}

/// Gives a long log an index by row, and takes it from a short one: without, each row of a push would cost a
/// reading of the whole log; with it, each of the app's writes costs more.
pub(crate) fn index_if_long(file: &mut File) -> Result<(), Error> {
    let is_long = file.int(
        "SELECT count(*) > :? FROM (SELECT 1 FROM colsync_log LIMIT :?)",
        &[Stored::Int(SHORT), Stored::Int(SHORT + 1)],
    )? == 1;
    match (is_long, is_indexed(file)?) {
        (true, false) => file.write(|file| {
            file.batch("CREATE INDEX colsync_log_rows ON colsync_log (table_number, row_id)")
        }),
        (false, true) => file.write(|file| file.batch("DROP INDEX colsync_log_rows")),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Whether the log has its index by row.
pub(crate) fn is_indexed(file: &mut File) -> Result<bool, Error> {
    let found = file.int(
        "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = 'colsync_log_rows'",
        &[],
    )?;
    Ok(found == 1)
}
