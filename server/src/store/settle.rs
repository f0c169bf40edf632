//! What a database needs before the first pull when it, or a table of it, is not the one that it was: it has come up in
//! another PostgreSQL cluster, or a table was dropped and put back from a dump of its own.

use std::collections::BTreeMap;

use super::adopt::HAS_MOVED;
use super::conn::Conn;
use super::error::StoreError;
use super::internal;
use super::pg::rows::POSITION;
use super::statement::Statement;
use colsync_shared::sql::quote;

/// Where the name of the cluster stands in `colsync_meta`.
const CLUSTER: &str = "cluster";

/// Where the adopted tables' oids stand there, by their names; a JSON object. A table keeps its own until it is dropped.
const OIDS: &str = "oids";

/// By the tables' names.
type Oids = BTreeMap<String, i64>;

/// Where rows are.
struct Place {
    cluster: String,
    oids: Oids,
}

impl Conn {
    /// Transaction ids mean nothing in another cluster than the one they come from: a restored dump may
    /// hold ids from this cluster's future, and its rows would stay invisible. A table's own dump holds ids from the past,
    /// which every cursor has behind it, and versions that clients know of other values. So rows are stamped anew,
    /// and cursors of the old history expire with its anchors.
    pub(super) fn settle_in(&mut self) -> Result<(), StoreError> {
        let Conn::Pg(_) = self else { return Ok(()) };
        let here = self.place()?;
        let cluster = internal::meta(self, CLUSTER)?;
        let oids = internal::meta(self, OIDS)?;
        let mut oids: Oids = match oids {
            None => Oids::new(),
            Some(json) => serde_json::from_str(&json)
                .map_err(|_unreadable| StoreError::Corrupt(format!("{OIDS} in colsync_meta")))?,
        };
        let is_known = |(name, oid): (&String, &i64)| oids.get(name) == Some(oid);
        if cluster.as_ref() == Some(&here.cluster) && here.oids.iter().all(is_known) {
            return Ok(());
        }
        let has_moved = cluster.is_some_and(|cluster| cluster != here.cluster);
        let is_another = |(name, oid): &(&String, &i64)| {
            has_moved || oids.get(*name).is_some_and(|before| before != *oid)
        };
        let others = here.oids.iter().filter(is_another);
        let others: Vec<&String> = others.map(|(name, _)| name).collect();
        if has_moved {
            log::warn!(
                "the database has moved to another cluster: all rows are stamped anew, clients will resync"
            );
        } else if !others.is_empty() {
            log::warn!(
                "tables were made anew: {others:?}: their rows are stamped anew, clients will resync"
            );
        }
        // One that is not there now, or not adopted, may come back.
        oids.extend(here.oids.clone());
        self.unhurried(|conn| conn.settle(has_moved, &others, &here.cluster, &oids))
    }

    /// Of tables that are there, and have what is stamped.
    fn place(&mut self) -> Result<Place, StoreError> {
        let sql = "SELECT (SELECT system_identifier FROM pg_control_system())::text || ':' || \
                   (SELECT oid FROM pg_database WHERE datname = current_database())::text";
        let rows = self.load(Statement::once(sql, Vec::new()))?;
        let cluster = rows
            .first()
            .and_then(|row| Some(row.0.first()?.text()?.to_owned()))
            .ok_or_else(|| StoreError::Corrupt("no system identifier".to_owned()))?;
        let sql = "SELECT t.name, a.attrelid::bigint FROM colsync_tables t, pg_attribute a \
                   WHERE a.attrelid = to_regclass(quote_ident(t.name)) AND NOT a.attisdropped \
                   AND a.attname IN ('sync_txid', 'sync_stamps') GROUP BY 1, 2 HAVING count(*) = 2";
        let rows = self.load(Statement::once(sql, Vec::new()))?;
        let oids = rows.iter().filter_map(|row| match row.0.as_slice() {
            [name, oid] => Some((name.text()?.to_owned(), oid.int()?)),
            _ => None,
        });
        Ok(Place {
            cluster,
            oids: oids.collect(),
        })
    }

    fn settle(
        &mut self,
        has_moved: bool,
        others: &[&String],
        cluster: &str,
        oids: &Oids,
    ) -> Result<(), StoreError> {
        let oids = serde_json::to_string(oids)
            .map_err(|broken| StoreError::Corrupt(format!("{OIDS} as JSON: {broken}")))?;
        self.begin_write()?;
        let done = self
            .restamp(has_moved, others)
            .and_then(|()| internal::set_meta(self, CLUSTER, cluster))
            .and_then(|()| internal::set_meta(self, OIDS, &oids));
        match done.and_then(|()| self.commit_write()) {
            Ok(()) => Ok(()),
            Err(failure) => {
                self.rollback();
                Err(failure)
            }
        }
    }

    fn restamp(&mut self, has_moved: bool, others: &[&String]) -> Result<(), StoreError> {
        for table in others {
            // The birth and every column's change happened at this transaction, as far as the feed goes. Rows as
            // adopted are at a position that means the same everywhere.
            let sql = format!(
                "UPDATE {} SET sync_txid = {POSITION}, sync_stamps = (\
                 SELECT jsonb_object_agg(key, jsonb_set(value, ARRAY[(jsonb_array_length(value) - 1)::text], \
                 to_jsonb({POSITION}))) FROM jsonb_each(sync_stamps)) WHERE {HAS_MOVED}",
                quote(table)
            );
            self.execute(Statement::once(sql, Vec::new()))?;
        }
        if has_moved {
            self.batch(&format!("UPDATE colsync_tombstones SET txid = {POSITION}"))?;
        }
        if has_moved || !others.is_empty() {
            self.batch("DELETE FROM colsync_anchors")?;
        }
        Ok(())
    }
}
