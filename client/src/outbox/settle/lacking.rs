//! Columns of the app's that the server lacks: what was written to them waits until it has them, and where the row goes
//! before, it is in a dead letter.

use std::collections::BTreeMap;

use colsync_shared::sqlite::Stored;

use super::One;
use crate::error::Error;
use crate::outbox::edit::{WireColumn, time};
use crate::outbox::history::{self, row_now};
use crate::outbox::letters;
use crate::values;

impl One<'_> {
    /// The lines that stay of those that the edit covers: one for each column that the server lacks, which tells all that
    /// was done to it. Whatever they were part of, a replaced row it may be, is told.
    pub(super) fn lines_that_stay(&mut self) -> Result<Vec<i64>, Error> {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for (seq, column) in self
            .history
            .lines
            .iter()
            .filter(|(seq, _)| *seq <= self.upto)
        {
            if let Some(name) = column.as_ref().filter(|name| self.is_lacking(name)) {
                last.insert(name.clone(), *seq);
            }
        }
        if last.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.values_that_the_server_lacks()?;
        let mut stay = Vec::new();
        for (name, seq) in last {
            let value = match self.next_old(&name)? {
                Some(old) => Some(old),
                None => values
                    .iter()
                    .find(|(other, _)| other.eq_ignore_ascii_case(&name))
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
                stay.push(seq);
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

    /// Whether the server lacks the column of this name.
    fn is_lacking(&self, name: &str) -> bool {
        let position = self.paired.local.position(name);
        position.is_some_and(|at| self.paired.column(at).is_none())
    }

    /// The server made the row without the columns it does not have: their values wait as edits of it.
    pub(super) fn keep_what_the_server_lacks(&mut self) -> Result<(), Error> {
        for (name, value) in self.values_that_the_server_lacks()? {
            if value != Stored::Null {
                let at_ms = self.history.at_ms;
                history::append(self.file, &self.row, &name, &value, at_ms)?;
            }
        }
        Ok(())
    }

    /// What the app wrote to such columns of the row, by their names in the file.
    pub(super) fn unsent(&mut self) -> Result<BTreeMap<String, WireColumn>, Error> {
        let makes = self.makes();
        let values = self.values_that_the_server_lacks()?.into_iter();
        let unsent = values.filter_map(|(name, value)| {
            let original = self.history.original(&name);
            let is_written = match original {
                Some(original) => *original != value,
                None => makes && value != Stored::Null,
            };
            let column = WireColumn {
                value: values::plain(&value),
                base: original.map(values::plain),
                base_version: None,
                at: Some(time(self.history.written_at(&name))),
                local: false,
                plain: true,
            };
            is_written.then_some((name, column))
        });
        Ok(unsent.collect())
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

    /// The row's values in such columns, if it is there.
    fn values_that_the_server_lacks(&mut self) -> Result<Vec<(String, Stored)>, Error> {
        let columns = self.paired.local.columns.iter().enumerate();
        let lacking = columns.filter(|(at, _)| self.paired.column(*at).is_none());
        let lacking: Vec<(usize, String)> = lacking.map(|(at, c)| (at, c.name.clone())).collect();
        if lacking.is_empty() {
            return Ok(Vec::new());
        }
        let row = row_now(self.file, &self.paired.local, &self.row)?;
        let values = row.into_iter().flat_map(|row| {
            let values = lacking.iter();
            let values =
                values.filter_map(move |(at, name)| Some((name.clone(), row.get(*at)?.clone())));
            values.collect::<Vec<_>>()
        });
        Ok(values.collect())
    }
}
