//! Pushes whose members are not what they should be, JSON Patches that lead nowhere, and decisions that are none.

use colsync_tests::tables::id;
use serde_json::{Value as Json, json};

use super::{Case, EDIT, JSON, operations, push};
use crate::hostile::subject::thing;

/// `body` with its member `name` replaced, or left out.
fn with(mut body: Json, name: &str, value: Option<Json>) -> Json {
    let members = body.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    body
}

/// Values of every type that JSON has.
fn anything() -> Vec<Json> {
    let far: Json = serde_json::from_str("123456789012345678901234567890").unwrap();
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e30),
        far,
        json!(""),
        json!("1"),
        json!("\u{1f4a3}"),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "a": 1 }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let column = json!({ "nothing": { "value": 1 } });
    let edit = json!({ "table": "things", "id": id(1), "op": "update", "columns": column });
    let plain = json!({ "nothing": 1 });
    let entry = json!({ "table": "things", "id": id(1), "action": "update", "columns": plain });
    let row = json!({ "table": "things", "id": id(1), "columns": plain });
    for (kind, list, item) in [
        ("push", "edits", edit),
        ("log", "entries", entry),
        ("rows", "rows", row),
    ] {
        let envelope = json!({ "push": 1, list: [item] });
        for name in ["push", "atomic", list] {
            let why = |value: &str| format!("{kind}: {name} is {value}");
            // No `atomic` is fine, and so is any list.
            if name != "atomic" {
                cases.push(push(
                    why("absent"),
                    kind,
                    &with(envelope.clone(), name, None),
                ));
            }
            let takes_a_list = name == list;
            for value in anything()
                .into_iter()
                .filter(|value| !(takes_a_list && *value == json!([])))
            {
                let body = with(envelope.clone(), name, Some(value.clone()));
                cases.push(push(why(&value.to_string()), kind, &body));
            }
        }
        for name in [
            "table",
            "id",
            "op",
            "action",
            "base_version",
            "at",
            "columns",
            "base",
            "deleted",
        ] {
            for value in anything() {
                // A delete of a row that is there is what it asks for.
                if (name, &value) == ("deleted", &json!(true)) {
                    continue;
                }
                let item = with(item.clone(), name, Some(value.clone()));
                let item = if name == "columns" {
                    with(item, "base_version", Some(json!(-1)))
                } else {
                    item
                };
                let body = json!({ "push": 1, list: [item] });
                cases.push(push(
                    format!("{kind}: {name} of an item is {value}"),
                    kind,
                    &body,
                ));
            }
        }
        let many: Vec<Json> = vec![json!({}); 11];
        cases.push(push(
            format!("{kind}: too many"),
            kind,
            &json!({ "push": 1, list: many }),
        ));
        cases.push(push(
            format!("{kind}: a gap"),
            kind,
            &json!({ "push": 7, list: [] }),
        ));
        cases.push(push(
            format!("{kind}: a far number"),
            kind,
            &json!({ "push": i64::MAX, list: [] }),
        ));
        let twice = format!("{{\"push\":1,\"push\":2,\"{list}\":[]}}");
        cases.push(
            Case::new("a number twice", "POST", format!("/v1/sync/{kind}")).body(JSON, twice),
        );
        let anonymous = push("no client", kind, &envelope).header("Client-Id", "");
        cases.push(anonymous);
    }
    for action in ["upsert", "INSERT", "replace", "Hard_Delete", "hard-delete"] {
        let item = json!({ "table": "things", "id": id(1), "op": action, "action": action });
        cases.push(push(action, "push", &json!({ "push": 1, "edits": [item] })));
        cases.push(push(
            action,
            "log",
            &json!({ "push": 1, "entries": [item] }),
        ));
    }
    let gone = json!({ "table": "things", "id": id(1), "action": "hard_delete" });
    cases.push(push(
        "a hard delete that is not allowed",
        "log",
        &json!({ "push": 1, "entries": [gone] }),
    ));
    for member in anything() {
        if member == json!({ "value": 1 }) {
            continue;
        }
        let body = json!({ "columns": { "title": member } }).to_string();
        cases.push(
            Case::new(format!("a column that is {member}"), "PATCH", thing()).body(EDIT, body),
        );
        let base = json!({ "columns": { "nothing": { "value": "x", "base": member, "base_version": member } } });
        cases.push(
            Case::new(format!("a base that is {member}"), "PATCH", thing())
                .body(EDIT, base.to_string()),
        );
    }
    cases
}

const POINTERS: &[&str] = &[
    "title",
    "/",
    "//",
    "/nothing",
    "/nothing/x",
    "/title/0",
    "/title/-",
    "/done/x",
    "/number/0/1",
    "/~",
    "/~2",
    "/~2x",
    "/data/~",
    "/data/~2",
    "/data/~3~",
    "/data/x/y",
    "/data/a/b/2/3",
    "/data/a/b/99",
    "/data/a/b/01",
    "/data/a/b/-1",
    "/data/a/b/+1",
    "/data/a/b/1.0",
    "/data/a/b/x",
    "/data/a/b/18446744073709551616",
    "/data/a/b/-/x",
    "/tags/7",
    "/tags/18446744073709551615",
    "/sync_version",
    "/sync_stamps/title",
    "/_sync/version",
    "/id",
    "/id/x",
    "/Title",
    "/title\0",
    "/\u{1f4a3}",
    "#/title",
    "/title#",
    "/%74itle",
    "$.title",
    "/data/a/b/00000000000000000000000000001",
];

/// JSON Patches.
pub(super) fn pointers() -> Vec<Case> {
    let mut cases = Vec::new();
    for pointer in POINTERS {
        let fails = json!({ "op": "test", "path": "/title", "value": "another" });
        for operation in [
            json!({ "op": "add", "path": pointer, "value": 1 }),
            json!({ "op": "replace", "path": pointer, "value": 1 }),
            json!({ "op": "remove", "path": pointer }),
            json!({ "op": "test", "path": pointer, "value": 1 }),
            json!({ "op": "move", "from": pointer, "path": "/data/x" }),
            json!({ "op": "copy", "from": pointer, "path": "/data/x" }),
            json!({ "op": "move", "from": "/title", "path": pointer }),
        ] {
            let why = format!("{} {pointer:?}", operation["op"]);
            cases.push(operations(why, &json!([operation, fails])));
        }
    }
    let doubled: Vec<Json> = (0..20)
        .map(|n| json!({ "op": "copy", "from": "/data", "path": format!("/data/{n}") }))
        .collect();
    cases.push(operations("a document that doubles", &Json::Array(doubled)));
    let chain = (0..50).fold(json!({}), |inner, _| json!({ "a": inner }));
    let tip = format!("/data{}", "/a".repeat(50));
    let deeper = json!([{ "op": "add", "path": "/data", "value": chain }, { "op": "copy", "from": "/data", "path": tip }]);
    cases.push(operations("a document that deepens", &deeper));
    let own = json!([{ "op": "move", "from": "/data", "path": "/data/a" }]);
    cases.push(operations("a move into itself", &own));
    cases.push(operations(
        "the whole row",
        &json!([{ "op": "replace", "path": "", "value": {} }]),
    ));
    for many in [21, 1_000] {
        let test = json!({ "op": "test", "path": "/title", "value": "old" });
        cases.push(operations(
            format!("{many} operations"),
            &Json::Array(vec![test; many]),
        ));
    }
    for bad in [
        json!([1]),
        json!([null]),
        json!([[]]),
        json!([{}]),
        json!({}),
        json!([{ "op": "add" }]),
        json!([{ "op": "add", "path": "/title" }]),
        json!([{ "op": "ADD", "path": "/title", "value": "x" }]),
        json!([{ "op": 1, "path": "/title", "value": "x" }]),
        json!([{ "op": "add", "path": 1, "value": "x" }]),
        json!([{ "op": "add", "path": null, "value": "x" }]),
        json!([{ "op": "move", "path": "/title" }]),
        json!([{ "op": "increment", "path": "/number", "value": 1 }]),
        json!([{ "path": "/title", "value": 1 }]),
    ] {
        cases.push(operations(format!("{bad}"), &bad));
    }
    cases
}

/// Decisions of a conflict.
pub(super) fn decisions() -> Vec<Case> {
    let resolve = |why: String, id: &str, body: &Json| {
        Case::new(why, "POST", format!("/admin/v1/conflicts/{id}/resolve"))
            .body(JSON, body.to_string())
    };
    let mut cases = Vec::new();
    for value in anything() {
        let decision = json!({ "decision": value });
        cases.push(resolve(
            format!("the decision {value}"),
            "{conflict}",
            &decision,
        ));
        // Text is what the column takes, and NULL.
        if !value.is_string() && !value.is_null() {
            let decision = json!({ "decision": "value", "value": value });
            cases.push(resolve(
                format!("the value {value}"),
                "{conflict}",
                &decision,
            ));
        }
    }
    let nul = json!({ "decision": "value", "value": "\0" });
    cases.push(resolve("NUL".to_owned(), "{conflict}", &nul));
    cases.push(resolve(
        "no value".to_owned(),
        "{conflict}",
        &json!({ "decision": "value" }),
    ));
    for id in [
        "x",
        "%00",
        "%FF",
        "..",
        "00000000-0000-0000-0000-000000000000",
        "01a20834-e6b2-7187-98dd-7d32969a4f4c",
    ] {
        for decision in ["keep", "take_lost"] {
            cases.push(resolve(
                format!("{decision} of {id}"),
                id,
                &json!({ "decision": decision }),
            ));
        }
        cases.push(Case::new(
            format!("the conflict {id}"),
            "GET",
            format!("/admin/v1/conflicts/{id}"),
        ));
    }
    cases
}
