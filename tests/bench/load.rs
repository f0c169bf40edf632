//! How many rows a second the server writes, beside the database alone.

use std::time::Duration;

use colsync_tests::Backend;
use serde_json::json;

use crate::patch::Patchers;
use crate::push::Pushers;
use crate::report::{Line, Rounds, Table, median};
use crate::served::name_of;
use crate::subject::Subject;

/// What one side did in one round.
pub(crate) struct Work {
    /// Rows that were changed durably.
    pub(crate) done: u64,
    /// How long that took.
    pub(crate) took: Duration,
}

impl Work {
    fn per_second(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }
}

/// What the server is asked to do, and what stands for it without a server.
pub(crate) trait Load {
    /// The work of the plain database for `time`.
    fn baseline(&self, subject: &Subject, time: Duration) -> Work;

    /// The work of the server for `time`; adds each answer's latency in µs.
    fn run(&mut self, time: Duration, latencies: &mut Vec<u64>) -> Work;

    /// Edits of all runs so far that the server says it has applied.
    fn applied(&self) -> u64;
}

/// The kinds of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Single-row PATCH requests.
    Patch,
    /// Edits by push.
    Push,
}

/// Measures each load on each database.
pub(crate) fn table(kinds: &[Kind], backends: &[Backend], rounds: u32, time: Duration) -> Table {
    let each = backends
        .iter()
        .flat_map(|&backend| kinds.iter().map(move |&kind| (kind, backend)));
    Table {
        title: "Rows that the server writes a second, beside the database alone",
        heads: &[
            "what",
            "on",
            "rows/s",
            "baseline/s",
            "ratio",
            "(rounds)",
            "p50 ms",
            "p99 ms",
        ],
        lines: each
            .map(|(kind, backend)| measure(kind, backend, rounds, time))
            .collect(),
    }
}

/// Measures on a database of its own, so that no figure depends on what was measured before it.
fn measure(kind: Kind, backend: Backend, count: u32, time: Duration) -> Line {
    let subject = Subject::start(backend);
    let (what, mut load): (_, Box<dyn Load>) = match kind {
        Kind::Push => ("push", Box::new(Pushers::new(&subject))),
        Kind::Patch => ("patch", Box::new(Patchers::new(&subject))),
    };
    let on = name_of(backend);
    let mut rounds = Rounds::default();
    let mut latencies = Vec::new();
    for round in 1..=count {
        subject.settle();
        let baseline = load.baseline(&subject, time).per_second();
        subject.settle();
        let ours = load.run(time, &mut latencies).per_second();
        eprintln!("{what} on {on}, round {round}: {ours:.0}/s, baseline {baseline:.0}/s");
        rounds.ours.push(ours);
        rounds.baseline.push(baseline);
    }
    // Each made a version, so what was said can be counted in the database.
    assert_eq!(
        subject.versions(),
        load.applied(),
        "edits written, edits applied"
    );
    subject.stop();
    latencies.sort_unstable();
    line(what, on, &rounds, &latencies)
}

fn line(what: &str, on: &str, rounds: &Rounds, latencies: &[u64]) -> Line {
    let (p50, p99) = (at_share(latencies, 0.5), at_share(latencies, 0.99));
    Line {
        cells: vec![
            what.to_owned(),
            on.to_owned(),
            format!("{:.0}", median(&rounds.ours)),
            format!("{:.0}", median(&rounds.baseline)),
            format!("{:.2}", rounds.ratio()),
            rounds.spread(),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
        ],
        object: json!({
            "what": what,
            "on": on,
            "rows_per_second": median(&rounds.ours),
            "baseline_rows_per_second": median(&rounds.baseline),
            "ratio": rounds.ratio(),
            "p50_ms": p50,
            "p99_ms": p99,
            "rounds": rounds.ours,
            "baseline_rounds": rounds.baseline,
        }),
    }
}

/// The latency in ms that this share of the `sorted` ones did not exceed.
fn at_share(sorted: &[u64], share: f64) -> f64 {
    let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or_default() as f64 / 1_000.0
}
