//! The end of a simulation with an API: everything comes to rest, and must then be alike and accounted for.

use std::collections::HashSet;

use serde_json::json;

use super::World;
use crate::simulation::journal::{texts, unlike};
use crate::simulation::plan::{Sync, Table};

/// Rounds of syncs after which everything must have come to rest.
const ROUNDS: usize = 12;

impl World {
    /// The faults are over: everybody syncs until nothing moves any more.
    ///
    /// # Errors
    /// A promise that was broken.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), String> {
        while !self.late.is_empty() {
            self.deliver_late(0);
        }
        for _ in 0..ROUNDS {
            let mut moved = false;
            for device in 0..self.devices.len() {
                self.wait(1_000_000);
                let sync = Sync::without_faults(device);
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
    pub(crate) fn check(&mut self) -> Result<(), String> {
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
