//! The API: rows by their ids, each with a strong ETag.

use std::collections::BTreeMap;

use chrono::DateTime;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};

use super::manner::{Manner, PAGE, Pages, Times, Update};
use crate::simulation::database::Columns;
use crate::simulation::plan::Table;
use crate::simulation::wire::{Answer, Sent};

/// The API.
pub(super) struct Api {
    manner: Manner,
    tables: BTreeMap<Table, BTreeMap<String, Row>>,
    /// Writes so far; a row's ETag is the number of its last one.
    writes: u64,
    pub(super) now: i64,
}

struct Row {
    /// Its members, but for the time of its last write.
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
            tables: Table::ALL.map(|table| (table, BTreeMap::new())).into(),
            writes: 0,
            now,
        }
    }

    /// The row of an id, if it is there.
    pub(super) fn row(&self, table: Table, id: &str) -> Option<Columns> {
        let row = self.tables[&table].get(id).filter(|row| !row.is_deleted)?;
        Some(columns(table, &row.members))
    }

    /// All rows that are there.
    pub(super) fn rows(&self, table: Table) -> BTreeMap<String, Columns> {
        let rows = self.tables[&table].iter();
        let alive = rows.filter(|(_, row)| !row.is_deleted);
        alive
            .map(|(id, row)| (id.clone(), columns(table, &row.members)))
            .collect()
    }

    /// A member of a row that is no column.
    pub(super) fn beside(&self, table: Table, id: &str) -> Option<&Json> {
        self.tables[&table].get(id)?.members.get("beside")
    }

    /// Another program makes or changes a row.
    pub(super) fn set(&mut self, table: Table, id: &str, values: &[(&'static str, Json)]) {
        let before = self.tables[&table].get(id).filter(|row| !row.is_deleted);
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
        self.keep(table, id, members);
    }

    /// Another program deletes a row.
    pub(super) fn delete(&mut self, table: Table, id: &str) {
        self.writes += 1;
        let (etag, modified) = (self.writes, self.now);
        if let Some(row) = self.tables.get_mut(&table).unwrap().get_mut(id) {
            (row.etag, row.modified, row.is_deleted) = (etag, modified, true);
        }
    }

    fn keep(&mut self, table: Table, id: &str, members: Map<String, Json>) {
        self.writes += 1;
        let row = Row {
            members,
            etag: self.writes,
            modified: self.now,
            is_deleted: false,
        };
        self.tables
            .get_mut(&table)
            .unwrap()
            .insert(id.to_owned(), row);
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
        let Some(table) = parts.next().and_then(Table::of_name) else {
            return Answer::bare(404);
        };
        match (sent.method.as_str(), parts.next()) {
            ("GET", None) => self.list(table, query, header(sent, "If-None-Match")),
            ("GET", Some("changes")) => self.changes(table, query),
            ("GET", Some(id)) => self.get(table, id),
            ("POST", None) => self.post(table, &sent.body),
            (_, Some(id)) => self.write(table, id, sent),
            _ => Answer::bare(405),
        }
    }

    fn told(&self, row: &Row) -> Json {
        let mut members = row.members.clone();
        let modified = self.time(row.modified);
        if !modified.is_null() {
            members.insert("modified".to_owned(), modified);
        }
        Json::Object(members)
    }

    fn time(&self, micros: i64) -> Json {
        match self.manner.times {
            Times::Not => Json::Null,
            Times::Text => json!(
                DateTime::from_timestamp_micros(micros)
                    .unwrap()
                    .to_rfc3339()
            ),
            Times::Millis => json!(micros / 1_000),
        }
    }

    fn get(&self, table: Table, id: &str) -> Answer {
        match self.tables[&table].get(id) {
            None => Answer::bare(404),
            Some(row) if row.is_deleted => Answer::bare(410),
            Some(row) => Answer::of(200, &self.told(row)).with("ETag", etag(row)),
        }
    }

    fn list(&self, table: Table, query: &str, known: Option<&str>) -> Answer {
        let alive = self.tables[&table]
            .iter()
            .filter(|(_, row)| !row.is_deleted);
        let told: Vec<(&String, Json)> = alive.map(|(id, row)| (id, self.told(row))).collect();
        let page = |rows: &[(&String, Json)]| {
            let rows: Vec<&Json> = rows.iter().map(|(_, row)| row).collect();
            Answer::of(200, &json!(rows))
        };
        match self.manner.pages {
            Pages::Whole => {
                let last = self.tables[&table].values().map(|row| row.etag).max();
                let etag = format!("\"{}\"", last.unwrap_or(0));
                if known == Some(etag.as_str()) {
                    return Answer::bare(304);
                }
                page(&told).with("ETag", etag)
            }
            Pages::Numbered => {
                let number: usize = parameter(query, "page").unwrap().parse().unwrap();
                let from = ((number - 1) * PAGE).min(told.len());
                page(&told[from..(from + PAGE).min(told.len())])
            }
            Pages::Linked => {
                let after = parameter(query, "after").unwrap_or_default();
                let rest = told.partition_point(|(id, _)| id.as_str() <= after);
                let rest = &told[rest..];
                let answer = page(&rest[..PAGE.min(rest.len())]);
                match rest.get(PAGE - 1).filter(|_| rest.len() > PAGE) {
                    None => answer,
                    Some((last, _)) => {
                        let next = format!("/{}?size={PAGE}&after={last}", table.name());
                        answer.with("Link", format!("<{next}>; rel=\"next\""))
                    }
                }
            }
        }
    }

    fn changes(&self, table: Table, query: &str) -> Answer {
        let since = parameter(query, "since").unwrap();
        let since = match self.manner.times {
            Times::Millis => since.parse::<i64>().unwrap() * 1_000,
            _ => DateTime::parse_from_rfc3339(since)
                .unwrap()
                .timestamp_micros(),
        };
        let rows = self.tables[&table].values();
        let rows = rows.filter(|row| row.modified >= since).map(|row| {
            let mut told = self.told(row);
            told["deleted"] = json!(row.is_deleted);
            told
        });
        Answer::of(200, &Json::from_iter(rows))
    }

    fn post(&mut self, table: Table, body: &[u8]) -> Answer {
        let Ok(Json::Object(members)) = serde_json::from_slice(body) else {
            return Answer::bare(400);
        };
        let Some(id) = members.get("id").and_then(Json::as_str).map(str::to_owned) else {
            return Answer::bare(422);
        };
        if self.row(table, &id).is_some() {
            return Answer::bare(409);
        }
        self.take(table, &id, members, 201)
    }

    fn write(&mut self, table: Table, id: &str, sent: &Sent) -> Answer {
        let there = self.tables[&table].get(id).filter(|row| !row.is_deleted);
        if let Some(expected) = header(sent, "If-Match")
            && there.is_none_or(|row| etag(row) != expected)
        {
            return Answer::bare(412);
        }
        if header(sent, "If-None-Match") == Some("*") && there.is_some() {
            return Answer::bare(412);
        }
        if sent.method == "DELETE" {
            if there.is_none() {
                return Answer::bare(404);
            }
            self.delete(table, id);
            return Answer::bare(204);
        }
        let Ok(Json::Object(body)) = serde_json::from_slice(&sent.body) else {
            return Answer::bare(400);
        };
        let before = there.map(|row| row.members.clone());
        match (sent.method.as_str(), before) {
            ("PUT", Some(_)) => self.take(table, id, body, 200),
            ("PUT", None) => {
                let mut members = body;
                members.insert("id".to_owned(), json!(id));
                self.take(table, id, members, 201)
            }
            ("PATCH", None) => Answer::bare(404),
            ("PATCH", Some(mut members)) => {
                if self.manner.update == Update::MergePatch {
                    let mut document = Json::Object(members);
                    json_patch::merge(&mut document, &Json::Object(body));
                    members = document.as_object().cloned().unwrap();
                } else {
                    members.extend(body);
                }
                self.take(table, id, members, 200)
            }
            _ => Answer::bare(405),
        }
    }

    /// Takes a client's row, unless it never would.
    fn take(
        &mut self,
        table: Table,
        id: &str,
        mut members: Map<String, Json>,
        status: u16,
    ) -> Answer {
        members.remove("modified");
        if let Some((name, bound)) = table.bounded()
            && members
                .get(name)
                .and_then(Json::as_i64)
                .is_some_and(|value| value >= bound)
        {
            return Answer::of(422, &json!({ "why": format!("{name} is too great") }));
        }
        self.keep(table, id, members);
        if !self.manner.tells_rows {
            return Answer::bare(if status == 201 { 201 } else { 204 });
        }
        let row = &self.tables[&table][id];
        Answer::of(status, &self.told(row)).with("ETag", etag(row))
    }
}

fn etag(row: &Row) -> String {
    format!("\"{}\"", row.etag)
}

fn columns(table: Table, members: &Map<String, Json>) -> Columns {
    let columns = table.columns().iter();
    columns
        .map(|column| {
            let value = members.get(column.name).cloned().unwrap_or_default();
            (column.name, value)
        })
        .collect()
}

fn header<'a>(sent: &'a Sent, name: &str) -> Option<&'a str> {
    let mut headers = sent.headers.iter();
    let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
