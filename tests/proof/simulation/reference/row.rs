//! A whole edit: its columns, and the row's deleted flag.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::column::{self, Became, Wanted, is_by, saw};
use super::group;
use super::{Cell, Own, Receipt, Request, Row, Stamp};
use crate::simulation::plan::Table;
use crate::simulation::tables::Rule;

/// An entry that the ledger should have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ledgered {
    pub(crate) table: &'static str,
    pub(crate) row: String,
    pub(crate) kind: &'static str,
    /// Or the group; none of one about the row.
    pub(crate) column: Option<String>,
    /// The value that stands, of a column's or group's.
    pub(crate) kept: Option<String>,
    /// The value that lost, of the same.
    pub(crate) lost: Option<String>,
}

/// JSON as text, members by name.
pub(crate) fn canonical(json: &Json) -> String {
    match json {
        Json::Object(members) => {
            let sorted: BTreeMap<&String, String> = members
                .iter()
                .map(|(name, member)| (name, canonical(member)))
                .collect();
            format!("{sorted:?}")
        }
        other => other.to_string(),
    }
}

/// The edit's time, and each column's.
fn times(request: &Request, edit: &Json) -> (i64, BTreeMap<String, i64>) {
    let whole = request.time(&edit["at"]).unwrap_or(request.arrived);
    let columns = edit["columns"].as_object();
    let columns = columns.into_iter().flatten();
    let columns =
        columns.map(|(name, column)| (name.clone(), request.time(&column["at"]).unwrap_or(whole)));
    (whole, columns.collect())
}

/// The row that an insert makes, at `version`.
pub(super) fn made(request: &Request, table: Table, edit: &Json, version: i64) -> (Row, Receipt) {
    let (whole, times) = times(request, edit);
    let by = |time: i64| Some((time, request.client.clone()));
    let mut receipt = Receipt {
        code: None,
        version: Some(version),
        created: true,
        deleted: false,
        columns: BTreeMap::new(),
        changed: BTreeMap::new(),
    };
    let mut cells = BTreeMap::new();
    for known in table.columns() {
        let sent = edit["columns"].get(known.name);
        let value = sent.map_or(Json::Null, |sent| sent["value"].clone());
        match sent {
            Some(_) => {
                let became = ("applied", value.clone());
                receipt.columns.insert(known.name.to_owned(), became);
            }
            None => drop(receipt.changed.insert(known.name.to_owned(), Json::Null)),
        }
        let time = times.get(known.name).copied();
        // A NULL that came with the row is what any column holds that nobody wrote.
        let nobodys = value.is_null() && time.is_none_or(|time| time == whole);
        let cell = Cell {
            value,
            stamp: if nobodys {
                None
            } else {
                by(time.unwrap_or(whole))
            },
            version: if nobodys { 0 } else { version },
        };
        cells.insert(known.name, cell);
    }
    let deleted = Cell {
        value: json!(false),
        stamp: by(whole),
        version,
    };
    let row = Row::of(table, (version, version), deleted, cells);
    (row, receipt)
}

pub(super) struct Merging<'a> {
    request: &'a Request,
    pub(super) table: Table,
    id: &'a str,
    pub(super) row: &'a mut Row,
    pub(super) edit: &'a Json,
    pub(super) own: &'a Own,
    /// The version before the edit.
    pub(super) before: i64,
    pub(super) base: Option<i64>,
    pub(super) whole: i64,
    times: BTreeMap<String, i64>,
    ledger: &'a mut Vec<Ledgered>,
}

/// Merges an edit into its row.
pub(super) fn merged(
    request: &Request,
    (table, id): (&Table, &str),
    row: &mut Row,
    edit: &Json,
    own: &mut Own,
    ledger: &mut Vec<Ledgered>,
) -> Receipt {
    let (whole, times) = times(request, edit);
    let left_out = group::left_out(*table, row, edit, own);
    let mut merging = Merging {
        request,
        table: *table,
        id,
        before: row.version,
        row,
        edit,
        own,
        base: edit["base_version"].as_i64(),
        whole,
        times,
        ledger,
    };
    let (columns, changed) = match edit["op"].as_str().unwrap() {
        "insert" => merging.insert(),
        "update" => merging.update(),
        "replace" => merging.replace(),
        "delete" | "hard_delete" => (BTreeMap::new(), merging.delete()),
        other => panic!("{other}"),
    };
    let before = merging.before;
    if changed {
        row.version = before + 1;
        own.versions.push(row.version);
    }
    for known in table.columns() {
        let Some((_, stands)) = columns.get(known.name) else {
            continue;
        };
        if *stands == edit["columns"][known.name]["value"] {
            own.mixed.remove(known.name);
        } else if row.cells[known.name].version > before {
            own.mixed.insert(known.name);
        }
    }
    let restamped = left_out.into_iter();
    own.mixed
        .extend(restamped.filter(|name| row.cells[*name].version > before));
    // Of a row that was made since, nothing is as it was.
    let base = edit["base_version"].as_i64();
    let base = base.filter(|&base| base <= before && row.birth <= base);
    let unseen = row.cells.iter().filter(|(name, cell)| {
        // What only got its group's version is what it was before, and the push's own.
        let since = row.since.get(*name);
        let changed_at = since.unwrap_or(&cell.version);
        let is_known = base.is_some() && since.is_some_and(|since| own.versions.contains(since));
        !columns.contains_key(**name) && !is_known && base.is_none_or(|base| *changed_at > base)
    });
    let changed = unseen.map(|(name, cell)| ((*name).to_owned(), cell.value.clone()));
    Receipt {
        code: None,
        version: Some(row.version),
        created: false,
        deleted: row.deleted.value == json!(true),
        changed: changed.collect(),
        columns,
    }
}

pub(super) type Columns = BTreeMap<String, (&'static str, Json)>;

impl Merging<'_> {
    fn client(&self) -> &str {
        &self.request.client
    }

    pub(super) fn stamp(&self, time: i64) -> Stamp {
        (time, self.request.client.clone())
    }

    /// The latest time among the edit's columns.
    fn latest(&self) -> Stamp {
        self.stamp(self.times.values().copied().max().unwrap_or(self.whole))
    }

    /// Merges the columns; whether any value changed, and whether the edit left any trace.
    fn columns(&mut self, base: Option<i64>) -> (Columns, bool, bool) {
        let sent = self.edit["columns"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let wanted = |name: &str| {
            let sent = sent.get(name)?;
            Some(Wanted {
                value: &sent["value"],
                base: sent.get("base"),
                base_version: if self.told_unseen(name) {
                    Some(0)
                } else {
                    sent["base_version"].as_i64().or(base)
                },
                stamp: self.stamp(self.times[name]),
            })
        };
        let mut all = Vec::new();
        let mut ledger = Vec::new();
        let mut lose = |kind, name: &str, kept: &Json, lost: &Json| {
            ledger.push(Ledgered {
                table: self.table.name(),
                row: self.id.to_owned(),
                kind,
                column: Some(name.to_owned()),
                kept: Some(canonical(kept)),
                lost: Some(canonical(lost)),
            });
        };
        for known in self.table.columns() {
            if known.group.is_some() {
                continue;
            }
            let Some(wanted) = wanted(known.name) else {
                continue;
            };
            let current = &self.row.cells[known.name];
            let became = column::merge(
                (self.rule(known.rule), self.table.records()),
                current,
                &wanted,
                self.before,
                self.own_of(known.name),
            );
            if let Some(lost) = &became.lost {
                let kind = if became.is_blind { "blind" } else { "column" };
                lose(kind, known.name, &became.cell.value, lost);
            }
            all.push((known.name, true, became));
        }
        let (name, members) = self.table.group();
        let named = members.map(|name| Some((name, wanted(name)?)));
        let named: Vec<_> = named.into_iter().flatten().collect();
        if !named.is_empty() {
            let rule = self.rule(self.table.rule(members[0]));
            let group = group::merge(rule, self.table, self.row, &named, self.own);
            if let Some(lost) = &group.lost {
                lose("group", name, &group.values(), lost);
            }
            all.extend(group::each(group, &named));
        }
        self.ledger.extend(ledger);
        self.put(all)
    }

    /// Puts what became of columns into the row: of each, whether the edit names it. Gives what is told of those, whether
    /// any has changed, and whether the edit left any trace.
    pub(super) fn put(&mut self, all: Vec<(&'static str, bool, Became)>) -> (Columns, bool, bool) {
        let (mut columns, mut changed, mut wrote) = (BTreeMap::new(), false, false);
        for (name, is_named, mut became) in all {
            let stamp = &self.row.cells[name].stamp;
            changed |= became.cell.version > self.before;
            wrote |= became.cell.version > self.before || became.cell.stamp != *stamp;
            if became.cell.version == 0 && became.cell.stamp.is_some() {
                // Someone has written the NULL that was there: it counts as made with the row. By whoever made that, and
                // at that time, it is what any column holds that nobody wrote.
                if became.cell.value.is_null() && became.cell.stamp == self.row.made {
                    became.cell.stamp = None;
                } else {
                    became.cell.version = self.row.birth;
                }
            }
            if is_named {
                let told = (became.outcome, became.cell.value.clone());
                columns.insert(name.to_owned(), told);
            }
            if became.cell.value != self.row.cells[name].value && self.row.since.contains_key(name)
            {
                self.row.since.insert(name, became.cell.version);
            }
            self.row.cells.insert(name, became.cell);
        }
        (columns, changed, wrote)
    }

    /// How a column merges: an administrator's word stands.
    fn rule(&self, of_column: Rule) -> Rule {
        if self.request.is_decision {
            Rule::Client
        } else {
            of_column
        }
    }

    /// Whether a later edit brings the row back.
    fn revives(&self) -> bool {
        self.table.revives() || self.request.is_decision
    }

    /// Whether the edit says that its maker had not this column in view, whatever version it names.
    pub(super) fn told_unseen(&self, name: &str) -> bool {
        let told = self.edit["unseen"].as_array();
        told.is_some_and(|told| told.iter().any(|told| told == name))
    }

    /// The versions of a column that earlier edits of the push made, and it knows.
    fn own_of(&self, name: &str) -> &[i64] {
        if self.told_unseen(name) {
            &[]
        } else {
            self.own.of(name)
        }
    }

    /// Whether the edit had a column in view, as far as it tells.
    pub(super) fn saw(&self, name: &str, cell: &Cell) -> Option<bool> {
        let base = if self.told_unseen(name) {
            Some(0)
        } else {
            self.base
        };
        saw(cell.version, base, self.before, self.own_of(name))
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.row.deleted.value == json!(true)
    }

    pub(super) fn saw_delete(&self, base: Option<i64>) -> bool {
        let flag = &self.row.deleted;
        is_by(flag.stamp.as_ref(), self.client())
            || saw(flag.version, base, self.before, &self.own.versions) == Some(true)
    }

    /// The ledger gets an entry of this kind about the row as a whole.
    pub(super) fn about_the_row(&mut self, kind: &'static str) {
        self.ledger.push(Ledgered {
            table: self.table.name(),
            row: self.id.to_owned(),
            kind,
            column: None,
            kept: None,
            lost: None,
        });
    }

    pub(super) fn set_deleted(&mut self, deleted: bool, stamp: Stamp) {
        self.row.deleted = Cell {
            value: json!(deleted),
            stamp: Some(stamp),
            version: self.before + 1,
        };
    }

    fn update(&mut self) -> (Columns, bool) {
        let (columns, mut changed, wrote) = self.columns(self.base);
        if self.is_deleted() && wrote && !self.saw_delete(self.base) {
            let stamp = self.latest();
            let is_later = self
                .row
                .deleted
                .stamp
                .as_ref()
                .is_none_or(|flag| stamp > *flag);
            self.about_the_row("deleted");
            if self.revives() && is_later {
                self.set_deleted(false, stamp);
                changed = true;
            }
        }
        (columns, changed)
    }

    fn insert(&mut self) -> (Columns, bool) {
        let base = self.base.or(Some(0));
        let was_deleted = self.is_deleted();
        let knew = self.saw_delete(base);
        let (columns, mut changed, _) = self.columns(base);
        if was_deleted {
            let stamp = self.latest();
            let flag = self.row.deleted.stamp.clone();
            if knew {
                let after = flag.map_or(i64::MIN, |(time, _)| time + 1);
                self.set_deleted(false, (stamp.0.max(after), stamp.1));
                changed = true;
            } else {
                self.about_the_row("deleted");
                if flag.is_none_or(|flag| stamp >= flag) {
                    self.set_deleted(false, stamp);
                    changed = true;
                }
            }
        }
        (columns, changed)
    }

    /// The latest stamp of what others changed and the delete had not in view; whether there is any.
    fn unseen(&self) -> Option<Option<Stamp>> {
        let own_stamp = self.stamp(self.whole);
        let unseen = self.row.cells.iter().filter(|(name, cell)| {
            let seen = self.saw(name, cell);
            let stamp = cell.stamp.as_ref();
            // A value that was made of two is not all by whoever stamped it.
            let may_be_mixed = self.rule(self.table.rule(name)).mixes();
            let is_own = !may_be_mixed && is_by(stamp, self.client());
            let is_trusted = !(self.table.records() && self.removes()) || is_own;
            let is_earlier = stamp.is_some_and(|stamp| *stamp <= own_stamp);
            let seen = seen.unwrap_or(self.base.is_none() && is_earlier && is_trusted);
            !seen && (self.removes() || !is_own)
        });
        unseen.map(|(_, cell)| cell.stamp.clone()).max()
    }

    /// Whether nothing of the row is to stay.
    fn removes(&self) -> bool {
        self.edit["op"] == "hard_delete"
    }

    fn delete(&mut self) -> bool {
        let stamp = self.stamp(self.whole);
        let flag = self.row.deleted.clone();
        let unseen = self.unseen();
        if self.is_deleted() {
            let later = flag.stamp.as_ref().is_none_or(|known| stamp > *known);
            if later {
                self.row.deleted.stamp = Some(stamp);
            }
            if self.removes() && unseen.is_some() {
                self.about_the_row("deleted");
            }
            return false;
        }
        let told = saw(flag.version, self.base, self.before, &self.own.versions);
        let is_bare = told.is_none() && self.base.is_none();
        let in_order = flag.stamp.as_ref().is_some_and(|known| *known <= stamp);
        let (stamp, contested) = if told == Some(true) {
            let after = flag.stamp.as_ref().map_or(i64::MIN, |(time, _)| time + 1);
            ((stamp.0.max(after), stamp.1), false)
        } else if is_bare && in_order {
            (stamp, false)
        } else if flag.stamp.as_ref().is_some_and(|known| *known > stamp) {
            // Someone brought the row back after this delete was made.
            self.about_the_row("deleted");
            return false;
        } else {
            (stamp, true)
        };
        let own_stamp = self.stamp(self.whole);
        let outlived = unseen
            .clone()
            .flatten()
            .is_some_and(|edited| edited > own_stamp);
        if self.table.revives() && outlived && !self.request.is_decision {
            self.about_the_row("deleted");
            return false;
        }
        if contested || unseen.is_some() {
            self.about_the_row("deleted");
        }
        self.set_deleted(true, stamp);
        true
    }
}
