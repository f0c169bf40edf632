//! One transaction of the commit queue: many submissions, one lock pass, one write, one commit.
//!
//! The first try merges everything in memory and writes it together. If the database refuses a row (a
//! constraint, a value), all is rolled back and done again one edit at a time, each inside a savepoint,
//! so that the refusal lands in one receipt.

mod cycle;
mod decide;
mod judged;
mod late;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use colsync_shared::receipt::Rejection;
use colsync_shared::{Edit, Op, Receipt, RowKey, Time, step};

use super::draft::{self, Draft};
use super::patch;
use super::refusal::{self, Refused};
use super::repeat::{Known, Repeats};
use super::resolve::{self, Resolution};
use super::submission::{Accepted, Answer, Item, Refusal, Submission};
use super::workspace::{Effect, Mark, Workspace};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::ledger::{self, NewConflict};
use crate::store::model::{Schema, TableInfo};

/// How often a transaction is tried again when another one was in its way.
const TRIES: usize = 8;
/// How long it is tried again: who waits for an answer is told to come later before giving up on it.
const PATIENCE: Duration = Duration::from_secs(15);

/// How edits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Together,
    OneByOne,
}

/// Commits `batch` and answers each submission. Nothing is answered that is not durable.
///
/// # Errors
/// If the database is out of reach, or does what it should not; then nothing was committed, or (a
/// connection lost during COMMIT) nobody can tell, and the clients will ask again.
pub(crate) fn commit_batch(
    conn: &mut Conn,
    schema: &Schema,
    batch: &[&Submission],
    now: Time,
) -> Result<Vec<Answer>, StoreError> {
    match commit(conn, schema, batch, now) {
        // A constraint that only COMMIT checks: nobody shall fail for a neighbour's edit.
        Err(StoreError::Constraint { .. }) => batch
            .iter()
            .map(|one| refusal::alone(conn, schema, one, now))
            .collect(),
        done => done,
    }
}

pub(super) fn commit(
    conn: &mut Conn,
    schema: &Schema,
    batch: &[&Submission],
    now: Time,
) -> Result<Vec<Answer>, StoreError> {
    let mut pace = Pace::Together;
    let mut tries = 0;
    let begun = Instant::now();
    loop {
        tries += 1;
        conn.begin_write()?;
        let last_try = tries == TRIES;
        let done = Transaction::run(conn, schema, batch, now, (pace, last_try))
            .and_then(|answers| conn.commit_write().map(|()| answers));
        let failure = match done {
            Ok(answers) => return Ok(answers),
            Err(failure) => failure,
        };
        conn.rollback();
        match failure {
            StoreError::Constraint { .. } | StoreError::Refused(_) | StoreError::Unclear(_)
                if pace == Pace::Together =>
            {
                (pace, tries) = (Pace::OneByOne, 0);
            }
            StoreError::Raced if last_try && pace == Pace::Together => {
                (pace, tries) = (Pace::OneByOne, 0);
            }
            StoreError::Retry(_) if !last_try && begun.elapsed() < PATIENCE => {}
            StoreError::Raced if !last_try => {}
            failure => return Err(failure),
        }
    }
}

/// What a submission will be answered, as far as it is known before everything is written.
enum Planned {
    Ready(Answer),
    Fresh(Vec<Draft>),
    /// The same as another submission of this batch, which it repeats.
    SameAs(usize),
}

struct Transaction<'a> {
    conn: &'a mut Conn,
    schema: &'a Schema,
    pace: Pace,
    /// Whether a race that is lost again is the edit's own doing.
    last_try: bool,
    now: Time,
    space: Workspace,
    resolutions: HashMap<uuid::Uuid, Resolution>,
    conflicts: Vec<NewConflict>,
    repeats: Repeats,
}

impl Transaction<'_> {
    fn run(
        conn: &mut Conn,
        schema: &Schema,
        batch: &[&Submission],
        now: Time,
        (pace, last_try): (Pace, bool),
    ) -> Result<Vec<Answer>, StoreError> {
        if pace == Pace::OneByOne {
            conn.constraints_now(schema.late_uniques.as_deref())?;
        }
        let repeats = Repeats::lock(conn, batch)?;
        let resolutions = resolve::load(conn, schema, batch)?;
        let named = batch
            .iter()
            .flat_map(|submission| submission.items.iter().filter_map(Item::target));
        let decided = resolutions.values().filter_map(Resolution::target);
        let space = Workspace::lock(conn, schema, named.chain(decided), now)?;
        let mut this = Transaction {
            conn,
            schema,
            pace,
            last_try,
            now,
            space,
            resolutions,
            conflicts: Vec::new(),
            repeats,
        };
        let mut plans = Vec::with_capacity(batch.len());
        for (position, submission) in batch.iter().enumerate() {
            let plan = this.plan(submission, batch.get(..position).unwrap_or_default())?;
            plans.push(plan);
        }
        step::reach("push.merged");
        this.space.flush(this.conn, this.schema)?;
        step::reach("push.flushed");
        ledger::insert_conflicts(this.conn, std::mem::take(&mut this.conflicts))?;
        step::reach("push.ledger");
        this.settle(batch, plans)
    }

    fn plan(
        &mut self,
        submission: &Submission,
        earlier: &[&Submission],
    ) -> Result<Planned, StoreError> {
        match self.repeats.recognise(self.conn, submission, earlier)? {
            Some(Known::Answer(answer)) => Ok(Planned::Ready(answer)),
            Some(Known::SameAs(position)) => Ok(Planned::SameAs(position)),
            None => {
                self.space.forget_own();
                let submission = self.repeats.as_seen(submission);
                self.submission(&submission).map(Planned::Fresh)
            }
        }
    }

    /// Merges the edits of one submission, in order.
    fn submission(&mut self, submission: &Submission) -> Result<Vec<Draft>, StoreError> {
        let guarded = submission.atomic || self.pace == Pace::OneByOne;
        self.space.keep_journal(guarded);
        let before = self.point("submission", guarded)?;
        let resolutions = self.resolutions.clone();
        let mut drafts = self.rounds(submission)?;
        if self.pace == Pace::OneByOne && !self.uniques_hold()? {
            // Whose edit it is is told where each is checked at once.
            self.back_to("submission", before, guarded)?;
            self.resolutions = resolutions;
            self.conn.constraints_now(None)?;
            drafts = self.rounds(submission)?;
            self.conn
                .constraints_now(self.schema.late_uniques.as_deref())?;
        }
        if submission.atomic && drafts.iter().any(Draft::is_rejected) {
            self.back_to("submission", before, guarded)?;
            drafts = submission
                .items
                .iter()
                .zip(drafts)
                .map(refusal::rolled_back)
                .collect();
        }
        self.release("submission", guarded)?;
        drafts
            .into_iter()
            .map(|draft| self.keep_refused(draft))
            .collect()
    }

    /// Merges its edits in rounds.
    fn rounds(&mut self, submission: &Submission) -> Result<Vec<Draft>, StoreError> {
        let mut drafts: Vec<Draft> = submission.items.iter().map(|_| Draft::waiting()).collect();
        let mut waiting: Vec<usize> = (0..submission.items.len()).collect();
        // Edits that only lack a row their foreign key points to are tried again, for as long as that
        // helps, and with them the later edits of their rows.
        loop {
            let mut parked = self.round(submission, &waiting, &mut drafts)?;
            if parked.len() == waiting.len() {
                parked = self.break_cycles(submission, &parked, &mut drafts)?;
            }
            if parked.is_empty() || parked.len() == waiting.len() {
                break;
            }
            waiting = parked;
        }
        Ok(drafts)
    }

    /// Merges the edits at `positions`; gives back those that had to be parked.
    fn round(
        &mut self,
        submission: &Submission,
        positions: &[usize],
        drafts: &mut [Draft],
    ) -> Result<Vec<usize>, StoreError> {
        let mut parked = Vec::new();
        let mut parked_rows: HashSet<(i64, RowKey)> = HashSet::new();
        for &position in positions {
            let Some(item) = submission.items.get(position) else {
                continue;
            };
            let target = item.target().map(|(table, key)| (table.id, key.clone()));
            if target.as_ref().is_some_and(|row| parked_rows.contains(row)) {
                parked.push(position);
            }
            let (draft, waits) = self.item(item, submission)?;
            if waits && !parked.contains(&position) {
                parked.push(position);
                parked_rows.extend(target);
            }
            if let Some(slot) = drafts.get_mut(position) {
                *slot = draft;
            }
        }
        Ok(parked)
    }

    /// Merges one edit; the flag says that it failed for want of a row another edit may still bring.
    fn item(&mut self, item: &Item, submission: &Submission) -> Result<(Draft, bool), StoreError> {
        if self.pace == Pace::Together {
            return Ok((self.merge_item(item, submission)?, false));
        }
        let before = self.point("edit", true)?;
        let decided = item.decides().and_then(|conflict| {
            let resolution = self.resolutions.get(&conflict)?;
            Some((conflict, resolution.clone()))
        });
        let row = self.before(item);
        let merged = self.merge_item(item, submission).and_then(|draft| {
            self.space.flush(self.conn, self.schema)?;
            self.keys_hold(item, &draft, row.as_ref())?;
            Ok(draft)
        });
        let failure = match merged {
            Ok(draft) => {
                self.release("edit", true)?;
                return Ok((draft, false));
            }
            Err(failure) => failure,
        };
        let decided_about = decided.as_ref().map(|(_, resolution)| resolution);
        let failure = self.judged(item, decided_about, failure)?;
        let refused = Refused::of(failure, self.last_try)?;
        self.back_to("edit", before, true)?;
        self.release("edit", true)?;
        self.resolutions.extend(decided);
        Ok((self.refused(item, submission, &refused)?, refused.waits))
    }

    /// What becomes of an edit that the database refuses: its receipt, and what the ledger is to keep of it.
    fn refused(
        &mut self,
        item: &Item,
        submission: &Submission,
        refused: &Refused,
    ) -> Result<Draft, StoreError> {
        let (name, id) = refusal::named(item);
        let receipt = Receipt::rejected(name, id, refused.rejection.clone());
        let (table, edit) = match item {
            Item::Edit { table, edit } => (table, edit.clone()),
            Item::Patch {
                table,
                key,
                patch,
                base_version,
                at,
            } => match self.patched(table, key, patch, *base_version, *at)? {
                Ok(edit) => (table, edit),
                Err(_rejection) => return Ok(Draft::Done(receipt)),
            },
            // What an administrator decides stays in the ledger as it is.
            Item::Resolve { .. } | Item::Refused { .. } => return Ok(Draft::Done(receipt)),
            Item::Rejected(own) => return Ok(Draft::Done(own.clone())),
        };
        let slot = edit.key.as_ref();
        let slot = slot.and_then(|key| self.space.slot_of(table, Some(key)));
        let row = slot.and_then(|slot| self.space.slot(slot)?.row.as_ref());
        Ok(match refused.entry(table, &edit, row, submission) {
            Some(entry) => Draft::Refused {
                receipt,
                entry: Box::new(entry),
            },
            None => Draft::Done(receipt),
        })
    }

    /// Gives a refused edit its place in the ledger, unless the ledger has it from an earlier time.
    fn keep_refused(&mut self, draft: Draft) -> Result<Draft, StoreError> {
        let (mut receipt, entry) = match draft {
            Draft::Refused { receipt, entry } => (receipt, entry),
            draft @ (Draft::Done(_) | Draft::Made { .. }) => return Ok(draft),
        };
        let same = self
            .conflicts
            .iter()
            .find(|known| refusal::is_same(known, &entry));
        let known = match same {
            Some(known) => Some(known.id.clone()),
            None => ledger::same_refusal(self.conn, &entry)?,
        };
        let id = known.unwrap_or_else(|| {
            let id = entry.id.clone();
            self.conflicts.push(*entry);
            id
        });
        if let Some(rejection) = &mut receipt.rejection {
            rejection.conflict = id.parse().ok();
        }
        Ok(Draft::Done(receipt))
    }

    fn merge_item(&mut self, item: &Item, submission: &Submission) -> Result<Draft, StoreError> {
        match item {
            Item::Rejected(receipt) => Ok(Draft::Done(receipt.clone())),
            Item::Refused { item, refused } => self.refused(item, submission, refused),
            Item::Edit { table, edit } => self.edit(table, edit, submission, &table.spec),
            Item::Patch {
                table,
                key,
                patch,
                base_version,
                at,
            } => match self.patched(table, key, patch, *base_version, *at)? {
                Ok(edit) => self.edit(table, &edit, submission, &table.spec),
                Err(rejection) => Ok(draft::rejected(table, Some(key.to_string()), rejection)),
            },
            Item::Resolve { conflict, decision } => self.decide(*conflict, decision, submission),
        }
    }

    fn patched(
        &mut self,
        table: &Arc<TableInfo>,
        key: &RowKey,
        document: &super::submission::Patch,
        base_version: Option<i64>,
        at: Time,
    ) -> Result<Result<Edit, Rejection>, StoreError> {
        let Some(slot) = self.space.slot_of(table, Some(key)) else {
            return Ok(Err(super::submission::no_row(false)));
        };
        self.make(slot, Op::Update)?;
        let Some(slot) = self.space.slot(slot) else {
            return Ok(Err(super::submission::no_row(false)));
        };
        Ok(match &slot.row {
            None => Err(super::submission::no_row(slot.purged().is_some())),
            Some(row) => patch::resolve(&table.spec, key, &row.values, document, base_version, at),
        })
    }

    /// Writes the slot's row where its `next` edit needs what the database has, and reads it where others may have
    /// changed it.
    fn make(&mut self, slot: usize, next: Op) -> Result<(), StoreError> {
        if self.space.is_unsettled(slot, next) {
            self.space.flush(self.conn, self.schema)?;
        }
        if self.schema.others_change {
            self.space.reread(self.conn, slot)?;
        }
        Ok(())
    }

    fn edit(
        &mut self,
        table: &Arc<TableInfo>,
        edit: &Edit,
        submission: &Submission,
        policies: &colsync_shared::Table,
    ) -> Result<Draft, StoreError> {
        let id = edit.key.as_ref().map(ToString::to_string);
        let Some(slot) = self.space.slot_of(table, edit.key.as_ref()) else {
            return Ok(draft::rejected(table, id, super::submission::no_row(false)));
        };
        self.make(slot, edit.op)?;
        match self.space.apply(slot, edit, submission.client, policies) {
            Err(rejection) => Ok(draft::rejected(table, id, rejection)),
            Ok(Effect::Made) => Ok(Draft::Made {
                slot,
                edit: edit.clone(),
            }),
            Ok(Effect::Merged(merge)) => {
                let id = id.unwrap_or_default();
                let row = self.space.slot(slot).and_then(|slot| slot.row.as_ref());
                let birth = row.map_or(0, |row| row.stamps.birth_version);
                let (receipt, conflicts) =
                    draft::merged(table, id, edit, (&*merge, birth), submission);
                self.conflicts.extend(conflicts);
                Ok(Draft::Done(receipt))
            }
        }
    }

    /// Marks where to go back to; the database, too, if it is `guarded`.
    fn point(&mut self, name: &str, guarded: bool) -> Result<(Mark, usize), StoreError> {
        if guarded {
            self.conn.savepoint(name)?;
        }
        Ok((self.space.mark(), self.conflicts.len()))
    }

    fn back_to(
        &mut self,
        name: &str,
        (mark, conflicts): (Mark, usize),
        guarded: bool,
    ) -> Result<(), StoreError> {
        if guarded {
            self.conn.rollback_to(name)?;
        }
        self.space.back_to(mark);
        self.conflicts.truncate(conflicts);
        Ok(())
    }

    fn release(&mut self, name: &str, guarded: bool) -> Result<(), StoreError> {
        if guarded {
            self.conn.release(name)
        } else {
            Ok(())
        }
    }

    /// Stores what a repeat will be answered with, and makes the answers.
    fn settle(self, batch: &[&Submission], plans: Vec<Planned>) -> Result<Vec<Answer>, StoreError> {
        let Transaction {
            conn,
            space,
            mut repeats,
            now,
            ..
        } = self;
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        for (submission, plan) in batch.iter().zip(plans) {
            let answer = match plan {
                Planned::Ready(answer) => answer,
                Planned::SameAs(position) => answers
                    .get(position)
                    .cloned()
                    .unwrap_or(Err(Refusal::Internal)),
                Planned::Fresh(drafts) => {
                    let receipts: Vec<Receipt> = drafts
                        .into_iter()
                        .map(|draft| draft.finish(&space))
                        .collect();
                    repeats.remember(conn, submission, &receipts, now)?;
                    Ok(Accepted { receipts })
                }
            };
            answers.push(answer);
        }
        repeats.settle(conn)?;
        step::reach("push.before_commit");
        Ok(answers)
    }
}
