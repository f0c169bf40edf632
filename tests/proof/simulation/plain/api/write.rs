//! What the API does when a client writes.

use serde_json::{Map, Value as Json, json};

use super::{Api, Row, header, strong};
use crate::simulation::plain::manner::{Answers, Deletes, Etags, Update};
use crate::simulation::plain::parts::Resource;
use crate::simulation::plan::Table;
use crate::simulation::wire::{Answer, Sent};

/// What keys begin with that the API gives.
const GIVEN: &str = "018f0000-0000-7000-8001-";

impl Api {
    /// Whether the API gave a row this key.
    pub(in crate::simulation::plain) fn has_given(id: &str) -> bool {
        id.starts_with(GIVEN)
    }

    pub(super) fn post(&mut self, resource: Resource, body: &[u8]) -> Answer {
        let Some(mut members) = self.row_of(body) else {
            return Answer::bare(400);
        };
        let Some(mut id) = members.get("id").and_then(Json::as_str).map(str::to_owned) else {
            return Answer::bare(422);
        };
        if self.manner.gives_keys.map(Resource::Of) == Some(resource) {
            id = format!("{GIVEN}{:012x}", self.writes);
            members.insert("id".to_owned(), json!(id));
        }
        if self.found(resource, &id).is_some() || self.is_hidden(resource, &id) {
            return Answer::bare(409);
        }
        self.take(resource, &id, members, 201)
    }

    /// Whether a deleted row is in the way of one of this id, unseen.
    fn is_hidden(&self, resource: Resource, id: &str) -> bool {
        let row = self.tables[&resource].get(id);
        self.manner.deletes == Deletes::Hidden && row.is_some_and(|row| row.is_deleted)
    }

    /// The row that a write of this id is about.
    fn found(&self, resource: Resource, id: &str) -> Option<&Row> {
        let row = self.tables[&resource].get(id);
        row.filter(|row| !row.is_deleted || self.manner.deletes == Deletes::Told)
    }

    pub(super) fn write(&mut self, resource: Resource, id: &str, sent: &Sent) -> Answer {
        let found = self.found(resource, id);
        if self.manner.etags == Etags::Strong {
            if let Some(expected) = header(sent, "If-Match")
                && found.is_none_or(|row| strong(row.etag) != expected)
            {
                return Answer::bare(412);
            }
            let is_there = found.is_some() || self.is_hidden(resource, id);
            if header(sent, "If-None-Match") == Some("*") && is_there {
                return Answer::bare(412);
            }
        }
        let found = found.cloned();
        if sent.method == "DELETE" {
            if found.is_none_or(|row| row.is_deleted) {
                return Answer::bare(404);
            }
            if !self.delete(resource, id) {
                return Answer::bare(409);
            }
            return Answer::bare(204);
        }
        let Some(mut body) = self.row_of(&sent.body) else {
            return Answer::bare(400);
        };
        let is_deleted = body.remove("deleted");
        match (sent.method.as_str(), found) {
            ("PUT", _) if is_deleted == Some(json!(true)) => Answer::bare(409),
            ("PUT", None) if self.is_hidden(resource, id) => Answer::bare(409),
            ("PUT", Some(_)) => self.take(resource, id, body, 200),
            ("PUT", None) => {
                body.insert("id".to_owned(), json!(id));
                self.take(resource, id, body, 201)
            }
            ("PATCH", None) => Answer::bare(404),
            ("PATCH", Some(row)) if row.is_deleted && is_deleted != Some(json!(false)) => {
                Answer::bare(410)
            }
            ("PATCH", Some(row)) => {
                let mut members = row.members;
                if self.manner.update == Update::MergePatch {
                    let mut document = Json::Object(members);
                    json_patch::merge(&mut document, &Json::Object(body));
                    members = document.as_object().cloned().unwrap();
                } else {
                    members.extend(body);
                }
                self.take(resource, id, members, 200)
            }
            _ => Answer::bare(405),
        }
    }

    /// The row in a request.
    fn row_of(&self, body: &[u8]) -> Option<Map<String, Json>> {
        let mut body: Json = serde_json::from_slice(body).ok()?;
        if self.manner.wraps {
            body = body.get_mut("item")?.take();
        }
        body.as_object().cloned()
    }

    /// Takes a client's row, unless it never would.
    fn take(
        &mut self,
        resource: Resource,
        id: &str,
        mut members: Map<String, Json>,
        status: u16,
    ) -> Answer {
        let told = members.remove("modified");
        let mut modified = self.now;
        if self.manner.asks_times {
            let Some(time) = told.as_ref().and_then(|told| self.micros(told)) else {
                self.misused = Some(format!("{id} was written with the time {told:?}"));
                return Answer::bare(422);
            };
            modified = time;
        }
        let why = match resource {
            Resource::Of(table) => too_great(table, &members),
            Resource::Parts => self.against(id, &members).map(str::to_owned),
        };
        if let Some(why) = why {
            return Answer::of(self.manner.refuses_with, &json!({ "why": why }));
        }
        if self.manner.edits
            && let Some(Json::String(title)) = members.get_mut("title")
            && !title.starts_with("api ")
        {
            *title = format!("api {title}");
        }
        if self.manner.ignores && resource == Resource::Of(Table::Notes) {
            let before = self.found(resource, id).filter(|row| !row.is_deleted);
            let body = before.and_then(|row| row.members.get("body"));
            members.insert("body".to_owned(), body.cloned().unwrap_or_default());
        }
        self.keep(resource, id, members, modified);
        match self.manner.answers {
            Answers::Nothing => Answer::bare(if status == 201 { 201 } else { 204 }),
            Answers::Id => Answer::of(status, &self.wrapped(json!({ "id": id }))),
            Answers::Row => self.telling(status, &self.tables[&resource][id]),
        }
    }
}

/// What is against a row's value that is too great for the API, if it has one.
fn too_great(table: Table, members: &Map<String, Json>) -> Option<String> {
    let (name, bound) = table.bounded()?;
    let value = members.get(name)?.as_i64()?;
    (value >= bound).then(|| format!("{name} is too great"))
}
