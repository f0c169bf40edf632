//! Applying what the server has of a row: to the table where the app has no unpushed edit, and beside it
//! where it has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use colsync_shared::sqlite::Stored;
use colsync_shared::step;

use super::held::{self, Held, LOST};
use super::line::{Change, Columns, What};
use super::pending::{PendingRow, PendingRows};
use super::resync;
use super::versions;
use super::write::{self, Upsert};
use crate::error::Error;
use crate::file::{File, Meta, is_refusal};
use crate::keys;
use crate::outbox::history::row_now;
use crate::pairing::Paired;
use crate::table::RowRef;

/// How often rows that wait are tried together, with one less each time.
const MOST_ROUNDS: usize = 8;

/// What a page came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Applied {
    /// Rows made or changed.
    pub(crate) rows: u64,
    /// Rows removed.
    pub(crate) removed: u64,
    /// Whether the server sent a column that its schema, as it is known here, has not.
    pub(crate) unknown_columns: bool,
}

/// Applies a page of changes inside the open transaction. In the tables of `resync`, by their numbers, the
/// rows that come are noted.
pub(crate) fn page(
    file: &mut File,
    tables: &[Paired],
    pending: &mut PendingRows,
    changes: Vec<Change<'_>>,
    resync: &BTreeSet<i64>,
) -> Result<Applied, Error> {
    pending.refresh(file)?;
    if !pending.is_empty() && !keys::for_page(file, tables, &changes)?.is_empty() {
        pending.read_again(file)?;
    }
    let touched: Vec<Paired> = tables
        .iter()
        .filter(|table| table.local.has_to_stand_aside())
        .filter(|table| {
            changes
                .iter()
                .any(|change| table.server.as_deref() == Ok(change.table.as_ref()))
        })
        .cloned()
        .collect();
    write::without_echo(file, &touched, |file| {
        file.uncaptured(|file| {
            let mut page = Page {
                all_first: versions::none(file)?,
                none_held: held::none(file)?,
                in_another_history: resync::in_another_history(file)?,
                file,
                pending,
                resync,
                applied: Applied::default(),
            };
            let by_name: HashMap<&str, (&Paired, Upsert<'_>)> = tables
                .iter()
                .filter_map(|table| {
                    let name = table.server.as_ref().ok()?;
                    Some((name.as_str(), (table, Upsert::new(table))))
                })
                .collect();
            for change in changes {
                // A table that was just untracked may still be on its way.
                if let Some((paired, upsert)) = by_name.get(change.table.as_ref()) {
                    page.take(paired, upsert, change)?;
                    step::reach("page.row");
                }
            }
            if page.applied.unknown_columns {
                // Whatever becomes of this sync, the next one asks for the schema.
                page.file.set_meta(Meta::Schema, None)?;
            }
            Ok(page.applied)
        })
    })
}

struct Page<'a> {
    file: &'a mut File,
    pending: &'a PendingRows,
    resync: &'a BTreeSet<i64>,
    /// Whether no row is known at another version than its first.
    all_first: bool,
    none_held: bool,
    /// Whether the versions that are known of rows are of a history that the server has lost.
    in_another_history: bool,
    applied: Applied,
}

impl Page<'_> {
    fn take(
        &mut self,
        paired: &Paired,
        upsert: &Upsert<'_>,
        change: Change<'_>,
    ) -> Result<(), Error> {
        let Some(id) = paired.row_id(&change.id) else {
            log::warn!("{}: the server sent a row of no key of it", change.table);
            return Ok(());
        };
        let row = RowRef {
            table: paired.local.number,
            id,
        };
        match change.what {
            What::Removed => self.removed(paired, &row),
            What::Columns {
                version,
                full,
                columns,
            } => {
                if self.resync.contains(&row.table) {
                    resync::seen(self.file, &row)?;
                }
                // Most rows bring what the table has, and nothing else.
                if !full || columns.len() > upsert.columns() {
                    let is_new = |name: &str| {
                        let is_lacking = || paired.lacking.iter().any(|known| known == name);
                        paired.position(name).is_none() && !is_lacking()
                    };
                    self.applied.unknown_columns |= columns.names().any(is_new);
                }
                match self.pending.of(&row) {
                    None if full && self.none_held => self.whole(upsert, &row, version, &columns),
                    None => self.changed(paired, &row, incoming(version, full, &columns)?),
                    Some(edits) => {
                        self.beside(paired, &row, edits, incoming(version, full, &columns)?)
                    }
                }
            }
        }
    }

    /// A whole row that the app has not touched: the way of a first sync.
    fn whole(
        &mut self,
        upsert: &Upsert<'_>,
        row: &RowRef,
        version: i64,
        columns: &Columns<'_>,
    ) -> Result<(), Error> {
        match upsert.run(self.file, &row.id, columns) {
            Ok(()) => {
                self.applied.rows += 1;
                self.set_version(row, version)
            }
            Err(refused) if is_refusal(self.file, &refused) => {
                let incoming = incoming(version, true, columns)?;
                self.hold(upsert.paired(), row, incoming, &refused)
            }
            Err(failure) => Err(failure),
        }
    }

    fn set_version(&mut self, row: &RowRef, version: i64) -> Result<(), Error> {
        if self.all_first && version == 1 {
            return Ok(());
        }
        self.all_first = false;
        versions::set(self.file, row, version)
    }

    /// A row that the app has not touched since the last push.
    fn changed(&mut self, paired: &Paired, row: &RowRef, incoming: Held) -> Result<(), Error> {
        let mut held = held::of(self.file, row)?;
        let had = !held.is_empty();
        merge(&mut held, incoming);
        match put(self.file, paired, row, &held) {
            Ok(Put::Done) => {
                self.applied.rows += 1;
                if had {
                    held::forget(self.file, row)?;
                }
                match held.version {
                    Some(version) => self.set_version(row, version),
                    None => Ok(()),
                }
            }
            Ok(Put::NoRow) => self.file.set_meta(Meta::LacksRows, Some("1")),
            Err(refused) if is_refusal(self.file, &refused) => {
                self.hold(paired, row, held, &refused)
            }
            Err(failure) => Err(failure),
        }
    }

    /// What the table's own constraints refuse waits.
    fn hold(
        &mut self,
        paired: &Paired,
        row: &RowRef,
        mut held: Held,
        refused: &Error,
    ) -> Result<(), Error> {
        log::warn!("{}: a row waits: {refused}", paired.local.name);
        self.none_held = false;
        held.note_unseen(versions::of(self.file, row)?);
        held::keep(self.file, row, &held, Some(&refused.to_string()))
    }

    /// A row with unpushed edits: the other columns are written, those wait.
    fn beside(
        &mut self,
        paired: &Paired,
        row: &RowRef,
        edits: &PendingRow,
        incoming: Held,
    ) -> Result<(), Error> {
        self.none_held = false;
        let mut held = held::of(self.file, row)?;
        let version = incoming.version;
        merge(&mut held, incoming);
        let is_resync = self.resync.contains(&row.table);
        if is_resync && self.in_another_history {
            held.lose_bases(paired, edits);
        }
        if edits.inserted || held.removed || !write::exists(self.file, paired, &row.id)? {
            // The whole row is the app's: made, deleted, or made again. What has not come down before was not in its view.
            if !paired.fresh().is_empty() {
                held.row_base = Some(held.row_base.map_or(0, |base| base.min(0)));
            }
            return held::keep(self.file, row, &held, None);
        }
        let known = versions::of(self.file, row)?;
        let lost = is_resync && version.is_some_and(|version| version < known);
        let mut free: Vec<(usize, Stored)> = Vec::new();
        let mut waiting = BTreeMap::new();
        for (name, value) in std::mem::take(&mut held.columns) {
            let Some(at) = paired.position(&name) else {
                continue;
            };
            if paired.touches(at, |name| edits.has(name)) {
                waiting.insert(name, value);
            } else if !paired.local.is_key(at) {
                free.push((at, paired.stored(at, &value)));
            }
        }
        // Also columns that this line does not bring: their edits were made from the version before.
        for at in 0..paired.local.columns.len() {
            let is_edited = paired.touches(at, |name| edits.has(name));
            if let Some(there) = paired.column(at).filter(|_| is_edited) {
                let base = there.base(known);
                held.note_base(&there.name, if lost { LOST } else { base });
            }
        }
        held.columns = waiting;
        held.full = false;
        match write::update(self.file, paired, &row.id, &free) {
            Ok(_there) => {
                held.version = None;
                self.applied.rows += 1;
                if let Some(version) = version {
                    self.set_version(row, version)?;
                }
                held::keep(self.file, row, &held, None)
            }
            Err(refused) if is_refusal(self.file, &refused) => {
                // The version stays: none of them is in view.
                for (at, value) in free {
                    if let Some(there) = paired.column(at) {
                        let wire = paired.wire(at, &value);
                        held.columns.insert(there.name.clone(), wire);
                    }
                }
                held::keep(self.file, row, &held, Some(&refused.to_string()))
            }
            Err(failure) => Err(failure),
        }
    }

    fn removed(&mut self, paired: &Paired, row: &RowRef) -> Result<(), Error> {
        if self.pending.of(row).is_some() {
            self.none_held = false;
            let mut held = held::of(self.file, row)?;
            held.remove();
            return held::keep(self.file, row, &held, None);
        }
        let Some(there) = remove_or_hold(self.file, paired, row)? else {
            self.none_held = false;
            return Ok(());
        };
        self.applied.removed += u64::from(there);
        versions::forget(self.file, row)?;
        if !self.none_held {
            held::forget(self.file, row)?;
        }
        Ok(())
    }
}

/// What a line brings, as it is kept.
fn incoming(version: i64, full: bool, columns: &Columns<'_>) -> Result<Held, Error> {
    Ok(Held {
        columns: columns.documents()?,
        full,
        version: Some(version),
        ..Held::default()
    })
}

/// Lays what came later over what waits.
fn merge(held: &mut Held, incoming: Held) {
    if incoming.full {
        held.columns.clear();
        held.full = true;
    }
    held.removed = incoming.removed;
    held.columns.extend(incoming.columns);
    held.version = incoming.version.or(held.version);
}

/// Whether a row could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    /// It is as the server has it.
    Done,
    /// Some columns came of a row that is not there.
    NoRow,
}

/// Removes a row that the server has no more; whether it was there. None if the table does not let it go: its delete waits.
pub(crate) fn remove_or_hold(
    file: &mut File,
    paired: &Paired,
    row: &RowRef,
) -> Result<Option<bool>, Error> {
    match write::delete(file, paired, &row.id) {
        Ok(there) => Ok(Some(there)),
        Err(refused) if is_refusal(file, &refused) => {
            log::warn!("{}: a row stays: {refused}", paired.local.name);
            held::keep(file, row, &Held::gone(), Some(&refused.to_string()))?;
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Writes what waits for a row into its table.
fn put(file: &mut File, paired: &Paired, row: &RowRef, held: &Held) -> Result<Put, Error> {
    if held.removed {
        write::delete(file, paired, &row.id)?;
        return Ok(Put::Done);
    }
    if held.full {
        Upsert::new(paired).run(file, &row.id, &held.columns)?;
        return Ok(Put::Done);
    }
    let mut columns = Vec::with_capacity(held.columns.len());
    for (name, value) in &held.columns {
        match paired.position(name) {
            Some(at) if !paired.local.is_key(at) => columns.push((at, paired.stored(at, value))),
            Some(_) | None => {}
        }
    }
    Ok(if write::update(file, paired, &row.id, &columns)? {
        Put::Done
    } else {
        Put::NoRow
    })
}

/// Writes what waits for a row that has no unpushed edits any more, inside a transaction without capture.
pub(crate) fn release(file: &mut File, paired: &Paired, row: &RowRef) -> Result<(), Error> {
    let held = held::of(file, row)?;
    if held.is_empty() {
        return Ok(());
    }
    put_or_hold(file, paired, row, &held)
}

/// Writes `held` into the row's table, in place of all that waited for it. What the table refuses waits.
pub(crate) fn put_or_hold(
    file: &mut File,
    paired: &Paired,
    row: &RowRef,
    held: &Held,
) -> Result<(), Error> {
    match put(file, paired, row, held) {
        Ok(put) => {
            if put == Put::NoRow && held.waits() {
                log::warn!("{}: the file lacks a row that it had", paired.local.name);
                file.set_meta(Meta::LacksRows, Some("1"))?;
            }
            if held.removed {
                versions::forget(file, row)?;
            } else if let Some(version) = held.version {
                versions::set(file, row, version)?;
            }
            held::forget(file, row)
        }
        Err(refused) if is_refusal(file, &refused) => {
            held::keep(file, row, held, Some(&refused.to_string()))
        }
        Err(failure) => Err(failure),
    }
}

/// Tries again to write all that waits for rows without unpushed edits. Rows that stand in each other's way,
/// such as two that swap a unique value, are taken out together and put back.
pub(crate) fn release_all(
    file: &mut File,
    tables: &[Paired],
    pending: &PendingRows,
) -> Result<(), Error> {
    let mut left = Vec::new();
    for (row, held) in held::all(file)? {
        let paired = tables.iter().find(|table| table.local.number == row.table);
        let Some(paired) = paired.filter(|table| table.server.is_ok()) else {
            continue;
        };
        if pending.of(&row).is_some() {
            continue;
        }
        release(file, paired, &row)?;
        if !held::of(file, &row)?.is_empty() && !held.removed {
            left.push((paired, row, held));
        }
    }
    // One that cannot be written all the same keeps no others waiting.
    for _ in 0..MOST_ROUNDS {
        if left.len() < 2 {
            break;
        }
        match put_together(file, &left)? {
            Some(refused) => drop(left.remove(refused)),
            None => break,
        }
    }
    Ok(())
}

/// Takes rows out and puts them back as they are to be; the place of the one that was refused, if one was, and then all are
/// as they were.
fn put_together(file: &mut File, rows: &[(&Paired, RowRef, Held)]) -> Result<Option<usize>, Error> {
    let mut at = 0;
    let together = file.savepoint(|file| {
        let mut were = Vec::with_capacity(rows.len());
        for (place, (paired, row, _)) in rows.iter().enumerate() {
            at = place;
            were.push(row_now(file, &paired.local, row)?);
            write::delete(file, paired, &row.id)?;
        }
        for (place, ((paired, row, held), there)) in rows.iter().zip(were).enumerate() {
            at = place;
            if let Some(values) = there {
                let mut values: Vec<(usize, Stored)> = values.into_iter().enumerate().collect();
                for (name, value) in &held.columns {
                    let at = paired.position(name);
                    let slot = at.and_then(|at| values.iter_mut().find(|(other, _)| *other == at));
                    if let (Some(at), Some((_, slot))) = (at, slot) {
                        *slot = paired.stored(at, value);
                    }
                }
                write::insert(file, paired, &row.id, &values)?;
            } else {
                put(file, paired, row, held)?;
            }
            if let Some(version) = held.version {
                versions::set(file, row, version)?;
            }
            held::forget(file, row)?;
        }
        Ok(())
    });
    match together {
        Ok(()) => Ok(None),
        Err(refused) if is_refusal(file, &refused) => Ok(Some(at)),
        Err(failure) => Err(failure),
    }
}
