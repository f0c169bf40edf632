//! The columns of a group in an edit: ADR 0015. Its stamp and version are the latest among those of its columns, which
//! an edit makes the same; only SQL changes one alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::column::{Became, Wanted, is_by, saw};
use super::{Cell, Own, Row, Stamp};
use crate::simulation::plan::Table;
use crate::simulation::tables::Rule;

/// An edit's columns of a group, by name.
pub(super) type Named<'a> = Vec<(&'static str, Wanted<'a>)>;

/// What becomes of a group.
pub(super) struct Group {
    pub(super) outcome: &'static str,
    pub(super) cells: Vec<(&'static str, Cell)>,
    /// The values that lost, by name.
    pub(super) lost: Option<Json>,
}

impl Group {
    /// Its values by name.
    pub(super) fn values(&self) -> Json {
        let values = self.cells.iter();
        let values = values.map(|(name, cell)| ((*name).to_owned(), cell.value.clone()));
        Json::Object(values.collect())
    }
}

impl Row {
    /// A row as it was made, or as it is in the database.
    pub(crate) fn of(
        table: Table,
        (version, birth): (i64, i64),
        deleted: Cell,
        cells: BTreeMap<&'static str, Cell>,
    ) -> Row {
        let (_, members) = table.group();
        let since = members.map(|name| (name, cells[name].version));
        Row {
            version,
            birth,
            made: deleted.stamp.clone(),
            deleted,
            cells,
            since: since.into(),
        }
    }

    /// Version and stamp of the table's group.
    pub(super) fn of_group(&self, table: Table) -> (i64, Option<Stamp>) {
        let cells = self.members(table).map(|(_, cell)| cell);
        let version = cells.iter().map(|cell| cell.version).max();
        let stamp = cells.iter().map(|cell| cell.stamp.clone()).max();
        (version.unwrap_or(0), stamp.flatten())
    }

    /// The columns of the table's group.
    fn members(&self, table: Table) -> [(&'static str, &Cell); 2] {
        let (_, members) = table.group();
        members.map(|name| (name, &self.cells[name]))
    }
}

/// Merges the columns that an edit names of the table's group; it names one at the least.
pub(super) fn merge(rule: Rule, table: Table, row: &Row, edit: &Named<'_>, own: &Own) -> Group {
    let members = row.members(table);
    let (_, stamp) = &row.of_group(table);
    let wanted = |name: &str| edit.iter().find(|(named, _)| *named == name);
    let edits = || edit.iter().map(|(_, wanted)| wanted);
    let latest = edits().map(|wanted| wanted.stamp.clone()).max().unwrap();
    // At the oldest version that it tells of any part.
    let base_version = edits().filter_map(|wanted| wanted.base_version).min();
    // Each of its columns by its base value, or by the oldest version.
    let in_view = members.iter().all(|(name, cell)| {
        wanted(name).is_some_and(|(_, wanted)| wanted.base == Some(&cell.value))
            || saw(cell.version, base_version, row.version, own.of(name)) == Some(true)
    });
    let is_bare = base_version.is_none() && edits().all(|wanted| wanted.base.is_none());

    let is_known = |name: &str, cell: &Cell| {
        wanted(name).is_some()
            || saw(cell.version, base_version, row.version, own.of(name)) == Some(true)
    };
    let is_whole = members.iter().all(|(name, cell)| is_known(name, cell));
    let as_they_are = || -> Vec<(&'static str, Cell)> {
        let cells = members.iter();
        cells.map(|(name, cell)| (*name, (*cell).clone())).collect()
    };
    let is_there =
        |(name, wanted): &(&'static str, Wanted<'_>)| row.cells[name].value == *wanted.value;
    if edit.iter().all(is_there) {
        let is_later = stamp.as_ref().is_none_or(|stamp| *stamp < latest);
        let mut cells = as_they_are();
        // What it leaves out may have changed since, and is not its writer's.
        if is_later && (is_whole || is_bare) {
            // The group's stamp is the latest among its columns'.
            let named = cells.iter_mut().filter(|(name, _)| wanted(name).is_some());
            named.for_each(|(_, cell)| cell.stamp = Some(latest.clone()));
        }
        return Group {
            outcome: "unchanged",
            cells,
            lost: None,
        };
    }
    let next = row.version + 1;
    let applied = |stamp: Stamp, lost: Option<Json>| {
        let cells = members.iter().map(|(name, cell)| {
            let value = wanted(name).map_or(&cell.value, |(_, wanted)| wanted.value);
            let cell = Cell {
                value: value.clone(),
                stamp: Some(stamp.clone()),
                version: next,
            };
            (*name, cell)
        });
        Group {
            outcome: "applied",
            cells: cells.collect(),
            lost,
        }
    };
    if in_view {
        let after = stamp.as_ref().map_or(i64::MIN, |(time, _)| time + 1);
        return applied((latest.0.max(after), latest.1), None);
    }
    let take = |stamp: Stamp| {
        let there = members.iter();
        let there = there.map(|(name, cell)| ((*name).to_owned(), cell.value.clone()));
        let there: Map<String, Json> = there.collect();
        applied(stamp, Some(Json::Object(there)))
    };
    if is_bare && stamp.as_ref().is_some_and(|stamp| *stamp <= latest) {
        let mut written = members.iter().filter(|(_, cell)| cell.version > 0);
        let is_of_another = written.any(|(_, cell)| !is_by(cell.stamp.as_ref(), &latest.1));
        return if table.records() && is_of_another {
            take(latest)
        } else {
            applied(latest, None)
        };
    }
    let keep = |outcome: &'static str| {
        let sent = edit.iter();
        let sent = sent.map(|(name, wanted)| ((*name).to_owned(), wanted.value.clone()));
        Group {
            outcome,
            cells: as_they_are(),
            lost: Some(Json::Object(sent.collect())),
        }
    };
    let is_later = stamp.as_ref().is_none_or(|stamp| *stamp <= latest);
    match rule {
        Rule::Hold => keep("held"),
        // What it leaves out may have changed since; a bare write is taken as SQL would take it.
        _ if !is_whole && !is_bare => keep("superseded"),
        Rule::Client => take(latest),
        Rule::Later if is_later => take(latest),
        Rule::Later | Rule::Server => keep("superseded"),
        other => panic!("no group has the policy {other:?}"),
    }
}

/// Of a bare edit, the columns that it leaves out and of which nobody knows whether they were in view: it is taken as SQL
/// would take it, and its push has not seen them for that.
pub(super) fn left_out(table: Table, row: &Row, edit: &Json, own: &Own) -> Vec<&'static str> {
    let told = |told: &Json| !told["base_version"].is_null() || told.get("base").is_some();
    let (_, members) = table.group();
    let sent = |name: &str| edit["columns"].get(name);
    if edit["op"] == "insert"
        || told(edit)
        || members.iter().any(|name| sent(name).is_some_and(told))
    {
        return Vec::new();
    }
    let is_unknown = |name: &&'static str| {
        saw(row.cells[*name].version, None, row.version, own.of(name)).is_none()
    };
    let left_out = members.into_iter().filter(|name| sent(name).is_none());
    left_out.filter(is_unknown).collect()
}

/// What became of each column that the edit names.
pub(super) fn each(group: Group, edit: &Named<'_>) -> Vec<(&'static str, bool, Became)> {
    let cells = group.cells.into_iter();
    let each = cells.map(|(name, cell)| {
        let became = Became::of(group.outcome, cell);
        (name, edit.iter().any(|(named, _)| *named == name), became)
    });
    each.collect()
}
