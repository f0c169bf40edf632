//! What becomes of an edit that the server has refused: it is sent again, is moot, or is a dead letter.

use std::collections::BTreeMap;

use colsync_shared::Op;
use colsync_shared::receipt::Receipt;
use colsync_shared::sqlite::Stored;

use super::One;
use crate::error::Error;
use crate::inbox::held::{self, Held};
use crate::inbox::{apply, versions};
use crate::outbox::edit::WireEdit;
use crate::outbox::letters;

/// Whether an edit that was refused with this code may pass after others: of rows that it points to, of such as point to
/// its row, or of one that has a value which no two may have. An API that knows no sync has no code of its own for that.
fn may_pass_later(code: &str) -> bool {
    matches!(
        code,
        "constraint_violation" | "http_400" | "http_404" | "http_409" | "http_422"
    )
}

impl One<'_> {
    /// `refused` are earlier edits of the row, of which the receipt does not tell.
    pub(super) fn rejected(
        &mut self,
        receipt: &Receipt,
        refused: &[(WireEdit, Receipt)],
        last: bool,
    ) -> Result<(), Error> {
        let code = receipt.rejection.as_ref().map_or("", |r| r.code.as_str());
        match (code, self.edit.op) {
            // The app has edited the row since: that is what is to be judged.
            _ if self.went_on => self.again(),
            ("unknown_table" | "unknown_column", _) => {
                self.settled.schema_changed = true;
                self.again();
            }
            (code, _) if !last && may_pass_later(code) => self.again(),
            ("row_not_found" | "row_gone", Op::Delete | Op::HardDelete) => {
                // What the app wanted is so.
                self.tell(&[], refused)?;
                self.forget_settled_lines(true)?;
                held::forget(self.file, &self.row)?;
                versions::forget(self.file, &self.row)?;
            }
            ("row_not_found", Op::Update) => {
                // The server has lost the row, or never had it: the file has all of it.
                self.forget_settled_lines(true)?;
                self.file.execute(
                    "INSERT INTO colsync_log (op, table_number, row_id, old, at_ms) VALUES (1, :?, :?, 1, :?)",
                    &[
                        Stored::Int(self.row.table),
                        self.row.id.0.clone(),
                        Stored::Int(self.history.at_ms),
                    ],
                )?;
                self.again();
            }
            (_, _) => self.refused(receipt)?,
        }
        Ok(())
    }

    /// The edit becomes a dead letter, and the row what the server has.
    fn refused(&mut self, receipt: &Receipt) -> Result<(), Error> {
        self.settled.rejected += 1;
        let held = held::of(self.file, &self.row)?;
        let gone = receipt
            .rejection
            .as_ref()
            .is_some_and(|rejection| rejection.code == "row_gone");
        let removed = gone || held.removed || (self.makes() && !held.full);
        // The app's row goes with what it had written to it, or is another one then.
        let leaves = removed || self.makes();
        let unsent = if leaves {
            self.unsent_and_own()?
        } else {
            BTreeMap::new()
        };
        let mut edit = self.edit.clone();
        let (row, missing) = (&mut self.row, &self.missing);
        self.batch
            .refused(self.file, self.paired, row, &mut edit, missing)?;
        for (name, column) in &mut edit.columns {
            column.base = self.original(name);
        }
        edit.columns.extend(unsent);
        letters::add(self.file, &edit, receipt, self.now)?;
        let waiting = self.forget_settled_lines(leaves)?;
        let waiting = self.there(&waiting);
        let is_waiting = |name: &str| waiting.iter().any(|one| one == name);
        let mut held = held::of(self.file, &self.row)?;
        let apart = held.split_off(is_waiting);
        let mut columns = held.columns.clone();
        if !self.makes() {
            columns = self.originals();
            columns.retain(|name, _| !is_waiting(name));
            columns.extend(held.columns.clone());
        }
        let back = Held {
            removed,
            full: (self.makes() && held.full) || matches!(edit.op, Op::Delete | Op::HardDelete),
            columns,
            version: held.version,
            ..Held::default()
        };
        apply::put_or_hold(self.file, self.paired, &self.row, &back)?;
        if apart.is_empty() {
            return Ok(());
        }
        let mut held = held::of(self.file, &self.row)?;
        held.columns.extend(apart.columns);
        held.bases.extend(apart.bases);
        held::amend(self.file, &self.row, &held)
    }

    fn again(&mut self) {
        self.settled.again.push(self.row.clone());
    }
}
