//! What is forgotten after the retention time. Whoever still needed it is told.

use colsync_shared::Time;

use super::conn::Conn;
use super::error::StoreError;
use super::statement::{Bind, Statement};

impl Conn {
    /// Forgets anchors and remembered answers from before `cutoff`. A cursor of an anchor forgotten here expires, but no
    /// client is at it that has pulled since, and was told that nothing had changed; the last push of a client stays
    /// repeatable for ever. Tombstones and the ledger are never touched: a tombstone holds the version at which a later row
    /// of its key goes on (ADR 0020).
    pub(crate) fn purge(&mut self, cutoff: Time) -> Result<(), StoreError> {
        self.begin_write()?;
        let cutoff = Bind::Int(cutoff.micros());
        let statements = [
            "DELETE FROM colsync_anchors WHERE recorded_at < :? AND id NOT IN \
             (SELECT pulled_to FROM colsync_clients WHERE pulled_to IS NOT NULL AND pulled_at >= :?)",
            "DELETE FROM colsync_requests WHERE at < :?",
            "DELETE FROM colsync_pushes WHERE at < :? AND number < \
             (SELECT c.last_push FROM colsync_clients AS c WHERE c.id = colsync_pushes.client)",
        ];
        let mut done = Ok(());
        for sql in statements {
            let binds = vec![cutoff.clone(); sql.matches(":?").count()];
            done = done.and_then(|()| self.execute(Statement::once(sql, binds)).map(drop));
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
