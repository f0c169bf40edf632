//! What an edit written by itself leaves of foreign keys that the database would check at COMMIT only.

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

    fn target(&mut self, item: &Item) -> Option<SlotId> {
        let decided = item.decides().and_then(|id| self.resolutions.get(&id));
        let decided = decided.and_then(|resolution| resolution.target());
        let (table, key) = item.target().or(decided)?;
        self.space.slot_of(table, Some(key))
    }
}
