//! The end of a simulation: everything comes to rest, and must then be alike and accounted for.

use std::collections::HashSet;

use serde_json::json;

use super::World;
use super::there::IS_ALIVE;
use crate::simulation::crash;
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
        crash::in_server(None);
        // Clients that the database knows no more are noted again.
        self.wait(60_000_000);
        self.grow_there()?;
        (0..self.devices.len()).for_each(|device| self.grow(device));
        for device in &mut self.devices {
            device.take_all()?;
        }
        while !self.late.is_empty() {
            self.deliver_late(0)?;
        }
        self.settle_down()?;
        while self.has_kin && self.give_up()? {
            self.settle_down()?;
        }
        Ok(())
    }

    fn settle_down(&mut self) -> Result<(), String> {
        for round in 0.. {
            let mut moved = false;
            for device in 0..self.devices.len() {
                self.wait(1_000_000);
                let sync = Sync::without_faults(device);
                let excused = self.server.excused;
                let Some(report) = self.sync(&sync)? else {
                    if self.server.excused == excused {
                        return Err(format!("device {device} cannot sync"));
                    }
                    moved = true;
                    continue;
                };
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
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.compare()?;
        if self.has_kin {
            self.check_kin()?;
        }
        for table in Table::ALL {
            let there = self.server.database.rows(table, IS_ALIVE);
            for device in &mut self.devices {
                let here = device.rows(table);
                if here != there {
                    let number = device.number;
                    return Err(unlike(number, table, &here, &there));
                }
            }
        }
        let mut places = self.everywhere();
        let mut refused = HashSet::new();
        for device in &mut self.devices {
            let number = device.number;
            let queued = "SELECT json_array((SELECT count(*) FROM colsync_log), \
                (SELECT count(*) FROM colsync_held), \
                (SELECT count(*) FROM colsync_pushes WHERE settled_at_ms IS NULL))";
            let queued = &device.file.lines(queued, &[])[0];
            if *queued != json!([0, 0, 0]) {
                return Err(format!(
                    "device {number} has log, held, unanswered: {queued}"
                ));
            }
            for letter in device.client().dead_letters().unwrap() {
                texts(&json!(format!("{letter:?}")), &mut places);
                let told = serde_json::to_value(&letter.edit).unwrap_or_default();
                texts(&told, &mut places);
                refused.extend(letter.edit["id"].as_str().map(str::to_owned));
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
            if !is_there && !self.put_back && !refused.contains(id) {
                return Err(format!("nobody deleted {id}"));
            }
        }
        self.counters(&refused)
    }

    /// Each count was counted once, but for those in rows of which an edit was refused.
    fn counters(&mut self, refused: &HashSet<String>) -> Result<(), String> {
        if self.put_back || self.replaced {
            return Ok(());
        }
        let rows = self.server.database.rows(Table::Notes, "true");
        for (id, sum) in self.journal.counts() {
            let Some(row) = rows.get(id).filter(|_| !refused.contains(id)) else {
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

    /// Texts that the server has: current, beneath a tombstone, or in the ledger.
    fn everywhere(&mut self) -> HashSet<String> {
        let mut places = HashSet::new();
        for table in Table::ALL {
            for row in self.server.database.rows(table, "true").values() {
                row.values().for_each(|value| texts(value, &mut places));
            }
        }
        let sql = "SELECT json_array(json(lost), json(kept)) \
                   FROM colsync_conflicts";
        let entries = self.server.database.lines(sql, &[]);
        entries.iter().for_each(|entry| texts(entry, &mut places));
        if self.has_kin {
            self.kin_everywhere(&mut places);
        }
        places
    }
}
