//! The protocol of push, settle and pull as a model, of which every state at a small size is looked at.
//!
//! Two clients and a server share a row of two columns, as ARCHITECTURE.md's walks have it: base first and clock
//! second, a ledger, receipts with `changed`, frozen pushes with numbers, a pull by cursor without echo, what waits
//! beside unpushed edits. Beside it is a model of the feed, with transactions that commit in any order and pulls that
//! are read in several snapshots. Neither shares code with colsync; they are written from what colsync does. Then ways
//! in which they could be wrong in one thing are tried, and must be found.

mod client;
mod counts;
mod feed;
mod promises;
mod protocol;
mod server;
mod state;
mod wrong;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value as Json, json};
use stateright::{Checker as _, HasDiscoveries, Model};

use crate::Options;
use crate::report::Outcome;
use counts::{Counts, KINDS};
use feed::Feed;
use protocol::{CLOCKS, Protocol};
use state::CLIENTS;

/// How many edits and faults there are at the most.
type Size = (u8, u8);

const SHORT: [Size; 2] = [(3, 1), (2, 2)];
const LONG: [Size; 4] = [(3, 1), (2, 3), (3, 2), (4, 1)];

/// Transactions of the feed, and to how many columns each writes.
const SHORT_FEED: [Size; 2] = [(2, 2), (3, 1)];
const LONG_FEED: [Size; 3] = [(2, 2), (3, 2), (4, 1)];

/// Looks at every state, of the protocol and of those that are wrong.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut outcome = Outcome::new("model", options.seed);
    let (sizes, of_the_feed): (&[Size], &[Size]) = if options.long {
        (&LONG, &LONG_FEED)
    } else {
        (&SHORT, &SHORT_FEED)
    };
    // Either client's clock ahead comes to nearly the same.
    let clocks = if options.long {
        &CLOCKS[..]
    } else {
        &CLOCKS[..2]
    };
    let states = the_protocol(sizes, clocks, &mut outcome) + the_feed(of_the_feed, &mut outcome);
    outcome.size("states", states);
    the_wrong_ones(options.long, &mut outcome);
    outcome
}

/// Gives the number of states.
fn the_protocol(sizes: &[Size], clocks: &'static [[u8; CLIENTS]], outcome: &mut Outcome) -> usize {
    let counts = Arc::new(Counts::default());
    let mut all = 0;
    let mut told = Vec::new();
    for &(edits, faults) in sizes {
        let protocol = Protocol {
            edits,
            faults,
            clocks,
            wrong: None,
            counts: counts.clone(),
        };
        let (states, mut line) = look_at_all(protocol, outcome);
        line["edits"] = json!(edits);
        line["faults"] = json!(faults);
        told.push(line);
        all += states;
    }
    outcome.size("protocol", told);
    for (kind, name) in KINDS {
        outcome.fault(name, counts.of(kind), 1);
    }
    all
}

/// Gives the number of states.
fn the_feed(sizes: &[Size], outcome: &mut Outcome) -> usize {
    let mut all = 0;
    let mut told = Vec::new();
    for &(transactions, writes) in sizes {
        let feed = Feed {
            transactions,
            writes,
            wrong: None,
        };
        let (states, mut line) = look_at_all(feed, outcome);
        line["transactions"] = json!(transactions);
        line["writes"] = json!(writes);
        told.push(line);
        all += states;
    }
    outcome.size("feed", told);
    all
}

/// Looks at every state of a model; gives their number, and what to tell of it.
fn look_at_all<M>(model: M, outcome: &mut Outcome) -> (usize, Json)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + PartialEq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let began = Instant::now();
    let promises = model.properties().len();
    let checker = model
        .checker()
        .threads(threads())
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    for (promise, path) in checker.discoveries() {
        let steps = path.into_actions();
        outcome.found(format!("not so: {promise}, after {steps:?}"));
    }
    let states = checker.unique_state_count();
    let told = json!({
        "promises": promises,
        "states": states,
        "steps": checker.state_count(),
        "depth": checker.max_depth(),
        "seconds": tenths(began.elapsed().as_secs_f64()),
    });
    (states, told)
}

fn the_wrong_ones(long: bool, outcome: &mut Outcome) {
    let began = Instant::now();
    let mut found = Vec::new();
    for (wrong, promise, (edits, faults)) in wrong::ALL {
        let protocol = Protocol {
            edits,
            faults,
            clocks: &CLOCKS,
            wrong: Some(wrong),
            counts: Arc::default(),
        };
        found.push((
            format!("{wrong:?}"),
            promise,
            steps_until(protocol, promise),
        ));
    }
    let at_length = feed::WRONG_AT_LENGTH.into_iter().filter(|_| long);
    for (wrong, promise, (transactions, writes)) in feed::WRONG.into_iter().chain(at_length) {
        let feed = Feed {
            transactions,
            writes,
            wrong: Some(wrong),
        };
        found.push((format!("{wrong:?}"), promise, steps_until(feed, promise)));
    }
    let all = found.len() as u64;
    let mut by = serde_json::Map::new();
    for (wrong, promise, steps) in found {
        match steps {
            Some(steps) => drop(by.insert(wrong, json!({ "not_so": promise, "steps": steps }))),
            None => outcome.found(format!("with {wrong} it is still so: {promise}")),
        }
    }
    outcome.fault("wrong_protocols_caught", by.len() as u64, all);
    outcome.figure("wrong_protocols", by);
    let seconds = tenths(began.elapsed().as_secs_f64());
    outcome.figure("seconds_for_wrong_protocols", seconds);
}

/// After how many steps a wrong model was seen to break its promise, if it was. One thread, so that it is the same way
/// each time.
fn steps_until<M>(model: M, promise: &'static str) -> Option<usize>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + PartialEq + Hash + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model
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
