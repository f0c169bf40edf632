//! What the server does in one transaction: a push, merged or recognised, and a pull.

use super::state::{
    Answer, Cell, Columns, Database, Edited, Page, Push, Receipt, Stamp, State, Value,
};
use super::wrong::Wrong;

/// What merging a column came to.
enum Case {
    /// It has the value already.
    Same,
    /// It is written, made with the current value in view.
    Seen,
    /// It is written over a value that loses.
    Wins,
    /// It loses.
    Loses,
}

impl Database {
    /// Merges a push, or answers it as before.
    pub(super) fn push(
        &mut self,
        client: usize,
        push: &Push,
        wrong: Option<Wrong>,
        state: &State,
    ) -> Answer {
        let last = self.last_push[client];
        let is_known = match wrong {
            Some(Wrong::OnlyTheLastPushIsKnown) => push.number == last,
            Some(_) | None => push.number <= last,
        };
        if is_known {
            let known = self.receipts[client].get(usize::from(push.number) - 1);
            return match known {
                Some((same, receipt)) if same.is_same(push) => Answer::Receipt(*receipt),
                Some(_) | None => Answer::Refused,
            };
        }
        let takes_any = matches!(
            wrong,
            Some(
                Wrong::NewNumberAtARetry | Wrong::NoReceiptsStored | Wrong::OnlyTheLastPushIsKnown
            )
        );
        if push.number != last + 1 && !takes_any {
            return Answer::Refused;
        }
        let receipt = self.merge(client, push, wrong, state);
        if wrong != Some(Wrong::NoReceiptsStored) {
            self.last_push[client] = push.number.max(last);
        }
        if !matches!(
            wrong,
            Some(Wrong::NoReceiptsStored | Wrong::NumberWithoutReceipts)
        ) {
            self.receipts[client].push((*push, receipt));
        }
        Answer::Receipt(receipt)
    }

    fn merge(
        &mut self,
        client: usize,
        push: &Push,
        wrong: Option<Wrong>,
        state: &State,
    ) -> Receipt {
        let mut next = self.clone();
        next.position += 1;
        for (column, edited) in push.columns.iter().enumerate() {
            let Some(edited) = edited else { continue };
            let stamp = Stamp {
                time: edited.time,
                client: client as u8,
            };
            let current = self.cells[column];
            let case = self.case(&current, edited, stamp, wrong);
            next.remember(&current, edited, &case, state);
            let written = |time| Cell {
                value: edited.value,
                stamp: Stamp { time, ..stamp },
                version: self.version + 1,
                position: self.position + 1,
            };
            match case {
                Case::Same => {
                    let stamp = current.stamp.max(stamp);
                    next.cells[column] = Cell { stamp, ..current };
                }
                Case::Seen => {
                    next.cells[column] = written(stamp.time.max(current.stamp.time + 1));
                }
                Case::Wins => {
                    next.lose(current.value, wrong);
                    next.cells[column] = written(stamp.time);
                }
                Case::Loses => next.lose(edited.value, wrong),
            }
        }
        if next.cells.iter().any(|cell| cell.version > self.version) {
            next.version += 1;
        } else {
            next.position = self.position;
        }
        *self = next;
        self.receipt(push)
    }

    /// Base first, clock second.
    fn case(&self, current: &Cell, edited: &Edited, stamp: Stamp, wrong: Option<Wrong>) -> Case {
        if edited.value == current.value {
            return Case::Same;
        }
        let has_seen = match wrong {
            Some(Wrong::ClockFirst) => false,
            Some(Wrong::EverythingCountsAsSeen) => true,
            Some(_) | None => current.version <= edited.base,
        };
        if has_seen {
            Case::Seen
        } else if current.stamp > stamp {
            Case::Loses
        } else {
            Case::Wins
        }
    }

    fn lose(&mut self, value: Value, wrong: Option<Wrong>) {
        if wrong != Some(Wrong::NoLedger) {
            self.ledger |= 1 << value;
        }
    }

    /// What promises speak of.
    fn remember(&mut self, current: &Cell, edited: &Edited, case: &Case, state: &State) {
        self.merged_twice |= self.merged & (1 << edited.value) != 0;
        self.merged |= 1 << edited.value;
        let was_in_view = state.had_in_view(edited.value, current.value);
        self.ignored |= matches!(case, Case::Loses) && was_in_view;
    }

    fn receipt(&self, push: &Push) -> Receipt {
        let mut told: Columns = [None; _];
        for (column, cell) in self.cells.iter().enumerate() {
            let differs = match push.columns[column] {
                Some(edited) => edited.value != cell.value,
                None => cell.version > push.base,
            };
            told[column] = differs.then_some(cell.value);
        }
        Receipt {
            version: self.version,
            told,
        }
    }

    /// What `client` lacks at `cursor`.
    pub(super) fn pull(&self, client: usize, cursor: u8) -> Page {
        let columns = self.cells.map(|cell| {
            let is_own = usize::from(cell.stamp.client) == client;
            (cell.position > cursor && !is_own).then_some(cell.value)
        });
        Page {
            columns,
            version: self.version,
            cursor: self.position,
        }
    }
}

impl Push {
    /// Whether it is the same on the wire.
    fn is_same(&self, other: &Push) -> bool {
        let on_the_wire = |push: &Push| (push.base, push.columns);
        on_the_wire(self) == on_the_wire(other)
    }
}
