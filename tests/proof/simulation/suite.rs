//! The suite: many seeds, in as many processes as there are processors.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use colsync_client::Time;
use colsync_shared::simulation::set_now;
use colsync_tests::Backend;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::ground::Ground;
use super::plan::Plan;
use super::scene::Scene;
use super::shrink::shrink;
use super::world::{BEGINNING, Counts};
use super::{crash, faults, plain};
use crate::report::Outcome;
use crate::{Options, name_of};

/// Seeds and steps of the short form.
const SHORT: (u64, usize) = (60, 200);
/// Seeds and steps of the long form.
const LONG: (u64, usize) = (100_000, 500);

/// One of so many seeds is run again, to see that a seed always comes to the same.
const REPEATED: u64 = 50;

/// What clients sync with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The server, on a database.
    Server(Backend),
    /// An API that knows no sync.
    Plain,
}

/// Where simulations are run.
pub(super) trait Stage {
    type Scene: Scene;

    /// The plan of a seed, of so many steps.
    fn draw(&self, seed: u64, steps: usize) -> Plan;

    /// What a plan begins with.
    fn scene(&self, plan: &Plan) -> Self::Scene;

    /// Whether a plan comes to the same, call by call, whenever it is run.
    fn comes_again(&self) -> bool;

    /// What a plan breaks, if anything, and what it did.
    fn play(&self, plan: &Plan) -> (Option<String>, Counts) {
        let mut scene = self.scene(plan);
        let broken = scene.through(plan);
        (broken, scene.end())
    }

    /// What is asked and answered in a plan, step by step.
    fn trace(&self, plan: &Plan) -> Vec<String> {
        let mut scene = self.scene(plan);
        scene.cast().trace = Some(Vec::new());
        scene.through(plan);
        let told = scene.cast().trace.take().unwrap_or_default();
        scene.end();
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
}

/// Runs the suite with the server on each database.
pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let backends = options.backends.iter();
    backends
        .map(|&backend| of(Subject::Server(backend), options))
        .collect()
}

/// Runs it with an API that knows no sync.
pub(crate) fn run_plain(options: &Options) -> Outcome {
    of(Subject::Plain, options)
}

impl Subject {
    fn suite(self) -> &'static str {
        match self {
            Subject::Server(_) => "simulation",
            Subject::Plain => "plain",
        }
    }

    /// What tells the program of a part that it is of this one.
    fn arguments(self) -> Vec<&'static str> {
        match self {
            Subject::Server(backend) => vec!["--on", name_of(backend)],
            Subject::Plain => vec!["--plain"],
        }
    }

    /// The faults that it is to have, as they are counted.
    fn faults(self) -> Vec<&'static str> {
        let own = match self {
            Subject::Server(Backend::Sqlite) => [faults::OF_SERVER, &[]],
            Subject::Server(Backend::Postgres) => [faults::OF_SERVER, faults::OF_POSTGRES],
            Subject::Plain => [faults::OF_PLAIN, &[]],
        };
        [&[faults::OF_CLIENTS], &own[..]].concat().concat()
    }
}

/// Where the simulations of this process are: a folder in memory, where there is one, and one within it.
pub(super) fn place() -> (PathBuf, TempDir) {
    crash::listen();
    set_now(Time::from_micros(BEGINNING));
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = TempDir::with_prefix_in("colsync-simulation-", &memory).unwrap();
    (memory, folder)
}

/// What `play` says, or a panic within it.
pub(super) fn caught(play: impl FnOnce() -> Result<(), String>) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(play)) {
        Ok(done) => done.err(),
        Err(_panic) => Some(format!("a panic: {}", said())),
    }
}

fn of(subject: Subject, options: &Options) -> Outcome {
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
                .args(["--simulate", &part])
                .args(subject.arguments())
                // Its threads come and go, and hardly ever work at once: none needs memory of its own.
                .env("MALLOC_ARENA_MAX", "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut outcome = Outcome::new(subject.suite(), options.seed);
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
    if let Subject::Server(backend) = subject {
        outcome.size("backend", name_of(backend));
    }
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
    for name in subject.faults() {
        let injected = counts.remove(name).unwrap_or(0);
        // Where hardly any seeds were asked for, not every fault can have its turn.
        let enough = if faults::RARE.contains(&name) {
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

/// Runs a range of seeds in this process, and prints what came of it.
pub(crate) fn part(text: &str, subject: Subject) {
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
    match subject {
        Subject::Server(backend) => seeds_of(&Ground::new(backend), (first, seeds, steps)),
        Subject::Plain => seeds_of(&plain::Ground::new(), (first, seeds, steps)),
    }
}

fn seeds_of(stage: &impl Stage, (first, seeds, steps): (u64, u64, u64)) {
    let mut counts = Counts::new();
    let mut found = None;
    let mut done = 0;
    for number in 0..seeds {
        let seed = first.wrapping_add(number);
        let plan = stage.draw(seed, steps as usize);
        done += 1;
        let (broken, of_plan) = stage.play(&plan);
        for (name, many) in of_plan {
            *counts.entry(name).or_default() += many;
        }
        if let Some(broken) = broken {
            let (plan, broken) = shrink(plan, broken, |plan| stage.play(plan).0);
            let told = stage.trace(&plan).join("\n");
            found = Some(format!("seed {seed}: {broken}\n{:?}\n{told}", plan.perils));
            break;
        }
        if stage.comes_again()
            && number.is_multiple_of(REPEATED)
            && let Some(apart) = stage.apart(&plan)
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
