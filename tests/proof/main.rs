//! What tries to break colsync's promise that no accepted edit is ever lost in silence.
//!
//! Each suite injects faults, tells in one line of JSON what it did and found, and can be run again by its
//! seed. What is promised, and which suite tries to break it, is in docs/reliability.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a suite ends where something is not as it must be"
)]

mod beside;
mod caught;
mod commit_order;
mod counter;
mod crashes;
mod disk_full;
mod hostile;
mod model;
mod mutants;
mod poller;
mod report;
mod simulation;
mod soak;
mod writer;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use colsync_tests::Backend;

use mutants::{By, Wanted};
use report::Outcome;
use simulation::Subject;

/// Tries to make colsync lose an edit.
///
/// Each suite prints one line of JSON: its seed, its size, the faults that it really injected, and what it found.
/// Exits with 1 if anything was found, or too few faults were injected.
#[derive(Parser)]
#[command(name = "proof")]
struct Arguments {
    /// Which suites; without any, all of them
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Run the long form: hours in place of seconds
    #[arg(long)]
    long: bool,
    /// Run again what a line of JSON tells of [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds the simulation runs [default: 60, the long form 100000]
    #[arg(long)]
    seeds: Option<u64>,
    /// How many steps each has [default: 200, the long form 500]
    #[arg(long)]
    steps: Option<usize>,
    /// Run a part of a simulation; what the suite starts
    #[arg(long, hide = true)]
    simulate: Option<String>,
    /// Where that is of an API that knows no sync
    #[arg(long, hide = true)]
    plain: bool,
    /// Only what runs on this database
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Of the seeded bugs: have this suite alone judge all of them
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Of the seeded bugs: only those of these names
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Many clients and the server in one process, with virtual time and a virtual network
    Simulation,
    /// The same with an API that knows no sync in place of the server
    Plain,
    /// A server or a client killed at each named step, while others go on
    Crashes,
    /// Many who write and many who pull by cursor, on PostgreSQL, which is stopped, killed and restored
    CommitOrder,
    /// A disk that is full at the server, and one at the client
    DiskFull,
    /// Many clients for a long time: memory, open files, connections and the database stay level
    Soak,
    /// Bad requests against every call: refused alike everywhere, and nothing changes
    Hostile,
    /// The protocol as a model, of which every state is looked at
    Model,
    /// Bugs seeded into the source, and who catches them; in the short form only whether they still can be
    Mutants,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// An embedded file
    Sqlite,
    /// A server
    Postgres,
}

impl From<On> for Backend {
    fn from(on: On) -> Backend {
        match on {
            On::Sqlite => Backend::Sqlite,
            On::Postgres => Backend::Postgres,
        }
    }
}

/// How a suite is run.
struct Options {
    long: bool,
    seed: u64,
    seeds: Option<u64>,
    steps: Option<usize>,
    backends: Vec<Backend>,
    mutants: Wanted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(part) = &arguments.simulate {
        let backend = arguments.on.map_or(Backend::Sqlite, Backend::from);
        let subject = if arguments.plain {
            Subject::Plain
        } else {
            Subject::Server(backend)
        };
        simulation::part(part, subject);
        return ExitCode::SUCCESS;
    }
    let options = Options {
        seeds: arguments.seeds,
        steps: arguments.steps,
        long: arguments.long,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
        backends: match arguments.on {
            Some(on) => vec![on.into()],
            None => vec![Backend::Sqlite, Backend::Postgres],
        },
        mutants: Wanted {
            by: arguments.by,
            only: arguments.only,
        },
    };
    let suites = if arguments.suites.is_empty() {
        Suite::value_variants().to_vec()
    } else {
        arguments.suites
    };
    let mut clean = true;
    for suite in suites {
        for outcome in run(suite, &options) {
            println!("{}", outcome.line());
            clean &= outcome.is_clean();
        }
    }
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs a suite, on each backend where it has one.
fn run(suite: Suite, options: &Options) -> Vec<Outcome> {
    match suite {
        Suite::Model => vec![model::run(options)],
        Suite::Mutants => vec![mutants::run(options)],
        Suite::Hostile => hostile::run(options),
        Suite::Simulation => simulation::run(options),
        Suite::Plain => vec![simulation::run_plain(options)],
        Suite::Crashes => crashes::run(options),
        Suite::CommitOrder => commit_order::run(options),
        Suite::DiskFull => disk_full::run(options),
        Suite::Soak => soak::run(options),
    }
}

/// What a backend is called in a line of JSON.
fn name_of(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    }
}
