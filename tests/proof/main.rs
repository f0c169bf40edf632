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

mod model;
mod mutants;
mod report;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use colsync_tests::Backend;

use mutants::{By, Wanted};
use report::Outcome;

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

/// How a suite is run.
struct Options {
    long: bool,
    seed: u64,
    backends: Vec<Backend>,
    mutants: Wanted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        long: arguments.long,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
        backends: match arguments.on {
            Some(On::Postgres) => vec![Backend::Postgres],
            Some(On::Sqlite) => vec![Backend::Sqlite],
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
    }
}
