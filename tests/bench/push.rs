//! Batches: pushes of several clients, half of the edits in conflict, beside a plain bulk UPDATE.
//!
//! Half of the rows are shared: of those a client edits one that another client wrote last, from the
//! version before that. So it is a true conflict. Half of them are made later than what they meet, and win;
//! the others are made earlier, and lose.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use colsync_tests::clock;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use crate::bulk;
use crate::caller::Caller;
use crate::load::{Load, Work, repeat};
use crate::random::Random;
use crate::receipt::Receipt;
use crate::subject::{Subject, VALUES, key};

/// Edits of one push before the measurement.
const FIRST_ROWS: usize = 2_500;

/// Who pushes how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushes {
    pub(crate) clients: u64,
    /// Edits of one push.
    pub(crate) batch: usize,
}

impl Default for Pushes {
    fn default() -> Self {
        Pushes {
            clients: 4,
            batch: 500,
        }
    }
}

/// A row that one client alone edits, with the version it knows.
struct Own {
    id: u64,
    version: i64,
}

/// A row that all clients edit.
struct Shared {
    id: u64,
    /// The version of its last change.
    version: i64,
    /// Who made that.
    writer: u64,
    /// Whether a push with it is on its way: what it meets must be known.
    is_taken: bool,
}

/// One edit of a push on its way, by the row's place.
#[derive(Debug, Clone, Copy)]
enum Edit {
    /// Of an own row.
    Seen(usize),
    /// Of a shared row, in conflict, and the later one.
    Wins(usize),
    /// Of a shared row, in conflict, and the earlier one.
    Loses(usize),
}

/// One client.
struct Pusher {
    caller: Caller,
    random: Random,
    number: u64,
    batch: usize,
    own: Vec<Own>,
    shared: Rc<RefCell<Vec<Shared>>>,
    edits: Vec<Edit>,
    /// Edits so far, to have exact halves.
    made: u64,
    applied: u64,
    conflicts: u64,
}

/// All clients, on one thread.
pub(crate) struct Pushers {
    runtime: Runtime,
    pushers: Vec<Pusher>,
    batch: usize,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    receipts: Vec<Receipt<'a>>,
}

impl Pushers {
    /// Connects all clients, and has each write its part of the shared rows.
    pub(crate) fn new(subject: &Subject, pushes: Pushes) -> Pushers {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (rows, clients) = (subject.shape.rows, pushes.clients);
        let shared = (1..=rows / 2).map(|id| Shared {
            id,
            version: 1,
            writer: id % clients,
            is_taken: false,
        });
        let shared = Rc::new(RefCell::new(shared.collect()));
        let address = subject.address();
        let pushers = runtime.block_on(async {
            let mut pushers = Vec::new();
            for number in 0..clients {
                let own = (rows / 2 + 1..=rows).filter(|row| row % clients == number);
                let mut pusher = Pusher {
                    caller: Caller::open(&address, number).await,
                    random: Random::new(number),
                    number,
                    batch: pushes.batch,
                    own: own.map(|id| Own { id, version: 1 }).collect(),
                    shared: Rc::clone(&shared),
                    edits: Vec::new(),
                    made: 0,
                    applied: 0,
                    conflicts: 0,
                };
                pusher.write_shared().await;
                pushers.push(pusher);
            }
            pushers
        });
        Pushers {
            runtime,
            pushers,
            batch: pushes.batch,
        }
    }

    fn sum(&self, of: impl Fn(&Pusher) -> u64) -> u64 {
        self.pushers.iter().map(of).sum()
    }
}

impl Load for Pushers {
    fn baseline(&mut self, subject: &Subject, time: Duration) -> Work {
        bulk::updates(subject, time)
    }

    fn run(&mut self, time: Duration) -> Work {
        let work = repeat(&self.runtime, &mut self.pushers, time, Pusher::push);
        Work {
            done: work.done * self.batch as u64,
            ..work
        }
    }

    /// Each edit that was applied made a version, and each conflict an entry in the ledger.
    fn check(&self, subject: &Subject) {
        let applied = self.sum(|pusher| pusher.applied);
        assert_eq!(subject.versions(), applied, "edits written, edits applied");
        let conflicts = self.sum(|pusher| pusher.conflicts);
        assert_eq!(subject.conflicts(), conflicts, "entries, conflicts told");
    }
}

impl Pusher {
    /// Writes the rows of the shared ones that are its own at first.
    async fn write_shared(&mut self) {
        let places: Vec<usize> = {
            let shared = self.shared.borrow();
            let all = shared.iter().enumerate();
            let mine = all.filter(|(_, row)| row.writer == self.number);
            mine.map(|(place, _)| place).collect()
        };
        for places in places.chunks(FIRST_ROWS) {
            let rows: Vec<(String, u64)> = places
                .iter()
                .map(|&place| (key(self.shared.borrow()[place].id), VALUES))
                .collect();
            self.caller.set_quantities("items", &rows).await;
            for &place in places {
                self.shared.borrow_mut()[place].version += 1;
            }
            self.applied += places.len() as u64;
        }
    }

    /// Chooses the rows of the next push, none twice.
    fn choose(&mut self) {
        self.edits.clear();
        let mut shared = self.shared.borrow_mut();
        let mut seen = 0;
        for _ in 0..self.batch {
            self.made += 1;
            if self.made.is_multiple_of(2) {
                let left = (self.own.len() - seen) as u64;
                let other = seen + self.random.below(left) as usize;
                self.own.swap(seen, other);
                self.edits.push(Edit::Seen(seen));
                seen += 1;
                continue;
            }
            let place = loop {
                let place = self.random.below(shared.len() as u64) as usize;
                if !shared[place].is_taken && shared[place].writer != self.number {
                    break place;
                }
            };
            shared[place].is_taken = true;
            let edit = match self.made % 4 {
                1 => Edit::Wins(place),
                _ => Edit::Loses(place),
            };
            self.edits.push(edit);
        }
    }

    /// Pushes edits; gives the µs from the request to its answer.
    async fn push(&mut self) -> u32 {
        self.choose();
        let (now, earlier) = (clock::now_with(0), clock::ago(3_600));
        let (edits, own, random) = (&self.edits, &self.own, &mut self.random);
        let shared = Rc::clone(&self.shared);
        self.caller.write_push(|body| {
            let shared = shared.borrow();
            for (at, edit) in edits.iter().enumerate() {
                let (id, base, time) = match *edit {
                    Edit::Seen(place) => (own[place].id, own[place].version, &now),
                    Edit::Wins(place) => (shared[place].id, shared[place].version - 1, &now),
                    Edit::Loses(place) => (shared[place].id, shared[place].version - 1, &earlier),
                };
                let id = key(id);
                let comma = if at == 0 { "" } else { "," };
                let value = random.below(VALUES);
                write!(
                    body,
                    "{comma}{{\"table\":\"items\",\"id\":\"{id}\",\"op\":\"update\",\
                     \"base_version\":{base},\"at\":\"{time}\",\
                     \"columns\":{{\"quantity\":{{\"value\":{value}}}}}}}"
                )
                .unwrap();
            }
        });
        let sent = Instant::now();
        let answer = self.caller.send_push().await;
        let waited = sent.elapsed().as_micros() as u32;
        let read: Result<Answer<'_>, _> = serde_json::from_slice(answer);
        let read = read.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(answer)));
        assert_eq!(read.receipts.len(), self.edits.len());
        let mut shared = self.shared.borrow_mut();
        for (&edit, receipt) in self.edits.iter().zip(&read.receipts) {
            let (outcome, version) = (receipt.columns.quantity.outcome, receipt.version);
            let met = receipt.columns.quantity.conflict.is_some();
            match edit {
                Edit::Seen(place) => {
                    assert_eq!((outcome, met), ("applied", false));
                    self.own[place].version = version;
                    self.applied += 1;
                }
                Edit::Wins(place) => {
                    assert_eq!((outcome, met), ("applied", true));
                    let row = &mut shared[place];
                    (row.version, row.writer, row.is_taken) = (version, self.number, false);
                    self.applied += 1;
                    self.conflicts += 1;
                }
                Edit::Loses(place) => {
                    assert_eq!((outcome, met), ("superseded", true));
                    shared[place].is_taken = false;
                    self.conflicts += 1;
                }
            }
        }
        waited
    }
}
