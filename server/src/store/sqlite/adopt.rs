//! The SQL that makes an existing SQLite table a synced one.
//!
//! SQLite's triggers name every column, so they are compared with what they should be whenever a plan is
//! made, and made anew when the table has changed. No row is rewritten: every added column has a
//! constant default. Nor has any an entry in the feed's index, as adopted rows have the feed position 0, which every
//! horizon sees.

mod triggers;
mod values;

pub(crate) use values::key_problems;

use colsync_shared::{ClientId, Time};
use diesel::connection::SimpleConnection as _;
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

use super::introspect;
use crate::edges;
use crate::store::adopt::{
    AdoptError, HAS_MOVED, Problem, Refusal, forgotten_history, missing_metadata, problems,
};
use crate::store::introspected::{Introspected, METADATA};
use crate::store::statement::{Bind, Cell, DynRow, Statement};
use colsync_shared::sql::{literal, quote};

/// The statements, in order, that adopt those of `tables` that are not adopted yet, and repair those
/// whose columns, index or triggers are missing or outdated. Empty if all is well.
///
/// # Errors
/// If any of the tables cannot be synced, with every reason; or if the database fails.
pub(crate) fn plan(
    conn: &mut SqliteConnection,
    tables: &[String],
    now: Time,
) -> Result<Vec<String>, AdoptError> {
    let mut statements = Vec::new();
    let mut refusals = Vec::new();
    for table in tables {
        let found = introspect::table(conn, table)?;
        let is_registered = is_registered(conn, table)?;
        let problems = match &found {
            None => vec![Problem::Missing],
            Some(found) => {
                let mut problems = problems(found, is_registered);
                if !found.adopted {
                    problems.extend(values::problems(conn, table, found)?);
                }
                problems
            }
        };
        match found {
            Some(found) if problems.is_empty() => {
                statements.extend(statements_for(conn, table, &found, is_registered, now)?);
            }
            _ => refusals.push(Refusal {
                table: table.clone(),
                problems,
            }),
        }
    }
    if refusals.is_empty() {
        Ok(statements)
    } else {
        Err(AdoptError::Refused(refusals))
    }
}

/// Runs what [`plan`] returned, all or nothing.
///
/// # Errors
/// If the database fails.
pub(crate) fn apply(conn: &mut SqliteConnection, statements: &[String]) -> QueryResult<()> {
    conn.immediate_transaction(|conn| {
        for statement in statements {
            conn.batch_execute(statement)?;
        }
        Ok(())
    })
}

fn is_registered(conn: &mut SqliteConnection, table: &str) -> QueryResult<bool> {
    let sql = "SELECT name FROM colsync_tables WHERE name = :?";
    let rows: Vec<DynRow> = Statement::new(sql, vec![Bind::Text(table.to_owned())]).load(conn)?;
    Ok(!rows.is_empty())
}

fn statements_for(
    conn: &mut SqliteConnection,
    table: &str,
    found: &Introspected,
    is_registered: bool,
    now: Time,
) -> QueryResult<Vec<String>> {
    let mut statements = Vec::new();
    let missing = missing_metadata(found);
    let is_new = missing.len() == METADATA.len();
    for name in &missing {
        statements.push(format!(
            "ALTER TABLE {} ADD COLUMN {};",
            quote(table),
            column(name, now)
        ));
    }
    statements.extend(forgotten_history(is_registered, &missing));
    statements.extend(index(conn, table, found)?);
    let uniques = introspect::uniques(conn, table)?;
    let expected = triggers::all(table, found, &uniques);
    statements.extend(changed_triggers(conn, table, &expected)?);
    // A table that was dropped and made anew is another one, and its rows are not the buried ones.
    if is_new {
        let name = literal(table);
        statements.push(format!(
            "DELETE FROM colsync_tables WHERE name = {name};\n\
             DELETE FROM colsync_tombstones WHERE table_name = {name};\n\
             DELETE FROM colsync_replaced WHERE table_name = {name};"
        ));
    }
    if is_new || !is_registered {
        statements.push(format!(
            "INSERT INTO colsync_tables (id, name, adopted_at) VALUES ({}, {}, {});",
            edges::table_id(),
            literal(table),
            now.micros()
        ));
    }
    Ok(statements)
}

fn column(name: &str, now: Time) -> String {
    let now = now.micros();
    let definition = match name {
        "sync_version" => "INTEGER NOT NULL DEFAULT 1".to_owned(),
        "sync_deleted_at" => "INTEGER".to_owned(),
        "sync_server_last_updated" => format!("INTEGER NOT NULL DEFAULT {now}"),
        "sync_client_last_updated" => format!("INTEGER DEFAULT {now}"),
        "sync_client_id" => {
            format!(
                "BLOB NOT NULL DEFAULT x'{}'",
                ClientId::DIRECT_SQL.0.simple()
            )
        }
        "sync_stamps" => "TEXT".to_owned(),
        _ => "INTEGER NOT NULL DEFAULT 0".to_owned(),
    };
    format!("{name} {definition}")
}

/// The feed's index, unless there is one with its columns; one made by an earlier version has all rows in it.
fn index(
    conn: &mut SqliteConnection,
    table: &str,
    found: &Introspected,
) -> QueryResult<Option<String>> {
    let name = format!("colsync_{table}_feed");
    let keys = found.key_columns();
    let columns: Vec<&str> = std::iter::once("sync_txid")
        .chain(keys.iter().map(|column| column.name.as_str()))
        .collect();
    let sql = "
        SELECT i.name FROM pragma_index_info(:?) AS i, sqlite_master AS m
        WHERE m.type = 'index' AND m.name = :? AND m.tbl_name = :? COLLATE NOCASE
        ORDER BY i.seqno";
    let binds = vec![
        Bind::Text(name.clone()),
        Bind::Text(name.clone()),
        Bind::Text(table.to_owned()),
    ];
    let rows: Vec<DynRow> = Statement::new(sql, binds).load(conn)?;
    let present = rows.iter().map(|row| row.0.first().and_then(Cell::text));
    if present.eq(columns.iter().map(|&name| Some(name))) {
        return Ok(None);
    }
    let quoted: Vec<String> = columns.iter().map(|name| quote(name)).collect();
    Ok(Some(format!(
        "DROP INDEX IF EXISTS {index};\nCREATE INDEX {index} ON {} ({}) WHERE {HAS_MOVED};",
        quote(table),
        quoted.join(", "),
        index = quote(&name),
    )))
}

/// Drops the triggers of colsync's that should not be there as they are, and makes those that should.
/// SQLite keeps a trigger's text as it was written, and rewrites it when a column is renamed.
fn changed_triggers(
    conn: &mut SqliteConnection,
    table: &str,
    expected: &[(String, String)],
) -> QueryResult<Vec<String>> {
    let sql = "
        SELECT name, sql FROM sqlite_master
        WHERE type = 'trigger' AND tbl_name = :? COLLATE NOCASE AND substr(name, 1, length(:?)) = :?
        ORDER BY name";
    let prefix = || Bind::Text(introspect::TRIGGER_PREFIX.to_owned());
    let binds = vec![Bind::Text(table.to_owned()), prefix(), prefix()];
    let rows: Vec<DynRow> = Statement::new(sql, binds).load(conn)?;
    let mut present: Vec<(&str, &str)> = Vec::new();
    for row in &rows {
        if let [Cell::Text(name), Cell::Text(sql)] = row.0.as_slice() {
            present.push((name, sql));
        }
    }
    let is_as_expected = |&(name, sql): &(&str, &str)| {
        expected
            .iter()
            .any(|(other_name, other_sql)| name == other_name && sql == other_sql)
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = present.into_iter().partition(is_as_expected);
    let mut statements: Vec<String> = dropped
        .iter()
        .map(|(name, _)| format!("DROP TRIGGER {};", quote(name)))
        .collect();
    statements.extend(
        expected
            .iter()
            .filter(|(name, _)| !kept.iter().any(|(has, _)| has == name))
            .map(|(_, sql)| format!("{sql};")),
    );
    Ok(statements)
}
