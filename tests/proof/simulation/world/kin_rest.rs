//! Rows that point to each other at the end of a simulation: where all that was meant of them is, and what must hold.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::World;
use super::kin_letters::value;
use super::there::IS_ALIVE;
use crate::simulation::journal::texts;
use crate::simulation::kin::{Kind, View};

impl World {
    /// Adds what the server has of them to the texts that it has.
    pub(super) fn kin_everywhere(&mut self, places: &mut HashSet<String>) {
        // What was refused is on its device, with all that it points to.
        let refused = self.refused();
        let pointers = self.kin.pointers.iter();
        let kept = pointers.filter(|pointer| {
            let of = pointer.split('.').next().unwrap_or_default();
            let is_of_gone = |mark: &str| of.contains('+') && self.kin.has_deleted(mark);
            // So is what only a lost copy had.
            let is_lost = |mark: &str| self.cast.journal.is_excused(mark);
            let is_kept = |mark: &str| refused.contains(mark) || is_of_gone(mark) || is_lost(mark);
            of.split('+').any(is_kept)
        });
        places.extend(kept.cloned());
        let view = self.kin.there(&mut self.server.database);
        places.extend(self.refused_pointers(&view));
        for kind in Kind::ALL {
            for row in view.of(kind) {
                row.values().for_each(|value| texts(value, places));
                if let Some(identity) = view.identity(kind, row) {
                    places.extend(view.pointers(kind, &identity, row));
                }
            }
        }
        let sql = "SELECT json_array(table_name, row_id, column_name, json(lost), json(kept)) \
                   FROM colsync_conflicts";
        for entry in self.server.database.lines(sql, &[]) {
            let kind = entry[0].as_str().and_then(Kind::of_name);
            let identity = kind.and_then(|kind| view.named(kind, entry[1].as_str()?));
            let (Some(kind), Some(identity)) = (kind, identity) else {
                continue;
            };
            for side in [&entry[3], &entry[4]] {
                for column in kind.columns() {
                    let value = if entry[2] == column.name {
                        side
                    } else {
                        side.get(column.name)
                            .or_else(|| side["columns"].get(column.name))
                            .unwrap_or(&Json::Null)
                    };
                    places.extend(view.pointer(kind, &identity, column.name, value));
                }
            }
        }
    }

    /// Texts of all edits that were refused.
    fn refused(&self) -> HashSet<String> {
        let mut refused = HashSet::new();
        for device in &self.cast.devices {
            for letter in device.client().dead_letters().unwrap() {
                let told = serde_json::to_value(&letter.edit).unwrap_or_default();
                texts(&told, &mut refused);
            }
        }
        refused
    }

    /// What edits that were refused point to: their numbers are the server's, or their device's own.
    fn refused_pointers(&mut self, there: &View) -> Vec<String> {
        let mut pointers = Vec::new();
        for device in &mut self.cast.devices {
            let letters = device.client().dead_letters().unwrap();
            let here = View::read(&mut device.file, "true");
            for letter in letters {
                let Some(kind) = Kind::of_name(&letter.table) else {
                    continue;
                };
                let named = |view: &View| view.named(kind, &letter.id);
                let Some(identity) = named(there).or_else(|| named(&here)) else {
                    continue;
                };
                for column in kind.columns() {
                    let value = value(kind, &letter, column.name);
                    let pointer = |view: &View| view.pointer(kind, &identity, column.name, &value);
                    pointers.extend(pointer(there).or_else(|| pointer(&here)));
                }
            }
        }
        pointers
    }

    /// What must hold of them when everything has come to rest.
    pub(super) fn check_kin(&mut self) -> Result<(), String> {
        let alive = View::read(&mut self.server.database, IS_ALIVE);
        for device in &mut self.cast.devices {
            let here = View::read(&mut device.file, "true");
            for kind in Kind::ALL {
                if here.of(kind) != alive.of(kind) {
                    return Err(format!(
                        "device {} has other {} than the server:\nhere {:?}\nthere {:?}",
                        device.number,
                        kind.name(),
                        here.of(kind),
                        alive.of(kind)
                    ));
                }
            }
        }
        let refused = self.refused();
        let all = self.kin.there(&mut self.server.database);
        for kind in Kind::ALL {
            let mut known = HashSet::new();
            for row in all.of(kind) {
                let identity = all
                    .identity(kind, row)
                    .ok_or_else(|| format!("a row of {} is nobody's: {row:?}", kind.name()))?;
                if !self.kin.has_made(kind, &identity) {
                    return Err(format!("nobody made {identity}: {row:?}"));
                }
                let is_alive = alive.of(kind).contains(row);
                // Two that give a row another key make two of it, and so does a copy of a file that had not sent it.
                let is_new = !is_alive || known.insert(identity.clone());
                if !is_new
                    && !self.cast.put_back
                    && !identity.split('+').any(|mark| self.kin.has_deleted(mark))
                {
                    return Err(format!("{identity} is there twice: {row:?}"));
                }
                for pointer in all.pointers(kind, &identity, row) {
                    if !self.kin.pointers.contains(&pointer) {
                        return Err(format!("nobody meant {pointer}"));
                    }
                }
            }
            for (_, kept) in self.kin.kept().filter(|(of, _)| *of == kind) {
                let is_gone = kept.split('+').any(|mark| self.kin.has_deleted(mark));
                let is_kept = known.contains(kept) || refused.contains(kept) || is_gone;
                if !is_kept && !self.cast.put_back {
                    return Err(format!("nobody deleted {kept} of {}", kind.name()));
                }
            }
        }
        Ok(())
    }
}
