//! Many clients for a long time: what the server has of the machine stays level, nothing fails, and all files are
//! equal at the end.
//!
//! The time is cut into three parts: in the first all comes to its size, and the last is compared with the second.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use colsync_client::Client;
use colsync_tests::database::Database;
use colsync_tests::fleet::{deal, moment, on_threads};
use colsync_tests::rows::{in_file, on_server};
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Server, memory};
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection as _;
use fastrand::Rng;
use serde_json::json;

use crate::caught::caught;
use crate::report::Outcome;
use crate::{Options, name_of};

/// How many clients sync at once, at the most.
const THREADS: usize = 16;

/// Rows that are there from the beginning.
const ROWS: u64 = 300;

/// A client edits before one of so many syncs.
const EDITS_ONE_IN: u8 = 3;

/// Memory may be so much more in the last part than in the second: what an allocator does with its pages is not a
/// matter of kilobytes.
const MEMORY: f64 = 1.15;
const MEMORY_KIB: u64 = 6 << 10;

/// Open files and connections come and go with the requests of a moment.
const FILES: u64 = 24;

/// The database grows by what is kept of each edit; per edit, by no more than this in the last part.
const GROWTH: f64 = 1.5;
const GROWTH_BYTES: u64 = 1 << 20;

struct Size {
    clients: u64,
    interval: Duration,
    turns: u32,
}

/// A client with its app.
struct Member {
    number: u64,
    device: Device,
    client: Client,
    app: SqliteConnection,
    random: Rng,
    made: u64,
}

/// What a part of the members did in one interval.
#[derive(Default)]
struct Done {
    syncs: u64,
    edits: u64,
    errors: Vec<String>,
}

/// What the server has at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory_kib: u64,
    files: u64,
    connections: u64,
    database: u64,
    edits: u64,
}

pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let backends = options.backends.iter();
    let outcomes = backends.map(|&backend| {
        let mut outcome = Outcome::new("soak", options.seed);
        if let Err(told) = caught(|| soak(&mut outcome, backend, options)) {
            outcome.found(told);
        }
        outcome
    });
    outcomes.collect()
}

fn soak(outcome: &mut Outcome, backend: Backend, options: &Options) {
    let size = if options.long {
        Size {
            clients: 200,
            interval: Duration::from_secs(10),
            turns: 180,
        }
    } else {
        Size {
            clients: 20,
            interval: Duration::from_secs(1),
            turns: 15,
        }
    };
    let server = Server::on(backend).table(TODOS).start();
    let rows = (0..ROWS).map(|number| format!("('{}', 'made')", id(number)));
    let rows: Vec<String> = rows.collect();
    server.sql(&format!(
        "INSERT INTO todos (id, title) VALUES {}",
        rows.join(", ")
    ));
    let numbers = deal(0..size.clients, THREADS);
    let mut crews = on_threads(numbers, |numbers| {
        let numbers = numbers.into_iter();
        let members = numbers.map(|number| Member::new(number, &server, options.seed));
        members.collect::<Vec<_>>()
    });
    let started = Instant::now();
    let mut all = Done::default();
    let mut samples = Vec::new();
    for turn in 0..size.turns {
        let start = started + size.interval * turn;
        let done = Mutex::new(Done::default());
        crews = on_threads(crews, |mut crew| {
            for member in &mut crew {
                let _due = moment(member.number, size.clients, start, size.interval);
                member.turn(&done);
            }
            crew
        });
        all.add(done.into_inner().unwrap());
        samples.push(Sample::of(&server, all.edits));
    }
    outcome.size("backend", name_of(backend));
    outcome.size("clients", size.clients);
    outcome.size("seconds", started.elapsed().as_secs());
    outcome.size("edits", all.edits);
    outcome.fault("syncs", all.syncs, size.clients * u64::from(size.turns));
    for error in all.errors.iter().take(5) {
        outcome.found(error.clone());
    }
    compare(outcome, &samples);
    all_equal(outcome, &server, &mut crews);
    if server.log().contains("panicked") {
        outcome.found("a thread of the server has panicked");
    }
}

/// Holds the last part of the time against the second.
fn compare(outcome: &mut Outcome, samples: &[Sample]) {
    let part = samples.len() / 3;
    let (second, last) = (&samples[part..2 * part], &samples[2 * part..]);
    let median = |of: &[Sample], what: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = of.iter().map(what).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let mut both = |name: &str, what: fn(&Sample) -> u64| {
        let (before, after) = (median(second, what), median(last, what));
        outcome.figure(name, json!([before, after]));
        (before, after)
    };
    let memory = both("memory_kib", |sample| sample.memory_kib);
    let files = both("open_files", |sample| sample.files);
    let connections = both("connections", |sample| sample.connections);
    let per_edit = [second, last].map(|part| {
        let (first, last) = (part[0], part[part.len() - 1]);
        let edits = (last.edits - first.edits).max(1);
        (last.database.saturating_sub(first.database), edits)
    });
    let [before, after] = per_edit.map(|(bytes, edits)| bytes / edits);
    outcome.figure("database_bytes_per_edit", json!([before, after]));
    outcome.figure("database_bytes", samples[samples.len() - 1].database);
    let most = (memory.0 as f64 * MEMORY) as u64 + MEMORY_KIB;
    let checks = [
        ("memory", memory.1, most),
        ("open files", files.1, files.0 + FILES),
        ("connections", connections.1, connections.0 + FILES),
        (
            "the database",
            per_edit[1].0,
            (before as f64 * GROWTH) as u64 * per_edit[1].1 + GROWTH_BYTES,
        ),
    ];
    for (what, is, most) in checks {
        if is > most {
            outcome.found(format!("{what} grows: {is} of at most {most}"));
        }
    }
}

/// Lets all sync until none has anything left, and compares each file with the server.
fn all_equal(outcome: &mut Outcome, server: &Server, crews: &mut Vec<Vec<Member>>) {
    for _ in 0..2 {
        let members = std::mem::take(crews);
        *crews = on_threads(members, |crew| {
            for member in &crew {
                member.client.sync().unwrap();
            }
            crew
        });
    }
    let reader = server.anonymous();
    let there = on_server(&reader, "todos");
    outcome.size("rows", there.len());
    for member in crews.iter().flatten() {
        if in_file(&member.device, &reader, "todos") != there {
            outcome.found(format!(
                "client {} has not what the server has",
                member.number
            ));
        }
        let letters = member.client.dead_letters().unwrap().len();
        let pending = member.client.pending().unwrap().len();
        if letters + pending > 0 {
            let number = member.number;
            outcome.found(format!(
                "client {number}: {letters} dead letters, {pending} pending"
            ));
        }
    }
}

impl Member {
    fn new(number: u64, server: &Server, seed: u64) -> Member {
        let device = Device::new(server).tracking(TODOS);
        let client = device.client();
        client.sync().unwrap();
        Member {
            number,
            app: device.file(),
            client,
            device,
            random: Rng::with_seed(seed ^ number),
            made: 0,
        }
    }

    /// Edits, or not, and syncs.
    fn turn(&mut self, done: &Mutex<Done>) {
        let edits = u64::from(self.random.u8(0..EDITS_ONE_IN) == 0);
        if edits > 0 {
            self.edit();
        }
        let report = self.client.sync();
        let mut done = done.lock().unwrap();
        done.syncs += 1;
        done.edits += edits;
        if let Err(failure) = report {
            done.errors
                .push(format!("client {}: {failure}", self.number));
        }
    }

    /// Changes a row of all, or makes one of its own, or deletes one of those.
    fn edit(&mut self) {
        self.made += 1;
        let mark = format!("{}-{}", self.number, self.made);
        let own = |made: u64| id(1_000_000 * (self.number + 1) + made % 20);
        let sql = match self.random.u8(0..10) {
            0 => {
                let row = own(self.made);
                format!("INSERT OR REPLACE INTO todos (id, title) VALUES ('{row}', '{mark}')")
            }
            1 => format!(
                "DELETE FROM todos WHERE id = '{}'",
                own(self.random.u64(..20))
            ),
            _ => {
                let row = id(self.random.u64(0..ROWS));
                format!(
                    "UPDATE todos SET note = '{mark}', priority = coalesce(priority, 0) + 1 WHERE id = '{row}'"
                )
            }
        };
        self.app.batch_execute(&sql).unwrap();
    }
}

impl Done {
    fn add(&mut self, other: Done) {
        self.syncs += other.syncs;
        self.edits += other.edits;
        self.errors.extend(other.errors);
    }
}

impl Sample {
    fn of(server: &Server, edits: u64) -> Sample {
        let pid = server.pid().unwrap();
        let number = |sql: &str| server.value(sql).unwrap_or_default().parse().unwrap();
        let (connections, database) = match &**server {
            Database::Sqlite(path) => {
                let sizes = ["", "-wal"].map(|suffix| {
                    let file = format!("{}{suffix}", path.display());
                    std::fs::metadata(file).map_or(0, |file| file.len())
                });
                (0, sizes.iter().sum())
            }
            Database::Postgres { .. } => (
                number(
                    "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                ),
                number("SELECT pg_database_size(current_database())"),
            ),
        };
        Sample {
            memory_kib: memory::resident(pid).unwrap(),
            files: memory::open_files(pid).unwrap(),
            connections,
            database,
            edits,
        }
    }
}
