//! What earlier edits of the same push made of a row: their client has seen that, but not what they were merged with.

use std::collections::BTreeSet;

use super::row::RowMerge;
use crate::Edit;
use crate::receipt::Outcome;

/// What the edits of one push have made of a row so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// The row's versions that they made.
    versions: Vec<i64>,
    /// Positions of columns in which they did not leave what they sent, but that and another's value together; and of
    /// those that a bare edit left as they were, whose group it made its own.
    mixed: BTreeSet<usize>,
}

impl Own {
    /// Versions of which the later edits of the push have seen the row as a whole: whether it is deleted, and
    /// columns that are never merged with another's value.
    #[must_use]
    pub fn of_row(&self) -> &[i64] {
        &self.versions
    }

    /// Versions of which the later edits of the push have seen the column at this position.
    #[must_use]
    pub fn of_column(&self, at: usize) -> &[i64] {
        if self.mixed.contains(&at) {
            &[]
        } else {
            &self.versions
        }
    }

    /// Of a push that has made these `versions` of the row and mixed its values with others' in these columns.
    #[must_use]
    pub fn new(versions: Vec<i64>, mixed: BTreeSet<usize>) -> Own {
        Own { versions, mixed }
    }

    /// Notes that an edit made its row, at `version`.
    pub fn made(&mut self, version: i64) {
        self.versions.push(version);
        self.mixed.clear();
    }

    /// Notes what merging `edit` made of its row.
    pub fn merged(&mut self, edit: &Edit, merge: &RowMerge) {
        if merge.changed() {
            self.versions.push(merge.row.version);
        }
        for (at, merged) in &merge.columns {
            // Only a merge leaves something else than what was sent, or than what was there.
            let is_as_sent = match merged.outcome {
                Outcome::Applied | Outcome::Unchanged => true,
                Outcome::Merged => {
                    let mut sent = edit.columns.iter().filter(|column| column.column == *at);
                    sent.any(|column| column.value == merged.cell.value)
                }
                Outcome::Superseded | Outcome::Held => continue,
            };
            if is_as_sent {
                self.mixed.remove(at);
            } else if merged.changed {
                self.mixed.insert(*at);
            }
        }
        self.mixed.extend(&merge.trusted);
    }
}
