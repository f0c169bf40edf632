//! Columns of the app's that the server lacks, or lacked when the push was frozen: what was written to them waits until it
//! has them, and where the row goes before, it is in a dead letter.

use std::collections::BTreeMap;

use colsync_shared::sqlite::Stored;

use super::One;
use crate::error::Error;
use crate::outbox::edit::{WireColumn, time};
use crate::outbox::history::{self, row_now};
use crate::outbox::letters;

impl One<'_> {
    /// The lines that stay of those that the edit covers: one for each column that was not sent, which tells all that was
    /// done to it, with the column's name. Whatever they were part of, a replaced row it may be, is told.
    pub(super) fn lines_that_stay(&mut self) -> Result<Vec<(i64, String)>, Error> {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for (seq, column) in self
            .history
            .lines
            .iter()
            .filter(|(seq, _)| *seq <= self.upto)
        {
            if let Some(name) = column.as_ref().filter(|name| self.was_lacking(name)) {
                last.insert(name.clone(), *seq);
            }
        }
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.values_not_sent()?;
        let mut stay = Vec::new();
        for (name, seq) in last {
            let value = match self.next_old(&name)? {
                Some(old) => Some(old),
                None => values
                    .iter()
                    .find(|(at, _)| self.paired.local.position(&name) == Some(*at))
                    .map(|(_, value)| value.clone()),
            };
            let original = self.history.original(&name).cloned();
            let (Some(value), Some(original)) = (value, original) else {
                continue;
            };
            if value != original {
                self.file.execute(
                    "UPDATE colsync_log SET op = 0, old = :?, new = :? WHERE seq = :?",
                    &[original, value, Stored::Int(seq)],
                )?;
                stay.push((seq, name));
            }
        }
        Ok(stay)
    }

    /// What a column held right before its first line after those that the edit covers, if there is one.
    fn next_old(&mut self, name: &str) -> Result<Option<Stored>, Error> {
        let mut lines = self.history.lines.iter();
        let next = lines.find(|(seq, column)| *seq > self.upto && column.as_deref() == Some(name));
        let Some((seq, _)) = next else {
            return Ok(None);
        };
        let row = self.file.first(
            "SELECT old FROM colsync_log WHERE seq = :?",
            &[Stored::Int(*seq)],
        )?;
        Ok(row.and_then(|row| row.into_iter().next()))
    }

    /// Whether the column of this name could not be sent.
    fn was_lacking(&self, name: &str) -> bool {
        let position = self.paired.local.position(name);
        position.is_some_and(|at| self.was_lacking_at(at))
    }

    /// Not so one that is the file's own. One that has met the server's since the push was frozen has not come down yet. What
    /// points to a row without an id follows by itself.
    fn was_lacking_at(&self, at: usize) -> bool {
        let mut follow = self.missing.columns.iter();
        !self.paired.is_own(at)
            && self.paired.column(at).is_none_or(|there| {
                there.fresh
                    && !self.edit.columns.contains_key(&there.name)
                    && !follow.any(|left_out| left_out.at == at)
            })
    }

    /// The server made the row without the columns it did not have: their values wait as edits of it. The columns' names.
    pub(super) fn keep_what_the_server_lacks(&mut self) -> Result<Vec<String>, Error> {
        let mut waiting = Vec::new();
        for (at, value) in self.values_not_sent()? {
            let column = self.paired.local.columns.get(at);
            if let Some(column) = column.filter(|_| value != Stored::Null) {
                let at_ms = self.history.at_ms;
                history::append(self.file, &self.row, &column.name, &value, at_ms)?;
                waiting.push(column.name.clone());
            }
        }
        Ok(waiting)
    }

    /// Those of these columns that the server has by now, by its names.
    pub(super) fn there(&self, names: &[String]) -> Vec<String> {
        let columns = names.iter().filter_map(|name| {
            let at = self.paired.local.position(name)?;
            Some(self.paired.column(at)?.name.clone())
        });
        columns.collect()
    }

    /// What the app wrote to such columns of the row, by the server's names where it has them.
    fn unsent(&mut self) -> Result<BTreeMap<String, WireColumn>, Error> {
        let values = self.values_not_sent()?;
        Ok(self.written(values))
    }

    /// The same, and what it wrote to columns that are the file's own: the row leaves it, and may be made again.
    pub(super) fn unsent_and_own(&mut self) -> Result<BTreeMap<String, WireColumn>, Error> {
        let own = self.values_of(|one, at| one.paired.is_own(at) || one.was_lacking_at(at))?;
        Ok(self.written(own))
    }

    /// What of these values the app wrote.
    fn written(&self, values: Vec<(usize, Stored)>) -> BTreeMap<String, WireColumn> {
        let makes = self.makes();
        let values = values.into_iter();
        let unsent = values.filter_map(|(at, value)| {
            let local = &self.paired.local.columns.get(at)?.name;
            let original = self.history.original(local);
            let is_written = match original {
                Some(original) => *original != value,
                None => makes && value != Stored::Null,
            };
            let there = self.paired.column(at);
            let column = WireColumn {
                value: self.paired.wire(at, &value),
                base: original.map(|original| self.paired.wire(at, original)),
                base_version: None,
                at: Some(time(self.history.written_at(local))),
                local: false,
                plain: there.is_none(),
            };
            let name = there.map_or(local, |there| &there.name);
            is_written.then(|| (name.clone(), column))
        });
        unsent.collect()
    }

    /// The row leaves the file, deleted: what has not been sent of it never will be.
    pub(super) fn cannot_wait(&mut self) -> Result<(), Error> {
        let columns = self.unsent()?;
        if columns.is_empty() {
            return Ok(());
        }
        let (mut edit, receipt) = self.of_a_deleted_row();
        edit.columns = columns;
        self.settled.rejected += 1;
        letters::add(self.file, &edit, &receipt, self.now)
    }

    /// The row's values in such columns by position, if it is there.
    fn values_not_sent(&mut self) -> Result<Vec<(usize, Stored)>, Error> {
        self.values_of(One::was_lacking_at)
    }

    fn values_of(
        &mut self,
        is_meant: impl Fn(&Self, usize) -> bool,
    ) -> Result<Vec<(usize, Stored)>, Error> {
        let columns = 0..self.paired.local.columns.len();
        let meant: Vec<usize> = columns.filter(|at| is_meant(self, *at)).collect();
        if meant.is_empty() {
            return Ok(Vec::new());
        }
        let row = row_now(self.file, &self.paired.local, &self.row)?.unwrap_or_default();
        let values = meant.into_iter();
        let values = values.filter_map(|at| Some((at, row.get(at)?.clone())));
        Ok(values.collect())
    }
}
