//! Whose failure it was that an edit met which was written by itself: its own, or the database's.

use super::{Item, StoreError, Transaction, refusal};
use crate::sync::resolve::Resolution;

impl Transaction<'_> {
    /// The failure of `item`, which carries out what was `decided` if it is a decision. Where the message may be either's, the
    /// table is asked, as it was before the edit.
    pub(super) fn judged(
        &mut self,
        item: &Item,
        decided: Option<&Resolution>,
        failure: StoreError,
    ) -> Result<StoreError, StoreError> {
        let decided = decided.and_then(Resolution::target);
        let table = refusal::table(item).or(decided.map(|(table, _)| table));
        Ok(match (failure, table) {
            (StoreError::Unclear(message), Some(table)) => {
                self.conn.rollback_to("edit")?;
                self.conn.judged(table, message)
            }
            (failure, _) => failure,
        })
    }
}
