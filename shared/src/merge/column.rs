//! One column's merge.

use std::cmp::Ordering;

use super::{Cell, Loss, LossKind, Merged, Side, View, merging};
use crate::receipt::Outcome;
use crate::schema::BlindWrites;
use crate::{ClientId, ColumnType, Policy, Stamp, Value};

/// An edit of one column, ready to merge.
#[derive(Debug, Clone)]
pub struct CellEdit<'a> {
    /// The edited value.
    pub value: &'a Value,
    /// The Original value, where the client sent it.
    pub base: Option<&'a Value>,
    /// What the client had in view.
    pub view: View<'a>,
    /// Who made the edit and when.
    pub stamp: Stamp,
}

/// How a column merges.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Position of the column, for the ledger.
    pub column: usize,
    /// Its type, for the order of values.
    pub ty: &'a ColumnType,
    /// Who wins a true conflict.
    pub policy: Policy,
    /// What becomes of values replaced unseen.
    pub blind: BlindWrites,
}

/// What an edit is to the column's current value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// It has the value already.
    Same,
    /// It was made with the current value in view.
    Seen,
    /// It names no base and is the later one.
    Blind,
    /// Both sides changed the column.
    Conflict,
}

/// How a policy decides.
enum Verdict {
    Edited,
    Current,
    /// One of the two values by the policy's own order, or one made of both; nothing is lost.
    Merged(Value),
    /// One value made of both, but for a part in which one side lost: the edit, unless it `wins`.
    Partly {
        value: Value,
        wins: bool,
    },
    Hold,
}

/// Merges `edit` into `current`, a column of a row at `row_version`. A changed value gets the version
/// `next`.
#[must_use]
pub fn merge(
    current: &Cell,
    edit: &CellEdit<'_>,
    rules: Rules<'_>,
    row_version: i64,
    next: i64,
) -> Merged {
    match case(current, edit, rules.policy, row_version) {
        Case::Same => unchanged(current, edit.stamp),
        Case::Seen => take(current, edit, edit.stamp.after(current.stamp), next, None),
        Case::Blind => {
            // Nobody knows whether two anonymous writers are one.
            let by_another = edit.stamp.client == ClientId::ANONYMOUS
                || current
                    .stamp
                    .is_none_or(|stamp| stamp.client != edit.stamp.client);
            let recorded = rules.blind == BlindWrites::Record && by_another;
            let loss = recorded.then(|| replaced(LossKind::Blind(rules.column), current, edit));
            take(current, edit, edit.stamp, next, loss)
        }
        Case::Conflict => decide(current, edit, rules, next),
    }
}

fn case(current: &Cell, edit: &CellEdit<'_>, policy: Policy, row_version: i64) -> Case {
    let saw = edit.view.saw(current.version, row_version);
    // Whoever edited from something else has not seen what an earlier edit of its push left.
    let merged_since = edit.view.own.contains(&current.version)
        && edit.base.is_some_and(|base| *base != current.value);
    let in_view = (saw == Some(true) && !merged_since) || edit.base == Some(&current.value);
    if *edit.value == current.value {
        // Two who each counted one up from 5 agree on 6, and mean 7.
        let counts = policy == Policy::Counter && !in_view && edit.base.is_some();
        return if counts { Case::Conflict } else { Case::Same };
    }
    if in_view {
        return Case::Seen;
    }
    // A base version of another history tells nothing of what was in view, but it is no bare write's.
    let has_base = saw.is_some() || edit.view.version.is_some() || edit.base.is_some();
    let earlier = current.stamp.is_some_and(|stamp| stamp <= edit.stamp);
    if !has_base && earlier {
        Case::Blind
    } else {
        Case::Conflict
    }
}

fn decide(current: &Cell, edit: &CellEdit<'_>, rules: Rules<'_>, next: i64) -> Merged {
    let kind = LossKind::Column(rules.column);
    match verdict(current, edit, rules) {
        Verdict::Edited => {
            let loss = Some(replaced(kind, current, edit));
            take(current, edit, edit.stamp, next, loss)
        }
        Verdict::Current => keep(
            current,
            Outcome::Superseded,
            refused(kind, current, edit, false),
        ),
        Verdict::Hold => keep(current, Outcome::Held, refused(kind, current, edit, true)),
        Verdict::Merged(value) => merged(current, edit, value, next),
        Verdict::Partly { value, wins } => {
            let loss = if wins {
                replaced(kind, current, edit)
            } else {
                refused(kind, current, edit, false)
            };
            let merged = merged(current, edit, value, next);
            let loss = Loss {
                kept: Side::Value(merged.cell.value.clone()),
                ..loss
            };
            Merged {
                loss: Some(loss),
                ..merged
            }
        }
    }
}

/// A value made of both: with the later of both times, and the edit's client.
fn merged(current: &Cell, edit: &CellEdit<'_>, value: Value, next: i64) -> Merged {
    let changed = value != current.value;
    let time = current
        .stamp
        .map_or(edit.stamp.time, |stamp| stamp.time.max(edit.stamp.time));
    let cell = if changed {
        Cell {
            value,
            stamp: Some(Stamp { time, ..edit.stamp }),
            version: next,
        }
    } else {
        current.clone()
    };
    Merged {
        outcome: Outcome::Merged,
        cell,
        changed,
        loss: None,
    }
}

fn verdict(current: &Cell, edit: &CellEdit<'_>, rules: Rules<'_>) -> Verdict {
    match rules.policy {
        Policy::LastWriterWins => later(current, edit),
        Policy::ServerWins => Verdict::Current,
        Policy::ClientWins => Verdict::Edited,
        Policy::Max => Verdict::Merged(extreme(current, edit, rules.ty, Ordering::Greater)),
        Policy::Min => Verdict::Merged(extreme(current, edit, rules.ty, Ordering::Less)),
        Policy::Manual => Verdict::Hold,
        Policy::Counter => edit
            .base
            .and_then(|base| merging::counter(rules.ty, &current.value, base, edit.value))
            .map_or_else(|| later(current, edit), Verdict::Merged),
        Policy::Set => edit
            .base
            .and_then(|base| merging::set(&current.value, base, edit.value))
            .map_or_else(|| later(current, edit), Verdict::Merged),
        Policy::Text => edit
            .base
            .and_then(|base| merging::text(&current.value, base, edit.value))
            // Each side's text may fit the column, and the text of both not.
            .filter(|text| rules.ty.decode(&rules.ty.encode(text)).is_ok())
            .map_or_else(|| later(current, edit), Verdict::Merged),
        Policy::Json => {
            let wins = current.stamp.is_none_or(|stamp| stamp <= edit.stamp);
            edit.base
                .and_then(|base| merging::json(&current.value, base, edit.value, wins))
                .map_or_else(
                    || later(current, edit),
                    |(value, clash)| match clash {
                        false => Verdict::Merged(value),
                        true => Verdict::Partly { value, wins },
                    },
                )
        }
    }
}

/// The later of the two.
fn later(current: &Cell, edit: &CellEdit<'_>) -> Verdict {
    if *edit.value == current.value {
        return Verdict::Merged(current.value.clone());
    }
    match current.stamp {
        Some(stamp) if stamp > edit.stamp => Verdict::Current,
        // The same stamp again is a client's later arrival; an unknown one is no later than any.
        Some(_) | None => Verdict::Edited,
    }
}

/// The greater or lesser of the two values; NULL loses to any other.
fn extreme(current: &Cell, edit: &CellEdit<'_>, ty: &ColumnType, wanted: Ordering) -> Value {
    let edited = if edit.value.is_null() {
        false
    } else {
        current.value.is_null() || ty.compare(edit.value, &current.value) == wanted
    };
    if edited {
        edit.value.clone()
    } else {
        current.value.clone()
    }
}

/// The edit's value is current already: the later stamp stays.
pub(super) fn unchanged(current: &Cell, stamp: Stamp) -> Merged {
    let advanced = current.stamp.is_none_or(|known| stamp > known);
    let stamp = if advanced { Some(stamp) } else { current.stamp };
    Merged {
        outcome: Outcome::Unchanged,
        cell: Cell {
            stamp,
            ..current.clone()
        },
        changed: false,
        loss: None,
    }
}

fn take(
    current: &Cell,
    edit: &CellEdit<'_>,
    stamp: Stamp,
    next: i64,
    loss: Option<Loss>,
) -> Merged {
    debug_assert!(*edit.value != current.value);
    let cell = Cell {
        value: edit.value.clone(),
        stamp: Some(stamp),
        version: next,
    };
    Merged {
        outcome: Outcome::Applied,
        cell,
        changed: true,
        loss,
    }
}

fn keep(current: &Cell, outcome: Outcome, loss: Loss) -> Merged {
    Merged {
        outcome,
        cell: current.clone(),
        changed: false,
        loss: Some(loss),
    }
}

/// The current value loses to the edit.
fn replaced(kind: LossKind, current: &Cell, edit: &CellEdit<'_>) -> Loss {
    Loss {
        kind,
        base: edit.base.cloned().map(Side::Value),
        kept: Side::Value(edit.value.clone()),
        kept_stamp: Some(edit.stamp),
        lost: Side::Value(current.value.clone()),
        lost_stamp: current.stamp,
        open: false,
    }
}

/// The edit loses to the current value, or waits.
fn refused(kind: LossKind, current: &Cell, edit: &CellEdit<'_>, open: bool) -> Loss {
    Loss {
        kind,
        base: edit.base.cloned().map(Side::Value),
        kept: Side::Value(current.value.clone()),
        kept_stamp: current.stamp,
        lost: Side::Value(edit.value.clone()),
        lost_stamp: Some(edit.stamp),
        open,
    }
}
