//! What every simulation has, whatever its devices sync with: their files and clocks, all that was written, and requests
//! on their way.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::database::Columns;
use super::device::Device;
use super::journal::{Journal, unlike};
use super::plan::{Plan, Step, Table};
use super::tables::adopted;
use super::wire::Sent;
use super::world::{BEGINNING, Counts};

pub(super) struct Cast {
    pub(super) folder: TempDir,
    pub(super) now: i64,
    pub(super) devices: Vec<Device>,
    pub(super) journal: Journal,
    /// Requests that are still on their way.
    pub(super) late: Vec<Sent>,
    pub(super) written: u64,
    /// Whether a copy of a file or of the database was ever put back: then counters may have counted twice.
    pub(super) put_back: bool,
    pub(super) counts: Counts,
    /// What was asked and answered, where that is wanted.
    pub(super) trace: Option<Vec<String>>,
}

impl Cast {
    /// That of a plan: its devices begin with copies of the file `client`, and the other side with the adopted rows.
    pub(super) fn new(plan: &Plan, client: &Path, memory: &Path) -> Cast {
        let folder = TempDir::with_prefix_in("colsync-simulation-", memory).unwrap();
        colsync_shared::simulation::seed(plan.seed | 1);
        let devices = (0..plan.devices).map(|number| {
            let path = folder.path().join(format!("device-{number}.db"));
            std::fs::copy(client, &path).unwrap();
            Device::new(number, path)
        });
        let mut cast = Cast {
            devices: devices.collect(),
            now: BEGINNING,
            folder,
            journal: Journal::default(),
            late: Vec::new(),
            written: 0,
            put_back: false,
            counts: Counts::new(),
            trace: None,
        };
        let journal = &mut cast.journal;
        for (table, id, values) in adopted(plan.perils.grows) {
            journal.make(table, &id);
            journal.whole(table, &values.iter().cloned().collect());
            let stock = values.iter().find(|(name, _)| *name == "stock");
            let stock = stock.and_then(|(_, value)| value.as_i64());
            journal.count(&id, stock.unwrap_or(0));
        }
        cast
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// Time goes by.
    pub(super) fn wait(&mut self, micros: i64) {
        self.now += micros;
        for device in &self.devices {
            device.set_clock(self.now);
        }
    }

    /// Takes a step that is a device's alone; any other does nothing.
    ///
    /// # Errors
    /// A promise that it broke.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), String> {
        let journal = &mut self.journal;
        match *step {
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
            Step::Clock { device, ahead } => {
                self.devices[device].ahead = ahead;
                self.devices[device].set_clock(self.now);
                self.count("clock set");
            }
            Step::Keep { device } => {
                let copy = self.copy(device, &format!("kept-{device}"));
                self.devices[device].kept = Some((copy, self.journal.now()));
            }
            Step::PutBack { device } => {
                if let Some((copy, written)) = self.devices[device].kept.clone() {
                    self.devices[device].replace(&copy);
                    self.journal.put_back(device, written);
                    self.put_back = true;
                    self.count("file put back");
                }
            }
            Step::Clone { from, to } => {
                let copy = self.copy(from, "clone");
                self.devices[to].replace(&copy);
                self.journal.is_copied(from);
                self.journal.put_back(to, 0);
                self.put_back = true;
                self.count("file cloned");
            }
            _ => {}
        }
        Ok(())
    }

    /// Copies a device's file into the folder of this name; where the copy is.
    fn copy(&self, device: usize, name: &str) -> std::path::PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        self.devices[device].file.copy(&folder)
    }

    /// All devices have of a table what is there.
    pub(super) fn are_alike(
        &mut self,
        table: Table,
        there: &BTreeMap<String, Columns>,
    ) -> Result<(), String> {
        for device in &mut self.devices {
            let here = device.rows(table);
            if here != *there {
                return Err(unlike(device.number, table.name(), &here, there));
            }
        }
        Ok(())
    }

    /// Nothing of a device waits for its server any more.
    pub(super) fn is_drained(&mut self, device: usize) -> Result<(), String> {
        let queued = "SELECT json_array((SELECT count(*) FROM colsync_log), \
            (SELECT count(*) FROM colsync_held), \
            (SELECT count(*) FROM colsync_pushes WHERE settled_at_ms IS NULL))";
        let queued = &self.devices[device].file.lines(queued, &[])[0];
        if *queued != json!([0, 0, 0]) {
            let held = "SELECT json_array(table_number, row_id, body, reason) FROM colsync_held";
            let held = self.devices[device].file.lines(held, &[]);
            return Err(format!(
                "device {device} has log, held, unanswered: {queued} {held:?}"
            ));
        }
        Ok(())
    }

    /// Each value is in one of `places` or otherwise accounted for, and each row that nobody deleted is there, but for those
    /// of which an edit was refused.
    pub(super) fn is_accounted_for(
        &self,
        places: &HashSet<String>,
        refused: &HashSet<String>,
        is_there: impl Fn(Table, &str) -> bool,
    ) -> Result<(), String> {
        if let Some(mark) = self.journal.vanished(places).first() {
            return Err(format!(
                "{} of {:?} in {} vanished",
                mark.text, mark.writer, mark.place
            ));
        }
        for (table, id) in self.journal.kept() {
            if !is_there(*table, id) && !self.put_back && !refused.contains(id) {
                return Err(format!("nobody deleted {id}"));
            }
        }
        Ok(())
    }

    /// Each count in these notes was counted once, but for those in rows of which an edit was refused.
    pub(super) fn is_counted(
        &self,
        notes: &BTreeMap<String, Columns>,
        refused: &HashSet<String>,
    ) -> Result<(), String> {
        if self.put_back {
            return Ok(());
        }
        for (id, sum) in self.journal.counts() {
            let Some(row) = notes.get(id).filter(|_| !refused.contains(id)) else {
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
