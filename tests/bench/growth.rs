//! How cost grows: with the edits of a push, the rows of a table, the columns of a row.

use std::path::Path;

use colsync_tests::Backend;
use serde_json::json;

use crate::Options;
use crate::load::Load as _;
use crate::plot::{Curve, Plot};
use crate::progress::Progress;
use crate::pull::{CHANGED, Reader};
use crate::push::{Pushers, Pushes};
use crate::report::{Line, Table};
use crate::rounds::median;
use crate::served::name_of;
use crate::subject::{Shape, Subject};

/// Edits of a push.
const BATCHES: [usize; 6] = [1, 10, 100, 500, 2_000, 5_000];
/// Rows of the table that they meet: enough for four clients with the largest on its way.
const ROWS: u64 = 100_000;
/// Columns of a row.
const COLUMNS: [u64; 3] = [10, 50, 200];

/// A figure by what it grows with.
struct Growth {
    title: &'static str,
    heads: &'static [&'static str],
    plot: Plot,
    /// What grows and what is measured, for programs.
    members: [&'static str; 2],
    /// Decimals of the figure.
    decimals: usize,
    lines: Vec<Line>,
}

/// Measures all, and draws it into the folder `plots`.
pub(crate) fn tables(rows: u64, plots: Option<&Path>, options: &Options) -> [Table; 3] {
    if let Some(folder) = plots {
        std::fs::create_dir_all(folder).unwrap();
    }
    let growths = [
        by_batch(options),
        by_rows(rows, options),
        by_columns(options),
    ];
    growths.map(|growth| {
        if let Some(folder) = plots {
            growth.plot.draw(folder);
        }
        Table {
            title: growth.title,
            heads: growth.heads,
            lines: growth.lines,
        }
    })
}

fn by_batch(options: &Options) -> Growth {
    let mut growth = Growth {
        title: "Edits pushed a second by 4 clients, half in conflict, by the size of a push",
        heads: &["what", "on", "edits a push", "edits/s", "(rounds)"],
        plot: Plot {
            name: "push-batch",
            title: "Pushes of 4 clients, half of the edits in conflict",
            x: "edits in a push",
            y: "edits per second",
            in_factors: true,
            lines: Vec::new(),
        },
        members: ["edits_per_push", "edits_per_second"],
        decimals: 0,
        lines: Vec::new(),
    };
    for &backend in &options.backends {
        let points = BATCHES.map(|batch| {
            let shape = Shape {
                rows: ROWS,
                ..Shape::default()
            };
            let what = format!("growth, pushes of {batch} on {}", name_of(backend));
            (batch as f64, push(&what, backend, shape, batch, options))
        });
        growth.add(backend, "push", &points);
    }
    growth
}

fn by_columns(options: &Options) -> Growth {
    let mut growth = Growth {
        title: "Time of an edit of one column in a push of 500, half in conflict, by the row's columns",
        heads: &["what", "on", "columns", "µs/edit", "(rounds)"],
        plot: Plot {
            name: "merge-columns",
            title: "Edits of one column, pushed by 500, half in conflict",
            x: "columns in a row",
            y: "µs per edit",
            in_factors: false,
            lines: Vec::new(),
        },
        members: ["columns", "us_per_edit"],
        decimals: 1,
        lines: Vec::new(),
    };
    for &backend in &options.backends {
        let points = COLUMNS.map(|columns| {
            let shape = Shape {
                columns,
                ..Shape::default()
            };
            let what = format!("growth, {columns} columns on {}", name_of(backend));
            let batch = Pushes::default().batch;
            let rates = push(&what, backend, shape, batch, options);
            let times = rates.into_iter().map(|rate| 1e6 / rate).collect();
            (columns as f64, times)
        });
        growth.add(backend, "merge", &points);
    }
    growth
}

fn by_rows(rows: u64, options: &Options) -> Growth {
    let mut growth = Growth {
        title: "Time to pull 1,000 changed rows, by the rows of their table",
        heads: &["what", "on", "rows", "ms", "(rounds)"],
        plot: Plot {
            name: "pull-rows",
            title: "A pull of 1,000 changed rows",
            x: "rows in the table",
            y: "ms per pull",
            in_factors: true,
            lines: Vec::new(),
        },
        members: ["rows", "ms"],
        decimals: 2,
        lines: Vec::new(),
    };
    let mut sizes = [rows / 100, rows / 10, rows]
        .map(|rows| rows.max(CHANGED))
        .to_vec();
    sizes.dedup();
    for &backend in &options.backends {
        let points = sizes.iter().map(|&rows| {
            let what = format!("growth, pulls of {rows} rows on {}", name_of(backend));
            let progress = Progress::new(what, options.rounds);
            progress.say("making the table");
            let mut reader = Reader::new(backend, rows);
            let times = (0..options.rounds).map(|_| {
                let took = reader.pull();
                progress.step(format!("{took:.2} ms"));
                took
            });
            let times = times.collect();
            reader.stop();
            (rows as f64, times)
        });
        growth.add(backend, "pull", &points.collect::<Vec<_>>());
    }
    growth
}

/// Edits a second of each round.
fn push(what: &str, backend: Backend, shape: Shape, batch: usize, options: &Options) -> Vec<f64> {
    let progress = Progress::new(what, options.rounds);
    progress.say("making the table");
    let subject = Subject::start(backend, shape);
    let pushes = Pushes {
        batch,
        ..Pushes::default()
    };
    let mut pushers = Pushers::new(&subject, pushes);
    let rates = (0..options.rounds).map(|_| {
        subject.settle();
        let rate = pushers.run(options.time).per_second();
        progress.step(format!("{rate:.0} edits/s"));
        rate
    });
    let rates = rates.collect();
    pushers.check(&subject);
    drop(pushers);
    subject.stop();
    rates
}

impl Growth {
    /// Adds what was measured on one database: by each size, the rounds.
    fn add(&mut self, backend: Backend, what: &str, points: &[(f64, Vec<f64>)]) {
        let on = name_of(backend);
        let decimals = self.decimals;
        for (size, rounds) in points {
            let (low, high) = rounds
                .iter()
                .fold((f64::INFINITY, 0.0_f64), |(low, high), &n| {
                    (low.min(n), high.max(n))
                });
            let cells = vec![
                what.to_owned(),
                on.to_owned(),
                size.to_string(),
                format!("{:.decimals$}", median(rounds)),
                format!("{low:.decimals$}-{high:.decimals$}"),
            ];
            let [by, figure] = self.members;
            let object = json!({
                "what": format!("growth, {what}"),
                "on": on,
                by: size,
                figure: median(rounds),
                "rounds": rounds,
            });
            self.lines.push(Line::new(cells, object));
        }
        let name = match backend {
            Backend::Postgres => "PostgreSQL",
            Backend::Sqlite => "SQLite",
        };
        let points = points.iter().map(|(size, rounds)| (*size, median(rounds)));
        self.plot.lines.push(Curve {
            name: name.to_owned(),
            points: points.collect(),
        });
    }
}
