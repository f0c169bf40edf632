//! What becomes of an edit: the receipt, and what the app is told of values that its edit replaced.

use std::collections::BTreeMap;

use colsync_shared::merge::row::RowMerge;
use colsync_shared::merge::{LossKind, Side};
use colsync_shared::receipt::{ColumnReceipt, Outcome, Status};
use colsync_shared::{ClientId, Edit, Receipt, Value};
use serde_json::{Map, Value as Json};

use super::landed::{Begun, Replaced, alive, deleted};
use super::look::KnownRow;
use super::mapped::Mapped;
use crate::outbox::letters::Conflict;

/// The receipt of what was written, by the row as it is known afterwards.
pub(super) fn receipt(
    mapped: &Mapped,
    id: &str,
    edit: &Edit,
    begun: &Begun,
    row: &KnownRow,
) -> Receipt {
    let spec = &mapped.spec;
    let mut receipt = Receipt::of(&spec.name, Some(id.to_owned()), Status::Ok);
    receipt.version = Some(row.version);
    // Whoever makes a row has seen all of it, but for what others have written to it since.
    receipt.created = begun.created && row.version == begun.after.version;
    receipt.deleted = row.deleted;
    let cells = row.for_merge(mapped).cells;
    // A base of another history has seen nothing of this one.
    let base = edit.base_version.filter(|&base| base <= row.version);
    for (at, (column, cell)) in spec.columns.iter().zip(&cells).enumerate() {
        if spec.is_key(at) {
            continue;
        }
        let value = column.ty.encode(&cell.value);
        match edit.columns.iter().find(|edited| edited.column == at) {
            Some(edited) => {
                let outcome = begun.outcomes.get(&column.name);
                let column_receipt = ColumnReceipt {
                    outcome: outcome.copied().unwrap_or(Outcome::Applied),
                    value: (edited.value != cell.value).then_some(value),
                    at: cell.stamp.map(|stamp| stamp.time),
                    client: cell.stamp.map(|stamp| stamp.client),
                    conflict: None,
                };
                receipt.columns.insert(column.name.clone(), column_receipt);
            }
            // With these the reader may use the version as its next base.
            None if base.is_none_or(|base| cell.version > base) => {
                receipt.changed.insert(column.name.clone(), value);
            }
            None => {}
        }
    }
    receipt
}

/// What became of each column of the edit.
pub(super) fn outcomes(mapped: &Mapped, merge: &RowMerge) -> BTreeMap<String, Outcome> {
    let columns = merge.columns.iter().filter_map(|(at, merged)| {
        let column = mapped.spec.columns.get(*at)?;
        Some((column.name.clone(), merged.outcome))
    });
    columns.collect()
}

/// What others wrote and the edit of `client` replaces. What the edit itself lost, its receipt tells.
pub(super) fn replaced(mapped: &Mapped, merge: &RowMerge, client: ClientId) -> Vec<Replaced> {
    let mut replaced = Vec::new();
    for loss in &merge.losses {
        let is_mine = loss.lost_stamp.is_some_and(|stamp| stamp.client == client);
        match loss.kind {
            LossKind::Column(at) | LossKind::Blind(at) => {
                let outcome = merge.columns.iter().find(|(column, _)| *column == at);
                let outcome = match outcome.map(|(_, merged)| merged.outcome) {
                    Some(Outcome::Applied) => "applied",
                    Some(Outcome::Merged) if !is_mine => "merged",
                    _ => continue,
                };
                let Some(column) = mapped.spec.columns.get(at) else {
                    continue;
                };
                let side = |side: &Side| encode(mapped, Some(at), side);
                replaced.push(Replaced {
                    column: Some(column.name.clone()),
                    outcome: outcome.to_owned(),
                    base: loss.base.as_ref().map(side),
                    mine: side(&loss.kept),
                    theirs: side(&loss.lost),
                    result: side(&loss.kept),
                });
            }
            LossKind::Deleted | LossKind::Row | LossKind::Group(_) => {
                let (kept, lost) = (
                    encode(mapped, None, &loss.kept),
                    encode(mapped, None, &loss.lost),
                );
                let (mine, theirs) = if is_mine {
                    (lost, kept.clone())
                } else {
                    (kept.clone(), lost)
                };
                replaced.push(Replaced::of_row(mine, theirs, kept));
            }
        }
    }
    replaced
}

/// The same for the list of conflicts.
pub(super) fn conflicts(replaced: &[Replaced]) -> Vec<Conflict> {
    let conflicts = replaced.iter().map(|one| {
        let outcome = match one.outcome.as_str() {
            "applied" => "applied",
            "merged" => "merged",
            _ => "deleted",
        };
        let (mine, theirs) = (one.mine.clone(), one.theirs.clone());
        Conflict::without_ledger(
            one.column.clone(),
            outcome,
            one.base.clone(),
            [mine, theirs, one.result.clone()],
        )
    });
    conflicts.collect()
}

fn encode(mapped: &Mapped, column: Option<usize>, side: &Side) -> Json {
    let told = |at: usize, value: &Value| {
        let column = mapped.spec.columns.get(at);
        column.map_or(Json::Null, |column| column.ty.encode(value))
    };
    let columns = |values: &[(usize, Value)]| -> Map<String, Json> {
        let columns = values.iter().filter_map(|(at, value)| {
            let column = mapped.spec.columns.get(*at)?;
            Some((column.name.clone(), told(*at, value)))
        });
        columns.collect()
    };
    match side {
        Side::Value(value) => column.map_or(Json::Null, |at| told(at, value)),
        Side::Group(values) => Json::Object(columns(values)),
        Side::Deleted => deleted(),
        Side::Alive(values) => alive(columns(values)),
    }
}
