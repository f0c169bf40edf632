//! What is done to parts, and what must hold of them.

use std::collections::{BTreeMap, HashSet};

use colsync_client::Error;
use serde_json::{Value as Json, json};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::device::is_by_the_file;
use crate::simulation::journal::{Writer, unlike};
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
        let (id, now) = match (act.what, at, act.by) {
            (What::Undo | What::Retry | What::Discard, _, by) => {
                return by.map_or(Ok(()), |device| self.of_user(device, act));
            }
            (What::Make(_), _, _) => (id(act.place), None),
            (_, None, _) => return Ok(()),
            (What::Delete(_), Some((id, part)), by) => return self.delete_part(by, &id, &part),
            (_, Some((id, part)), _) => (id, Some(part)),
        };
        if now.is_none() && parts.contains_key(&id) {
            return Ok(());
        }
        let mut values = Vec::new();
        if matches!(act.what, What::Make(_) | What::Point(_) | What::Key(_)) {
            values.push(("note", self.note_of(act.by, other)));
        }
        if matches!(act.what, What::Make(_) | What::Name(_) | What::Key(_)) {
            values.push(("name", self.name_of(act.by)));
        }
        if matches!(act.what, What::Make(_) | What::Tag(_)) {
            values.push(("label", json!(label(other))));
        }
        self.write_part(act.by, &id, now.as_ref(), values)
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
    pub(super) fn lose_parts(&mut self) {
        for part in std::mem::take(&mut self.api.gone) {
            part.values().for_each(|value| self.cast.journal.see(value));
            self.cast.count("part gone with its note");
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
        self.look_at(Resource::Parts, &there, places)
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
