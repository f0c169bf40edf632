//! Rows that point to each other: what is done to them.

use colsync_client::Client;
use serde_json::{Value as Json, json};

use super::World;
use super::kin_write::Change;
use super::there::IS_ALIVE;
use crate::simulation::database::Database;
use crate::simulation::journal::Writer;
use crate::simulation::kin::{Act, Kind, Row, View, What};

/// Keys that labels may have.
const CODES: u8 = 12;
/// Numbers that the server gives after a backup was put back are higher than this.
const NUMBERS: u64 = 10_000_000;

impl World {
    pub(super) fn kin_file(&mut self, by: Option<usize>) -> (&mut Database, &'static str) {
        match by {
            Some(device) => (&mut self.cast.devices[device].file, "true"),
            None => (&mut self.server.database, IS_ALIVE),
        }
    }

    /// What a writer has in view, beside what the server has, its tombstones, too, and what it was refused.
    pub(super) fn view(&mut self, by: Option<usize>) -> View {
        let mut there = self.kin.there(&mut self.server.database);
        let (file, is_alive) = self.kin_file(by);
        if by.is_some() {
            let sql = "SELECT json_array(table_name, id, edit -> '$.columns.mark.value') FROM colsync_dead_letters";
            for letter in file.lines(sql, &[]) {
                let kind = letter[0].as_str().and_then(Kind::of_name);
                let number = letter[1].as_str().and_then(|id| id.parse().ok());
                let mark = letter[2].as_str();
                if let (Some(kind), Some(number), Some(mark)) = (kind, number, mark) {
                    there.remember_gone(kind, number, mark);
                }
            }
        }
        View::read(file, is_alive).beside(there)
    }

    /// Somebody does something to them; nothing where it has no meaning.
    pub(super) fn act(&mut self, act: Act) -> Result<(), String> {
        let view = self.view(act.by);
        self.cast.written += 1;
        match act.what {
            What::Make(kind) => self.make(&view, act, kind),
            What::Name(kind) => {
                let name = self.text(act);
                self.set(&view, act, kind, ("name", name))
            }
            What::Tag(kind) => self.tag(&view, act, kind),
            What::Point(kind) => {
                let columns = kind.columns().iter();
                let name = match kind {
                    Kind::Owners => "favourite",
                    Kind::Pets if act.other.is_multiple_of(2) => "mother",
                    Kind::Pets => "owner",
                    Kind::Labels => "pet",
                    // Theirs is their key.
                    Kind::Walks => return Ok(()),
                };
                let target = columns.filter(|c| c.name == name).find_map(|c| c.target);
                let number = one_of(&view, target.unwrap(), act.other);
                self.set(&view, act, kind, (name, number))
            }
            What::Key(kind) => self.key(&view, act, kind),
            What::Undo => self.undo_kin(&view, act),
            What::Retry => self.retry_kin(&view, act),
            What::Discard => self.discard_kin(&view, act),
            What::Delete(kind) => {
                let Some(row) = view.at(kind, act.place) else {
                    return Ok(());
                };
                if view.is_pointed_to(kind, row) || view.is_unclear(kind, row) {
                    return Ok(());
                }
                if self.write(act, kind, Change::End(row))? {
                    self.forget(&view, kind, row, true);
                }
                Ok(())
            }
        }
    }

    fn undo_kin(&mut self, view: &View, act: Act) -> Result<(), String> {
        let Some(device) = act.by else {
            return Ok(());
        };
        let mut pending = self.cast.devices[device]
            .client()
            .pending()
            .map_err(|why| why.to_string())?;
        pending.retain(|edit| Kind::of_name(&edit.table).is_some());
        let Some(at) = usize::from(act.place).checked_rem(pending.len()) else {
            return Ok(());
        };
        let edit = pending.swap_remove(at);
        let kind = Kind::of_name(&edit.table).unwrap();
        let row = view.under(kind, &edit.id);
        if row.is_some_and(|row| view.is_pointed_to(kind, row)) {
            return Ok(());
        }
        let undo = |client: Client| client.undo(kind.name(), &edit.id);
        match self.cast.devices[device].by_its_clock(undo) {
            // Another row has its tag by now.
            Err(refused) if refused.to_string().contains("UNIQUE") => return Ok(()),
            done => done.map_err(|why| format!("undo of {} {}: {why}", kind.name(), edit.id))?,
        }
        self.cast.count("related row undone");
        if let Some(row) = row {
            self.forget(view, kind, row, true);
        }
        Ok(())
    }

    /// A text that nobody has written before.
    fn text(&self, act: Act) -> Json {
        let by = act
            .by
            .map_or("there".to_owned(), |device| format!("d{device}"));
        json!(format!("k-{by}-{}", self.cast.written))
    }

    fn make(&mut self, view: &View, act: Act, kind: Kind) -> Result<(), String> {
        let mark = self.text(act);
        self.cast.written += 1;
        let mut row = Row::from([("mark", mark), ("name", self.text(act))]);
        match kind {
            Kind::Owners => {
                if act.other.is_multiple_of(3) {
                    row.insert("favourite", one_of(view, Kind::Pets, act.other));
                }
                if act.other.is_multiple_of(2) {
                    row.insert("tag", tag(act.place));
                }
            }
            Kind::Pets => {
                row.insert("owner", one_of(view, Kind::Owners, act.place));
                if act.other.is_multiple_of(3) {
                    row.insert("mother", one_of(view, Kind::Pets, act.other));
                }
                if act.other.is_multiple_of(7) {
                    // It is its own.
                    let next = json!(self.number(1_000));
                    row.extend([("id", next.clone()), ("mother", next)]);
                }
            }
            Kind::Walks => {
                row.insert("owner", one_of(view, Kind::Owners, act.place));
                row.insert("pet", one_of(view, Kind::Pets, act.other));
                if row["owner"].is_null() || row["pet"].is_null() {
                    return Ok(());
                }
            }
            Kind::Labels => {
                row.insert("code", code(act.place));
                row.insert("pet", one_of(view, Kind::Pets, act.other));
                if act.other.is_multiple_of(2) {
                    row.insert("tag", tag(act.place));
                }
            }
        }
        if has_key(met(view, act), kind, &row) {
            return Ok(());
        }
        if act.by.is_some() && kind.is_numbered() && !row.contains_key("id") {
            // What points to a row that is gone is not to meet this one in its app's own file.
            let free = view.free(kind);
            row.extend(free.map(|number| ("id", json!(number))));
        }
        if !self.write(act, kind, Change::Make(&row))? {
            return Ok(());
        }
        // What it is called by is known when it is there.
        let now = self.view(act.by);
        let is_made = |known: &&Row| known["mark"] == row["mark"];
        let row = now.of(kind).iter().find(is_made).unwrap();
        self.mean(&now, act, kind, row);
        Ok(())
    }

    /// A row is meant to be as it is.
    fn mean(&mut self, view: &View, act: Act, kind: Kind, row: &Row) {
        let Some(identity) = view.identity(kind, row) else {
            return;
        };
        let writer = act.by.map_or(Writer::There, Writer::Device);
        self.kin.make(kind, &identity);
        for name in ["mark", "name"] {
            self.cast
                .journal
                .write_value(writer, (&identity, name), &Json::Null, &row[name]);
        }
        for pointer in view.pointers(kind, &identity, row) {
            self.point(writer, &identity, pointer);
        }
    }

    fn point(&mut self, writer: Writer, identity: &str, pointer: String) {
        self.kin.pointers.insert(pointer.clone());
        self.cast
            .journal
            .write_value(writer, (identity, "pointer"), &Json::Null, &json!(pointer));
    }

    /// A row's values are in view of whoever ends it or, without its texts, gives it another key.
    pub(super) fn forget(&mut self, view: &View, kind: Kind, row: &Row, is_its_end: bool) {
        let Some(identity) = view.identity(kind, row) else {
            return;
        };
        self.kin.delete(kind, &identity);
        for column in kind.columns() {
            if column.target.is_some() {
                self.see(view, kind, &identity, (column.name, &row[column.name]));
            } else if is_its_end {
                self.cast.journal.see(&row[column.name]);
            }
        }
    }

    /// What a row has no more is in view of whoever makes it what it is `now`.
    pub(super) fn replace(&mut self, view: &View, kind: Kind, row: &Row, now: &Row) {
        let Some(identity) = view.identity(kind, row) else {
            return;
        };
        for column in kind.columns() {
            let before = &row[column.name];
            if *before == now[column.name] {
                continue;
            }
            if column.target.is_some() {
                self.see(view, kind, &identity, (column.name, before));
            } else {
                self.cast.journal.see(before);
            }
        }
    }

    /// What a column points to is in view of whoever replaces it.
    fn see(&mut self, view: &View, kind: Kind, identity: &str, (name, number): (&str, &Json)) {
        if number.is_null() {
            return;
        }
        if let Some(pointer) = view.pointer(kind, identity, name, number) {
            self.cast.journal.see(&json!(pointer));
        }
        // The row that it points to may be gone from there, and another have its number.
        let of_column = format!("{identity}.{name}=");
        let all = self.kin.pointers.iter();
        let to_gone = all.filter(|pointer| {
            let to = pointer.strip_prefix(&of_column);
            to.is_some_and(|to| self.kin.has_deleted(to))
        });
        to_gone.for_each(|pointer| self.cast.journal.see(&json!(pointer)));
    }

    fn set(
        &mut self,
        view: &View,
        act: Act,
        kind: Kind,
        (name, value): (&'static str, Json),
    ) -> Result<(), String> {
        let Some(row) = view.at(kind, act.place) else {
            return Ok(());
        };
        let Some(identity) = view.identity(kind, row) else {
            return Ok(());
        };
        let is_pointer = name != "name" || kind == Kind::Walks;
        if row[name] == value || (is_pointer && view.is_unclear(kind, row)) {
            return Ok(());
        }
        if !self.write(act, kind, Change::Set(row, name, &value))? {
            return Ok(());
        }
        let writer = act.by.map_or(Writer::There, Writer::Device);
        if name == "name" {
            self.cast
                .journal
                .write_value(writer, (&identity, name), &row[name], &value);
            return Ok(());
        }
        self.see(view, kind, &identity, (name, &row[name]));
        if let Some(pointer) = view.pointer(kind, &identity, name, &value) {
            self.point(writer, &identity, pointer);
        }
        Ok(())
    }

    fn tag(&mut self, view: &View, act: Act, kind: Kind) -> Result<(), String> {
        let Some(row) = view.at(kind, act.place) else {
            return Ok(());
        };
        if self.write(act, kind, Change::Set(row, "tag", &tag(act.other)))? {
            self.cast.count("unique value written");
        }
        Ok(())
    }

    /// What an operator does who puts a backup back: numbers that were given since it was made are not given again.
    pub(super) fn skip_given_numbers(&mut self) -> Result<(), String> {
        // Those that were given since it was last done, too, though nothing else was written.
        self.cast.written += 1;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_numbered()) {
            let next = self.number(NUMBERS);
            self.server.database.count_from(kind.name(), next)?;
        }
        Ok(())
    }

    /// A number that nothing was called by so far.
    fn number(&self, from: u64) -> u64 {
        from + self.cast.written * 100
    }

    /// Gives a row another key, if there is a free one.
    fn key(&mut self, view: &View, act: Act, kind: Kind) -> Result<(), String> {
        let Some(row) = view.at(kind, act.place) else {
            return Ok(());
        };
        let (name, value) = match kind {
            Kind::Labels => ("code", code(act.other)),
            Kind::Walks => ("pet", one_of(view, Kind::Pets, act.other)),
            Kind::Owners | Kind::Pets => ("id", json!(self.number(1_000))),
        };
        let mut now = row.clone();
        now.insert(name, value);
        let is_free = !now[name].is_null() && !has_key(met(view, act), kind, &now);
        if !is_free || view.is_pointed_to(kind, row) || view.is_unclear(kind, row) {
            return Ok(());
        }
        if !self.write(act, kind, Change::Set(row, name, &now[name]))? {
            return Ok(());
        }
        self.cast.count("key changed");
        self.forget(view, kind, row, false);
        let after = self.view(act.by);
        self.mean(&after, act, kind, &now);
        Ok(())
    }
}

/// A tag, or now and then none.
fn tag(number: u8) -> Json {
    match number % 8 {
        0 => Json::Null,
        number => json!(format!("tag{number}")),
    }
}

fn code(number: u8) -> Json {
    json!(format!("code{}", number % CODES))
}

/// The number of a row, or now and then none.
fn one_of(view: &View, kind: Kind, place: u8) -> Json {
    match view.at(kind, place) {
        Some(row) if !place.is_multiple_of(5) => row["id"].clone(),
        Some(_) | None => Json::Null,
    }
}

/// The rows that a writer's keys meet: a program at the server meets tombstones, too.
fn met(view: &View, act: Act) -> &View {
    let there = view.there().filter(|_| act.by.is_none());
    there.unwrap_or(view)
}

/// Whether a row has this one's key already.
fn has_key(view: &View, kind: Kind, row: &Row) -> bool {
    let mut parts = kind.key().iter();
    parts.all(|column| row.contains_key(column.name))
        && view.of(kind).iter().any(|known| kind.is_same(known, row))
}
