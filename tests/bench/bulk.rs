//! Batches without a server: many rows of the plain table by one connection, as fast as each database can.

use std::time::{Duration, Instant};

use colsync_tests::Backend;
use diesel::RunQueryDsl as _;
use diesel::sql_types::{Array, BigInt, Uuid as PgUuid};
use uuid::Uuid;

use crate::load::Work;
use crate::random::Random;
use crate::subject::{Subject, VALUES, key, set_quantity};

/// Rows of one statement on PostgreSQL.
const STATEMENT_ROWS: usize = 500;
/// Rows of one transaction on SQLite.
const TRANSACTION_ROWS: usize = 5_000;

const BULK: &str = "UPDATE plain SET quantity = v.quantity \
    FROM unnest($1, $2) AS v(id, quantity) WHERE plain.id = v.id";

/// Sets one column of as many rows as there is `time` for.
pub(crate) fn updates(subject: &Subject, time: Duration) -> Work {
    let rows = subject.shape.rows;
    let mut random = Random::new(rows);
    let (together, mut update) = update(subject);
    let keys: Vec<String> = (1..=rows).map(key).collect();
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < time {
        // A stride that is prime to the number of rows meets none twice.
        let first = random.below(rows);
        let places = (0..together as u64).map(|step| ((first + step * 7_919) % rows) as usize);
        let ids = places.map(|place| keys[place].as_str());
        let values = (0..together).map(|_| random.below(VALUES) as i64);
        update(&ids.collect::<Vec<_>>(), &values.collect::<Vec<_>>());
        done += together as u64;
    }
    Work {
        done,
        took: start.elapsed(),
        latencies: Vec::new(),
    }
}

type Update = Box<dyn FnMut(&[&str], &[i64])>;

/// What sets the columns of so many rows to these values, on one connection to the plain table.
fn update(subject: &Subject) -> (usize, Update) {
    match subject.backend {
        Backend::Postgres => {
            let mut conn = subject.pg();
            let update: Update = Box::new(move |ids, values| {
                let ids: Vec<Uuid> = ids.iter().map(|id| id.parse().unwrap()).collect();
                let updated = diesel::sql_query(BULK)
                    .bind::<Array<PgUuid>, _>(ids)
                    .bind::<Array<BigInt>, _>(values)
                    .execute(&mut conn);
                assert_eq!(updated, Ok(STATEMENT_ROWS));
            });
            (STATEMENT_ROWS, update)
        }
        Backend::Sqlite => {
            let mut conn = subject.plain_file();
            let update: Update = Box::new(move |ids, values| {
                let committed: diesel::QueryResult<()> = conn.immediate_transaction(|conn| {
                    for (id, value) in ids.iter().zip(values) {
                        set_quantity(conn, id, *value);
                    }
                    Ok(())
                });
                committed.unwrap();
            });
            (TRANSACTION_ROWS, update)
        }
    }
}
