//! Many clients at once, each the SDK on a file of its own: how long until one sees what another has edited.
//!
//! Each client syncs at a moment of its own in every interval, and edits a row before some of its syncs. An
//! edit is made when its sync is due, so what waits for a busy machine counts. It says its own number as
//! its value, and is seen by a client once it stands in that client's file.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use colsync_client::{Client, Settings};
use colsync_tests::fleet::{deal, moment, on_threads};
use colsync_tests::{Backend, memory};
use diesel::sql_types::BigInt;
use diesel::{QueryDsl as _, RunQueryDsl as _, SqliteConnection};
use serde_json::json;
use tempfile::TempDir;

use crate::Options;
use crate::program;
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Line, Table, Target};
use crate::rounds::at_share;
use crate::served::{Served, name_of, sqlite};
use crate::things::{self, Thing};

/// Rows of the table.
const ROWS: u64 = 1_000;
/// Between two syncs of a client.
const INTERVAL: Duration = Duration::from_secs(10);
/// A client edits a row before one of so many syncs.
const EDITS_ONE_IN: u64 = 4;
/// How many clients sync at once, at the most.
const THREADS: usize = 32;
/// Values from this are numbers of edits.
const FIRST: i64 = 1 << 40;

/// Measures on each database.
pub(crate) fn table(clients: u64, time: Duration, options: &Options) -> Table {
    let backends = options.backends.iter();
    Table {
        title: "Many clients, each syncing every 10 s: seconds from an edit to its sight",
        heads: &[
            "clients",
            "on",
            "seconds",
            "syncs",
            "errors",
            "edits",
            "sights",
            "first p50",
            "p95",
            "p99",
            "all p50",
            "p95",
            "p99",
            "sync ms p50",
            "p99",
            "server MiB",
            "client MiB",
            "in one, KiB",
        ],
        lines: backends
            .map(|&backend| measure(backend, clients, time))
            .collect(),
    }
}

/// An edit that was made.
struct Edit {
    made: Instant,
    by: u64,
}

/// What all clients share.
struct Stage {
    server: String,
    folder: TempDir,
    edits: Mutex<Vec<Edit>>,
}

/// One client.
struct Device {
    number: u64,
    client: Client,
    path: PathBuf,
    random: Random,
    /// Of each edit's number, whether it was seen.
    seen: Vec<bool>,
}

/// What clients of one thread have done.
#[derive(Default)]
struct Done {
    syncs: u64,
    /// Syncs that failed; the client's next one makes up for it.
    errors: u64,
    /// Edits that the server applied.
    applied: u64,
    /// What syncs took, in µs.
    took: Vec<u32>,
    /// Edits by their numbers, with the µs until another client saw them.
    sights: Vec<(usize, u32)>,
}

fn measure(backend: Backend, clients: u64, time: Duration) -> Line {
    let on = name_of(backend);
    let turns = (time.as_secs() / INTERVAL.as_secs()).max(1);
    let progress = Progress::new(format!("{clients} clients on {on}"), turns as u32 + 2);
    let served = things::serve(backend, ROWS);
    let stage = Stage {
        server: format!("http://{}", served.address()),
        folder: TempDir::with_prefix("colsync-bench-").unwrap(),
        edits: Mutex::new(Vec::new()),
    };
    let before = memory::now();
    progress.say("first syncs");
    let mut crews: Vec<Vec<Device>> = on_threads(deal(0..clients, THREADS), |numbers| {
        let numbers = numbers.into_iter();
        numbers.map(|number| Device::new(&stage, number)).collect()
    });
    progress.step("edits");
    let start = Instant::now();
    let mut all = Done::default();
    // One turn more without edits: it brings every client what the last of them have edited.
    for turn in 0..=turns {
        let due = start + INTERVAL * turn as u32;
        let ended = on_threads(crews, |mut crew| {
            let done = run(&stage, &mut crew, clients, due, turn < turns);
            (crew, done)
        });
        crews = Vec::new();
        for (crew, done) in ended {
            crews.push(crew);
            all.add(done);
        }
        progress.step(format!("{} syncs, {} edits", all.syncs, stage.made()));
    }
    let took = start.elapsed();
    let each = memory::now().saturating_sub(before) as f64 / clients as f64;
    check(&served, &crews, &all);
    let alone = program::sync(&crews[0][0].path);
    let (server, figures) = (served.peak_memory(), Figures::new(all, stage.made()));
    served.stop();
    figures.line(on, clients, took, [server, alone.peak, each])
}

/// Has each client of a thread sync once, at its moment of the interval from `start`.
fn run(stage: &Stage, crew: &mut [Device], clients: u64, start: Instant, edits: bool) -> Done {
    let mut done = Done::default();
    for device in crew {
        let due = moment(device.number, clients, start, INTERVAL);
        device.turn(stage, due, edits, &mut done);
    }
    done
}

/// Every edit that was applied made a version, and every client has what the server has.
fn check(served: &Served, crews: &[Vec<Device>], all: &Done) {
    let versions = "SELECT CAST(sum(sync_version - 1) AS bigint) AS n FROM things";
    assert_eq!(served.place.int(versions), all.applied);
    let quantities = "SELECT CAST(sum(quantity) AS bigint) AS n FROM things";
    let quantities = served.place.int(quantities) as i64;
    for device in crews.iter().flatten() {
        let counted = things::counted(&mut device.open());
        assert_eq!(counted, (ROWS, quantities), "client {}", device.number);
    }
}

impl Stage {
    fn made(&self) -> usize {
        self.edits.lock().unwrap().len()
    }
}

impl Device {
    /// A client that has synced once.
    fn new(stage: &Stage, number: u64) -> Device {
        let path = stage.folder.path().join(format!("{number}.db"));
        let settings = Settings {
            server: Some(stage.server.clone()),
            ..Settings::default()
        };
        let client = Client::open(&path, settings).unwrap();
        client.init(&[]).unwrap();
        assert_eq!(client.sync().unwrap().pulled, ROWS);
        Device {
            number,
            client,
            path,
            random: Random::new(number),
            seen: Vec::new(),
        }
    }

    fn open(&self) -> SqliteConnection {
        sqlite(&self.path.display().to_string())
    }

    /// Edits, or not, and syncs.
    fn turn(&mut self, stage: &Stage, due: Instant, edits: bool, done: &mut Done) {
        let mut conn = self.open();
        if edits && self.random.below(EDITS_ONE_IN) == 0 {
            let row = Thing::of(1 + self.random.below(ROWS));
            let mut made = stage.edits.lock().unwrap();
            let number = made.len();
            made.push(Edit {
                made: due,
                by: self.number,
            });
            drop(made);
            things::set_quantity(&mut conn, &row.id, FIRST + number as i64);
        }
        let asked = Instant::now();
        let report = self.client.sync();
        let synced = Instant::now();
        done.took.push((synced - asked).as_micros() as u32);
        done.syncs += 1;
        match report {
            Ok(report) => {
                assert_eq!((report.rejected, report.held), (0, 0), "{report:?}");
                done.applied += report.applied;
            }
            Err(error) => {
                eprintln!("client {}: {error}", self.number);
                done.errors += 1;
            }
        }
        self.look(&mut conn, stage, synced, done);
    }

    /// Notes which edits of others it has seen by now.
    fn look(&mut self, conn: &mut SqliteConnection, stage: &Stage, now: Instant, done: &mut Done) {
        let values = things::things::table
            .select(diesel::dsl::sql::<BigInt>("quantity"))
            .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(&format!(
                "quantity >= {FIRST}"
            )));
        let values: Vec<i64> = values.load(conn).unwrap();
        let edits = stage.edits.lock().unwrap();
        self.seen.resize(edits.len(), false);
        for number in values.into_iter().map(|value| (value - FIRST) as usize) {
            let edit = &edits[number];
            if !std::mem::replace(&mut self.seen[number], true) && edit.by != self.number {
                let waited = now.duration_since(edit.made).as_micros() as u32;
                done.sights.push((number, waited));
            }
        }
    }
}

impl Done {
    fn add(&mut self, mut other: Done) {
        self.syncs += other.syncs;
        self.errors += other.errors;
        self.applied += other.applied;
        self.took.append(&mut other.took);
        self.sights.append(&mut other.sights);
    }
}

/// Sorted, in µs.
struct Figures {
    syncs: u64,
    errors: u64,
    edits: usize,
    took: Vec<u32>,
    /// Of each edit, until the first other client saw it.
    first: Vec<u32>,
    /// Of each edit and client that saw it.
    all: Vec<u32>,
}

impl Figures {
    fn new(mut done: Done, edits: usize) -> Figures {
        let mut first = vec![u32::MAX; edits];
        for &(number, waited) in &done.sights {
            first[number] = first[number].min(waited);
        }
        // What was overwritten before anyone pulled it is seen by nobody.
        first.retain(|&waited| waited < u32::MAX);
        let mut all: Vec<u32> = done.sights.iter().map(|&(_, waited)| waited).collect();
        for sorted in [&mut first, &mut all, &mut done.took] {
            sorted.sort_unstable();
        }
        Figures {
            syncs: done.syncs,
            errors: done.errors,
            edits,
            took: done.took,
            first,
            all,
        }
    }

    /// `memory`: of the server, of a client's program, of each client in this process.
    fn line(&self, on: &str, clients: u64, took: Duration, memory: [f64; 3]) -> Line {
        let shares = |of: &[u32], unit: f64| [0.5, 0.95, 0.99].map(|at| at_share(of, at) / unit);
        let (first, all) = (shares(&self.first, 1e3), shares(&self.all, 1e3));
        let sync = shares(&self.took, 1.0);
        let [server, client, each] = memory;
        let mut cells = vec![clients.to_string(), on.to_owned()];
        cells.push(format!("{:.0}", took.as_secs_f64()));
        cells.extend([self.syncs.to_string(), self.errors.to_string()]);
        cells.extend([self.edits.to_string(), self.all.len().to_string()]);
        cells.extend(first.iter().chain(&all).map(|s| format!("{s:.2}")));
        cells.extend([sync[0], sync[2]].map(|ms| format!("{ms:.1}")));
        cells.extend([server, client].map(|mib| format!("{mib:.0}")));
        cells.push(format!("{each:.0}"));
        let object = json!({
            "what": "clients",
            "on": on,
            "clients": clients,
            "seconds": took.as_secs_f64(),
            "interval_seconds": INTERVAL.as_secs(),
            "syncs": self.syncs,
            "errors": self.errors,
            "edits": self.edits,
            "sights": self.all.len(),
            "first_sight_seconds": { "p50": first[0], "p95": first[1], "p99": first[2] },
            "sight_seconds": { "p50": all[0], "p95": all[1], "p99": all[2] },
            "sync_ms": { "p50": sync[0], "p95": sync[1], "p99": sync[2] },
            "server_peak_mib": server,
            "client_peak_mib": client,
            "client_kib_in_one_process": each,
        });
        Line::new(cells, object).should([Target::at_most(0.0, self.errors as f64).of("errors", "")])
    }
}
