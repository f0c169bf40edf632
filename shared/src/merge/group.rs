//! A column group's merge: columns that are stamped and decided together, as if they were one cell.
//!
//! What stands afterwards is what one client had as a whole; the two sides' values never mix. A member that
//! the edit does not name is taken to be as the edit had it in view, so an edit that cannot know it loses.
//! Must not know the columns that are in no group.

use super::{Cell, Loss, LossKind, Merged, Own, Row, Side, UNWRITTEN, View};
use crate::receipt::Outcome;
use crate::schema::BlindWrites;
use crate::{ClientId, ColumnEdit, Policy, Stamp, Table, Value};

/// An edit's columns, and the row that they reach.
pub(super) struct Asked<'a> {
    pub(super) row: &'a Row,
    pub(super) table: &'a Table,
    pub(super) columns: &'a [ColumnEdit],
    /// What the edit as a whole had in view.
    pub(super) view: View<'a>,
    /// What earlier edits of its push have made of the row.
    pub(super) own: &'a Own,
    /// Columns that the edit had not in view, whatever version it names.
    pub(super) unseen: &'a [usize],
    pub(super) client: ClientId,
    /// The version that changed cells get.
    pub(super) next: i64,
}

/// Merges the edit's columns that are in a group: position and merge of each that it names. A group's loss
/// is with the first of them.
pub(super) fn merge(asked: &Asked<'_>) -> Vec<(usize, Merged)> {
    let mut done: Vec<(usize, Merged)> = Vec::new();
    for edit in asked.columns {
        let members = asked.table.group_of(edit.column);
        if members.is_empty() || done.iter().any(|(at, _)| *at == edit.column) {
            continue;
        }
        if let Some(group) = Group::of(asked, &members) {
            done.extend(group.merge());
        }
    }
    done
}

/// The cells of members that an edit did not name and that get the new stamp and version of those it did.
pub(super) fn restamped(
    table: &Table,
    row: &Row,
    columns: &[(usize, Merged)],
    next: i64,
) -> Vec<(usize, Cell)> {
    let mut cells: Vec<(usize, Cell)> = Vec::new();
    for (named, merged) in columns {
        if merged.cell.version != next {
            continue;
        }
        for at in table.group_of(*named) {
            let is_done = columns.iter().any(|(other, _)| *other == at)
                || cells.iter().any(|(other, _)| *other == at);
            if let (false, Some(cell)) = (is_done, row.cells.get(at)) {
                let cell = Cell {
                    value: cell.value.clone(),
                    ..merged.cell.clone()
                };
                cells.push((at, cell));
            }
        }
    }
    cells
}

/// Makes the members of each group alike after a whole row was written: one outcome, and if any of them has
/// changed one stamp and version.
pub(super) fn level(table: &Table, columns: &mut [(usize, Merged)], next: i64) {
    let told: Vec<(usize, Outcome, Cell)> = columns
        .iter()
        .filter(|(_, merged)| merged.outcome != Outcome::Unchanged)
        .map(|(at, merged)| (*at, merged.outcome, merged.cell.clone()))
        .collect();
    for (at, merged) in columns {
        let members = table.group_of(*at);
        let of_group = || told.iter().filter(|(other, ..)| members.contains(other));
        let Some((_, outcome, _)) = of_group().next() else {
            continue;
        };
        merged.outcome = *outcome;
        if *outcome == Outcome::Applied {
            merged.cell.stamp = of_group().filter_map(|(.., cell)| cell.stamp).max();
            merged.cell.version = next;
        }
    }
}

/// Whether a member's current value was in the edit's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
    /// The edit tells neither a version nor a base of it.
    Unknown,
}

/// One column of the group.
struct Member<'a> {
    at: usize,
    current: &'a Cell,
    edit: Option<&'a ColumnEdit>,
    seen: Seen,
}

/// A group under an edit that names at least one of its columns.
struct Group<'a> {
    members: Vec<Member<'a>>,
    policy: Policy,
    blind: BlindWrites,
    /// Whether the edit tells nothing of what it had in view.
    is_bare: bool,
    /// The latest of its columns' times.
    stamp: Stamp,
    next: i64,
}

/// What the edit is to the group's current values.
enum Case {
    /// It has them already.
    Same,
    /// It was made with all of them in view.
    Seen,
    /// It names no base and is the later one.
    Blind,
    /// Both sides changed the group.
    Conflict,
}

impl<'a> Group<'a> {
    fn of(asked: &Asked<'a>, members: &[usize]) -> Option<Group<'a>> {
        let edit_of = |at: usize| asked.columns.iter().find(|edit| edit.column == at);
        let version_of = |edit: &ColumnEdit| edit.base_version.or(asked.view.version);
        // The group was in view as a whole at the oldest version that is told of any part of it.
        let lacks = members.iter().any(|&at| edit_of(at).is_none());
        let named = members.iter().filter_map(|&at| edit_of(at));
        let oldest = named
            .clone()
            .filter_map(version_of)
            .chain(asked.view.version.filter(|_| lacks))
            .min();
        let time = named.clone().map(|edit| edit.at).max()?;
        let mut found = Vec::with_capacity(members.len());
        for &at in members {
            let current = asked.row.cells.get(at)?;
            let edit = edit_of(at);
            let version = match edit {
                Some(edit) => version_of(edit).and(oldest),
                None => oldest,
            };
            let view = if asked.unseen.contains(&at) {
                View::of_nothing()
            } else {
                View {
                    version,
                    own: asked.own.of_column(at),
                }
            };
            let base = edit.and_then(|edit| edit.base.as_ref());
            let seen = match view.saw(current.version, asked.row.version) {
                Some(true) => Seen::Yes,
                Some(false) | None if base == Some(&current.value) => Seen::Yes,
                Some(false) => Seen::No,
                None if base.is_some() || version.is_some() => Seen::No,
                None => Seen::Unknown,
            };
            found.push(Member {
                at,
                current,
                edit,
                seen,
            });
        }
        let first = asked.table.columns.get(*members.first()?)?;
        Some(Group {
            members: found,
            policy: first.policy,
            blind: asked.table.blind_writes,
            is_bare: oldest.is_none() && named.clone().all(|edit| edit.base.is_none()),
            stamp: Stamp {
                time,
                client: asked.client,
            },
            next: asked.next,
        })
    }

    fn named(&self) -> impl Iterator<Item = (&Member<'a>, &'a ColumnEdit)> {
        self.members
            .iter()
            .filter_map(|member| Some((member, member.edit?)))
    }

    /// Those that somebody ever wrote.
    fn written(&self) -> impl Iterator<Item = &'a Cell> {
        let cells = self.members.iter().map(|member| member.current);
        cells.filter(|cell| cell.version != UNWRITTEN)
    }

    /// The latest stamp of the group.
    fn current_stamp(&self) -> Option<Stamp> {
        self.written().filter_map(|cell| cell.stamp).max()
    }

    fn merge(&self) -> Vec<(usize, Merged)> {
        match self.case() {
            Case::Same => self.unchanged(),
            Case::Seen => self.take(self.stamp.after(self.current_stamp()), None),
            Case::Blind => {
                // Nobody knows whether two anonymous writers are one.
                let by_another = self.stamp.client == ClientId::ANONYMOUS
                    || self
                        .written()
                        .any(|cell| cell.stamp.is_none_or(|s| s.client != self.stamp.client));
                let recorded = self.blind == BlindWrites::Record && by_another;
                self.take(self.stamp, recorded.then(|| self.replaced()))
            }
            Case::Conflict => self.decide(),
        }
    }

    fn case(&self) -> Case {
        if self
            .named()
            .all(|(member, edit)| edit.value == member.current.value)
        {
            return Case::Same;
        }
        if self.members.iter().all(|member| member.seen == Seen::Yes) {
            return Case::Seen;
        }
        let is_later = self
            .written()
            .all(|cell| cell.stamp.is_some_and(|stamp| stamp <= self.stamp));
        if self.is_bare && is_later {
            Case::Blind
        } else {
            Case::Conflict
        }
    }

    fn decide(&self) -> Vec<(usize, Merged)> {
        let wins = match self.policy {
            Policy::Manual => return self.keep(Outcome::Held, true),
            Policy::ServerWins => false,
            Policy::ClientWins => true,
            // A group makes no third value: the policies that would are refused for it.
            Policy::LastWriterWins
            | Policy::Max
            | Policy::Min
            | Policy::Counter
            | Policy::Set
            | Policy::Text
            | Policy::Json => self.current_stamp().is_none_or(|stamp| stamp <= self.stamp),
        };
        if wins && !self.would_mix() {
            self.take(self.stamp, Some(self.replaced()))
        } else {
            self.keep(Outcome::Superseded, false)
        }
    }

    /// Whether the edit leaves out a member that is not as the edit had it. A bare write says nothing of
    /// what it had, and is taken as SQL would take it.
    fn would_mix(&self) -> bool {
        self.members.iter().any(|member| {
            let may_differ = match member.seen {
                Seen::Yes => false,
                Seen::No => true,
                Seen::Unknown => !self.is_bare,
            };
            member.edit.is_none() && may_differ
        })
    }

    fn unchanged(&self) -> Vec<(usize, Merged)> {
        // An edit that lacks a member which has changed agrees on a part only, and stamps nothing.
        let agrees = self
            .members
            .iter()
            .all(|member| member.edit.is_some() || member.seen != Seen::No);
        let known = self.current_stamp();
        let advances = agrees && known.is_none_or(|known| self.stamp > known);
        let merged = self.named().map(|(member, _)| {
            let stamp = if advances {
                Some(self.stamp)
            } else {
                member.current.stamp
            };
            let cell = Cell {
                stamp,
                ..member.current.clone()
            };
            (member.at, outcome(Outcome::Unchanged, cell, false))
        });
        merged.collect()
    }

    fn take(&self, stamp: Stamp, loss: Option<Loss>) -> Vec<(usize, Merged)> {
        let merged = self.named().map(|(member, edit)| {
            let cell = Cell {
                value: edit.value.clone(),
                stamp: Some(stamp),
                version: self.next,
            };
            let changed = edit.value != member.current.value;
            (member.at, outcome(Outcome::Applied, cell, changed))
        });
        with_loss(merged.collect(), loss)
    }

    fn keep(&self, as_told: Outcome, open: bool) -> Vec<(usize, Merged)> {
        let merged = self
            .named()
            .map(|(member, _)| (member.at, outcome(as_told, member.current.clone(), false)));
        with_loss(merged.collect(), Some(self.refused(open)))
    }

    fn kind(&self) -> LossKind {
        LossKind::Group(self.members.first().map_or(0, |member| member.at))
    }

    fn base(&self) -> Option<Side> {
        let bases = self
            .named()
            .filter_map(|(member, edit)| Some((member.at, edit.base.clone()?)));
        let bases: Vec<(usize, Value)> = bases.collect();
        (!bases.is_empty()).then_some(Side::Group(bases))
    }

    fn current(&self) -> Side {
        let members = self.members.iter();
        Side::Group(
            members
                .map(|member| (member.at, member.current.value.clone()))
                .collect(),
        )
    }

    /// The current values lose to the edit.
    fn replaced(&self) -> Loss {
        let edited = self.members.iter().map(|member| {
            let value = member
                .edit
                .map_or(&member.current.value, |edit| &edit.value);
            (member.at, value.clone())
        });
        Loss {
            kind: self.kind(),
            base: self.base(),
            kept: Side::Group(edited.collect()),
            kept_stamp: Some(self.stamp),
            lost: self.current(),
            lost_stamp: self.current_stamp(),
            open: false,
        }
    }

    /// The edit loses to the current values, or waits.
    fn refused(&self, open: bool) -> Loss {
        let sent = self
            .named()
            .map(|(member, edit)| (member.at, edit.value.clone()));
        Loss {
            kind: self.kind(),
            base: self.base(),
            kept: self.current(),
            kept_stamp: self.current_stamp(),
            lost: Side::Group(sent.collect()),
            lost_stamp: Some(self.stamp),
            open,
        }
    }
}

fn outcome(outcome: Outcome, cell: Cell, changed: bool) -> Merged {
    Merged {
        outcome,
        cell,
        changed,
        loss: None,
    }
}

fn with_loss(mut columns: Vec<(usize, Merged)>, loss: Option<Loss>) -> Vec<(usize, Merged)> {
    if let Some((_, first)) = columns.first_mut() {
        first.loss = loss;
    }
    columns
}
