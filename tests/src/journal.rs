//! What apps wrote and what they had in view, held against the server and its ledger: nothing lost, nothing twice.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value as Json;

use crate::{Device, Server, evidence};

/// The columns whose every written value is another one, so that each edit can be found again.
pub(crate) const MARKED: [&str; 2] = ["title", "note"];

/// What apps have done.
#[derive(Default)]
pub struct Journal {
    /// Every value of a marked column that was written.
    pub(crate) written: Vec<String>,
    /// Those that were in view when something was written in their place, or their row was deleted.
    pub(crate) seen: HashSet<String>,
    /// Rows that were made.
    pub(crate) inserted: BTreeSet<String>,
    /// Rows that were deleted at some time.
    pub(crate) deleted: BTreeSet<String>,
    /// All that was written, with the row it was written to.
    pub(crate) told: Vec<(String, String)>,
}

impl Journal {
    /// What several apps have done together.
    #[must_use]
    pub fn of_all(journals: impl IntoIterator<Item = Journal>) -> Journal {
        let mut all = Journal::default();
        for one in journals {
            all.written.extend(one.written);
            all.seen.extend(one.seen);
            all.inserted.extend(one.inserted);
            all.deleted.extend(one.deleted);
            all.told.extend(one.told);
        }
        all
    }

    /// Notes an edit that its app has been told was refused, with the reason: its values are not lost.
    pub fn told_refused(&mut self, edit: &Json) {
        let columns = edit["columns"].as_object().into_iter().flatten();
        for (_, column) in columns {
            marks(&column["value"], &mut self.seen);
        }
    }

    /// Ends the test unless everything that was written is accounted for on the server, as by
    /// [`Journal::unaccounted`].
    #[track_caller]
    pub fn assert_kept(&self, server: &Server, devices: &[Device]) {
        let broken = self.unaccounted(server, devices);
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// What is not as it must be, a line each: each row that nobody deleted is on the server; each marked value is
    /// current, or was replaced by someone who saw it, or is in the ledger; and none is in the ledger twice. All must
    /// have synced.
    #[track_caller]
    #[must_use]
    pub fn unaccounted(&self, server: &Server, devices: &[Device]) -> Vec<String> {
        let mut broken = Vec::new();
        let admin = server.admin();
        let rows = pages(|after| {
            let path = format!("/v1/tables/todos/rows?deleted=true{after}");
            let mut page = server.anonymous().get(&path).expect(200).json();
            (page["rows"].take(), page["next"].take())
        });
        let conflicts = pages(|after| {
            let path = format!("/admin/v1/conflicts?limit=1000{after}");
            let mut page = admin.get(&path).expect(200).json();
            (page["conflicts"].take(), page["next"].take())
        });
        self.compare_rows(server, &mut broken);
        let mut found = self.seen.clone();
        rows.iter().for_each(|row| marks(row, &mut found));
        conflicts
            .iter()
            .for_each(|conflict| marks(&conflict["lost"], &mut found));
        let written = self.written.iter();
        let lost: Vec<_> = written.filter(|mark| !found.contains(*mark)).collect();
        if let Some(first) = lost.first() {
            broken.push(format!("vanished without a trace: {lost:?}"));
            broken.extend(self.about_mark(server, devices, first, &conflicts));
        }
        broken.extend(twice(&conflicts));
        broken
    }

    fn compare_rows(&self, server: &Server, broken: &mut Vec<String>) {
        let alive =
            server.column("SELECT CAST(id AS TEXT) FROM todos WHERE sync_deleted_at IS NULL");
        let alive: BTreeSet<String> = alive.into_iter().flatten().collect();
        let kept: BTreeSet<String> = self.inserted.difference(&self.deleted).cloned().collect();
        let gone: Vec<_> = kept.difference(&alive).collect();
        if !gone.is_empty() {
            broken.push(format!("nobody deleted {gone:?}"));
        }
        let unknown: Vec<_> = alive.difference(&self.inserted).collect();
        if !unknown.is_empty() {
            broken.push(format!("nobody made {unknown:?}"));
        }
    }

    /// What was done to the row `id`, a line each.
    pub(crate) fn about(&self, id: &str) -> Vec<String> {
        let told = self.told.iter().filter(|(row, _)| row == id);
        told.map(|(_, told)| told.clone()).collect()
    }

    /// Everything there is about the row in which `mark` was written, a line each.
    fn about_mark(
        &self,
        server: &Server,
        devices: &[Device],
        mark: &str,
        conflicts: &[Json],
    ) -> Vec<String> {
        let quoted = format!("'{mark}'");
        let Some((id, _)) = self.told.iter().find(|(_, told)| told.contains(&quoted)) else {
            return Vec::new();
        };
        let mut about = self.about(id);
        about.sort();
        about.insert(0, format!("the row in which {mark} was written:"));
        about.extend(evidence::about(server, devices, id));
        let of_row = conflicts.iter().filter(|one| one["row"] == **id);
        about.extend(of_row.map(|conflict| format!("in the ledger: {conflict}")));
        about
    }
}

/// Edits that the ledger has twice, a line each: they were done twice.
fn twice(conflicts: &[Json]) -> Vec<String> {
    let mut once = HashSet::new();
    let of_columns = conflicts.iter().filter(|one| one["kind"] == "column");
    let again = of_columns.filter(|conflict| {
        let value = &conflict["lost"]["value"];
        let marked = MARKED.iter().any(|column| conflict["column"] == *column);
        marked && !value.is_null() && !once.insert(value.to_string())
    });
    again
        .map(|conflict| format!("an edit that was done twice: {conflict}"))
        .collect()
}

/// All pages of a list.
fn pages(mut page: impl FnMut(&str) -> (Json, Json)) -> Vec<Json> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let (items, next) = page(&after);
        all.extend(items.as_array().unwrap().iter().cloned());
        match next.as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// Every text within `json`.
fn marks(json: &Json, into: &mut HashSet<String>) {
    match json {
        Json::String(text) => drop(into.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| marks(item, into)),
        Json::Object(members) => members.values().for_each(|member| marks(member, into)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
