//! Someone who pulls the table `todos` by cursor, again and again, and keeps what each line said.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_tests::database::Database;
use colsync_tests::{Client, Pulled, Server};
use serde_json::Value as Json;

/// Between two pulls.
const PAUSE: Duration = Duration::from_millis(10);

/// What is pulled at once: one that has fallen behind catches up by what can be read in a moment, also where rows are large and
/// the machine is busy.
const ROWS: &str = "tables=todos&limit=500";

/// After the last fault, a server that does not answer by now never does.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is known of a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) version: i64,
    pub(crate) title: Option<String>,
    pub(crate) note: Option<String>,
}

pub(crate) struct Poller {
    client: Client,
    cursor: Option<String>,
    pub(crate) rows: HashMap<String, Known>,
    /// When each value was first seen.
    pub(crate) sights: HashMap<String, Instant>,
    pub(crate) pulls: u64,
    /// Pulls that got no answer, or were told to come again.
    pub(crate) unanswered: u64,
    /// Cursors that had expired.
    pub(crate) expired: u64,
    /// Lines that told a version again, where none may.
    pub(crate) repeated: u64,
    /// The same of pulls in several chunks, where a row may come twice.
    pub(crate) torn: u64,
    /// What no server may do, a line each.
    pub(crate) wrong: Vec<String>,
    was_torn: bool,
}

/// What became of a pull.
enum Pull {
    Nothing,
    Something,
    Unanswered,
}

impl Poller {
    pub(crate) fn new(client: Client) -> Poller {
        Poller {
            client,
            cursor: None,
            rows: HashMap::new(),
            sights: HashMap::new(),
            pulls: 0,
            unanswered: 0,
            expired: 0,
            repeated: 0,
            torn: 0,
            wrong: Vec::new(),
            was_torn: false,
        }
    }

    /// Pulls until it is `over`, and then until there is nothing left.
    pub(crate) fn poll(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            self.pull();
            std::thread::park_timeout(PAUSE);
        }
        self.pull_all();
    }

    /// Pulls until there is nothing left.
    pub(crate) fn pull_all(&mut self) {
        let started = Instant::now();
        loop {
            match self.pull() {
                Pull::Nothing => return,
                Pull::Something => {}
                Pull::Unanswered if started.elapsed() > PATIENCE => {
                    self.wrong.push("the server does not recover".to_owned());
                    return;
                }
                Pull::Unanswered => std::thread::park_timeout(PAUSE),
            }
        }
    }

    fn pull(&mut self) -> Pull {
        self.pulls += 1;
        let request = self.client.pull_request(self.cursor.as_deref(), ROWS);
        let answer = match request.try_send() {
            Ok(answer) => answer,
            // What came of a broken answer is thrown away.
            Err(_nobody) => {
                self.unanswered += 1;
                return Pull::Unanswered;
            }
        };
        match answer.status {
            200 => self.take(&Pulled::read(&answer)),
            503 => {
                self.unanswered += 1;
                Pull::Unanswered
            }
            410 => {
                self.expired += 1;
                self.cursor = None;
                self.rows.clear();
                Pull::Something
            }
            _ => {
                self.wrong.push(format!("{answer:?}"));
                Pull::Unanswered
            }
        }
    }

    fn take(&mut self, pulled: &Pulled) -> Pull {
        let now = Instant::now();
        let is_torn = pulled.checkpoints.len() > 1;
        let may_repeat = is_torn || self.was_torn;
        for row in &pulled.rows {
            self.row(row, now, may_repeat);
        }
        self.cursor = Some(pulled.checkpoint.clone());
        self.was_torn = is_torn || !pulled.complete;
        if pulled.rows.is_empty() && pulled.complete {
            Pull::Nothing
        } else {
            Pull::Something
        }
    }

    fn row(&mut self, line: &Json, now: Instant, may_repeat: bool) {
        let id = line["id"].as_str().unwrap().to_owned();
        if line.get("removed").is_some() {
            self.rows.remove(&id);
            return;
        }
        let version = line["version"].as_i64().unwrap();
        let known = self.rows.entry(id).or_default();
        match version {
            _ if version > known.version => {}
            _ if version == known.version && may_repeat => self.torn += 1,
            _ if version == known.version => self.repeated += 1,
            _ => self
                .wrong
                .push(format!("after version {}: {line}", known.version)),
        }
        known.version = version;
        let columns = &line["columns"];
        for (name, slot) in [("title", &mut known.title), ("note", &mut known.note)] {
            if let Some(value) = columns.get(name) {
                *slot = value.as_str().map(str::to_owned);
                // Long ones are there to take room.
                if let Some(value) = value.as_str().filter(|value| value.len() < 64) {
                    self.sights.entry(value.to_owned()).or_insert(now);
                }
            }
        }
    }
}

/// The living rows of the table `todos`, as SQL tells them.
pub(crate) fn in_database(server: &Server) -> HashMap<String, Known> {
    let array = match &**server {
        Database::Sqlite(_) => "json_array",
        Database::Postgres { .. } => "json_build_array",
    };
    let rows = server.column(&format!(
        "SELECT {array}(id, sync_version, title, note) FROM todos WHERE sync_deleted_at IS NULL"
    ));
    let rows = rows.into_iter().flatten().map(|row| {
        let (id, version, title, note) = serde_json::from_str(&row).unwrap();
        let known = Known {
            version,
            title,
            note,
        };
        (id, known)
    });
    rows.collect()
}
