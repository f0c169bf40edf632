//! Settling a push by its receipts, in one transaction: what was answered for leaves the log, what the
//! server made of it goes into the table, and edits made meanwhile stay pending from the right base.

mod follow;
mod lacking;
mod refusal;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use colsync_shared::receipt::{Outcome, Receipt, Status};
use colsync_shared::sqlite::Stored;
use colsync_shared::{Op, Time, step};
use serde_json::Value as Json;

use super::edit::WireEdit;
use super::fold::{self, Folded};
use super::freeze::{self, Frozen};
use super::history::{self, History, row_now};
use super::letters;
use crate::error::Error;
use crate::file::{File, is_refusal};
use crate::inbox::held::{self, Held};
use crate::inbox::{apply, resync, versions, write};
use crate::keys;
use crate::pairing::Paired;
use crate::table::RowRef;

/// What a push came to.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) applied: u64,
    pub(crate) superseded: u64,
    pub(crate) merged: u64,
    pub(crate) held: u64,
    pub(crate) rejected: u64,
    /// Rows that stay pending and are to be sent again after the others: their refusal may be the order's.
    pub(crate) again: Vec<RowRef>,
    /// What became of the ids of rows.
    pub(crate) keys: keys::News,
    /// Whether the server's schema is not what it was.
    pub(crate) schema_changed: bool,
}

impl Settled {
    /// Whether any edit was accepted.
    pub(crate) fn has_accepted(&self) -> bool {
        self.applied + self.superseded + self.merged + self.held > 0
    }
}

/// How the receipts came about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Whether the push's number is used up; not if the server refused the push as a whole.
    pub(crate) used: bool,
    /// Whether a constraint's refusal is final; else the edit is sent again once the others are through.
    pub(crate) last: bool,
    pub(crate) now: Time,
}

/// Applies the receipts of `frozen`.
///
/// # Errors
/// [`Error::Nonsense`] if the receipts are not those of the push.
pub(crate) fn settle(
    file: &mut File,
    tables: &[Paired],
    frozen: &Frozen,
    receipts: Vec<Receipt>,
    terms: Terms,
) -> Result<Settled, Error> {
    let edits = freeze::edits(frozen)?;
    if edits.len() != receipts.len() {
        return Err(Error::Nonsense(format!(
            "{} receipts for {} edits",
            receipts.len(),
            edits.len()
        )));
    }
    let folded = fold::fold(edits, receipts);
    let settled = file.write(|file| {
        let mut batch = keys::Batch::begin(file, tables, &folded)?;
        let sent = freeze::sent(file)?;
        if sent.len() != folded.len() {
            return Err(Error::Corrupt("colsync_sent".to_owned()));
        }
        let rows: Vec<RowRef> = sent.iter().map(|(row, _)| row.clone()).collect();
        let histories = history::of(file, &rows)?;
        let starting_over = resync::under_way(file)?;
        let mut settled = Settled::default();
        step::reach("settle.begun");
        write::without_echo(file, tables, |file| {
            file.uncaptured(|file| {
                let mut histories = histories.into_iter().peekable();
                for ((row, upto), folded) in sent.into_iter().zip(folded) {
                    // A row that was untracked meanwhile has no lines any more, and nothing to settle.
                    let Some(history) = histories.next_if(|history| history.row == row) else {
                        continue;
                    };
                    let Some(paired) = tables.iter().find(|t| t.local.number == row.table) else {
                        continue;
                    };
                    let Folded {
                        mut edit,
                        mut receipt,
                        mut accepted,
                        refused,
                        untold,
                    } = folded;
                    let missing =
                        batch.take(file, paired, &history, upto, &mut edit, &mut receipt)?;
                    for (one, _) in &mut accepted {
                        one.id.clone_from(&edit.id);
                    }
                    let mut one = One {
                        batch: &batch,
                        starting_over: &starting_over,
                        missing,
                        file: &mut *file,
                        paired,
                        row,
                        edit,
                        went_on: history.has_after(upto),
                        history,
                        upto,
                        now: terms.now,
                        settled: &mut settled,
                    };
                    match receipt.status {
                        Status::Ok => {
                            one.tell(&accepted, &refused)?;
                            let receipt = one.told_again(receipt, &untold);
                            one.accepted(&receipt)?;
                        }
                        Status::Rejected => one.rejected(&receipt, &refused, terms.last)?,
                        Status::RolledBack => {
                            return Err(Error::Nonsense("a receipt of an atomic push".to_owned()));
                        }
                    }
                    step::reach("settle.row");
                }
                settled.keys = batch.finish(file, frozen)?;
                Ok(())
            })
        })?;
        if terms.used {
            freeze::answered(file, frozen.number, terms.now)?;
        } else {
            freeze::thaw(file)?;
        }
        step::reach("settle.before_commit");
        Ok(settled)
    })?;
    step::reach("settle.settled");
    Ok(settled)
}

/// One edit and what is known of its row.
struct One<'a> {
    file: &'a mut File,
    batch: &'a keys::Batch<'a>,
    /// Tables of which a pull from the beginning is under way, by their numbers.
    starting_over: &'a BTreeSet<i64>,
    missing: keys::Missing,
    paired: &'a Paired,
    row: RowRef,
    edit: WireEdit,
    history: History,
    /// The last line that the edit covers.
    upto: i64,
    /// Whether the app has edited the row since.
    went_on: bool,
    now: Time,
    settled: &'a mut Settled,
}

impl One<'_> {
    /// Keeps what the app is to know of the row's edits: where they met others', and which were refused.
    fn tell(
        &mut self,
        accepted: &[(WireEdit, Receipt)],
        refused: &[(WireEdit, Receipt)],
    ) -> Result<(), Error> {
        for (edit, receipt) in accepted {
            self.count(receipt);
            let original = |name: &str| self.original(name);
            let picks_one = |name: &str| {
                let at = self.paired.position(name);
                let column = at.and_then(|at| self.paired.column(at));
                column.is_some_and(|column| column.picks_one)
            };
            let told = letters::conflicts(edit, receipt, original, picks_one);
            letters::note_conflicts(self.file, edit, told, self.now)?;
        }
        for (edit, receipt) in refused {
            self.settled.rejected += 1;
            letters::add(self.file, edit, receipt, self.now)?;
        }
        Ok(())
    }

    /// The receipt with the Originals of columns of which it does not tell what the server has.
    fn told_again(&self, mut receipt: Receipt, untold: &[String]) -> Receipt {
        for name in untold {
            if let Some(value) = self.original(name) {
                receipt.changed.insert(name.clone(), value);
            }
        }
        receipt
    }

    fn accepted(&mut self, receipt: &Receipt) -> Result<(), Error> {
        let leaves = receipt.deleted && !self.went_on;
        if leaves {
            self.cannot_wait()?;
        }
        let waiting = self.forget_settled_lines(leaves)?;
        if !receipt.deleted && self.starting_over.contains(&self.row.table) {
            // That may have passed its place, and a server does not echo what it was sent.
            resync::seen(self.file, &self.row)?;
        }
        if self.went_on || !self.there(&waiting).is_empty() {
            self.accepted_meanwhile(receipt, &waiting)?;
        } else {
            self.accepted_alone(receipt)?;
        }
        self.follow(receipt)
    }

    /// The app has not edited the row since the push was frozen, and the push told of all that it had edited of what the
    /// server has.
    fn accepted_alone(&mut self, receipt: &Receipt) -> Result<(), Error> {
        let there = write::exists(self.file, self.paired, &self.row.id)?;
        if receipt.deleted {
            if apply::remove_or_hold(self.file, self.paired, &self.row)?.is_none() {
                return Ok(());
            }
            match self.deleted_in_view(receipt) {
                Some(version) => versions::set(self.file, &self.row, version)?,
                None => versions::forget(self.file, &self.row)?,
            }
            return held::forget(self.file, &self.row);
        }
        if let Some(version) = receipt.version {
            versions::set(self.file, &self.row, version)?;
        }
        // What came of columns that the receipt does not tell of can be written now.
        let mut columns = match self.edit.op {
            Op::Update | Op::Delete | Op::HardDelete => held::of(self.file, &self.row)?.columns,
            Op::Insert | Op::Replace => BTreeMap::new(),
        };
        columns.retain(|name, _| {
            !self.edit.columns.contains_key(name) && !receipt.changed.contains_key(name)
        });
        if !there {
            // The row lives on at the server although the app deleted it.
            let mut whole = self.originals();
            whole.extend(columns);
            columns = whole;
        }
        columns.extend(results(receipt));
        let mut waiting = Held {
            columns,
            full: !there,
            ..Held::default()
        };
        // Where the table refuses them, they are not in view.
        waiting.note_unseen(self.before(receipt));
        apply::put_or_hold(self.file, self.paired, &self.row, &waiting)
    }

    /// The version of the row that the app deleted, as far as it had it in view; none where others did, or the id may
    /// become another row's. What a receipt brings beside, nobody looks at any more.
    fn deleted_in_view(&self, receipt: &Receipt) -> Option<i64> {
        match self.edit.op {
            _ if self.paired.makes_key => None,
            // Nor had it in view what has not come down yet.
            _ if !self.paired.fresh().is_empty() => None,
            Op::Delete | Op::HardDelete if receipt.changed.is_empty() => receipt.version,
            Op::Delete | Op::HardDelete => self.edit.base_version,
            Op::Insert | Op::Update | Op::Replace => None,
        }
    }

    /// The version that the edit was made from. Whoever makes a row has seen nothing of another's but what it deleted, and
    /// all of what it made itself.
    fn before(&self, receipt: &Receipt) -> i64 {
        match (self.makes(), receipt.version) {
            (true, Some(version)) if receipt.created => version,
            (true, _) => self.edit.base_version.unwrap_or(0),
            (false, _) => self.edit.base_version.unwrap_or(held::LOST),
        }
    }

    /// The version that the column `name` was edited from; of one that was not edited, `before`, and of one that has not
    /// come down yet, none.
    fn base_of(&self, name: &str, before: i64) -> i64 {
        let at = self.paired.position(name);
        let column = at.and_then(|at| self.paired.column(at));
        let before = column.map_or(before, |column| column.base(before));
        let sent = self.edit.columns.get(name);
        sent.and_then(|sent| sent.base_version).unwrap_or(before)
    }

    /// Whether the app made the row.
    fn makes(&self) -> bool {
        match self.edit.op {
            Op::Insert => true,
            Op::Replace => !self.history.existed,
            Op::Update | Op::Delete | Op::HardDelete => false,
        }
    }

    /// The app has edited the row since the push was frozen, or has edited columns, the `waiting`, that could not be told.
    /// Columns that it has not touched take what the server has; the others stay as they are, and wait for their own push.
    fn accepted_meanwhile(&mut self, receipt: &Receipt, waiting: &[String]) -> Result<(), Error> {
        let mut later = self.later();
        later.add(waiting);
        let here = row_now(self.file, &self.paired.local, &self.row)?.is_some();
        let results = results(receipt);
        let mut held = held::of(self.file, &self.row)?;
        let before = self.before(receipt);
        for (name, sent) in self.edit.columns.clone() {
            if !results.contains_key(&name) {
                // The server has what was sent: that is the Original of what the app wrote after it.
                held.bases.remove(&name);
                held.columns.remove(&name);
                self.move_original(&name, &sent.value)?;
            }
        }
        let mut free = Vec::new();
        for (name, value) in results {
            let Some(at) = self.paired.position(&name) else {
                continue;
            };
            // Whatever waited of the column is older.
            held.columns.remove(&name);
            if here && !later.has(self.paired, at) {
                held.bases.remove(&name);
                free.push((at, self.paired.stored(at, &value)));
            } else {
                held.note_base(&name, self.base_of(&name, before));
                held.columns.insert(name, value);
            }
        }
        if receipt.deleted || (!here && !held.columns.is_empty()) {
            // What the app did to the row was done without the others' delete, or their values, in view.
            held.row_base = held.row_base.or(Some(before));
        }
        held.removed = receipt.deleted;
        held.version = None;
        if let Some(version) = receipt.version {
            versions::set(self.file, &self.row, version)?;
        }
        let refused = match write::update(self.file, self.paired, &self.row.id, &free) {
            Ok(_there) => None,
            Err(refused) if is_refusal(self.file, &refused) => {
                for (at, value) in free {
                    if let Some(there) = self.paired.column(at) {
                        let wire = self.paired.wire(at, &value);
                        held.note_base(&there.name, self.base_of(&there.name, before));
                        held.columns.insert(there.name.clone(), wire);
                    }
                }
                Some(refused.to_string())
            }
            Err(failure) => return Err(failure),
        };
        held::keep(self.file, &self.row, &held, refused.as_deref())
    }

    /// Removes the lines that the edit covers. Those of columns that the server lacks stay, but where the row `leaves` the
    /// file; the names of these columns.
    fn forget_settled_lines(&mut self, leaves: bool) -> Result<Vec<String>, Error> {
        let is_edit = matches!(self.edit.op, Op::Update | Op::Replace) && !self.makes();
        let (stay, waiting) = if is_edit && !leaves {
            self.lines_that_stay()?.into_iter().unzip()
        } else {
            (Vec::new(), Vec::new())
        };
        let seqs = self
            .history
            .lines
            .iter()
            .map(|(seq, _)| *seq)
            .filter(|seq| *seq <= self.upto && !stay.contains(seq))
            .collect();
        history::forget(self.file, seqs)?;
        if self.makes() && !leaves {
            return self.keep_what_the_server_lacks();
        }
        Ok(waiting)
    }

    /// What the app has written since the push.
    fn later(&self) -> Later {
        let lines = self.history.lines.iter();
        let mut later = Later::default();
        for (_, column) in lines.filter(|(seq, _)| *seq > self.upto) {
            match column {
                Some(name) => later.add(std::slice::from_ref(name)),
                // The row was made or deleted.
                None => later.all = true,
            }
        }
        later
    }

    /// Makes `value` the Original of what the app wrote to the column after the push.
    fn move_original(&mut self, name: &str, value: &Json) -> Result<(), Error> {
        let Some(at) = self.paired.position(name) else {
            return Ok(());
        };
        let Some(local) = self.paired.local.columns.get(at) else {
            return Ok(());
        };
        let first = self.history.lines.iter().find(|(seq, column)| {
            *seq > self.upto
                && column
                    .as_ref()
                    .is_some_and(|column| column.eq_ignore_ascii_case(&local.name))
        });
        let Some((seq, _)) = first else {
            return Ok(());
        };
        let stored = self.paired.stored(at, value);
        self.file.execute(
            "UPDATE colsync_log SET old = :? WHERE seq = :?",
            &[stored, Stored::Int(*seq)],
        )?;
        Ok(())
    }

    /// The Original of the server's column `name`, for the wire.
    fn original(&self, name: &str) -> Option<Json> {
        let at = self.paired.position(name)?;
        let column = self.paired.local.columns.get(at)?;
        let stored = self.history.original(&column.name)?;
        Some(self.paired.wire(at, stored))
    }

    /// All Originals that the log has of the row, by the server's names.
    fn originals(&self) -> BTreeMap<String, Json> {
        let columns = self.paired.columns.iter().flatten();
        columns
            .filter_map(|there| Some((there.name.clone(), self.original(&there.name)?)))
            .collect()
    }

    fn count(&mut self, receipt: &Receipt) {
        let mut worst = 0;
        for column in receipt.columns.values() {
            worst = worst.max(match column.outcome {
                Outcome::Applied | Outcome::Unchanged => 0,
                Outcome::Merged => 1,
                Outcome::Superseded => 2,
                Outcome::Held => 3,
            });
        }
        *(match worst {
            0 => &mut self.settled.applied,
            1 => &mut self.settled.merged,
            2 => &mut self.settled.superseded,
            _ => &mut self.settled.held,
        }) += 1;
    }
}

/// Columns that the app has written since the push, by its names in lower case.
#[derive(Debug, Default)]
struct Later {
    all: bool,
    columns: HashSet<String>,
}

impl Later {
    fn add(&mut self, names: &[String]) {
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        self.columns.extend(names);
    }

    fn has(&self, paired: &Paired, position: usize) -> bool {
        let has = |name: &str| self.columns.contains(&name.to_ascii_lowercase());
        self.all || paired.touches(position, has)
    }
}

/// What the server has of the row that the client does not: results other than what was sent, and what
/// others changed.
fn results(receipt: &Receipt) -> BTreeMap<String, Json> {
    let of_columns = receipt
        .columns
        .iter()
        .filter_map(|(name, column)| Some((name.clone(), column.value.clone()?)));
    let changed = receipt.changed.iter();
    of_columns
        .chain(changed.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}
