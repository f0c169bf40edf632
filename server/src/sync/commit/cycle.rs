//! Rows that point to each other: none can be made first, so each is made without pointing, and then pointed.
//!
//! Only where nothing else helps, and only columns that may be NULL meanwhile.

use std::sync::Arc;

use colsync_shared::{Edit, Op, Receipt};

use super::{Draft, Item, StoreError, Submission, TableInfo, Transaction};

/// How often a set of rows is tried again without those that point to nothing even so.
const TRIES: usize = 8;

/// An edit in two: without the columns that point to rows, and these.
struct Split {
    position: usize,
    table: Arc<TableInfo>,
    whole: Edit,
    bare: Edit,
    pointing: Edit,
}

impl Transaction<'_> {
    /// Makes the rows of the edits at `parked` that point to each other; gives back those that still wait.
    pub(super) fn break_cycles(
        &mut self,
        submission: &Submission,
        parked: &[usize],
        drafts: &mut [Draft],
    ) -> Result<Vec<usize>, StoreError> {
        let mut splits: Vec<Split> = parked
            .iter()
            .filter_map(|&position| split(position, submission.items.get(position)?))
            .collect();
        for _try in 0..TRIES {
            // One alone is no cycle, unless it points to itself, which SQL checks when it stands.
            if splits.is_empty() {
                break;
            }
            let before = self.point("cycle", true)?;
            match self.point_to_each_other(submission, &splits)? {
                Ok(made) => {
                    self.release("cycle", true)?;
                    let done: Vec<usize> = splits.iter().map(|split| split.position).collect();
                    for (position, draft) in done.iter().zip(made) {
                        if let Some(slot) = drafts.get_mut(*position) {
                            *slot = draft;
                        }
                    }
                    let left = parked.iter().filter(|position| !done.contains(position));
                    return Ok(left.copied().collect());
                }
                Err(failed) => {
                    self.back_to("cycle", before, true)?;
                    self.release("cycle", true)?;
                    splits.retain(|split| !failed.contains(&split.position));
                }
            }
        }
        Ok(parked.to_vec())
    }

    /// The drafts of all, or the positions of those that cannot be done.
    fn point_to_each_other(
        &mut self,
        submission: &Submission,
        splits: &[Split],
    ) -> Result<Result<Vec<Draft>, Vec<usize>>, StoreError> {
        let mut failed = Vec::new();
        let mut made = Vec::with_capacity(splits.len());
        for split in splits {
            let (draft, _) = self.item(&split.item(&split.bare), submission)?;
            if draft.is_rejected() {
                failed.push(split.position);
            }
            made.push(draft);
        }
        if !failed.is_empty() {
            return Ok(Err(failed));
        }
        let mut drafts = Vec::with_capacity(splits.len());
        for (split, bare) in splits.iter().zip(made) {
            let (pointed, _) = self.item(&split.item(&split.pointing), submission)?;
            if pointed.is_rejected() {
                failed.push(split.position);
            }
            drafts.push(together(split, bare, pointed));
        }
        Ok(if failed.is_empty() {
            Ok(drafts)
        } else {
            Err(failed)
        })
    }
}

impl Split {
    fn item(&self, edit: &Edit) -> Item {
        Item::Edit {
            table: self.table.clone(),
            edit: edit.clone(),
        }
    }
}

/// The edit in two; `None` if it makes no row, or points nowhere that may be NULL.
fn split(position: usize, item: &Item) -> Option<Split> {
    let Item::Edit { table, edit } = item else {
        return None;
    };
    if !matches!(edit.op, Op::Insert | Op::Replace) || edit.key.is_none() {
        return None;
    }
    let points = |at: usize| {
        let column = table.spec.columns.get(at).filter(|column| column.nullable);
        column.is_some_and(|column| {
            let mut keys = table.foreign_keys.iter();
            keys.any(|key| key.columns.contains(&column.name))
        })
    };
    let (pointing, others): (Vec<_>, Vec<_>) = edit
        .columns
        .iter()
        .cloned()
        .partition(|column| points(column.column) && !column.value.is_null());
    if pointing.is_empty() {
        return None;
    }
    Some(Split {
        position,
        table: table.clone(),
        whole: edit.clone(),
        bare: Edit {
            columns: others,
            ..edit.clone()
        },
        pointing: Edit {
            op: Op::Update,
            base_version: edit.base_version.or(Some(0)),
            columns: pointing,
            ..edit.clone()
        },
    })
}

/// One receipt for both halves.
fn together(split: &Split, bare: Draft, pointed: Draft) -> Draft {
    match (bare, pointed) {
        (Draft::Made { slot, .. }, _) => Draft::Made {
            slot,
            edit: split.whole.clone(),
        },
        (Draft::Done(first), Draft::Done(second)) => {
            let mut receipt: Receipt = first;
            receipt.version = second.version;
            receipt.deleted = second.deleted;
            receipt.changed.extend(second.changed);
            receipt.columns.extend(second.columns);
            receipt.conflicts.extend(second.conflicts);
            let columns = &receipt.columns;
            receipt
                .changed
                .retain(|name, _| !columns.contains_key(name));
            Draft::Done(receipt)
        }
        (bare, Draft::Done(_) | Draft::Made { .. } | Draft::Refused { .. }) => bare,
    }
}
