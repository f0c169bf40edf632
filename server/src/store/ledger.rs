//! The ledger's table: entries written many at a time, and read one by one or in pages.

use std::collections::HashMap;

use colsync_shared::Time;
use diesel::prelude::*;
use uuid::Uuid;

use super::conn::{Conn, on_backend};
use super::error::StoreError;
use super::schema::colsync_conflicts;
use super::sqlite::rows::{places, portions};
use super::statement::{Bind, Statement};

type Result<T> = std::result::Result<T, StoreError>;

/// A row for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct NewConflict {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) row_id: String,
    pub(crate) column_name: Option<String>,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) base: Option<String>,
    pub(crate) kept: Option<String>,
    pub(crate) lost: Option<String>,
    pub(crate) kept_time: Option<i64>,
    pub(crate) kept_client: Option<String>,
    pub(crate) lost_time: Option<i64>,
    pub(crate) lost_client: Option<String>,
    pub(crate) skew: Option<i64>,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) created_at: i64,
}

/// A row of the ledger.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = colsync_conflicts)]
pub(crate) struct ConflictRow {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) row_id: String,
    pub(crate) column_name: Option<String>,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) base: Option<String>,
    pub(crate) kept: Option<String>,
    pub(crate) lost: Option<String>,
    pub(crate) kept_time: Option<i64>,
    pub(crate) kept_client: Option<String>,
    pub(crate) lost_time: Option<i64>,
    pub(crate) lost_client: Option<String>,
    pub(crate) skew: Option<i64>,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) created_at: i64,
    pub(crate) decision: Option<String>,
    pub(crate) decided_at: Option<i64>,
    pub(crate) decided_value: Option<String>,
}

/// Which rows of the ledger to list, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConflictFilter {
    pub(crate) table: Option<String>,
    pub(crate) row: Option<String>,
    pub(crate) column: Option<String>,
    /// Either side's writer.
    pub(crate) client: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) since: Option<i64>,
    /// Only rows older than this one.
    pub(crate) after: Option<String>,
    pub(crate) limit: i64,
}

/// What stands in a column of the table.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Int,
}

/// The columns of a new entry, in the order of [`NewConflict::binds`].
const COLUMNS: [(&str, Holds); 17] = [
    ("id", Holds::Text),
    ("table_name", Holds::Text),
    ("row_id", Holds::Text),
    ("column_name", Holds::Text),
    ("kind", Holds::Text),
    ("policy", Holds::Text),
    ("base", Holds::Text),
    ("kept", Holds::Text),
    ("lost", Holds::Text),
    ("kept_time", Holds::Int),
    ("kept_client", Holds::Text),
    ("lost_time", Holds::Int),
    ("lost_client", Holds::Text),
    ("skew", Holds::Int),
    ("version", Holds::Int),
    ("state", Holds::Text),
    ("created_at", Holds::Int),
];

impl NewConflict {
    fn binds(self) -> [Bind; COLUMNS.len()] {
        let maybe_text = |text: Option<String>| text.map_or(Bind::Null, Bind::Text);
        let maybe_int = |int: Option<i64>| int.map_or(Bind::Null, Bind::Int);
        [
            Bind::Text(self.id),
            Bind::Text(self.table_name),
            Bind::Text(self.row_id),
            maybe_text(self.column_name),
            Bind::Text(self.kind),
            Bind::Text(self.policy),
            maybe_text(self.base),
            maybe_text(self.kept),
            maybe_text(self.lost),
            maybe_int(self.kept_time),
            maybe_text(self.kept_client),
            maybe_int(self.lost_time),
            maybe_text(self.lost_client),
            maybe_int(self.skew),
            Bind::Int(self.version),
            Bind::Text(self.state),
            Bind::Int(self.created_at),
        ]
    }
}

/// Writes new entries. diesel prepares an insert of many rows anew every time, which costs more than the rows.
pub(crate) fn insert_conflicts(conn: &mut Conn, conflicts: Vec<NewConflict>) -> Result<()> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    let rows: Vec<_> = conflicts.into_iter().map(NewConflict::binds).collect();
    match conn {
        Conn::Pg(_) => {
            let arrays = vec![":?"; COLUMNS.len()].join(", ");
            let sql =
                format!("INSERT INTO colsync_conflicts ({names}) SELECT * FROM unnest({arrays})");
            conn.execute(Statement::new(sql, by_column(rows)))?;
        }
        Conn::Sqlite(_) => {
            for some in portions(&rows, COLUMNS.len()) {
                let places = places(some.len(), COLUMNS.len());
                let sql = format!("INSERT INTO colsync_conflicts ({names}) VALUES {places}");
                conn.execute(Statement::new(sql, some.concat()))?;
            }
        }
    }
    Ok(())
}

/// An array a column.
fn by_column(rows: Vec<[Bind; COLUMNS.len()]>) -> Vec<Bind> {
    let mut columns = COLUMNS.map(|(_, holds)| match holds {
        Holds::Text => Bind::Texts(Vec::with_capacity(rows.len())),
        Holds::Int => Bind::Ints(Vec::with_capacity(rows.len())),
    });
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            match (column, cell) {
                (Bind::Texts(texts), Bind::Text(text)) => texts.push(Some(text)),
                (Bind::Texts(texts), _) => texts.push(None),
                (Bind::Ints(ints), Bind::Int(int)) => ints.push(Some(int)),
                (Bind::Ints(ints), _) => ints.push(None),
                _ => {}
            }
        }
    }
    columns.into()
}

/// An id below those of all entries made since `since`, µs since 1970: ids are in the order of time (RFC 9562,
/// version 7). A day's room is left for a clock that was set back meanwhile.
fn first_id(since: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let ms = u64::try_from(since / 1_000 - DAY_MS).unwrap_or(0);
    Uuid::from_u64_pair(ms << 16, 0).to_string()
}

/// The id of an open entry of kind `constraint` that tells of the same edit as `entry`.
pub(crate) fn same_refusal(conn: &mut Conn, entry: &NewConflict) -> Result<Option<String>> {
    use colsync_conflicts::dsl;
    let found: Vec<(String, Option<String>)> = on_backend!(conn, c => dsl::colsync_conflicts
        .filter(dsl::table_name.eq(&entry.table_name))
        .filter(dsl::row_id.eq(&entry.row_id))
        .filter(dsl::kind.eq(&entry.kind))
        .filter(dsl::lost_client.eq(&entry.lost_client))
        .filter(dsl::state.ne("resolved"))
        .select((dsl::id, dsl::lost))
        .load(c))?;
    let same = found.into_iter().find(|(_, lost)| *lost == entry.lost);
    Ok(same.map(|(id, _)| id))
}

pub(crate) fn conflict(conn: &mut Conn, id: Uuid) -> Result<Option<ConflictRow>> {
    use colsync_conflicts::dsl;
    let found = on_backend!(conn, c => dsl::colsync_conflicts
        .find(id.to_string())
        .select(ConflictRow::as_select())
        .first(c)
        .optional())?;
    Ok(found)
}

pub(crate) fn conflict_for_update(conn: &mut Conn, id: Uuid) -> Result<Option<ConflictRow>> {
    use colsync_conflicts::dsl;
    match conn {
        Conn::Pg(c) => Ok(dsl::colsync_conflicts
            .find(id.to_string())
            .select(ConflictRow::as_select())
            .for_update()
            .first(c)
            .optional()?),
        Conn::Sqlite(_) => conflict(conn, id),
    }
}

pub(crate) fn conflicts(conn: &mut Conn, filter: &ConflictFilter) -> Result<Vec<ConflictRow>> {
    use colsync_conflicts::dsl;
    let found = on_backend!(conn, c => {
        let mut query = dsl::colsync_conflicts.select(ConflictRow::as_select()).into_boxed();
        if let Some(table) = &filter.table {
            query = query.filter(dsl::table_name.eq(table));
        }
        if let Some(row) = &filter.row {
            query = query.filter(dsl::row_id.eq(row));
        }
        if let Some(column) = &filter.column {
            query = query.filter(dsl::column_name.eq(column));
        }
        if let Some(client) = &filter.client {
            query = query.filter(dsl::kept_client.eq(client).or(dsl::lost_client.eq(client)));
        }
        if let Some(state) = &filter.state {
            query = query.filter(dsl::state.eq(state));
        }
        if let Some(since) = filter.since {
            query = query.filter(dsl::created_at.ge(since)).filter(dsl::id.ge(first_id(since)));
        }
        if let Some(after) = &filter.after {
            query = query.filter(dsl::id.lt(after));
        }
        query.order(dsl::id.desc()).limit(filter.limit).load(c)
    })?;
    Ok(found)
}

/// How many ledger rows each client is a side of.
pub(crate) fn conflicts_by_client(conn: &mut Conn) -> Result<HashMap<String, i64>> {
    let sql = "SELECT client, count(*) FROM (SELECT kept_client AS client FROM colsync_conflicts \
               UNION ALL SELECT lost_client FROM colsync_conflicts \
               WHERE lost_client IS NOT NULL AND (kept_client IS NULL OR kept_client <> lost_client)) AS sides \
               GROUP BY client";
    let rows = conn.load(Statement::new(sql, Vec::new()))?;
    let counts = rows.iter().filter_map(|row| match row.0.as_slice() {
        [client, count] => Some((client.text()?.to_owned(), count.int()?)),
        _ => None,
    });
    Ok(counts.collect())
}

/// Closes a conflict with its decision.
pub(crate) fn resolve_conflict(
    conn: &mut Conn,
    id: Uuid,
    decision: &str,
    value: Option<String>,
    now: Time,
) -> Result<()> {
    use colsync_conflicts::dsl;
    on_backend!(conn, c => diesel::update(dsl::colsync_conflicts.find(id.to_string()))
        .set((
            dsl::state.eq("resolved"),
            dsl::decision.eq(decision),
            dsl::decided_at.eq(now.micros()),
            dsl::decided_value.eq(value.clone()),
        ))
        .execute(c))?;
    Ok(())
}
