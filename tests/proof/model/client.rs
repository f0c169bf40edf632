//! What a client does to its file: the app's writes, freezing, settling, taking a page. Each function is one
//! transaction.

use super::state::{
    CLIENTS, COLUMNS, Client, Edited, Held, Line, Page, Push, Receipt, Value, value,
};
use super::wrong::Wrong;

impl Client {
    /// The app writes `new` to a column, and a trigger notes it.
    pub(super) fn write(&mut self, seq: u8, column: usize, new: Value) {
        self.log.push(Line {
            seq,
            column,
            old: self.row[column],
            new,
        });
        self.row[column] = new;
    }

    /// Freezes what the row comes to against its Originals.
    pub(super) fn freeze(&mut self, ahead: [u8; CLIENTS]) {
        let mut columns = [None; COLUMNS];
        for (column, edited) in columns.iter_mut().enumerate() {
            let edited_value = self.row[column];
            *edited = self
                .first_line(column)
                .filter(|line| line.old != edited_value)
                .map(|_line| Edited {
                    value: edited_value,
                    base: self.base(column),
                    time: written_at(edited_value, ahead),
                });
        }
        self.frozen = Some(Push {
            number: self.number + 1,
            base: self.version,
            columns,
            upto: self.last_seq(),
        });
    }

    /// Settles the frozen push by its receipt.
    pub(super) fn settle(&mut self, receipt: &Receipt, wrong: Option<Wrong>) {
        let Some(push) = self.frozen.take() else {
            return;
        };
        let went_on = self.log.iter().any(|line| line.seq > push.upto);
        self.log.retain(|line| match wrong {
            Some(Wrong::SettlesNothing) => true,
            Some(Wrong::SettlesWhatWasNotSent) => false,
            Some(_) | None => line.seq > push.upto,
        });
        self.number = push.number;
        self.version = receipt.version;
        let mut told = receipt.told;
        for (column, value) in told.iter_mut().enumerate() {
            if push.columns[column].is_none() && wrong == Some(Wrong::VersionWithoutChanged) {
                *value = None;
            }
        }
        if went_on && wrong != Some(Wrong::ReceiptOverLaterEdits) {
            self.settle_beside_later_edits(&push, told);
        } else {
            self.settle_all(&push, told, wrong);
        }
    }

    /// The row is what the server has: what it told, and what waited of other columns.
    fn settle_all(&mut self, push: &Push, told: [Option<Value>; COLUMNS], wrong: Option<Wrong>) {
        for (column, told) in told.into_iter().enumerate() {
            let pushed = push.columns[column].is_some() && wrong != Some(Wrong::HeldComesBack);
            let waited = self.held.columns[column].filter(|_| !pushed);
            if let Some(value) = told.or(waited) {
                self.row[column] = value;
            }
        }
        self.held = Held::default();
    }

    /// The app has written since: those columns keep its values, and what the server has of them waits.
    fn settle_beside_later_edits(&mut self, push: &Push, told: [Option<Value>; COLUMNS]) {
        for (column, told) in told.into_iter().enumerate() {
            let later = self.log.iter_mut().find(|line| line.column == column);
            match (told, push.columns[column]) {
                (None, Some(sent)) => {
                    // The server has what was sent: that is the Original of what was written after it.
                    self.held.bases[column] = None;
                    self.held.columns[column] = None;
                    if let Some(line) = later {
                        line.old = sent.value;
                    }
                }
                (Some(value), sent) => {
                    if later.is_some() {
                        let base = sent.map_or(push.base, |sent| sent.base);
                        self.held.bases[column].get_or_insert(base);
                        self.held.columns[column] = Some(value);
                    } else {
                        self.held.bases[column] = None;
                        self.held.columns[column] = None;
                        self.row[column] = value;
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// Writes a page, and the cursor with it.
    pub(super) fn take(&mut self, page: &Page, wrong: Option<Wrong>) {
        self.cursor = page.cursor;
        if page.columns == [None; COLUMNS] {
            return;
        }
        for (held, came) in self.held.columns.iter_mut().zip(page.columns) {
            *held = came.or(*held);
        }
        let known = self.version;
        self.version = page.version;
        let over_edits = wrong == Some(Wrong::PullOverUnpushedEdits);
        for column in 0..COLUMNS {
            let is_edited = self.first_line(column).is_some() && !over_edits;
            if is_edited {
                let base = &mut self.held.bases[column];
                match wrong {
                    Some(Wrong::PullMovesTheBase) => {}
                    Some(Wrong::NextMovesTheBase) => *base = Some(known),
                    Some(_) | None => drop(base.get_or_insert(known)),
                }
            } else if let Some(value) = self.held.columns[column].take() {
                self.row[column] = value;
            }
        }
        if self.log.is_empty() {
            self.held = Held::default();
        }
    }
}

/// When a value was written, by its client's clock.
fn written_at(written: Value, ahead: [u8; CLIENTS]) -> u8 {
    let client = usize::from(written / 8);
    debug_assert!(written > value(client, 0));
    ahead[client] + written % 8
}
