//! Single-row writes: PATCH requests on kept-alive connections, against single-row UPDATE transactions.

use std::time::{Duration, Instant};

use colsync_tests::{Backend, Cluster};
use serde_json::Value as Json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::load::{Load, Work};
use crate::random::Random;
use crate::subject::{ROWS, Subject, VALUES, set_quantity};

const CONNECTIONS: u64 = 32;

/// One client on a connection of its own.
struct Patcher {
    connection: Connection,
    random: Random,
    applied: u64,
}

/// All of them, on one thread: the database and the server need the cores.
pub(crate) struct Patchers {
    runtime: Runtime,
    patchers: Vec<Patcher>,
}

impl Patchers {
    /// Connects and sends a first request each, which makes the clients known.
    pub(crate) fn new(subject: &Subject) -> Patchers {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = subject.address();
        let patchers: Vec<Patcher> = runtime.block_on(async {
            let mut patchers = Vec::new();
            for number in 0..CONNECTIONS {
                let id = format!("b0000000-0000-4000-8000-{number:012x}");
                let mut patcher = Patcher {
                    connection: Connection::open(&address, &id).await,
                    random: Random::new(number),
                    applied: 0,
                };
                patcher.send().await;
                patchers.push(patcher);
            }
            patchers
        });
        Patchers { runtime, patchers }
    }
}

impl Load for Patchers {
    fn baseline(&self, subject: &Subject, time: Duration) -> Work {
        match subject.backend {
            Backend::Postgres => pgbench(subject, time),
            Backend::Sqlite => updates(subject, time),
        }
    }

    fn run(&mut self, time: Duration, latencies: &mut Vec<u64>) -> Work {
        let patchers = std::mem::take(&mut self.patchers);
        let start = Instant::now();
        let ended = self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for patcher in patchers {
                tasks.spawn(patcher.run(start + time));
            }
            tasks.join_all().await
        });
        let took = start.elapsed();
        let mut done = 0;
        for (patcher, mut waited) in ended {
            done += waited.len() as u64;
            latencies.append(&mut waited);
            self.patchers.push(patcher);
        }
        Work { done, took }
    }

    fn applied(&self) -> u64 {
        self.patchers.iter().map(|patcher| patcher.applied).sum()
    }
}

impl Patcher {
    async fn run(mut self, until: Instant) -> (Patcher, Vec<u64>) {
        let mut latencies = Vec::new();
        let mut sent = Instant::now();
        while sent < until {
            self.send().await;
            let answered = Instant::now();
            latencies.push((answered - sent).as_micros() as u64);
            sent = answered;
        }
        (self, latencies)
    }

    async fn send(&mut self) {
        let id = 1 + self.random.below(ROWS);
        let line = format!("PATCH /v1/tables/items/rows/{id}");
        let body = format!("{{\"quantity\":{}}}", self.random.below(VALUES));
        let media_type = "application/merge-patch+json";
        let answer = self.connection.send(&line, media_type, body.as_bytes());
        let receipt: Json = serde_json::from_slice(answer.await).unwrap();
        match receipt["columns"]["quantity"]["outcome"].as_str() {
            Some("applied") => self.applied += 1,
            // Of two requests for one row, the one that arrived first was committed last.
            Some("superseded") => {}
            _ => panic!("{receipt}"),
        }
    }
}

fn pgbench(subject: &Subject, time: Duration) -> Work {
    let script = subject.folder.path().join("update.sql");
    let text = format!(
        "\\set id random(1, {ROWS})\n\\set value random(0, {VALUES})\n\
         UPDATE plain SET quantity = :value WHERE id = :id;\n"
    );
    std::fs::write(&script, text).unwrap();
    let mut command = Cluster::durable().pgbench();
    command
        .args(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T"])
        .arg(time.as_secs().to_string())
        .arg("-f")
        .arg(&script)
        .arg(subject.url());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let number = |label: &str| -> f64 {
        let line = said.lines().find_map(|line| line.strip_prefix(label));
        let word = line.and_then(|line| line.split([' ', '/']).next());
        word.and_then(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{label}: {said}"))
    };
    let done = number("number of transactions actually processed: ");
    Work {
        done: done as u64,
        took: Duration::from_secs_f64(done / number("tps = ")),
    }
}

fn updates(subject: &Subject, time: Duration) -> Work {
    let mut conn = subject.plain_file();
    let mut random = Random::new(CONNECTIONS);
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < time {
        let id = 1 + random.below(ROWS) as i64;
        let value = random.below(VALUES) as i64;
        set_quantity(&mut conn, id, value);
        done += 1;
    }
    Work {
        done,
        took: start.elapsed(),
    }
}
