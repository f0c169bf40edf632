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

/// How much can happen.
struct Size {
    edits: u8,
    faults: u8,
}

/// Of these, a small one shows every wrong protocol.
const SMALL: Size = Size {
    edits: 3,
    faults: 1,
};
const LARGE: Size = Size {
    edits: 4,
    faults: 2,
};

/// Looks at every state, of the protocol and of those that are wrong.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut outcome = Outcome::new("model", options.seed);
    let size = if options.long { LARGE } else { SMALL };
    the_protocol(&size, &mut outcome);
    the_wrong_ones(&mut outcome);
    outcome
}

fn the_protocol(size: &Size, outcome: &mut Outcome) {
    let began = Instant::now();
    let counts = Arc::new(Counts::default());
    let protocol = Protocol {
        edits: size.edits,
        faults: size.faults,
        wrong: None,
        counts: counts.clone(),
    };
    let promises = protocol.properties().len();
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
    outcome.size("edits", size.edits);
    outcome.size("faults_in_a_run", size.faults);
    outcome.size("promises", promises);
    outcome.size("states", checker.unique_state_count());
    outcome.size("steps", checker.state_count());
    outcome.size("depth", checker.max_depth());
    for (kind, name) in KINDS {
        outcome.fault(name, counts.of(kind), 1);
    }
    outcome.figure("seconds", began.elapsed().as_secs_f64());
}

fn the_wrong_ones(outcome: &mut Outcome) {
    let began = Instant::now();
    let mut caught = 0;
    let mut by = serde_json::Map::new();
    for (wrong, promise) in wrong::ALL {
        match steps_until(wrong, promise) {
            Some(steps) => {
                caught += 1;
                by.insert(
                    format!("{wrong:?}"),
                    json!({ "not_so": promise, "steps": steps }),
                );
            }
            None => outcome.found(format!("{wrong:?} breaks no promise that {promise}")),
        }
    }
    outcome.fault("wrong_protocols_caught", caught, wrong::ALL.len() as u64);
    outcome.figure("wrong_protocols", json!(by));
    outcome.figure("seconds_for_wrong_protocols", began.elapsed().as_secs_f64());
}

/// After how many steps at the least a wrong protocol breaks its promise, if it does.
fn steps_until(wrong: Wrong, promise: &'static str) -> Option<usize> {
    let protocol = Protocol {
        edits: SMALL.edits,
        faults: SMALL.faults,
        wrong: Some(wrong),
        counts: Arc::default(),
    };
    let checker = protocol
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AllOf(BTreeSet::from([promise])))
        .spawn_bfs()
        .join();
    let path = checker.discovery(promise)?;
    Some(path.into_actions().len())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
