//! What edits that are written one by one leave of constraints that the database would check at COMMIT only.

use super::{Draft, Item, StoreError, Transaction};
use crate::store::model::StoredRow;
use crate::sync::workspace::SlotId;

impl Transaction<'_> {
    /// The row that `item` is about, as it is before it.
    pub(super) fn before(&mut self, item: &Item) -> Option<StoredRow> {
        let slot = self.target(item)?;
        let slot = self.space.slot(slot)?;
        slot.row.clone().filter(|_row| !slot.table.late.is_empty())
    }

    /// Makes sure that what `item` has written of that row breaks none.
    pub(super) fn keys_hold(
        &mut self,
        item: &Item,
        draft: &Draft,
        before: Option<&StoredRow>,
    ) -> Result<(), StoreError> {
        let slot = match draft {
            Draft::Made { slot, .. } => Some(*slot),
            Draft::Done(_) | Draft::Refused { .. } => self.target(item),
        };
        match slot.and_then(|slot| self.space.slot(slot)) {
            Some(slot) => self.conn.keys_hold(&slot.table, before, slot.row.as_ref()),
            None => Ok(()),
        }
    }

    /// Whether the unique constraints hold that two edits of one submission may break for each other, as when two rows
    /// exchange their places. If not, the database takes no more before it has gone back.
    pub(super) fn uniques_hold(&mut self) -> Result<bool, StoreError> {
        let Some(names) = &self.schema.late_uniques else {
            return Ok(true);
        };
        let check = format!("SET CONSTRAINTS {names} IMMEDIATE; SET CONSTRAINTS {names} DEFERRED");
        match self.conn.batch(&check) {
            Ok(()) => Ok(true),
            Err(StoreError::Constraint { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn target(&mut self, item: &Item) -> Option<SlotId> {
        let decided = item.decides().and_then(|id| self.resolutions.get(&id));
        let decided = decided.and_then(|resolution| resolution.target());
        let (table, key) = item.target().or(decided)?;
        self.space.slot_of(table, Some(key))
    }
}
