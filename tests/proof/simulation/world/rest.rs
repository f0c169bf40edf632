//! The end of a simulation: everything comes to rest, and must then be alike and accounted for.

use std::collections::HashSet;

use serde_json::json;

use super::World;
use super::there::IS_ALIVE;
use crate::simulation::crash;
use crate::simulation::journal::texts;
use crate::simulation::plan::Table;
use crate::simulation::scene::Scene as _;

impl World {
    pub(super) fn all_come_to_rest(&mut self) -> Result<(), String> {
        crash::in_server(None);
        // Clients that the database knows no more are noted again.
        self.wait(60_000_000);
        self.grow_there()?;
        (0..self.cast.devices.len()).for_each(|device| self.grow(device));
        for device in &mut self.cast.devices {
            device.take_all()?;
        }
        self.deliver_all_late()?;
        self.settle_down()?;
        while self.has_kin && self.give_up()? {
            self.settle_down()?;
        }
        Ok(())
    }

    pub(super) fn check_all(&mut self) -> Result<(), String> {
        self.compare()?;
        if self.has_kin {
            self.check_kin()?;
        }
        for table in Table::ALL {
            let there = self.server.database.rows(table, IS_ALIVE);
            self.cast.are_alike(table, &there)?;
        }
        let mut places = self.everywhere();
        let mut refused = HashSet::new();
        for device in 0..self.cast.devices.len() {
            self.cast.is_drained(device)?;
            let client = self.cast.devices[device].client();
            for letter in client.dead_letters().unwrap() {
                texts(&json!(format!("{letter:?}")), &mut places);
                let told = serde_json::to_value(&letter.edit).unwrap_or_default();
                texts(&told, &mut places);
                refused.extend(letter.edit["id"].as_str().map(str::to_owned));
            }
        }
        let reference = &self.server.reference;
        let is_there = |table: Table, id: &str| reference.row(table.name(), id).is_some();
        self.cast.is_accounted_for(&places, &refused, is_there)?;
        if self.replaced {
            return Ok(());
        }
        let notes = self.server.database.rows(Table::Notes, "true");
        self.cast.is_counted(&notes, &refused)
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
