//! One simulation: devices, the server and the network between them, taken through a plan step by step.
//!
//! Everything happens in one thread at a time: a client that syncs waits while its calls are answered, and the
//! server works only while it is asked. So a plan comes to the same whenever it is run.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use colsync_client::simulation::Arrived;
use colsync_client::{Error, Report};
use colsync_server::simulation::Answer;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;
use ureq::http;

use super::crash;
use super::device::{self, Call, Device, Ended, Reply};
use super::journal::{Journal, Writer, texts};
use super::plan::{Fault, Plan, Step, Sync, Table};
use super::file::Columns;
use super::server::{Sent, Server};

/// 2026-11-22T10:00:00Z, when every simulation begins.
const BEGINNING: i64 = 1_795_341_600_000_000;
/// Rounds of syncs after which everything must have come to rest.
const ROUNDS: usize = 12;

/// How often what was really done.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World {
    folder: TempDir,
    now: i64,
    server: Server,
    devices: Vec<Device>,
    journal: Journal,
    /// Requests that are still on their way.
    late: Vec<Sent>,
    written: u64,
    /// Whether a copy of a file or of the database was ever put back: then counters may have counted twice.
    put_back: bool,
    pub(super) counts: Counts,
}

/// Files to begin with: a server's database, and a client's file.
pub(super) struct Seedlings {
    pub(super) server: PathBuf,
    pub(super) client: PathBuf,
}

impl World {
    pub(super) fn new(plan: &Plan, seedlings: &Seedlings, memory: &Path) -> World {
        let folder = TempDir::with_prefix_in("colsync-simulation-", memory).unwrap();
        colsync_shared::simulation::seed(plan.seed | 1);
        crash::of_server(None);
        crash::server_died();
        let database = folder.path().join("server.db");
        std::fs::copy(&seedlings.server, &database).unwrap();
        colsync_shared::simulation::set_now(colsync_client::Time::from_micros(BEGINNING));
        let devices = (0..plan.devices).map(|number| {
            let path = folder.path().join(format!("device-{number}.db"));
            std::fs::copy(&seedlings.client, &path).unwrap();
            Device::new(number, path)
        });
        let world = World {
            devices: devices.collect(),
            now: BEGINNING,
            server: Server::new(database),
            folder,
            journal: Journal::default(),
            late: Vec::new(),
            written: 0,
            put_back: false,
            counts: Counts::new(),
        };
        world.set_clocks();
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn set_clocks(&self) {
        self.server.set_clock(self.now);
        self.devices
            .iter()
            .for_each(|device| device.set_clock(self.now));
    }

    fn wait(&mut self, micros: i64) {
        self.now += micros;
        self.set_clocks();
    }

    /// The time as SQLite's triggers have it.
    fn millis(&self) -> i64 {
        self.now / 1_000 * 1_000
    }

    /// Takes one step.
    ///
    /// # Errors
    /// A promise that it broke.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.wait(1_000);
        match step {
            Step::Wait(micros) => self.wait(*micros),
            Step::Insert {
                device,
                table,
                row,
                columns,
            } => self.devices[*device].insert(&mut self.journal, *table, *row, *columns)?,
            Step::Update {
                device,
                table,
                place,
                columns,
            } => self.devices[*device].update(&mut self.journal, *table, *place, *columns)?,
            Step::Delete {
                device,
                table,
                place,
            } => self.devices[*device].delete(&mut self.journal, *table, *place)?,
            Step::DirectInsert {
                table,
                row,
                columns,
            } => self.direct_insert(*table, *row, *columns)?,
            Step::DirectUpdate {
                table,
                place,
                columns,
            } => self.direct_update(*table, *place, *columns)?,
            Step::DirectDelete { table, place } => self.direct_delete(*table, *place)?,
            Step::Patch {
                table,
                place,
                columns,
                based,
            } => self.patch(*table, *place, *columns, *based)?,
            Step::RestDelete { table, place } => self.rest_delete(*table, *place)?,
            Step::Sync(sync) => drop(self.sync(sync)?),
            Step::Clock { device, ahead } => {
                self.devices[*device].ahead = *ahead;
                self.count("clock set");
                self.set_clocks();
            }
            Step::Restart => {
                self.server.stop();
                self.server.start();
                self.count("server restarted");
            }
            Step::Kill { step, nth } => crash::of_server(Some((*step, *nth))),
            Step::Deliver(which) => self.deliver_late(usize::from(*which))?,
            Step::Backup => {
                let folder = self.folder.path().join("backup");
                std::fs::create_dir_all(&folder).unwrap();
                self.server.back_up(&folder, self.journal.now());
            }
            Step::Restore => {
                if let Some(written) = self.server.restore() {
                    self.journal.restore(written);
                    self.put_back = true;
                    self.count("database put back");
                }
            }
            Step::Keep { device } => {
                let folder = self.folder.path().join(format!("kept-{device}"));
                std::fs::create_dir_all(&folder).unwrap();
                let copy = self.devices[*device].file.copy(&folder);
                self.devices[*device].kept = Some((copy, self.journal.now()));
            }
            Step::PutBack { device } => {
                if let Some((copy, written)) = self.devices[*device].kept.clone() {
                    self.devices[*device].file.replace(&copy);
                    self.journal.put_back(*device, written);
                    self.put_back = true;
                    self.count("file put back");
                }
            }
            Step::Clone { from, to } => {
                let folder = self.folder.path().join("clone");
                std::fs::create_dir_all(&folder).unwrap();
                let copy = self.devices[*from].file.copy(&folder);
                self.devices[*to].file.replace(&copy);
                self.journal.put_back(*to, 0);
                self.put_back = true;
                self.count("file cloned");
            }
            Step::Housekeeping => {
                self.server.keep_house();
                self.count("house kept");
            }
        }
        Ok(())
    }

    fn new_values(
        &mut self,
        table: Table,
        mask: u8,
        now: &Columns,
    ) -> Vec<(&'static str, Json)> {
        let columns = table.columns().iter().enumerate();
        let named = columns.filter(|(at, column)| mask & (1 << at) != 0 && column.name != "stock");
        let values = named.map(|(_, column)| {
            self.written += 1;
            let before = now.get(column.name).unwrap_or(&Json::Null);
            (column.name, column.value("there", self.written, before))
        });
        values.collect()
    }

    fn note_there(&mut self, id: &str, now: &Columns, values: &[(&'static str, Json)]) {
        for (name, value) in values {
            let before = now.get(name).unwrap_or(&Json::Null);
            self.journal
                .write(Writer::There, &format!("{id}.{name}"), before, value);
        }
    }

    fn direct_insert(&mut self, table: Table, row: u8, mask: u8) -> Result<(), String> {
        let key = (table, table.id(row));
        if self.server.reference.rows.contains_key(&key) {
            return Ok(());
        }
        let values = self.new_values(table, mask, &Columns::new());
        self.server
            .file
            .execute(&device::insertion(table, &key.1, &values))?;
        self.server.reference.direct_insert(&key, &values, self.millis());
        self.journal.make(table, &key.1);
        self.note_there(&key.1, &Columns::new(), &values);
        self.count("direct write");
        self.server
            .compare()
            .map_err(|why| format!("direct insert: {why}"))
    }

    fn direct_update(&mut self, table: Table, place: u8, mask: u8) -> Result<(), String> {
        let alive = self.server.file.rows(table, "sync_deleted_at IS NULL");
        let Some((id, now)) = device::at(alive, place) else {
            return Ok(());
        };
        let values = self.new_values(table, mask, &now);
        if values.is_empty() {
            return Ok(());
        }
        self.server
            .file
            .execute(&device::update(table, &id, &values))?;
        self.note_there(&id, &now, &values);
        self.server
            .reference
            .direct_update(&(table, id), &values, self.millis());
        self.count("direct write");
        self.server
            .compare()
            .map_err(|why| format!("direct update: {why}"))
    }

    fn direct_delete(&mut self, table: Table, place: u8) -> Result<(), String> {
        let all = self.server.file.rows(table, "true");
        let Some((id, now)) = device::at(all, place) else {
            return Ok(());
        };
        let name = table.name();
        self.server
            .file
            .execute(&format!("DELETE FROM {name} WHERE id = '{id}'"))?;
        now.values().for_each(|value| self.journal.see(value));
        self.journal.delete(table, &id);
        self.server.reference.direct_delete(&(table, id));
        self.count("direct write");
        self.server
            .compare()
            .map_err(|why| format!("direct delete: {why}"))
    }

    fn patch(&mut self, table: Table, place: u8, mask: u8, based: bool) -> Result<(), String> {
        let alive = self.server.file.rows(table, "sync_deleted_at IS NULL");
        let Some((id, now)) = device::at(alive, place) else {
            return Ok(());
        };
        let values = self.new_values(table, mask, &now);
        if values.is_empty() {
            return Ok(());
        }
        let members = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let body = Json::Object(members.collect::<Map<_, _>>()).to_string();
        self.note_there(&id, &now, &values);
        self.rest("PATCH", table, &id, body.into_bytes(), based)
    }

    fn rest_delete(&mut self, table: Table, place: u8) -> Result<(), String> {
        let alive = self.server.file.rows(table, "sync_deleted_at IS NULL");
        let Some((id, _)) = device::at(alive, place) else {
            return Ok(());
        };
        self.journal.delete(table, &id);
        self.rest("DELETE", table, &id, Vec::new(), false)
    }

    /// A program that knows no sync: it names nobody, and perhaps the version that it saw.
    fn rest(
        &mut self,
        method: &str,
        table: Table,
        id: &str,
        body: Vec<u8>,
        based: bool,
    ) -> Result<(), String> {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if based {
            let version = self.server.reference.rows[&(table, id.to_owned())].version;
            headers.push(("If-Match".to_owned(), format!("\"{version}\"")));
        }
        let sent = Sent {
            method: method.to_owned(),
            path: format!("/v1/tables/{}/rows/{id}", table.name()),
            headers,
            body,
        };
        self.count("bare write");
        self.deliver(&sent).map(drop)
    }

    /// The server answers a request; none if it died of it.
    fn deliver(&mut self, sent: &Sent) -> Result<Option<Answer>, String> {
        let journal = &mut self.journal;
        let answer = self.server.answer(sent, &mut |body| journal.accept(body))?;
        if answer.is_none() {
            self.count("server killed");
        }
        Ok(answer)
    }

    fn deliver_late(&mut self, which: usize) -> Result<(), String> {
        if self.late.is_empty() {
            return Ok(());
        }
        let sent = self.late.remove(which % self.late.len());
        self.count("request arrived late");
        self.deliver(&sent).map(drop)
    }

    /// A client syncs; its report, if it came to an end.
    fn sync(&mut self, sync: &Sync) -> Result<Option<Report>, String> {
        let syncing = self.devices[sync.device].sync(sync, sync.killed);
        let mut number = 0;
        let mut broken = Ok(());
        while let Some(call) = syncing.call() {
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
        let ended = syncing.end();
        broken?;
        match ended {
            Ended::Killed => {
                self.count("client killed");
                Ok(None)
            }
            Ended::Well(report) => Ok(Some(report)),
            Ended::Badly(failure @ (Error::Unreachable(_) | Error::Nonsense(_))) => {
                log::debug!("{failure}");
                Ok(None)
            }
            Ended::Badly(failure) => Err(format!("device {}: {failure:?}", sync.device)),
        }
    }

    fn meanwhile(&mut self, sync: &Sync, number: usize, after: bool) -> Result<(), String> {
        for (call, when, step) in &sync.meanwhile {
            if (usize::from(*call), *when) == (number, after) {
                self.count("meanwhile");
                self.step(step)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, sync: &Sync, number: usize, call: &Call) -> Result<Reply, String> {
        let sent = sent(&call.request);
        let fault = sync.calls.get(number).copied().unwrap_or(Fault::Well);
        self.wait(20_000);
        self.meanwhile(sync, number, false)?;
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
                self.deliver(&sent)?;
            }
            Fault::Well | Fault::AnswerLost | Fault::AnswerCut(_) => {}
        }
        let Some(answer) = self.deliver(&sent)? else {
            return Ok(cut());
        };
        self.wait(20_000);
        self.meanwhile(sync, number, true)?;
        Ok(match fault {
            Fault::AnswerLost => {
                self.count("answer lost");
                cut()
            }
            Fault::AnswerCut(at) => {
                self.count("answer cut");
                let mut body = answer.body;
                body.truncate(body.len() * usize::from(at) / 255);
                Ok(reply(answer.status, &answer.headers, body, true))
            }
            _ => Ok(reply(
                answer.status,
                &answer.headers,
                answer.body,
                answer.cut,
            )),
        })
    }

    /// The faults are over: everybody syncs until nothing moves any more.
    ///
    /// # Errors
    /// A promise that was broken.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        crash::of_server(None);
        while !self.late.is_empty() {
            self.deliver_late(0)?;
        }
        for round in 0.. {
            let mut moved = false;
            for device in 0..self.devices.len() {
                self.wait(1_000_000);
                let sync = Sync {
                    device,
                    batch: 1_000,
                    compress: true,
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
            if round == ROUNDS {
                return Err("nobody comes to rest".to_owned());
            }
        }
        Ok(())
    }

    /// What must hold when everything has come to rest.
    ///
    /// # Errors
    /// A promise that was broken.
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.server.compare()?;
        for table in Table::ALL {
            let there = self.server.file.rows(table, "sync_deleted_at IS NULL");
            for device in &mut self.devices {
                let here = device.rows(table);
                if here != there {
                    let number = device.number;
                    return Err(unlike(number, table, &here, &there));
                }
            }
        }
        let mut places = self.everywhere();
        for device in &mut self.devices {
            let number = device.number;
            let queued = "SELECT json_array((SELECT count(*) FROM colsync_log), \
                (SELECT count(*) FROM colsync_held), \
                (SELECT count(*) FROM colsync_pushes WHERE settled_at_ms IS NULL)) AS line";
            let queued = &device.file.lines(queued)[0];
            if *queued != json!([0, 0, 0]) {
                return Err(format!(
                    "device {number} has log, held, unanswered: {queued}"
                ));
            }
            for letter in device.client().dead_letters().unwrap() {
                texts(&json!(format!("{letter:?}")), &mut places);
                let told = serde_json::to_value(&letter.edit).unwrap_or_default();
                texts(&told, &mut places);
            }
        }
        let vanished = self.journal.vanished(&places);
        if let Some(mark) = vanished.first() {
            return Err(format!(
                "{} of {:?} in {} vanished",
                mark.text, mark.writer, mark.place
            ));
        }
        for (table, id) in self.journal.kept() {
            let is_there = self
                .server
                .reference
                .rows
                .contains_key(&(*table, id.clone()));
            if !is_there && !self.put_back {
                return Err(format!("nobody deleted {id}"));
            }
        }
        self.counters()
    }

    /// Each count was counted once.
    fn counters(&mut self) -> Result<(), String> {
        if self.put_back {
            return Ok(());
        }
        let rows = self.server.file.rows(Table::Notes, "true");
        for (id, sum) in self.journal.counts() {
            let Some(row) = rows.get(id) else { continue };
            let stock = row["stock"].as_i64().unwrap_or(0);
            if stock != sum {
                return Err(format!(
                    "the stock of {id} is {stock}, and {sum} were counted"
                ));
            }
        }
        Ok(())
    }

    /// Texts that the server has: current, beneath a tombstone, or in the ledger.
    fn everywhere(&mut self) -> HashSet<String> {
        let mut places = HashSet::new();
        for table in Table::ALL {
            for row in self.server.file.rows(table, "true").values() {
                row.values().for_each(|value| texts(value, &mut places));
            }
        }
        let sql = "SELECT json_array(json(coalesce(lost, 'null')), json(coalesce(kept, 'null'))) AS line \
                   FROM colsync_conflicts";
        let entries = self.server.file.lines(sql);
        entries.iter().for_each(|entry| texts(entry, &mut places));
        places
    }

    /// Ends the server, and tells what was done.
    pub(super) fn end(mut self) -> Counts {
        self.server.stop();
        let told = [
            ("pushes", self.server.pushes),
            ("conflicts", self.server.conflicts),
            ("repeats", self.server.repeats),
            ("values written", self.journal.now() as u64),
        ];
        self.counts.extend(told);
        self.counts
    }
}

fn unlike(
    number: usize,
    table: Table,
    here: &BTreeMap<String, Columns>,
    there: &BTreeMap<String, Columns>,
) -> String {
    let ids: HashSet<&String> = here.keys().chain(there.keys()).collect();
    let rows = ids.into_iter().filter(|id| here.get(*id) != there.get(*id));
    let rows = rows.map(|id| {
        let (here, there) = (here.get(id), there.get(id));
        format!("{id}\n  here {here:?}\n  there {there:?}")
    });
    let rows: Vec<String> = rows.collect();
    format!(
        "device {number} has other {} than the server:\n{}",
        table.name(),
        rows.join("\n")
    )
}

fn sent(request: &http::Request<Vec<u8>>) -> Sent {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    Sent {
        method: request.method().to_string(),
        path: request.uri().path_and_query().unwrap().to_string(),
        headers: headers.collect(),
        body: request.body().clone(),
    }
}

fn reply(
    status: u16,
    headers: &[(String, Vec<u8>)],
    bytes: Vec<u8>,
    cut: bool,
) -> http::Response<Arrived> {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value.as_slice());
    }
    response.body(Arrived { bytes, cut }).unwrap()
}
