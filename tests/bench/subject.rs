//! What is measured: a server whose table is adopted, and a plain table of the same shape for the baseline.
//!
//! PostgreSQL has both tables in one database. SQLite has one writer a file, so they are in two.

use std::ops::Deref;

use colsync_tests::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection};

use crate::prepared::{Bind, Sql, execute};
use crate::served::{Place, Served, sqlite};

/// Rows of either table; their keys are 1 to this.
pub(crate) const ROWS: u64 = 10_000;
/// Values written are below this: two in a row are hardly ever the same.
pub(crate) const VALUES: u64 = 1 << 40;

const POSTGRES: &str = "CREATE TABLE $ (id bigint PRIMARY KEY, title text NOT NULL, notes text,
    state text NOT NULL, label text, priority bigint NOT NULL, quantity bigint NOT NULL,
    stock bigint NOT NULL, price double precision NOT NULL, done boolean NOT NULL);
    INSERT INTO $ SELECT n, 'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM generate_series(1, 10000) AS g(n);
    ANALYZE $;";
const SQLITE: &str = "CREATE TABLE $ (id INTEGER PRIMARY KEY, title TEXT NOT NULL, notes TEXT,
    state TEXT NOT NULL, label TEXT, priority INTEGER NOT NULL, quantity INTEGER NOT NULL,
    stock INTEGER NOT NULL, price REAL NOT NULL, done BOOLEAN NOT NULL);
    WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 10000)
    INSERT INTO $ SELECT n, 'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM g;
    ANALYZE $;";

struct SetQuantity;

impl Sql for SetQuantity {
    const TEXT: &'static str = "UPDATE plain SET quantity = ? WHERE id = ?";
}

/// Writes one row of the plain table in SQLite.
pub(crate) fn set_quantity(conn: &mut SqliteConnection, id: i64, quantity: i64) {
    let updated = execute::<SetQuantity>(conn, &[Bind::Int(quantity), Bind::Int(id)]);
    assert_eq!(updated, 1);
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// A server and its database.
pub(crate) struct Subject {
    served: Served,
}

impl Subject {
    /// Makes the tables, adopts one and serves it.
    pub(crate) fn start(backend: Backend) -> Subject {
        let place = Place::new(backend);
        let plain = |sql: &str| sql.replace('$', "plain");
        match backend {
            Backend::Postgres => {
                place.batch(&POSTGRES.replace('$', "items"));
                place.batch(&plain(POSTGRES));
            }
            Backend::Sqlite => {
                place.batch(&SQLITE.replace('$', "items"));
                let beside = plain_path(&place);
                sqlite(&beside).batch_execute(&plain(SQLITE)).unwrap();
            }
        }
        Subject {
            served: place.serve("items"),
        }
    }

    /// A connection to the file of the plain table, as durable as the server's.
    pub(crate) fn plain_file(&self) -> SqliteConnection {
        sqlite(&plain_path(&self.served.place))
    }

    /// Writes out what the last measurement left to be written, so that the next does not pay for it.
    pub(crate) fn settle(&self) {
        match self.backend {
            Backend::Postgres => self.pg().batch_execute("CHECKPOINT").unwrap(),
            Backend::Sqlite => {
                let settled = "PRAGMA wal_checkpoint(PASSIVE)";
                self.plain_file().batch_execute(settled).unwrap();
                self.file().batch_execute(settled).unwrap();
            }
        }
    }

    /// How many versions the rows have got since they were adopted.
    pub(crate) fn versions(&self) -> u64 {
        let query =
            diesel::sql_query("SELECT CAST(sum(sync_version - 1) AS bigint) AS n FROM items");
        let count: Count = match self.backend {
            Backend::Postgres => query.get_result(&mut self.pg()).unwrap(),
            Backend::Sqlite => query.get_result(&mut self.file()).unwrap(),
        };
        count.n.try_into().unwrap()
    }

    /// Stops the server.
    pub(crate) fn stop(self) {
        self.served.stop();
    }

    /// Where the server answers.
    pub(crate) fn address(&self) -> String {
        self.served.address()
    }
}

impl Deref for Subject {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.served.place
    }
}

fn plain_path(place: &Place) -> String {
    place.folder.path().join("plain.db").display().to_string()
}
