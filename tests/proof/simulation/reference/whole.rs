//! A whole row in place of another: ADR 0017. It is decided as one, by its table's row policy.

use super::Cell;
use super::column::{Became, is_by, saw};
use super::row::{Columns, Merging};

impl Merging<'_> {
    /// What it tells of its columns, and whether any has changed.
    pub(super) fn replace(&mut self) -> (Columns, bool) {
        let stamp = self.stamp(self.whole);
        let seen = |told: Option<bool>, cell: &Cell| {
            // Without a version it has seen what was written before it.
            let is_earlier = cell.stamp.as_ref().is_some_and(|known| *known <= stamp);
            told.unwrap_or(self.base.is_none() && is_earlier)
        };
        let sent = self.edit["columns"].as_object().unwrap();
        let is_seen = |name: &str| {
            let cell = &self.row.cells[name];
            seen(self.saw(name, cell), cell)
        };
        let differs = |name: &str| sent[name]["value"] != self.row.cells[name].value;
        let all = self.table.columns().iter().map(|column| column.name);
        let named: Vec<&'static str> = all.filter(|name| sent.contains_key(*name)).collect();

        let was_deleted = self.is_deleted();
        let flag = &self.row.deleted;
        let flag = saw(flag.version, self.base, self.before, &self.own.versions);
        let delete_unseen =
            was_deleted && !self.saw_delete(self.base) && !seen(flag, &self.row.deleted);
        let any_differs = named.iter().any(|name| differs(name));
        let any_unseen = self.row.cells.keys().any(|name| !is_seen(name));
        let is_conflict = delete_unseen || (any_differs && any_unseen);
        let stamps = self.row.cells.values().map(|cell| &cell.stamp);
        let newest = stamps.chain([&self.row.deleted.stamp]).flatten().max();
        let is_latest = newest.is_none_or(|newest| stamp >= *newest);
        let wins = !is_conflict || (self.table.takes_later_rows() && is_latest);
        // Beneath a tombstone there may be values that nobody told of.
        let replaces_unseen = named.iter().any(|name| differs(name) && !is_seen(name));
        // And where the table says so, those that a bare write replaces are told as well.
        let is_recorded = |name: &str| {
            let cell = &self.row.cells[name];
            cell.version > 0 && !is_by(cell.stamp.as_ref(), &stamp.1)
        };
        let records = self.table.records() && self.base.is_none();
        let replaces_recorded =
            records && named.iter().any(|name| differs(name) && is_recorded(name));
        let replaces = replaces_unseen || replaces_recorded;
        let entries = usize::from(is_conflict)
            + usize::from(wins && replaces && (!is_conflict || was_deleted));

        let after = |known: Option<i64>| known.map_or(stamp.0, |time| stamp.0.max(time + 1));
        let became = |name: &&'static str| {
            let current = &self.row.cells[*name];
            let time = current.stamp.as_ref().map(|(time, _)| *time);
            let (outcome, cell) = match (differs(name), wins) {
                (true, true) => {
                    let is_told = self.saw(name, current);
                    let time = if is_told == Some(true) {
                        after(time)
                    } else {
                        stamp.0
                    };
                    let cell = Cell {
                        value: sent[*name]["value"].clone(),
                        stamp: Some((time, stamp.1.clone())),
                        version: self.before + 1,
                    };
                    ("applied", cell)
                }
                (true, false) => ("superseded", current.clone()),
                (false, true) => {
                    let is_later = current.stamp.as_ref().is_none_or(|known| *known < stamp);
                    let stamp = if is_later {
                        Some(stamp.clone())
                    } else {
                        current.stamp.clone()
                    };
                    (
                        "unchanged",
                        Cell {
                            stamp,
                            ..current.clone()
                        },
                    )
                }
                (false, false) => ("unchanged", current.clone()),
            };
            (*name, true, Became::of(outcome, cell))
        };
        let mut all: Vec<_> = named.iter().map(became).collect();
        self.level(&mut all);
        let flag = self.row.deleted.stamp.as_ref().map(|(time, _)| *time);
        let revived = (was_deleted && wins).then(|| (after(flag), stamp.1.clone()));
        let (columns, mut changed, _) = self.put(all);
        if let Some(stamp) = revived {
            self.set_deleted(false, stamp);
            changed = true;
        }
        for _ in 0..entries {
            self.about_the_row("row");
        }
        (columns, changed)
    }

    /// What becomes of one of a group becomes of all of it.
    fn level(&self, all: &mut [(&'static str, bool, Became)]) {
        let (_, members) = self.table.group();
        let of_group = |name: &str| members.contains(&name);
        let told = all
            .iter()
            .filter(|(name, _, became)| of_group(name) && became.outcome != "unchanged");
        let told: Vec<_> = told
            .map(|(_, _, became)| (became.outcome, became.cell.stamp.clone()))
            .collect();
        let Some((outcome, _)) = told.first() else {
            return;
        };
        let latest = told.iter().map(|(_, stamp)| stamp.clone()).max().flatten();
        for (_, _, became) in all.iter_mut().filter(|(name, ..)| of_group(name)) {
            became.outcome = outcome;
            if *outcome == "applied" {
                became.cell.stamp.clone_from(&latest);
                became.cell.version = self.before + 1;
            }
        }
    }
}
