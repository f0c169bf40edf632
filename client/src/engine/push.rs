//! The first half of a sync: what the app has written goes up, and is settled by the receipts.

use std::collections::HashSet;

use colsync_shared::receipt::{Receipt, Rejection};
use colsync_shared::step;

use super::report::Progress;
use super::session::Session;
use crate::error::Error;
use crate::outbox::freeze::{self, Choice, Frozen};
use crate::outbox::history;
use crate::outbox::settle::{Settled, Terms, settle};
use crate::remote::Trouble;
use crate::table::RowRef;

/// How often a sync takes a new identity or sends pushes again before it gives up.
const MOST_RESTARTS: usize = 3;

/// What became of a push that was sent.
enum Sent {
    /// It is settled.
    Settled(Settled),
    /// It is pending as before, and is to be made anew.
    Thawed,
}

impl Session<'_> {
    /// Pushes what the app had written when the sync began. What it writes meanwhile is the next one's: an app
    /// that never stops writing is to hear of the others, too.
    pub(super) fn push(&mut self) -> Result<(), Error> {
        self.report.waiting.clear();
        let mut round = Round {
            upto: history::last_line(&mut self.file)?,
            ..Round::default()
        };
        loop {
            let before = round.learnt;
            self.push_all(&mut round)?;
            self.push_again(&mut round)?;
            let is_stuck = round.learnt == before;
            if round.later.is_empty() || (is_stuck && round.break_cycles) {
                break;
            }
            // Rows that wait for each other's ids are sent without the columns by which they do.
            round.break_cycles = is_stuck;
            round.let_later_go();
        }
        for (_, reason) in round.later {
            self.tell(reason);
        }
        Ok(())
    }

    fn push_all(&mut self, round: &mut Round) -> Result<(), Error> {
        let (mut batch, mut entries) = (self.batch(), usize::MAX);
        loop {
            self.go_on()?;
            let choice = Choice::First {
                most: batch,
                entries,
                upto: round.upto,
                skip: &round.skip,
            };
            let frozen = match self.next(&choice, round.break_cycles)? {
                Some(Next::Push(frozen)) => frozen,
                Some(Next::Waiting(rows)) => {
                    round.skip.extend(rows);
                    continue;
                }
                Some(Next::Later(rows)) => {
                    round.skip.extend(rows.iter().map(|(row, _)| row.clone()));
                    round.later.extend(rows);
                    continue;
                }
                Some(Next::Nothing) => continue,
                None => return Ok(()),
            };
            match self.send(&frozen, false, &mut round.restarts)? {
                Sent::Thawed => {
                    batch = smaller(batch, &frozen);
                    entries = entries.min(frozen.edits as usize) / 2;
                }
                Sent::Settled(settled) => {
                    batch = (batch * 2).min(self.batch());
                    entries = entries.max(1).saturating_mul(2);
                    self.note_settled(round, &settled)?;
                    round.skip.extend(settled.again.iter().cloned());
                    round.again.extend(settled.again);
                }
            }
        }
    }

    /// The most edits in one push.
    fn batch(&self) -> usize {
        let batch = self.settings.batch.max(1);
        batch.min(self.remote.most_edits())
    }

    /// What was refused on its own may pass with, or after, the others: as long as some do, all are sent
    /// again. Then what is refused is refused.
    fn push_again(&mut self, round: &mut Round) -> Result<(), Error> {
        let mut again = std::mem::take(&mut round.again);
        let (mut batch, mut entries) = (self.batch(), usize::MAX);
        // Where nothing has changed for them, once more is enough, all together.
        let mut last = !round.has_accepted && again.len() <= self.batch();
        while !again.is_empty() {
            let before = again.len();
            let (mut left, mut rest) = (Vec::new(), again.as_slice());
            while !rest.is_empty() {
                self.go_on()?;
                let (rows, others) = rest.split_at(batch.min(rest.len()));
                let frozen = match self.next(&Choice::Rows { rows, entries }, round.break_cycles)? {
                    Some(Next::Push(frozen)) => frozen,
                    Some(Next::Later(_) | Next::Waiting(_) | Next::Nothing) | None => {
                        rest = others;
                        continue;
                    }
                };
                match self.send(&frozen, last, &mut round.restarts)? {
                    // They do not go all together, nor does all of one's log.
                    Sent::Thawed => {
                        (batch, last) = (smaller(batch, &frozen), false);
                        entries = if rows.len() == 1 { 0 } else { entries };
                    }
                    Sent::Settled(settled) => {
                        (rest, entries) = (others, usize::MAX);
                        self.note_settled(round, &settled)?;
                        left.extend(settled.again);
                    }
                }
            }
            if last {
                return Ok(());
            }
            last = left.len() >= before;
            again = left;
        }
        Ok(())
    }

    /// What a settled push means for the rows that are still to be sent.
    fn note_settled(&mut self, round: &mut Round, settled: &Settled) -> Result<(), Error> {
        round.has_accepted |= settled.has_accepted();
        for (before, now) in &settled.keys.moved {
            if round.skip.remove(before) {
                round.skip.insert(now.clone());
            }
            let again = round.again.iter_mut().filter(|row| *row == before);
            again.for_each(|row| *row = now.clone());
        }
        if settled.keys.learnt > 0 {
            round.learnt += settled.keys.learnt;
            round.let_later_go();
        }
        if settled.keys.follows {
            round.upto = history::last_line(&mut self.file)?;
        }
        Ok(())
    }

    fn tell(&mut self, reason: String) {
        if !self.report.waiting.contains(&reason) {
            self.report.waiting.push(reason);
        }
    }

    /// The push that has no answer yet, or a new one.
    fn next(&mut self, choice: &Choice<'_>, break_cycles: bool) -> Result<Option<Next>, Error> {
        if let Some(frozen) = freeze::unanswered(&mut self.file)? {
            return Ok(Some(Next::Push(frozen)));
        }
        let terms = freeze::Terms {
            mode: self.mode,
            break_cycles,
            schema: self.schema.as_ref().map(|schema| schema.hash.as_str()),
        };
        let frost = freeze::freeze(&mut self.file, &self.tables, terms, choice)?;
        for (_, reason) in &frost.waiting {
            self.tell(reason.clone());
        }
        Ok(if let Some(push) = frost.push {
            Some(Next::Push(push))
        } else if !frost.waiting.is_empty() {
            let rows = frost.waiting.into_iter().map(|(row, _)| row).collect();
            Some(Next::Waiting(rows))
        } else if !frost.later.is_empty() {
            Some(Next::Later(frost.later))
        } else {
            (frost.dropped > 0).then_some(Next::Nothing)
        })
    }

    /// Sends a push and settles it.
    fn send(&mut self, frozen: &Frozen, last: bool, restarts: &mut usize) -> Result<Sent, Error> {
        let left = self.file.int("SELECT count(*) FROM colsync_log", &[])?;
        (self.progress)(Progress::Pushing {
            sent: self.report.pushed,
            left: u64::try_from(left).unwrap_or(0),
        });
        step::reach("send.before");
        let position = self.position()?;
        let answer = self.remote.push(
            self.client,
            frozen,
            position.as_deref(),
            self.settings.compress,
        );
        step::reach("send.answered");
        let trouble = match answer {
            Ok(answer) if answer.push == frozen.number => {
                let terms = Terms {
                    used: true,
                    last,
                    now: self.settings.clock.now(),
                };
                let settled = settle(&mut self.file, &self.tables, frozen, answer.receipts, terms)?;
                self.count(frozen, &settled);
                let hash = self.schema.as_ref().map(|schema| schema.hash.clone());
                if settled.schema_changed || (answer.schema.is_some() && answer.schema != hash) {
                    self.fetch_schema()?;
                    self.pair()?;
                }
                return Ok(Sent::Settled(settled));
            }
            Ok(answer) => {
                return Err(Error::Nonsense(format!(
                    "an answer to push {} for push {}",
                    answer.push, frozen.number
                )));
            }
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::BadPush { .. } if frozen.edits > 1 || frozen.is_part => {
                freeze::thaw_now(&mut self.file)?;
                Ok(Sent::Thawed)
            }
            Trouble::BadPush { code, detail, .. } => {
                let settled = self.refuse(frozen, &code, &detail)?;
                Ok(Sent::Settled(settled))
            }
            Trouble::Forked | Trouble::OutOfOrder { .. } if *restarts < MOST_RESTARTS => {
                *restarts += 1;
                self.mend(&trouble)?;
                Ok(Sent::Settled(Settled::default()))
            }
            other => Err(other.into()),
        }
    }

    /// The one edit of a push that the server would not read is refused as its receipt would say it.
    fn refuse(&mut self, frozen: &Frozen, code: &str, detail: &str) -> Result<Settled, Error> {
        let edits = freeze::edits(frozen)?;
        let receipts = edits
            .iter()
            .map(|edit| {
                let rejection = Rejection::new(code, detail);
                Receipt::rejected(&edit.table, edit.id.clone(), rejection)
            })
            .collect();
        let terms = Terms {
            used: false,
            last: true,
            now: self.settings.clock.now(),
        };
        let settled = settle(&mut self.file, &self.tables, frozen, receipts, terms)?;
        self.count(frozen, &settled);
        Ok(settled)
    }

    fn count(&mut self, frozen: &Frozen, settled: &Settled) {
        let report = &mut self.report;
        report.pushed += frozen.edits - (settled.again.len() as u64).min(frozen.edits);
        report.applied += settled.applied;
        report.superseded += settled.superseded;
        report.merged += settled.merged;
        report.held += settled.held;
        report.rejected += settled.rejected;
    }
}

/// How many rows to send at once where the server takes no push like this one.
fn smaller(batch: usize, refused: &Frozen) -> usize {
    (batch.min(refused.edits as usize) / 2).max(1)
}

/// What there is to do next.
enum Next {
    /// Send this.
    Push(Frozen),
    /// These rows cannot be sent.
    Waiting(Vec<RowRef>),
    /// These cannot be sent before other rows have ids.
    Later(Vec<(RowRef, String)>),
    /// Edits that had come to nothing were dropped; look again.
    Nothing,
}

/// What a sync knows of the rows that it pushes.
#[derive(Default)]
struct Round {
    /// The last line of the log that is to go up.
    upto: i64,
    /// Rows that are not to be sent for now.
    skip: HashSet<RowRef>,
    /// Those of them that were refused, and are to be sent again after the others.
    again: Vec<RowRef>,
    /// Whether any edit was accepted.
    has_accepted: bool,
    /// Those of them that wait for other rows' ids, each with a clause.
    later: Vec<(RowRef, String)>,
    /// How many ids the server has told.
    learnt: u64,
    /// Whether rows go without what cannot be told yet.
    break_cycles: bool,
    restarts: usize,
}

impl Round {
    /// What waits for ids is to be looked at again.
    fn let_later_go(&mut self) {
        for (row, _) in self.later.drain(..) {
            self.skip.remove(&row);
        }
    }
}
