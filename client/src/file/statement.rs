//! SQL that is only known at run time: its text, its bound values, and the rows it gives back.

use colsync_shared::sql::pieces;
use colsync_shared::sqlite::Stored;
use diesel::deserialize::{self, QueryableByName};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::row::{Field as _, NamedRow, Row};
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text, Untyped};
use diesel::sqlite::{Sqlite, SqliteType};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

/// One SQL statement with the values for its placeholders. diesel prepares the same text once a connection.
pub(super) struct Statement<'a> {
    pub(super) sql: &'a str,
    pub(super) binds: &'a [Stored],
    /// Whether the text will come again.
    pub(super) cached: bool,
}

/// Statements that are found by their slot.
pub(super) const SLOTS: usize = 8;

/// A statement that is run for row after row. diesel would find it by its text, made and hashed anew each time;
/// this one it finds by a type, which stands for one slot of a connection.
pub(super) struct InSlot<'a, const SLOT: usize> {
    /// The text between the placeholders, the same for ever.
    pub(super) pieces: &'a [String],
    pub(super) binds: &'a [Stored],
}

impl<const SLOT: usize> QueryId for InSlot<'_, SLOT> {
    type QueryId = InSlot<'static, SLOT>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const SLOT: usize> RunQueryDsl<SqliteConnection> for InSlot<'_, SLOT> {}

impl<const SLOT: usize> QueryFragment<Sqlite> for InSlot<'_, SLOT> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        walk(out, self.pieces.iter().map(String::as_str), self.binds)
    }
}

/// Runs the statement of a slot; gives the number of rows it changed.
pub(super) fn execute_in_slot(
    conn: &mut SqliteConnection,
    slot: usize,
    pieces: &[String],
    binds: &[Stored],
) -> QueryResult<usize> {
    match slot {
        0 => InSlot::<0> { pieces, binds }.execute(conn),
        1 => InSlot::<1> { pieces, binds }.execute(conn),
        2 => InSlot::<2> { pieces, binds }.execute(conn),
        3 => InSlot::<3> { pieces, binds }.execute(conn),
        4 => InSlot::<4> { pieces, binds }.execute(conn),
        5 => InSlot::<5> { pieces, binds }.execute(conn),
        6 => InSlot::<6> { pieces, binds }.execute(conn),
        7 => InSlot::<7> { pieces, binds }.execute(conn),
        _ => Err(Error::QueryBuilderError("no such slot".into())),
    }
}

/// A row as SQLite gave it, values in the order of the select list.
pub(super) struct Values(pub(super) Vec<Stored>);

impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

impl RunQueryDsl<SqliteConnection> for Statement<'_> {}

impl QueryFragment<Sqlite> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        if !self.cached {
            out.unsafe_to_cache_prepared();
        }
        walk(out, pieces(self.sql), self.binds)
    }
}

/// Walks from placeholder to placeholder.
fn walk<'b, 's>(
    mut out: AstPass<'_, 'b, Sqlite>,
    mut pieces: impl Iterator<Item = &'s str>,
    binds: &'b [Stored],
) -> QueryResult<()> {
    out.push_sql(pieces.next().unwrap_or_default());
    let mut binds = binds.iter();
    for piece in pieces {
        let unequal = || Error::QueryBuilderError("more placeholders than values".into());
        match binds.next().ok_or_else(unequal)? {
            Stored::Null => out.push_bind_param::<Nullable<Text>, _>(&None::<String>)?,
            Stored::Int(n) => out.push_bind_param::<BigInt, _>(n)?,
            Stored::Real(x) => out.push_bind_param::<Double, _>(x)?,
            Stored::Text(text) => out.push_bind_param::<Text, _>(text)?,
            Stored::Bytes(bytes) => out.push_bind_param::<Binary, _>(bytes)?,
        }
        out.push_sql(piece);
    }
    match binds.next() {
        None => Ok(()),
        Some(_) => Err(Error::QueryBuilderError(
            "more values than placeholders".into(),
        )),
    }
}

impl QueryableByName<Sqlite> for Values {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let values = (0..row.field_count()).map(|at| {
            let field = Row::get(row, at).ok_or("a row without the field it counts")?;
            let Some(mut value) = field.value() else {
                return Ok(Stored::Null);
            };
            Ok(match value.value_type() {
                None => Stored::Null,
                // What is no UTF-8 stays what it is: a replacement character would be another value.
                Some(SqliteType::Text) => match std::str::from_utf8(value.read_blob()) {
                    Ok(text) => Stored::Text(text.to_owned()),
                    Err(_no_text) => Stored::Bytes(value.read_blob().to_vec()),
                },
                Some(SqliteType::Binary) => Stored::Bytes(value.read_blob().to_vec()),
                Some(SqliteType::Float | SqliteType::Double) => Stored::Real(value.read_double()),
                Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => {
                    Stored::Int(value.read_long())
                }
            })
        });
        values.collect::<deserialize::Result<_>>().map(Values)
    }
}
