//! A write of which it is not known whether it reached the API: the program was killed, or the answer was lost.
//!
//! Pure. It is noted before it is sent what the row was and what it is to become; the row as it is then tells.

use std::collections::BTreeMap;

use colsync_shared::receipt::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::look::KnownRow;
use super::mapped::{Mapped, Seen};

/// A write that is about to be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The values that are there, `None` where there is no row.
    pub(super) before: Option<BTreeMap<String, Json>>,
    /// The row as it is to become.
    pub(super) after: KnownRow,
    /// What becomes of each column of the edit.
    pub(super) outcomes: BTreeMap<String, Outcome>,
    /// What others wrote and this replaces.
    pub(super) replaced: Vec<Replaced>,
    pub(super) created: bool,
    /// Whether the API has said that it is done.
    #[serde(default)]
    pub(super) answered: bool,
    /// How often 412 was the answer while the row was told to be as it is before.
    #[serde(default)]
    pub(super) stale: u32,
}

/// What someone else wrote and an edit replaced: there is no ledger that would keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Replaced {
    /// `None` about the row.
    pub(super) column: Option<String>,
    /// As the list of conflicts calls it.
    pub(super) outcome: String,
    pub(super) base: Option<Json>,
    pub(super) mine: Json,
    pub(super) theirs: Json,
    pub(super) result: Json,
}

impl Replaced {
    /// One about a row that one side has deleted.
    pub(super) fn of_row(mine: Json, theirs: Json, result: Json) -> Replaced {
        Replaced {
            column: None,
            outcome: "deleted".to_owned(),
            base: None,
            mine,
            theirs,
            result,
        }
    }
}

/// A deleted row, as conflicts tell it.
pub(super) fn deleted() -> Json {
    json!({ "deleted": true })
}

/// A row that is there, and what it is about in it.
pub(super) fn alive(columns: Map<String, Json>) -> Json {
    json!({ "deleted": false, "columns": columns })
}

impl Begun {
    /// Whether the write has reached the API, by the row as it is there now. If someone else has overwritten a
    /// column of it meanwhile it counts as not arrived: it is merged again, and what is there is told from it.
    pub(super) fn has_landed(&self, mapped: &Mapped, now: Option<&Seen>) -> bool {
        let Some(now) = now.filter(|seen| !seen.deleted) else {
            return self.after.deleted;
        };
        if self.after.deleted {
            return false;
        }
        let mut any = false;
        for (at, column) in mapped.spec.columns.iter().enumerate() {
            if !self.writes(&column.name) || mapped.spec.is_key(at) {
                continue;
            }
            any = true;
            if now.values.get(at) != Some(&self.after.value(mapped, at)) {
                return false;
            }
        }
        any || self.before.is_none()
    }

    /// Whether the row gets another value in a column.
    fn writes(&self, name: &str) -> bool {
        let before = self.before.as_ref().and_then(|before| before.get(name));
        let wanted = self.after.body.get(name);
        wanted.is_some_and(|wanted| before != Some(wanted))
    }

    /// The API says that it has done the write, and that the row is so now. An edit of what it kept as it was came to
    /// nothing, and replaced nothing.
    pub(super) fn is_answered_with(&mut self, mapped: &Mapped, now: &Seen) {
        let null = Json::Null;
        let columns = mapped.spec.columns.iter().zip(&now.values).enumerate();
        for (_, (column, value)) in columns.filter(|(at, _)| !mapped.spec.is_key(*at)) {
            let name = &column.name;
            let before = self.before.as_ref().and_then(|before| before.get(name));
            let before = before.unwrap_or(&null);
            let wanted = self.after.body.get(name).unwrap_or(&null);
            if wanted == before || column.ty.encode(value) != *before {
                continue;
            }
            if let Some(outcome) = self.outcomes.get_mut(name) {
                *outcome = Outcome::Superseded;
            }
            self.replaced
                .retain(|one| one.column.as_ref() != Some(name) || one.theirs != *before);
        }
    }

    /// The API says that it has done the write, and has the row no more. Whether it ever held what was written, and whoever
    /// deleted the row has seen that, nobody can tell.
    pub(super) fn is_gone(&mut self) {
        let written = self.after.body.iter();
        let written = written.filter(|(name, _)| self.writes(name));
        let written: Map<String, Json> = written
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let (mine, theirs) = (alive(written), deleted());
        self.replaced
            .push(Replaced::of_row(mine, theirs.clone(), theirs));
    }

    /// What the write has replaced, if it has arrived and others have written since: all but what is there still.
    pub(super) fn doubtful(&self, mapped: &Mapped, now: Option<&Seen>) -> Vec<Replaced> {
        let now = now.filter(|seen| !seen.deleted);
        let told = |at: usize| {
            let (column, seen) = (mapped.spec.columns.get(at)?, now?);
            Some(column.ty.encode(seen.values.get(at)?))
        };
        let is_as_before = || {
            let columns = mapped.spec.columns.iter().enumerate();
            let mut columns = columns.filter(|(at, _)| !mapped.spec.is_key(*at));
            let before = self.before.as_ref();
            columns.all(|(at, column)| {
                before.is_some_and(|before| before.get(&column.name) == told(at).as_ref())
            })
        };
        let is_there = |one: &&Replaced| match &one.column {
            None => is_as_before(),
            Some(name) => {
                let mut columns = mapped.spec.columns.iter();
                let at = columns.position(|column| column.name == *name);
                at.and_then(told).as_ref() == Some(&one.theirs)
            }
        };
        let replaced = self.replaced.iter();
        replaced.filter(|one| !is_there(one)).cloned().collect()
    }
}
