//! The protocol of push, settle and pull as a model, of which every state at a small size is looked at.
//!
//! Two clients and a server share a row of two columns, as ARCHITECTURE.md's walks have it: base first and clock
//! second, a ledger, receipts with `changed`, frozen pushes with numbers, a pull by cursor without echo, what waits
//! beside unpushed edits. The model shares no code with colsync; it is written from what colsync does. Then every way
//! in which it could be wrong in one thing is tried, and must be found.

mod client;
mod counts;
mod promises;
mod protocol;
mod server;
mod state;
mod wrong;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use stateright::{Checker, HasDiscoveries, Model as _};

use crate::Options;
use crate::report::Outcome;
use counts::{Counts, KINDS};
use protocol::Protocol;
use wrong::Wrong;

/// How many edits and faults there are at the most.
type Size = (u8, u8);

const SHORT: [Size; 2] = [(3, 1), (2, 2)];
const LONG: [Size; 4] = [(3, 1), (2, 3), (3, 2), (4, 1)];

/// Looks at every state, of the protocol and of those that are wrong.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut outcome = Outcome::new("model", options.seed);
    let sizes: &[Size] = if options.long { &LONG } else { &SHORT };
    the_protocol(sizes, &mut outcome);
    the_wrong_ones(&mut outcome);
    outcome
}

fn the_protocol(sizes: &[Size], outcome: &mut Outcome) {
    let counts = Arc::new(Counts::default());
    let (mut all, mut promises, mut seconds) = (0, 0, 0.0);
    let mut told = Vec::new();
    for &(edits, faults) in sizes {
        let began = Instant::now();
        let protocol = Protocol {
            edits,
            faults,
            wrong: None,
            counts: counts.clone(),
        };
        promises = protocol.properties().len();
        let checker = protocol
            .checker()
            .threads(threads())
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        for (promise, path) in checker.discoveries() {
            let steps = path.into_actions();
            outcome.found(format!("not so: {promise}, after {steps:?}"));
        }
        all += checker.unique_state_count();
        seconds += began.elapsed().as_secs_f64();
        told.push(json!({
            "edits": edits,
            "faults": faults,
            "states": checker.unique_state_count(),
            "steps": checker.state_count(),
            "depth": checker.max_depth(),
            "seconds": tenths(began.elapsed().as_secs_f64()),
        }));
    }
    outcome.size("sizes", told);
    outcome.size("states", all);
    outcome.size("promises", promises);
    for (kind, name) in KINDS {
        outcome.fault(name, counts.of(kind), 1);
    }
    outcome.figure("seconds", tenths(seconds));
}

fn the_wrong_ones(outcome: &mut Outcome) {
    let began = Instant::now();
    let mut caught = 0;
    let mut by = serde_json::Map::new();
    for (wrong, promise, size) in wrong::ALL {
        match steps_until(wrong, promise, size) {
            Some(steps) => {
                caught += 1;
                let told = json!({ "not_so": promise, "steps": steps });
                by.insert(format!("{wrong:?}"), told);
            }
            None => outcome.found(format!("with {wrong:?} it is still so: {promise}")),
        }
    }
    outcome.fault("wrong_protocols_caught", caught, wrong::ALL.len() as u64);
    outcome.figure("wrong_protocols", by);
    let seconds = tenths(began.elapsed().as_secs_f64());
    outcome.figure("seconds_for_wrong_protocols", seconds);
}

/// After how many steps a wrong protocol was seen to break its promise, if it was. One thread, so that it is the same
/// way each time.
fn steps_until(wrong: Wrong, promise: &'static str, (edits, faults): Size) -> Option<usize> {
    let protocol = Protocol {
        edits,
        faults,
        wrong: Some(wrong),
        counts: Arc::default(),
    };
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from([promise])))
        .spawn_bfs()
        .join();
    let path = checker.discovery(promise)?;
    Some(path.into_actions().len())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
