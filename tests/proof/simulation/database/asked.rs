//! Queries of one column of texts.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Text};

/// A query, which is prepared once a connection, and texts for its placeholders.
pub(super) struct Asked<'a> {
    /// The text, between its placeholders.
    pieces: Vec<&'a str>,
    given: &'a [&'a str],
}

impl<'a> Asked<'a> {
    /// `:?` stands for each text that is given.
    pub(super) fn new(sql: &'a str, given: &'a [&'a str]) -> Asked<'a> {
        Asked {
            pieces: sql.split(":?").collect(),
            given,
        }
    }
}

impl QueryId for Asked<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Asked<'_> {
    type SqlType = Text;
}

impl<C> diesel::RunQueryDsl<C> for Asked<'_> {}

impl<DB> QueryFragment<DB> for Asked<'_>
where
    DB: Backend + HasSqlType<Text>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut given = self.given.iter();
        for (at, piece) in self.pieces.iter().enumerate() {
            if at > 0 {
                out.push_bind_param::<Text, str>(given.next().unwrap())?;
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}
