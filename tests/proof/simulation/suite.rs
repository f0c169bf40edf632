//! The suite: many seeds, in as many processes as there are processors.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use colsync_client::{Client, Settings, Time};
use colsync_server::simulation::Node;
use colsync_shared::simulation::set_now;
use colsync_tests::{Backend, Cluster};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::clock::Clock;
use super::crash;
use super::database::{Database, cluster};
use super::device::insertion;
use super::kin::{self, Kind};
use super::plan::{Perils, Plan, Table};
use super::server::configuration;
use super::shrink::shrink;
use super::tables::adopted;
use super::world::{BEGINNING, Counts, Seedlings, World};
use crate::report::Outcome;
use crate::{Options, name_of};

/// Seeds and steps of the short form.
const SHORT: (u64, usize) = (60, 200);
/// Seeds and steps of the long form.
const LONG: (u64, usize) = (100_000, 500);

/// One of so many seeds is run again, to see that a seed always comes to the same.
const REPEATED: u64 = 50;

/// Runs the suite with the server on each database.
pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let backends = options.backends.iter();
    backends.map(|&backend| on(backend, options)).collect()
}

fn on(backend: Backend, options: &Options) -> Outcome {
    let (seeds, steps) = if options.long { LONG } else { SHORT };
    let (seeds, steps) = (
        options.seeds.unwrap_or(seeds),
        options.steps.unwrap_or(steps),
    );
    let started = Instant::now();
    let processes = std::thread::available_parallelism()
        .map_or(1, |n| n.get() as u64)
        .min(seeds);
    let children: Vec<_> = (0..processes)
        .map(|number| {
            let share = seeds / processes + u64::from(number < seeds % processes);
            let before = (0..number).map(|n| seeds / processes + u64::from(n < seeds % processes));
            let first = options.seed.wrapping_add(before.sum());
            let part = format!("{first},{share},{steps},{number}");
            Command::new(std::env::current_exe().unwrap())
                .args(["--simulate", &part, "--on", name_of(backend)])
                // Its threads come and go, and hardly ever work at once: none needs memory of its own.
                .env("MALLOC_ARENA_MAX", "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut outcome = Outcome::new("simulation", options.seed);
    let mut counts = BTreeMap::<String, u64>::new();
    let mut done = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let Ok(told) = serde_json::from_str::<Json>(told.trim()) else {
            outcome.found(format!("a part ended by {} and said {told}", output.status));
            continue;
        };
        done += told["seeds"].as_u64().unwrap();
        if let Some(found) = told["found"].as_str() {
            outcome.found(found);
            outcome.figure("seeds_until_found", told["seeds"].clone());
        }
        for (name, many) in told["counts"].as_object().unwrap() {
            *counts.entry(name.clone()).or_default() += many.as_u64().unwrap();
        }
    }
    outcome.size("backend", name_of(backend));
    outcome.size("seeds", done);
    outcome.size("steps", steps);
    for name in [
        "pushes",
        "conflicts",
        "repeats",
        "values written",
        "meanwhile",
    ] {
        outcome.figure(name, counts.remove(name).unwrap_or(0));
    }
    let beside = BESIDE_EACH_OTHER.iter();
    let beside = beside.filter(|_| backend == Backend::Postgres);
    for name in FAULTS.iter().chain(beside) {
        let injected = counts.remove(*name).unwrap_or(0);
        // Where hardly any seeds were asked for, not every fault can have its turn.
        let enough = if RARE.contains(name) {
            10 * SHORT.0
        } else {
            SHORT.0
        };
        outcome.fault(
            name,
            injected,
            u64::from(seeds >= enough && steps >= SHORT.1),
        );
    }
    outcome.figure("seconds", started.elapsed().as_secs());
    outcome
}

/// What goes wrong or needs a decision, as it is counted.
const FAULTS: &[&str] = &[
    "request lost",
    "request late",
    "request arrived late",
    "request twice",
    "request again",
    "answer lost",
    "answer cut",
    "502",
    "client killed",
    "server killed",
    "server restarted",
    "clock set",
    "file put back",
    "file cloned",
    "database put back",
    "house kept",
    "direct write",
    "bare write",
    "blind write recorded",
    "push of a program",
    "push rolled back",
    "log pushed",
    "row removed for good",
    "whole rows pushed",
    "whole row put",
    "whole rows in conflict",
    "texts merged",
    "texts in conflict",
    "documents merged",
    "documents in conflict",
    "groups in conflict",
    "groups edited in part",
    "refused by a constraint",
    "refused edit retried",
    "edit undone",
    "decision: kept",
    "decision: promoted",
    "decision: another value",
    "decision over a change",
    "decision repeated",
    "related row written",
    "related row written there",
    "related row asked for",
    "related row undone",
    "related row removed for good",
    "refused related edit retried",
    "refused related edit given up",
    "key changed",
    "column added",
    "column added there",
    "table taken or left",
    "unique value written",
];

/// What only a database has that several can write to at once.
const BESIDE_EACH_OTHER: &[&str] = &[
    "transaction left open",
    "transaction rolled back",
    "database failed over",
    "refused after a failover",
];

/// Of these the short form has a few, and may have none.
const RARE: &[&str] = &[
    "related row removed for good",
    "refused related edit retried",
    "refused related edit given up",
];

/// Runs a range of seeds in this process, and prints what came of it.
pub(crate) fn part(text: &str, backend: Backend) {
    let numbers: Vec<u64> = text.split(',').map(|n| n.parse().unwrap()).collect();
    let [first, seeds, steps, processor] = numbers[..] else {
        panic!("{text}");
    };
    // Only one of its threads works at a time: to wake the next one on the same processor takes a fifth less time.
    let processors = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(processor) = processors.get(processor as usize) {
        core_affinity::set_for_current(*processor);
    }
    // Many plans panic alike while one is cut; the last message is told with it.
    std::panic::set_hook(Box::new(|panic| {
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
    let ground = Ground::new(backend);
    let mut counts = Counts::new();
    let mut found = None;
    let mut done = 0;
    for number in 0..seeds {
        let seed = first.wrapping_add(number);
        let plan = Plan::draw(seed, steps as usize);
        done += 1;
        let (broken, of_plan) = ground.play(&plan);
        for (name, many) in of_plan {
            *counts.entry(name).or_default() += many;
        }
        if let Some(broken) = broken {
            let (plan, broken) = shrink(plan, broken, |plan| ground.play(plan).0);
            let told = ground.trace(&plan).join("\n");
            found = Some(format!("seed {seed}: {broken}\n{:?}\n{told}", plan.perils));
            break;
        }
        // What PostgreSQL calls its transactions is another number each time.
        if backend == Backend::Sqlite
            && number.is_multiple_of(REPEATED)
            && let Some(apart) = ground.apart(&plan)
        {
            found = Some(format!(
                "seed {seed} comes out otherwise when it is run again:\n{apart}"
            ));
            break;
        }
    }
    println!(
        "{}",
        json!({ "seeds": done, "found": found, "counts": counts })
    );
}

static SAID: Mutex<String> = Mutex::new(String::new());

/// What the last panic said.
fn said() -> String {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The tables of rows that point to each other that a simulation begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    /// None.
    Without,
    /// Plain ones.
    Plain,
    /// At a server whose counters of keys can be set.
    Counting,
    /// At one that does not check what they point to, either.
    Unchecked,
}

impl Kin {
    const ALL: [Kin; 4] = [Kin::Without, Kin::Plain, Kin::Counting, Kin::Unchecked];

    fn of(perils: &Perils) -> Kin {
        match (perils.kin, perils.forgets_rows(), perils.unchecked) {
            (false, _, _) => Kin::Without,
            (true, false, _) => Kin::Plain,
            // What an operator does who puts a backup back needs counters, and so do rows that are removed for good.
            (true, true, false) => Kin::Counting,
            (true, true, true) => Kin::Unchecked,
        }
    }

    /// What makes them at the server.
    fn creation(self, backend: Backend) -> Vec<String> {
        let create = match (self, backend) {
            (Kin::Without, _) => return Vec::new(),
            // There numbers are counted, always.
            (_, Backend::Postgres) => Kind::create_served,
            (Kin::Plain, _) => Kind::create,
            (Kin::Counting, _) => Kind::create_counting,
            (Kin::Unchecked, _) => Kind::create_unchecked,
        };
        let is_checked_after = backend == Backend::Postgres && self != Kin::Unchecked;
        let checks = Kind::ALL.into_iter().filter(|_| is_checked_after);
        let tables = Kind::ALL.map(create).into_iter();
        tables.chain(checks.flat_map(Kind::checks)).collect()
    }
}

/// Where simulations are run: a folder in memory, and the files that they begin with.
struct Ground {
    /// By the tables of related rows, and whether the others lack columns.
    seedlings: BTreeMap<(Kin, bool), Seedlings>,
    memory: PathBuf,
    _folder: TempDir,
}

impl Ground {
    fn new(backend: Backend) -> Ground {
        crash::listen();
        let memory = Path::new("/dev/shm");
        let memory = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let folder = TempDir::with_prefix_in("colsync-simulation-", &memory).unwrap();
        set_now(Time::from_micros(BEGINNING));
        // Their ids are in cursors, whose bytes may be cut.
        colsync_shared::simulation::seed(BEGINNING.unsigned_abs());
        let cluster = (backend == Backend::Postgres).then(|| Rc::new(cluster(folder.path())));
        let all = Kin::ALL.iter();
        let all = all.flat_map(|kin| [(*kin, false), (*kin, true)]);
        let made = all.map(|(kin, is_young)| {
            let folder = folder.path().join(format!("{kin:?}-{is_young}"));
            let kin_there = kin.creation(backend);
            let seedlings = seedlings(&folder, cluster.as_ref(), &kin_there, is_young);
            ((kin, is_young), seedlings)
        });
        Ground {
            seedlings: made.collect(),
            memory,
            _folder: folder,
        }
    }

    fn world(&self, plan: &Plan) -> World {
        let perils = &plan.perils;
        let seedlings = &self.seedlings[&(Kin::of(perils), perils.grows)];
        World::new(plan, seedlings, &self.memory)
    }

    /// What a plan breaks, if anything, and what it did.
    fn play(&self, plan: &Plan) -> (Option<String>, Counts) {
        let mut world = self.world(plan);
        let broken = self.through(plan, &mut world);
        (broken, world.end())
    }

    /// What is asked and answered in a plan, step by step.
    fn trace(&self, plan: &Plan) -> Vec<String> {
        let mut world = self.world(plan);
        world.trace = Some(Vec::new());
        self.through(plan, &mut world);
        let told = world.trace.take().unwrap_or_default();
        world.end();
        told
    }

    /// What is asked and answered otherwise when a plan is run again, if anything.
    fn apart(&self, plan: &Plan) -> Option<String> {
        let (once, again) = (self.trace(plan), self.trace(plan));
        let mut both = once.iter().zip(&again);
        let first = both.find(|(once, again)| once != again);
        first
            .map(|(once, again)| format!("{once}\n{again}"))
            .or_else(|| (once.len() != again.len()).then(|| "more or less of it".to_owned()))
    }

    /// Takes the world through a plan; what that breaks.
    fn through(&self, plan: &Plan, world: &mut World) -> Option<String> {
        let play = AssertUnwindSafe(|| {
            for (number, step) in plan.steps.iter().enumerate() {
                world
                    .step(step)
                    .map_err(|broken| format!("step {number}: {broken}"))?;
            }
            world.come_to_rest()?;
            world.check()
        });
        match catch_unwind(play) {
            Ok(done) => done.err(),
            Err(_panic) => Some(format!("a panic: {}", said())),
        }
    }
}

/// Makes what is begun with, of young tables or not; `kin` makes the server's tables of rows that point to each other.
fn seedlings(
    folder: &Path,
    cluster: Option<&Rc<Cluster>>,
    kin: &[String],
    is_young: bool,
) -> Seedlings {
    let has_kin = !kin.is_empty();
    std::fs::create_dir_all(folder).unwrap();
    let clock = Clock::default();
    let mut server = match cluster {
        Some(cluster) => Database::served(cluster, &clock),
        None => Database::file(folder.join("server.db"), &clock),
    };
    let bounded = Table::ALL.iter();
    let bounded = bounded.map(|table| table.create_bounded(is_young, server.is_served()));
    let bounded: Vec<String> = bounded.collect();
    for create in bounded.iter().chain(kin) {
        server.execute(create).unwrap();
    }
    for (table, id, values) in adopted(is_young) {
        server.execute(&insertion(table, &id, &values)).unwrap();
    }
    let names = kin::names(has_kin);
    let perils = Perils {
        kin: has_kin,
        ..Perils::default()
    };
    let config = configuration(&server.url(), &perils, is_young);
    colsync_server::serve::adopt(&config, &names, false).unwrap();
    Node::open(config).unwrap().close();
    Seedlings {
        server: server.into_seedling(),
        client: tracking(folder.join("client.db"), &names, is_young),
    }
}

/// Makes a client's file at `path` that has all tables and tracks those of `names`; gives the path.
fn tracking(path: PathBuf, names: &[String], is_young: bool) -> PathBuf {
    let mut client = Database::file(path.clone(), &Clock::default());
    client
        .execute("PRAGMA journal_mode = WAL")
        .unwrap_or_default();
    let kin = Kind::ALL.iter();
    let kin = kin.filter(|kind| names.iter().any(|name| name == kind.name()));
    let kin = kin.map(|kind| kind.create());
    let tables = Table::ALL.iter().map(|table| table.create(is_young));
    for create in tables.chain(kin) {
        client.execute(&create).unwrap();
    }
    let sdk = Client::open(&path, Settings::default()).unwrap();
    names.iter().for_each(|name| drop(sdk.track(name).unwrap()));
    // Each device makes an identity of its own.
    client
        .execute("DELETE FROM colsync_meta WHERE name = 'client_id'")
        .unwrap();
    path
}
