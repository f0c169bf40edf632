//! One simulation with an API: devices, the API and the network between them, taken through a plan step by step.

mod network;
mod parts;
mod rest;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::api::Api;
use super::manner::{Answers, LAG, Manner, WHOLE_EVERY};
use super::parts::Resource;
use crate::simulation::cast::Cast;
use crate::simulation::database::Columns;
use crate::simulation::device::Ended;
use crate::simulation::journal::Writer;
use crate::simulation::plan::{Direct, Fault, Plan, Step, Table};
use crate::simulation::scene::Scene;
use crate::simulation::tables::{Rule, adopted};
use crate::simulation::wire::{Answer, Sent};
use crate::simulation::world::Counts;

pub(crate) struct World {
    cast: Cast,
    api: Api,
    manner: Manner,
    /// Whether there are parts.
    has_parts: bool,
    /// Rows as they were when they were last asked for.
    shown: BTreeMap<(Resource, String), Columns>,
    /// The row as it had been shown when a write of it set out.
    in_view: BTreeMap<String, Columns>,
    /// The last request that a device has sent in its sync.
    last: Option<Sent>,
}

impl World {
    pub(super) fn new(plan: &Plan, client: &Path, memory: &Path) -> World {
        let cast = Cast::new(plan, client, memory);
        let manner = Manner::of(plan.seed);
        let mut world = World {
            api: Api::new(manner, cast.now),
            cast,
            manner,
            has_parts: plan.perils.kin,
            shown: BTreeMap::new(),
            in_view: BTreeMap::new(),
            last: None,
        };
        let description = manner.description(world.has_parts);
        for device in &mut world.cast.devices {
            device.remote = Some(description.clone());
        }
        for (table, id, values) in adopted(false) {
            world.api.set(table, &id, &values);
        }
        world.wait(0);
        world.cast.tell(|| description);
        world
    }

    /// What a device alone can tell goes with its file.
    fn lose_what_was_told(&mut self, device: usize) -> Result<(), String> {
        let told = self.told(device)?;
        self.cast.journal.see(&told);
        // And what it has replaced by writes that were not answered, if it ever wrote.
        let file = &mut self.cast.devices[device].file;
        let has_written = "SELECT name FROM sqlite_master WHERE name = 'colsync_remote_writes'";
        if !file.texts(has_written, &[]).is_empty() {
            let begun = "SELECT begun FROM colsync_remote_writes WHERE begun IS NOT NULL";
            let begun = file.lines(begun, &[]);
            begun.iter().for_each(|begun| self.cast.journal.see(begun));
        }
        Ok(())
    }

    /// What a device tells of values that do not stand.
    fn told(&self, device: usize) -> Result<Json, String> {
        let client = self.cast.devices[device].client();
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
                self.cast.journal.make(table, &id);
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
                let Some((id, now)) = self.at(table, place) else {
                    return;
                };
                if self.api.delete(table, &id) {
                    now.values().for_each(|value| self.cast.journal.see(value));
                    self.cast.journal.delete(table, &id);
                    self.lose_parts();
                    self.cast.count("deleted there");
                }
            }
        }
    }

    /// The row at a place of a table of the API's, if there is any; places go round.
    fn at(&self, of: impl Into<Resource>, place: u8) -> Option<(String, Columns)> {
        let rows = self.api.rows(of);
        let at = usize::from(place).checked_rem(rows.len())?;
        rows.into_iter().nth(at)
    }

    fn write_there(&mut self, table: Table, id: &str, mask: u8, now: &Columns) {
        let columns = table.columns().iter().enumerate();
        let named = columns.filter(|(at, _)| mask & (1 << at) != 0);
        // What others count is not theirs to set.
        let named = named.filter(|(_, column)| column.rule != Rule::Count);
        // Where the API does not say what it ignores, nobody could tell that from what others write next.
        let is_hidden = self.manner.ignores && self.manner.answers != Answers::Row;
        let named = named.filter(|(_, column)| !is_hidden || column.name != "body");
        let mut values = Vec::new();
        for (_, column) in named {
            self.cast.written += 1;
            let before = now.get(column.name).unwrap_or(&Json::Null);
            values.push((
                column.name,
                column.value("there", self.cast.written, before),
            ));
        }
        self.cast
            .journal
            .write_row(Writer::There, (table, id), now, &values);
        self.api.set(table, id, &values);
        self.cast.count("written there");
    }
}

impl Scene for World {
    /// One that always says that others were faster is believed after some syncs, edit by edit.
    const ROUNDS: usize = 120;

    fn cast(&mut self) -> &mut Cast {
        &mut self.cast
    }

    fn wait(&mut self, micros: i64) {
        self.cast.wait(micros);
        self.api.now = self.cast.now;
    }

    /// One that an API knows nothing of does nothing.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.wait(1_000);
        self.cast.tell(|| format!("{step:?}"));
        match *step {
            Step::Wait(micros) => self.wait(micros),
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
            Step::Kin(act) => self.act(act)?,
            Step::Delete {
                device,
                table: Table::Notes,
                place,
            } => {
                self.let_go(device, place)?;
                self.cast.step(step)?;
            }
            Step::Sync(ref sync) => drop(self.sync(sync)?),
            Step::Deliver(which) => self.deliver_late(usize::from(which))?,
            Step::PutBack { device } | Step::Clone { to: device, .. } => {
                let is_replaced = match step {
                    Step::PutBack { .. } => self.cast.devices[device].kept.is_some(),
                    _ => true,
                };
                if is_replaced {
                    self.lose_what_was_told(device)?;
                }
                self.cast.step(step)?;
            }
            _ => self.cast.step(step)?,
        }
        Ok(())
    }

    fn deliver(&mut self, sent: &Sent) -> Result<Option<Answer>, String> {
        Ok(Some(self.answer_to(sent)))
    }

    /// It comes in one piece.
    fn go_on(&mut self, _answer: &mut Answer) -> Result<Option<bool>, String> {
        Ok(Some(false))
    }

    fn sets_out(&mut self, sent: &Sent, fault: Fault) {
        if fault != Fault::Well {
            self.doubt(sent);
        }
        if let (true, Some(row)) = (sent.method != "GET", Api::meant(sent)) {
            let shown = self.shown.get(&row).cloned().unwrap_or_default();
            self.in_view.insert(sent.told(), shown);
        }
        self.last = Some(sent.clone());
    }

    fn has_ended(&mut self, _device: usize, ended: &Ended) -> Result<(), String> {
        let last = self.last.take();
        if let (Ended::Killed, Some(last)) = (ended, last) {
            self.doubt(&last);
        }
        Ok(())
    }

    /// An API is always there; but one that says that others were faster when nobody was is not believed at once.
    fn excused(&self) -> u8 {
        let stale = self.cast.counts.get("stale write");
        stale.map_or(0, |stale| (stale % 256) as u8)
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        self.deliver_all_late()?;
        // Until lists have caught up, and whole ones were asked for.
        for _ in 0..=WHOLE_EVERY {
            self.wait(2 * LAG);
            self.settle_down()?;
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        self.check_all()
    }

    fn end(mut self) -> Counts {
        let written = self.cast.journal.now() as u64;
        self.cast.counts.insert("values written", written);
        self.cast.counts
    }
}
