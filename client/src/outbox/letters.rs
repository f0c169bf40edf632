//! What the app is told of its edits: those that the server refused, until they are retried or discarded,
//! and those that met someone else's.

use colsync_shared::receipt::{Outcome, Receipt};
use colsync_shared::sqlite::Stored;
use colsync_shared::{Op, Time};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::edit::WireEdit;
use crate::error::Error;
use crate::file::File;

/// Conflicts kept; older ones are in the server's ledger.
const KEPT_CONFLICTS: i64 = 10_000;

/// An edit of one column, or of a row, that met someone else's.
pub(crate) struct Conflict {
    column: Option<String>,
    outcome: &'static str,
    base: Option<Json>,
    mine: Option<Json>,
    theirs: Option<Json>,
    result: Option<Json>,
    conflict: Option<Uuid>,
}

impl Conflict {
    /// What an edit replaced at a server that keeps no ledger: mine, theirs, and the result.
    pub(crate) fn without_ledger(
        column: Option<String>,
        outcome: &'static str,
        base: Option<Json>,
        [mine, theirs, result]: [Json; 3],
    ) -> Conflict {
        Conflict {
            column,
            outcome,
            base,
            mine: Some(mine),
            theirs: Some(theirs),
            result: Some(result),
            conflict: None,
        }
    }
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
    let body = serde_json::to_string(edit)
        .map_err(|broken| Error::Corrupt(format!("a refused edit: {broken}")))?;
    let text = |text: &str| Stored::Text(text.to_owned());
    file.execute(
        "INSERT INTO colsync_dead_letters (table_name, id, edit, code, detail, field, at_ms) \
         VALUES (:?, :?, :?, :?, :?, :?, :?)",
        &[
            text(&edit.table),
            text(edit.id.as_deref().unwrap_or_default()),
            Stored::Text(body),
            text(code),
            text(detail),
            field.map_or(Stored::Null, text),
            Stored::Int(now.micros() / 1000),
        ],
    )?;
    Ok(())
}

/// What a receipt tells of columns, and of the row, that met someone else's edit. `original` gives a column's
/// Original, `picks_one` says whether a merge of it makes one of both values current.
pub(crate) fn conflicts(
    edit: &WireEdit,
    receipt: &Receipt,
    original: impl Fn(&str) -> Option<Json>,
    picks_one: impl Fn(&str) -> bool,
) -> Vec<Conflict> {
    // A whole row that lost has one entry in the ledger for all its columns.
    let of_whole = receipt.conflicts.first().copied();
    let of_whole = of_whole.filter(|_| edit.op == Op::Replace);
    let of_columns = receipt.columns.iter().filter_map(|(name, column)| {
        let mine = edit.columns.get(name).map(|sent| sent.value.clone());
        let result = column.value.clone().or_else(|| mine.clone());
        let (outcome, theirs) = match column.outcome {
            Outcome::Applied | Outcome::Unchanged => return None,
            Outcome::Merged if picks_one(name) => ("merged", column.value.clone()),
            // What there was before it was merged, the receipt does not say.
            Outcome::Merged => ("merged", None),
            Outcome::Superseded => ("superseded", result.clone()),
            Outcome::Held => ("held", result.clone()),
        };
        Some(Conflict {
            column: Some(name.clone()),
            outcome,
            base: original(name),
            mine,
            theirs,
            result,
            conflict: column.conflict.or(of_whole),
        })
    });
    let deletes = matches!(edit.op, Op::Delete | Op::HardDelete);
    let deleted = |is_so: bool| Some(json!({ "deleted": is_so }));
    let of_row = receipt.conflicts.iter().filter(|_| of_whole.is_none());
    let of_row = of_row.map(|id| Conflict {
        column: None,
        outcome: "deleted",
        base: None,
        mine: deleted(deletes),
        theirs: deleted(!deletes),
        result: deleted(receipt.deleted),
        conflict: Some(*id),
    });
    of_columns.chain(of_row).collect()
}

/// Keeps conflicts for the app, and forgets the oldest.
pub(crate) fn note_conflicts(
    file: &mut File,
    edit: &WireEdit,
    conflicts: Vec<Conflict>,
    now: Time,
) -> Result<(), Error> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let text = |text: &str| Stored::Text(text.to_owned());
    let json = |value: &Option<Json>| match value {
        Some(value) => Stored::Text(value.to_string()),
        None => Stored::Null,
    };
    for conflict in conflicts {
        file.execute(
            "INSERT INTO colsync_conflicts \
             (table_name, id, column_name, outcome, base, mine, theirs, result, conflict, at_ms) \
             VALUES (:?, :?, :?, :?, :?, :?, :?, :?, :?, :?)",
            &[
                text(&edit.table),
                text(edit.id.as_deref().unwrap_or_default()),
                conflict.column.as_deref().map_or(Stored::Null, text),
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
    }
    file.execute(
        "DELETE FROM colsync_conflicts WHERE number <= (SELECT max(number) FROM colsync_conflicts) - :?",
        &[Stored::Int(KEPT_CONFLICTS)],
    )?;
    Ok(())
}
