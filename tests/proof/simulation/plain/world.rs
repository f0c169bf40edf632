//! One simulation with an API: devices, the API and the network between them, taken through a plan step by step.

mod network;
mod rest;

use std::path::Path;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::api::Api;
use super::manner::Manner;
use crate::simulation::database::Columns;
use crate::simulation::device::Device;
use crate::simulation::journal::{Journal, Writer};
use crate::simulation::plan::{Direct, Plan, Step, Table};
use crate::simulation::server::Sent;
use crate::simulation::tables::{Rule, adopted};
use crate::simulation::world::{BEGINNING, Counts};

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
                let is_undone = self.devices[device].undo(journal, table, place)?;
                if is_undone {
                    self.count("edit undone");
                }
            }
            Step::Retry { device, which } => {
                let is_retried = self.devices[device].retry(journal, which)?;
                if is_retried {
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
}
