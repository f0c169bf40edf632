//! Edits of a push, as a client's SDK would write them.

use serde_json::{Map, Value as Json, json};

/// An insert made at `at`.
#[must_use]
pub fn insert(table: &str, id: &str, at: &str, values: &Json) -> Json {
    json!({ "table": table, "id": id, "op": "insert", "at": at, "columns": columns(values) })
}

/// An update made at `at` by a client that knew the row's version `base_version`.
#[must_use]
pub fn update(table: &str, id: &str, base_version: i64, at: &str, values: &Json) -> Json {
    let columns = columns(values);
    json!({ "table": table, "id": id, "op": "update", "base_version": base_version, "at": at, "columns": columns })
}

/// A delete made at `at` by a client that knew the row's version `base_version`.
#[must_use]
pub fn delete(table: &str, id: &str, base_version: i64, at: &str) -> Json {
    json!({ "table": table, "id": id, "op": "delete", "base_version": base_version, "at": at })
}

fn columns(values: &Json) -> Json {
    let named = values.as_object().expect("an object of columns").iter();
    let columns: Map<String, Json> = named
        .map(|(name, value)| (name.clone(), json!({ "value": value })))
        .collect();
    Json::Object(columns)
}
