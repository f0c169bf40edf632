//! Counts the values of a table that do not fit their column's declared type.
//!
//! SQLite stores any value in any column. What does not fit could be read, but not be written back by a
//! client, so a table that holds such values is not adopted. Must not change anything.

use colsync_shared::{Column, ColumnType};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

use super::triggers::unfit;
use crate::store::adopt::Problem;
use crate::store::introspected::Introspected;
use crate::store::statement::{Cell, DynRow, Statement};
use colsync_shared::sql::quote;

/// What is wrong with the table's values, column by column, from one pass over it.
pub(super) fn problems(
    conn: &mut SqliteConnection,
    table: &str,
    found: &Introspected,
) -> QueryResult<Vec<Problem>> {
    if found.columns.is_empty() {
        return Ok(Vec::new());
    }
    let key = found.key_columns();
    let nulls = key
        .iter()
        .map(|column| format!("sum({} IS NULL)", quote(&column.name)));
    let misfits = found.columns.iter().map(|column| {
        let name = quote(&column.name);
        let (fits, _) = fits(&column.ty, &name);
        format!("sum({name} IS NOT NULL AND NOT coalesce({fits}, 0))")
    });
    let counts: Vec<String> = nulls.chain(misfits).collect();
    let sql = format!("SELECT {} FROM {}", counts.join(", "), quote(table));
    let rows: Vec<DynRow> = Statement::once(sql, Vec::new()).load(conn)?;
    // Sums over no rows are NULL.
    let counts = rows.iter().flat_map(|row| &row.0);
    let mut counts = counts.map(|cell| cell.int().unwrap_or(0));

    let mut problems = Vec::new();
    let null_key = |(column, count): (&&Column, i64)| Problem::NullKey {
        column: column.name.clone(),
        count,
    };
    let null_counts = key.iter().zip(counts.by_ref().take(key.len()));
    problems.extend(null_counts.filter(|(_, count)| *count > 0).map(null_key));
    let typed = found.columns.iter().zip(&found.sql_types);
    for ((column, declared), count) in typed.zip(counts) {
        if count > 0 {
            problems.push(Problem::Values {
                column: column.name.clone(),
                ty: declared.clone(),
                count,
                expected: fits(&column.ty, "").1,
            });
        }
    }
    Ok(problems)
}

/// What is wrong with the keys of an adopted table: rows that came before its triggers kept such keys out.
pub(crate) fn key_problems(
    conn: &mut SqliteConnection,
    table: &str,
    found: &Introspected,
) -> QueryResult<Vec<Problem>> {
    let mut problems = Vec::new();
    for column in found.key_columns() {
        let key = quote(&column.name);
        let sql = format!(
            "SELECT count(*), count({key}) FROM {} WHERE {}",
            quote(table),
            unfit(&key)
        );
        let rows: Vec<DynRow> = Statement::once(sql, Vec::new()).load(conn)?;
        let counts: Vec<i64> = rows
            .iter()
            .flat_map(|row| row.0.iter().filter_map(Cell::int))
            .collect();
        let [all, blobs] = counts.as_slice() else {
            continue;
        };
        let name = || column.name.clone();
        problems.extend((all > blobs).then(|| Problem::NullKey {
            column: name(),
            count: all - blobs,
        }));
        problems.extend((*blobs > 0).then(|| Problem::KeyBlob {
            column: name(),
            count: *blobs,
        }));
    }
    Ok(problems)
}

/// A condition that is true of the values of `column` that fit the type, and what these are called.
fn fits(ty: &ColumnType, column: &str) -> (String, &'static str) {
    let stored = |classes: &str| format!("typeof({column}) IN ({classes})");
    let text = |also: String| format!("(typeof({column}) = 'text' AND {also})");
    match ty {
        ColumnType::Bool => (
            format!("({} AND {column} IN (0, 1))", stored("'integer'")),
            "0 or 1",
        ),
        ColumnType::Int { .. } => (stored("'integer'"), "integers"),
        ColumnType::Real { .. } => (stored("'real', 'integer'"), "numbers"),
        ColumnType::Decimal { .. } => (stored("'real', 'integer'"), "numbers"),
        ColumnType::Text { .. } | ColumnType::Enum { .. } => (stored("'text'"), "text"),
        ColumnType::Uuid => {
            let digits = |count| "[0-9a-f]".repeat(count);
            let groups = [8, 4, 4, 4, 12].map(digits).join("-");
            (
                text(format!("{column} GLOB '{groups}'")),
                "UUIDs in lower-case text with hyphens",
            )
        }
        ColumnType::Date => (
            text(format!("date({column}) IS {column}")),
            "dates such as 2026-11-22",
        ),
        ColumnType::Time => (
            text(format!(
                "time(substr({column}, 1, 8)) IS substr({column}, 1, 8) AND {}",
                fraction(column, 9)
            )),
            "times such as 10:00:00",
        ),
        ColumnType::DateTime | ColumnType::Timestamp => (
            text(format!(
                "date(substr({column}, 1, 10)) IS substr({column}, 1, 10) \
                 AND substr({column}, 11, 1) IN (' ', 'T') \
                 AND time(substr({column}, 12, 8)) IS substr({column}, 12, 8) AND {}",
                fraction(column, 20)
            )),
            "dates and times without a zone such as 2026-11-22 10:00:00",
        ),
        ColumnType::Bytes => (stored("'blob'"), "blobs"),
        ColumnType::Json | ColumnType::Array(_) => (
            format!(
                "({} OR {})",
                stored("'real', 'integer'"),
                text(format!("json_valid({column})"))
            ),
            "JSON",
        ),
    }
}

/// A condition: from character `at` on there is nothing, or a point and up to six digits.
fn fraction(column: &str, at: usize) -> String {
    format!(
        "(length({column}) = {} OR (substr({column}, {at}, 1) = '.' \
         AND length({column}) BETWEEN {} AND {} AND substr({column}, {}) NOT GLOB '*[^0-9]*'))",
        at - 1,
        at + 1,
        at + 6,
        at + 1
    )
}
