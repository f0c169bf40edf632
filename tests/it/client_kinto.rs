//! A server that knows no sync, but the changes since a time and `If-Match`: Kinto.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use colsync_client::Error;
use colsync_tests::{Act, Between, Device, Plain};
use serde_json::{Value as Json, json};

const TABLE: &str = "CREATE TABLE todos (id TEXT PRIMARY KEY, title TEXT, stock INTEGER, doc JSON)";

/// How Kinto is used.
const DESCRIPTION: &str = r#"
[tables.todos]
list = "/v1/buckets/app/collections/todos/records"
changes = "/v1/buckets/app/collections/todos/records?_since={since}"
item = "/v1/buckets/app/collections/todos/records/{id}"
update = "merge-patch"
rows = "/data"
row = "/data"
next = "Next-Page"
updated_at = "last_modified"
deleted = "deleted"

[tables.todos.columns]
stock = { policy = "counter" }
"#;

fn kinto() -> Plain {
    let schema = json!({ "properties": { "title": { "maxLength": 20 } } });
    Plain::kinto("todos", &schema)
}

fn path(id: &str) -> String {
    format!("/v1/buckets/app/collections/todos/records/{id}")
}

#[track_caller]
fn put(api: &Plain, id: &str, row: &Json) {
    let answer = api.http().put(&path(id), &json!({ "data": row }));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

#[track_caller]
fn row(api: &Plain, id: &str) -> Json {
    let mut answer = api.http().get(&path(id)).expect(200).json();
    answer["data"].take()
}

/// The device, with its table tracked.
#[track_caller]
fn tracking(device: Device) -> Device {
    device.sql(TABLE);
    device.client().track("todos").unwrap();
    device
}

#[test]
fn after_the_first_list_only_changes_are_asked_for_and_deletes_are_among_them() {
    let api = kinto();
    for n in 0..8 {
        let row = json!({ "title": "old", "stock": n, "doc": { "long": "x".repeat(500) } });
        put(&api, &format!("r{n}"), &row);
    }
    let a = tracking(Device::of_api(&api, DESCRIPTION));
    let first = a.client().sync().unwrap();
    assert_eq!(first.pulled, 8, "in pages of three");
    put(&api, "r3", &json!({ "title": "theirs", "stock": 3 }));
    drop(api.http().delete(&path("r5")).expect(200));
    let report = a.client().sync().unwrap();
    assert_eq!((report.pulled, report.removed), (1, 1));
    assert!(report.received_bytes < 500, "{report:?}");
    let rows = a.column("SELECT title || coalesce(doc, '') FROM todos WHERE id IN ('r3', 'r5')");
    assert_eq!(rows, [Some("theirs".to_owned())]);
}

#[test]
fn edits_go_up_as_merge_patches_that_leave_other_members_alone() {
    let api = kinto();
    let doc = json!({ "a": 1, "b": { "c": 1, "d": 2 } });
    put(
        &api,
        "a",
        &json!({ "title": "old", "colour": "red", "doc": doc }),
    );
    let a = tracking(Device::of_api(&api, DESCRIPTION));
    a.client().sync().unwrap();
    a.sql(
        "UPDATE todos SET title = NULL, doc = '{\"b\":{\"d\":3},\"e\":4}';
         INSERT INTO todos (id, title) VALUES ('b', 'made')",
    );
    assert_eq!(a.client().sync().unwrap().applied, 2);
    let mut there = row(&api, "a");
    for of_kinto in ["last_modified", "schema"] {
        drop(there.as_object_mut().unwrap().remove(of_kinto));
    }
    assert_eq!(
        there,
        json!({ "id": "a", "colour": "red", "doc": { "b": { "d": 3 }, "e": 4 } })
    );
    assert_eq!(row(&api, "b")["title"], "made");
    let idle = a.client().sync().unwrap();
    assert_eq!((idle.pushed, idle.pulled), (0, 0));
    a.sql("DELETE FROM todos WHERE id = 'b'");
    a.client().sync().unwrap();
    drop(api.http().get(&path("b")).expect(404));
}

#[test]
fn a_write_that_someone_else_is_faster_than_is_merged_again() {
    let api = kinto();
    put(&api, "a", &json!({ "title": "old", "stock": 5 }));
    let (http, done) = (api.http(), Arc::new(AtomicU32::new(0)));
    let times = done.clone();
    let between = Between::new(&api, move |request| {
        if request.starts_with(b"PATCH") && times.fetch_add(1, Ordering::SeqCst) == 0 {
            let faster = json!({ "data": { "title": "theirs", "stock": 10 } });
            drop(http.put(&path("a"), &faster).expect(200));
        }
        Act::Pass
    });
    let a = tracking(Device::of_api_at(&between.url(), DESCRIPTION));
    a.client().sync().unwrap();
    a.sql("UPDATE todos SET stock = stock + 1");
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.merged), (1, 1), "{report:?}");
    assert_eq!(
        done.load(Ordering::SeqCst),
        2,
        "the first was refused with 412"
    );
    let there = row(&api, "a");
    assert_eq!(
        (&there["title"], &there["stock"]),
        (&json!("theirs"), &json!(11))
    );
    assert_eq!(a.dump("todos"), ["'a', 'theirs', 11, NULL"]);
}

#[test]
fn what_the_api_would_never_take_is_a_dead_letter_and_holds_up_nothing() {
    let api = kinto();
    put(&api, "a", &json!({ "title": "old" }));
    let a = tracking(Device::of_api(&api, DESCRIPTION));
    a.client().sync().unwrap();
    a.sql(
        "UPDATE todos SET title = 'longer than twenty characters';
         INSERT INTO todos (id, title) VALUES ('no id of Kinto''s', 'x'), ('b', 'good')",
    );
    let report = a.client().sync().unwrap();
    assert_eq!((report.rejected, report.applied), (2, 1), "{report:?}");
    assert_eq!(
        a.dump("todos"),
        ["'a', 'old', NULL, NULL", "'b', 'good', NULL, NULL"]
    );
    assert_eq!(row(&api, "a")["title"], "old");
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|letter| letter.code == "http_400"),
        "{letters:?}"
    );
    let long = letters.iter().find(|letter| letter.id == "a").unwrap();
    assert!(long.detail.contains("too long"), "{}", long.detail);
}

#[test]
fn an_api_that_lets_nobody_in_pauses_and_keeps_the_edits() {
    let api = kinto();
    let elsewhere = DESCRIPTION.replace("/app/", "/not-mine/");
    let a = tracking(Device::of_api(&api, &elsewhere));
    a.sql("INSERT INTO todos (id, title) VALUES ('a', 'mine')");
    assert!(matches!(a.client().sync(), Err(Error::Forbidden { .. })));
    assert_eq!(a.run(&["sync"]).status.code(), Some(4));
    assert_eq!(a.client().pending().unwrap().len(), 1);
    assert!(a.client().dead_letters().unwrap().is_empty());
}
