//! A thread that syncs when there is reason to: time has passed, something was written to the file by
//! whatever program, or the server can be reached again.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use colsync_shared::Time;
use serde::Serialize;
use tokio::sync::watch;

use super::report::{Progress, Report};
use super::session;
use crate::client::Client;
use crate::edges;
use crate::error::Error;
use crate::file::File;
use crate::outbox::history;

/// How often a worker looks and syncs.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A sync at least this often.
    pub interval: Duration,
    /// How long after a local write it syncs, so that a burst of writes goes up as one.
    pub debounce: Duration,
    /// How often it looks whether the file was written.
    pub poll: Duration,
    /// The longest pause after failures; the first is half a second, and each is up to twice the one before.
    pub longest_backoff: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            interval: Duration::from_secs(30),
            debounce: Duration::from_millis(200),
            poll: Duration::from_millis(200),
            longest_backoff: Duration::from_secs(60),
        }
    }
}

/// The first pause after a failure, at the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// How often an unreachable server is knocked at.
const KNOCK: Duration = Duration::from_secs(1);
/// How long a knock may take.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is left to do until something happens.
    Idle,
    /// It syncs.
    Syncing(Progress),
    /// The server cannot be reached; it tries again.
    Offline,
    /// The server does not let this client in; it tries again at the longest pace, or when told to.
    Paused,
    /// It has ended.
    Stopped,
}

/// A worker's status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Lines in the file's log: 0 when nothing is unpushed.
    pub pending: u64,
    /// Why the last sync failed, if it did.
    pub last_error: Option<String>,
    /// What the last sync did that did not fail.
    pub last_report: Option<Report>,
    /// When that was.
    pub synced_at: Option<Time>,
}

/// Syncs in the background until it is stopped or dropped.
pub struct Worker {
    wake: Sender<()>,
    stop: Arc<AtomicBool>,
    status: watch::Receiver<Status>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(client: Client, pace: Pace) -> Result<Worker, Error> {
        let mut file = client.file()?;
        let url = session::server(&mut file, client.settings())?;
        let (wake, woken) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, status) = watch::channel(Status {
            state: State::Idle,
            pending: 0,
            last_error: None,
            last_report: None,
            synced_at: None,
        });
        let works = Works {
            client,
            pace,
            file,
            url,
            tell,
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("colsync".to_owned())
            .spawn(move || works.run(&woken))?;
        Ok(Worker {
            wake,
            stop,
            status,
            thread: Some(thread),
        })
    }

    /// Its status, to read now (`borrow`) or to await a change of (`changed`).
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Syncs as soon as it can.
    pub fn sync_now(&self) {
        if self.wake.send(()).is_err() {
            log::debug!("the worker has ended");
        }
    }

    /// Ends it: between two pages or pushes if a sync is under way, which the next one goes on from.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sync_now();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the worker panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread has.
struct Works {
    client: Client,
    pace: Pace,
    /// To see what others write; syncs open the file for themselves.
    file: File,
    url: String,
    tell: watch::Sender<Status>,
    stop: Arc<AtomicBool>,
}

/// What the thread waits for.
struct Waiting {
    /// When it syncs, whatever happens.
    until: Instant,
    /// Whether it knocks at the server's door meanwhile.
    knocks: bool,
    /// Whether a local write is a reason to sync.
    listens: bool,
}

impl Works {
    fn run(mut self, woken: &Receiver<()>) {
        let mut failures = 0;
        loop {
            let done = self.sync();
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let all_sent = done.as_ref().is_ok_and(|report| report.waiting.is_empty());
            let mut waiting = self.after(done, &mut failures);
            if all_sent && self.pending() > 0 {
                // Written while the sync was under way.
                waiting.until = waiting.until.min(Instant::now() + self.pace.debounce);
            }
            if !self.wait(&waiting, woken) {
                break;
            }
        }
        self.tell
            .send_modify(|status| status.state = State::Stopped);
    }

    fn sync(&mut self) -> Result<Report, Error> {
        let tell = &self.tell;
        let progress = |progress| {
            tell.send_if_modified(|status| {
                let state = State::Syncing(progress);
                let is_new = status.state != state;
                status.state = state;
                is_new
            });
        };
        session::run(
            self.client.file()?,
            self.client.settings(),
            &progress,
            &self.stop,
        )
    }

    /// Tells what came of a sync, and says what to wait for.
    fn after(&mut self, done: Result<Report, Error>, failures: &mut u32) -> Waiting {
        let pending = self.pending();
        let synced_at = self.client.settings().clock.now();
        let now = Instant::now();
        let backoff = |failures: u32, longest: Duration| {
            let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.min(16));
            now + edges::jittered(doubled.min(longest))
        };
        let (state, waiting) = match &done {
            Ok(_report) => {
                *failures = 0;
                let until = now + edges::jittered(self.pace.interval);
                (
                    State::Idle,
                    Waiting {
                        until,
                        knocks: false,
                        listens: true,
                    },
                )
            }
            Err(Error::Busy) => {
                // Whoever has the lock does the work.
                let until = backoff(2, self.pace.longest_backoff);
                (
                    State::Idle,
                    Waiting {
                        until,
                        knocks: false,
                        listens: false,
                    },
                )
            }
            Err(Error::Unreachable(_)) => {
                let until = backoff(*failures, self.pace.longest_backoff);
                *failures += 1;
                (
                    State::Offline,
                    Waiting {
                        until,
                        // A server that answers, but not well, is left in peace.
                        knocks: !self.knock(),
                        listens: false,
                    },
                )
            }
            Err(failure) => {
                log::warn!("{failure}");
                *failures += 1;
                let until = now + edges::jittered(self.pace.longest_backoff);
                (
                    State::Paused,
                    Waiting {
                        until,
                        knocks: false,
                        listens: false,
                    },
                )
            }
        };
        self.tell.send_modify(|status| {
            status.state = state;
            status.pending = pending;
            match done {
                Ok(report) => {
                    status.last_error = None;
                    status.last_report = Some(report);
                    status.synced_at = Some(synced_at);
                }
                Err(Error::Busy) => {}
                Err(failure) => status.last_error = Some(failure.to_string()),
            }
        });
        waiting
    }

    /// Waits for a reason to sync; false if it is to end instead.
    fn wait(&mut self, waiting: &Waiting, woken: &Receiver<()>) -> bool {
        let mut until = waiting.until;
        let mut seen = self.data_version();
        let mut lines = self.last_line();
        let mut knocked = Instant::now();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match woken.recv_timeout(left.min(self.pace.poll)) {
                Ok(()) => {
                    // All calls until now are one.
                    while woken.try_recv().is_ok() {}
                    return !self.stop.load(Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= until {
                return true;
            }
            if waiting.knocks && knocked.elapsed() >= KNOCK {
                knocked = Instant::now();
                if self.knock() {
                    return true;
                }
            }
            let version = self.data_version();
            if version != seen {
                seen = version;
                let last = self.last_line();
                if last != lines {
                    lines = last;
                    let pending = self.pending();
                    self.tell.send_if_modified(|status| {
                        let is_new = status.pending != pending;
                        status.pending = pending;
                        is_new
                    });
                    if waiting.listens {
                        until = until.min(Instant::now() + self.pace.debounce);
                    }
                }
            }
        }
    }

    /// Whether the server's port takes connections.
    fn knock(&self) -> bool {
        let Ok(uri) = self.url.parse::<ureq::http::Uri>() else {
            return false;
        };
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        match (host, port).to_socket_addrs() {
            Ok(mut addresses) => {
                addresses.any(|at| TcpStream::connect_timeout(&at, KNOCK_TIMEOUT).is_ok())
            }
            Err(_unknown_host) => false,
        }
    }

    /// Changes whenever another connection commits, in this process or another.
    fn data_version(&mut self) -> i64 {
        self.file.int("PRAGMA data_version", &[]).unwrap_or(0)
    }

    fn last_line(&mut self) -> i64 {
        history::last_line(&mut self.file).unwrap_or(0)
    }

    fn pending(&mut self) -> u64 {
        let lines = self.file.int("SELECT count(*) FROM colsync_log", &[]);
        u64::try_from(lines.unwrap_or(0)).unwrap_or(0)
    }
}
