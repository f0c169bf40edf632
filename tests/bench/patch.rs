//! Single-row writes: PATCH requests on kept-alive connections, beside what else writes single rows.

use std::time::{Duration, Instant};

use colsync_tests::Cluster;
use tokio::runtime::{Builder, Runtime};

use crate::by_hand::ByHand;
use crate::http::Connection;
use crate::load::{Load, Work, repeat};
use crate::random::Random;
use crate::receipt::Receipt;
use crate::subject::{Subject, VALUES, key, set_quantity};

/// What stands beside the server.
#[derive(Clone, Copy)]
pub(crate) enum Beside {
    /// PostgreSQL's own load generator, with single-row UPDATE transactions.
    Pgbench,
    /// An endpoint of one's own, under the same requests.
    ByHand,
    /// Single-row UPDATE transactions on one connection to SQLite.
    Updates,
}

/// Requests to the server, and what stands beside them.
pub(crate) struct Patches {
    crowd: Crowd,
    beside: Beside,
    /// Only beside [`Beside::ByHand`].
    by_hand: Option<(ByHand, Crowd)>,
}

impl Patches {
    /// Connects all clients, and sends a first request each.
    pub(crate) fn new(subject: &Subject, connections: u64, beside: Beside) -> Patches {
        let rows = subject.shape.rows;
        let crowd = |address: &str, door| Crowd::new(address, door, connections, rows);
        let by_hand = match beside {
            Beside::Pgbench | Beside::Updates => None,
            Beside::ByHand => {
                let server = ByHand::start(subject);
                let crowd = crowd(server.address(), Door::ByHand);
                Some((server, crowd))
            }
        };
        Patches {
            crowd: crowd(&subject.address(), Door::Colsync),
            beside,
            by_hand,
        }
    }
}

impl Load for Patches {
    fn baseline(&mut self, subject: &Subject, time: Duration) -> Work {
        match (self.beside, &mut self.by_hand) {
            (_, Some((_, crowd))) => crowd.run(time),
            (Beside::Pgbench, _) => pgbench(subject, time),
            (Beside::Updates | Beside::ByHand, None) => updates(subject, time),
        }
    }

    fn run(&mut self, time: Duration) -> Work {
        self.crowd.run(time)
    }

    /// Each edit that was applied made a version.
    fn check(&self, subject: &Subject) {
        let applied = self.crowd.patchers.iter().map(|patcher| patcher.applied);
        let applied: u64 = applied.sum();
        assert_eq!(subject.versions(), applied, "edits written, edits applied");
    }
}

/// The endpoint that takes the requests.
#[derive(Clone, Copy)]
enum Door {
    Colsync,
    ByHand,
}

/// Clients on one thread: the database and the server need the cores.
struct Crowd {
    runtime: Runtime,
    patchers: Vec<Patcher>,
}

impl Crowd {
    fn new(address: &str, door: Door, connections: u64, rows: u64) -> Crowd {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let patchers = runtime.block_on(async {
            let mut patchers = Vec::new();
            for number in 0..connections {
                let id = format!("b0000000-0000-4000-8000-{number:012x}");
                let mut patcher = Patcher {
                    connection: Connection::open(address, &id).await,
                    random: Random::new(number),
                    door,
                    rows,
                    applied: 0,
                };
                // It makes the client known.
                patcher.send().await;
                patchers.push(patcher);
            }
            patchers
        });
        Crowd { runtime, patchers }
    }

    fn run(&mut self, time: Duration) -> Work {
        repeat(&self.runtime, &mut self.patchers, time, Patcher::send)
    }
}

/// One client on a connection of its own.
struct Patcher {
    connection: Connection,
    random: Random,
    door: Door,
    rows: u64,
    applied: u64,
}

impl Patcher {
    /// Gives the µs from the request to its answer.
    async fn send(&mut self) -> u32 {
        let id = key(1 + self.random.below(self.rows));
        let value = self.random.below(VALUES);
        let (line, media_type) = match self.door {
            Door::Colsync => (
                format!("PATCH /v1/tables/items/rows/{id}"),
                "application/merge-patch+json",
            ),
            Door::ByHand => (format!("PATCH /plain/{id}"), "application/json"),
        };
        let body = format!("{{\"quantity\":{value}}}");
        let sent = Instant::now();
        let answer = self
            .connection
            .send(&line, media_type, body.as_bytes())
            .await;
        let waited = sent.elapsed().as_micros() as u32;
        match self.door {
            Door::Colsync => match serde_json::from_slice::<Receipt<'_>>(answer) {
                Ok(receipt) if receipt.columns.quantity.outcome == "applied" => self.applied += 1,
                // Of two requests for one row, the one that arrived first was committed last.
                Ok(receipt) if receipt.columns.quantity.outcome == "superseded" => {}
                _ => panic!("{}", String::from_utf8_lossy(answer)),
            },
            Door::ByHand => assert_eq!(answer, body.as_bytes()),
        }
        waited
    }
}

fn pgbench(subject: &Subject, time: Duration) -> Work {
    let script = subject.folder.path().join("update.sql");
    let text = format!(
        "\\set id random(1, {})\n\\set value random(0, {VALUES})\n\
         UPDATE plain SET quantity = :value \
         WHERE id = ('018f0000-0000-7000-8000-' || lpad(to_hex(:id::bigint), 12, '0'))::uuid;\n",
        subject.shape.rows
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
        latencies: Vec::new(),
    }
}

fn updates(subject: &Subject, time: Duration) -> Work {
    let mut conn = subject.plain_file();
    let mut random = Random::new(0);
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < time {
        let id = key(1 + random.below(subject.shape.rows));
        let value = random.below(VALUES) as i64;
        set_quantity(&mut conn, &id, value);
        done += 1;
    }
    Work {
        done,
        took: start.elapsed(),
        latencies: Vec::new(),
    }
}
