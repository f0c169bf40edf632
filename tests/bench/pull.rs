//! Pulls: what the size of the table adds to the time that changed rows take, and to that of none.

use std::time::Instant;

use colsync_tests::Backend;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use crate::Options;
use crate::caller::Caller;
use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::rounds::{Rounds, Side, in_turn, median};
use crate::served::{Served, name_of};
use crate::things::{self, Thing};

/// Rows that have changed.
pub(crate) const CHANGED: u64 = 1_000;
/// Pulls of the same rows, of which a round takes the median.
const LOOKS: usize = 9;
/// How often a pull is repeated because an open transaction of the cluster still hides some of the rows.
const PATIENCE: u32 = 200;

/// Measures a hundredth of the rows and all of them, on each database.
pub(crate) fn table(rows: u64, options: &Options) -> Table {
    let backends = options.backends.iter();
    Table {
        title: "Time to pull 1,000 changed rows, by the size of their table",
        heads: &[
            "what",
            "on",
            "rows",
            "ms",
            "rows before",
            "ms before",
            "ratio",
            "(rounds)",
        ],
        lines: backends
            .map(|&backend| measure(backend, rows, options))
            .collect(),
    }
}

fn measure(backend: Backend, rows: u64, options: &Options) -> Line {
    let on = name_of(backend);
    let few = (rows / 100).max(CHANGED);
    let progress = Progress::new(format!("pull on {on}"), options.rounds);
    progress.say(format!("making {rows} rows and {few}"));
    let (mut small, mut large) = (Reader::new(backend, few), Reader::new(backend, rows));
    let mut rounds = Rounds::default();
    for round in 1..=options.rounds {
        let (ours, baseline) = in_turn(round, |side| match side {
            Side::Ours => large.pull(),
            Side::Baseline => small.pull(),
        });
        progress.step(format!("{ours:.2} ms, out of {few} rows {baseline:.2} ms"));
        rounds.push((ours, baseline));
    }
    small.stop();
    large.stop();
    let cells = vec![
        "pull".to_owned(),
        on.to_owned(),
        rows.to_string(),
        format!("{:.2}", median(&rounds.ours)),
        few.to_string(),
        format!("{:.2}", median(&rounds.baseline)),
        format!("{:.2}", rounds.ratio()),
        rounds.spread(),
    ];
    let object = json!({
        "what": "pull",
        "on": on,
        "changed_rows": CHANGED,
        "rows": rows,
        "ms": median(&rounds.ours),
        "baseline_rows": few,
        "baseline_ms": median(&rounds.baseline),
        "ratio": rounds.ratio(),
        "rounds": rounds.ours,
        "baseline_rounds": rounds.baseline,
    });
    Line::new(cells, object).should([Target::at_most(1.2, rounds.ratio())])
}

/// A table with a client that changes rows and one that pulls them.
pub(crate) struct Reader {
    served: Served,
    runtime: Runtime,
    writer: Caller,
    reader: Caller,
    rows: u64,
    round: u64,
}

impl Reader {
    /// Makes the table, and pulls all of it once.
    pub(crate) fn new(backend: Backend, rows: u64) -> Reader {
        let served = things::serve(backend, rows);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = served.address();
        let (writer, reader) = runtime.block_on(async {
            let writer = Caller::open(&address, 1).await;
            let mut reader = Caller::open(&address, 2).await;
            assert_eq!(reader.pull().await, rows);
            (writer, reader)
        });
        Reader {
            served,
            runtime,
            writer,
            reader,
            rows,
            round: 0,
        }
    }

    /// Has [`CHANGED`] rows changed, and gives the ms that it takes to pull them.
    pub(crate) fn pull(&mut self) -> f64 {
        self.round += 1;
        // A stride that is prime to the number of rows meets none twice.
        let numbers = (0..CHANGED).map(|step| 1 + (self.round * 31 + step * 7_919) % self.rows);
        let edits = numbers.map(|number| (Thing::of(number).id, 100_000 + self.round));
        let edits: Vec<(String, u64)> = edits.collect();
        let Reader { writer, reader, .. } = self;
        self.runtime.block_on(async {
            writer.reconnect().await;
            writer.set_quantities("things", &edits).await;
            reader.reconnect().await;
            let mut patience = PATIENCE;
            while reader.look().await.0 < CHANGED {
                patience = patience.checked_sub(1).expect("the changed rows");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let mut times = Vec::new();
            for _ in 0..LOOKS {
                let asked = Instant::now();
                assert_eq!(reader.look().await.0, CHANGED);
                times.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            assert_eq!(reader.pull().await, CHANGED);
            median(&times)
        })
    }

    /// Stops its server.
    pub(crate) fn stop(self) {
        drop((self.writer, self.reader));
        self.served.stop();
    }
}
