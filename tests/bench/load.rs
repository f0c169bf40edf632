//! How many rows a second the server writes, beside what else could write them.

use std::time::{Duration, Instant};

use colsync_tests::Backend;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Options;
use crate::patch::{Beside, Patches};
use crate::progress::Progress;
use crate::push::{Pushers, Pushes};
use crate::report::{Line, Table, Target};
use crate::rounds::{Rounds, Side, at_share, in_turn, median};
use crate::served::name_of;
use crate::subject::{Shape, Subject};

/// What one side did in one round.
pub(crate) struct Work {
    /// Rows that were written durably, or edits that were answered for.
    pub(crate) done: u64,
    /// How long that took.
    pub(crate) took: Duration,
    /// Of the answers, in µs, where they are of interest.
    pub(crate) latencies: Vec<u32>,
}

impl Work {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// What the server is asked to do, and what stands beside it.
pub(crate) trait Load {
    /// The work that the server is measured by, for `time`.
    fn baseline(&mut self, subject: &Subject, time: Duration) -> Work;

    /// The work of the server for `time`.
    fn run(&mut self, time: Duration) -> Work;

    /// Asserts that the database has what the server has said.
    fn check(&self, subject: &Subject);
}

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Single-row PATCH requests on PostgreSQL, on so many connections.
    Patch(u64),
    /// The same beside an endpoint that a user would write in place of colsync.
    PatchByHand,
    /// The same on SQLite.
    PatchSqlite,
    /// Edits by push.
    Push(Backend),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Patch(_) => "patch",
            Kind::PatchByHand => "patch-by-hand",
            Kind::PatchSqlite => "patch-sqlite",
            Kind::Push(Backend::Postgres) => "push",
            Kind::Push(Backend::Sqlite) => "push-sqlite",
        }
    }

    pub(crate) fn backend(self) -> Backend {
        match self {
            Kind::Patch(_) | Kind::PatchByHand => Backend::Postgres,
            Kind::PatchSqlite => Backend::Sqlite,
            Kind::Push(backend) => backend,
        }
    }

    fn connections(self) -> u64 {
        match self {
            Kind::Patch(connections) => connections,
            Kind::PatchByHand | Kind::PatchSqlite => 32,
            Kind::Push(_) => Pushes::default().clients,
        }
    }

    fn targets(self, ratio: f64, p99: f64) -> Vec<Target> {
        let bound = match self {
            Kind::Patch(..=32) => 1.0,
            Kind::Patch(_) => 1.6,
            Kind::PatchByHand => 1.2,
            Kind::PatchSqlite => 1.5,
            Kind::Push(Backend::Postgres) => 0.6,
            Kind::Push(Backend::Sqlite) => 0.27,
        };
        let ratio = Target::at_least(bound, ratio);
        match self {
            Kind::Patch(_) => vec![ratio, Target::at_most(20.0, p99).of("p99", "ms")],
            Kind::PatchByHand | Kind::PatchSqlite | Kind::Push(_) => vec![ratio],
        }
    }

    fn load(self, subject: &Subject) -> Box<dyn Load> {
        let patches = |beside| Box::new(Patches::new(subject, self.connections(), beside));
        match self {
            Kind::Patch(_) => patches(Beside::Pgbench),
            Kind::PatchByHand => patches(Beside::ByHand),
            Kind::PatchSqlite => patches(Beside::Updates),
            Kind::Push(_) => Box::new(Pushers::new(subject, Pushes::default())),
        }
    }
}

/// Measures each load.
pub(crate) fn table(kinds: &[Kind], rows: u64, options: &Options) -> Table {
    Table {
        title: "Rows that the server writes a second, beside what else could write them",
        heads: &[
            "what",
            "on",
            "connections",
            "rows/s",
            "baseline/s",
            "ratio",
            "(rounds)",
            "p50 ms",
            "p99 ms",
        ],
        lines: kinds
            .iter()
            .map(|&kind| measure(kind, rows, options))
            .collect(),
    }
}

/// Measures on a database of its own, so that no figure depends on what was measured before it.
fn measure(kind: Kind, rows: u64, options: &Options) -> Line {
    let progress = Progress::new(
        format!("{}, {} connections", kind.name(), kind.connections()),
        options.rounds,
    );
    progress.say("making the tables");
    let shape = Shape {
        rows,
        ..Shape::default()
    };
    let subject = Subject::start(kind.backend(), shape);
    let mut load = kind.load(&subject);
    let mut rounds = Rounds::default();
    let mut latencies = Vec::new();
    for round in 1..=options.rounds {
        let (ours, baseline) = in_turn(round, |side| {
            subject.settle();
            match side {
                Side::Ours => {
                    let mut work = load.run(options.time);
                    latencies.append(&mut work.latencies);
                    work.per_second()
                }
                Side::Baseline => load.baseline(&subject, options.time).per_second(),
            }
        });
        progress.step(format!("{ours:.0}/s, baseline {baseline:.0}/s"));
        rounds.push((ours, baseline));
    }
    load.check(&subject);
    drop(load);
    subject.stop();
    latencies.sort_unstable();
    line(kind, &rounds, &latencies)
}

fn line(kind: Kind, rounds: &Rounds, latencies: &[u32]) -> Line {
    let (p50, p99) = (at_share(latencies, 0.5), at_share(latencies, 0.99));
    let (what, on) = (kind.name(), name_of(kind.backend()));
    let cells = vec![
        what.to_owned(),
        on.to_owned(),
        kind.connections().to_string(),
        format!("{:.0}", median(&rounds.ours)),
        format!("{:.0}", median(&rounds.baseline)),
        format!("{:.2}", rounds.ratio()),
        rounds.spread(),
        format!("{p50:.2}"),
        format!("{p99:.2}"),
    ];
    let object = json!({
        "what": what,
        "on": on,
        "connections": kind.connections(),
        "rows_per_second": median(&rounds.ours),
        "baseline_rows_per_second": median(&rounds.baseline),
        "ratio": rounds.ratio(),
        "p50_ms": p50,
        "p99_ms": p99,
        "rounds": rounds.ours,
        "baseline_rounds": rounds.baseline,
    });
    Line::new(cells, object).should(kind.targets(rounds.ratio(), p99))
}

/// Has each of `members` do one request after the other for `time`, all on this thread. `request` gives the µs
/// from the request to its answer.
pub(crate) fn repeat<M: 'static>(
    runtime: &Runtime,
    members: &mut Vec<M>,
    time: Duration,
    request: impl AsyncFn(&mut M) -> u32 + Copy + 'static,
) -> Work {
    let running = std::mem::take(members);
    let local = tokio::task::LocalSet::new();
    let start = Instant::now();
    let ended = local.block_on(runtime, async {
        let mut tasks = JoinSet::new();
        for mut member in running {
            tasks.spawn_local(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < time {
                    latencies.push(request(&mut member).await);
                }
                (member, latencies)
            });
        }
        tasks.join_all().await
    });
    let took = start.elapsed();
    let mut latencies = Vec::new();
    for (member, mut waited) in ended {
        latencies.append(&mut waited);
        members.push(member);
    }
    Work {
        done: latencies.len() as u64,
        took,
        latencies,
    }
}
