//! The figures, for people and for programs.

use std::fmt::Write as _;

use colsync_tests::Backend;
use serde_json::{Value as Json, json};

/// What was measured of one thing on one database.
pub(crate) struct Figure {
    what: &'static str,
    backend: Backend,
    /// Rows changed a second by the server, by round.
    pub(crate) ours: Vec<f64>,
    /// The same by the database alone.
    pub(crate) baseline: Vec<f64>,
    /// Of all the server's answers, in µs.
    pub(crate) latencies: Vec<u64>,
}

impl Figure {
    /// Nothing measured yet.
    pub(crate) fn new(what: &'static str, backend: Backend) -> Figure {
        Figure {
            what,
            backend,
            ours: Vec::new(),
            baseline: Vec::new(),
            latencies: Vec::new(),
        }
    }

    fn backend(&self) -> &'static str {
        match self.backend {
            Backend::Sqlite => "sqlite",
            Backend::Postgres => "postgres",
        }
    }

    fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.baseline)
    }

    /// The worst and the best round.
    fn ratios(&self) -> (f64, f64) {
        let ratios = self.ours.iter().zip(&self.baseline).map(|(a, b)| a / b);
        ratios.fold((f64::INFINITY, 0.0), |(low, high), ratio| {
            (ratio.min(low), ratio.max(high))
        })
    }

    /// The latency that this share of the answers did not exceed, in ms.
    fn latency(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(place).copied().unwrap_or_default() as f64 / 1_000.0
    }
}

/// One line a figure.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:6} {:9} {:>10} {:>11} {:>6} {:>12} {:>8} {:>8}\n",
        "what", "on", "rows/s", "baseline/s", "ratio", "(rounds)", "p50 ms", "p99 ms"
    );
    for figure in figures {
        let (low, high) = figure.ratios();
        writeln!(
            text,
            "{:6} {:9} {:>10.0} {:>11.0} {:>6.2} {:>12} {:>8.2} {:>8.2}",
            figure.what,
            figure.backend(),
            median(&figure.ours),
            median(&figure.baseline),
            figure.ratio(),
            format!("{low:.2}-{high:.2}"),
            figure.latency(0.5),
            figure.latency(0.99)
        )
        .unwrap();
    }
    text
}

/// An array with an object a figure.
pub(crate) fn json(figures: &[Figure]) -> Json {
    let objects = figures.iter().map(|figure| {
        json!({
            "what": figure.what,
            "on": figure.backend(),
            "rows_per_second": median(&figure.ours),
            "baseline_rows_per_second": median(&figure.baseline),
            "ratio": figure.ratio(),
            "p50_ms": figure.latency(0.5),
            "p99_ms": figure.latency(0.99),
            "rounds": figure.ours,
            "baseline_rounds": figure.baseline,
        })
    });
    objects.collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    } else {
        sorted[middle]
    }
}
