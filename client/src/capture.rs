//! Capture: which tables are tracked, the triggers that note what the app writes, and the log they append to.
//!
//! Knows the file and nothing of the server: what the log means for a push is for the outbox to say.

mod introspect;
pub(crate) mod lines;
mod repair;
mod tokens;
mod triggers;

#[cfg(test)]
mod tests;

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;
use serde::Serialize;

use crate::error::Error;
use crate::file::{File, Meta};
use crate::table::LocalTable;

use introspect::Shape;

/// The last number among those of the tables, and of the push that has no answer.
const LAST_NUMBER: &str = "
    SELECT max(
        (SELECT coalesce(max(number), 0) FROM colsync_tables),
        (SELECT coalesce(max(table_number), 0) FROM colsync_sent))";

/// Counts up with each change of the triggers' text, so that files get the new ones.
const TRIGGERS: i64 = 3;

const REGISTER: &str = "INSERT INTO colsync_tables (number, name, columns) VALUES (:?, :?, :?)";

/// A table whose edits are captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tracked {
    /// Its name, as the file spells it.
    pub table: String,
    /// How many of its columns are captured.
    pub columns: usize,
    /// How many rows it had already: they count as inserted. 0 if it was tracked before.
    pub existing: usize,
}

/// Captures what the app writes to `table` from now on. The rows that it has are edits too: no server has
/// seen them. On a table that is tracked, it only mends the triggers.
///
/// # Errors
/// [`Error::Untrackable`] if it is no ordinary table with a primary key.
pub(crate) fn track(file: &mut File, table: &str) -> Result<Tracked, Error> {
    file.write(|file| {
        let tracked = repair::all(file)?;
        if let Some(table) = tracked.iter().find(|one| is_called(one, table)) {
            return Ok(Tracked {
                table: table.name.clone(),
                columns: table.columns.len(),
                existing: 0,
            });
        }
        let number = next_number(file)?;
        let shape = introspect::shape(file, table, number)?;
        file.execute(
            REGISTER,
            &[
                Stored::Int(number),
                Stored::Text(shape.table.name.clone()),
                columns_as_json(&shape.table)?,
            ],
        )?;
        repair::make_triggers(file, &shape)?;
        let existing = note_existing(file, &shape)?;
        note_schema_version(file)?;
        Ok(Tracked {
            columns: shape.table.columns.len(),
            table: shape.table.name,
            existing,
        })
    })
}

/// Stops capturing a table and forgets what was captured of it. The table itself stays as it is.
///
/// # Errors
/// [`Error::Unpushed`] if it has edits and they are not to be dropped; [`Error::Unknown`] if it is not
/// tracked.
pub(crate) fn untrack(file: &mut File, table: &str, drop_unpushed: bool) -> Result<(), Error> {
    file.write(|file| {
        // What was written to a column that the triggers do not know yet is an edit, too.
        repair::all(file)?;
        let registered = repair::registered(file)?;
        let found = registered
            .into_iter()
            .find(|one| one.name.eq_ignore_ascii_case(table))
            .ok_or_else(|| Error::Unknown {
                what: "tracked table",
                name: table.to_owned(),
            })?;
        let number = Stored::Int(found.number);
        let edits = file.int(
            "SELECT count(DISTINCT row_id) FROM colsync_log WHERE table_number = :?",
            std::slice::from_ref(&number),
        )?;
        if edits > 0 && !drop_unpushed {
            return Err(Error::Unpushed {
                table: found.name,
                edits,
            });
        }
        repair::drop_triggers(file, found.number)?;
        for (rows, column) in [
            ("colsync_log", "table_number"),
            ("colsync_versions", "table_number"),
            ("colsync_held", "table_number"),
            ("colsync_seen", "table_number"),
            ("colsync_tables", "number"),
        ] {
            file.execute_once(
                &format!("DELETE FROM {rows} WHERE {column} = :?"),
                std::slice::from_ref(&number),
            )?;
        }
        Ok(())
    })
}

/// The tracked tables as they are now. Whenever the file's schema has changed, it first mends the triggers
/// and what is known of the tables.
pub(crate) fn refresh(file: &mut File) -> Result<Vec<LocalTable>, Error> {
    let as_known = file.read(|file| {
        let kept = file.meta(Meta::SchemaVersion)?;
        let is_known = kept == Some(schema_version(file)?);
        is_known.then(|| repair::as_they_are(file)).transpose()
    })?;
    match as_known {
        Some(tables) => Ok(tables),
        None => file.write(repair::all),
    }
}

/// The number of a table that is new: none that another had, whose pushes and pulls may be under way.
fn next_number(file: &mut File) -> Result<i64, Error> {
    let known = file.int(LAST_NUMBER, &[])?;
    let given = file.meta_int(Meta::TableNumber)?.unwrap_or(0);
    let number = known.max(given) + 1;
    file.set_meta(Meta::TableNumber, Some(&number.to_string()))?;
    Ok(number)
}

/// Appends the lines of the rows that are there already.
fn note_existing(file: &mut File, shape: &Shape) -> Result<usize, Error> {
    let table = quote(&shape.table.name);
    let id = shape.table.id_expression(&table);
    file.execute_once(
        &format!(
            "INSERT INTO colsync_log (op, table_number, row_id, at_ms) \
             SELECT 1, {}, {id}, {} FROM {table} WHERE {id} IS NOT NULL",
            shape.table.number,
            triggers::NOW_MS,
        ),
        &[],
    )
}

fn columns_as_json(table: &LocalTable) -> Result<Stored, Error> {
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    match serde_json::to_string(&names) {
        Ok(json) => Ok(Stored::Text(json)),
        Err(failure) => Err(Error::Corrupt(failure.to_string())),
    }
}

fn is_called(table: &LocalTable, name: &str) -> bool {
    table.name.eq_ignore_ascii_case(name)
}

/// What the triggers are right for: SQLite's count of changes to the schema, and the kind of triggers.
fn schema_version(file: &mut File) -> Result<String, Error> {
    let version = file.int("PRAGMA schema_version", &[])?;
    Ok(format!("{version}/{TRIGGERS}"))
}

/// Keeps the schema's version as the one for which the triggers are right.
fn note_schema_version(file: &mut File) -> Result<(), Error> {
    let version = schema_version(file)?;
    file.set_meta(Meta::SchemaVersion, Some(&version))
}

/// Mends the triggers inside the open transaction, whatever was done to the app's: SQLite runs the trigger
/// first that was made last, so colsync's are to be the last.
pub(crate) fn mend(file: &mut File) -> Result<(), Error> {
    repair::all(file).map(drop)
}
