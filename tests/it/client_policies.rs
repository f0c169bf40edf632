//! Policies that make one value of both sides' edits, through the client and over REST.

use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Plan, Server, on_both};
use serde_json::json;

use crate::client_sync::{device, sync_while};
use crate::{ledger, todo};

on_both![
    a_counter_counts_each_edit_once_whatever_the_network_does,
    a_counter_that_is_raised_during_its_own_push_loses_nothing,
    a_row_deleted_while_its_counter_is_merged_tells_what_it_takes,
    a_set_keeps_what_each_side_added_and_drops_what_each_removed,
    a_text_takes_the_words_of_both_sides,
    a_document_takes_the_members_of_both_sides_and_keeps_what_loses,
    a_repeated_patch_of_a_counter_counts_once,
    a_policy_that_the_type_cannot_have_is_refused,
];

fn counting(backend: Backend) -> Server {
    let server = Server::on(backend)
        .table(TODOS)
        .policy("priority", "counter")
        .policy("data", "set")
        .start();
    let row = json!({ "id": id(1), "title": "t", "priority": 10, "data": ["a", "b"] });
    server.client("maker").create_ago(60, "todos", &row);
    server
}

fn raise(device: &Device, by: i64) {
    device.sql(&format!("UPDATE todos SET priority = priority + {by}"));
}

fn priority(device: &Device) -> i64 {
    let value = device.value("SELECT priority FROM todos");
    value.unwrap().parse().unwrap()
}

fn a_counter_counts_each_edit_once_whatever_the_network_does(backend: Backend) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = counting(backend);
    let proxy = server.proxy(seed);
    let devices = [(); 3].map(|()| Device::behind(&proxy).tracking(TODOS));
    for device in &devices {
        device.client().sync().unwrap();
    }
    proxy.plan(Plan::all(150));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expect = 10;
    while proxy.counts().total() < 100 {
        let device = &devices[random.usize(..devices.len())];
        if random.bool() {
            let by = random.i64(-3..=5);
            raise(device, by);
            expect += by;
        }
        drop(device.client().sync());
    }
    proxy.faults_off();
    for device in devices.iter().chain(&devices) {
        device.client().sync().unwrap();
    }
    for device in &devices {
        assert_eq!(priority(device), expect);
    }
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], expect);
    assert!(ledger(&server, "").is_empty());
}

fn a_counter_that_is_raised_during_its_own_push_loses_nothing(backend: Backend) {
    let server = counting(backend);
    let (a, b) = (device(&server), device(&server));
    raise(&b, 100);
    b.client().sync().unwrap();
    raise(&a, 1);
    sync_while(
        &a,
        |progress| matches!(progress, colsync_client::Progress::Pushing { .. }),
        || raise(&a, 2),
    );
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    assert_eq!((priority(&a), priority(&b)), (113, 113));
    a.assert_equals(&server.anonymous(), "todos");
}

fn a_row_deleted_while_its_counter_is_merged_tells_what_it_takes(backend: Backend) {
    let server = counting(backend);
    let (a, b) = (device(&server), device(&server));
    raise(&b, 100);
    b.client().sync().unwrap();
    raise(&a, 1);
    sync_while(
        &a,
        |progress| matches!(progress, colsync_client::Progress::Pushing { .. }),
        || a.sql("DELETE FROM todos"),
    );
    a.client().sync().unwrap();
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["kind"], "deleted");
    assert_eq!(
        entries[0]["lost"]["value"]["columns"],
        json!({ "priority": 111 })
    );
}

fn a_set_keeps_what_each_side_added_and_drops_what_each_removed(backend: Backend) {
    let server = counting(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE todos SET data = '[\"a\",\"b\",\"of a\"]'");
    b.sql("UPDATE todos SET data = '[\"b\",\"of b\"]'");
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(row["data"], json!(["b", "of a", "of b"]));
    a.assert_equals(&server.anonymous(), "todos");
    b.assert_equals(&server.anonymous(), "todos");
    let told = &b.client().conflicts().unwrap()[0];
    assert_eq!(told.outcome, "merged");
    assert_eq!(told.base, Some(json!(["a", "b"])));
    assert!(ledger(&server, "").is_empty());
}

fn a_repeated_patch_of_a_counter_counts_once(backend: Backend) {
    let server = counting(backend);
    let other = server.client("other");
    let edit = json!({ "columns": { "priority": { "value": 11, "base": 10 } } });
    let patch = |key: &str| {
        let request = other
            .request("PATCH", &todo(1))
            .header("Idempotency-Key", key);
        request.edit(&edit).send().expect(200).json()
    };
    let first = patch("one");
    assert_eq!(patch("one"), first);
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 11);
    // Someone else counts from 10 as well, to the same number.
    let second = patch("two");
    assert_eq!(second["columns"]["priority"]["value"], 12);
    assert_eq!(patch("two"), second);
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 12);
}

fn a_policy_that_the_type_cannot_have_is_refused(backend: Backend) {
    for (column, policy, why) in [
        ("title", "counter", "counter needs numbers"),
        ("priority", "set", "set needs JSON, or an array"),
        ("priority", "text", "text needs a column of text"),
        ("note", "json", "json needs a column of JSON"),
    ] {
        let server = Server::on(backend)
            .table(TODOS)
            .policy(column, policy)
            .prepare();
        server.adopt();
        let said = colsync_tests::process::said(&server.run(&["check"]));
        assert!(said.contains(why), "{said}");
    }
}

fn written(backend: Backend) -> Server {
    let server = Server::on(backend)
        .table(TODOS)
        .policy("note", "text")
        .policy("data", "json")
        .start();
    let data = json!({ "colour": "red", "size": { "w": 1, "h": 1 } });
    let row = json!({ "id": id(1), "note": "bring milk and bread", "data": data });
    server.client("maker").create_ago(60, "todos", &row);
    server
}

fn set(device: &Device, column: &str, value: &str) {
    device.sql(&format!("UPDATE todos SET {column} = '{value}'"));
}

fn a_text_takes_the_words_of_both_sides(backend: Backend) {
    let server = written(backend);
    let (a, b) = (device(&server), device(&server));
    set(&a, "note", "bring oat milk and bread");
    set(&b, "note", "bring milk and rye bread");
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    let note = || server.anonymous().row("todos", &id(1))["note"].clone();
    assert_eq!(note(), "bring oat milk and rye bread");
    assert!(ledger(&server, "").is_empty());
    // Both change the same words: the later writer wins, and the ledger has the other.
    set(&a, "note", "bring beer and rye bread");
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    set(&b, "note", "bring wine and rye bread");
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    assert_eq!(note(), "bring wine and rye bread");
    assert_eq!(
        ledger(&server, "")[0]["lost"]["value"],
        "bring beer and rye bread"
    );
    a.assert_equals(&server.anonymous(), "todos");
    b.assert_equals(&server.anonymous(), "todos");
}

fn a_document_takes_the_members_of_both_sides_and_keeps_what_loses(backend: Backend) {
    let server = written(backend);
    let (a, b) = (device(&server), device(&server));
    set(&b, "data", r#"{"colour":"blue","size":{"w":1,"h":5}}"#);
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    set(
        &a,
        "data",
        r#"{"colour":"green","size":{"w":3,"h":1},"new":true}"#,
    );
    // The later one arrives first: the other's size is taken all the same, its colour is not.
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    let data = &server.anonymous().row("todos", &id(1))["data"];
    assert_eq!(
        *data,
        json!({"colour": "green", "size": {"w": 3, "h": 5}, "new": true})
    );
    let entry = &ledger(&server, "")[0];
    assert_eq!(entry["kept"]["value"], *data);
    assert_eq!(entry["lost"]["value"]["colour"], "blue");
    a.assert_equals(&server.anonymous(), "todos");
    b.assert_equals(&server.anonymous(), "todos");
}
