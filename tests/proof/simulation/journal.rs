//! What was written where, what was in view when it was written over, and what nobody could have kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;

use super::database::Columns;
use super::plan::Table;
use super::tables::Rule;

/// Who wrote a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Device(usize),
    /// A program that talks to the server, or to its database.
    There,
}

/// A value that no other write has.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) text: String,
    pub(super) writer: Writer,
    pub(super) place: String,
}

/// All that was written in a simulation.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) written: Vec<Mark>,
    /// Values that stood in view of whoever replaced or deleted them.
    pub(super) seen: HashSet<String>,
    /// What a group of columns held after a write, as its writer had it.
    wholes: HashSet<(Table, String)>,
    /// Values that the server has accepted.
    pub(super) accepted: HashSet<String>,
    /// Values that a copy put back took with it.
    excused: HashSet<String>,
    /// Devices whose files are, or were, copies: they keep no pushes from before to send them again.
    copies: BTreeSet<usize>,
    /// Whether the server has lost what it had accepted.
    is_restored: bool,
    /// Rows that were made, and rows that anyone deleted.
    made: BTreeSet<(Table, String)>,
    deleted: BTreeSet<(Table, String)>,
    /// What apps have added to counters.
    counted: BTreeMap<String, i64>,
    /// Rows whose counter cannot be told from that.
    uncountable: HashSet<String>,
}

impl Journal {
    /// A value is written over another: what of that is not in it was in view and is replaced.
    pub(super) fn write_value(
        &mut self,
        writer: Writer,
        (id, column): (&str, &str),
        over: &Json,
        value: &Json,
    ) {
        let (mut before, mut now) = (HashSet::new(), HashSet::new());
        texts(over, &mut before);
        texts(value, &mut now);
        self.seen.extend(before.difference(&now).cloned());
        let mut new: Vec<String> = now.difference(&before).cloned().collect();
        new.retain(|text| !text.contains(' '));
        new.sort_unstable();
        self.written.extend(new.into_iter().map(|text| Mark {
            text,
            writer,
            place: format!("{id}.{column}"),
        }));
    }

    /// `values` are written over what a row has now.
    pub(super) fn write_row(
        &mut self,
        writer: Writer,
        (table, id): (Table, &str),
        now: &Columns,
        values: &[(&'static str, Json)],
    ) {
        for (name, value) in values {
            let before = now.get(name).unwrap_or(&Json::Null);
            if table.rule(name) == Rule::Count {
                let number = |value: &Json| value.as_i64().unwrap_or(0);
                self.count(id, number(value) - number(before));
            } else {
                self.write_value(writer, (id, name), before, value);
            }
        }
        let mut now = now.clone();
        now.extend(values.iter().cloned());
        self.whole(table, &now);
    }

    /// As [`Journal::write_row`], of a write that had these columns not in view, and whose writer does not end what it
    /// replaces there.
    pub(super) fn write_over_unseen(
        &mut self,
        writer: Writer,
        row: (Table, &str),
        (now, unseen): (&Columns, &[&'static str]),
        values: &[(&'static str, Json)],
    ) {
        let mut kept = HashSet::new();
        for name in unseen {
            texts(now.get(name).unwrap_or(&Json::Null), &mut kept);
        }
        kept.retain(|text| !self.seen.contains(text));
        self.write_row(writer, row, now, values);
        self.seen.retain(|text| !kept.contains(text));
    }

    /// Somebody has the group of a row so.
    pub(super) fn whole(&mut self, table: Table, row: &Columns) {
        self.wholes.insert((table, group_of(table, row)));
    }

    /// Whether nobody ever had a group so: its values are a mixture of several writers' ones.
    pub(super) fn is_mixture(&self, table: Table, group: &str) -> bool {
        !self.wholes.contains(&(table, group.to_owned()))
    }

    /// A value is in view of whoever ends it.
    pub(super) fn see(&mut self, value: &Json) {
        texts(value, &mut self.seen);
    }

    /// The server has accepted all texts within `body`.
    pub(super) fn accept(&mut self, body: &Json) {
        texts(body, &mut self.accepted);
    }

    pub(super) fn make(&mut self, table: Table, id: &str) {
        if !self.made.insert((table, id.to_owned())) {
            self.uncountable.insert(id.to_owned());
        }
    }

    pub(super) fn delete(&mut self, table: Table, id: &str) {
        self.deleted.insert((table, id.to_owned()));
        self.uncountable.insert(id.to_owned());
    }

    /// What was counted in a row cannot be told from now on.
    pub(super) fn lose_count(&mut self, id: &str) {
        self.uncountable.insert(id.to_owned());
    }

    pub(super) fn count(&mut self, id: &str, added: i64) {
        *self.counted.entry(id.to_owned()).or_default() += added;
    }

    /// How much was written so far.
    pub(super) fn now(&self) -> usize {
        self.written.len()
    }

    /// A file is put back to where it was when so much was written: what it had beside that is gone, but for what
    /// the server has.
    pub(super) fn put_back(&mut self, device: usize, since: usize) {
        self.copies.insert(device);
        self.lose(Writer::Device(device), since, self.is_restored);
    }

    /// Another file is a copy of this device's.
    pub(super) fn is_copied(&mut self, device: usize) {
        self.copies.insert(device);
    }

    /// What `writer` has written since then is gone, but for what the server has accepted.
    pub(super) fn was_not_accepted(&mut self, writer: Writer, since: usize) {
        self.lose(writer, since, false);
    }

    /// What `writer` has written since then is gone, also what the server has accepted, or but for that.
    fn lose(&mut self, writer: Writer, since: usize, also_accepted: bool) {
        let gone = self.written.iter().skip(since).filter(|mark| {
            mark.writer == writer && (also_accepted || !self.accepted.contains(&mark.text))
        });
        self.excused.extend(gone.map(|mark| mark.text.clone()));
    }

    /// The server's database is put back: what programs had written there since is nowhere else. Nor is what devices had,
    /// where that is so long ago that they have their pushes no more.
    pub(super) fn restore(&mut self, since: usize, is_long_ago: bool) {
        self.is_restored = true;
        let written = self.written.iter().enumerate();
        let gone = written.filter(|(at, mark)| match mark.writer {
            Writer::There => *at >= since,
            Writer::Device(device) => is_long_ago || self.copies.contains(&device),
        });
        self.excused.extend(gone.map(|(_, mark)| mark.text.clone()));
    }

    /// Whether a copy that was put back may have taken a value with it.
    pub(super) fn is_excused(&self, text: &str) -> bool {
        self.excused.contains(text)
    }

    /// Values that are in none of `places`, nor otherwise accounted for.
    pub(super) fn vanished(&self, places: &HashSet<String>) -> Vec<&Mark> {
        let known = |text: &String| {
            places.contains(text) || self.seen.contains(text) || self.excused.contains(text)
        };
        self.written
            .iter()
            .filter(|mark| !known(&mark.text))
            .collect()
    }

    /// Rows that nobody deleted.
    pub(super) fn kept(&self) -> impl Iterator<Item = &(Table, String)> {
        self.made.difference(&self.deleted)
    }

    /// What the counters of rows should have come to, where that can be told.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&String, i64)> {
        let told = self
            .counted
            .iter()
            .filter(|(id, _)| !self.uncountable.contains(*id));
        told.map(|(id, sum)| (id, *sum))
    }
}

/// The values of a row's group, as SQLite's `json_array` writes them.
pub(super) fn group_of(table: Table, row: &Columns) -> String {
    let (_, members) = table.group();
    let values = members.map(|name| row.get(name).cloned().unwrap_or_default());
    Json::from(values.to_vec()).to_string()
}

/// Every text within `json`, and every word of it.
pub(super) fn texts(json: &Json, into: &mut HashSet<String>) {
    match json {
        // A document, in a column of which the server did not know that it has some.
        Json::String(text) if text.starts_with(['[', '{']) => {
            into.insert(text.clone());
            texts(&serde_json::from_str(text).unwrap_or_default(), into);
        }
        Json::String(text) => {
            into.extend(text.split(' ').map(str::to_owned));
            into.insert(text.clone());
        }
        Json::Array(items) => items.iter().for_each(|item| texts(item, into)),
        Json::Object(members) => members.values().for_each(|member| texts(member, into)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// What a device has otherwise than the other side.
pub(super) fn unlike(
    number: usize,
    table: &str,
    here: &BTreeMap<String, Columns>,
    there: &BTreeMap<String, Columns>,
) -> String {
    let ids: HashSet<&String> = here.keys().chain(there.keys()).collect();
    let rows = ids.into_iter().filter(|id| here.get(*id) != there.get(*id));
    let rows = rows.map(|id| {
        let (here, there) = (here.get(id), there.get(id));
        format!("{id}\n  here {here:?}\n  there {there:?}")
    });
    let rows: Vec<String> = rows.collect();
    format!(
        "device {number} has other {table} than the server:\n{}",
        rows.join("\n")
    )
}
