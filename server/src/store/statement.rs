//! SQL that is only known at run time: its text, its bound values, and the rows it gives back.
//!
//! diesel's own `sql_query` prepares its text anew at every call. A [`Statement`] keys diesel's
//! statement cache by its text instead, so the same text is prepared once a connection.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use colsync_shared::Time;
use colsync_shared::sql::pieces;
use diesel::data_types::PgTimestamp;
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error;
use diesel::row::{Field as _, NamedRow, Row};
use diesel::sql_types::{Array, BigInt, Binary, Double, Nullable, Text, Timestamptz, Untyped};
use diesel::sqlite::{Sqlite, SqliteType};
use diesel::{QueryResult, RunQueryDsl};

/// A value bound into a statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bind {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// PostgreSQL only.
    Texts(Vec<Option<String>>),
    /// PostgreSQL only.
    Ints(Vec<Option<i64>>),
    /// PostgreSQL only.
    Times(Vec<Option<PgTimestamp>>),
}

impl Bind {
    /// Times of PostgreSQL's `timestamptz`, in its own format: texts would have to be written and parsed again.
    pub(crate) fn times(times: impl Iterator<Item = Option<Time>>) -> Bind {
        let pg = |time: Time| PgTimestamp(time.micros() - PG_EPOCH_MICROS);
        Bind::Times(times.map(|time| time.map(pg)).collect())
    }
}

/// One SQL statement with the values for its placeholders.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    sql: String,
    binds: Vec<Bind>,
    cached: bool,
}

/// A value as the database gave it back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    /// Also a time: µs since 1970 (or of the day), and a date: days since 1970.
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row as the database gave it back, cells in the order of the select list.
#[derive(Debug, Clone)]
pub(crate) struct DynRow(pub(crate) Vec<Cell>);

impl Statement {
    /// A statement that will be run again with other values: prepared once a connection.
    pub(crate) fn new(sql: impl Into<String>, binds: Vec<Bind>) -> Self {
        Statement {
            sql: sql.into(),
            binds,
            cached: true,
        }
    }

    /// A statement whose text will hardly come again.
    pub(crate) fn once(sql: impl Into<String>, binds: Vec<Bind>) -> Self {
        Statement {
            sql: sql.into(),
            binds,
            cached: false,
        }
    }
}

/// Which statements about one table stay prepared: the first so many that came. Clients choose the sets of
/// columns that they write, and could choose ever new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<HashSet<u64>>>);

/// Statements kept for a table on each connection.
const KEPT: usize = 64;

impl Kept {
    /// The statement, prepared once a connection if it is one of those that are kept.
    pub(crate) fn statement(&self, sql: String, binds: Vec<Bind>) -> Statement {
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let text = hasher.finish();
        let cached = self
            .0
            .lock()
            .is_ok_and(|mut kept| kept.contains(&text) || (kept.len() < KEPT && kept.insert(text)));
        Statement { sql, binds, cached }
    }
}

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl<Conn> RunQueryDsl<Conn> for Statement {}

impl Statement {
    /// Walks the text from placeholder to placeholder: `text` takes a piece of SQL, `bind` a value.
    fn walk<'b, Out>(
        &'b self,
        out: &mut Out,
        text: impl Fn(&mut Out, &str),
        bind: impl Fn(&mut Out, &'b Bind) -> QueryResult<()>,
    ) -> QueryResult<()> {
        let mut pieces = pieces(&self.sql);
        text(out, pieces.next().unwrap_or_default());
        let mut binds = self.binds.iter();
        for piece in pieces {
            let missing = || Error::QueryBuilderError("more placeholders than values".into());
            bind(out, binds.next().ok_or_else(missing)?)?;
            text(out, piece);
        }
        match binds.next() {
            None => Ok(()),
            Some(_) => Err(Error::QueryBuilderError(
                "more values than placeholders".into(),
            )),
        }
    }
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.cached {
            out.unsafe_to_cache_prepared();
        }
        self.walk(
            &mut out,
            |out, sql| out.push_sql(sql),
            |out, bind| match bind {
                Bind::Null => out.push_bind_param::<Nullable<Text>, _>(&None::<String>),
                Bind::Int(n) => out.push_bind_param::<BigInt, _>(n),
                Bind::Real(x) => out.push_bind_param::<Double, _>(x),
                Bind::Text(text) => out.push_bind_param::<Text, _>(text),
                Bind::Bytes(bytes) => out.push_bind_param::<Binary, _>(bytes),
                Bind::Texts(texts) => out.push_bind_param::<Array<Nullable<Text>>, _>(texts),
                Bind::Ints(ints) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(ints),
                Bind::Times(times) => out.push_bind_param::<Array<Nullable<Timestamptz>>, _>(times),
            },
        )
    }
}

impl QueryFragment<Sqlite> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        if !self.cached {
            out.unsafe_to_cache_prepared();
        }
        self.walk(
            &mut out,
            |out, sql| out.push_sql(sql),
            |out, bind| match bind {
                Bind::Null => out.push_bind_param::<Nullable<Text>, _>(&None::<String>),
                Bind::Int(n) => out.push_bind_param::<BigInt, _>(n),
                Bind::Real(x) => out.push_bind_param::<Double, _>(x),
                Bind::Text(text) => out.push_bind_param::<Text, _>(text),
                Bind::Bytes(bytes) => out.push_bind_param::<Binary, _>(bytes),
                Bind::Texts(_) | Bind::Ints(_) | Bind::Times(_) => {
                    Err(Error::QueryBuilderError("SQLite binds no arrays".into()))
                }
            },
        )
    }
}

impl QueryableByName<Pg> for DynRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let mut cells = Vec::with_capacity(row.field_count());
        for at in 0..row.field_count() {
            let field = Row::get(row, at).ok_or("a row without the field it counts")?;
            cells.push(match field.value() {
                None => Cell::Null,
                Some(value) => pg_cell(value.get_oid().get(), value.as_bytes())?,
            });
        }
        Ok(DynRow(cells))
    }
}

impl QueryableByName<Sqlite> for DynRow {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let mut cells = Vec::with_capacity(row.field_count());
        for at in 0..row.field_count() {
            let field = Row::get(row, at).ok_or("a row without the field it counts")?;
            let Some(mut value) = field.value() else {
                cells.push(Cell::Null);
                continue;
            };
            cells.push(match value.value_type() {
                None => Cell::Null,
                Some(SqliteType::Text) => Cell::Text(value.read_text().to_owned()),
                Some(SqliteType::Binary) => Cell::Bytes(value.read_blob().to_vec()),
                Some(SqliteType::Float | SqliteType::Double) => Cell::Real(value.read_double()),
                Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => {
                    Cell::Int(value.read_long())
                }
            });
        }
        Ok(DynRow(cells))
    }
}

/// Days and µs from 1970 to 2000, where PostgreSQL's binary dates and times begin.
const PG_EPOCH_DAYS: i64 = 10_957;
const PG_EPOCH_MICROS: i64 = PG_EPOCH_DAYS * 86_400_000_000;

/// Reads PostgreSQL's binary format by the type's OID (pg_type.dat). Types not listed here are cast to
/// text by the SQL that asks for them.
fn pg_cell(oid: u32, bytes: &[u8]) -> deserialize::Result<Cell> {
    let text = |bytes: &[u8]| -> deserialize::Result<Cell> {
        Ok(Cell::Text(std::str::from_utf8(bytes)?.to_owned()))
    };
    Ok(match oid {
        16 => Cell::Bool(bytes.first().is_some_and(|&b| b != 0)),
        17 => Cell::Bytes(bytes.to_vec()),
        20 => Cell::Int(i64::from_be_bytes(bytes.try_into()?)),
        21 => Cell::Int(i16::from_be_bytes(bytes.try_into()?).into()),
        23 => Cell::Int(i32::from_be_bytes(bytes.try_into()?).into()),
        26 => Cell::Int(u32::from_be_bytes(bytes.try_into()?).into()),
        700 => Cell::Real(f32::from_be_bytes(bytes.try_into()?).into()),
        701 => Cell::Real(f64::from_be_bytes(bytes.try_into()?)),
        1082 => match i32::from_be_bytes(bytes.try_into()?) {
            i32::MAX => Cell::Int(i64::MAX),
            i32::MIN => Cell::Int(i64::MIN),
            days => Cell::Int(i64::from(days) + PG_EPOCH_DAYS),
        },
        1083 => Cell::Int(i64::from_be_bytes(bytes.try_into()?)),
        1114 | 1184 => match i64::from_be_bytes(bytes.try_into()?) {
            infinite @ (i64::MAX | i64::MIN) => Cell::Int(infinite),
            micros => Cell::Int(micros.saturating_add(PG_EPOCH_MICROS)),
        },
        2950 => Cell::Text(uuid::Uuid::from_slice(bytes)?.to_string()),
        3802 => text(bytes.get(1..).unwrap_or_default())?,
        18 | 19 | 25 | 114 | 705 | 1042 | 1043 => text(bytes)?,
        other => return Err(format!("no reader for values of type {other}").into()),
    })
}

impl Cell {
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Cell::Int(n) => Some(*n),
            Cell::Null | Cell::Bool(_) | Cell::Real(_) | Cell::Text(_) | Cell::Bytes(_) => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Bool(_) | Cell::Int(_) | Cell::Real(_) | Cell::Bytes(_) => None,
        }
    }
}
