//! Pulls that bring nothing, as most pulls do, beside the cheapest request that the server has.

use std::time::Instant;

use colsync_tests::Backend;
use serde_json::json;
use tokio::runtime::Builder;

use crate::Options;
use crate::caller::Caller;
use crate::http::Connection;
use crate::load::repeat;
use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::rounds::{Rounds, Side, at_share, in_turn, median};
use crate::served::name_of;
use crate::things;

/// Each of a client of its own.
const CONNECTIONS: u64 = 32;
const ROWS: u64 = 10_000;

/// Measures on each database.
pub(crate) fn table(options: &Options) -> Table {
    let backends = options.backends.iter();
    Table {
        title: "Pulls of clients that are up to date, a second, beside GET /healthz",
        heads: &[
            "what",
            "on",
            "connections",
            "pulls/s",
            "healthz/s",
            "ratio",
            "(rounds)",
            "p50 ms",
            "p99 ms",
        ],
        lines: backends.map(|&backend| measure(backend, options)).collect(),
    }
}

fn measure(backend: Backend, options: &Options) -> Line {
    let on = name_of(backend);
    let progress = Progress::new(format!("idle-pull on {on}"), options.rounds);
    progress.say("making the table");
    let served = things::serve(backend, ROWS);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (mut pullers, mut askers) = runtime.block_on(open(&served.address()));
    let mut rounds = Rounds::default();
    let mut latencies = Vec::new();
    for round in 1..=options.rounds {
        let (ours, baseline) = in_turn(round, |side| match side {
            Side::Ours => {
                let mut work = repeat(&runtime, &mut pullers, options.time, pull);
                latencies.append(&mut work.latencies);
                work.per_second()
            }
            Side::Baseline => repeat(&runtime, &mut askers, options.time, ask).per_second(),
        });
        progress.step(format!("{ours:.0}/s, healthz {baseline:.0}/s"));
        rounds.push((ours, baseline));
    }
    drop((pullers, askers));
    served.stop();
    latencies.sort_unstable();
    let (p50, p99) = (at_share(&latencies, 0.5), at_share(&latencies, 0.99));
    let cells = vec![
        "idle-pull".to_owned(),
        on.to_owned(),
        CONNECTIONS.to_string(),
        format!("{:.0}", median(&rounds.ours)),
        format!("{:.0}", median(&rounds.baseline)),
        format!("{:.2}", rounds.ratio()),
        rounds.spread(),
        format!("{p50:.2}"),
        format!("{p99:.2}"),
    ];
    let object = json!({
        "what": "idle-pull",
        "on": on,
        "connections": CONNECTIONS,
        "pulls_per_second": median(&rounds.ours),
        "baseline_requests_per_second": median(&rounds.baseline),
        "ratio": rounds.ratio(),
        "p50_ms": p50,
        "p99_ms": p99,
        "rounds": rounds.ours,
        "baseline_rounds": rounds.baseline,
    });
    Line::new(cells, object).should([Target::at_least(0.3, rounds.ratio())])
}

/// Clients that are up to date, and connections of the same number.
async fn open(address: &str) -> (Vec<Caller>, Vec<Connection>) {
    let (mut pullers, mut askers) = (Vec::new(), Vec::new());
    for number in 0..CONNECTIONS {
        let mut puller = Caller::open(address, number).await;
        assert_eq!(puller.pull().await, ROWS);
        pullers.push(puller);
    }
    for _ in 0..CONNECTIONS {
        let id = "b0000000-0000-4000-8000-ffffffffffff";
        askers.push(Connection::open(address, id).await);
    }
    (pullers, askers)
}

async fn pull(puller: &mut Caller) -> u32 {
    let asked = Instant::now();
    assert_eq!(
        puller.pull().await,
        0,
        "rows for a client that is up to date"
    );
    asked.elapsed().as_micros() as u32
}

async fn ask(asker: &mut Connection) -> u32 {
    let asked = Instant::now();
    asker.get("/healthz", "").await;
    asked.elapsed().as_micros() as u32
}
