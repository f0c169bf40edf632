//! An administrator's decision about a ledger entry: the edit that it makes, and the entry's new state with it.

use colsync_shared::Receipt;
use colsync_shared::receipt::Status;
use uuid::Uuid;

use super::super::draft;
use super::super::resolve::Written;
use super::super::submission::{Decision, Submission};
use super::{Draft, StoreError, Transaction, ledger};

impl Transaction<'_> {
    /// Merges what `decision` writes, and closes the entry if that is not rejected.
    pub(super) fn decide(
        &mut self,
        conflict: Uuid,
        decision: &Decision,
        submission: &Submission,
    ) -> Result<Draft, StoreError> {
        let Some(resolution) = self.resolutions.get(&conflict).cloned() else {
            let unknown = Receipt::rejected("", None, draft::not_found(conflict));
            return Ok(Draft::Done(unknown));
        };
        let version = resolution.target().and_then(|(table, key)| {
            let slot = self.space.slot_of(table, Some(key))?;
            Some(self.space.slot(slot)?.row.as_ref()?.version)
        });
        let Written { value, edit } = match resolution.edit(decision, version, self.now) {
            Ok(written) => written,
            Err(rejection) => return Ok(Draft::Done(Receipt::rejected("", None, rejection))),
        };
        let draft = match edit {
            None => Draft::Done(Receipt::of("", None, Status::Ok)),
            Some((table, spec, edit)) => self.edit(&table, &edit, submission, &spec)?,
        };
        if !draft.is_rejected() {
            ledger::resolve_conflict(self.conn, conflict, decision.name(), value, self.now)?;
            self.resolutions.insert(conflict, resolution.closed());
        }
        Ok(draft)
    }
}
