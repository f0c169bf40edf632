//! A row's lines of the log as entries of a transaction log: every edit that the app made, in order.
//!
//! A line tells a column's value before, and of a change the value after. What an insert wrote is not in the
//! log; it is what the row holds now, less what later lines changed.

use std::collections::BTreeSet;

use colsync_shared::Op;
use colsync_shared::sqlite::Stored;

use super::body::Entry;
use super::edit::{no_text, noted_base_of, time};
use crate::capture::lines::{Line, LineOp};
use crate::file::Row;
use crate::inbox::held::{Held, LOST};
use crate::pairing::Paired;

/// Entries that one row gives to a push: the server takes 10,000 at once. What comes after them waits.
const MOST: usize = 2_000;

/// A row's entries, and the lines that they are made of.
#[derive(Debug)]
pub(crate) struct Told {
    /// Each with the line that it begins with, for the order among rows.
    pub(crate) entries: Vec<(i64, Entry)>,
    /// The last line that is in them.
    pub(crate) upto: i64,
}

/// What the row was for the server before the app edited it.
pub(crate) struct Before<'a> {
    pub(crate) version: i64,
    /// The version of the row that the app deleted before it made this one, if it did.
    pub(crate) made_over: Option<i64>,
    pub(crate) held: &'a Held,
    /// Whether a delete removes the row for good.
    pub(crate) hard_delete: bool,
}

/// One statement of the app's about the row.
enum Event {
    /// The row was there from then on: position and value of each column.
    Made(Vec<(usize, Stored)>),
    /// Columns changed: position, value before, value after.
    Changed(Vec<(usize, Stored, Stored)>),
    Deleted,
}

/// Puts the `lines` of one row together, in their order; the row is `now` as given, if it is there.
///
/// # Errors
/// A clause that says why the server could not be told.
pub(crate) fn entries(
    paired: &Paired,
    (table, id): (&str, &str),
    lines: &[Line],
    now: Option<&Row>,
    before: &Before<'_>,
) -> Result<Told, String> {
    let mut told = Told {
        entries: Vec::new(),
        upto: 0,
    };
    // Whoever makes a row has seen nothing of one that someone else made. What its own entries make is in its view
    // without a version, as they are of one push.
    let version = match lines.first().map(|line| line.op) {
        Some(LineOp::Inserted) => before.made_over.unwrap_or(0),
        Some(LineOp::Changed | LineOp::Deleted | LineOp::MayBeReplaced) | None => before.version,
    };
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if told.entries.len() == MOST {
            return Ok(told);
        }
        let (event, taken) = event(paired, lines, at, now);
        at += taken.max(1);
        told.upto = lines.get(at - 1).map_or(told.upto, |last| last.seq);
        let Some(event) = event else { continue };
        let mut entry = Entry {
            table: table.to_owned(),
            id: Some(id.to_owned()),
            action: Op::Update,
            base_version: None,
            at: time(line.at_ms),
            columns: Default::default(),
            base: Default::default(),
            unseen: Vec::new(),
        };
        match event {
            Event::Deleted => {
                entry.action = Op::Delete;
                if before.hard_delete {
                    entry.action = Op::HardDelete;
                    // Nothing stays beneath a tombstone, so it matters what the app could not see.
                    entry.unseen = paired.unseen();
                }
                entry.base_version = Some(before.held.least_base(version));
            }
            Event::Made(values) => {
                entry.action = Op::Insert;
                // NULL is what a column is without being written; but a group is sent whole, and a row that is made
                // anew does not keep what it held before.
                let is_written = |position: usize| {
                    let mut found = values.iter().filter(|(at, _)| *at == position);
                    found.any(|(_, value)| *value != Stored::Null)
                };
                let earlier = lines.get(..at.saturating_sub(taken)).unwrap_or_default();
                let is_over = before.made_over.is_some();
                if is_over || earlier.iter().any(|line| line.op == LineOp::Deleted) {
                    // Nor has its maker seen less of it than whoever deleted it.
                    entry.base_version = Some(before.held.least_base(version));
                }
                let was_written = |position: usize| {
                    let column = paired.local.columns.get(position);
                    let mut of_it = earlier
                        .iter()
                        .filter(|line| column.is_some_and(|c| is_of(line, &c.name)));
                    of_it.any(|line| line.old != Stored::Null)
                };
                let is_sent = |position: usize| {
                    let group = paired.group_of(position);
                    // Of a column that has not come down yet, the app has nothing to leave out.
                    let takes_null = paired
                        .column(position)
                        .is_some_and(|there| !there.filled_in && !there.fresh);
                    is_written(position)
                        || takes_null
                            && (is_over
                                || was_written(position)
                                || group.iter().any(|(at, _)| is_written(*at)))
                };
                for (position, value) in values.iter().filter(|(at, _)| is_sent(*at)) {
                    put(paired, *position, value, &mut entry)?;
                    note_fresh(paired, *position, &mut entry);
                }
            }
            Event::Changed(changes) => {
                let row = before.held.row_base.unwrap_or(version);
                let changes = with_groups(paired, changes, || {
                    values_after(paired, lines, at.saturating_sub(1), now)
                });
                let held = before.held;
                let bases = changes
                    .iter()
                    .map(|(at, ..)| noted_base_of(paired, *at, held, row));
                let base = bases.fold(row, i64::min);
                entry.base_version = (base != LOST).then_some(base);
                for (position, old, new) in changes {
                    put(paired, position, &new, &mut entry)?;
                    note_fresh(paired, position, &mut entry);
                    if let Some(there) = paired.column(position)
                        && (there.needs_base || base == LOST)
                    {
                        let old = paired.wire(position, &old);
                        entry.base.insert(there.name.clone(), old);
                    }
                }
                if entry.columns.is_empty() {
                    continue;
                }
            }
        }
        told.entries.push((line.seq, entry));
    }
    Ok(told)
}

/// What changed, and the other columns of each group that did in part, as they were then: the server decides the
/// group as one. `values` are those of the row after the statement.
fn with_groups(
    paired: &Paired,
    mut changes: Vec<(usize, Stored, Stored)>,
    values: impl FnOnce() -> Vec<(usize, Stored)>,
) -> Vec<(usize, Stored, Stored)> {
    let changed: BTreeSet<usize> = changes.iter().map(|(at, ..)| *at).collect();
    let groups = changed.iter().flat_map(|at| paired.group_of(*at));
    let others: BTreeSet<usize> = groups.map(|(at, _)| at).collect();
    let others: BTreeSet<usize> = others.difference(&changed).copied().collect();
    if others.is_empty() {
        return changes;
    }
    let unchanged = values()
        .into_iter()
        .filter(|(at, value)| others.contains(at) && no_text(paired, *at, value).is_none());
    changes.extend(unchanged.map(|(at, value)| (at, value.clone(), value)));
    changes
}

/// Of a column that has not come down yet, the app had nothing in view, nor of what is in a group with it.
fn note_fresh(paired: &Paired, position: usize, entry: &mut Entry) {
    for there in paired.together(position) {
        if there.fresh && !entry.unseen.contains(&there.name) {
            entry.unseen.push(there.name.clone());
        }
    }
}

fn put(paired: &Paired, position: usize, value: &Stored, entry: &mut Entry) -> Result<(), String> {
    if let Some(reason) = no_text(paired, position, value) {
        return Err(reason);
    }
    if let Some(there) = paired
        .column(position)
        .filter(|_| !paired.local.is_key(position))
    {
        entry
            .columns
            .insert(there.name.clone(), paired.wire(position, value));
    }
    Ok(())
}

/// What the lines from `at` on tell first, and how many of them do.
fn event(paired: &Paired, lines: &[Line], at: usize, now: Option<&Row>) -> (Option<Event>, usize) {
    let rest = lines.get(at..).unwrap_or_default();
    let run = |op: LineOp| rest.iter().take_while(|line| line.op == op).count();
    let Some(first) = rest.first() else {
        return (None, 0);
    };
    match first.op {
        LineOp::Changed => {
            let mut changes: Vec<(usize, Stored, Stored)> = Vec::new();
            let mut taken = 0;
            for line in rest.iter().take(run(LineOp::Changed)) {
                let position = line
                    .column
                    .as_deref()
                    .and_then(|c| paired.local.position(c));
                let again = changes.iter().any(|(at, ..)| Some(*at) == position);
                if again || line.at_ms != first.at_ms {
                    break;
                }
                taken += 1;
                if let Some(position) = position {
                    changes.push((position, line.old.clone(), line.new.clone()));
                }
            }
            (Some(Event::Changed(changes)), taken)
        }
        LineOp::Deleted => {
            // One line without a column begins each delete.
            let columns = rest.iter().skip(1);
            let columns =
                columns.take_while(|line| line.op == LineOp::Deleted && line.column.is_some());
            (Some(Event::Deleted), 1 + columns.count())
        }
        LineOp::Inserted => {
            let values = values_after(paired, lines, at, now);
            (Some(Event::Made(values)), 1)
        }
        LineOp::MayBeReplaced => {
            let noted = run(LineOp::MayBeReplaced);
            let taken = noted + deleted_at_once(rest.get(noted - 1..).unwrap_or_default());
            let after = at + taken;
            match lines.get(after) {
                Some(next) if next.op == LineOp::Inserted => {}
                // It was still there to be written to.
                Some(_) => return (None, taken),
                // Another row has taken its place, by what must be unique beside the key; or it stayed.
                None => return (now.is_none().then_some(Event::Deleted), taken),
            }
            // An OR REPLACE: the row's values changed, all at once.
            let changes = values_after(paired, lines, after, now)
                .into_iter()
                .filter_map(|(position, new)| {
                    let name = &paired.local.columns.get(position)?.name;
                    let old = rest
                        .iter()
                        .take(noted)
                        .rev()
                        .find(|line| is_of(line, name))?;
                    (old.old != new).then(|| (position, old.old.clone(), new))
                });
            (Some(Event::Changed(changes.collect())), taken + 1)
        }
    }
}

/// How many lines tell of the delete that an OR REPLACE is, where the app's connection has recursive triggers on: it is
/// noted between the first of `lines` and the row's insert, at once.
fn deleted_at_once(lines: &[Line]) -> usize {
    let Some((first, rest)) = lines.split_first() else {
        return 0;
    };
    let at_once = rest.iter().take_while(|line| line.at_ms == first.at_ms);
    let deleted = at_once
        .take_while(|line| line.op == LineOp::Deleted)
        .count();
    let next = rest.get(deleted);
    let is_made = next.is_some_and(|line| line.op == LineOp::Inserted && line.at_ms == first.at_ms);
    if is_made { deleted } else { 0 }
}

fn is_of(line: &Line, column: &str) -> bool {
    line.column
        .as_ref()
        .is_some_and(|name| name.eq_ignore_ascii_case(column))
}

/// The row's values right after the line at `at`: of each column what the next line about it found, or what
/// the row holds now.
fn values_after(
    paired: &Paired,
    lines: &[Line],
    at: usize,
    now: Option<&Row>,
) -> Vec<(usize, Stored)> {
    let later = lines.get(at + 1..).unwrap_or_default();
    let columns = paired.local.columns.iter().enumerate();
    columns
        .filter(|(position, _)| !paired.local.is_key(*position))
        .map(|(position, column)| {
            let next = later.iter().find(|line| is_of(line, &column.name));
            let current = || now.and_then(|row| row.get(position)).cloned();
            let value = next.map_or_else(
                || current().unwrap_or(Stored::Null),
                |line| line.old.clone(),
            );
            (position, value)
        })
        .collect()
}
