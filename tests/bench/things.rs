//! A table as an app has one: ten columns of mixed types under a UUID, about 200 bytes a row.
//!
//! Every value follows from the row's number, so that it is known what a database must hold. The keys are
//! in the order of time (RFC 9562, version 7): a key of that kind costs the plain table the least.

use std::io::Write;

use colsync_tests::Backend;
use diesel::connection::DefaultLoadingMode;
use diesel::prelude::Queryable;
use diesel::sql_types::BigInt;
use diesel::{
    ExecuteCopyFromDsl as _, PgConnection, QueryDsl as _, RunQueryDsl as _, SqliteConnection,
};
use serde_json::{Value as Json, json};

use crate::prepared::{Bind, Sql, execute};
use crate::random::Random;
use crate::served::{Place, Served};

/// Its statement for SQLite.
pub(crate) const SQLITE: &str =
    "CREATE TABLE things (id UUID PRIMARY KEY NOT NULL, title TEXT NOT NULL,
    notes TEXT, state TEXT NOT NULL, label TEXT, due TIMESTAMP NOT NULL, priority INTEGER NOT NULL,
    quantity INTEGER NOT NULL, price REAL NOT NULL, done BOOLEAN NOT NULL);";
/// Its statement for PostgreSQL.
pub(crate) const POSTGRES: &str = "CREATE TABLE things (id uuid PRIMARY KEY, title text NOT NULL,
    notes text, state text NOT NULL, label text, due timestamp NOT NULL, priority bigint NOT NULL,
    quantity bigint NOT NULL, price double precision NOT NULL, done boolean NOT NULL);";

const WORDS: [&str; 16] = [
    "river", "stone", "paper", "garden", "signal", "market", "window", "copper", "autumn",
    "letter", "harbour", "engine", "meadow", "ladder", "silver", "orchard",
];
const STATES: [&str; 4] = ["open", "waiting", "active", "closed"];

diesel::table! {
    /// The table, on either side.
    things (id) {
        id -> Text,
        title -> Text,
        notes -> Nullable<Text>,
        state -> Text,
        label -> Nullable<Text>,
        due -> Text,
        priority -> BigInt,
        quantity -> BigInt,
        price -> Double,
        done -> Bool,
    }
}

struct Insert;

impl Sql for Insert {
    const TEXT: &'static str = "INSERT INTO things (id, title, notes, state, label, due, priority, \
         quantity, price, done) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
}

struct SetQuantity;

impl Sql for SetQuantity {
    const TEXT: &'static str = "UPDATE things SET quantity = ? WHERE id = ?";
}

struct SetTitle;

impl Sql for SetTitle {
    const TEXT: &'static str = "UPDATE things SET title = ? WHERE id = ?";
}

/// A row.
#[derive(Debug, Queryable)]
pub(crate) struct Thing {
    pub(crate) id: String,
    pub(crate) title: String,
    notes: Option<String>,
    state: String,
    label: Option<String>,
    due: String,
    priority: i64,
    pub(crate) quantity: i64,
    price: f64,
    done: bool,
}

impl Thing {
    /// The row of this number.
    pub(crate) fn of(number: u64) -> Thing {
        let mut random = Random::new(number);
        let mut words = |count: usize| -> String {
            let words = (0..count).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]);
            words.collect::<Vec<_>>().join(" ")
        };
        let title = words(3);
        let notes = words(13);
        let label = words(1);
        let ms = 0x018f_0000_0000 + number * 37;
        let id = format!(
            "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
            ms >> 16,
            ms & 0xffff,
            random.below(1 << 12),
            random.below(1 << 12),
            random.below(1 << 48)
        );
        let (second, fraction) = (random.below(86_400), random.below(1_000_000));
        Thing {
            id,
            title,
            notes: Some(notes),
            state: STATES[random.below(4) as usize].to_owned(),
            label: (random.below(3) == 0).then_some(label),
            due: format!(
                "2026-{:02}-{:02} {:02}:{:02}:{:02}.{fraction:06}",
                1 + random.below(12),
                1 + random.below(28),
                second / 3600,
                second / 60 % 60,
                second % 60
            ),
            priority: random.below(5) as i64,
            quantity: random.below(100_000) as i64,
            price: random.below(100_000) as f64 / 100.0,
            done: random.below(2) == 0,
        }
    }

    /// Adds it, by a statement that is prepared once a connection.
    pub(crate) fn insert(&self, conn: &mut SqliteConnection) {
        let inserted = execute::<Insert>(
            conn,
            &[
                Bind::Text(&self.id),
                Bind::Text(&self.title),
                Bind::Maybe(self.notes.as_deref()),
                Bind::Text(&self.state),
                Bind::Maybe(self.label.as_deref()),
                Bind::Text(&self.due),
                Bind::Int(self.priority),
                Bind::Int(self.quantity),
                Bind::Real(self.price),
                Bind::Int(i64::from(self.done)),
            ],
        );
        assert_eq!(inserted, 1);
    }

    /// As the server writes it to a client.
    pub(crate) fn json(&self) -> Json {
        json!({
            "id": self.id, "title": self.title, "notes": self.notes, "state": self.state,
            "label": self.label, "due": self.due.replace(' ', "T"), "priority": self.priority,
            "quantity": self.quantity, "price": self.price, "done": self.done,
        })
    }

    /// Writes it as a line of PostgreSQL's `COPY` in its text format. No value needs an escape.
    fn write(&self, out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
        let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "\\N".to_owned());
        writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            self.id,
            self.title,
            or_null(&self.notes),
            self.state,
            or_null(&self.label),
            self.due,
            self.priority,
            self.quantity,
            self.price,
            if self.done { 't' } else { 'f' }
        )
    }

    /// Reads such a line.
    pub(crate) fn read(line: &str) -> Thing {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap();
        let text = |field: &str| field.to_owned();
        let nullable = |field: &str| (field != "\\N").then(|| field.to_owned());
        Thing {
            id: text(field()),
            title: text(field()),
            notes: nullable(field()),
            state: text(field()),
            label: nullable(field()),
            due: text(field()),
            priority: field().parse().unwrap(),
            quantity: field().parse().unwrap(),
            price: field().parse().unwrap(),
            done: field() == "t",
        }
    }
}

/// The sum of the column `quantity` over the rows of numbers 1 to `rows`, as they were made.
pub(crate) fn quantities(rows: u64) -> i64 {
    (1..=rows).map(|number| Thing::of(number).quantity).sum()
}

/// Adds the rows of numbers 1 to `rows` in one transaction.
pub(crate) fn fill_file(conn: &mut SqliteConnection, rows: u64) {
    let filled: diesel::QueryResult<()> = conn.immediate_transaction(|conn| {
        (1..=rows).for_each(|number| Thing::of(number).insert(conn));
        Ok(())
    });
    filled.unwrap();
}

/// Adds the rows of numbers 1 to `rows`.
pub(crate) fn fill_pg(conn: &mut PgConnection, rows: u64) {
    let copied = diesel::copy_from(things::table)
        .from_raw_data(things::table, |out| -> diesel::QueryResult<()> {
            (1..=rows)
                .try_for_each(|number| Thing::of(number).write(out))
                .map_err(|failure| diesel::result::Error::SerializationError(failure.into()))
        })
        .execute(conn);
    assert_eq!(copied, Ok(rows as usize));
}

/// Writes every row to `out` by the shortest way there is.
pub(crate) fn export_file(conn: &mut SqliteConnection, out: &mut impl Write) {
    let rows = things::table.load_iter::<Thing, DefaultLoadingMode>(conn);
    for row in rows.unwrap() {
        row.unwrap().write(out).unwrap();
    }
}

/// Writes every row to `out` by the shortest way there is.
pub(crate) fn export_pg(conn: &mut PgConnection, out: &mut impl Write) {
    let mut rows = diesel::copy_to(things::table).load_raw(conn).unwrap();
    std::io::copy(&mut rows, out).unwrap();
}

/// A database whose table has the rows of numbers 1 to `rows`, and no server.
pub(crate) fn place(backend: Backend, rows: u64) -> Place {
    let place = Place::new(backend);
    match backend {
        Backend::Postgres => {
            place.batch(POSTGRES);
            fill_pg(&mut place.pg(), rows);
        }
        Backend::Sqlite => {
            place.batch(SQLITE);
            fill_file(&mut place.file(), rows);
        }
    }
    place
}

/// A server whose table has so many rows that nobody has edited.
pub(crate) fn serve(backend: Backend, rows: u64) -> Served {
    let served = place(backend, rows).serve("things");
    served.place.tidy("things");
    served
}

/// How many rows a file has, and the sum of their quantities.
pub(crate) fn counted(conn: &mut SqliteConnection) -> (u64, i64) {
    let count: i64 = things::table.count().get_result(conn).unwrap();
    let quantities = things::table.select(diesel::dsl::sql::<BigInt>("coalesce(sum(quantity), 0)"));
    (count as u64, quantities.get_result(conn).unwrap())
}

/// Sets one column of one row, by a statement that is prepared once a connection.
pub(crate) fn set_quantity(conn: &mut SqliteConnection, id: &str, quantity: i64) {
    let updated = execute::<SetQuantity>(conn, &[Bind::Int(quantity), Bind::Text(id)]);
    assert_eq!(updated, 1);
}

/// As [`set_quantity`], of a text.
pub(crate) fn set_title(conn: &mut SqliteConnection, id: &str, title: &str) {
    let updated = execute::<SetTitle>(conn, &[Bind::Text(title), Bind::Text(id)]);
    assert_eq!(updated, 1);
}
