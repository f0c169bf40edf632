//! Refused edits of rows that point to each other: made again, or given up.

use colsync_client::{Client, DeadLetter, Error, Pending};
use colsync_shared::Op;
use serde_json::{Value as Json, json};

use super::World;
use super::kin_write::Change;
use crate::simulation::device::is_by_the_file;
use crate::simulation::kin::{Act, Kind, Row, View};

/// What a user chooses of.
type Letter = (Kind, DeadLetter);

impl World {
    fn kin_letters(&self, device: usize) -> Vec<Letter> {
        let letters = self.cast.devices[device].client().dead_letters().unwrap();
        let of_kin = |letter: DeadLetter| Some((Kind::of_name(&letter.table)?, letter));
        letters.into_iter().filter_map(of_kin).collect()
    }

    fn kin_letter(&self, act: Act) -> Option<(usize, Letter)> {
        let device = act.by?;
        let mut letters = self.kin_letters(device);
        let at = usize::from(act.place).checked_rem(letters.len())?;
        Some((device, letters.swap_remove(at)))
    }

    /// A user has a refused edit made again, if there is one.
    pub(super) fn retry_kin(&mut self, view: &View, act: Act) -> Result<(), String> {
        let Some((device, (kind, letter))) = self.kin_letter(act) else {
            return Ok(());
        };
        // It would make a row of the columns that were edited, and without a mark. Its number is the server's, and the file
        // may call another row so.
        let mark = |view: &View| Some(view.under(kind, &letter.id)?["mark"].clone());
        let is_there = mark(view).is_some() && mark(view) == view.there().and_then(mark);
        // Nor is a row the server's that the app has made under its number, whatever it was made of.
        let pending = self.cast.devices[device].client().pending().unwrap();
        let is_new = |edit: &Pending| {
            edit.table == kind.name() && edit.id == letter.id && edit.op == Op::Insert
        };
        let is_there = is_there && !pending.iter().any(is_new);
        if !makes(&letter) && !is_there {
            return Ok(());
        }
        // Who has its tag gives that up for it.
        let tag = value(kind, &letter, "tag");
        let has_tag = |row: &&Row| !tag.is_null() && row.get("tag") == Some(&tag);
        if let Some(row) = view.of(kind).iter().find(has_tag) {
            self.write(act, kind, Change::Set(row, "tag", &Json::Null))?;
        }
        let retry = |client: Client| client.retry_dead_letter(letter.number);
        match self.cast.devices[device].by_its_clock(retry) {
            // It is to be tried after the next sync, or against what the app has by now.
            Err(Error::StartsOver(_) | Error::RowWaits(_)) => return Ok(()),
            Err(refused) if is_by_the_file(&refused) => return Ok(()),
            done => done.map_err(|why| format!("retry of {} {}: {why}", kind.name(), letter.id))?,
        }
        self.cast.count("refused related edit retried");
        // What it replaced was in view.
        let now = self.view(act.by);
        for kind in Kind::ALL {
            for row in view.of(kind) {
                let is_it = |now: &&_| kind.is_same(row, now);
                match now.of(kind).iter().find(is_it) {
                    None => self.forget(view, kind, row, true),
                    Some(now) => self.replace(view, kind, row, now),
                }
            }
        }
        Ok(())
    }

    /// A user gives a refused edit up, if there is one.
    pub(super) fn discard_kin(&mut self, view: &View, act: Act) -> Result<(), String> {
        match self.kin_letter(act) {
            None => Ok(()),
            Some((device, letter)) => self.discard(view, device, &letter),
        }
    }

    fn discard(
        &mut self,
        view: &View,
        device: usize,
        (kind, letter): &Letter,
    ) -> Result<(), String> {
        let discard = |client: Client| client.discard_dead_letter(letter.number);
        let done = self.cast.devices[device].by_its_clock(discard);
        done.map_err(|why| format!("discard of {} {}: {why}", kind.name(), letter.id))?;
        self.cast.count("refused related edit given up");
        self.cast.journal.see(&letter.edit);
        let named = || view.named(*kind, &letter.id);
        let identity = match kind {
            Kind::Owners | Kind::Pets => letter.edit["columns"]["mark"]["value"]
                .as_str()
                .map(str::to_owned)
                .or_else(named),
            Kind::Walks | Kind::Labels => named(),
        };
        let Some(identity) = identity else {
            return Ok(());
        };
        for column in kind.columns() {
            let value = value(*kind, letter, column.name);
            let pointer = view.pointer(*kind, &identity, column.name, &value);
            pointer
                .iter()
                .for_each(|pointer| self.cast.journal.see(&json!(pointer)));
        }
        if makes(letter) {
            self.kin.delete(*kind, &identity);
            let number = letter.id.parse().ok().filter(|_| kind.is_numbered());
            if let Some(number) = number {
                self.kin.give_up(*kind, number, &identity);
            }
            // Nothing can point to it any more.
            let to_it = format!("={identity}");
            let pointers = self.kin.pointers.iter();
            let to_it = pointers.filter(|pointer| pointer.ends_with(&to_it));
            to_it.for_each(|pointer| self.cast.journal.see(&json!(pointer)));
        }
        Ok(())
    }

    /// Refused new rows are given up where others of their device wait for them; whether there were any.
    pub(super) fn give_up(&mut self) -> Result<bool, String> {
        let mut any = false;
        for device in 0..self.cast.devices.len() {
            let waiting = "SELECT json_array(count(*)) FROM colsync_log";
            if self.cast.devices[device].file.lines(waiting, &[])[0] == json!([0]) {
                continue;
            }
            let mut letters = self.kin_letters(device);
            letters.retain(|(_, letter)| makes(letter));
            for letter in letters {
                let view = self.view(Some(device));
                self.discard(&view, device, &letter)?;
                any = true;
            }
        }
        Ok(any)
    }
}

/// Whether it makes a row.
fn makes(letter: &DeadLetter) -> bool {
    let is_new = letter.edit["base_version"].as_i64().unwrap_or(0) == 0;
    letter.edit["op"] == json!("insert") || (letter.edit["op"] == json!("replace") && is_new)
}

/// What a refused edit says of a column; where that is a number of the row's key, its id says so.
pub(super) fn value(kind: Kind, letter: &DeadLetter, name: &str) -> Json {
    let at = kind.key().iter().position(|column| column.name == name);
    let part = at.and_then(|at| letter.id.split(',').nth(at)?.parse::<i64>().ok());
    part.map_or_else(|| letter.edit["columns"][name]["value"].clone(), Json::from)
}
