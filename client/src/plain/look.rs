//! Finding what the API changed: a row as it was last known beside the row as it is told now.
//!
//! Pure. Must not know where either comes from.

use std::collections::BTreeMap;

use colsync_shared::merge::{self, Cell, UNWRITTEN};
use colsync_shared::{ClientId, Stamp, Time, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::API;
use super::mapped::{Mapped, Seen, decode};

/// A row as it was last known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KnownRow {
    /// Its counter, one more at every change.
    pub(super) version: i64,
    /// Where in the feed it last changed without this client's doing.
    pub(super) position: i64,
    /// Whether it is gone.
    pub(super) deleted: bool,
    /// The columns' values, as on the wire.
    pub(super) body: BTreeMap<String, Json>,
    pub(super) marks: Marks,
}

/// Who changed what, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Marks {
    /// What columns without a mark inherit.
    pub(super) birth: Mark,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flag: Option<Mark>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) columns: BTreeMap<String, Mark>,
}

/// The last change of a column, or of the deleted flag.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The row's version then.
    #[serde(rename = "v")]
    pub(super) version: i64,
    /// Its place in the feed; 0 if this client made it.
    #[serde(rename = "p")]
    pub(super) position: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<ClientId>,
}

impl Mark {
    fn stamp(self) -> Option<Stamp> {
        let (time, client) = (self.at?, self.by?);
        Some(Stamp { time, client })
    }

    pub(super) fn of(version: i64, position: i64, stamp: Option<Stamp>) -> Mark {
        Mark {
            version,
            position,
            at: stamp.map(|stamp| stamp.time),
            by: stamp.map(|stamp| stamp.client),
        }
    }
}

/// What a change found now is noted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finding {
    /// The version of a row that was never known.
    pub(super) first_version: i64,
    /// Its place in the feed; 0 for what the receipt tells.
    pub(super) position: i64,
    /// The time, for what the API tells none of.
    pub(super) now: Time,
}

impl KnownRow {
    /// The mark of the column called `name`, its own or the inherited one.
    pub(super) fn mark(&self, name: &str) -> Mark {
        let own = self.marks.columns.get(name);
        own.copied().unwrap_or(self.marks.birth)
    }

    /// The value of the column at `at`, as it was last known.
    pub(super) fn value(&self, mapped: &Mapped, at: usize) -> Value {
        let Some(column) = mapped.spec.columns.get(at) else {
            return Value::Null;
        };
        let told = self.body.get(&column.name).unwrap_or(&Json::Null);
        decode(&column.ty, told)
    }

    /// The row as the merge sees it.
    pub(super) fn for_merge(&self, mapped: &Mapped) -> merge::Row {
        let columns = mapped.spec.columns.iter().enumerate();
        let cells = columns.map(|(at, column)| {
            let value = self.value(mapped, at);
            if value.is_null() && !self.marks.columns.contains_key(&column.name) {
                return Cell {
                    value,
                    stamp: None,
                    version: UNWRITTEN,
                };
            }
            let mark = self.mark(&column.name);
            Cell {
                value,
                stamp: mark.stamp(),
                version: mark.version,
            }
        });
        let flag = self.marks.flag.unwrap_or(self.marks.birth);
        merge::Row {
            version: self.version,
            cells: cells.collect(),
            deleted: Cell {
                value: Value::Bool(self.deleted),
                stamp: flag.stamp(),
                version: flag.version,
            },
        }
    }

    /// The row after this client's own write of what merging gave.
    pub(super) fn written(&self, mapped: &Mapped, merged: &merge::Row) -> KnownRow {
        let before = self.for_merge(mapped);
        let mut row = self.clone();
        row.version = merged.version;
        row.deleted = merged.deleted.value == Value::Bool(true);
        if merged.deleted != before.deleted {
            row.marks.flag = Some(Mark::of(merged.deleted.version, 0, merged.deleted.stamp));
        }
        let cells = merged.cells.iter().zip(&before.cells);
        for (column, (cell, old)) in mapped.spec.columns.iter().zip(cells) {
            if cell == old {
                continue;
            }
            let told = column.ty.encode(&cell.value);
            row.body.insert(column.name.clone(), told);
            let position = match cell.value == old.value {
                true => row.mark(&column.name).position,
                false => 0,
            };
            let mark = Mark::of(cell.version, position, cell.stamp);
            row.marks.columns.insert(column.name.clone(), mark);
        }
        row
    }
}

/// The row as it is to be known from now on, if it is not what it was. `seen` is `None` where the API has no
/// such row.
pub(super) fn look(
    known: Option<&KnownRow>,
    seen: Option<&Seen>,
    mapped: &Mapped,
    finding: Finding,
) -> Option<KnownRow> {
    let at = seen.and_then(|seen| seen.at);
    let stamp = |time: Time| Stamp {
        // Nobody has written in the future.
        time: time.min(finding.now),
        client: API,
    };
    let alive = seen.filter(|seen| !seen.deleted);
    let Some(known) = known else {
        let alive = alive?;
        return Some(KnownRow {
            version: finding.first_version,
            position: finding.position,
            deleted: false,
            body: body(mapped, alive),
            marks: Marks {
                birth: Mark::of(finding.first_version, finding.position, at.map(stamp)),
                flag: None,
                columns: BTreeMap::new(),
            },
        });
    };
    let version = known.version + 1;
    let mark = Mark::of(
        version,
        finding.position,
        Some(stamp(at.unwrap_or(finding.now))),
    );
    let mut row = known.clone();
    row.version = version;
    if finding.position > 0 {
        row.position = finding.position;
    }
    let Some(alive) = alive else {
        row.deleted = true;
        // The moment of discovery is later than any edit, and so says nothing of who was.
        row.marks.flag = Some(Mark::of(version, finding.position, at.map(stamp)));
        return (!known.deleted).then_some(row);
    };
    let mut changed = known.deleted;
    if known.deleted {
        row.deleted = false;
        row.marks.flag = Some(mark);
    }
    for (at, (column, value)) in mapped.spec.columns.iter().zip(&alive.values).enumerate() {
        if mapped.spec.is_key(at) || known.value(mapped, at) == *value {
            continue;
        }
        changed = true;
        let told = column.ty.encode(value);
        row.body.insert(column.name.clone(), told);
        row.marks.columns.insert(column.name.clone(), mark);
    }
    changed.then_some(row)
}

/// The values of a row as on the wire; the key is in its id.
fn body(mapped: &Mapped, seen: &Seen) -> BTreeMap<String, Json> {
    let columns = mapped.spec.columns.iter().zip(&seen.values).enumerate();
    columns
        .filter(|(at, _)| !mapped.spec.is_key(*at))
        .map(|(_, (column, value))| (column.name.clone(), column.ty.encode(value)))
        .collect()
}

/// A row that was never known, for an edit that is to make it.
pub(super) fn unknown(first_version: i64) -> KnownRow {
    KnownRow {
        version: first_version - 1,
        position: 0,
        deleted: true,
        body: BTreeMap::new(),
        marks: Marks {
            birth: Mark::of(UNWRITTEN, 0, None),
            flag: None,
            columns: BTreeMap::new(),
        },
    }
}
