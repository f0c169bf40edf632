//! Keeps capture right as the app changes its schema: it finds renamed tables and columns, notes what was
//! written to new columns before they were captured, and makes triggers anew.
//!
//! All of it runs inside the caller's write transaction.

use std::collections::{BTreeMap, BTreeSet};

use colsync_shared::sql::{literal, quote};
use colsync_shared::sqlite::Stored;

use super::introspect::{self, Shape, Trigger};
use super::{columns_as_json, note_schema_version, tokens, triggers};
use crate::error::Error;
use crate::file::File;
use crate::table::{LocalColumn, LocalTable};

const REGISTERED: &str = "SELECT number, name, columns FROM colsync_tables ORDER BY number";

const IS_TABLE: &str = "
    SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = :? COLLATE NOCASE";

/// A table as `colsync_tables` has it.
pub(super) struct Registered {
    pub(super) number: i64,
    pub(super) name: String,
    /// The captured columns, as they were called when the triggers were made.
    columns: Vec<String>,
}

/// The registered tables.
pub(super) fn registered(file: &mut File) -> Result<Vec<Registered>, Error> {
    let rows = file.load(REGISTERED, &[])?;
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [
                Stored::Int(number),
                Stored::Text(name),
                Stored::Text(columns),
            ] => Ok(Registered {
                number: *number,
                name: name.clone(),
                columns: serde_json::from_str(columns).map_err(|failure| {
                    Error::Corrupt(format!("columns in colsync_tables: {failure}"))
                })?,
            }),
            _ => Err(Error::Corrupt("a row of colsync_tables".to_owned())),
        })
        .collect()
}

/// The tracked tables, which are known to be as they were registered.
pub(super) fn as_they_are(file: &mut File) -> Result<Vec<LocalTable>, Error> {
    let mut shapes = Vec::new();
    for table in registered(file)? {
        shapes.extend(shape_if_any(file, &table.name, table.number)?);
    }
    with_triggers(file, shapes)
}

/// Mends everything, and gives the tracked tables as they are then.
pub(super) fn all(file: &mut File) -> Result<Vec<LocalTable>, Error> {
    let found = introspect::triggers(file)?;
    let tables = registered(file)?;
    let tables = located(file, tables, &found)?;
    let mut shapes = Vec::new();
    for table in tables {
        if let Some(shape) = shape_if_any(file, &table.name, table.number)? {
            mend(file, &table, &shape, &found)?;
            shapes.push(shape);
        }
    }
    note_schema_version(file)?;
    with_triggers(file, shapes)
}

fn with_triggers(file: &mut File, shapes: Vec<Shape>) -> Result<Vec<LocalTable>, Error> {
    let found = introspect::triggers(file)?;
    let names: Vec<String> = shapes.iter().map(|one| one.table.name.clone()).collect();
    let tables = shapes.into_iter().map(|shape| {
        let echoing = introspect::echoing(&found, &shape.table.name, &names);
        LocalTable {
            ending: introspect::ending(&found, &shape.table.name, &echoing),
            echoing,
            ..shape.table
        }
    });
    Ok(tables.collect())
}

/// The table's shape; None, with a warning, if it is gone or can be tracked no longer.
fn shape_if_any(file: &mut File, name: &str, number: i64) -> Result<Option<Shape>, Error> {
    match introspect::shape(file, name, number) {
        Ok(shape) => Ok(Some(shape)),
        Err(Error::Untrackable { table, reasons }) => {
            log::warn!(
                "the tracked table {table} is left out: {}",
                reasons.join("; ")
            );
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// The registered tables under the names that they have now. A renamed table took our triggers along; one
/// that was made anew under its name lost them.
fn located(
    file: &mut File,
    tables: Vec<Registered>,
    found: &[Trigger],
) -> Result<Vec<Registered>, Error> {
    let mut stayed = Vec::new();
    let mut moved = Vec::new();
    let mut gone = Vec::new();
    for table in tables {
        let is_there = file.int(IS_TABLE, &[Stored::Text(table.name.clone())])? > 0;
        let has_triggers = found
            .iter()
            .any(|trigger| trigger.is_ours() && trigger.is_on(&table.name));
        match found.iter().find(|trigger| is_of(trigger, table.number)) {
            Some(trigger) if trigger.is_on(&table.name) => stayed.push(table),
            _ if is_there && !has_triggers => stayed.push(table),
            Some(trigger) => moved.push(Registered {
                name: trigger.table.clone(),
                ..table
            }),
            None => gone.push(table),
        }
    }
    // Names may have been exchanged: all that moved give theirs up first.
    for table in &moved {
        rename(
            file,
            table.number,
            &format!("{}{}", triggers::PREFIX, table.number),
        )?;
    }
    for table in &moved {
        let is_taken = |gone: &&Registered| gone.name.eq_ignore_ascii_case(&table.name);
        if let Some(gone) = gone.iter().find(is_taken) {
            rename(
                file,
                gone.number,
                &format!("{}{}", triggers::PREFIX, gone.number),
            )?;
        }
        log::info!("the tracked table {} has that name now", table.name);
        rename(file, table.number, &table.name)?;
    }
    for table in &gone {
        log::warn!(
            "the tracked table {} is gone; its edits are kept",
            table.name
        );
    }
    stayed.extend(moved);
    stayed.sort_by_key(|table| table.number);
    Ok(stayed)
}

fn rename(file: &mut File, number: i64, name: &str) -> Result<(), Error> {
    file.execute(
        "UPDATE colsync_tables SET name = :? WHERE number = :?",
        &[Stored::Text(name.to_owned()), Stored::Int(number)],
    )?;
    Ok(())
}

fn is_of(trigger: &Trigger, number: i64) -> bool {
    trigger.name.starts_with(&triggers::prefix(number))
}

/// Brings a table's registration, log lines and triggers up to what it is now.
fn mend(
    file: &mut File,
    registered: &Registered,
    shape: &Shape,
    found: &[Trigger],
) -> Result<(), Error> {
    let renamed = renamed(registered, shape, found);
    rename_in_log(file, registered.number, &renamed)?;
    let known: BTreeSet<&str> = registered
        .columns
        .iter()
        .map(|name| renamed.get(name).unwrap_or(name).as_str())
        .collect();
    for (_, column) in shape.values() {
        if !known.contains(column.name.as_str()) {
            note_added(file, shape, column)?;
        }
    }
    let names = shape.table.columns.iter().map(|column| &column.name);
    if !names.eq(&registered.columns) {
        file.execute(
            "UPDATE colsync_tables SET columns = :? WHERE number = :?",
            &[
                columns_as_json(&shape.table)?,
                Stored::Int(registered.number),
            ],
        )?;
    }
    if !are_right(shape, found) {
        make_triggers(file, shape)?;
    }
    Ok(())
}

/// Columns that were renamed, from the old name to the new. SQLite has put the new one into the column's
/// trigger, at the place that the trigger's name tells.
fn renamed(registered: &Registered, shape: &Shape, found: &[Trigger]) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    for (position, old) in registered.columns.iter().enumerate() {
        let name = triggers::of_column(registered.number, position);
        let trigger = found
            .iter()
            .find(|trigger| trigger.name == name && trigger.is_on(&shape.table.name));
        let new = trigger.and_then(|trigger| tokens::waits_for(&trigger.sql));
        if let Some(new) = new.filter(|new| new != old && shape.column(new).is_some()) {
            renamed.insert(old.clone(), new);
        }
    }
    renamed
}

fn rename_in_log(
    file: &mut File,
    number: i64,
    renamed: &BTreeMap<String, String>,
) -> Result<(), Error> {
    if renamed.is_empty() {
        return Ok(());
    }
    // In one statement: names may have been exchanged.
    let cases: Vec<String> = renamed
        .iter()
        .map(|(old, new)| format!("WHEN {} THEN {}", literal(old), literal(new)))
        .collect();
    file.batch(&format!(
        "UPDATE colsync_log SET column_name = CASE column_name {} ELSE column_name END \
         WHERE table_number = {number}",
        cases.join(" "),
    ))
}

/// Whether the table's triggers are there, as they must be, and made after those of the app.
fn are_right(shape: &Shape, found: &[Trigger]) -> bool {
    let on_table: Vec<&Trigger> = found
        .iter()
        .filter(|trigger| trigger.is_on(&shape.table.name))
        .collect();
    let first_of_ours = on_table.iter().position(|trigger| trigger.is_ours());
    let last_of_theirs = on_table.iter().rposition(|trigger| !trigger.is_ours());
    let ours: BTreeMap<&str, &str> = found
        .iter()
        .filter(|trigger| is_of(trigger, shape.table.number))
        .map(|trigger| (trigger.name.as_str(), trigger.sql.as_str()))
        .collect();
    let expected = triggers::all(shape);
    first_of_ours > last_of_theirs
        && ours.len() == expected.len()
        && expected
            .iter()
            .all(|(name, sql)| ours.get(name.as_str()) == Some(&sql.as_str()))
}

/// Appends lines for what was written to a column before we knew it, from the default with which it came.
fn note_added(file: &mut File, shape: &Shape, column: &LocalColumn) -> Result<(), Error> {
    // The default is stored by the column's affinity; a table like it tells how. ANY is a type of STRICT
    // tables alone, and means none.
    let declared = match column.declared.as_str() {
        "" => String::new(),
        any if shape.strict && any.eq_ignore_ascii_case("ANY") => String::new(),
        declared => quote(declared),
    };
    let default = column
        .default
        .as_deref()
        .map_or_else(|| "NULL".to_owned(), tokens::default_value);
    let (table, name) = (quote(&shape.table.name), quote(&column.name));
    let id = shape.table.id_expression(&table);
    // Whatever the app's table is called, it is not called so.
    file.batch(&format!(
        "CREATE TEMP TABLE colsync_default (value {declared} DEFAULT {default});\n\
         INSERT INTO temp.colsync_default DEFAULT VALUES;\n\
         INSERT INTO main.colsync_log (op, table_number, row_id, column_name, old, new, at_ms)\n\
         SELECT 0, {number}, {id}, {literal}, colsync_default.value, {table}.{name}, {now}\n\
         FROM main.{table}, temp.colsync_default\n\
         WHERE ({table}.{name} IS NOT colsync_default.value COLLATE BINARY OR typeof({table}.{name}) <> typeof(colsync_default.value))\n\
         AND {id} IS NOT NULL;\n\
         INSERT INTO main.colsync_log (op, table_number, row_id, column_name, old, at_ms)\n\
         SELECT 2, {number}, l.row_id, {literal}, colsync_default.value, max(l.at_ms)\n\
         FROM main.colsync_log AS l, temp.colsync_default\n\
         WHERE l.table_number = {number} AND l.op = 2 AND l.column_name IS NULL\n\
         AND l.seq > coalesce((SELECT max(s.upto) FROM main.colsync_sent AS s\n\
             WHERE s.table_number = l.table_number AND s.row_id = l.row_id), 0)\n\
         AND l.row_id NOT IN (SELECT {id} FROM main.{table} WHERE {id} IS NOT NULL)\n\
         GROUP BY l.row_id;\n\
         DROP TABLE temp.colsync_default",
        number = shape.table.number,
        literal = literal(&column.name),
        now = triggers::NOW_MS,
    ))
}

/// Makes a table's triggers anew.
///
/// # Errors
/// [`Error::Untrackable`] if the app could not write to the table any more because of them.
pub(super) fn make_triggers(file: &mut File, shape: &Shape) -> Result<(), Error> {
    drop_triggers(file, shape.table.number)?;
    // A trigger or an index of the app's may call functions that only the app has.
    let could_write = compiles(file, shape).is_ok();
    for (_, sql) in triggers::all(shape) {
        file.batch(&sql)?;
    }
    match compiles(file, shape) {
        Err(failure) if could_write => Err(Error::Untrackable {
            table: shape.table.name.clone(),
            reasons: vec![format!("its triggers would fail: {failure}")],
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether statements that write to the table can be prepared, and with them all triggers that they fire.
fn compiles(file: &mut File, shape: &Shape) -> Result<(), Error> {
    let table = quote(&shape.table.name);
    let columns = shape.table.columns.iter();
    let nulls: Vec<String> = columns
        .map(|column| format!("{} = NULL", quote(&column.name)))
        .collect();
    file.batch(&format!(
        "EXPLAIN INSERT INTO {table} DEFAULT VALUES;\n\
         EXPLAIN UPDATE {table} SET {};\n\
         EXPLAIN DELETE FROM {table}",
        nulls.join(", "),
    ))
}

/// Drops the triggers of the table of this number, wherever they are.
pub(super) fn drop_triggers(file: &mut File, number: i64) -> Result<(), Error> {
    for trigger in introspect::triggers(file)? {
        if is_of(&trigger, number) {
            file.batch(&format!("DROP TRIGGER {}", quote(&trigger.name)))?;
        }
    }
    Ok(())
}
