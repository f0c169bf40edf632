//! What must hold when everything has come to rest.

use std::collections::{BTreeMap, HashSet};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::journal::texts;
use crate::simulation::plain::api::Api;
use crate::simulation::plain::parts::Resource;
use crate::simulation::plan::Table;

impl World {
    pub(super) fn check_all(&mut self) -> Result<(), String> {
        if let Some(misused) = self.api.misused.take() {
            return Err(misused);
        }
        let mut places = HashSet::new();
        let mut refused = HashSet::new();
        for table in Table::ALL {
            let there = self.api.rows(table);
            self.cast.are_alike(table, &there)?;
            self.look_at(table.into(), &there, &mut places)?;
        }
        for number in 0..self.cast.devices.len() {
            self.cast.is_drained(number)?;
            let told = self.told(number)?;
            texts(&told, &mut places);
            let letters = told[1].as_array().into_iter().flatten();
            refused.extend(letters.filter_map(|letter| letter["id"].as_str().map(str::to_owned)));
        }
        self.check_parts(&mut places)?;
        let is_there = |table: Table, id: &str| self.api.row(table, id).is_some();
        self.cast.is_accounted_for(&places, &refused, is_there)?;
        let mut notes = self.api.rows(Table::Notes);
        // What was counted in a row before it got another key was counted elsewhere.
        notes.retain(|id, _| !Api::has_given(id));
        self.cast.is_counted(&notes, &refused)
    }

    /// All that these rows of the API's tell goes into `places`; what they hold beside their columns is as it was.
    pub(super) fn look_at(
        &self,
        resource: Resource,
        there: &BTreeMap<String, Columns>,
        places: &mut HashSet<String>,
    ) -> Result<(), String> {
        for (id, row) in there {
            row.values().for_each(|value| texts(value, places));
            let beside = self.api.beside(resource, id);
            if beside.is_some_and(|beside| beside != id) {
                return Err(format!("what {id} holds beside its columns is {beside:?}"));
            }
        }
        Ok(())
    }
}
