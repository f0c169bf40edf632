//! The lines of the log: what the triggers appended, as the rest of the client reads it.
//!
//! Must not know the triggers nor what becomes of a line.

use colsync_shared::sqlite::Stored;

use crate::error::Error;
use crate::file::{File, Row};
use crate::table::{RowId, RowRef};

const AFTER: &str = "
    SELECT seq, op, table_number, row_id, column_name, old, new, at_ms
    FROM colsync_log WHERE seq > :? ORDER BY seq LIMIT :?";

const OF_ROW: &str = "
    SELECT seq, op, table_number, row_id, column_name, old, new, at_ms
    FROM colsync_log WHERE table_number = :? AND row_id IS :? ORDER BY seq";

/// Bytes may have been read from a text that is no UTF-8.
const OF_BYTES: &str = "
    SELECT seq, op, table_number, row_id, column_name, old, new, at_ms
    FROM colsync_log WHERE table_number = :? AND row_id IN (:?, CAST(:? AS TEXT)) ORDER BY seq";

/// What a line says. The numbers are those of `schema.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOp {
    /// A column changed from `old` to `new`.
    Changed,
    /// The row was inserted.
    Inserted,
    /// The row was deleted. One line has no column, and one for each column its old value.
    Deleted,
    /// As `Deleted`, of a row that an `OR REPLACE` was about to delete: whether it did, the table tells.
    MayBeReplaced,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Its place: later lines have higher ones.
    pub(crate) seq: i64,
    /// What it says.
    pub(crate) op: LineOp,
    /// The row, by the id that it had before the statement; `Inserted` by the id that it has after.
    pub(crate) row: RowRef,
    /// The column, if the line is about one.
    pub(crate) column: Option<String>,
    /// The column's value before.
    pub(crate) old: Stored,
    /// The column's value after, of `Changed`; of `Inserted`, what `schema.sql` says; else NULL.
    pub(crate) new: Stored,
    /// When, ms since 1970.
    pub(crate) at_ms: i64,
}

impl LineOp {
    fn from_number(number: i64) -> Option<LineOp> {
        match number {
            0 => Some(LineOp::Changed),
            1 => Some(LineOp::Inserted),
            2 => Some(LineOp::Deleted),
            3 => Some(LineOp::MayBeReplaced),
            _ => None,
        }
    }
}

/// The lines after the one at `seq`, in their order, at most `limit`.
///
/// # Errors
/// [`Error::Corrupt`] if a line is none of the triggers'.
pub(crate) fn after(file: &mut File, seq: i64, limit: usize) -> Result<Vec<Line>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = file.load(AFTER, &[Stored::Int(seq), Stored::Int(limit)])?;
    rows.into_iter().map(line).collect()
}

/// The lines of one row, in their order.
///
/// # Errors
/// As [`after`].
pub(crate) fn of_row(file: &mut File, row: &RowRef) -> Result<Vec<Line>, Error> {
    let (table, id) = (Stored::Int(row.table), row.id.0.clone());
    let rows = if matches!(id, Stored::Bytes(_)) {
        file.load(OF_BYTES, &[table, id.clone(), id])?
    } else {
        file.load(OF_ROW, &[table, id])?
    };
    rows.into_iter().map(line).collect()
}

fn line(row: Row) -> Result<Line, Error> {
    let corrupt = || Error::Corrupt("a line of colsync_log".to_owned());
    let [seq, op, table, id, column, old, new, at_ms] =
        <[Stored; 8]>::try_from(row).map_err(|_other_length| corrupt())?;
    let (Stored::Int(seq), Stored::Int(op), Stored::Int(table), Stored::Int(at_ms)) =
        (seq, op, table, at_ms)
    else {
        return Err(corrupt());
    };
    let column = match column {
        Stored::Null => None,
        Stored::Text(name) => Some(name),
        Stored::Int(_) | Stored::Real(_) | Stored::Bytes(_) => return Err(corrupt()),
    };
    Ok(Line {
        seq,
        op: LineOp::from_number(op).ok_or_else(corrupt)?,
        row: RowRef {
            table,
            id: RowId(id),
        },
        column,
        old,
        new,
        at_ms,
    })
}
