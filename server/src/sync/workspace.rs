//! The locked rows of one transaction: edits merge into them in memory, and are written together.
//!
//! Everything here can be taken back to a [`Mark`], so that one edit, or one atomic submission, can fail
//! without the rest.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use colsync_shared::merge::Own;
use colsync_shared::merge::row::{self, RowMerge};
use colsync_shared::receipt::Rejection;
use colsync_shared::{ClientId, Edit, Op, RowKey, Stamp, Table, Time};

use super::rowstate;
use super::submission::no_row;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::model::{NewRow, RowUpdate, Schema, StoredRow, TableInfo};

/// Which row of the workspace.
pub(super) type SlotId = usize;

/// A row of the workspace.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) table: Arc<TableInfo>,
    /// The key that was locked; `None` where the database makes it.
    key: Option<RowKey>,
    /// As it will be once written; `None` while there is no such row.
    pub(super) row: Option<StoredRow>,
    /// The version at which the row was purged, if it was.
    purged: Option<i64>,
    unwritten: Unwritten,
    /// The version that the row has in its table, as far as is known: what is written goes over that one.
    stored: i64,
    /// How many writes there had been when the row was read.
    read_after: usize,
    /// What the submission at hand made of it.
    own: Own,
}

#[derive(Debug, Clone)]
enum Unwritten {
    Nothing,
    Insert(NewRow),
    Update(BTreeSet<usize>),
    /// The row is to be removed from its table, by this client.
    Purge(ClientId),
}

impl Slot {
    /// The version at which the row was purged, if it was.
    pub(super) fn purged(&self) -> Option<i64> {
        self.purged
    }
}

/// What an edit did to its slot.
pub(super) enum Effect {
    /// A row to be made; what the database filled in is known after the next write.
    Made,
    /// A merge into a row that is there.
    Merged(Box<RowMerge>),
}

/// A point that the workspace can be taken back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

pub(super) struct Workspace {
    slots: Vec<Slot>,
    /// Where the locked rows of each table are among the slots, in the order of their keys.
    locked: HashMap<i64, Range<SlotId>>,
    /// Slots as they were before each change, latest last; kept only while there may be a way back.
    journal: Vec<(SlotId, Slot)>,
    reversible: bool,
    /// How many rows have been written.
    writes: usize,
    txid: i64,
    now: Time,
}

impl Workspace {
    /// Locks the rows that `targets` name, table by table and key by key, so that two transactions never
    /// wait for each other.
    pub(super) fn lock<'a>(
        conn: &mut Conn,
        schema: &Schema,
        targets: impl Iterator<Item = (&'a Arc<TableInfo>, &'a RowKey)>,
        now: Time,
    ) -> Result<Workspace, StoreError> {
        let mut wanted: HashMap<i64, Vec<&RowKey>> = HashMap::new();
        for (table, key) in targets {
            wanted.entry(table.id).or_default().push(key);
        }
        let mut space = Workspace {
            slots: Vec::new(),
            locked: HashMap::new(),
            journal: Vec::new(),
            reversible: false,
            writes: 0,
            txid: 0,
            now,
        };
        let mut position = None;
        for table in &schema.tables {
            let Some(mut keys) = wanted.remove(&table.id) else {
                continue;
            };
            keys.sort_unstable();
            keys.dedup();
            let keys: Vec<RowKey> = keys.into_iter().cloned().collect();
            let (rows, txid) = conn.lock_rows(table, &keys)?;
            position = position.or(txid);
            space.add_locked(conn, table, keys, rows)?;
        }
        space.txid = match position {
            Some(txid) => txid,
            None => conn.txid()?,
        };
        colsync_shared::step::reach("push.locked");
        Ok(space)
    }

    /// Adds a slot for each of the sorted `keys`, with its row where that is among those `found`.
    fn add_locked(
        &mut self,
        conn: &mut Conn,
        table: &Arc<TableInfo>,
        keys: Vec<RowKey>,
        mut found: Vec<StoredRow>,
    ) -> Result<(), StoreError> {
        // A database sorts texts its own way.
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let mut found = found.into_iter().peekable();
        let first = self.slots.len();
        let mut missing = Vec::new();
        for key in keys {
            // A row may have been found by a key that the database holds to be the same, and is not.
            while found.next_if(|row| row.key < key).is_some() {}
            let row = found.next_if(|row| row.key == key);
            if row.is_none() {
                missing.push(key.clone());
            }
            self.add(table.clone(), Some(key), row);
        }
        self.locked.insert(table.id, first..self.slots.len());
        if !missing.is_empty() {
            for (key, version) in conn.tombstones(table, &missing)? {
                let slot = self.slot_of(table, Some(&key));
                if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
                    slot.purged = Some(version);
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        table: Arc<TableInfo>,
        key: Option<RowKey>,
        row: Option<StoredRow>,
    ) -> SlotId {
        let id = self.slots.len();
        self.slots.push(Slot {
            table,
            key,
            stored: row.as_ref().map_or(0, |row| row.version),
            row,
            purged: None,
            unwritten: Unwritten::Nothing,
            read_after: self.writes,
            own: Own::default(),
        });
        id
    }

    /// The slot of a row that was locked, or a new one for a row whose key the database will make.
    pub(super) fn slot_of(
        &mut self,
        table: &Arc<TableInfo>,
        key: Option<&RowKey>,
    ) -> Option<SlotId> {
        let Some(key) = key else {
            return Some(self.add(table.clone(), None, None));
        };
        let range = self.locked.get(&table.id)?;
        let slots = self.slots.get(range.clone())?;
        let place = slots.binary_search_by(|slot| slot.key.as_ref().cmp(&Some(key)));
        place.ok().map(|place| range.start + place)
    }

    pub(super) fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id)
    }

    /// Whether the slot must be written before its `next` edit: its row is still to be made, so that its database
    /// defaults are not known yet, or still to be removed. Where it is to be removed now, its tombstone goes on from the
    /// version that is written.
    pub(super) fn is_unsettled(&self, id: SlotId, next: Op) -> bool {
        self.slots.get(id).is_some_and(|slot| match slot.unwritten {
            Unwritten::Nothing => false,
            Unwritten::Update(_) => next == Op::HardDelete,
            Unwritten::Insert(_) | Unwritten::Purge(_) => true,
        })
    }

    /// Reads the slot's row again if anything was written since: triggers of the user's own, or foreign keys that act, may
    /// have changed it.
    pub(super) fn reread(&mut self, conn: &mut Conn, id: SlotId) -> Result<(), StoreError> {
        let Some(slot) = self.slots.get_mut(id) else {
            return Ok(());
        };
        let (Unwritten::Nothing, Some(key)) = (&slot.unwritten, slot.key.clone()) else {
            return Ok(());
        };
        if slot.read_after == self.writes {
            return Ok(());
        }
        let keys = [key];
        let (rows, _) = conn.lock_rows(&slot.table, &keys)?;
        let mut buried = Vec::new();
        if rows.is_empty() {
            buried = conn.tombstones(&slot.table, &keys)?;
        }
        if self.reversible {
            self.journal.push((id, slot.clone()));
        }
        slot.row = rows.into_iter().find(|row| keys.contains(&row.key));
        slot.purged = buried.first().map(|(_, version)| *version);
        slot.stored = slot.row.as_ref().map_or(0, |row| row.version);
        slot.read_after = self.writes;
        Ok(())
    }

    /// A new submission begins: what earlier ones made is not its own.
    pub(super) fn forget_own(&mut self) {
        for slot in &mut self.slots {
            slot.own = Own::default();
        }
    }

    /// Merges `edit` into its slot. `table` carries the policies to merge by.
    pub(super) fn apply(
        &mut self,
        id: SlotId,
        edit: &Edit,
        client: ClientId,
        table: &Table,
    ) -> Result<Effect, Rejection> {
        let (txid, now) = (self.txid, self.now);
        let Some(slot) = self.slots.get_mut(id) else {
            return Err(no_row(false));
        };
        if self.reversible {
            self.journal.push((id, slot.clone()));
        }
        let Some(row) = slot.row.as_mut() else {
            return match edit.op {
                Op::Insert | Op::Replace => {
                    let new = new_row(edit, client, slot.purged, now);
                    slot.own.made(new.version);
                    slot.unwritten = Unwritten::Insert(new);
                    Ok(Effect::Made)
                }
                Op::Update | Op::Delete | Op::HardDelete => Err(no_row(slot.purged.is_some())),
            };
        };
        let merge = row::merge(
            &rowstate::for_merge(&slot.table, row),
            edit,
            client,
            table,
            &slot.own,
        );
        slot.own.merged(edit, &merge);
        if let Some(changed) = rowstate::store(&slot.table, row, &merge, txid, now) {
            let mut columns = match std::mem::replace(&mut slot.unwritten, Unwritten::Nothing) {
                Unwritten::Update(columns) => columns,
                Unwritten::Nothing | Unwritten::Insert(_) | Unwritten::Purge(_) => BTreeSet::new(),
            };
            columns.extend(changed);
            slot.unwritten = Unwritten::Update(columns);
        }
        // A delete that lost to someone's later edit leaves the row.
        if edit.op == Op::HardDelete && row.deleted_at.is_some() {
            slot.unwritten = Unwritten::Purge(client);
        }
        Ok(Effect::Merged(Box::new(merge)))
    }

    /// From here on there is a way back to a mark, or there is none to any.
    pub(super) fn keep_journal(&mut self, reversible: bool) {
        self.reversible = reversible;
        self.journal.clear();
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.journal.len())
    }

    /// Takes the slots back to where they were at `mark`.
    pub(super) fn back_to(&mut self, mark: Mark) {
        while self.journal.len() > mark.0 {
            if let Some((id, before)) = self.journal.pop()
                && let Some(slot) = self.slots.get_mut(id)
            {
                *slot = before;
            }
        }
    }

    /// Writes everything unwritten: new rows first, parents before children, then changed rows, then those to
    /// be removed, children before parents; one statement a table.
    pub(super) fn flush(&mut self, conn: &mut Conn, schema: &Schema) -> Result<(), StoreError> {
        for table in &schema.tables {
            self.flush_inserts(conn, table)?;
        }
        for table in &schema.tables {
            self.flush_updates(conn, table)?;
        }
        for table in schema.tables.iter().rev() {
            self.flush_purges(conn, table)?;
        }
        Ok(())
    }

    fn flush_purges(&mut self, conn: &mut Conn, table: &TableInfo) -> Result<(), StoreError> {
        let (mut ids, mut keys) = (Vec::new(), Vec::new());
        for (id, slot) in self.slots.iter().enumerate() {
            if let (Unwritten::Purge(client), Some(row)) = (&slot.unwritten, &slot.row)
                && slot.table.id == table.id
            {
                ids.push(id);
                keys.push((row.key.clone(), *client));
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let versions = conn.purge_rows(table, &keys)?;
        for (id, version) in ids.into_iter().zip(versions) {
            self.changes(id, |slot| {
                slot.row = None;
                slot.purged = Some(version);
            });
        }
        Ok(())
    }

    fn flush_inserts(&mut self, conn: &mut Conn, table: &TableInfo) -> Result<(), StoreError> {
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for (id, slot) in self.slots.iter().enumerate() {
            if let Unwritten::Insert(new) = &slot.unwritten
                && slot.table.id == table.id
            {
                ids.push(id);
                rows.push(new.clone());
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let made = conn.insert_rows(table, &rows, self.txid)?;
        for (id, row) in ids.into_iter().zip(made) {
            self.written(id, row);
        }
        Ok(())
    }

    fn flush_updates(&mut self, conn: &mut Conn, table: &TableInfo) -> Result<(), StoreError> {
        let (mut ids, mut updates) = (Vec::new(), Vec::new());
        for (id, slot) in self.slots.iter().enumerate() {
            if let (Unwritten::Update(columns), Some(row)) = (&slot.unwritten, &slot.row)
                && slot.table.id == table.id
            {
                ids.push(id);
                updates.push(RowUpdate {
                    row,
                    changed: columns.iter().copied().collect(),
                    over: slot.stored,
                });
            }
        }
        if updates.is_empty() {
            return Ok(());
        }
        match conn.update_rows(table, &updates)? {
            Some(written) => {
                for (id, row) in ids.into_iter().zip(written) {
                    self.written(id, row);
                }
            }
            None => ids
                .into_iter()
                .for_each(|id| self.changes(id, |_as_it_is| {})),
        }
        Ok(())
    }

    fn written(&mut self, id: SlotId, row: StoredRow) {
        self.changes(id, |slot| slot.row = Some(row));
    }

    /// Notes what writing a slot made of it.
    fn changes(&mut self, id: SlotId, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(id) {
            if self.reversible {
                self.journal.push((id, slot.clone()));
            }
            change(slot);
            slot.unwritten = Unwritten::Nothing;
            slot.stored = slot.row.as_ref().map_or(0, |row| row.version);
            self.writes += 1;
        }
    }
}

/// A row that an edit makes. Most columns of an edit carry its own time; only others need an entry.
fn new_row(edit: &Edit, client: ClientId, purged: Option<i64>, now: Time) -> NewRow {
    let default = Stamp {
        time: edit.at,
        client,
    };
    let values = edit
        .columns
        .iter()
        .map(|column| (column.column, column.value.clone()));
    let others = edit.columns.iter().filter(|column| column.at != edit.at);
    NewRow {
        key: edit.key.clone(),
        values: values.collect(),
        // Versions go on where the purged row's ended, or old base versions would seem to have seen it.
        version: purged.map_or(1, |version| version + 1),
        server_time: now,
        default,
        entries: others
            .map(|column| {
                (
                    column.column,
                    Stamp {
                        time: column.at,
                        client,
                    },
                )
            })
            .collect(),
    }
}
