//! `watch`: the background worker in the foreground, until a signal stops it.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use colsync_client::{Client, Pace, State, Status};
use colsync_shared::Time;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::{mpsc, watch};

use super::commands::report_line;
use super::edges::now;
use super::failure::Failure;
use super::output::Output;
use super::progress::Bar;
use super::show::{count, harmless, time};

/// Exit code of who was stopped by a later signal, while waiting for the first to be heeded.
const INTERRUPTED: i32 = 130;

/// How long later signals mean the first: a terminal and a service manager may both send one.
const SAME: Duration = Duration::from_secs(1);

/// Syncs until SIGINT or SIGTERM; says each change of state.
pub(super) fn run(
    client: &Client,
    interval: Option<Duration>,
    output: &Output,
) -> Result<(), Failure> {
    // Heeded from the beginning: the worker must never be cut off in the middle.
    let stop = signals()?;
    let mut pace = Pace::default();
    pace.interval = interval.unwrap_or(pace.interval);
    let worker = client.start(pace)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let told = runtime.block_on(tell(worker.status(), stop, output));
    worker.stop();
    told
}

/// Signals, as they come.
fn signals() -> Result<mpsc::Receiver<()>, Failure> {
    let (heard, stop) = mpsc::channel(1);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut first: Option<Instant> = None;
            for _signal in signals.forever() {
                match first {
                    None => {
                        first = Some(Instant::now());
                        if heard.try_send(()).is_err() {
                            log::debug!("the end has come already");
                        }
                    }
                    Some(first) if first.elapsed() < SAME => {}
                    // It takes too long for whoever sends another: a sync waits for its answer.
                    Some(_) => std::process::exit(INTERRUPTED),
                }
            }
        })?;
    Ok(stop)
}

/// Says what the worker says, until a signal comes or the worker ends.
async fn tell(
    mut status: watch::Receiver<Status>,
    mut stop: mpsc::Receiver<()>,
    output: &Output,
) -> Result<(), Failure> {
    let bar = Bar::new(output);
    let mut last = None;
    loop {
        let current = status.borrow_and_update().clone();
        show_progress(&bar, &current.state);
        let line = Line::of(&current);
        if last.as_ref() != Some(&line) {
            let said = Said {
                at: now(),
                status: &current,
            };
            bar.aside(|| output.answer(&said, |said| said.text()))?;
            last = Some(line);
        }
        if matches!(current.state, State::Stopped) {
            let why = current.last_error.unwrap_or_else(|| "no reason".to_owned());
            return Err(Failure::Stopped(why));
        }
        tokio::select! {
            changed = status.changed() => {
                if changed.is_err() {
                    return Err(Failure::Stopped("the worker has ended".to_owned()));
                }
            }
            _signal = stop.recv() => return Ok(()),
        }
    }
}

/// What a new line is said for. How far a sync is, is not among it.
#[derive(PartialEq)]
struct Line {
    state: Discriminant<State>,
    pending: u64,
    last_error: Option<String>,
}

impl Line {
    fn of(status: &Status) -> Self {
        Line {
            state: discriminant(&status.state),
            pending: status.pending,
            last_error: status.last_error.clone(),
        }
    }
}

/// A status and when it was said.
#[derive(Serialize)]
struct Said<'s> {
    at: Time,
    #[serde(flatten)]
    status: &'s Status,
}

impl Said<'_> {
    fn text(&self) -> String {
        let status = self.status;
        let mut parts = vec![
            time(self.at),
            format!("{:<8}", word(&status.state)),
            format!("{} pending", count(status.pending, "change")),
        ];
        if let Some(error) = &status.last_error {
            parts.push(harmless(error));
        } else if let (State::Idle, Some(report)) = (&status.state, &status.last_report) {
            parts.push(report_line(report));
        }
        parts.join("  ")
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Syncing(_) => "syncing",
        State::Offline => "offline",
        State::Paused => "paused",
        State::Stopped => "stopped",
    }
}

fn show_progress(bar: &Bar, state: &State) {
    match state {
        State::Syncing(progress) => bar.show(*progress),
        State::Idle | State::Offline | State::Paused | State::Stopped => bar.say(word(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colsync_client::{Progress, Report};

    fn said(status: &Status) -> String {
        let at = Time::from_micros(1_000_000);
        Said { at, status }.text()
    }

    fn status(state: State) -> Status {
        Status {
            state,
            pending: 1,
            last_error: None,
            last_report: None,
            synced_at: None,
        }
    }

    #[test]
    fn a_line_tells_time_state_pending_and_the_error() {
        let mut status = status(State::Offline);
        status.last_error = Some("no route\u{1b}[2J".to_owned());
        status.last_report = Some(Report::default());
        assert_eq!(
            said(&status),
            "1970-01-01 00:00:01Z  offline   1 change pending  no route\\u{1b}[2J"
        );
        status.state = State::Idle;
        status.last_error = None;
        assert!(said(&status).contains("pushed 0 edits"));
    }

    #[test]
    fn how_far_a_sync_is_makes_no_new_line() {
        let pulling = |rows| status(State::Syncing(Progress::Pulling { rows, first: false }));
        assert!(Line::of(&pulling(1)) == Line::of(&pulling(2)));
        assert!(Line::of(&pulling(1)) != Line::of(&status(State::Idle)));
        let mut more = pulling(1);
        more.pending = 2;
        assert!(Line::of(&more) != Line::of(&pulling(1)));
    }
}
