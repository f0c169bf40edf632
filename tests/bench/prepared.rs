//! Statements that stay prepared on their connection, as an app keeps them.
//!
//! diesel prepares its own updates anew each time, and inserts of what may be NULL as well: to a table with
//! triggers, that costs more than they do.

use std::marker::PhantomData;

use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

/// A statement's text, by the type that stands for it.
pub(crate) trait Sql: 'static {
    /// With a `?` for each value.
    const TEXT: &'static str;
}

/// A value for a statement.
pub(crate) enum Bind<'a> {
    Int(i64),
    Real(f64),
    Text(&'a str),
    Maybe(Option<&'a str>),
}

/// Runs the statement; how many rows it changed.
pub(crate) fn execute<S: Sql>(conn: &mut SqliteConnection, binds: &[Bind<'_>]) -> usize {
    let statement = Statement::<S> {
        binds,
        text: PhantomData,
    };
    statement.execute(conn).unwrap()
}

struct Statement<'a, S> {
    binds: &'a [Bind<'a>],
    text: PhantomData<S>,
}

impl<S: Sql> QueryId for Statement<'_, S> {
    type QueryId = Statement<'static, S>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: Sql> RunQueryDsl<SqliteConnection> for Statement<'_, S> {}

impl<S: Sql> QueryFragment<Sqlite> for Statement<'_, S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = S::TEXT.split('?');
        for bind in self.binds {
            out.push_sql(pieces.next().unwrap());
            match bind {
                Bind::Int(n) => out.push_bind_param::<BigInt, _>(n)?,
                Bind::Real(x) => out.push_bind_param::<Double, _>(x)?,
                Bind::Text(text) => out.push_bind_param::<Text, _>(text)?,
                Bind::Maybe(text) => out.push_bind_param::<Nullable<Text>, _>(text)?,
            }
        }
        out.push_sql(pieces.next().unwrap());
        Ok(())
    }
}
