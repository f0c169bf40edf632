//! The SQL that makes an existing PostgreSQL table a synced one.
//!
//! The triggers' functions are the migrations' (internal_tables/up.sql); here they are only attached.
//! No row is rewritten: every added column has a constant default. Nor has any an entry in the feed's index, as
//! adopted rows have the feed position 0, which every horizon sees.

use colsync_shared::{ClientId, Time};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, QueryResult, RunQueryDsl};

use super::introspect;
use super::rows::POSITION;
use crate::edges;
use crate::store::adopt::{
    AdoptError, HAS_MOVED, Problem, Refusal, forgotten_history, missing_metadata, problems,
};
use crate::store::introspected::{Introspected, METADATA};
use crate::store::statement::{Bind, Cell, DynRow, Statement};
use colsync_shared::sql::{literal, quote};

/// The longest name that PostgreSQL does not cut off, in bytes.
const NAME_BYTES: usize = 63;

/// The statements, in order, that adopt those of `tables` that are not adopted yet, and repair those
/// whose columns, index or triggers are missing or no longer fit the key. Empty if all is well.
///
/// # Errors
/// If any of the tables cannot be synced, with every reason; or if the database fails.
pub(crate) fn plan(
    conn: &mut PgConnection,
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
            Some(found) => problems(found, is_registered),
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
pub(crate) fn apply(conn: &mut PgConnection, statements: &[String]) -> QueryResult<()> {
    conn.transaction(|conn| {
        for statement in statements {
            conn.batch_execute(statement)?;
        }
        Ok(())
    })
}

fn is_registered(conn: &mut PgConnection, table: &str) -> QueryResult<bool> {
    let sql = "SELECT name FROM colsync_tables WHERE name = :?";
    let rows: Vec<DynRow> = Statement::new(sql, vec![Bind::Text(table.to_owned())]).load(conn)?;
    Ok(!rows.is_empty())
}

fn statements_for(
    conn: &mut PgConnection,
    table: &str,
    found: &Introspected,
    is_registered: bool,
    now: Time,
) -> QueryResult<Vec<String>> {
    let mut statements = Vec::new();
    let missing = missing_metadata(found);
    let is_new = missing.len() == METADATA.len();
    if !missing.is_empty() {
        statements.push(add_columns(table, &missing, now));
        if missing.contains(&"sync_server_last_updated") {
            // Adopted rows keep what they were given above; new ones are no part of that moment.
            statements.push(format!(
                "ALTER TABLE {} ALTER COLUMN sync_server_last_updated SET DEFAULT now();",
                quote(table)
            ));
        }
    }
    statements.extend(forgotten_history(is_registered, &missing));
    let keys: Vec<&str> = found
        .key_columns()
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    statements.extend(index(conn, table, &keys)?);
    let present = present_triggers(conn, table, &keys)?;
    statements.extend(
        triggers(table, &keys)
            .into_iter()
            .filter(|(name, _)| !present.iter().any(|has| has == name))
            .map(|(_, sql)| sql),
    );
    // A table that was dropped and made anew is another one, and its rows are not the buried ones.
    if is_new {
        let name = literal(table);
        statements.push(format!(
            "DELETE FROM colsync_tables WHERE name = {name};\n\
             DELETE FROM colsync_tombstones WHERE table_name = {name};"
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

/// One ALTER TABLE for all.
fn add_columns(table: &str, missing: &[&'static str], now: Time) -> String {
    let client = ClientId::DIRECT_SQL;
    let columns: Vec<String> = missing
        .iter()
        .map(|&name| {
            let definition = match name {
                "sync_version" => "bigint NOT NULL DEFAULT 1".to_owned(),
                "sync_deleted_at" => "timestamptz".to_owned(),
                "sync_server_last_updated" => {
                    format!("timestamptz NOT NULL DEFAULT '{now}'")
                }
                "sync_client_last_updated" => format!("timestamptz DEFAULT '{now}'"),
                "sync_client_id" => format!("uuid NOT NULL DEFAULT '{client}'"),
                "sync_stamps" => "jsonb".to_owned(),
                _ => "bigint NOT NULL DEFAULT 0".to_owned(),
            };
            format!("ADD COLUMN {name} {definition}")
        })
        .collect();
    format!("ALTER TABLE {} {};", quote(table), columns.join(", "))
}

/// The feed's index, unless there is one with its columns; one made by an earlier version has all rows in it.
fn index(conn: &mut PgConnection, table: &str, keys: &[&str]) -> QueryResult<Option<String>> {
    let columns: Vec<&str> = std::iter::once("sync_txid")
        .chain(keys.iter().copied())
        .collect();
    let name = index_name(table);
    let sql = "
        SELECT ARRAY(
            SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, at)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            ORDER BY k.at
        ) = :?
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = current_schema() AND t.relname = :? AND c.relname = :? AND i.indisvalid";
    let binds = vec![
        Bind::Texts(columns.iter().map(|&name| Some(name.to_owned())).collect()),
        Bind::Text(table.to_owned()),
        Bind::Text(name.clone()),
    ];
    let rows: Vec<DynRow> = Statement::new(sql, binds).load(conn)?;
    if rows.iter().any(|row| row.0 == [Cell::Bool(true)]) {
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

/// `colsync_<table>_feed`. Of a table's name that would make it too long only the beginning stands in
/// it, with a checksum in the place of the rest: another table may begin the same.
fn index_name(table: &str) -> String {
    let name = format!("colsync_{table}_feed");
    if name.len() <= NAME_BYTES {
        return name;
    }
    // FNV-1a.
    let checksum = table.bytes().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let tail = format!("_{checksum:08x}_feed");
    let mut cut = format!("colsync_{table}");
    while cut.len() + tail.len() > NAME_BYTES {
        cut.pop();
    }
    cut + &tail
}

/// Names of colsync's triggers on the table that are whole: with the key's present columns as arguments
/// and not disabled.
fn present_triggers(
    conn: &mut PgConnection,
    table: &str,
    keys: &[&str],
) -> QueryResult<Vec<String>> {
    let sql = "
        SELECT t.tgname::text, t.tgargs FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = current_schema() AND c.relname = :? AND NOT t.tgisinternal
            AND t.tgenabled IN ('O', 'A') AND starts_with(t.tgname::text, :?)";
    let binds = vec![
        Bind::Text(table.to_owned()),
        Bind::Text(introspect::TRIGGER_PREFIX.to_owned()),
    ];
    let rows: Vec<DynRow> = Statement::new(sql, binds).load(conn)?;
    // The catalog keeps arguments one after the other, a NUL after each.
    let expected: Vec<u8> = keys
        .iter()
        .flat_map(|key| key.bytes().chain(std::iter::once(0)))
        .collect();
    Ok(rows
        .iter()
        .filter_map(|row| match row.0.as_slice() {
            [Cell::Text(name), Cell::Bytes(arguments)] if *arguments == expected => {
                Some(name.clone())
            }
            _ => None,
        })
        .collect())
}

/// The triggers by name. Their WHEN clauses let the server's own writes pass: these carry the
/// transaction's position, which a program that knows nothing of sync cannot write by chance.
fn triggers(table: &str, keys: &[&str]) -> Vec<(String, String)> {
    let arguments: Vec<String> = keys.iter().map(|key| literal(key)).collect();
    let arguments = arguments.join(", ");
    let key_moved: Vec<String> = keys
        .iter()
        .map(|key| format!("OLD.{key} IS DISTINCT FROM NEW.{key}", key = quote(key)))
        .collect();
    let key_moved = key_moved.join(" OR ");
    let client = ClientId::DIRECT_SQL;
    let all = [
        (
            "stamp_insert",
            "BEFORE INSERT",
            "ROW",
            format!("WHEN (NEW.sync_txid IS DISTINCT FROM {POSITION}) "),
            "colsync_stamp",
        ),
        (
            "stamp_update",
            "BEFORE UPDATE",
            "ROW",
            format!(
                "WHEN ((NEW.sync_txid = {POSITION} AND (NEW.sync_version > OLD.sync_version \
                 OR NEW.sync_txid <> OLD.sync_txid)) IS NOT TRUE) "
            ),
            "colsync_stamp",
        ),
        ("bury", "AFTER DELETE", "ROW", String::new(), "colsync_bury"),
        (
            "bury_moved",
            "AFTER UPDATE",
            "ROW",
            format!("WHEN ({key_moved}) "),
            "colsync_bury",
        ),
        (
            "unbury",
            "AFTER INSERT",
            "ROW",
            format!("WHEN (NEW.sync_client_id = '{client}') "),
            "colsync_unbury",
        ),
        (
            "unbury_moved",
            "AFTER UPDATE",
            "ROW",
            format!("WHEN ({key_moved}) "),
            "colsync_unbury",
        ),
        (
            "bury_all",
            "BEFORE TRUNCATE",
            "STATEMENT",
            String::new(),
            "colsync_bury_all",
        ),
    ];
    all.into_iter()
        .map(|(name, event, each, when, function)| {
            let name = format!("{}{name}", introspect::TRIGGER_PREFIX);
            let sql = format!(
                "CREATE OR REPLACE TRIGGER {name} {event} ON {} FOR EACH {each} \
                 {when}EXECUTE FUNCTION {function}({arguments});",
                quote(table)
            );
            (name, sql)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_table_names_make_index_names_that_fit_and_differ() {
        assert_eq!(index_name("todos"), "colsync_todos_feed");
        let long = "é".repeat(31);
        let (a, b) = (
            index_name(&format!("{long}a")),
            index_name(&format!("{long}b")),
        );
        assert!(a.len() <= NAME_BYTES && b.len() <= NAME_BYTES);
        assert_ne!(a, b);
    }
}
