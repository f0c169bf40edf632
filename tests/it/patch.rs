//! PATCH in its three media types, and what a stale `If-Match` does.

use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Client, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, reader, todo};

on_both![
    a_merge_patch_changes_only_the_columns_it_names,
    null_in_a_patch_is_sql_null,
    a_merge_patch_reaches_into_a_json_column,
    a_json_patch_reaches_into_a_json_column,
    a_json_patch_whose_test_fails_writes_nothing,
    a_json_patch_makes_no_more_of_a_row_than_a_body_could_hold,
    an_edit_carries_base_and_time_for_each_column,
    a_stale_if_match_makes_the_merge_better_informed_and_is_no_412,
    a_patch_says_when_it_was_made,
    concurrent_patches_of_one_document_lose_no_member,
    what_a_patch_replaces_unseen_within_a_document_is_in_the_ledger,
    what_a_bare_patch_replaces_within_a_document_is_recorded_where_the_table_says_so,
];

fn a_merge_patch_changes_only_the_columns_it_names(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    for (media_type, title) in [
        ("application/merge-patch+json", "one"),
        ("application/json; charset=utf-8", "two"),
    ] {
        let patch = ana
            .request("PATCH", &todo(1))
            .body(media_type, json!({ "title": title }).to_string());
        let receipt = patch.send().expect(200).json();
        assert_eq!(
            (&receipt["table"], &receipt["id"]),
            (&json!("todos"), &json!(id(1)))
        );
        assert_eq!(receipt["status"], "ok");
        assert_eq!(receipt["columns"].as_object().unwrap().len(), 1);
        assert_eq!(receipt["columns"]["title"]["client"], ana.id());
        assert_eq!(
            reader.pull().row(&id(1))["columns"],
            json!({ "title": title })
        );
    }
    assert_eq!(ana.row("todos", &id(1))["note"], "old");
}

fn null_in_a_patch_is_sql_null(backend: Backend) {
    let server = one_todo(backend);
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "title": null, "data": null }))
        .expect(200);
    assert_eq!(server.value("SELECT title FROM todos"), None);
    assert_eq!(
        server.value("SELECT data FROM todos"),
        None,
        "SQL's NULL, not JSON's null"
    );
    assert_eq!(
        server.value("SELECT note FROM todos").as_deref(),
        Some("old")
    );
}

fn a_merge_patch_reaches_into_a_json_column(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let _ = ana
        .patch(
            &todo(1),
            &json!({ "data": { "a": 1, "b": { "c": [1, 2] }, "d": "x" } }),
        )
        .expect(200);
    let _ = ana
        .patch(
            &todo(1),
            &json!({ "data": { "a": null, "b": { "c": [3] } }, "title": "new" }),
        )
        .expect(200);
    let row = ana.row("todos", &id(1));
    assert_eq!(row["data"], json!({ "b": { "c": [3] }, "d": "x" }));
    assert_eq!(row["title"], "new");
}

fn a_json_patch_reaches_into_a_json_column(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let _ = ana
        .patch(&todo(1), &json!({ "data": { "tags": ["a"], "n/m": 1 } }))
        .expect(200);
    reader.pull();
    let patch = json!([
        { "op": "test", "path": "/title", "value": "old" },
        { "op": "add", "path": "/data/tags/-", "value": "b" },
        { "op": "remove", "path": "/data/n~1m" },
        { "op": "replace", "path": "/priority", "value": 5 },
        { "op": "remove", "path": "/note" },
        { "op": "copy", "from": "/title", "path": "/data/title" },
    ]);
    let receipt = ana
        .request("PATCH", &todo(1))
        .json_patch(&patch)
        .send()
        .expect(200)
        .json();
    let edited: Vec<&String> = receipt["columns"].as_object().unwrap().keys().collect();
    assert_eq!(
        edited,
        ["data", "note", "priority"],
        "what is only read is not edited"
    );
    let expected =
        json!({ "data": { "tags": ["a", "b"], "title": "old" }, "note": null, "priority": 5 });
    assert_eq!(reader.pull().row(&id(1))["columns"], expected);
}

fn a_json_patch_whose_test_fails_writes_nothing(backend: Backend) {
    let server = one_todo(backend);
    let before = server.dump();
    let patch = json!([
        { "op": "replace", "path": "/title", "value": "new" },
        { "op": "test", "path": "/note", "value": "not this" },
    ]);
    let _ = server
        .anonymous()
        .request("PATCH", &todo(1))
        .json_patch(&patch)
        .send()
        .problem(409, "patch_test_failed");
    assert_eq!(server.dump(), before);
}

fn an_edit_carries_base_and_time_for_each_column(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let _ = ana
        .patch_ago(120, &todo(1), &json!({ "title": "ana", "note": "ana" }))
        .expect(200);
    let edit = json!({ "base_version": 1, "columns": {
        "title": { "value": "ben", "base": "old", "at": ago(60) },
        "note": { "value": "ben", "base": "old", "at": ago(180) },
        "priority": { "value": 1, "base": null },
    }});
    let receipt = server
        .client("ben")
        .request("PATCH", &todo(1))
        .edit(&edit)
        .send()
        .expect(200)
        .json();
    let outcome = |column: &str| receipt["columns"][column]["outcome"].as_str().unwrap();
    assert_eq!(
        [outcome("title"), outcome("note"), outcome("priority")],
        ["applied", "superseded", "applied"]
    );
    assert_eq!(receipt["columns"]["title"]["at"], ago(60));
    let bases: Vec<Json> = ledger(&server, "")
        .iter()
        .map(|conflict| conflict["base"].clone())
        .collect();
    assert_eq!(bases, ["old", "old"]);
}

fn a_stale_if_match_makes_the_merge_better_informed_and_is_no_412(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let _ = ana
        .patch_ago(60, &todo(1), &json!({ "title": "ana" }))
        .expect(200);
    let patch = |version: &str, seconds: i64, body: Json| {
        let request = ben.request("PATCH", &todo(1)).header("If-Match", version);
        request
            .header("Client-Last-Updated", &ago(seconds))
            .merge_patch(&body)
            .send()
            .expect(200)
            .json()
    };
    // Ben's clock is two hours behind all others. Without a base, that would lose.
    let receipt = patch("\"1\"", 7200, json!({ "note": "ben" }));
    assert_eq!(
        receipt["columns"]["note"]["outcome"], "applied",
        "nobody else has edited the note"
    );
    assert_eq!(receipt["changed"], json!({ "title": "ana" }));
    let receipt = patch("\"1\"", 30, json!({ "title": "ben" }));
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    assert_eq!(
        ledger(&server, "").len(),
        1,
        "the later one wins, and what Ben had not seen is kept"
    );
    let receipt = patch("\"4\"", 7200, json!({ "title": "ben again" }));
    assert_eq!(
        receipt["columns"]["title"]["outcome"], "applied",
        "he had seen that one"
    );
    assert_eq!(ledger(&server, "").len(), 1);
}

fn a_patch_says_when_it_was_made(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let receipt = ana
        .patch_ago(60, &todo(1), &json!({ "title": "new" }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["at"], ago(60));
}

fn concurrent_patches_of_one_document_lose_no_member(backend: Backend) {
    let server = one_todo(backend);
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "data": {} }))
        .expect(200);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let client = server.client(&format!("writer {number}"));
            scope.spawn(move || {
                let member =
                    json!([{ "op": "add", "path": format!("/data/m{number}"), "value": number }]);
                let _ = client
                    .request("PATCH", &todo(1))
                    .json_patch(&member)
                    .send()
                    .expect(200);
            });
        }
    });
    let data = server.anonymous().row("todos", &id(1))["data"].clone();
    for number in 0..8 {
        assert_eq!(data[format!("m{number}")], number, "{data}");
    }
}

/// Sends a merge patch for a member of the document, as made with this version in view.
fn put_member(client: &Client, seen: &str, name: &str, value: &str) {
    let patch = client.request("PATCH", &todo(1)).header("If-Match", seen);
    let patch = patch.json(&json!({ "data": { name: value } }));
    let receipt = patch.send().expect(200).json();
    assert_eq!(receipt["columns"]["data"]["outcome"], "applied");
}

fn what_a_patch_replaces_unseen_within_a_document_is_in_the_ledger(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let whole = json!({ "data": { "a": "old", "b": ["old"] } });
    let version = ben.patch(&todo(1), &whole).expect(200).json()["version"].clone();
    let seen = format!("\"{version}\"");
    put_member(&ben, &seen, "a", "ben's");
    assert!(ledger(&server, "").is_empty(), "he had the member in view");

    put_member(&ana, &seen, "c", "ana's");
    assert!(ledger(&server, "").is_empty(), "a new member takes nothing");

    put_member(&ana, &seen, "a", "ana's");
    let lost = |at: usize| ledger(&server, "")[at]["lost"]["value"].clone();
    assert_eq!(ledger(&server, "").len(), 1);
    assert_eq!(lost(0)["a"], "ben's");

    let removal = json!([{ "op": "remove", "path": "/data/b/0" }]);
    let patch = ben.request("PATCH", &todo(1)).header("If-Match", &seen);
    let _ = patch.json_patch(&removal).send().expect(200);
    assert_eq!(ledger(&server, "").len(), 2);
    let all = [lost(0), lost(1)];
    let both = json!({ "a": "ana's", "b": ["old"], "c": "ana's" });
    assert!(all.contains(&both), "{all:?}");
    let data = &server.anonymous().row("todos", &id(1))["data"];
    assert_eq!(*data, json!({ "a": "ana's", "b": [], "c": "ana's" }));
}

fn what_a_bare_patch_replaces_within_a_document_is_recorded_where_the_table_says_so(
    backend: Backend,
) {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("blind_writes = 'record'")
        .start();
    make_todo(&server, 1);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let whole = json!({ "data": { "a": "ben's" } });
    let _ = ben.patch(&todo(1), &whole).expect(200);
    let _ = ana
        .patch(&todo(1), &json!({ "data": { "b": "ana's" } }))
        .expect(200);
    assert!(ledger(&server, "").is_empty(), "a new member takes nothing");
    let _ = ben
        .patch(&todo(1), &json!({ "data": { "a": "again" } }))
        .expect(200);
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["kind"], "blind");
    assert_eq!(
        entries[0]["lost"]["value"],
        json!({ "a": "ben's", "b": "ana's" })
    );
}

fn a_json_patch_makes_no_more_of_a_row_than_a_body_could_hold(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "data": {} })).expect(200);
    let before = server.dump();
    let send = |operations: Vec<Json>| {
        let patch = ana.request("PATCH", &todo(1));
        patch.json_patch(&Json::Array(operations)).send()
    };
    // Each copy doubles the document: 40 of them are a terabyte.
    let doubling =
        (0..40).map(|n| json!({ "op": "copy", "from": "/data", "path": format!("/data/{n}") }));
    let refused = send(doubling.collect()).problem(413, "too_many_operations");
    assert!(
        refused.json()["field"]
            .as_str()
            .unwrap()
            .starts_with("/data/")
    );
    let chain = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let add = |at: usize, depth: usize| {
        let path = format!("/data{}", "/a".repeat(at));
        json!({ "op": "add", "path": path, "value": chain(depth) })
    };
    let deep = send(vec![add(0, 40), add(40, 40)]).problem(400, "too_deep");
    assert!(
        deep.json()["field"]
            .as_str()
            .unwrap()
            .starts_with("/data/a")
    );
    let tip = "/a".repeat(40);
    let copied = json!({ "op": "copy", "from": "/data", "path": format!("/data{tip}/a") });
    let _ = send(vec![add(0, 40), copied]).problem(400, "too_deep");
    assert_eq!(server.dump(), before);
    // As deep as a body may be, over two patches.
    let _ = send(vec![add(0, 40)]).expect(200);
    let _ = send(vec![add(40, 22)]).expect(200);
    assert_eq!(
        ana.row("todos", &id(1))["data"]
            .to_string()
            .matches('{')
            .count(),
        63
    );
    let _ = send(vec![add(62, 1)]).problem(400, "too_deep");
}
