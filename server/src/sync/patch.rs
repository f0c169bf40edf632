//! From a patch document and the row under its lock to an edit that names its values.

use std::collections::BTreeMap;
use std::{io, slice};

use colsync_shared::receipt::Rejection;
use colsync_shared::{ColumnEdit, Edit, Op, RowKey, Table, Time, Value, wire};
use json_patch::{CopyOperation as PatchCopy, MoveOperation as PatchMove, PatchOperation};
use serde_json::{Map, Value as Json};

use super::submission::{Bounds, Patch};

/// The edit that `patch` makes of a row with these `values`. Columns that the patch does not name are
/// not part of it, whatever they hold.
///
/// # Errors
/// `patch_test_failed` if a `test` fails, `malformed_patch` if a path leads nowhere, `too_deep` and
/// `too_many_operations` beyond the patch's bounds, and what
/// [`wire::writable`] and [`wire::value`] refuse.
pub(crate) fn resolve(
    table: &Table,
    key: &RowKey,
    values: &[Value],
    patch: &Patch,
    base_version: Option<i64>,
    at: Time,
) -> Result<Edit, Rejection> {
    let edited = match patch {
        Patch::Merge(members) => merged(table, values, members),
        Patch::Operations(operations, bounds) => patched(table, values, operations, *bounds)?,
    };
    let mut columns = Vec::with_capacity(edited.len());
    for Edited {
        name,
        value,
        within,
    } in edited
    {
        if let Some(column) = wire::writable(table, Some(key), &name, &value)? {
            let value = wire::value(table, column, &value)?;
            // A change inside a document that leaves all that it has was made of the document as it is. Of what it
            // replaces or removes, only the edit's version tells whether it was in view.
            let base = values
                .get(column)
                .filter(|current| within && keeps_all(current, &value))
                .cloned();
            columns.push(ColumnEdit {
                column,
                value,
                base,
                base_version: None,
                at,
            });
        }
    }
    Ok(Edit {
        unseen: Vec::new(),
        key: Some(key.clone()),
        op: Op::Update,
        base_version,
        at,
        columns,
    })
}

/// Whether an edited document still has all of the one that it was made of.
fn keeps_all(current: &Value, edited: &Value) -> bool {
    match (current, edited) {
        (Value::Json(current), Value::Json(edited)) => keeps(current, edited),
        _ => current == edited,
    }
}

fn keeps(current: &Json, edited: &Json) -> bool {
    match (current, edited) {
        (Json::Object(current), Json::Object(edited)) => current
            .iter()
            .all(|(name, member)| edited.get(name).is_some_and(|other| keeps(member, other))),
        (Json::Array(current), Json::Array(edited)) => {
            let mut rest = edited.iter();
            current.iter().all(|item| rest.any(|other| other == item))
        }
        _ => current == edited,
    }
}

/// A column that a patch names.
struct Edited {
    name: String,
    value: Json,
    /// Whether the patch changes members inside the column's document, not the column as a whole.
    within: bool,
}

/// A merge patch reaches into a document column if both sides are objects; any other member replaces.
fn merged(table: &Table, values: &[Value], members: &Map<String, Json>) -> Vec<Edited> {
    let edited = members.iter().map(|(name, member)| {
        let current = table.position(name).and_then(|at| values.get(at));
        let (mut value, within) = match (current, member) {
            (Some(Value::Json(document)), Json::Object(_)) if document.is_object() => {
                (document.clone(), true)
            }
            _ => (Json::Null, false),
        };
        json_patch::merge(&mut value, member);
        Edited {
            name: name.clone(),
            value,
            within,
        }
    });
    edited.collect()
}

fn patched(
    table: &Table,
    values: &[Value],
    operations: &json_patch::Patch,
    bounds: Bounds,
) -> Result<Vec<Edited>, Rejection> {
    let named = named_columns(operations)?;
    let mut document = representation(table, values);
    let mut room = bounds.bytes;
    for (number, operation) in operations.0.iter().enumerate() {
        room = bounded(&document, operation, bounds, room)
            .map_err(|refused| refused.field(operation.path().to_string()))?;
        json_patch::patch(&mut document, slice::from_ref(operation)).map_err(|refused| {
            if matches!(refused.kind, json_patch::PatchErrorKind::TestFailed) {
                let detail = format!("operation {number} is a test that failed");
                Rejection::new("patch_test_failed", detail).field(refused.path.to_string())
            } else {
                let detail = format!("operation {number}: the path leads nowhere");
                Rejection::new("malformed_patch", detail).field(refused.path.to_string())
            }
        })?;
    }
    let edited = named.into_iter().map(|(name, within)| {
        // What a patch removes is NULL: a row keeps all its columns.
        let value = document.get(&name).cloned().unwrap_or(Json::Null);
        Edited {
            name,
            value,
            within,
        }
    });
    Ok(edited.collect())
}

/// Refuses an operation that would make more of `document` than the bounds allow. Of the `room` for what is copied
/// and moved, gives back what is left.
fn bounded(
    document: &Json,
    operation: &PatchOperation,
    bounds: Bounds,
    room: usize,
) -> Result<usize, Rejection> {
    let (value, room) = match operation {
        PatchOperation::Add(step) => (&step.value, Some(room)),
        PatchOperation::Replace(step) => (&step.value, Some(room)),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(room),
        PatchOperation::Move(PatchMove { from, .. })
        | PatchOperation::Copy(PatchCopy { from, .. }) => match from.resolve(document) {
            Ok(source) => (source, room.checked_sub(bytes(source))),
            // The patch itself is what refuses that.
            Err(_nowhere) => return Ok(room),
        },
    };
    let room = room.ok_or_else(|| {
        let detail = format!("a patch copies and moves at most {} bytes", bounds.bytes);
        Rejection::new("too_many_operations", detail)
    })?;
    if operation.path().count() + depth(value) > bounds.depth {
        let detail = format!("arrays and objects nest at most {} deep", bounds.depth);
        return Err(Rejection::new("too_deep", detail));
    }
    Ok(room)
}

/// How deep arrays and objects nest in `value`; it is no deeper than what could be read.
fn depth(value: &Json) -> usize {
    let inner = match value {
        Json::Array(elements) => elements.iter().map(depth).max(),
        Json::Object(members) => members.values().map(depth).max(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// The bytes of `value` as JSON.
fn bytes(value: &Json) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, written: &[u8]) -> io::Result<usize> {
            self.0 = self.0.saturating_add(written.len());
            Ok(written.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Counting takes all that is written to it.
    let written = serde_json::to_writer(&mut counted, value);
    debug_assert!(written.is_ok());
    counted.0
}

/// The first step of every path that is written to, and whether all those paths lead further.
fn named_columns(operations: &json_patch::Patch) -> Result<BTreeMap<String, bool>, Rejection> {
    let mut named = BTreeMap::new();
    for operation in &operations.0 {
        let moved = match operation {
            PatchOperation::Test(_) => continue,
            PatchOperation::Move(step) => Some(&step.from),
            PatchOperation::Add(_)
            | PatchOperation::Remove(_)
            | PatchOperation::Replace(_)
            | PatchOperation::Copy(_) => None,
        };
        for path in [Some(operation.path()), moved.map(|from| from.as_ptr())]
            .into_iter()
            .flatten()
        {
            let Some(column) = path.first() else {
                return Err(Rejection::new(
                    "malformed_patch",
                    "a patch names columns, not the whole row",
                ));
            };
            let within = path.count() > 1;
            *named.entry(column.decoded().into_owned()).or_insert(within) &= within;
        }
    }
    Ok(named)
}

/// A row as the REST calls show it: a flat object of its columns.
pub(crate) fn representation(table: &Table, values: &[Value]) -> Json {
    let members = table
        .columns
        .iter()
        .zip(values)
        .map(|(column, value)| (column.name.clone(), column.ty.encode(value)));
    Json::Object(members.collect())
}
