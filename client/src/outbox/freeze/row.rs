//! What one row gives to a push, in each of the modes, or why it does not yet.

use std::collections::BTreeMap;

use colsync_shared::Op;
use colsync_shared::sqlite::Stored;

use crate::capture::lines::Line;
use crate::error::Error;
use crate::file::{File, Row};
use crate::inbox::{held, versions};
use crate::keys::{self, Stance};
use crate::outbox::body::{Entry, WholeRow};
use crate::outbox::edit::{Draft, WireEdit, draft, made_over, no_text, not_found};
use crate::outbox::entries::{Before, entries};
use crate::outbox::history::{History, is_hidden, row_now};
use crate::outbox::mode::Mode;
use crate::pairing::{Paired, ServerColumn};
use crate::table::RowRef;

/// One row, as a push of some mode tells of it.
pub(super) enum Written {
    /// These, with the last line that they cover.
    Items(Vec<Item>, i64),
    /// It has come to nothing.
    Nothing,
    /// It goes when rows that it points to have their ids; a clause.
    Later(String),
    /// It stays pending; a clause says why.
    Waits(String),
}

/// What is known of rows without the server's ids.
pub(super) struct Ids<'a> {
    pub(super) links: &'a keys::Links,
    pub(super) locals: keys::Locals,
    pub(super) break_cycles: bool,
}

impl Ids<'_> {
    /// Why an edit cannot go yet, if it cannot; takes columns out of it that are to follow.
    fn hold_back(
        &mut self,
        file: &mut File,
        paired: &Paired,
        row: &RowRef,
        edit: &mut WireEdit,
    ) -> Result<Option<Written>, Error> {
        let (links, locals) = (self.links, &mut self.locals);
        let stance = keys::stance(file, links, locals, paired, row, edit, self.break_cycles)?;
        Ok(match stance {
            Stance::Goes => None,
            Stance::WaitsForId(reason) => Some(Written::Later(reason)),
            Stance::Waits(reason) => Some(Written::Waits(reason)),
        })
    }

    /// Takes out of an entry what pointed to new rows that were taken back since, and so are nobody's. What the row as it
    /// is `now` still points to stays.
    fn leave_out_nobodys(
        &mut self,
        file: &mut File,
        paired: &Paired,
        now: Option<&Row>,
        entry: &mut Entry,
    ) -> Result<(), Error> {
        let mut nobodys = Vec::new();
        for (name, value) in &entry.columns {
            let Some(at) = paired.position(name) else {
                continue;
            };
            let Some(target) = self.links.target(paired.local.number, at) else {
                continue;
            };
            let value = paired.stored(at, value);
            let stands = now.and_then(|row| row.get(at)) == Some(&value);
            if !stands && self.locals.is_nobodys(file, target, &value)? {
                nobodys.push(name.clone());
            }
        }
        for name in nobodys {
            entry.columns.remove(&name);
            entry.base.remove(&name);
        }
        Ok(())
    }
}

/// One edit, as it stands in a body.
pub(super) enum Item {
    Edit(WireEdit),
    /// With its first line.
    Entry(i64, Entry),
    Row(WholeRow),
}

/// What a row comes to, as the columns that differ or whole.
pub(super) fn net(
    file: &mut File,
    ids: &mut Ids<'_>,
    paired: &Paired,
    history: &History,
    mode: Mode,
) -> Result<Written, Error> {
    let now = row_now(file, &paired.local, &history.row)?;
    let net = history.net(&paired.local, now.clone());
    let mut edit = match draft(file, paired, history, net)? {
        Draft::Nothing => return Ok(Written::Nothing),
        Draft::Waits(reason) => return Ok(Written::Waits(reason)),
        Draft::Edit(edit) => edit,
    };
    let before: Vec<String> = edit.columns.keys().cloned().collect();
    if let Some(waits) = ids.hold_back(file, paired, &history.row, &mut edit)? {
        return Ok(waits);
    }
    let upto = history.upto();
    match mode {
        Mode::Differential => return Ok(Written::Items(vec![Item::Edit(edit)], upto)),
        Mode::TransactionLog => {
            let first = history.lines.first().map_or(upto, |(seq, _)| *seq);
            let entry = Item::Entry(first, Entry::of(edit));
            return Ok(Written::Items(vec![entry], upto));
        }
        Mode::WholeRow => {}
    }
    let mut all = BTreeMap::new();
    for (at, value) in now.iter().flatten().enumerate() {
        if let Some(reason) = no_text(paired, at, value) {
            return Ok(Written::Waits(reason));
        }
        let there = paired.column(at).filter(|_| !paired.local.is_key(at));
        // What has not come down yet, the app's row does not have; nor a NULL where the server fills one in.
        let is_left_out = |there: &ServerColumn| {
            there.fresh || (there.filled_in && matches!(value, Stored::Null))
        };
        if let Some(there) =
            there.filter(|there| !is_left_out(there) || before.contains(&there.name))
        {
            all.insert(there.name.clone(), paired.wire(at, value));
        }
    }
    // What is to follow when ids are known stays out.
    for name in before
        .iter()
        .filter(|name| !edit.columns.contains_key(*name))
    {
        all.remove(name);
    }
    // Whoever makes a row has seen nothing of another one with its id, but what it deleted.
    let base = if history.existed {
        let version = versions::of(file, &history.row)?;
        held::of(file, &history.row)?.least_base(version)
    } else {
        edit.base_version.unwrap_or(0)
    };
    let mut row = WholeRow::of(edit, base, all);
    row.unseen = paired.fresh();
    row.unseen.retain(|name| row.columns.contains_key(name));
    Ok(Written::Items(vec![Item::Row(row)], upto))
}

/// Everything that was done to a row, at most so many entries; what comes after them waits.
pub(super) fn logged(
    file: &mut File,
    ids: &mut Ids<'_>,
    paired: &Paired,
    history: &History,
    lines: &[Line],
    most: usize,
) -> Result<Written, Error> {
    let table = match &paired.server {
        Ok(name) => name.clone(),
        Err(reason) => return Ok(Written::Waits(reason.clone())),
    };
    let id = match paired.wire_id(&history.row.id) {
        Ok(id) => id,
        Err(reason) => return Ok(Written::Waits(format!("{table}: {reason}"))),
    };
    let now = row_now(file, &paired.local, &history.row)?;
    if now.is_none() && is_hidden(file, &paired.local, history)? {
        return Ok(Written::Waits(not_found(paired)));
    }
    let held = held::of(file, &history.row)?;
    let before = Before {
        version: versions::of(file, &history.row)?,
        made_over: made_over(file, paired, history)?,
        held: &held,
        hard_delete: paired.hard_delete,
    };
    let mut told = match entries(paired, (&table, &id), lines, now.as_ref(), &before) {
        Err(reason) => return Ok(Written::Waits(reason)),
        Ok(told) => told,
    };
    for (_, entry) in &mut told.entries {
        ids.leave_out_nobodys(file, paired, now.as_ref(), entry)?;
    }
    told.entries
        .retain(|(_, entry)| entry.action != Op::Update || !entry.columns.is_empty());
    // It has come to nothing, or the server lacks its columns.
    if told.entries.is_empty() {
        return net(file, ids, paired, history, Mode::TransactionLog);
    }
    if let Some((next, _)) = told.entries.get(most) {
        told.upto = next - 1;
        told.entries.truncate(most);
    }
    let break_cycles = std::mem::take(&mut ids.break_cycles);
    let mut waits = None;
    for (_, entry) in &told.entries {
        let mut edit = entry.clone().into_edit();
        waits = waits.or(ids.hold_back(file, paired, &history.row, &mut edit)?);
    }
    ids.break_cycles = break_cycles;
    let entries = told.entries.into_iter();
    let items = entries
        .map(|(seq, entry)| Item::Entry(seq, entry))
        .collect();
    Ok(waits.unwrap_or(Written::Items(items, told.upto)))
}
