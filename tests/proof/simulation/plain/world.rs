//! One simulation with an API: devices, the API and the network between them, taken through a plan step by step.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use colsync_client::{Error, Report};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::api::{Answer, Api};
use super::manner::Manner;
use crate::simulation::crash::Death;
use crate::simulation::database::Columns;
use crate::simulation::device::{Call, Device, Ended, Reply, reply};
use crate::simulation::journal::{Journal, Writer, texts, unlike};
use crate::simulation::plan::{Direct, Fault, Moment, Plan, Step, Sync, Table, Way};
use crate::simulation::server::Sent;
use crate::simulation::tables::{Rule, adopted};
use crate::simulation::world::{BEGINNING, Counts};

/// Rounds of syncs after which everything must have come to rest.
const ROUNDS: usize = 12;

pub(super) struct World {
    folder: TempDir,
    now: i64,
    api: Api,
    devices: Vec<Device>,
    journal: Journal,
    /// Requests that are still on their way.
    late: Vec<Sent>,
    written: u64,
    /// Whether a copy of a file was ever put back: then counters may have counted twice.
    put_back: bool,
    counts: Counts,
    /// What was asked and answered, where that is wanted.
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(plan: &Plan, client: &Path, memory: &Path) -> World {
        let folder = TempDir::with_prefix_in("colsync-simulation-", memory).unwrap();
        colsync_shared::simulation::seed(plan.seed | 1);
        let manner = Manner::of(plan.seed);
        let devices = (0..plan.devices).map(|number| {
            let path = folder.path().join(format!("device-{number}.db"));
            std::fs::copy(client, &path).unwrap();
            let mut device = Device::new(number, path);
            device.remote = Some(manner.description());
            device
        });
        let mut world = World {
            devices: devices.collect(),
            now: BEGINNING,
            api: Api::new(manner, BEGINNING),
            folder,
            journal: Journal::default(),
            late: Vec::new(),
            written: 0,
            put_back: false,
            counts: Counts::new(),
            trace: None,
        };
        for (table, id, values) in adopted(false) {
            world.api.set(table, &id, &values);
            world.journal.make(table, &id);
            let stock = values.iter().find(|(name, _)| *name == "stock");
            let stock = stock.and_then(|(_, value)| value.as_i64());
            world.journal.count(&id, stock.unwrap_or(0));
        }
        world.wait(0);
        world.tell(|| manner.description());
        world
    }

    /// What was done.
    pub(super) fn end(mut self) -> Counts {
        let written = self.journal.now() as u64;
        self.counts.insert("values written", written);
        self.counts
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn wait(&mut self, micros: i64) {
        self.now += micros;
        self.api.now = self.now;
        for device in &self.devices {
            device.set_clock(self.now);
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// Takes one step; one that an API knows nothing of does nothing.
    ///
    /// # Errors
    /// A promise that it broke.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.wait(1_000);
        self.tell(|| format!("{step:?}"));
        let journal = &mut self.journal;
        match *step {
            Step::Wait(micros) => self.wait(micros),
            Step::Insert {
                device,
                table,
                row,
                columns,
            } => self.devices[device].insert(journal, table, row, columns)?,
            Step::Update {
                device,
                table,
                place,
                columns,
            } => self.devices[device].update(journal, table, place, columns)?,
            Step::Replace {
                device,
                table,
                place,
                columns,
            } => self.devices[device].replace_row(journal, table, place, columns)?,
            Step::Undo {
                device,
                table,
                place,
            } => {
                if self.devices[device].undo(journal, table, place)? {
                    self.count("edit undone");
                }
            }
            Step::Retry { device, which } => {
                if self.devices[device].retry(journal, which)? {
                    self.count("refused edit retried");
                }
            }
            Step::Delete {
                device,
                table,
                place,
            } => self.devices[device].delete(journal, table, place)?,
            Step::Direct(direct) | Step::Hold(direct) => self.there(direct),
            Step::Patch {
                table,
                place,
                columns,
                ..
            } => self.there(Direct::Update {
                table,
                place,
                columns,
            }),
            Step::RestDelete { table, place } => self.there(Direct::Delete { table, place }),
            Step::Sync(ref sync) => drop(self.sync(sync)?),
            Step::Clock { device, ahead } => {
                self.devices[device].ahead = ahead;
                self.count("clock set");
                self.wait(0);
            }
            Step::Deliver(which) => self.deliver_late(usize::from(which)),
            Step::Keep { device } => {
                let folder = self.folder.path().join(format!("kept-{device}"));
                std::fs::create_dir_all(&folder).unwrap();
                let copy = self.devices[device].file.copy(&folder);
                self.devices[device].kept = Some((copy, self.journal.now()));
            }
            Step::PutBack { device } => {
                if let Some((copy, written)) = self.devices[device].kept.clone() {
                    self.lose_what_was_told(device)?;
                    self.devices[device].replace(&copy);
                    self.journal.put_back(device, written);
                    self.put_back = true;
                    self.count("file put back");
                }
            }
            Step::Clone { from, to } => {
                self.lose_what_was_told(to)?;
                let folder = self.folder.path().join("clone");
                std::fs::create_dir_all(&folder).unwrap();
                let copy = self.devices[from].file.copy(&folder);
                self.devices[to].replace(&copy);
                self.journal.put_back(to, 0);
                self.put_back = true;
                self.count("file cloned");
            }
            _ => {}
        }
        Ok(())
    }

    /// What a device alone can tell goes with its file.
    fn lose_what_was_told(&mut self, device: usize) -> Result<(), String> {
        let told = self.told(device)?;
        self.journal.see(&told);
        // And what it has replaced by writes that were not answered, if it ever wrote.
        let file = &mut self.devices[device].file;
        let has_written = "SELECT name FROM sqlite_master WHERE name = 'colsync_remote_writes'";
        if !file.texts(has_written, &[]).is_empty() {
            let begun = "SELECT begun FROM colsync_remote_writes WHERE begun IS NOT NULL";
            let begun = file.lines(begun, &[]);
            begun.iter().for_each(|begun| self.journal.see(begun));
        }
        Ok(())
    }

    /// What a device tells of values that do not stand.
    fn told(&self, device: usize) -> Result<Json, String> {
        let client = self.devices[device].client();
        let conflicts = client.conflicts().map_err(|why| why.to_string())?;
        let letters = client.dead_letters().map_err(|why| why.to_string())?;
        Ok(json!([conflicts, letters]))
    }

    /// Another program writes.
    fn there(&mut self, direct: Direct) {
        match direct {
            Direct::Insert {
                table,
                row,
                columns,
            } => {
                let id = table.id(row);
                if self.api.row(table, &id).is_some() {
                    return;
                }
                self.journal.make(table, &id);
                self.write_there(table, &id, columns, &Columns::new());
            }
            Direct::Update {
                table,
                place,
                columns,
            } => {
                if let Some((id, now)) = self.at(table, place) {
                    self.write_there(table, &id, columns, &now);
                }
            }
            Direct::Delete { table, place } => {
                if let Some((id, now)) = self.at(table, place) {
                    now.values().for_each(|value| self.journal.see(value));
                    self.journal.delete(table, &id);
                    self.api.delete(table, &id);
                    self.count("deleted there");
                }
            }
        }
    }

    /// The row at a place of a table of the API's, if there is any; places go round.
    fn at(&self, table: Table, place: u8) -> Option<(String, Columns)> {
        let rows = self.api.rows(table);
        let at = usize::from(place).checked_rem(rows.len())?;
        rows.into_iter().nth(at)
    }

    fn write_there(&mut self, table: Table, id: &str, mask: u8, now: &Columns) {
        let columns = table.columns().iter().enumerate();
        let named = columns.filter(|(at, _)| mask & (1 << at) != 0);
        // What others count is not theirs to set.
        let named = named.filter(|(_, column)| column.rule != Rule::Count);
        let mut values = Vec::new();
        for (_, column) in named {
            self.written += 1;
            let before = now.get(column.name).unwrap_or(&Json::Null);
            values.push((column.name, column.value("there", self.written, before)));
        }
        self.journal
            .write_row(Writer::There, (table, id), now, &values);
        self.api.set(table, id, &values);
        self.count("written there");
    }

    fn deliver(&mut self, sent: &Sent) -> Answer {
        let answer = self.api.answer(sent);
        if sent.method != "GET" {
            match answer.status {
                200..300 => {
                    let body = serde_json::from_slice(&sent.body).unwrap_or_default();
                    self.journal.accept(&body);
                    self.count("pushes");
                }
                412 => self.count("stale write"),
                _ => self.count("refused write"),
            }
        }
        self.tell(|| {
            let body = String::from_utf8_lossy(&answer.body);
            format!("  {}\n    {} {body}", sent.told(), answer.status)
        });
        answer
    }

    /// Whether a write has arrived, its client cannot always tell: if others write the row, too, it may count again.
    fn doubt(&mut self, sent: &Sent) {
        if sent.method == "GET" {
            return;
        }
        let told = percent_decode_str(&sent.told())
            .decode_utf8_lossy()
            .into_owned();
        let named = self.journal.counts().map(|(id, _)| id.clone());
        let named: Vec<String> = named.filter(|id| told.contains(id)).collect();
        named.iter().for_each(|id| self.journal.lose_count(id));
    }

    fn deliver_late(&mut self, which: usize) {
        if !self.late.is_empty() {
            let sent = self.late.remove(which % self.late.len());
            self.count("request arrived late");
            self.deliver(&sent);
        }
    }

    /// A client syncs; its report, if it came to an end.
    fn sync(&mut self, sync: &Sync) -> Result<Option<Report>, String> {
        let death = sync.killed.map(|(step, nth)| Death::of_client(step, nth));
        let syncing = self.devices[sync.device].sync(sync, death);
        let mut number = 0;
        let mut broken = Ok(());
        let mut sent = None;
        while let Some(call) = syncing.call() {
            sent = Some(Sent::of(&call.request));
            let reply = match broken {
                Ok(()) => self.call(sync, number, &call),
                Err(_) => Ok(Err(io::ErrorKind::ConnectionRefused.into())),
            };
            number += 1;
            let reply = reply.unwrap_or_else(|why| {
                broken = Err(why);
                Err(io::ErrorKind::ConnectionRefused.into())
            });
            let clock = self.now + self.devices[sync.device].ahead;
            call.answer(reply, clock);
        }
        let ended = self.devices[sync.device].end(syncing);
        broken?;
        match ended {
            Ended::Killed => {
                self.count("client killed");
                if let Some(sent) = sent {
                    self.doubt(&sent);
                }
                Ok(None)
            }
            Ended::Well(report) => Ok(Some(report)),
            Ended::Badly(Error::Unreachable(_) | Error::Nonsense(_)) => Ok(None),
            Ended::Badly(failure) => Err(format!("device {}: {failure:?}", sync.device)),
        }
    }

    fn meanwhile(&mut self, sync: &Sync, number: usize, is_after: bool) -> Result<(), String> {
        for (moment, step) in &sync.meanwhile {
            let is_now = match *moment {
                Moment::Before(of) | Moment::Piece(of, _) => of == number && !is_after,
                Moment::After(of) => of == number && is_after,
            };
            if is_now {
                self.count("meanwhile");
                self.step(step)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, sync: &Sync, number: usize, call: &Call) -> Result<Reply, String> {
        let sent = Sent::of(&call.request);
        let fault = sync.calls.get(number).copied().unwrap_or(Fault::Well);
        self.wait(20_000);
        self.meanwhile(sync, number, false)?;
        if fault != Fault::Well {
            self.doubt(&sent);
        }
        let cut = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        match fault {
            Fault::RequestLost => {
                self.count("request lost");
                return Ok(cut());
            }
            Fault::RequestLate => {
                self.count("request late");
                self.late.push(sent);
                return Ok(Err(io::ErrorKind::TimedOut.into()));
            }
            Fault::Gateway => {
                self.count("502");
                return Ok(Ok(reply(502, &[], Vec::new(), false)));
            }
            Fault::RequestAgain => {
                self.count("request again");
                self.late.push(sent.clone());
            }
            Fault::RequestTwice => {
                self.count("request twice");
                self.deliver(&sent);
            }
            Fault::Well | Fault::AnswerLost | Fault::AnswerCut(_) => {}
        }
        let Answer {
            status,
            headers,
            mut body,
        } = self.deliver(&sent);
        self.wait(20_000);
        self.meanwhile(sync, number, true)?;
        Ok(match fault {
            Fault::AnswerLost => {
                self.count("answer lost");
                cut()
            }
            Fault::AnswerCut(at) => {
                self.count("answer cut");
                body.truncate(body.len() * usize::from(at) / 255);
                Ok(reply(status, &headers, body, true))
            }
            _ => Ok(reply(status, &headers, body, false)),
        })
    }

    /// The faults are over: everybody syncs until nothing moves any more.
    ///
    /// # Errors
    /// A promise that was broken.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        while !self.late.is_empty() {
            self.deliver_late(0);
        }
        for _ in 0..ROUNDS {
            let mut moved = false;
            for device in 0..self.devices.len() {
                self.wait(1_000_000);
                let sync = Sync {
                    device,
                    batch: 1_000,
                    compress: true,
                    opens: false,
                    way: Way::Columns,
                    calls: Vec::new(),
                    meanwhile: Vec::new(),
                    killed: None,
                };
                let report = self.sync(&sync)?;
                let report = report.ok_or_else(|| format!("device {device} cannot sync"))?;
                moved |= report.pushed + report.pulled + report.removed > 0;
            }
            if !moved {
                return Ok(());
            }
        }
        Err("nobody comes to rest".to_owned())
    }

    /// What must hold when everything has come to rest.
    ///
    /// # Errors
    /// A promise that was broken.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let mut places = HashSet::new();
        let mut refused = HashSet::new();
        for table in Table::ALL {
            let there = self.api.rows(table);
            for row in there.values() {
                row.values().for_each(|value| texts(value, &mut places));
            }
            for device in &mut self.devices {
                let here = device.rows(table);
                if here != there {
                    return Err(unlike(device.number, table, &here, &there));
                }
            }
            for id in there.keys() {
                let beside = self.api.beside(table, id);
                if beside.is_some_and(|beside| beside != id) {
                    return Err(format!("what {id} holds beside its columns is {beside:?}"));
                }
            }
        }
        for number in 0..self.devices.len() {
            let queued = "SELECT json_array((SELECT count(*) FROM colsync_log), \
                (SELECT count(*) FROM colsync_held), \
                (SELECT count(*) FROM colsync_pushes WHERE settled_at_ms IS NULL))";
            let queued = &self.devices[number].file.lines(queued, &[])[0];
            if *queued != json!([0, 0, 0]) {
                return Err(format!(
                    "device {number} has log, held, unanswered: {queued}"
                ));
            }
            let told = self.told(number)?;
            texts(&told, &mut places);
            let letters = told[1].as_array().into_iter().flatten();
            refused.extend(letters.filter_map(|letter| letter["id"].as_str().map(str::to_owned)));
        }
        if let Some(mark) = self.journal.vanished(&places).first() {
            return Err(format!(
                "{} of {:?} in {} vanished",
                mark.text, mark.writer, mark.place
            ));
        }
        for (table, id) in self.journal.kept() {
            let is_there = self.api.row(*table, id).is_some();
            if !is_there && !self.put_back && !refused.contains(id) {
                return Err(format!("nobody deleted {id}"));
            }
        }
        self.counters(&refused)
    }

    /// Each count was counted once, but for those in rows of which an edit was refused.
    fn counters(&self, refused: &HashSet<String>) -> Result<(), String> {
        if self.put_back {
            return Ok(());
        }
        for (id, sum) in self.journal.counts() {
            let Some(row) = self
                .api
                .row(Table::Notes, id)
                .filter(|_| !refused.contains(id))
            else {
                continue;
            };
            let stock = row["stock"].as_i64().unwrap_or(0);
            if stock != sum {
                return Err(format!(
                    "the stock of {id} is {stock}, and {sum} were counted"
                ));
            }
        }
        Ok(())
    }
}
