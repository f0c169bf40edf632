//! What the merge costs: the server's writes a second beside what the same database does without it.
//!
//! Each figure is the median of rounds that alternate with their baseline on the same machine, and both
//! are durable: nothing is counted before the database has it on disk. Nothing is asserted about time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark ends where something is not as it must be"
)]

mod http;
mod patch;
mod postgres;
mod push;
mod random;
mod report;
mod subject;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use colsync_tests::Backend;

use report::Figure;
use subject::Subject;

/// Measures the server's writes against those of the plain database, on PostgreSQL and on SQLite.
#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    /// Only on this database
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Rounds, of which the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that the server is measured in each round, and its baseline likewise
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Single-row PATCH requests
    Patch,
    /// Edits by push
    Push,
    /// Both
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// An embedded file
    Sqlite,
    /// A server
    Postgres,
}

/// What one side did in one round.
struct Work {
    /// Rows that were changed durably.
    done: u64,
    /// How long that took.
    took: Duration,
}

impl Work {
    fn per_second(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// What the server is asked to do, and what stands for it without a server.
trait Load {
    /// The work of the plain database for `time`.
    fn baseline(&self, subject: &Subject, time: Duration) -> Work;

    /// The work of the server for `time`; adds each answer's latency in µs.
    fn run(&mut self, time: Duration, latencies: &mut Vec<u64>) -> Work;

    /// Edits of all runs so far that the server says it has applied.
    fn applied(&self) -> u64;
}

fn main() {
    let arguments = Arguments::parse();
    let mut figures = Vec::new();
    for (on, backend) in [
        (On::Postgres, Backend::Postgres),
        (On::Sqlite, Backend::Sqlite),
    ] {
        if arguments.on.is_some_and(|only| only != on) {
            continue;
        }
        for what in [What::Patch, What::Push] {
            if arguments.what == what || arguments.what == What::All {
                figures.push(measure(what, backend, &arguments));
            }
        }
    }
    if arguments.json {
        println!("{}", report::json(&figures));
    } else {
        print!("{}", report::table(&figures));
    }
}

/// Measures on a database of its own, so that no figure depends on what was measured before it.
fn measure(what: What, backend: Backend, arguments: &Arguments) -> Figure {
    let subject = Subject::start(backend);
    let time = Duration::from_secs(arguments.seconds);
    let (name, mut load): (_, Box<dyn Load>) = match what {
        What::Push => ("push", Box::new(push::Pushers::new(&subject))),
        What::Patch | What::All => ("patch", Box::new(patch::Patchers::new(&subject))),
    };
    let mut figure = Figure::new(name, backend);
    for round in 1..=arguments.rounds {
        subject.settle();
        let baseline = load.baseline(&subject, time).per_second();
        subject.settle();
        let ours = load.run(time, &mut figure.latencies).per_second();
        eprintln!("{name} on {backend:?}, round {round}: {ours:.0}/s, baseline {baseline:.0}/s");
        figure.ours.push(ours);
        figure.baseline.push(baseline);
    }
    // Each made a version, so what was said can be counted in the database.
    assert_eq!(
        subject.versions(),
        load.applied(),
        "edits written, edits applied"
    );
    subject.stop();
    figure
}
