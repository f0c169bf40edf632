//! Doors for the fuzzer: what a request's bytes go through before any database, with what must hold of it.
//!
//! Each function panics where colsync does not do what it promises; whatever else the bytes are is fine. Only there
//! with the feature `fuzzing`.

use std::sync::Arc;

use colsync_shared::schema::{BlindWrites, EditAfterDelete, RESERVED_PREFIX};
use colsync_shared::{Column, ColumnType, Edit, Policy, RowKey, RowPolicy, Table, Time, wire};
use colsync_shared::{Value, key::KeyPart};
use serde_json::{Map, Value as Json, json};

use super::body::{self, Encoding};
use super::exchange::{framed, hash_of};
use super::headers::Caller;
use super::push::{Method, items};
use super::write::{EDIT, JSON, JSON_PATCH, MERGE_PATCH, patch_item};
use crate::config::Limits;
use crate::store::model::{Schema, TableInfo};
use crate::sync::cursor::Cursor;
use crate::sync::patch;
use crate::sync::submission::{Item, Patch};

/// 2026-11-22T10:00:00Z, the arrival of every request here.
const ARRIVED: i64 = 1_795_341_600_000_000;

/// Bytes that an inflated body may have here.
const BOUND: usize = 1 << 16;

/// A body of the three kinds of push, `kind` says which. An edit that is read can be written and is read again as
/// the same; a document hashes alike however it is written.
pub fn push(kind: u8, bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(json) = body::json(bytes, limits.json_depth) else {
        return;
    };
    let method = match kind % 3 {
        0 => Method::Differential,
        1 => Method::Log,
        _ => Method::Rows,
    };
    let pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
    let again = body::json(pretty.as_bytes(), limits.json_depth).ok();
    assert_eq!(again.as_ref().map(hash_of), Some(hash_of(&json)), "{json}");
    let caller = caller();
    let Ok((_, _, edits)) = items(&schema(), &json, method, &caller, limits.push_edits) else {
        return;
    };
    for item in edits {
        match item {
            Item::Edit { table, edit } => is_read_again(&table, &edit, &caller),
            Item::Rejected(receipt) => assert!(receipt.rejection.is_some()),
            Item::Patch { .. } | Item::Resolve { .. } | Item::Refused { .. } => {
                panic!("a push has edits alone")
            }
        }
    }
}

/// A body of a PATCH in one of the media types, `kind` says which. An edit names no column twice and none of
/// colsync's; what a merge patch made of a row it makes of it again.
pub fn patch(kind: u8, bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(json) = body::json(bytes, limits.json_depth) else {
        return;
    };
    let kind = match kind % 4 {
        0 => MERGE_PATCH,
        1 => JSON_PATCH,
        2 => EDIT,
        _ => JSON,
    };
    let (table, caller) = (things(), caller());
    let key = key();
    match patch_item(&table, key.clone(), kind, json, &caller, &limits) {
        Ok(Item::Edit { table, edit }) => is_read_again(&table, &edit, &caller),
        Ok(Item::Patch { table, patch, .. }) => {
            let values = values();
            let made = |values: &[Value]| {
                patch::resolve(&table.spec, &key, values, &patch, None, caller.arrived)
            };
            let Ok(edit) = made(&values) else { return };
            is_read_again(&table, &edit, &caller);
            if matches!(patch, Patch::Merge(_)) {
                let after = after(values, &edit);
                let twice = made(&after).map(|edit| self::after(after.clone(), &edit));
                assert_eq!(twice.ok(), Some(after), "a merge patch is done twice");
            }
        }
        Ok(Item::Resolve { .. } | Item::Refused { .. } | Item::Rejected(_)) => {
            panic!("a PATCH is an edit")
        }
        Err(_problem) => {}
    }
}

/// A cursor, as it comes and as what it is made of. What is read is written and read again as the same.
pub fn cursor(bytes: &[u8]) {
    use base64::Engine as _;
    let packed = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    for text in [std::str::from_utf8(bytes).unwrap_or_default(), &packed] {
        if let Some(cursor) = Cursor::decode(text) {
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }
}

/// A packed body, `kind` says how. It is refused, or no longer than the bound.
pub fn packed(kind: u8, bytes: &[u8]) {
    let encoding = if kind.is_multiple_of(2) {
        Encoding::Gzip
    } else {
        Encoding::Zstd
    };
    if let Ok(inflated) = body::inflate(encoding, bytes, BOUND) {
        assert!(inflated.len() <= BOUND);
    }
}

/// `edit`, written as a client would, is read as the same edit.
fn is_read_again(table: &TableInfo, edit: &Edit, caller: &Caller) {
    let spec = &table.spec;
    let mut columns = Map::new();
    for sent in &edit.columns {
        let Some(column) = spec.columns.get(sent.column) else {
            panic!("no column {}", sent.column)
        };
        assert!(!spec.is_key(sent.column), "{edit:?}");
        assert!(!column.name.starts_with(RESERVED_PREFIX), "{edit:?}");
        let mut member = json!({ "value": column.ty.encode(&sent.value), "at": sent.at });
        if let (Some(base), Some(members)) = (&sent.base, member.as_object_mut()) {
            members.insert("base".to_owned(), column.ty.encode(base));
        }
        if let (Some(version), Some(members)) = (sent.base_version, member.as_object_mut()) {
            members.insert("base_version".to_owned(), version.into());
        }
        let twice = columns.insert(column.name.clone(), member);
        assert!(twice.is_none(), "{edit:?}");
    }
    let mut body = Map::from_iter([("at".to_owned(), json!(edit.at))]);
    body.insert("base_version".to_owned(), json!(edit.base_version));
    if !columns.is_empty() {
        body.insert("columns".to_owned(), Json::Object(columns));
    }
    let key = edit.key.as_ref().map(|key| {
        let id = key.to_string();
        RowKey::from_id(spec, &id).unwrap_or_else(|refused| panic!("{id}: {refused}"))
    });
    let again = framed(caller, |frame| wire::edit(spec, key, edit.op, &body, frame));
    let mut again = again.unwrap_or_else(|refused| panic!("{body:?}: {refused:?}"));
    // Members come sorted by their names.
    let mut edit = edit.clone();
    for edit in [&mut edit, &mut again] {
        edit.columns.sort_by_key(|column| column.column);
    }
    assert_eq!(again, edit);
}

fn after(mut values: Vec<Value>, edit: &Edit) -> Vec<Value> {
    for sent in &edit.columns {
        if let Some(value) = values.get_mut(sent.column) {
            value.clone_from(&sent.value);
        }
    }
    values
}

fn caller() -> Caller {
    Caller::administrator(Time::from_micros(ARRIVED))
}

fn schema() -> Schema {
    let members = table(
        "members",
        &[0, 1],
        vec![
            column("team", ColumnType::Text { max_length: None }),
            column("number", ColumnType::Int { bits: 64 }),
            column(
                "role",
                ColumnType::Text {
                    max_length: Some(5),
                },
            ),
        ],
    );
    Schema {
        tables: vec![things(), members],
        hash: String::new(),
        others_change: false,
        late_uniques: None,
    }
}

/// A table with a column of every type.
fn things() -> Arc<TableInfo> {
    let labels = ["low", "high"].map(str::to_owned).to_vec();
    let bounded = ColumnType::Decimal {
        precision: Some(10),
        scale: Some(2),
    };
    let free = ColumnType::Decimal {
        precision: None,
        scale: None,
    };
    let text = || ColumnType::Text { max_length: None };
    let columns = vec![
        column("id", ColumnType::Uuid),
        column("done", ColumnType::Bool),
        column("small", ColumnType::Int { bits: 16 }),
        column("number", ColumnType::Int { bits: 64 }),
        column("single", ColumnType::Real { bits: 32 }),
        column("ratio", ColumnType::Real { bits: 64 }),
        column("price", bounded),
        column("amount", free),
        column("title", text()),
        column("ref", ColumnType::Uuid),
        column("day", ColumnType::Date),
        column("moment", ColumnType::Time),
        column("local", ColumnType::DateTime),
        column("at", ColumnType::Timestamp),
        column("blob", ColumnType::Bytes),
        column("data", ColumnType::Json),
        column("level", ColumnType::Enum { labels }),
        column(
            "list",
            ColumnType::Array(Box::new(ColumnType::Int { bits: 32 })),
        ),
        column("names", ColumnType::Array(Box::new(text()))),
    ];
    table("things", &[0], columns)
}

fn key() -> RowKey {
    RowKey(vec![KeyPart::Text(
        "018f0000-0000-7000-8000-000000000001".to_owned(),
    )])
}

/// The row that patches are about: its documents have something to reach into.
fn values() -> Vec<Value> {
    let columns = things().spec.columns.clone();
    let values = columns.iter().map(|column| match column.name.as_str() {
        "id" => key().0.first().map_or(Value::Null, KeyPart::value),
        "done" => Value::Bool(true),
        "number" => Value::Int(7),
        "title" => Value::Text("milk".to_owned()),
        "data" => Value::Json(json!({ "a": { "b": [1, 2, { "c": null }] }, "": "x", "~/": 1.50 })),
        "list" => Value::Json(json!([1, 2, 3])),
        _ => Value::Null,
    });
    values.collect()
}

fn column(name: &str, ty: ColumnType) -> Column {
    Column {
        name: name.to_owned(),
        ty,
        nullable: true,
        has_default: false,
        policy: Policy::default(),
        group: None,
        digits: None,
    }
}

fn table(name: &str, key: &[usize], columns: Vec<Column>) -> Arc<TableInfo> {
    Arc::new(TableInfo {
        id: 1,
        sql_types: Vec::new(),
        has_foreign_triggers: false,
        resolves_conflicts: false,
        parents: Vec::new(),
        foreign_keys: Vec::new(),
        acting: Vec::new(),
        late: Vec::new(),
        kept: Default::default(),
        spec: Table {
            name: name.to_owned(),
            columns,
            key: key.to_vec(),
            row_policy: RowPolicy::default(),
            edit_after_delete: EditAfterDelete::default(),
            blind_writes: BlindWrites::default(),
            hard_delete: true,
        },
    })
}
