//! A whole edit's merge: its columns, and the row's deleted flag.

mod replace;

use super::column::{self, CellEdit, Rules};
use super::group::{self, Asked};
use super::{Cell, Loss, LossKind, Merged, Own, Row, Side, View};
use crate::receipt::Outcome;
use crate::schema::{BlindWrites, EditAfterDelete};
use crate::{ClientId, ColumnEdit, ColumnType, Edit, Op, Policy, Stamp, Table, Value};

/// What merging an edit into a row gave.
#[derive(Debug, Clone, PartialEq)]
pub struct RowMerge {
    /// The row afterwards; its version is one more if any value or the deleted flag changed.
    pub row: Row,
    /// What became of each column of the edit: position and merge.
    pub columns: Vec<(usize, Merged)>,
    /// Cells that the edit did not name and that got a new stamp and version with others of their group:
    /// position and cell. Their values are as before.
    pub restamped: Vec<(usize, Cell)>,
    /// Positions of those that the edit, which was bare, had not in view.
    pub trusted: Vec<usize>,
    /// What became of the deleted flag, if the edit or the policy touched it.
    pub deleted: Option<Merged>,
    /// Everything that lost, the columns' losses among it.
    pub losses: Vec<Loss>,
}

impl RowMerge {
    /// Whether the row got a new version.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.columns.iter().any(|(_, merged)| merged.changed)
            || self.deleted.as_ref().is_some_and(|d| d.changed)
    }
}

/// Merges `edit`, made by `client`, into `row`. `own` is what earlier edits of the same push made of it.
#[must_use]
pub fn merge(row: &Row, edit: &Edit, client: ClientId, table: &Table, own: &Own) -> RowMerge {
    let context = Context {
        row,
        edit,
        client,
        table,
        own,
        next: row.version + 1,
    };
    match edit.op {
        Op::Update => context.update(edit.base_version),
        Op::Insert => context.insert(),
        Op::Delete | Op::HardDelete => context.delete(),
        Op::Replace => context.replace(),
    }
}

struct Context<'a> {
    row: &'a Row,
    edit: &'a Edit,
    client: ClientId,
    table: &'a Table,
    own: &'a Own,
    next: i64,
}

impl Context<'_> {
    fn stamp(&self) -> Stamp {
        Stamp {
            time: self.edit.at,
            client: self.client,
        }
    }

    /// The latest stamp among the edit's columns, or the edit's own.
    fn latest(&self) -> Stamp {
        let time = self
            .edit
            .columns
            .iter()
            .map(|column| column.at)
            .max()
            .unwrap_or(self.edit.at);
        Stamp {
            time,
            client: self.client,
        }
    }

    /// What an edit at `version` had in view of the row as a whole.
    fn view(&self, version: Option<i64>) -> View<'_> {
        View {
            version,
            own: self.own.of_row(),
        }
    }

    /// What it had in view of the column at this position.
    fn view_of(&self, at: usize, version: Option<i64>) -> View<'_> {
        if self.edit.unseen.contains(&at) {
            return View::of_nothing();
        }
        View {
            version,
            own: self.own.of_column(at),
        }
    }

    fn is_deleted(&self) -> bool {
        self.row.deleted.value == Value::Bool(true)
    }

    fn merge_columns(&self, base_version: Option<i64>) -> Vec<(usize, Merged)> {
        let grouped = group::merge(&Asked {
            row: self.row,
            table: self.table,
            columns: &self.edit.columns,
            view: self.view(base_version),
            own: self.own,
            unseen: &self.edit.unseen,
            client: self.client,
            next: self.next,
        });
        let merged = self.edit.columns.iter().filter_map(|edit| {
            let current = self.row.cells.get(edit.column)?;
            let column = self.table.columns.get(edit.column)?;
            if column.group.is_some() {
                return grouped.iter().find(|(at, _)| *at == edit.column).cloned();
            }
            let rules = Rules {
                column: edit.column,
                ty: &column.ty,
                policy: column.policy,
                blind: self.table.blind_writes,
            };
            let version = edit.base_version.or(base_version);
            let edit_of_cell = self.cell_edit(edit, version);
            let merged = column::merge(current, &edit_of_cell, rules, self.row.version, self.next);
            Some((edit.column, merged))
        });
        merged.collect()
    }

    fn cell_edit<'e>(&'e self, edit: &'e ColumnEdit, version: Option<i64>) -> CellEdit<'e> {
        CellEdit {
            value: &edit.value,
            base: edit.base.as_ref(),
            view: self.view_of(edit.column, version),
            stamp: Stamp {
                time: edit.at,
                client: self.client,
            },
        }
    }

    fn update(&self, base_version: Option<i64>) -> RowMerge {
        let columns = self.merge_columns(base_version);
        // An edit to the value that is there already is an edit, too.
        let wrote = columns.iter().any(|(at, merged)| {
            let stamp = self.row.cells.get(*at).and_then(|cell| cell.stamp);
            merged.changed || merged.cell.stamp != stamp
        });
        let meets_delete = self.is_deleted() && wrote && !self.saw_delete(base_version);
        let (deleted, loss) = if meets_delete {
            self.edit_of_deleted(&columns)
        } else {
            (None, None)
        };
        self.finish(columns, deleted, loss)
    }

    /// Whether the edit was made knowing that the row is deleted: its version says so, or its own
    /// client deleted it.
    fn saw_delete(&self, base_version: Option<i64>) -> bool {
        let flag = &self.row.deleted;
        let by_itself = self.client != ClientId::ANONYMOUS
            && flag.stamp.is_some_and(|stamp| stamp.client == self.client);
        by_itself || self.view(base_version).saw(flag.version, self.row.version) == Some(true)
    }

    /// An edit reached a row that someone else deleted meanwhile.
    fn edit_of_deleted(&self, columns: &[(usize, Merged)]) -> (Option<Merged>, Option<Loss>) {
        let flag = &self.row.deleted;
        let edited = columns.iter().filter(|(_, merged)| {
            matches!(
                merged.outcome,
                Outcome::Applied | Outcome::Merged | Outcome::Unchanged
            )
        });
        let alive = Side::Alive(
            edited
                .map(|(at, merged)| (*at, merged.cell.value.clone()))
                .collect(),
        );
        let stamp = self.latest();
        let later = flag.stamp.is_none_or(|deleted| stamp > deleted);
        if self.table.edit_after_delete == EditAfterDelete::Revive && later {
            let loss = deletion(alive, Some(stamp), Side::Deleted, flag.stamp);
            return (Some(self.set_deleted(false, stamp)), Some(loss));
        }
        (
            None,
            Some(deletion(Side::Deleted, flag.stamp, alive, Some(stamp))),
        )
    }

    /// An insert of an id that exists: its client believed that there was no row, so it has seen none
    /// of it.
    fn insert(&self) -> RowMerge {
        let base_version = self.edit.base_version.or(Some(0));
        let columns = self.merge_columns(base_version);
        if !self.is_deleted() {
            return self.finish(columns, None, None);
        }
        let flag = &self.row.deleted;
        let stamp = self.latest();
        let all = self
            .edit
            .columns
            .iter()
            .map(|column| (column.column, column.value.clone()));
        let alive = Side::Alive(all.collect());
        if self.saw_delete(base_version) {
            let revived = self.set_deleted(false, stamp.after(flag.stamp));
            return self.finish(columns, Some(revived), None);
        }
        if flag.stamp.is_none_or(|deleted| stamp >= deleted) {
            let stands = columns
                .iter()
                .map(|(at, merged)| (*at, merged.cell.value.clone()));
            let alive = Side::Alive(stands.collect());
            let loss = deletion(alive, Some(stamp), Side::Deleted, flag.stamp);
            return self.finish(columns, Some(self.set_deleted(false, stamp)), Some(loss));
        }
        self.finish(
            columns,
            None,
            Some(deletion(Side::Deleted, flag.stamp, alive, Some(stamp))),
        )
    }

    fn delete(&self) -> RowMerge {
        let yes = Value::Bool(true);
        let edit = CellEdit {
            value: &yes,
            base: None,
            view: self.view(self.edit.base_version),
            stamp: self.stamp(),
        };
        let rules = Rules {
            column: 0,
            ty: &ColumnType::Bool,
            policy: Policy::LastWriterWins,
            blind: BlindWrites::Trust,
        };
        let mut flag = column::merge(&self.row.deleted, &edit, rules, self.row.version, self.next);
        // Someone brought the row back, and this delete had not seen it.
        let contested = flag.loss.take().is_some();
        let unseen = self.unseen_cells();
        let newest = unseen.iter().filter_map(|(_, cell)| cell.stamp).max();
        let told = alive(&self.with_groups(&unseen));
        // Nothing of a row that is removed stays beneath a tombstone.
        let lost = if self.is_removal() {
            alive(&self.cells())
        } else {
            told.clone()
        };
        match flag.outcome {
            Outcome::Applied => {
                let outlived = newest.is_some_and(|edited| edited > self.stamp());
                if self.table.edit_after_delete == EditAfterDelete::Revive && outlived {
                    flag = Merged {
                        outcome: Outcome::Superseded,
                        cell: self.row.deleted.clone(),
                        changed: false,
                        loss: None,
                    };
                    let loss = deletion(told, newest, Side::Deleted, Some(self.stamp()));
                    return self.finish(Vec::new(), Some(flag), Some(loss));
                }
                let stamp = flag.cell.stamp;
                let loss = (contested || !unseen.is_empty())
                    .then(|| deletion(Side::Deleted, stamp, lost, newest));
                self.finish(Vec::new(), Some(flag), loss)
            }
            Outcome::Unchanged => {
                let stamp = flag.cell.stamp;
                let loss = (self.is_removal() && !unseen.is_empty())
                    .then(|| deletion(Side::Deleted, stamp, lost, newest));
                self.finish(Vec::new(), Some(flag), loss)
            }
            // Someone brought the row back after this delete was made.
            Outcome::Superseded | Outcome::Merged | Outcome::Held => {
                let loss = deletion(
                    told,
                    self.row.deleted.stamp,
                    Side::Deleted,
                    Some(self.stamp()),
                );
                self.finish(Vec::new(), Some(flag), Some(loss))
            }
        }
    }

    /// Columns that others changed and the edit had not in view; where it has no base, those later by
    /// stamp, and all of them where the row is removed and the table records what bare writes replace. A base of
    /// another history had nothing in view.
    fn unseen_cells(&self) -> Vec<(usize, &Cell)> {
        let unseen = self.cells().into_iter().filter(|(at, cell)| {
            let view = self.view_of(*at, self.edit.base_version);
            let seen = view.saw(cell.version, self.row.version);
            let seen = seen.unwrap_or_else(|| {
                let is_bare = self.edit.base_version.is_none();
                let is_recorded = self.is_removal()
                    && self.table.blind_writes == BlindWrites::Record
                    && !self.is_own(*at, cell);
                is_bare && !is_recorded && cell.stamp.is_some_and(|stamp| stamp <= self.stamp())
            });
            // A copy of a client may have written what this one has not seen, and it is about to be gone for good.
            !seen && (self.is_removal() || !self.is_own(*at, cell))
        });
        unseen.collect()
    }

    /// These columns, and with each of a group all of that: what it means something together with.
    fn with_groups(&self, columns: &[(usize, &Cell)]) -> Vec<(usize, &Cell)> {
        let is_among = |at: usize| columns.iter().any(|(other, _)| *other == at);
        let cells = self.cells().into_iter();
        let together = cells
            .filter(|(at, _)| is_among(*at) || self.table.group_of(*at).into_iter().any(is_among));
        together.collect()
    }

    /// All columns but those of the key.
    fn cells(&self) -> Vec<(usize, &Cell)> {
        let cells = self.row.cells.iter().enumerate();
        cells.filter(|(at, _)| !self.table.is_key(*at)).collect()
    }

    /// Whether the row is to be removed for good.
    fn is_removal(&self) -> bool {
        self.edit.op == Op::HardDelete
    }

    /// Whether the edit's client wrote a cell, and wrote all of it: where values of both sides are made one, its stamp
    /// may stand on what it has not seen.
    fn is_own(&self, at: usize, cell: &Cell) -> bool {
        let column = self.table.columns.get(at);
        self.client != ClientId::ANONYMOUS
            && cell.stamp.is_some_and(|stamp| stamp.client == self.client)
            && column.is_some_and(|column| !column.policy.mixes())
    }

    /// Whether the edit tells nothing of what it had in view of the group of a column that it does not name.
    fn is_trusted(&self, at: usize) -> bool {
        let members = self.table.group_of(at);
        let mut named = self.edit.columns.iter();
        let is_bare = self.edit.base_version.is_none()
            && !named.any(|edit| {
                members.contains(&edit.column)
                    && (edit.base.is_some() || edit.base_version.is_some())
            });
        let saw = |cell: &Cell| self.view_of(at, None).saw(cell.version, self.row.version);
        is_bare && self.row.cells.get(at).and_then(saw).is_none()
    }

    fn set_deleted(&self, deleted: bool, stamp: Stamp) -> Merged {
        let cell = Cell {
            value: Value::Bool(deleted),
            stamp: Some(stamp),
            version: self.next,
        };
        let changed = cell.value != self.row.deleted.value;
        Merged {
            outcome: Outcome::Applied,
            cell,
            changed,
            loss: None,
        }
    }

    fn finish(
        &self,
        columns: Vec<(usize, Merged)>,
        deleted: Option<Merged>,
        losses: impl IntoIterator<Item = Loss>,
    ) -> RowMerge {
        let mut row = self.row.clone();
        for (at, merged) in &columns {
            if let Some(cell) = row.cells.get_mut(*at) {
                *cell = merged.cell.clone();
            }
        }
        let restamped = group::restamped(self.table, self.row, &columns, self.next);
        for (at, cell) in &restamped {
            if let Some(known) = row.cells.get_mut(*at) {
                known.clone_from(cell);
            }
        }
        if let Some(flag) = &deleted {
            row.deleted = flag.cell.clone();
        }
        let losses = columns
            .iter()
            .filter_map(|(_, merged)| merged.loss.clone())
            .chain(losses)
            .collect();
        let trusted = restamped.iter().map(|(at, _)| *at);
        let trusted = trusted.filter(|at| self.is_trusted(*at)).collect();
        let mut merge = RowMerge {
            row,
            columns,
            restamped,
            trusted,
            deleted,
            losses,
        };
        if merge.changed() {
            merge.row.version = self.next;
        }
        merge
    }
}

fn alive(cells: &[(usize, &Cell)]) -> Side {
    Side::Alive(
        cells
            .iter()
            .map(|(at, cell)| (*at, cell.value.clone()))
            .collect(),
    )
}

fn deletion(kept: Side, kept_stamp: Option<Stamp>, lost: Side, lost_stamp: Option<Stamp>) -> Loss {
    of_row(LossKind::Deleted, (kept, kept_stamp), (lost, lost_stamp))
}

/// What lost of a row as a whole: what stands, and what does not, each with its stamp.
fn of_row(
    kind: LossKind,
    (kept, kept_stamp): (Side, Option<Stamp>),
    (lost, lost_stamp): (Side, Option<Stamp>),
) -> Loss {
    Loss {
        kind,
        base: None,
        kept,
        kept_stamp,
        lost,
        lost_stamp,
        open: false,
    }
}
