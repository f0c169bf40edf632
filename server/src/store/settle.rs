//! What a database needs before the first pull when it has come up in another PostgreSQL cluster.

use super::adopt::HAS_MOVED;
use super::conn::Conn;
use super::error::StoreError;
use super::internal;
use super::pg::rows::POSITION;
use super::statement::Statement;
use colsync_shared::sql::quote;

/// Where the name of the cluster stands in `colsync_meta`.
const CLUSTER: &str = "cluster";

impl Conn {
    /// Transaction ids mean nothing in another cluster than the one they come from: a restored dump may
    /// hold ids from this cluster's future, and its rows would stay invisible. So rows are stamped anew,
    /// and cursors of the old history expire with its anchors.
    pub(super) fn settle_in(&mut self) -> Result<(), StoreError> {
        let Conn::Pg(_) = self else { return Ok(()) };
        let sql = "SELECT (SELECT system_identifier FROM pg_control_system())::text || ':' || \
                   (SELECT oid FROM pg_database WHERE datname = current_database())::text, \
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        let rows = self.load(Statement::once(sql, Vec::new()))?;
        let here = rows
            .first()
            .and_then(|row| Some(row.0.first()?.text()?.to_owned()));
        let here = here.ok_or_else(|| StoreError::Corrupt("no system identifier".to_owned()))?;
        let known = internal::meta(self, CLUSTER)?;
        if known.as_deref() == Some(here.as_str()) {
            return Ok(());
        }
        self.unhurried(|conn| conn.settle(known.is_some(), &here))
    }

    fn settle(&mut self, moved: bool, here: &str) -> Result<(), StoreError> {
        self.begin_write()?;
        let done = self
            .restamp(moved)
            .and_then(|()| internal::set_meta(self, CLUSTER, here));
        match done.and_then(|()| self.commit_write()) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.rollback();
                Err(failure)
            }
        }
    }

    fn restamp(&mut self, moved: bool) -> Result<(), StoreError> {
        if !moved {
            return Ok(());
        }
        log::warn!(
            "the database has moved to another cluster: all rows are stamped anew, clients will resync"
        );
        for (table, _) in internal::adopted_tables(self)? {
            // The birth and every column's change happened at this transaction, as far as the feed goes. Rows as
            // adopted are at a position that means the same everywhere.
            let sql = format!(
                "UPDATE {} SET sync_txid = {POSITION}, sync_stamps = (\
                 SELECT jsonb_object_agg(key, jsonb_set(value, ARRAY[(jsonb_array_length(value) - 1)::text], \
                 to_jsonb({POSITION}))) FROM jsonb_each(sync_stamps)) WHERE {HAS_MOVED}",
                quote(&table)
            );
            self.execute(Statement::once(sql, Vec::new()))?;
        }
        self.batch(&format!(
            "UPDATE colsync_tombstones SET txid = {POSITION}; DELETE FROM colsync_anchors"
        ))
    }
}
