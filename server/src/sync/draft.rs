//! Receipts in the making: what an edit did, kept until the rows it touched are written.

use std::collections::BTreeMap;

use colsync_shared::merge::row::RowMerge;
use colsync_shared::merge::{LossKind, Side};
use colsync_shared::receipt::{ColumnReceipt, Outcome, Rejection, Status};
use colsync_shared::{Edit, Receipt, Table, Value};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::rowstate;
use super::submission::Submission;
use super::workspace::{SlotId, Workspace};
use crate::edges;
use crate::store::ledger::NewConflict;
use crate::store::model::TableInfo;

/// A receipt, or what it will be made from.
pub(super) enum Draft {
    Done(Receipt),
    /// The database refused the edit's row; the ledger is to keep the edit, unless a later round mends it.
    Refused {
        receipt: Receipt,
        entry: Box<NewConflict>,
    },
    /// The row was made; its key and what the database filled in come with the write.
    Made {
        slot: SlotId,
        edit: Edit,
    },
}

impl Draft {
    /// The place of an edit that has not been merged yet.
    pub(super) fn waiting() -> Draft {
        Draft::Done(Receipt::of("", None, Status::RolledBack))
    }

    pub(super) fn is_rejected(&self) -> bool {
        match self {
            Draft::Done(receipt) => receipt.status == Status::Rejected,
            Draft::Refused { .. } => true,
            Draft::Made { .. } => false,
        }
    }

    pub(super) fn finish(self, space: &Workspace) -> Receipt {
        match self {
            Draft::Done(receipt) | Draft::Refused { receipt, .. } => receipt,
            Draft::Made { slot, edit } => made(space, slot, &edit),
        }
    }
}

/// The receipt of an edit that was rejected, by the key it names.
pub(super) fn rejected(table: &TableInfo, edit_key: Option<String>, rejection: Rejection) -> Draft {
    Draft::Done(Receipt::rejected(&table.spec.name, edit_key, rejection))
}

/// The receipt of an edit that made its row.
fn made(space: &Workspace, slot: SlotId, edit: &Edit) -> Receipt {
    let Some(slot) = space.slot(slot) else {
        return Receipt::of("", None, Status::RolledBack);
    };
    let table = &slot.table.spec;
    let Some(row) = &slot.row else {
        // A later edit of the same transaction has removed it again.
        let key = edit.key.as_ref().map(ToString::to_string);
        let mut receipt = Receipt::of(&table.name, key, Status::Ok);
        receipt.version = slot.purged();
        receipt.created = true;
        receipt.deleted = true;
        return receipt;
    };
    let mut receipt = Receipt::of(&table.name, Some(row.key.to_string()), Status::Ok);
    receipt.version = Some(row.version);
    receipt.created = true;
    receipt.deleted = row.deleted_at.is_some();
    for (at, (column, value)) in table.columns.iter().zip(&row.values).enumerate() {
        if table.is_key(at) {
            continue;
        }
        let stamp = rowstate::entry(row, &column.name).stamp;
        match edit.columns.iter().find(|edited| edited.column == at) {
            Some(edited) => {
                let column_receipt = ColumnReceipt {
                    outcome: Outcome::Applied,
                    value: (edited.value != *value).then(|| column.ty.encode(value)),
                    at: stamp.map(|stamp| stamp.time),
                    client: stamp.map(|stamp| stamp.client),
                    conflict: None,
                };
                receipt.columns.insert(column.name.clone(), column_receipt);
            }
            None => {
                receipt
                    .changed
                    .insert(column.name.clone(), column.ty.encode(value));
            }
        }
    }
    receipt
}

/// The receipt of an edit that merged into its row, and the ledger's rows for what lost.
pub(super) fn merged(
    table: &TableInfo,
    id: String,
    edit: &Edit,
    (merge, birth): (&RowMerge, i64),
    submission: &Submission,
) -> (Receipt, Vec<NewConflict>) {
    let spec = &table.spec;
    let mut receipt = Receipt::of(&spec.name, Some(id.clone()), Status::Ok);
    receipt.version = Some(merge.row.version);
    receipt.deleted = merge.row.deleted.value == Value::Bool(true);
    let mut by_column = BTreeMap::new();
    let mut conflicts = Vec::with_capacity(merge.losses.len());
    for loss in &merge.losses {
        let conflict = edges::uuid7();
        let (kind, column, policy) = match loss.kind {
            LossKind::Column(at) => ("column", Some(at), column_policy(spec, at)),
            LossKind::Blind(at) => ("blind", Some(at), column_policy(spec, at)),
            LossKind::Group(at) => ("group", Some(at), column_policy(spec, at)),
            LossKind::Deleted => ("deleted", None, "last_writer_wins"),
            LossKind::Row => ("row", None, spec.row_policy.name()),
        };
        match column {
            Some(at) => {
                let group = spec.group_of(at).into_iter();
                by_column.extend(group.chain([at]).map(|member| (member, conflict)));
            }
            None => receipt.conflicts.push(conflict),
        }
        let side = |side: &Side| encode_side(spec, column, side).to_string();
        conflicts.push(NewConflict {
            id: conflict.to_string(),
            table_name: spec.name.clone(),
            row_id: id.clone(),
            column_name: column.and_then(|at| {
                let column = spec.columns.get(at)?;
                Some(column.group.as_ref().unwrap_or(&column.name).clone())
            }),
            kind: kind.to_owned(),
            policy: policy.to_owned(),
            base: loss.base.as_ref().map(side),
            kept: Some(side(&loss.kept)),
            lost: Some(side(&loss.lost)),
            kept_time: loss.kept_stamp.map(|stamp| stamp.time.micros()),
            kept_client: loss.kept_stamp.map(|stamp| stamp.client.to_string()),
            lost_time: loss.lost_stamp.map(|stamp| stamp.time.micros()),
            lost_client: loss.lost_stamp.map(|stamp| stamp.client.to_string()),
            skew: submission.skew,
            version: merge.row.version,
            state: if loss.open { "open" } else { "decided" }.to_owned(),
            created_at: submission.arrived.micros(),
        });
    }
    for ((at, merged), edited) in merge.columns.iter().zip(&edit.columns) {
        let Some(column) = spec.columns.get(*at) else {
            continue;
        };
        let value =
            (merged.cell.value != edited.value).then(|| column.ty.encode(&merged.cell.value));
        let column_receipt = ColumnReceipt {
            outcome: merged.outcome,
            value,
            at: merged.cell.stamp.map(|stamp| stamp.time),
            client: merged.cell.stamp.map(|stamp| stamp.client),
            conflict: by_column.get(at).copied(),
        };
        receipt.columns.insert(column.name.clone(), column_receipt);
    }
    receipt.changed = unseen(spec, edit, merge, birth);
    (receipt, conflicts)
}

fn column_policy(table: &Table, at: usize) -> &'static str {
    table
        .columns
        .get(at)
        .map_or("", |column| column.policy.name())
}

/// Every column that changed after the edit's base version and is not among its own: without them the
/// receipt's version would claim more than its reader has seen. Of a row that was made at `birth`, after the base
/// version, it is all of them: where nobody has written since there is NULL, and was something in the row before.
fn unseen(table: &Table, edit: &Edit, merge: &RowMerge, birth: i64) -> BTreeMap<String, Json> {
    let before = merge.row.version - i64::from(merge.changed());
    let base = edit.base_version;
    let base = base.filter(|&base| base <= before && birth <= base);
    let cells = table.columns.iter().zip(&merge.row.cells).enumerate();
    let unseen = cells.filter(|(at, (_, cell))| {
        // A restamped member of a group was in view of whoever names a version.
        let is_as_it_was = merge.restamped.iter().any(|(other, _)| other == at);
        !table.is_key(*at)
            && base.is_none_or(|base| cell.version > base && !is_as_it_was)
            && !edit.columns.iter().any(|edited| edited.column == *at)
    });
    unseen
        .map(|(_, (column, cell))| (column.name.clone(), column.ty.encode(&cell.value)))
        .collect()
}

/// One side of a conflict as the ledger keeps it.
fn encode_side(table: &Table, column: Option<usize>, side: &Side) -> Json {
    match side {
        Side::Group(values) => Json::Object(members(table, values)),
        Side::Value(value) => {
            let ty = column
                .and_then(|at| table.columns.get(at))
                .map(|column| &column.ty);
            ty.map_or(Json::Null, |ty| ty.encode(value))
        }
        Side::Deleted => json!({ "deleted": true }),
        Side::Alive(values) => {
            json!({ "deleted": false, "columns": members(table, values) })
        }
    }
}

/// Values by their columns' names.
fn members(table: &Table, values: &[(usize, Value)]) -> Map<String, Json> {
    let named = values.iter().filter_map(|(at, value)| {
        let column = table.columns.get(*at)?;
        Some((column.name.clone(), column.ty.encode(value)))
    });
    named.collect()
}

/// A ledger id, or a rejection.
pub(super) fn not_found(conflict: Uuid) -> Rejection {
    Rejection::new("conflict_not_found", format!("no conflict {conflict}"))
}
