//! A client: an app that writes plain SQL to its file, and the SDK that syncs it in a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use colsync_client::simulation::{Arrived, set_network};
use colsync_client::{Client, Error, Mode, Report, Settings, Time};
use colsync_shared::simulation::{at, set_own_now};
use serde_json::Value as Json;
use ureq::http;

use super::clock::{self, Clock};
use super::crash::{self, Death};
use super::database::{Columns, Database};
use super::journal::{Journal, Writer};
use super::plan::{Sync, Table, Way};
use super::tables::literal;

/// A client's file, its clock, and copies of it.
pub(super) struct Device {
    pub(super) number: usize,
    path: PathBuf,
    pub(super) file: Database,
    pub(super) clock: Clock,
    /// How far its clock is ahead of the true time, µs.
    pub(super) ahead: i64,
    /// A copy, and how much was written when it was made.
    pub(super) kept: Option<(PathBuf, usize)>,
    /// The description of the API that it syncs with, if that is none of colsync's servers.
    pub(super) remote: Option<String>,
    written: u64,
    /// What the app has open, until it ends: the SDK with each of the settings that it was used with.
    open: Vec<(Used, Client)>,
}

/// What a call is answered, or that it is not.
pub(super) type Reply = io::Result<http::Response<Arrived>>;

/// A call that waits for its answer.
pub(super) struct Call {
    pub(super) request: http::Request<Vec<u8>>,
    reply: Sender<(Reply, i64)>,
}

/// How a sync ended.
pub(super) enum Ended {
    /// The client died.
    Killed,
    Well(Report),
    /// The SDK's error.
    Badly(Error),
}

/// A sync under way.
pub(super) struct Syncing {
    calls: Receiver<Call>,
    thread: JoinHandle<(Ended, Option<Client>)>,
    used: Used,
}

/// What of the SDK's settings changes from sync to sync: the size of a push, whether it is packed, and how it is
/// written.
type Used = (usize, bool, Mode);

impl Device {
    pub(super) fn new(number: usize, path: PathBuf) -> Device {
        let clock = Clock::default();
        Device {
            number,
            file: Database::file(path.clone(), &clock),
            path,
            clock,
            ahead: 0,
            kept: None,
            remote: None,
            written: 0,
            open: Vec::new(),
        }
    }

    /// The app ends, and opens its file anew at its next sync.
    fn close(&mut self) {
        self.open.clear();
    }

    /// Puts a copy in the place of the app's file while the app does not run.
    pub(super) fn replace(&mut self, copy: &Path) {
        self.close();
        let is_young = self.file.is_young();
        self.file.replace(copy);
        if !is_young {
            self.file.grow();
        }
    }

    /// The app becomes one of a later version, which adds the columns that its file lacks; whether it did.
    pub(super) fn grow(&mut self) -> bool {
        self.close();
        self.file.grow()
    }

    /// The app syncs a table from now on, of which it has no rows; if it does already, no more, and it forgets the rows.
    /// Whether it did so: it does not leave what it has not pushed.
    pub(super) fn take_or_leave(&mut self, table: Table) -> Result<bool, String> {
        let (client, name) = (self.client(), table.name());
        if !self.file.tracks(table) {
            client.track(name).map_err(|why| why.to_string())?;
            return Ok(true);
        }
        match client.untrack(name, false) {
            Err(Error::Unpushed { .. }) => return Ok(false),
            done => done.map_err(|why| format!("untrack {name}: {why}"))?,
        }
        self.file.execute(&format!("DELETE FROM {name}"))?;
        Ok(true)
    }

    /// The app is to sync all tables.
    pub(super) fn take_all(&mut self) -> Result<(), String> {
        for table in Table::ALL {
            if !self.file.tracks(table) {
                self.take_or_leave(table)?;
            }
        }
        Ok(())
    }

    /// The true time is `now`.
    pub(super) fn set_clock(&self, now: i64) {
        self.clock.store(now + self.ahead, Ordering::SeqCst);
    }

    pub(super) fn rows(&mut self, table: Table) -> BTreeMap<String, Columns> {
        self.file.rows(table, "true")
    }

    fn new_values(&mut self, table: Table, mask: u8, now: &Columns) -> Vec<(&'static str, Json)> {
        let writer = format!("d{}", self.number);
        let is_young = self.file.is_young();
        let columns = table.columns().iter().enumerate();
        let named = columns.filter(|(at, _)| mask & (1 << at) != 0);
        let named = named.filter(|(_, column)| !is_young || !table.gets_later(column.name));
        let values = named.map(|(_, column)| {
            self.written += 1;
            let before = now.get(column.name).unwrap_or(&Json::Null);
            (column.name, column.value(&writer, self.written, before))
        });
        values.collect()
    }

    /// The app makes a row; nothing where it has it already.
    pub(super) fn insert(
        &mut self,
        journal: &mut Journal,
        table: Table,
        row: u8,
        mask: u8,
    ) -> Result<(), String> {
        let id = table.id(row);
        if self.file.has(table, &id) || !self.file.tracks(table) {
            return Ok(());
        }
        let values = self.new_values(table, mask, &Columns::new());
        self.file.execute(&insertion(table, &id, &values))?;
        journal.make(table, &id);
        let writer = Writer::Device(self.number);
        journal.write_row(writer, (table, &id), &Columns::new(), &values);
        Ok(())
    }

    /// The app changes columns of the row at `place`.
    pub(super) fn update(
        &mut self,
        journal: &mut Journal,
        table: Table,
        place: u8,
        mask: u8,
    ) -> Result<(), String> {
        let Some((id, now)) = self.file.at(table, "true", place) else {
            return Ok(());
        };
        let values = self.new_values(table, mask, &now);
        if values.is_empty() {
            return Ok(());
        }
        self.file.execute(&update(table, &id, &values))?;
        let writer = Writer::Device(self.number);
        journal.write_row(writer, (table, &id), &now, &values);
        Ok(())
    }

    /// The app puts a new row in the place of the one at `place`.
    pub(super) fn replace_row(
        &mut self,
        journal: &mut Journal,
        table: Table,
        place: u8,
        mask: u8,
    ) -> Result<(), String> {
        let Some((id, now)) = self.file.at(table, "true", place) else {
            return Ok(());
        };
        let named = self.new_values(table, mask, &now);
        let sql = insertion(table, &id, &named).replacen("INSERT", "INSERT OR REPLACE", 1);
        self.file.execute(&sql)?;
        let columns = table.columns().iter();
        let mut row: Columns = columns.map(|c| (c.name, Json::Null)).collect();
        row.extend(named);
        let values: Vec<_> = row.into_iter().collect();
        journal.write_row(Writer::Device(self.number), (table, &id), &now, &values);
        Ok(())
    }

    /// The user takes back what was done to the row at `place`; whether anything was.
    pub(super) fn undo(
        &mut self,
        journal: &mut Journal,
        table: Table,
        place: u8,
    ) -> Result<bool, String> {
        let pending = self.client().pending().map_err(|why| why.to_string())?;
        let mut pending = pending
            .into_iter()
            .filter(|edit| edit.table == table.name());
        let many = pending.clone().count();
        let Some(id) = usize::from(place)
            .checked_rem(many)
            .and_then(|at| pending.nth(at))
        else {
            return Ok(false);
        };
        let id = id.id;
        let before = self.rows(table).remove(&id);
        self.by_its_clock(|client| client.undo(table.name(), &id))
            .map_err(|why| format!("undo of {id}: {why}"))?;
        before
            .iter()
            .flat_map(Columns::values)
            .for_each(|value| journal.see(value));
        journal.lose_count(&id);
        match self.rows(table).remove(&id) {
            Some(row) => journal.whole(table, &row),
            None => journal.delete(table, &id),
        }
        Ok(true)
    }

    /// The user has one of the refused edits made again; whether there is any.
    pub(super) fn retry(&mut self, journal: &mut Journal, which: u8) -> Result<bool, String> {
        let mut letters = self
            .client()
            .dead_letters()
            .map_err(|why| why.to_string())?;
        letters.retain(|letter| {
            let table = Table::of_name(&letter.table);
            table.is_some_and(|table| self.file.tracks(table))
        });
        let Some(at) = usize::from(which).checked_rem(letters.len()) else {
            return Ok(false);
        };
        let letter = letters.swap_remove(at);
        let table = Table::of_name(&letter.table).unwrap();
        let id = letter.edit["id"].as_str().unwrap().to_owned();
        let before = self.rows(table).remove(&id);
        match self.by_its_clock(|client| client.retry_dead_letter(letter.number)) {
            // It is to be tried after the next sync.
            Err(Error::StartsOver(_) | Error::RowWaits(_)) => return Ok(false),
            done => done.map_err(|why| format!("retry of {id}: {why}"))?,
        }
        let now = before.unwrap_or_default();
        journal.lose_count(&id);
        match self.rows(table).remove(&id) {
            Some(row) => {
                let values: Vec<_> = row.into_iter().collect();
                journal.write_row(Writer::Device(self.number), (table, &id), &now, &values);
            }
            None => {
                now.values().for_each(|value| journal.see(value));
                journal.delete(table, &id);
            }
        }
        Ok(true)
    }

    /// The app deletes the row at `place`.
    pub(super) fn delete(
        &mut self,
        journal: &mut Journal,
        table: Table,
        place: u8,
    ) -> Result<(), String> {
        let Some((id, now)) = self.file.at(table, "true", place) else {
            return Ok(());
        };
        let name = table.name();
        self.file
            .execute(&format!("DELETE FROM {name} WHERE id = '{id}'"))?;
        journal.delete(table, &id);
        now.values().for_each(|value| journal.see(value));
        Ok(())
    }

    /// A group of columns in the file that nobody ever had so.
    pub(super) fn mixture(&mut self, journal: &Journal) -> Option<String> {
        Table::ALL.into_iter().find_map(|table| {
            let (_, [one, other]) = table.group();
            let name = table.name();
            let sql = format!("SELECT DISTINCT json_array({one}, {other}) FROM {name}");
            let groups = self.file.texts(&sql, &[]).into_iter();
            let mut mixtures = groups.filter(|group| journal.is_mixture(table, group));
            mixtures.next()
        })
    }

    /// Starts a sync; the client dies by `death`.
    pub(super) fn sync(&mut self, sync: &Sync, death: Option<Death>) -> Syncing {
        let (calling, calls) = channel();
        let mode = match sync.way {
            Way::Columns => Mode::Differential,
            Way::Log => Mode::TransactionLog,
            Way::Rows => Mode::WholeRow,
        };
        let settings = Settings {
            server: self
                .remote
                .is_none()
                .then(|| "http://server.test".to_owned()),
            remote: self.remote.clone(),
            batch: sync.batch,
            compress: sync.compress,
            mode: Some(mode),
            ..Settings::default()
        };
        if sync.opens || death.is_some() {
            self.close();
        }
        let used = (sync.batch, sync.compress, mode);
        let open = self.open.iter().find(|(settings, _)| *settings == used);
        let open = open.map(|(_, client)| client.clone());
        let (path, clock) = (self.path.clone(), self.clock.clone());
        let thread = std::thread::spawn(move || {
            crash::in_client(death);
            set_own_now(Time::from_micros(clock::now(&clock)));
            set_network(Box::new(move |request| {
                let (reply, replied) = channel();
                drop(calling.send(Call { request, reply }));
                let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
                let (answer, now) = replied.recv().map_err(gone)?;
                set_own_now(Time::from_micros(now));
                answer
            }));
            let mut is_open = None;
            let work = || {
                let client = match open {
                    Some(client) => client,
                    None => Client::open(&path, settings)?,
                };
                is_open = Some(client.clone());
                client.sync()
            };
            let ended = match catch_unwind(AssertUnwindSafe(work)) {
                Err(_killed) => {
                    is_open = None;
                    Ended::Killed
                }
                Ok(Ok(report)) => Ended::Well(report),
                Ok(Err(failure)) => Ended::Badly(failure),
            };
            // The channel goes with the network, and its end is the sync's.
            set_network(Box::new(|_| Err(io::ErrorKind::NotConnected.into())));
            (ended, is_open)
        });
        Syncing {
            calls,
            thread,
            used,
        }
    }

    /// How a sync ended; what it had open stays so.
    pub(super) fn end(&mut self, syncing: Syncing) -> Ended {
        let Ok((ended, is_open)) = syncing.thread.join() else {
            return Ended::Killed;
        };
        match is_open {
            Some(client) if !self.open.iter().any(|(used, _)| *used == syncing.used) => {
                self.open.push((syncing.used, client));
            }
            Some(_) => {}
            None => self.close(),
        }
        ended
    }

    /// What the SDK still has to do, and what it was refused.
    pub(super) fn client(&self) -> Client {
        Client::open(&self.path, Settings::default()).unwrap()
    }

    /// Has the SDK do something by this device's clock.
    pub(super) fn by_its_clock<T>(&self, work: impl FnOnce(Client) -> T) -> T {
        let now = Time::from_micros(clock::now(&self.clock));
        at(now, || work(self.client()))
    }
}

impl Syncing {
    /// The next call; none when the sync is at its end.
    pub(super) fn call(&self) -> Option<Call> {
        self.calls.recv().ok()
    }
}

impl Call {
    /// Answers it; the client's clock is then at `now`.
    pub(super) fn answer(self, reply: Reply, now: i64) {
        drop(self.reply.send((reply, now)));
    }
}

/// Whether an app's own file does not take it: another row has its tag by now, or what it points to is gone.
pub(super) fn is_by_the_file(refused: &Error) -> bool {
    let refused = refused.to_string();
    ["UNIQUE", "FOREIGN KEY"]
        .iter()
        .any(|why| refused.contains(why))
}

pub(super) fn insertion(table: Table, id: &str, values: &[(&str, Json)]) -> String {
    let names: String = values.iter().map(|(name, _)| format!(", {name}")).collect();
    let values = values.iter();
    let values: String = values
        .map(|(_, value)| format!(", {}", literal(value)))
        .collect();
    format!(
        "INSERT INTO {} (id{names}) VALUES ('{id}'{values})",
        table.name()
    )
}

pub(super) fn update(table: Table, id: &str, values: &[(&str, Json)]) -> String {
    let values = values
        .iter()
        .map(|(name, value)| format!("{name} = {}", literal(value)));
    let values: Vec<String> = values.collect();
    let (name, values) = (table.name(), values.join(", "));
    format!("UPDATE {name} SET {values} WHERE id = '{id}'")
}
