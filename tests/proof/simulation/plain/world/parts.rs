//! What is done to parts, and what must hold of them.

use std::collections::{BTreeMap, HashSet};

use colsync_client::Error;
use serde_json::{Value as Json, json};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::device::is_by_the_file;
use crate::simulation::journal::{Writer, texts, unlike};
use crate::simulation::kin::{Act, What};
use crate::simulation::plain::manner::Relations;
use crate::simulation::plain::parts::{PARTS, Resource, id, label, named, selection};
use crate::simulation::plan::Table;
use crate::simulation::tables::literal;

/// Parts by their ids.
type Parts = BTreeMap<String, Columns>;

impl World {
    /// Somebody does something to parts: what is done to related rows elsewhere, as far as these have it.
    pub(super) fn act(&mut self, act: Act) -> Result<(), String> {
        if !self.has_parts {
            return Ok(());
        }
        let parts = self.parts_of(act.by);
        let (place, other) = (usize::from(act.place), act.other);
        let at = place.checked_rem(parts.len());
        let at = at.and_then(|at| parts.iter().nth(at));
        let at = at.map(|(id, part)| (id.clone(), part.clone()));
        match (act.what, at) {
            (What::Make(_), _) => {
                let id = id(act.place);
                if parts.contains_key(&id) {
                    return Ok(());
                }
                let values = vec![
                    ("note", self.note_of(act.by, other)),
                    ("name", self.name_of(act.by)),
                    ("label", json!(label(other))),
                ];
                self.write_part(act.by, &id, None, values)
            }
            (What::Undo | What::Retry | What::Discard, _) => match act.by {
                Some(device) => self.of_user(device, act),
                None => Ok(()),
            },
            (_, None) => Ok(()),
            (What::Name(_), Some((id, part))) => {
                let name = self.name_of(act.by);
                self.write_part(act.by, &id, Some(&part), vec![("name", name)])
            }
            (What::Tag(_), Some((id, part))) => {
                let label = json!(label(other));
                self.write_part(act.by, &id, Some(&part), vec![("label", label)])
            }
            (What::Point(_), Some((id, part))) => {
                let note = self.note_of(act.by, other);
                self.write_part(act.by, &id, Some(&part), vec![("note", note)])
            }
            (What::Key(_), Some((id, part))) => {
                let values = vec![
                    ("note", self.note_of(act.by, other)),
                    ("name", self.name_of(act.by)),
                ];
                self.write_part(act.by, &id, Some(&part), values)
            }
            (What::Delete(_), Some((id, part))) => self.delete_part(act.by, &id, &part),
        }
    }

    /// Before an app deletes the note at a place, it does with the parts that point to it what the API would.
    pub(super) fn let_go(&mut self, device: usize, place: u8) -> Result<(), String> {
        let note = self.cast.devices[device]
            .file
            .at(Table::Notes, "true", place);
        let (true, Some((note, _))) = (self.has_parts, note) else {
            return Ok(());
        };
        let by = Some(device);
        let mut parts = self.parts_of(by);
        parts.retain(|_, part| part["note"] == note);
        for (id, part) in parts {
            let goes = match self.manner.relations {
                Relations::Loose => continue,
                Relations::Strict => place.is_multiple_of(2),
                Relations::Cascade => true,
                Relations::Clear => false,
            };
            if goes {
                self.delete_part(by, &id, &part)?;
            } else {
                self.write_part(by, &id, Some(&part), vec![("note", Json::Null)])?;
            }
        }
        Ok(())
    }

    /// What the API did to parts as a note was deleted, nobody could keep.
    pub(super) fn lose_parts(&mut self, meant: Option<&(Resource, String)>, before: Parts) {
        if meant.is_none_or(|(resource, _)| *resource == Resource::Parts) {
            return;
        }
        let after = self.api.rows(Resource::Parts);
        for (id, part) in before {
            if !after.contains_key(&id) {
                part.values().for_each(|value| self.cast.journal.see(value));
                self.cast.count("part gone with its note");
            }
        }
    }

    /// What must hold of them; all that is told of them goes into `places`.
    pub(super) fn check_parts(&mut self, places: &mut HashSet<String>) -> Result<(), String> {
        if !self.has_parts {
            return Ok(());
        }
        let there = self.api.rows(Resource::Parts);
        for device in 0..self.cast.devices.len() {
            let here = self.parts_of(Some(device));
            if here != there {
                return Err(unlike(device, PARTS, &here, &there));
            }
        }
        for (id, part) in &there {
            let beside = self.api.beside(Resource::Parts, id);
            if beside.is_some_and(|beside| beside != id) {
                return Err(format!("what {id} holds beside its columns is {beside:?}"));
            }
            part.values().for_each(|value| texts(value, places));
        }
        Ok(())
    }

    fn parts_of(&mut self, by: Option<usize>) -> Parts {
        let Some(device) = by else {
            return self.api.rows(Resource::Parts);
        };
        let lines = self.cast.devices[device].file.lines(&selection(), &[]);
        lines.iter().map(named).collect()
    }

    /// A note that a part may point to; none by some numbers.
    fn note_of(&mut self, by: Option<usize>, number: u8) -> Json {
        if number.is_multiple_of(5) {
            return Json::Null;
        }
        let note = match by {
            Some(device) => self.cast.devices[device]
                .file
                .at(Table::Notes, "true", number),
            None => self.at(Table::Notes, number),
        };
        json!(note.map(|(id, _)| id))
    }

    fn name_of(&mut self, by: Option<usize>) -> Json {
        self.cast.written += 1;
        let number = self.cast.written;
        let writer = by.map_or_else(|| "there".to_owned(), |device| format!("d{device}"));
        json!(format!("{writer}-part-{number}"))
    }

    /// Writes to a part, or makes it; a label that another one has is left out.
    fn write_part(
        &mut self,
        by: Option<usize>,
        id: &str,
        now: Option<&Columns>,
        mut values: Vec<(&'static str, Json)>,
    ) -> Result<(), String> {
        if by.is_none() || self.manner.is_unique_here {
            let others = self.parts_of(by);
            let is_taken = |value: &Json| {
                let mut others = others.iter().filter(|(other, _)| *other != id);
                !value.is_null() && others.any(|(_, part)| part["label"] == *value)
            };
            values.retain(|(name, value)| *name != "label" || !is_taken(value));
        }
        if values.is_empty() {
            return Ok(());
        }
        match by {
            None => self.api.set(Resource::Parts, id, &values),
            Some(device) => {
                let sql = sql(id, now.is_some(), &values);
                self.cast.devices[device].file.execute(&sql)?;
            }
        }
        let name = values.iter().find(|(name, _)| *name == "name");
        if let Some((_, value)) = name {
            let before = now.map_or(&Json::Null, |now| &now["name"]);
            let writer = by.map_or(Writer::There, Writer::Device);
            self.cast
                .journal
                .write_value(writer, (id, "name"), before, value);
        }
        self.cast.count("part written");
        Ok(())
    }

    fn delete_part(&mut self, by: Option<usize>, id: &str, part: &Columns) -> Result<(), String> {
        match by {
            None => drop(self.api.delete(Resource::Parts, id)),
            Some(device) => {
                let sql = format!("DELETE FROM {PARTS} WHERE id = '{id}'");
                self.cast.devices[device].file.execute(&sql)?;
            }
        }
        part.values().for_each(|value| self.cast.journal.see(value));
        Ok(())
    }

    /// A user takes an edit of a part back, or decides about a refused one.
    fn of_user(&mut self, device: usize, act: Act) -> Result<(), String> {
        let before = self.parts_of(Some(device));
        let host = &self.cast.devices[device];
        let client = host.client();
        let place = usize::from(act.place);
        if act.what == What::Undo {
            let mut pending = client.pending().map_err(|why| why.to_string())?;
            pending.retain(|edit| edit.table == PARTS);
            let Some(at) = place.checked_rem(pending.len()) else {
                return Ok(());
            };
            let id = &pending[at].id;
            match host.by_its_clock(|client| client.undo(PARTS, id)) {
                // Another part has the label that it had.
                Err(refused) if is_by_the_file(&refused) => return Ok(()),
                done => done.map_err(|why| format!("undo of {id}: {why}"))?,
            }
            self.cast.count("part undone");
        } else {
            let mut letters = client.dead_letters().map_err(|why| why.to_string())?;
            letters.retain(|letter| letter.table == PARTS);
            let Some(at) = place.checked_rem(letters.len()) else {
                return Ok(());
            };
            let letter = &letters[at];
            if act.what == What::Discard {
                let discard = host.by_its_clock(|client| client.discard_dead_letter(letter.number));
                discard.map_err(|why| format!("discard of {}: {why}", letter.id))?;
                let told = serde_json::to_value(&letter.edit).unwrap_or_default();
                self.cast.journal.see(&told);
                return Ok(());
            }
            match host.by_its_clock(|client| client.retry_dead_letter(letter.number)) {
                // After the next sync, or when no other part has its label.
                Err(Error::StartsOver(_) | Error::RowWaits(_)) => return Ok(()),
                Err(refused) if is_by_the_file(&refused) => return Ok(()),
                done => done.map_err(|why| format!("retry of {}: {why}", letter.id))?,
            }
            self.cast.count("refused part retried");
        }
        // What it replaced was in view.
        let after = self.parts_of(Some(device));
        for (id, part) in before {
            let now = after.get(&id).map_or(&Json::Null, |now| &now["name"]);
            if part["name"] != *now {
                self.cast.journal.see(&part["name"]);
            }
        }
        Ok(())
    }
}

fn sql(id: &str, is_there: bool, values: &[(&'static str, Json)]) -> String {
    let (names, values): (Vec<&str>, Vec<String>) = values
        .iter()
        .map(|(name, value)| (*name, literal(value)))
        .unzip();
    let (names, values) = (names.join(", "), values.join(", "));
    if is_there {
        format!("UPDATE {PARTS} SET ({names}) = ({values}) WHERE id = '{id}'")
    } else {
        format!("INSERT INTO {PARTS} (id, {names}) VALUES ('{id}', {values})")
    }
}
