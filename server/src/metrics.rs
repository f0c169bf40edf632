//! What `/metrics` shows: counts and durations of requests, edits, conflicts and commits.
//!
//! One value, passed to those who count; nothing global. Labels come from small fixed sets, never from
//! what a caller sent.

use std::time::Duration;

use colsync_shared::receipt::{Outcome, Status};
use colsync_shared::{Receipt, Time};
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Seconds of one request or commit.
const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Edits that share one commit.
const EDITS: [f64; 10] = [
    1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 2_000.0, 10_000.0,
];

/// All metrics of one server.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    edits: IntCounterVec,
    columns: IntCounterVec,
    conflicts: IntCounter,
    batch_edits: Histogram,
    commit_seconds: Histogram,
    queue_depth: IntGauge,
}

impl Metrics {
    /// Metrics that all stand at zero. `started` is shown as the server's start.
    ///
    /// # Errors
    /// Only if two metrics here had the same name.
    pub(crate) fn new(started: Time) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).buckets(buckets.to_vec())
        };
        let metrics = Metrics {
            registry: Registry::new(),
            requests: IntCounterVec::new(
                Opts::new("colsync_http_requests_total", "Requests answered"),
                &["method", "route", "status"],
            )?,
            request_seconds: HistogramVec::new(
                histogram(
                    "colsync_http_request_seconds",
                    "From a request's head to its answer's",
                    &SECONDS,
                ),
                &["method", "route"],
            )?,
            edits: IntCounterVec::new(
                Opts::new("colsync_edits_total", "Edits by what became of them"),
                &["status"],
            )?,
            columns: IntCounterVec::new(
                Opts::new("colsync_columns_total", "Edited columns by their outcome"),
                &["outcome"],
            )?,
            conflicts: IntCounter::new(
                "colsync_conflicts_total",
                "Conflicts written to the ledger",
            )?,
            batch_edits: Histogram::with_opts(histogram(
                "colsync_batch_edits",
                "Edits that shared one commit",
                &EDITS,
            ))?,
            commit_seconds: Histogram::with_opts(histogram(
                "colsync_commit_seconds",
                "Merging and committing one batch",
                &SECONDS,
            ))?,
            queue_depth: IntGauge::new(
                "colsync_queue_depth",
                "Submissions waiting in the commit queue",
            )?,
        };
        let start = IntGauge::new(
            "colsync_start_time_seconds",
            "When the server started, since 1970",
        )?;
        start.set(started.micros() / 1_000_000);
        let all: [Box<dyn Collector>; 9] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.request_seconds.clone()),
            Box::new(metrics.edits.clone()),
            Box::new(metrics.columns.clone()),
            Box::new(metrics.conflicts.clone()),
            Box::new(metrics.batch_edits.clone()),
            Box::new(metrics.commit_seconds.clone()),
            Box::new(metrics.queue_depth.clone()),
            Box::new(start),
        ];
        for metric in all {
            metrics.registry.register(metric)?;
        }
        Ok(metrics)
    }

    /// A request was answered. `route` is the route's pattern, never the path; `None`: there is none.
    pub(crate) fn answered(&self, method: &str, route: Option<&str>, status: u16, after: Duration) {
        // A method is the caller's text, too.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known.into_iter().find(|&m| m == method).unwrap_or("other");
        let route = route.unwrap_or("none");
        let labels = [method, route, &status.to_string()];
        self.requests.with_label_values(&labels).inc();
        self.request_seconds
            .with_label_values(&[method, route])
            .observe(after.as_secs_f64());
    }

    /// An edit was answered with `receipt`, for the first time: a repeated push counts nothing.
    pub(crate) fn receipt(&self, receipt: &Receipt) {
        let status = match receipt.status {
            Status::Ok => "ok",
            Status::Rejected => "rejected",
            Status::RolledBack => "rolled_back",
        };
        self.edits.with_label_values(&[status]).inc();
        let refused = receipt.rejection.as_ref();
        let refused = refused.is_some_and(|rejection| rejection.conflict.is_some());
        let mut conflicts = receipt.conflicts.len() + usize::from(refused);
        for column in receipt.columns.values() {
            let outcome = match column.outcome {
                Outcome::Applied => "applied",
                Outcome::Unchanged => "unchanged",
                Outcome::Merged => "merged",
                Outcome::Superseded => "superseded",
                Outcome::Held => "held",
            };
            self.columns.with_label_values(&[outcome]).inc();
            conflicts += usize::from(column.conflict.is_some());
        }
        self.conflicts
            .inc_by(u64::try_from(conflicts).unwrap_or(u64::MAX));
    }

    /// A batch of `edits` edits was committed.
    pub(crate) fn committed(&self, edits: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a batch has few edits")]
        self.batch_edits.observe(edits as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// The commit queue holds `submissions` now.
    pub(crate) fn queued(&self, submissions: usize) {
        self.queue_depth
            .set(i64::try_from(submissions).unwrap_or(i64::MAX));
    }

    /// All metrics in Prometheus's text format, version 0.0.4.
    pub(crate) fn render(&self) -> String {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.unwrap_or_else(|error| {
            log::error!("the metrics cannot be written: {error}");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new(Time::from_micros(5_000_000)).unwrap();
        let took = Duration::from_millis(2);
        metrics.answered("GET", Some("/v1/tables/{table}/rows"), 200, took);
        metrics.answered("BREW", None, 404, took);
        metrics.receipt(&Receipt::of("todos", None, Status::RolledBack));
        metrics.committed(3, took);
        metrics.queued(4);
        let text = metrics.render();
        for line in [
            r#"colsync_http_requests_total{method="GET",route="/v1/tables/{table}/rows",status="200"} 1"#,
            r#"colsync_http_requests_total{method="other",route="none",status="404"} 1"#,
            r#"colsync_edits_total{status="rolled_back"} 1"#,
            "colsync_batch_edits_sum 3",
            "colsync_commit_seconds_count 1",
            "colsync_queue_depth 4",
            "colsync_start_time_seconds 5",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
