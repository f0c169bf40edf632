//! The merge: base first, clock second.
//!
//! Pure: no clock, no randomness, no I/O, and it cannot fail. A row's columns merge one by one
//! ([`column`]), those of a group together (`group`); what happens to the row as a whole, deletes and
//! inserts among it, is in [`row`].
//!
//! ```text
//! edited = current?              -> unchanged
//! column seen by the edit?       -> applied, whatever the clocks say
//! no base, and later by stamp?   -> applied, like SQL
//! otherwise a true conflict      -> the column's policy decides; what loses becomes a Loss
//! ```

pub mod column;
mod group;
mod merging;
mod own;
pub mod row;

pub use own::Own;

use crate::receipt::Outcome;
use crate::{Stamp, Value};

/// A column, or the row's deleted flag, as it is in the server's database under the row's lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The current value.
    pub value: Value,
    /// Who wrote it last and when; `None` if unknown.
    pub stamp: Option<Stamp>,
    /// The row's version at the last change of this column; [`UNWRITTEN`] if nobody ever wrote it.
    pub version: i64,
}

/// The version of a column that holds what the database put there when the row was made: NULL, or a
/// default. Every edit has seen it, as there is nothing to see.
pub const UNWRITTEN: i64 = 0;

/// A row as it is in the server's database under its lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row's counter.
    pub version: i64,
    /// The deleted flag, a [`Value::Bool`].
    pub deleted: Cell,
    /// The columns, in the table's order.
    pub cells: Vec<Cell>,
}

/// What an edit had in view.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    /// The version of the row that the client knew.
    pub version: Option<i64>,
    /// Versions that earlier edits of the same push made, where their client has seen what they left ([`Own`]).
    pub own: &'a [i64],
}

impl View<'_> {
    /// Of whoever had nothing in view.
    pub(crate) fn of_nothing() -> View<'static> {
        View {
            version: Some(UNWRITTEN),
            own: &[],
        }
    }

    /// Whether the change that made `version` was in view; `None` if the edit does not say.
    ///
    /// A base version beyond the row's is from another history (a restored database) and says nothing.
    #[must_use]
    pub fn saw(&self, version: i64, row_version: i64) -> Option<bool> {
        if version == UNWRITTEN || self.own.contains(&version) {
            return Some(true);
        }
        self.version
            .filter(|&base| base <= row_version)
            .map(|base| version <= base)
    }
}

/// What merging one cell gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// For the receipt.
    pub outcome: Outcome,
    /// The cell afterwards. Its version is the one given to the merge if the value, or another of its group,
    /// changed.
    pub cell: Cell,
    /// Whether the value changed.
    pub changed: bool,
    /// What lost, if anything did.
    pub loss: Option<Loss>,
}

/// A value that lost: what the ledger keeps of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// What the conflict was about.
    pub kind: LossKind,
    /// The value both sides started from, if the edit told.
    pub base: Option<Side>,
    /// What stands in the row now.
    pub kept: Side,
    /// Who wrote it.
    pub kept_stamp: Option<Stamp>,
    /// What does not.
    pub lost: Side,
    /// Who wrote that.
    pub lost_stamp: Option<Stamp>,
    /// Whether it waits for an administrator, or a policy has decided it.
    pub open: bool,
}

/// What a conflict was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// One column, at this position.
    Column(usize),
    /// A value that a bare write replaced unseen, in the column at this position.
    Blind(usize),
    /// The columns of a group, of which this is the first one's position; also what a bare write replaced
    /// unseen in it.
    Group(usize),
    /// A delete against edits.
    Deleted,
    /// A whole row.
    Row,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub enum Side {
    /// A column's value.
    Value(Value),
    /// Values of a group's columns (position and value): all of them, or those that an edit named.
    Group(Vec<(usize, Value)>),
    /// A row that is deleted.
    Deleted,
    /// A row that is there, with these columns of it (position and value).
    Alive(Vec<(usize, Value)>),
}
