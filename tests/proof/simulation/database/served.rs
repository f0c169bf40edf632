//! A database of a PostgreSQL that the simulation has started.
//!
//! Its clock is the simulation's: a row, which a function reads that stands before PostgreSQL's own. Queries come in
//! SQLite's words.

use std::path::{Path, PathBuf};
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
    /// Ended while PostgreSQL is stopped.
    conn: Option<PgConnection>,
    /// Whether copies are of all its cluster's files, in place of dumps.
    pub(super) copies_files: bool,
}

/// A transaction of another program. Where it is dropped, it is rolled back.
pub(crate) struct Opened {
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

impl Opened {
    pub(crate) fn commit(mut self) {
        self.conn.batch_execute("COMMIT").unwrap();
    }
}

impl Served {
    /// A new database, without tables.
    pub(super) fn new(cluster: &Rc<Cluster>, clock: &Clock) -> Served {
        let mut served = Served::at(cluster, cluster.database(), clock);
        served.conn().batch_execute(SET_UP).unwrap();
        served
    }

    /// A copy of the one at `url`, to which nobody is connected.
    pub(super) fn like(cluster: &Rc<Cluster>, url: &str, clock: &Clock) -> Served {
        Served::at(cluster, cluster.database_like(url), clock)
    }

    fn at(cluster: &Rc<Cluster>, url: String, clock: &Clock) -> Served {
        Served {
            cluster: cluster.clone(),
            conn: Some(PgConnection::establish(&url).unwrap()),
            url,
            clock: clock.clone(),
            copies_files: false,
        }
    }

    fn conn(&mut self) -> &mut PgConnection {
        self.conn.as_mut().unwrap()
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn execute(&mut self, sql: &str) -> Result<(), String> {
        let set = self.set_clock();
        self.conn()
            .batch_execute(&format!("{set}; {sql}"))
            .map_err(|refused| format!("{sql}: {refused}"))
    }

    /// Sets the database's clock to what the simulation's says: in ms, as SQLite has it.
    fn set_clock(&self) -> String {
        let micros = clock::now(&self.clock) / 1_000 * 1_000;
        format!("UPDATE simulated_clock SET micros = {micros}")
    }

    pub(super) fn open(&mut self, sql: &str) -> Result<Opened, String> {
        // The clock is not part of the transaction: others set it meanwhile.
        let set = self.set_clock();
        self.conn().batch_execute(&set).unwrap();
        let mut conn = PgConnection::establish(&self.url).unwrap();
        conn.batch_execute(&format!("BEGIN; {sql}"))
            .map_err(|refused| format!("{sql}: {refused}"))?;
        Ok(Opened { conn })
    }

    pub(super) fn texts(&mut self, sql: &str, given: &[&str]) -> Vec<String> {
        let sql = sql
            .replace("json_array(", "json_build_array(")
            .replace("json(", "simulated_json(");
        Asked::new(&sql, given)
            .load(self.conn())
            .unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    /// Copies it, while others may write; a dump is made at `to`.
    pub(super) fn copy(&self, to: PathBuf) -> PathBuf {
        if self.copies_files {
            return self.cluster.base_backup();
        }
        self.cluster.dump(&self.url, &[], &to);
        to
    }

    /// Goes back to a copy: with the whole cluster, or in a new database.
    pub(super) fn replace(&mut self, copied: &Path) {
        self.conn = None;
        if self.copies_files {
            self.cluster.go_back(copied);
        } else {
            let url = self.cluster.database();
            self.cluster
                .restore(&url, &["--no-owner", "--single-transaction"], copied);
            self.cluster.drop_database(&self.url);
            self.url = url;
        }
        self.conn = Some(PgConnection::establish(&self.url).unwrap());
    }

    /// Counts the ledger's entries, and ends the connection.
    pub(super) fn close(mut self) -> Seedling {
        self.conn().batch_execute(ROWIDS).unwrap();
        Seedling::Served(self.cluster, self.url)
    }

    /// Removes it.
    pub(super) fn remove(self) {
        drop(self.conn);
        self.cluster.drop_database(&self.url);
    }
}
