//! What is measured: a server whose table is adopted, and a plain table of the same shape for the baseline.
//!
//! PostgreSQL has both tables in one database. SQLite has one writer a file, so they are in two.

use std::ops::Deref;

use colsync_tests::Backend;
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection as _;

use crate::prepared::{Bind, Sql, execute};
use crate::served::{Place, Served, sqlite};

/// Values written are below this: two in a row are hardly ever the same.
pub(crate) const VALUES: u64 = 1 << 40;

const POSTGRES: &str = "CREATE TABLE $ (id uuid PRIMARY KEY, title text NOT NULL, notes text,
    state text NOT NULL, label text, priority bigint NOT NULL, quantity bigint NOT NULL,
    stock bigint NOT NULL, price double precision NOT NULL, done boolean NOT NULL);
    INSERT INTO $ SELECT ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
    'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM generate_series(1, #) AS g(n);";
const SQLITE: &str =
    "CREATE TABLE $ (id UUID PRIMARY KEY NOT NULL, title TEXT NOT NULL, notes TEXT,
    state TEXT NOT NULL, label TEXT, priority INTEGER NOT NULL, quantity INTEGER NOT NULL,
    stock INTEGER NOT NULL, price REAL NOT NULL, done BOOLEAN NOT NULL);
    WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < #)
    INSERT INTO $ SELECT printf('018f0000-0000-7000-8000-%012x', n),
    'title ' || n, 'notes that are somewhat longer than the title ' || n,
    'open', NULL, n % 5, n, 2 * n, n / 4.0, n % 2 = 0 FROM g;";

/// The key of the row of this number: a UUID, as most tables have that are to be synced.
pub(crate) fn key(number: u64) -> String {
    format!("018f0000-0000-7000-8000-{number:012x}")
}

/// The size of both tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Rows, whose keys are [`key`] of 1 to this.
    pub(crate) rows: u64,
    /// Columns, no fewer than ten. The further ones are integers.
    pub(crate) columns: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            rows: 10_000,
            columns: 10,
        }
    }
}

impl Shape {
    /// What makes the table `name`.
    fn sql(self, backend: Backend, name: &str) -> String {
        let (sql, integer) = match backend {
            Backend::Postgres => (POSTGRES, "bigint"),
            Backend::Sqlite => (SQLITE, "INTEGER"),
        };
        let further = 10..self.columns;
        let columns = further
            .clone()
            .map(|at| format!(", c{at} {integer} NOT NULL"));
        let columns: String = columns.collect();
        let values: String = further.map(|at| format!(", n % {}", 1_000 + at)).collect();
        sql.replace('$', name)
            .replace('#', &self.rows.to_string())
            .replace(" NOT NULL);", &format!(" NOT NULL{columns});"))
            .replace("n % 2 = 0 FROM", &format!("n % 2 = 0{values} FROM"))
            + &format!("ANALYZE {name};")
    }
}

struct SetQuantity;

impl Sql for SetQuantity {
    const TEXT: &'static str = "UPDATE plain SET quantity = ? WHERE id = ?";
}

/// Writes one row of the plain table in SQLite.
pub(crate) fn set_quantity(conn: &mut SqliteConnection, id: &str, quantity: i64) {
    let updated = execute::<SetQuantity>(conn, &[Bind::Int(quantity), Bind::Text(id)]);
    assert_eq!(updated, 1);
}

/// A server and its database.
pub(crate) struct Subject {
    served: Served,
    pub(crate) shape: Shape,
}

impl Subject {
    /// Makes the tables, adopts one and serves it.
    pub(crate) fn start(backend: Backend, shape: Shape) -> Subject {
        let place = Place::new(backend);
        place.batch(&shape.sql(backend, "items"));
        match backend {
            Backend::Postgres => place.batch(&shape.sql(backend, "plain")),
            Backend::Sqlite => sqlite(&plain_path(&place))
                .batch_execute(&shape.sql(backend, "plain"))
                .unwrap(),
        }
        Subject {
            served: place.serve("items"),
            shape,
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
        self.int("SELECT CAST(sum(sync_version - 1) AS bigint) AS n FROM items")
    }

    /// How many conflicts the ledger has.
    pub(crate) fn conflicts(&self) -> u64 {
        self.int("SELECT count(*) AS n FROM colsync_conflicts")
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
