//! One simulation: devices, the server and the network between them, taken through a plan step by step.
//!
//! Everything happens in one thread at a time: a client that syncs waits while its calls are answered, and the
//! server works only while it is asked. So a plan comes to the same whenever it is run.

mod admin;
mod direct;
mod kin;
mod kin_letters;
mod kin_rest;
mod kin_write;
mod load;
mod network;
mod rest;
mod there;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::crash::{self, Death};
use super::database::Seedling;
use super::device::Device;
use super::journal::Journal;
use super::kin::Meant;
use super::plan::{Plan, Step, Table};
use super::reference::DIRECT;
use super::server::{Sent, Server};
use super::tables::adopted;
use direct::Held;
use load::Program;

/// 2026-11-22T10:00:00Z, when every simulation begins.
pub(super) const BEGINNING: i64 = 1_795_341_600_000_000;

/// How often what was really done.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World {
    folder: TempDir,
    now: i64,
    server: Server,
    devices: Vec<Device>,
    journal: Journal,
    kin: Meant,
    has_kin: bool,
    /// Transactions of other programs at the server.
    held: Vec<Held>,
    /// Requests that are still on their way.
    late: Vec<Sent>,
    program: Program,
    hard_deletes: bool,
    written: u64,
    /// Whether a copy of a file or of the database was ever put back: then counters may have counted twice.
    put_back: bool,
    /// Whether whole rows are written: then one may have replaced what others had counted.
    replaced: bool,
    pub(super) counts: Counts,
    /// What was asked and answered, where that is wanted.
    pub(super) trace: Option<Vec<String>>,
}

/// Files to begin with: a server's database, and a client's file.
pub(super) struct Seedlings {
    pub(super) server: Seedling,
    pub(super) client: PathBuf,
}

impl World {
    pub(super) fn new(plan: &Plan, seedlings: &Seedlings, memory: &Path) -> World {
        let folder = TempDir::with_prefix_in("colsync-simulation-", memory).unwrap();
        colsync_shared::simulation::seed(plan.seed | 1);
        crash::in_server(None);
        crash::server_died();
        let database = folder.path().join("server.db");
        colsync_shared::simulation::set_now(colsync_client::Time::from_micros(BEGINNING));
        let devices = (0..plan.devices).map(|number| {
            let path = folder.path().join(format!("device-{number}.db"));
            std::fs::copy(&seedlings.client, &path).unwrap();
            Device::new(number, path)
        });
        let mut world = World {
            devices: devices.collect(),
            now: BEGINNING,
            server: Server::new(&seedlings.server, database, &plan.perils),
            folder,
            journal: Journal::default(),
            kin: Meant::new(plan.perils.forgets_rows()),
            has_kin: plan.perils.kin,
            held: Vec::new(),
            late: Vec::new(),
            program: Program::default(),
            hard_deletes: plan.perils.hard_deletes,
            written: 0,
            put_back: false,
            replaced: plan.perils.whole_rows,
            counts: Counts::new(),
            trace: None,
        };
        for (table, id, values) in adopted(plan.perils.grows) {
            world.journal.make(table, &id);
            world
                .journal
                .whole(table, &values.iter().cloned().collect());
            let stock = values.iter().find(|(name, _)| *name == "stock");
            let stock = stock.and_then(|(_, value)| value.as_i64());
            world.journal.count(&id, stock.unwrap_or(0));
        }
        world.set_clocks();
        if plan.perils.tracks {
            for device in &mut world.devices {
                device.take_or_leave(Table::Tasks).unwrap();
            }
        }
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

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
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
        self.tell(|| format!("{step:?}"));
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
            Step::Replace {
                device,
                table,
                place,
                columns,
            } => self.devices[*device].replace_row(&mut self.journal, *table, *place, *columns)?,
            Step::Undo {
                device,
                table,
                place,
            } => {
                if self.devices[*device].undo(&mut self.journal, *table, *place)? {
                    self.count("edit undone");
                }
            }
            Step::Retry { device, which } => {
                if self.devices[*device].retry(&mut self.journal, *which)? {
                    self.count("refused edit retried");
                }
            }
            Step::Delete {
                device,
                table,
                place,
            } => self.devices[*device].delete(&mut self.journal, *table, *place)?,
            Step::Direct(direct) => self.direct(*direct)?,
            Step::Hold(direct) => self.hold(*direct)?,
            Step::LetGo { which, commits } => self.let_go(*which, *commits)?,
            Step::Patch {
                table,
                place,
                columns,
                based,
            } => self.patch(*table, *place, *columns, *based)?,
            Step::Put {
                table,
                place,
                columns,
                based,
            } => self.put(*table, *place, *columns, *based)?,
            Step::RestDelete { table, place } => self.rest_delete(*table, *place)?,
            Step::Load(load) => {
                self.let_all_go()?;
                self.load(load)?;
            }
            Step::Kin(act) => self.act(*act)?,
            Step::Decide { which, how } => {
                self.let_all_go()?;
                self.decide(*which, *how)?;
            }
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
            Step::Kill { step, nth } => crash::in_server(Some(Death::of_server(*step, *nth))),
            Step::Deliver(which) => self.deliver_late(usize::from(*which))?,
            Step::Backup => {
                let folder = self.folder.path().join("backup");
                std::fs::create_dir_all(&folder).unwrap();
                self.server.back_up(&folder, self.journal.now());
            }
            Step::Restore => {
                if self.has_kin {
                    self.kin.there(&mut self.server.database);
                }
                // What is not committed goes with the database.
                if self.server.backup.is_some() {
                    self.held.clear();
                }
                if let Some(written) = self.server.restore() {
                    self.journal.restore(written);
                    if self.has_kin {
                        self.skip_given_numbers()?;
                    }
                    // No connection outlives the server that is stopped for it.
                    self.late.clear();
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
                    self.devices[*device].replace(&copy);
                    self.journal.put_back(*device, written);
                    self.put_back = true;
                    self.count("file put back");
                }
            }
            Step::Clone { from, to } => {
                let folder = self.folder.path().join("clone");
                std::fs::create_dir_all(&folder).unwrap();
                let copy = self.devices[*from].file.copy(&folder);
                self.devices[*to].replace(&copy);
                self.journal.put_back(*to, 0);
                self.put_back = true;
                self.count("file cloned");
            }
            Step::Grow { device: None } => self.grow_there()?,
            Step::Grow {
                device: Some(device),
            } => self.grow(*device),
            Step::Track { device } => {
                if self.devices[*device].take_or_leave(Table::Tasks)? {
                    self.count("table taken or left");
                }
            }
            Step::Housekeeping => {
                self.server.keep_house();
                self.count("house kept");
            }
        }
        Ok(())
    }

    fn grow_there(&mut self) -> Result<(), String> {
        self.let_all_go()?;
        if self.server.grow() {
            self.count("column added there");
        }
        Ok(())
    }

    fn grow(&mut self, device: usize) {
        if self.devices[device].grow() {
            self.count("column added");
        }
    }

    /// Ends the server, and tells what was done.
    pub(super) fn end(mut self) -> Counts {
        self.held.clear();
        self.server.stop();
        // As far as there was none made under the same key again.
        let sql = "SELECT json_array(count(*)) FROM colsync_tombstones \
                   WHERE client <> :? AND table_name NOT IN ('notes', 'tasks')";
        let removed = &self.server.database.lines(sql, &[DIRECT])[0][0];
        let told = [
            (
                "related row removed for good",
                removed.as_u64().unwrap_or(0),
            ),
            ("pushes", self.server.pushes),
            ("conflicts", self.server.conflicts),
            ("repeats", self.server.repeats),
            ("values written", self.journal.now() as u64),
        ];
        self.counts.extend(told);
        self.counts.append(&mut self.server.events);
        self.server.database.remove();
        self.counts
    }
}
