//! Receipts row by row: a push may carry several edits of one row, and what settles the row is what they came
//! to together.

use std::collections::BTreeMap;

use colsync_shared::Op;
use colsync_shared::receipt::{Receipt, Status};
use serde_json::Value as Json;

use super::edit::WireEdit;

/// What a push did to one row.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The row's edits as one.
    pub(crate) edit: WireEdit,
    /// Their receipts as one; rejected if all are.
    pub(crate) receipt: Receipt,
    /// The edits that were accepted, each with its receipt.
    pub(crate) accepted: Vec<(WireEdit, Receipt)>,
    /// Those that were refused although others were not, or although the row is as the app wants it.
    pub(crate) refused: Vec<(WireEdit, Receipt)>,
    /// Columns whose last edit was refused, and of which no receipt tells what the server has.
    pub(crate) untold: Vec<String>,
}

/// Puts the edits of each row together, in the order of the rows' first edits.
pub(crate) fn fold(edits: Vec<WireEdit>, receipts: Vec<Receipt>) -> Vec<Folded> {
    let mut rows: Vec<Vec<(WireEdit, Receipt)>> = Vec::new();
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (edit, receipt) in edits.into_iter().zip(receipts) {
        let at = match edit.id.clone() {
            Some(id) => *known.entry((edit.table.clone(), id)).or_insert(rows.len()),
            // Each is a row of its own, whose id is not made yet.
            None => rows.len(),
        };
        match rows.get_mut(at) {
            Some(row) => row.push((edit, receipt)),
            None => rows.push(vec![(edit, receipt)]),
        }
    }
    rows.into_iter().filter_map(one_row).collect()
}

fn one_row(all: Vec<(WireEdit, Receipt)>) -> Option<Folded> {
    if let [(edit, receipt)] = all.as_slice() {
        return Some(Folded {
            edit: edit.clone(),
            receipt: receipt.clone(),
            accepted: all,
            refused: Vec::new(),
            untold: Vec::new(),
        });
    }
    let edit = as_one(&all)?;
    let is_ok = |(_, receipt): &(WireEdit, Receipt)| receipt.status == Status::Ok;
    if !all.iter().any(is_ok) {
        let (refused, receipt) = all_refused(all)?;
        return Some(Folded {
            edit,
            receipt,
            accepted: Vec::new(),
            refused,
            untold: Vec::new(),
        });
    }
    let (accepted, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(is_ok);
    let mut receipt = accepted.last()?.1.clone();
    receipt.created = accepted.iter().any(|(_, receipt)| receipt.created);
    // What the server has of the row, as far as the receipts tell.
    let mut there: BTreeMap<String, Json> = BTreeMap::new();
    for (edit, one) in &accepted {
        there.extend(one.changed.clone());
        for (name, column) in &one.columns {
            let sent = edit.columns.get(name).map(|sent| sent.value.clone());
            there.extend(
                column
                    .value
                    .clone()
                    .or(sent)
                    .map(|value| (name.clone(), value)),
            );
            receipt.columns.insert(name.clone(), column.clone());
        }
    }
    receipt.conflicts = accepted
        .iter()
        .flat_map(|(_, one)| one.conflicts.iter().copied())
        .collect();
    let mut untold = Vec::new();
    for (name, sent) in &edit.columns {
        let value = there.remove(name);
        match receipt.columns.get_mut(name) {
            Some(column) => column.value = value.filter(|value| *value != sent.value),
            None => match value {
                Some(value) => drop(receipt.changed.insert(name.clone(), value)),
                None => untold.push(name.clone()),
            },
        }
    }
    receipt
        .columns
        .retain(|name, _| edit.columns.contains_key(name));
    receipt.changed.extend(there);
    Some(Folded {
        edit,
        receipt,
        accepted,
        refused,
        untold,
    })
}

/// The receipt that decides about edits of which none was accepted, and the edits that were refused beside it. A row that
/// the app deleted last and that is not there is as the app wanted it, whatever was refused before.
fn all_refused(mut all: Vec<(WireEdit, Receipt)>) -> Option<(Vec<(WireEdit, Receipt)>, Receipt)> {
    let (last, receipt) = all.last()?;
    let code = receipt.rejection.as_ref().map(|r| r.code.as_str());
    let deletes = matches!(last.op, Op::Delete | Op::HardDelete);
    if deletes && matches!(code, Some("row_not_found" | "row_gone")) {
        let (_, receipt) = all.pop()?;
        return Some((all, receipt));
    }
    Some((Vec::new(), all.into_iter().next()?.1))
}

/// The edits of a row as one: what the last of them made of each column.
fn as_one(all: &[(WireEdit, Receipt)]) -> Option<WireEdit> {
    let ((first, _), (last, _)) = (all.first()?, all.last()?);
    let deletes = matches!(last.op, Op::Delete | Op::HardDelete);
    let inserts = all.iter().any(|(edit, _)| edit.op == Op::Insert);
    let mut one = WireEdit {
        op: match last.op {
            Op::Update if inserts => Op::Insert,
            op => op,
        },
        base_version: first.base_version,
        columns: BTreeMap::new(),
        ..last.clone()
    };
    if !deletes {
        for (edit, _) in all {
            for (name, column) in &edit.columns {
                // The first one was made from the row's Original.
                let first = one.columns.get(name).map(|known| known.base_version);
                let own = column.base_version.or(edit.base_version);
                let mut column = column.clone();
                column.at = column.at.or(Some(edit.at));
                column.base_version = first.unwrap_or(own);
                one.columns.insert(name.clone(), column);
            }
        }
    }
    Some(one)
}
