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

use super::cast::Cast;
use super::crash::{self, Death};
use super::database::Seedling;
use super::device::Ended;
use super::kin::Meant;
use super::plan::{Fault, Plan, Step, Table};
use super::reference::DIRECT;
use super::scene::Scene;
use super::server::Server;
use super::wire::{Answer, Sent};
use direct::Held;
use load::Program;

/// 2026-11-22T10:00:00Z, when every simulation begins.
pub(super) const BEGINNING: i64 = 1_795_341_600_000_000;

/// Clients keep their pushes for longer than this, µs: 30 days by their clocks, which are wrong by up to a day.
const KEPT: i64 = 28 * 86_400_000_000;

/// How often what was really done.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World {
    cast: Cast,
    server: Server,
    kin: Meant,
    has_kin: bool,
    /// Transactions of other programs at the server.
    held: Vec<Held>,
    program: Program,
    hard_deletes: bool,
    /// Whether whole rows are written: then one may have replaced what others had counted.
    replaced: bool,
}

/// Files to begin with: a server's database, and a client's file.
pub(super) struct Seedlings {
    pub(super) server: Seedling,
    pub(super) client: PathBuf,
}

impl World {
    pub(super) fn new(plan: &Plan, seedlings: &Seedlings, memory: &Path) -> World {
        let cast = Cast::new(plan, &seedlings.client, memory);
        crash::in_server(None);
        crash::server_died();
        colsync_shared::simulation::set_now(colsync_client::Time::from_micros(BEGINNING));
        let database = cast.folder.path().join("server.db");
        let mut world = World {
            cast,
            server: Server::new(&seedlings.server, database, &plan.perils),
            kin: Meant::new(plan.perils.forgets_rows()),
            has_kin: plan.perils.kin,
            held: Vec::new(),
            program: Program::default(),
            hard_deletes: plan.perils.hard_deletes,
            replaced: plan.perils.whole_rows,
        };
        world.wait(0);
        if plan.perils.tracks {
            for device in &mut world.cast.devices {
                device.take_or_leave(Table::Tasks).unwrap();
            }
        }
        world
    }

    /// The time as SQLite's triggers have it.
    fn millis(&self) -> i64 {
        self.cast.now / 1_000 * 1_000
    }

    fn grow_there(&mut self) -> Result<(), String> {
        self.let_all_go()?;
        if self.server.grow() {
            self.cast.count("column added there");
        }
        Ok(())
    }

    fn grow(&mut self, device: usize) {
        if self.cast.devices[device].grow() {
            self.cast.count("column added");
        }
    }
}

impl Scene for World {
    const ROUNDS: usize = 13;

    fn cast(&mut self) -> &mut Cast {
        &mut self.cast
    }

    fn wait(&mut self, micros: i64) {
        self.cast.wait(micros);
        self.server.set_clock(self.cast.now);
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.wait(1_000);
        self.cast.tell(|| format!("{step:?}"));
        match step {
            Step::Wait(micros) => self.wait(*micros),
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
            Step::Restart => {
                self.server.stop();
                self.server.start();
                self.cast.count("server restarted");
            }
            Step::Kill { step, nth } => crash::in_server(Some(Death::of_server(*step, *nth))),
            Step::Deliver(which) => self.deliver_late(usize::from(*which))?,
            Step::Backup => {
                let folder = self.cast.folder.path().join("backup");
                std::fs::create_dir_all(&folder).unwrap();
                self.server.back_up(&folder, self.cast.journal.now());
            }
            Step::Restore => {
                if self.has_kin {
                    self.kin.there(&mut self.server.database);
                }
                // What is not committed goes with the database.
                if self.server.backup.is_some() {
                    self.held.clear();
                }
                if let Some(backup) = self.server.restore() {
                    let is_long_ago = self.cast.now - backup.at > KEPT;
                    self.cast.journal.restore(backup.written, is_long_ago);
                    if self.has_kin {
                        self.skip_given_numbers()?;
                    }
                    // No connection outlives the server that is stopped for it.
                    self.cast.late.clear();
                    self.cast.put_back = true;
                    self.cast.count("database put back");
                }
            }
            Step::Insert { .. }
            | Step::Update { .. }
            | Step::Replace { .. }
            | Step::Undo { .. }
            | Step::Retry { .. }
            | Step::Delete { .. }
            | Step::Clock { .. }
            | Step::Keep { .. }
            | Step::PutBack { .. }
            | Step::Clone { .. } => self.cast.step(step)?,
            Step::Grow { device: None } => self.grow_there()?,
            Step::Grow {
                device: Some(device),
            } => self.grow(*device),
            Step::Track { device } => {
                if self.cast.devices[*device].take_or_leave(Table::Tasks)? {
                    self.cast.count("table taken or left");
                }
            }
            Step::Housekeeping => {
                self.server.keep_house();
                self.cast.count("house kept");
            }
        }
        Ok(())
    }

    fn deliver(&mut self, sent: &Sent) -> Result<Option<Answer>, String> {
        self.answer_to(sent)
    }

    fn go_on(&mut self, answer: &mut Answer) -> Result<Option<bool>, String> {
        self.next_piece(answer)
    }

    fn sets_out(&mut self, sent: &Sent, _fault: Fault) {
        self.count_way(sent);
    }

    fn has_ended(&mut self, device: usize, _ended: &Ended) -> Result<(), String> {
        self.has_no_mixture(device)
    }

    fn excused(&self) -> u8 {
        self.server.excused
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        self.all_come_to_rest()
    }

    fn check(&mut self) -> Result<(), String> {
        self.check_all()
    }

    /// Ends the server, too.
    fn end(mut self) -> Counts {
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
            ("values written", self.cast.journal.now() as u64),
        ];
        self.cast.counts.extend(told);
        self.cast.counts.append(&mut self.server.events);
        self.server.database.remove();
        self.cast.counts
    }
}
