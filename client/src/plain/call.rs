//! The call that makes an API's row what it is to become.
//!
//! Pure. Must not know what becomes of it.

use colsync_shared::merge::row::RowMerge;
use colsync_shared::{Edit, Time};
use serde_json::{Map, Value as Json};

use super::api::{Method, Told};
use super::description::Update;
use super::landed::Begun;
use super::look::KnownRow;
use super::mapped::{Mapped, unwrapped};
use super::times::Telling;

/// A call that writes.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Option<Json>,
    /// A header that makes it depend on what is there.
    pub(super) condition: Option<(&'static str, String)>,
}

/// What calls about a row are made of.
pub(super) struct Caller<'a> {
    pub(super) mapped: &'a Mapped,
    /// The row's own.
    pub(super) path: String,
    /// How the time of a change is told, if writers have to.
    pub(super) times: Option<Telling>,
}

impl Caller<'_> {
    /// The call that makes the row what it is to become; `None` if it is so already.
    pub(super) fn call(
        &self,
        known: &KnownRow,
        merge: &RowMerge,
        begun: &Begun,
        edit: &Edit,
        told: Option<&Told>,
    ) -> Option<Call> {
        let etag = told.and_then(|told| told.etag.clone());
        let if_match = etag.map(|etag| ("If-Match", etag));
        if begun.after.deleted {
            return (!known.deleted).then(|| Call {
                method: Method::DELETE,
                path: self.path.clone(),
                content_type: "",
                body: None,
                condition: if_match,
            });
        }
        let shown = told.and_then(|told| unwrapped(self.mapped, &told.body)?.as_object());
        if known.deleted {
            return Some(match shown {
                Some(shown) => self.revival(merge, edit, shown, if_match),
                None => self.creation(merge, edit),
            });
        }
        let changed = merge.columns.iter().filter(|(_, merged)| merged.changed);
        let values = changed
            .clone()
            .map(|(at, merged)| (*at, merged.cell.value.clone()));
        let times = changed.filter_map(|(_, merged)| merged.cell.stamp);
        let latest = times.map(|stamp| stamp.time).max()?;
        let mut fields = self.mapped.fields(values, shown);
        self.tell_time(&mut fields, latest);
        Some(self.change(fields, shown, if_match))
    }

    /// The call that has a row which is there get these fields.
    fn change(
        &self,
        fields: Map<String, Json>,
        shown: Option<&Map<String, Json>>,
        condition: Option<(&'static str, String)>,
    ) -> Call {
        let how = &self.mapped.how;
        let (method, content_type) = match how.update {
            Update::Put => (Method::PUT, "application/json"),
            Update::Patch => (Method::PATCH, "application/json"),
            Update::MergePatch => (Method::PATCH, "application/merge-patch+json"),
        };
        let sent = match (how.update, shown) {
            (Update::Put, Some(shown)) => {
                let mut whole = shown.clone();
                if let Some(field) = &how.updated_at {
                    whole.remove(field);
                }
                whole.extend(fields);
                whole
            }
            (Update::MergePatch, Some(shown)) => difference(fields, shown),
            _ => fields,
        };
        Call {
            method,
            path: self.path.clone(),
            content_type,
            body: Some(self.wrapped(sent)),
            condition,
        }
    }

    /// The call that makes a row anew which the API still tells, as deleted.
    fn revival(
        &self,
        merge: &RowMerge,
        edit: &Edit,
        shown: &Map<String, Json>,
        condition: Option<(&'static str, String)>,
    ) -> Call {
        let cells = merge.row.cells.iter().enumerate();
        let values = cells
            .filter(|(at, _)| !self.mapped.spec.is_key(*at))
            .map(|(at, cell)| (at, cell.value.clone()));
        let mut fields = self.mapped.fields(values, Some(shown));
        if let Some(field) = &self.mapped.how.deleted {
            // What is neither yes nor no is when it was deleted.
            let alive = match shown.get(field) {
                Some(Json::Bool(_)) => Json::Bool(false),
                Some(Json::Number(n)) if n.as_i64() == Some(1) => Json::from(0),
                _ => Json::Null,
            };
            fields.insert(field.clone(), alive);
        }
        self.tell_time(&mut fields, latest(merge, edit));
        self.change(fields, Some(shown), condition)
    }

    fn creation(&self, merge: &RowMerge, edit: &Edit) -> Call {
        let how = &self.mapped.how;
        let cells = merge.row.cells.iter().enumerate();
        let named = |at: usize| edit.columns.iter().any(|column| column.column == at);
        let values = cells
            .filter(|(at, cell)| !cell.value.is_null() || named(*at))
            .filter(|(at, _)| !self.mapped.spec.is_key(*at))
            .map(|(at, cell)| (at, cell.value.clone()));
        let mut fields = self.mapped.fields(values, None);
        let key = edit.key.as_ref().and_then(|key| key.0.first());
        if let (Some(&at), Some(part)) = (self.mapped.spec.key.first(), key) {
            let id = self.mapped.encode(at, &part.value(), None);
            fields.insert(how.id.clone(), id);
        }
        self.tell_time(&mut fields, latest(merge, edit));
        let (method, path, condition) = match &how.create {
            Some(create) => (Method::POST, create.fill(&[]), None),
            None => {
                let condition = ("If-None-Match", "*".to_owned());
                (Method::PUT, self.path.clone(), Some(condition))
            }
        };
        Call {
            method,
            path,
            content_type: "application/json",
            body: Some(self.wrapped(fields)),
            condition,
        }
    }

    fn tell_time(&self, fields: &mut Map<String, Json>, time: Time) {
        if let (Some(form), Some(field)) = (self.times, &self.mapped.how.updated_at) {
            fields.insert(field.clone(), form.write(time));
        }
    }

    fn wrapped(&self, fields: Map<String, Json>) -> Json {
        let path = self.mapped.how.row.iter().rev();
        path.fold(Json::Object(fields), |inner, member| {
            Json::Object(Map::from_iter([(member.clone(), inner)]))
        })
    }
}

/// When a row that is made was last written.
fn latest(merge: &RowMerge, edit: &Edit) -> Time {
    let times = merge.row.cells.iter().filter_map(|cell| cell.stamp);
    let latest = times.map(|stamp| stamp.time).max();
    latest.unwrap_or(edit.at)
}

/// The merge patch (RFC 7396) that makes `shown` have these fields: of objects, only the members that differ.
fn difference(fields: Map<String, Json>, shown: &Map<String, Json>) -> Map<String, Json> {
    let patch = fields.into_iter().map(|(name, value)| {
        let value = match (value, shown.get(&name)) {
            (Json::Object(wanted), Some(Json::Object(there))) => {
                let gone: Vec<String> = there
                    .keys()
                    .filter(|member| !wanted.contains_key(*member))
                    .cloned()
                    .collect();
                let differing = wanted
                    .into_iter()
                    .filter(|(member, value)| there.get(member) != Some(value));
                let mut patch = difference(differing.collect(), there);
                patch.extend(gone.into_iter().map(|member| (member, Json::Null)));
                Json::Object(patch)
            }
            (value, _) => value,
        };
        (name, value)
    });
    patch.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_takes_away_members_that_are_gone() {
        let shown = json!({ "doc": { "a": 1, "b": { "c": 1, "d": 2 }, "e": 3 }, "n": 1 });
        let fields = json!({ "doc": { "a": 1, "b": { "c": 1 }, "f": 4 } });
        let (Json::Object(fields), Json::Object(shown)) = (fields, shown) else {
            panic!("objects");
        };
        let patch = Json::Object(difference(fields, &shown));
        assert_eq!(
            patch,
            json!({ "doc": { "b": { "d": null }, "e": null, "f": 4 } })
        );
    }
}
