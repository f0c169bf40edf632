//! Batches: pushes of several clients, against a plain bulk UPDATE of as many rows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use colsync_tests::{Backend, clock};
use diesel::RunQueryDsl as _;
use diesel::sql_types::{Array, BigInt};
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::load::{Load, Work};
use crate::random::Random;
use crate::subject::{ROWS, Subject, VALUES, set_quantity};

const CLIENTS: u64 = 4;
const BATCH: usize = 500;

const BULK: &str = "UPDATE plain SET quantity = v.quantity \
    FROM unnest($1, $2) AS v(id, quantity) WHERE plain.id = v.id";

/// One client, which edits its share of the rows and knows their versions from its receipts.
struct Pusher {
    connection: Connection,
    random: Random,
    number: i64,
    rows: Vec<Row>,
    body: String,
}

struct Row {
    id: u64,
    version: i64,
}

/// All clients, on one thread.
pub(crate) struct Pushers {
    runtime: Runtime,
    pushers: Vec<Pusher>,
    applied: u64,
}

impl Pushers {
    /// Connects and sends a first push each, which makes the clients known.
    pub(crate) fn new(subject: &Subject) -> Pushers {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = subject.address();
        let pushers: Vec<Pusher> = runtime.block_on(async {
            let mut pushers = Vec::new();
            for number in 0..CLIENTS {
                let id = format!("b0000000-0000-4000-8000-{number:012x}");
                let own = (1..=ROWS).filter(|row| row % CLIENTS == number);
                let mut pusher = Pusher {
                    connection: Connection::open(&address, &id).await,
                    random: Random::new(number),
                    number: 0,
                    rows: own.map(|id| Row { id, version: 1 }).collect(),
                    body: String::new(),
                };
                pusher.push().await;
                pushers.push(pusher);
            }
            pushers
        });
        Pushers {
            runtime,
            pushers,
            applied: CLIENTS * BATCH as u64,
        }
    }
}

impl Load for Pushers {
    fn baseline(&self, subject: &Subject, time: Duration) -> Work {
        let mut random = Random::new(CLIENTS);
        let mut update = bulk_update(subject);
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < time {
            // A stride that is prime to the number of rows meets none twice.
            let first = random.below(ROWS);
            let ids = (0..BATCH as u64).map(|step| 1 + ((first + step * 7_919) % ROWS) as i64);
            let values = (0..BATCH).map(|_| random.below(VALUES) as i64);
            update(ids.collect(), values.collect());
            done += BATCH as u64;
        }
        Work {
            done,
            took: start.elapsed(),
        }
    }

    fn run(&mut self, time: Duration, latencies: &mut Vec<u64>) -> Work {
        let pushers = std::mem::take(&mut self.pushers);
        let start = Instant::now();
        let ended = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for pusher in pushers {
                tasks.spawn(pusher.run(start + time));
            }
            tasks.join_all().await
        });
        let took = start.elapsed();
        let mut done = 0;
        for (pusher, mut waited) in ended {
            done += (waited.len() * BATCH) as u64;
            latencies.append(&mut waited);
            self.pushers.push(pusher);
        }
        self.applied += done;
        Work { done, took }
    }

    fn applied(&self) -> u64 {
        self.applied
    }
}

impl Pusher {
    async fn run(mut self, until: Instant) -> (Pusher, Vec<u64>) {
        let mut latencies = Vec::new();
        while Instant::now() < until {
            latencies.push(self.push().await);
        }
        (self, latencies)
    }

    /// Edits one column of [`BATCH`] rows; gives the µs from the request to its answer.
    async fn push(&mut self) -> u64 {
        self.number += 1;
        // The first rows of the list are the batch: chosen anew each time, none twice.
        for place in 0..BATCH {
            let left = (self.rows.len() - place) as u64;
            let other = place + self.random.below(left) as usize;
            self.rows.swap(place, other);
        }
        let now = clock::now_with(0);
        self.body.clear();
        write!(self.body, "{{\"push\":{},\"edits\":[", self.number).unwrap();
        for (place, row) in self.rows[..BATCH].iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(
                self.body,
                "{comma}{{\"table\":\"items\",\"id\":\"{}\",\"op\":\"update\",\"base_version\":{},\
                 \"at\":\"{now}\",\"columns\":{{\"quantity\":{{\"value\":{}}}}}}}",
                row.id,
                row.version,
                self.random.below(VALUES)
            )
            .unwrap();
        }
        self.body.push_str("]}");
        let sent = Instant::now();
        let answer = self
            .connection
            .send(
                "POST /v1/sync/push",
                "application/json",
                self.body.as_bytes(),
            )
            .await;
        let waited = sent.elapsed().as_micros() as u64;
        let answer: Json = serde_json::from_slice(answer).unwrap();
        let receipts = answer["receipts"].as_array().unwrap();
        assert_eq!(receipts.len(), BATCH);
        for (row, receipt) in self.rows.iter_mut().zip(receipts) {
            let outcome = &receipt["columns"]["quantity"]["outcome"];
            assert_eq!(outcome, "applied", "{receipt}");
            row.version = receipt["version"].as_i64().unwrap();
        }
        waited
    }
}

/// What sets the columns of these rows to these values, on one connection to the plain table.
fn bulk_update(subject: &Subject) -> Box<dyn FnMut(Vec<i64>, Vec<i64>)> {
    match subject.backend {
        Backend::Postgres => {
            let mut conn = subject.pg();
            Box::new(move |ids, values| {
                let updated = diesel::sql_query(BULK)
                    .bind::<Array<BigInt>, _>(ids)
                    .bind::<Array<BigInt>, _>(values)
                    .execute(&mut conn);
                assert_eq!(updated, Ok(BATCH));
            })
        }
        Backend::Sqlite => {
            let mut conn = subject.plain_file();
            Box::new(move |ids, values| {
                let committed: diesel::QueryResult<()> = conn.immediate_transaction(|conn| {
                    for (id, value) in ids.iter().zip(&values) {
                        set_quantity(conn, *id, *value);
                    }
                    Ok(())
                });
                committed.unwrap();
            })
        }
    }
}
