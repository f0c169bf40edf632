//! Those who write: through HTTP, and by SQL beside the server, in transactions that stay open or are rolled back.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_tests::tables::id;
use colsync_tests::{Client, row_path};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use fastrand::Rng;
use serde_json::json;

use crate::poller::Known;

/// Rows that many write to: the first of all.
pub(crate) const SHARED: u64 = 8;

/// Between two writes, ms.
const PAUSES: std::ops::Range<u64> = 5..60;

/// Between two tries to reach a database that is away.
const AWAY: Duration = Duration::from_millis(100);

/// How someone writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the server.
    Http,
    /// In short transactions of SQL.
    Sql,
    /// In transactions of SQL that stay open for so long at the most, ms.
    HeldSql(u64),
}

/// What someone has done.
#[derive(Default)]
pub(crate) struct Written {
    /// Values that were committed, each with the moment after which they were to be delivered.
    pub(crate) committed: Vec<(String, Instant)>,
    /// Rows that were made and never changed, with their titles.
    pub(crate) made: Vec<(String, String)>,
    /// Values that were rolled back.
    pub(crate) undone: Vec<String>,
    /// Writes of which nobody can tell whether they were committed.
    pub(crate) unsure: u64,
    /// Transactions that stayed open for more than a second.
    pub(crate) held: u64,
    /// Refusals that say to come again, by their codes.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Answers that no server may give.
    pub(crate) wrong: Vec<String>,
    /// The number of the last value of the writer's own row that was committed, and the last that was tried.
    pub(crate) own: (u64, u64),
}

pub(crate) struct Writer {
    number: u64,
    way: Way,
    client: Client,
    url: String,
    conn: Option<PgConnection>,
    random: Rng,
    count: u64,
    /// Bytes of a note that each row that is made through HTTP brings.
    pub(crate) note_bytes: usize,
    pub(crate) written: Written,
}

/// What is written.
enum Write {
    Make { row: String },
    Own { row: String },
    Shared { row: String },
}

impl Writer {
    pub(crate) fn new(number: u64, way: Way, client: Client, url: &str, seed: u64) -> Writer {
        Writer {
            number,
            way,
            client,
            url: url.to_owned(),
            conn: None,
            random: Rng::with_seed(seed ^ number),
            count: 0,
            note_bytes: 0,
            written: Written::default(),
        }
    }

    /// The row that nobody else writes to.
    pub(crate) fn own_row(&self) -> String {
        id(100 + self.number)
    }

    /// What a value of this writer begins with.
    pub(crate) fn mark(&self, count: u64) -> String {
        format!("{}-{count}", self.number)
    }

    pub(crate) fn write_until(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            self.count += 1;
            let write = match self.random.u8(0..10) {
                0..5 => Write::Make {
                    row: id(1_000_000 * (self.number + 1) + self.count),
                },
                5..8 => Write::Own {
                    row: self.own_row(),
                },
                // Whoever holds a row that all write to holds all of them up.
                _ if matches!(self.way, Way::HeldSql(_)) => Write::Own {
                    row: self.own_row(),
                },
                _ => Write::Shared {
                    row: id(self.random.u64(0..SHARED)),
                },
            };
            if matches!(write, Write::Own { .. }) {
                self.written.own.1 = self.count;
            }
            match self.way {
                Way::Http => self.by_http(&write),
                Way::Sql => self.by_sql(&write, None),
                Way::HeldSql(most) => {
                    let held = Duration::from_millis(self.random.u64(most / 2..most));
                    self.by_sql(&write, Some(held));
                }
            }
            let pause = self.random.u64(PAUSES);
            std::thread::park_timeout(Duration::from_millis(pause));
        }
    }

    fn committed(&mut self, write: &Write, at: Instant) {
        let mark = self.mark(self.count);
        match write {
            Write::Make { row } => self.written.made.push((row.clone(), mark.clone())),
            Write::Own { .. } => self.written.own.0 = self.count,
            Write::Shared { .. } => {}
        }
        self.written.committed.push((mark, at));
    }

    fn by_http(&mut self, write: &Write) {
        let mark = self.mark(self.count);
        let request = match write {
            Write::Make { row } => {
                let mut row = json!({ "id": row, "title": mark });
                if self.note_bytes > 0 {
                    row["note"] = noise(&mut self.random, self.note_bytes).into();
                }
                self.client
                    .request("POST", "/v1/tables/todos/rows")
                    .json(&row)
            }
            Write::Own { row } => {
                let path = row_path("todos", row);
                let patch = self.client.request("PATCH", &path);
                patch.merge_patch(&json!({ "title": mark }))
            }
            Write::Shared { row } => {
                let path = row_path("todos", row);
                let patch = self.client.request("PATCH", &path);
                patch.merge_patch(&json!({ "note": mark }))
            }
        };
        match request.try_send() {
            Ok(answer) if [200, 201].contains(&answer.status) => {
                let of_note = answer.json()["columns"]["note"]["outcome"].take();
                // Another's later stamp may have won.
                if of_note != "superseded" {
                    self.committed(write, Instant::now());
                }
            }
            Ok(answer) if answer.status == 503 && !answer.code().is_empty() => {
                self.written.unsure += 1;
                *self.written.refused.entry(answer.code()).or_default() += 1;
                std::thread::park_timeout(AWAY);
            }
            Ok(answer) => self.written.wrong.push(format!("{answer:?}")),
            Err(_nobody) => self.written.unsure += 1,
        }
    }

    /// Writes in a transaction; one that is held stays open for so long.
    fn by_sql(&mut self, write: &Write, held: Option<Duration>) {
        let mark = self.mark(self.count);
        let sql = match write {
            Write::Make { row } => {
                format!("INSERT INTO todos (id, title) VALUES ('{row}', '{mark}')")
            }
            Write::Own { row } => format!("UPDATE todos SET title = '{mark}' WHERE id = '{row}'"),
            Write::Shared { row } => format!("UPDATE todos SET note = '{mark}' WHERE id = '{row}'"),
        };
        let Some(mut conn) = self.conn.take().or_else(|| self.connect()) else {
            return std::thread::park_timeout(AWAY);
        };
        let rolls_back = self.random.u8(0..5) == 0;
        if conn.batch_execute(&format!("BEGIN; {sql}")).is_err() {
            // It never came to a COMMIT.
            self.written.undone.push(mark);
            return;
        }
        std::thread::park_timeout(held.unwrap_or_default());
        if rolls_back {
            self.written.undone.push(mark);
            if conn.batch_execute("ROLLBACK").is_ok() {
                self.conn = Some(conn);
            }
            return;
        }
        let at = Instant::now();
        match conn.batch_execute("COMMIT") {
            Ok(()) => {
                self.written.held += u64::from(held > Some(Duration::from_secs(1)));
                self.committed(write, at);
                self.conn = Some(conn);
            }
            Err(_nobody_knows) => self.written.unsure += 1,
        }
    }

    fn connect(&self) -> Option<PgConnection> {
        PgConnection::establish(&self.url).ok()
    }
}

/// What was acknowledged and is not there, a line each.
pub(crate) fn lost(writers: &[Writer], there: &HashMap<String, Known>) -> Vec<String> {
    let mut lost = Vec::new();
    for writer in writers {
        for (row, title) in &writer.written.made {
            if there.get(row).and_then(|known| known.title.as_ref()) != Some(title) {
                lost.push(format!("{title} was acknowledged, and is not there"));
            }
        }
        let (least, most) = writer.written.own;
        let stored = there
            .get(&writer.own_row())
            .and_then(|known| known.title.as_ref());
        let stored = stored.and_then(|title| title.rsplit('-').next()?.parse().ok());
        let stored: u64 = stored.unwrap_or(0);
        if stored < least || stored > most {
            let title = writer.mark(least);
            lost.push(format!("{title} was acknowledged, and {stored} is there"));
        }
    }
    lost
}

/// Text that no database makes much smaller.
pub(crate) fn noise(random: &mut Rng, bytes: usize) -> String {
    std::iter::repeat_with(|| random.alphanumeric())
        .take(bytes)
        .collect()
}
