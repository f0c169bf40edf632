//! The API: rows by their ids, and what is asked of one of them.

mod lists;
mod write;

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};

use super::manner::{Deletes, Etags, Manner, Relations, Times};
use super::parts::Resource;
use crate::simulation::database::Columns;
use crate::simulation::plan::Table;
use crate::simulation::wire::{Answer, Sent};

/// The API.
pub(super) struct Api {
    manner: Manner,
    tables: Tables,
    /// What its lists tell, and since when, where they are behind.
    behind: Option<(i64, Tables)>,
    /// Writes so far; a row's ETag is the number of its last one.
    writes: u64,
    pub(super) now: i64,
    /// What it was asked in a way that its description does not have.
    pub(super) misused: Option<String>,
    /// Parts that went with their notes, as they were.
    pub(super) gone: Vec<Columns>,
}

type Tables = BTreeMap<Resource, BTreeMap<String, Row>>;

#[derive(Clone)]
struct Row {
    /// Its members, but for the time of its last write and whether it is deleted.
    members: Map<String, Json>,
    etag: u64,
    modified: i64,
    is_deleted: bool,
}

impl Answer {
    fn of(status: u16, body: &Json) -> Answer {
        Answer {
            body: body.to_string().into_bytes(),
            ..Answer::bare(status)
        }
    }

    fn with(mut self, name: &str, value: String) -> Answer {
        self.headers.push((name.to_owned(), value.into_bytes()));
        self
    }
}

impl Api {
    pub(super) fn new(manner: Manner, now: i64) -> Api {
        Api {
            manner,
            tables: Resource::ALL
                .map(|resource| (resource, BTreeMap::new()))
                .into(),
            behind: None,
            writes: 0,
            now,
            misused: None,
            gone: Vec::new(),
        }
    }

    /// The row of an id, if it is there.
    pub(super) fn row(&self, of: impl Into<Resource>, id: &str) -> Option<Columns> {
        let resource = of.into();
        let row = self.tables[&resource].get(id);
        let row = row.filter(|row| !row.is_deleted)?;
        Some(columns(resource, &row.members))
    }

    /// All rows that are there.
    pub(super) fn rows(&self, of: impl Into<Resource>) -> BTreeMap<String, Columns> {
        let resource = of.into();
        let rows = self.tables[&resource].iter();
        let alive = rows.filter(|(_, row)| !row.is_deleted);
        alive
            .map(|(id, row)| (id.clone(), columns(resource, &row.members)))
            .collect()
    }

    /// A member of a row that is no column.
    pub(super) fn beside(&self, of: impl Into<Resource>, id: &str) -> Option<&Json> {
        self.tables[&of.into()].get(id)?.members.get("beside")
    }

    /// Another program makes or changes a row.
    pub(super) fn set(
        &mut self,
        of: impl Into<Resource>,
        id: &str,
        values: &[(&'static str, Json)],
    ) {
        let resource = of.into();
        let before = self.tables[&resource].get(id).filter(|row| !row.is_deleted);
        let mut members = before.map_or_else(
            || {
                Map::from_iter([
                    ("id".to_owned(), json!(id)),
                    ("beside".to_owned(), json!(id)),
                ])
            },
            |row| row.members.clone(),
        );
        members.extend(
            values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        self.keep(resource, id, members, self.now);
    }

    /// Deletes a row, and does with parts that point to it what it does; whether it can be deleted.
    pub(super) fn delete(&mut self, of: impl Into<Resource>, id: &str) -> bool {
        let resource = of.into();
        let pointing = self.pointing(resource, id);
        match self.manner.relations {
            Relations::Loose => {}
            Relations::Strict if pointing.is_empty() => {}
            Relations::Strict => return false,
            Relations::Cascade => {
                for part in pointing {
                    self.gone.extend(self.row(Resource::Parts, &part));
                    self.delete(Resource::Parts, &part);
                }
            }
            Relations::Clear => {
                for part in pointing {
                    self.set(Resource::Parts, &part, &[("note", Json::Null)]);
                }
            }
        }
        self.writes += 1;
        let (etag, modified) = (self.writes, self.now);
        if let Some(row) = self.tables.get_mut(&resource).unwrap().get_mut(id) {
            (row.etag, row.modified, row.is_deleted) = (etag, modified, true);
        }
        true
    }

    /// The parts that point to a row.
    fn pointing(&self, to: Resource, id: &str) -> Vec<String> {
        if to != Resource::Of(Table::Notes) {
            return Vec::new();
        }
        let parts = self.rows(Resource::Parts).into_iter();
        let pointing = parts.filter(|(_, part)| part["note"] == id);
        pointing.map(|(part, _)| part).collect()
    }

    /// What is against a part's being so, if anything is.
    pub(super) fn against(&self, id: &str, part: &Map<String, Json>) -> Option<&'static str> {
        let note = part.get("note").and_then(Json::as_str);
        let is_there = note.is_none_or(|note| self.row(Table::Notes, note).is_some());
        if self.manner.relations != Relations::Loose && !is_there {
            return Some("there is no such note");
        }
        let label = part.get("label").filter(|label| !label.is_null())?;
        let others = self.rows(Resource::Parts).into_iter();
        let mut others = others.filter(|(other, _)| other != id);
        let is_taken = others.any(|(_, other)| other["label"] == *label);
        is_taken.then_some("another part has this label")
    }

    fn keep(&mut self, resource: Resource, id: &str, members: Map<String, Json>, modified: i64) {
        self.writes += 1;
        let row = Row {
            members,
            etag: self.writes,
            modified,
            is_deleted: false,
        };
        self.tables
            .get_mut(&resource)
            .unwrap()
            .insert(id.to_owned(), row);
    }

    /// The row that a request is about, if it is about one.
    pub(super) fn meant(sent: &Sent) -> Option<(Resource, String)> {
        let whole = percent_decode_str(&sent.path).decode_utf8_lossy();
        let (path, _) = whole.split_once('?').unwrap_or((&whole, ""));
        let (resource, id) = path.trim_start_matches('/').split_once('/')?;
        let is_row = id != "changes";
        is_row.then_some((Resource::of_name(resource)?, id.to_owned()))
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, sent: &Sent) -> Answer {
        let answer = self.answered(sent);
        if !self.manner.dates {
            return answer;
        }
        let now = DateTime::from_timestamp_micros(self.now).unwrap();
        answer.with("Date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }

    fn answered(&mut self, sent: &Sent) -> Answer {
        let whole = percent_decode_str(&sent.path).decode_utf8_lossy();
        let (path, query) = whole.split_once('?').unwrap_or((&whole, ""));
        let mut parts = path.trim_start_matches('/').split('/');
        let Some(resource) = parts.next().and_then(Resource::of_name) else {
            return Answer::bare(404);
        };
        match (sent.method.as_str(), parts.next()) {
            ("GET", None) => self.list(resource, query, header(sent, "If-None-Match")),
            ("GET", Some("changes")) => self.changes(resource, query),
            ("GET", Some(id)) => self.get(resource, id),
            ("POST", None) => self.post(resource, &sent.body),
            (_, Some(id)) => self.write(resource, id, sent),
            _ => Answer::bare(405),
        }
    }

    fn get(&self, resource: Resource, id: &str) -> Answer {
        match self.tables[&resource].get(id) {
            Some(row) if !row.is_deleted => self.telling(200, row),
            Some(row) => match self.manner.deletes {
                Deletes::Gone | Deletes::Hidden => Answer::bare(404),
                Deletes::Known => Answer::bare(410),
                Deletes::Told => self.telling(200, row),
            },
            None => Answer::bare(404),
        }
    }

    /// An answer with a row.
    fn telling(&self, status: u16, row: &Row) -> Answer {
        let told = self.wrapped(self.told(row));
        self.with_etag(Answer::of(status, &told), row.etag)
    }

    fn wrapped(&self, row: Json) -> Json {
        if self.manner.wraps {
            json!({ "item": row })
        } else {
            row
        }
    }

    fn with_etag(&self, answer: Answer, number: u64) -> Answer {
        match self.manner.etags {
            Etags::Strong => answer.with("ETag", strong(number)),
            Etags::Weak => answer.with("ETag", format!("W/{}", strong(number))),
            Etags::Not => answer,
        }
    }

    fn told(&self, row: &Row) -> Json {
        let mut members = row.members.clone();
        if self.manner.omits_nulls {
            members.retain(|_, value| !value.is_null());
        }
        let modified = self.time(row.modified);
        if !modified.is_null() {
            members.insert("modified".to_owned(), modified);
        }
        if self.manner.deletes == Deletes::Told {
            members.insert("deleted".to_owned(), json!(row.is_deleted));
        }
        Json::Object(members)
    }

    fn time(&self, micros: i64) -> Json {
        let time = DateTime::from_timestamp_micros(micros).unwrap();
        match self.manner.times {
            Times::Not => Json::Null,
            Times::Text => json!(time.to_rfc3339_opts(SecondsFormat::Micros, true)),
            Times::Millis => json!(micros / 1_000),
        }
    }

    /// The same back again.
    fn micros(&self, told: &Json) -> Option<i64> {
        match self.manner.times {
            Times::Not => None,
            Times::Text => {
                let time = DateTime::parse_from_rfc3339(told.as_str()?).ok()?;
                Some(time.timestamp_micros())
            }
            Times::Millis => Some(told.as_i64()? * 1_000),
        }
    }
}

fn strong(number: u64) -> String {
    format!("\"{number}\"")
}

fn columns(resource: Resource, members: &Map<String, Json>) -> Columns {
    let columns = resource.columns().into_iter();
    columns
        .map(|name| (name, members.get(name).cloned().unwrap_or_default()))
        .collect()
}

fn header<'a>(sent: &'a Sent, name: &str) -> Option<&'a str> {
    let mut headers = sent.headers.iter();
    let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
