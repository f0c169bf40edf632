//! A whole-row write: decided as one, by the table's row policy.

use super::super::{Cell, LossKind, Merged, Side, UNWRITTEN, View};
use super::super::{column, group};
use super::{Context, RowMerge, alive, of_row};
use crate::receipt::Outcome;
use crate::schema::BlindWrites;
use crate::{ClientId, ColumnEdit, RowPolicy};

impl Context<'_> {
    /// A whole-row write: decided as one, by the row policy.
    pub(super) fn replace(&self) -> RowMerge {
        let differs = |edit: &&ColumnEdit| {
            self.row
                .cells
                .get(edit.column)
                .is_some_and(|cell| cell.value != edit.value)
        };
        let differing: Vec<&ColumnEdit> = self.edit.columns.iter().filter(differs).collect();
        let stamp = self.stamp();
        let is_blind = self.edit.base_version.is_none();
        let unseen = |cell: &Cell, view: View<'_>| match view.saw(cell.version, self.row.version) {
            Some(seen) => !seen,
            // A base version of another history tells nothing of what was in view.
            None => !is_blind || cell.stamp.is_none_or(|known| known > stamp),
        };
        let view_of = |at: usize| self.view_of(at, self.edit.base_version);
        let non_key = || {
            self.row
                .cells
                .iter()
                .enumerate()
                .filter(|(at, _)| !self.table.is_key(*at))
        };
        let flag_unseen = self.is_deleted()
            && !self.saw_delete(self.edit.base_version)
            && unseen(&self.row.deleted, self.view(self.edit.base_version));
        let any_unseen = || non_key().any(|(at, cell)| unseen(cell, view_of(at)));
        let conflict = flag_unseen || (!differing.is_empty() && any_unseen());
        let newest = non_key()
            .filter_map(|(_, cell)| cell.stamp)
            .chain(self.row.deleted.stamp)
            .max();
        let wins = !conflict
            || match self.table.row_policy {
                RowPolicy::LastWriterWins => newest.is_none_or(|known| stamp >= known),
                RowPolicy::ServerWins => false,
                RowPolicy::ClientWins => true,
            };
        let columns = self.edit.columns.iter().filter_map(|edit| {
            let cell = self.row.cells.get(edit.column)?;
            Some((edit.column, self.replace_cell(cell, edit, wins)))
        });
        let mut columns: Vec<(usize, Merged)> = columns.collect();
        group::level(self.table, &mut columns, self.next);
        let sent = Side::Alive(
            self.edit
                .columns
                .iter()
                .map(|edit| (edit.column, edit.value.clone()))
                .collect(),
        );
        let stored = if self.is_deleted() {
            Side::Deleted
        } else {
            Side::Alive(
                non_key()
                    .map(|(at, cell)| (at, cell.value.clone()))
                    .collect(),
            )
        };
        let conflict_loss = conflict.then(|| {
            let (mine, theirs) = ((sent.clone(), Some(stamp)), (stored, newest));
            let (kept, lost) = if wins { (mine, theirs) } else { (theirs, mine) };
            of_row(LossKind::Row, kept, lost)
        });
        let revived = (self.is_deleted() && wins)
            .then(|| self.set_deleted(false, stamp.after(self.row.deleted.stamp)));
        // What the loss above does not tell: values beneath a tombstone, and those that a bare write replaced.
        let told = conflict && !self.is_deleted();
        let records = is_blind && self.table.blind_writes == BlindWrites::Record;
        let replaced: Vec<(usize, &Cell)> = differing
            .iter()
            .filter_map(|edit| Some((edit.column, self.row.cells.get(edit.column)?)))
            .filter(|(at, cell)| {
                // Nobody knows whether two anonymous writers are one.
                let of_another = self.client == ClientId::ANONYMOUS
                    || cell.stamp.is_none_or(|known| known.client != self.client);
                wins && !told
                    && (unseen(cell, view_of(*at))
                        || (records && of_another && !is_unwritten(cell)))
            })
            .collect();
        let also = (!replaced.is_empty()).then(|| {
            let latest = replaced.iter().filter_map(|(_, cell)| cell.stamp).max();
            of_row(
                LossKind::Row,
                (sent, Some(stamp)),
                (alive(&replaced), latest),
            )
        });
        self.finish(columns, revived, conflict_loss.into_iter().chain(also))
    }

    fn replace_cell(&self, cell: &Cell, edit: &ColumnEdit, wins: bool) -> Merged {
        if cell.value == edit.value {
            return if wins {
                column::unchanged(cell, self.stamp())
            } else {
                Merged {
                    outcome: Outcome::Unchanged,
                    cell: cell.clone(),
                    changed: false,
                    loss: None,
                }
            };
        }
        if !wins {
            return Merged {
                outcome: Outcome::Superseded,
                cell: cell.clone(),
                changed: false,
                loss: None,
            };
        }
        let view = self.view_of(edit.column, self.edit.base_version);
        let seen = view.saw(cell.version, self.row.version) == Some(true);
        let stamp = if seen {
            self.stamp().after(cell.stamp)
        } else {
            self.stamp()
        };
        let cell = Cell {
            value: edit.value.clone(),
            stamp: Some(stamp),
            version: self.next,
        };
        Merged {
            outcome: Outcome::Applied,
            cell,
            changed: true,
            loss: None,
        }
    }
}

/// Whether nobody ever wrote the cell.
fn is_unwritten(cell: &Cell) -> bool {
    cell.version == UNWRITTEN
}
