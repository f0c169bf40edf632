//! What a request asks the merge for.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json, json};

use super::Server;
use crate::simulation::plan::Table;
use crate::simulation::reference::{ADMINISTRATOR, Expected, NOBODY, Request, is_known, micros};
use crate::simulation::wire::Sent;

/// A request that writes.
pub(super) enum Write {
    Push(Request),
    Alone(Request),
    /// About the entry of this id; the edit that it comes to, or null for one that writes nothing.
    Decision(String, Request),
}

impl Server {
    /// Whether the database has been where the cursor was made: it holds all anchors that the cursor names.
    fn knows(&mut self, cursor: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(cursor) else {
            return false;
        };
        let Ok(told) = serde_json::from_slice::<Json>(&bytes) else {
            return false;
        };
        let named = [&told["a"], &told["f"], &told["p"]["o"]];
        let named = named.into_iter().filter_map(Json::as_str);
        let named: Vec<&str> = named.filter(|anchor| !anchor.is_empty()).collect();
        named.iter().all(|anchor| {
            let sql = "SELECT id FROM colsync_anchors WHERE id = :?";
            !self.database.texts(sql, &[anchor]).is_empty()
        })
    }

    /// What a request asks the merge for, if anything.
    pub(super) fn write_of(&mut self, sent: &Sent) -> Option<Write> {
        let header = |name: &str| {
            let found = sent
                .headers
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        let now = self.now();
        let is_lost = header("Client-Cursor").is_some_and(|cursor| !self.knows(cursor));
        let request = |body: Json| Request {
            is_lost,
            client: header("Client-Id").unwrap_or(NOBODY).to_owned(),
            skew: header("Client-Time").map(|told| micros(told) - now),
            arrived: now,
            body,
            is_decision: false,
        };
        let path = sent.path.strip_prefix("/admin/v1/conflicts/");
        if let Some(id) = path.and_then(|path| path.strip_suffix("/resolve")) {
            let decision: Json = serde_json::from_slice(&sent.body).unwrap();
            let request = Request {
                client: ADMINISTRATOR.to_owned(),
                is_decision: true,
                ..request(self.decided(id, &decision))
            };
            return Some(Write::Decision(id.to_owned(), request));
        }
        if ["push", "log", "rows"].contains(&sent.path.strip_prefix("/v1/sync/").unwrap_or("")) {
            let plain = match header("Content-Encoding") {
                Some(_zstd) => zstd::decode_all(sent.body.as_slice()).unwrap(),
                None => sent.body.clone(),
            };
            let mut body: Json = serde_json::from_slice(&plain).unwrap();
            if let Some(entries) = body["entries"].as_array() {
                body["edits"] = entries.iter().map(edit_of_entry).collect();
            }
            if let Some(rows) = body["rows"].as_array() {
                body["edits"] = rows.iter().map(edit_of_row).collect();
            }
            return Some(Write::Push(request(body)));
        }
        let mut parts = sent.path.strip_prefix("/v1/tables/")?.split("/rows/");
        let (table, id) = (parts.next()?, parts.next()?);
        // The reference knows no others.
        Table::of_name(table)?;
        let based = header("If-Match").and_then(|tag| tag.trim_matches('"').parse::<i64>().ok());
        let mut edit = json!({ "table": table, "id": id, "base_version": based });
        match sent.method.as_str() {
            "PATCH" => {
                let columns: Map<String, Json> = serde_json::from_slice(&sent.body).unwrap();
                let now = self.reference.row(table, id);
                let columns = columns.into_iter().map(|(name, value)| {
                    let cell = now.and_then(|row| row.cells.get(name.as_str()));
                    let mut column = match cell {
                        // RFC 7396: the members of an object are put into the one that is there.
                        Some(cell) if value.is_object() => {
                            json!({ "value": put_into(&cell.value, value) })
                        }
                        Some(_) | None => json!({ "value": value }),
                    };
                    // One that leaves all that is there was made of it.
                    if let Some(cell) = cell.filter(|cell| is_within(&cell.value, &column["value"]))
                    {
                        column["base"] = cell.value.clone();
                    }
                    (name, column)
                });
                let columns: Map<String, Json> = columns.collect();
                edit["op"] = json!("update");
                edit["columns"] = Json::Object(columns);
            }
            "PUT" => {
                let columns: Map<String, Json> = serde_json::from_slice(&sent.body).unwrap();
                let table = Table::of_name(table).unwrap();
                let all = table.columns_of(self.database.is_young());
                let all = all.map(|column| column.name);
                let all = all.map(|name| {
                    let value = columns.get(name).unwrap_or(&Json::Null);
                    (name.to_owned(), json!({ "value": value }))
                });
                edit["op"] = json!("replace");
                edit["columns"] = Json::Object(all.collect());
            }
            "DELETE" => edit["op"] = json!("delete"),
            _ => return None,
        }
        Some(Write::Alone(request(edit)))
    }

    /// The entries of the ledger that have an administrator's decision.
    pub(super) fn resolved(&mut self) -> BTreeSet<String> {
        let sql = "SELECT id FROM colsync_conflicts WHERE state = 'resolved'";
        self.database.texts(sql, &[]).into_iter().collect()
    }
}

impl Write {
    /// Whether an edit is about a row of which the reference knows nothing, and that the database may refuse.
    pub(super) fn names_others(&self) -> bool {
        let Write::Push(request) = self else {
            return false;
        };
        let mut edits = request.body["edits"].as_array().into_iter().flatten();
        edits.any(|edit| !is_known(edit))
    }

    /// The edits that the server takes, if it takes them now.
    pub(super) fn accepted<'a>(&'a self, expected: &'a Expected) -> impl Iterator<Item = &'a Json> {
        let edits = match self {
            Write::Push(request) => request.body["edits"]
                .as_array()
                .map_or(&[][..], Vec::as_slice),
            Write::Alone(request) | Write::Decision(_, request) => {
                std::slice::from_ref(&request.body)
            }
        };
        let receipts = match expected {
            Expected::Receipts(receipts, _) => receipts.as_slice(),
            _ => &[],
        };
        let taken = edits
            .iter()
            .filter(|edit| is_known(edit))
            .zip(receipts)
            .filter(|(_, receipt)| receipt.code.is_none());
        taken.map(|(edit, _)| edit)
    }

    pub(super) fn request(&self) -> &Request {
        match self {
            Write::Push(request) | Write::Alone(request) | Write::Decision(_, request) => request,
        }
    }
}

/// An entry of a log as an edit: its columns are plain values, with their bases beside them.
fn edit_of_entry(entry: &Json) -> Json {
    let mut edit = entry.clone();
    edit["op"] = entry["action"].clone();
    let columns = entry["columns"].as_object().cloned().unwrap_or_default();
    let columns = columns.into_iter().map(|(name, value)| {
        let mut column = json!({ "value": value });
        if let Some(base) = entry["base"].get(&name) {
            column["base"] = base.clone();
        }
        (name, column)
    });
    edit["columns"] = Json::Object(columns.collect());
    edit
}

/// A whole row as an edit.
fn edit_of_row(row: &Json) -> Json {
    let mut edit = edit_of_entry(row);
    let is_deleted = row["deleted"] == json!(true);
    edit["op"] = json!(if is_deleted { "delete" } else { "replace" });
    edit
}

/// Whether all members of a document, at any depth, are in another.
fn is_within(document: &Json, other: &Json) -> bool {
    let (Some(document), Some(other)) = (document.as_object(), other.as_object()) else {
        return false;
    };
    let is_there = |(name, member): (&String, &Json)| {
        let other = other.get(name);
        other.is_some_and(|other| other == member || is_within(member, other))
    };
    document.iter().all(is_there)
}

/// A document with the members of another, at any depth.
fn put_into(document: &Json, members: Json) -> Json {
    let Json::Object(members) = members else {
        return members;
    };
    let mut put = document.as_object().cloned().unwrap_or_default();
    for (name, member) in members {
        let member = put_into(put.get(&name).unwrap_or(&Json::Null), member);
        put.insert(name, member);
    }
    Json::Object(put)
}
