//! A database of a PostgreSQL that the simulation has started.
//!
//! Its clock is the simulation's: a row, which a function reads that stands before PostgreSQL's own. Queries come in
//! SQLite's words.

use std::path::Path;
use std::rc::Rc;

use colsync_tests::Cluster;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, RunQueryDsl as _};

use super::Seedling;
use super::asked::Asked;
use crate::simulation::clock::{self, Clock};

/// A database, and a connection of a program that is not colsync.
pub(super) struct Served {
    cluster: Rc<Cluster>,
    url: String,
    clock: Clock,
    conn: PgConnection,
}

/// What every database of a simulation has.
const SET_UP: &str = "
CREATE TABLE simulated_clock (micros BIGINT NOT NULL);
INSERT INTO simulated_clock VALUES (0);
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT 'epoch'::timestamptz + micros * interval '1 microsecond' FROM public.simulated_clock $$;
CREATE FUNCTION simulated_json(text) RETURNS json LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1::json $$;
CREATE FUNCTION simulated_json(jsonb) RETURNS json LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1::json $$;
CREATE FUNCTION hex(uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT upper(replace($1::text, '-', '')) $$;
";

/// The ledger in the order in which it was written, as SQLite has it.
const ROWIDS: &str =
    "ALTER TABLE colsync_conflicts ADD COLUMN rowid BIGINT GENERATED ALWAYS AS IDENTITY";

/// A PostgreSQL for simulations.
pub(crate) fn cluster(within: &Path) -> Cluster {
    let cluster = Cluster::start_with(&colsync_tests::cluster::Setup {
        within: Some(within.to_owned()),
        ..Default::default()
    });
    // The simulation's clock stands before PostgreSQL's.
    cluster.maintain("ALTER ROLE postgres SET search_path = public, pg_catalog");
    cluster
}

impl Served {
    /// A new database, without tables.
    pub(super) fn new(cluster: &Rc<Cluster>, clock: &Clock) -> Served {
        let mut served = Served::at(cluster, cluster.database(), clock);
        served.conn.batch_execute(SET_UP).unwrap();
        served
    }

    /// A copy of the one at `url`, to which nobody is connected.
    pub(super) fn like(cluster: &Rc<Cluster>, url: &str, clock: &Clock) -> Served {
        Served::at(cluster, cluster.database_like(url), clock)
    }

    fn at(cluster: &Rc<Cluster>, url: String, clock: &Clock) -> Served {
        Served {
            cluster: cluster.clone(),
            conn: PgConnection::establish(&url).unwrap(),
            url,
            clock: clock.clone(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn execute(&mut self, sql: &str) -> Result<(), String> {
        // As SQLite has it, in ms.
        let micros = clock::now(&self.clock) / 1_000 * 1_000;
        self.conn
            .batch_execute(&format!(
                "UPDATE simulated_clock SET micros = {micros}; {sql}"
            ))
            .map_err(|refused| format!("{sql}: {refused}"))
    }

    pub(super) fn texts(&mut self, sql: &str, given: &[&str]) -> Vec<String> {
        let sql = sql
            .replace("json_array(", "json_build_array(")
            .replace("json(", "simulated_json(");
        Asked::new(&sql, given)
            .load(&mut self.conn)
            .unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    /// Dumps it, while others may write.
    pub(super) fn copy(&self, to: &Path) {
        self.cluster.dump(&self.url, &[], to);
    }

    /// Puts a new database in its place, as a dump has it.
    pub(super) fn replace(&mut self, copied: &Path) {
        let url = self.cluster.database();
        self.cluster
            .restore(&url, &["--no-owner", "--single-transaction"], copied);
        self.cluster.drop_database(&self.url);
        *self = Served::at(&self.cluster, url, &self.clock);
    }

    /// Counts the ledger's entries, and ends the connection.
    pub(super) fn close(mut self) -> Seedling {
        self.conn.batch_execute(ROWIDS).unwrap();
        Seedling::Served(self.cluster, self.url)
    }

    /// Removes it.
    pub(super) fn remove(self) {
        drop(self.conn);
        self.cluster.drop_database(&self.url);
    }
}
