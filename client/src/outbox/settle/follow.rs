//! Columns that a new row was sent without, and that follow it: they point to rows that had no id yet.

use std::collections::BTreeMap;

use colsync_shared::Op;
use colsync_shared::receipt::{Receipt, Rejection};
use serde_json::Value as Json;

use super::One;
use crate::error::Error;
use crate::inbox::held;
use crate::keys;
use crate::outbox::edit::WireEdit;
use crate::outbox::letters;

impl One<'_> {
    /// Columns that point to rows that had no id are pending edits of the row now.
    pub(super) fn follow(&mut self, receipt: &Receipt) -> Result<(), Error> {
        if self.missing.columns.is_empty() {
            return Ok(());
        }
        if receipt.deleted && !self.went_on {
            return self.cannot_follow();
        }
        let (upto, left_out) = (self.upto, &self.missing.columns);
        keys::keep_left_out(self.file, self.paired, &self.history, upto, left_out)?;
        if receipt.created {
            return Ok(());
        }
        // There was such a row. Nothing of what others had written to these columns was in the app's view.
        let before = self.before(receipt);
        let mut held = held::of(self.file, &self.row)?;
        for left_out in &self.missing.columns {
            if let Some(there) = self.paired.column(left_out.at) {
                held.note_base(&there.name, before);
                let value = left_out.there.clone().unwrap_or(Json::Null);
                held.columns.insert(there.name.clone(), value);
            }
        }
        held::amend(self.file, &self.row, &held)
    }

    /// The row was there, and is deleted: there is nothing that they could be edits of.
    fn cannot_follow(&mut self) -> Result<(), Error> {
        let (mut edit, receipt) = self.of_a_deleted_row();
        keys::put_back(self.paired, &self.missing.columns, &mut edit);
        self.settled.rejected += 1;
        letters::add(self.file, &edit, &receipt, self.now)
    }

    /// An edit of the row without columns, and its refusal: the row was deleted before they could be sent.
    pub(super) fn of_a_deleted_row(&self) -> (WireEdit, Receipt) {
        let (table, id) = (self.edit.table.clone(), self.edit.id.clone());
        let detail = "the row was deleted before a column of it could be sent";
        let receipt = Receipt::rejected(&table, id.clone(), Rejection::new("row_deleted", detail));
        let edit = WireEdit {
            table,
            id,
            op: Op::Update,
            base_version: None,
            at: self.edit.at,
            columns: BTreeMap::new(),
        };
        (edit, receipt)
    }
}
