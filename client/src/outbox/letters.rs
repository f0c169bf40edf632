//! What the app is told of its edits: those that the server refused, until they are retried or discarded,
//! and those that met someone else's.

use colsync_shared::Time;
use colsync_shared::receipt::Receipt;
use colsync_shared::sqlite::Stored;
use serde_json::Value as Json;
use uuid::Uuid;

use super::edit::WireEdit;
use crate::error::Error;
use crate::file::File;

/// Conflicts kept; older ones are in the server's ledger.
const KEPT_CONFLICTS: i64 = 10_000;

/// A conflict as it is noted.
pub(crate) struct Conflict<'a> {
    pub(crate) column: Option<&'a str>,
    pub(crate) outcome: &'a str,
    pub(crate) base: Option<Json>,
    pub(crate) mine: Option<Json>,
    pub(crate) theirs: Option<Json>,
    pub(crate) result: Option<Json>,
    pub(crate) conflict: Option<Uuid>,
}

/// Keeps an edit that the server refused.
pub(crate) fn add(
    file: &mut File,
    edit: &WireEdit,
    receipt: &Receipt,
    now: Time,
) -> Result<(), Error> {
    let (code, detail, field) = match &receipt.rejection {
        Some(rejection) => (
            rejection.code.as_str(),
            rejection.detail.as_str(),
            rejection.field.as_deref(),
        ),
        None => ("rejected", "the server gave no reason", None),
    };
    add_refused(file, edit, (code, detail, field), now)
}

/// Keeps an edit that the server refused for this (code, detail, field).
pub(crate) fn add_refused(
    file: &mut File,
    edit: &WireEdit,
    (code, detail, field): (&str, &str, Option<&str>),
    now: Time,
) -> Result<(), Error> {
    let body = serde_json::to_string(edit)
        .map_err(|broken| Error::Corrupt(format!("a refused edit: {broken}")))?;
    let text = |text: &str| Stored::Text(text.to_owned());
    file.execute(
        "INSERT INTO colsync_dead_letters (table_name, id, edit, code, detail, field, at_ms) \
         VALUES (:?, :?, :?, :?, :?, :?, :?)",
        &[
            text(&edit.table),
            text(&edit.id),
            Stored::Text(body),
            text(code),
            text(detail),
            field.map_or(Stored::Null, text),
            Stored::Int(now.micros() / 1000),
        ],
    )?;
    Ok(())
}

/// Notes a conflict for the app, and forgets the oldest.
pub(crate) fn note_conflict(
    file: &mut File,
    edit: &WireEdit,
    conflict: &Conflict<'_>,
    now: Time,
) -> Result<(), Error> {
    let text = |text: &str| Stored::Text(text.to_owned());
    let json = |value: &Option<Json>| match value {
        Some(value) => Stored::Text(value.to_string()),
        None => Stored::Null,
    };
    file.execute(
        "INSERT INTO colsync_conflicts \
         (table_name, id, column_name, outcome, base, mine, theirs, result, conflict, at_ms) \
         VALUES (:?, :?, :?, :?, :?, :?, :?, :?, :?, :?)",
        &[
            text(&edit.table),
            text(&edit.id),
            conflict.column.map_or(Stored::Null, text),
            text(conflict.outcome),
            json(&conflict.base),
            json(&conflict.mine),
            json(&conflict.theirs),
            json(&conflict.result),
            conflict
                .conflict
                .map_or(Stored::Null, |id| Stored::Text(id.to_string())),
            Stored::Int(now.micros() / 1000),
        ],
    )?;
    file.execute(
        "DELETE FROM colsync_conflicts WHERE number <= (SELECT max(number) FROM colsync_conflicts) - :?",
        &[Stored::Int(KEPT_CONFLICTS)],
    )?;
    Ok(())
}
