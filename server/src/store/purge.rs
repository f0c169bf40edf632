//! What is forgotten after the retention time, and that whoever still needed it is told.

use colsync_shared::Time;

use super::conn::{Backend, Conn};
use super::error::StoreError;
use super::statement::{Bind, Statement};

impl Conn {
    /// Forgets tombstones, anchors and remembered answers from before `cutoff`. A cursor of an anchor
    /// forgotten here expires, so that no client misses a purge; the last push of a client stays
    /// repeatable for ever. The ledger is never touched.
    pub(crate) fn purge(&mut self, cutoff: Time) -> Result<(), StoreError> {
        self.begin_write()?;
        // Anchors first: a tombstone must not be gone while a cursor from before it is still good. What deleted the
        // row may have committed long after it did that, so an anchor's time does not tell what is visible there.
        let seen_by_all = match self.backend() {
            Backend::Pg => {
                "DELETE FROM colsync_tombstones WHERE deleted_at < :? AND txid < (SELECT \
                 coalesce(min(split_part(horizon, ':', 1)::bigint), 9223372036854775807) FROM colsync_anchors)"
            }
            Backend::Sqlite => {
                "DELETE FROM colsync_tombstones WHERE deleted_at < :? AND txid < (SELECT \
                 coalesce(min(CAST(horizon AS INTEGER)), 9223372036854775807) FROM colsync_anchors)"
            }
        };
        let statements = [
            "DELETE FROM colsync_anchors WHERE recorded_at < :?",
            seen_by_all,
            "DELETE FROM colsync_requests WHERE at < :?",
            "DELETE FROM colsync_pushes WHERE at < :? AND number < \
             (SELECT c.last_push FROM colsync_clients AS c WHERE c.id = colsync_pushes.client)",
        ];
        let mut done = Ok(());
        for sql in statements {
            done = done.and_then(|()| {
                self.execute(Statement::once(sql, vec![Bind::Int(cutoff.micros())]))
                    .map(drop)
            });
        }
        match done.and_then(|()| self.commit_write()) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.rollback();
                Err(failure)
            }
        }
    }
}
