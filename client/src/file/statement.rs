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
        let mut pieces = pieces(self.sql);
        out.push_sql(pieces.next().unwrap_or_default());
        let mut binds = self.binds.iter();
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
        if binds.next().is_some() {
            return Err(Error::QueryBuilderError(
                "more values than placeholders".into(),
            ));
        }
        Ok(())
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
