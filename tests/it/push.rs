//! Pushes: recognised when they come again, each edit with its own receipt, all or nothing if asked.

use std::io::Write as _;
use std::net::TcpStream;

use colsync_tests::edits::{delete, insert, update};
use colsync_tests::tables::id;
use colsync_tests::{Backend, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{one_todo, reader, todo, todos};

on_both![
    a_repeated_push_gets_the_same_receipts_and_changes_nothing,
    a_push_whose_answer_was_lost_takes_effect_once,
    a_repeat_is_recognised_whatever_the_clock_says_now,
    the_same_number_with_other_content_is_a_forked_client,
    numbers_begin_at_one_and_leave_no_gap,
    edits_of_one_push_build_on_each_other,
    a_push_needs_a_client,
];

fn a_repeated_push_gets_the_same_receipts_and_changes_nothing(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let edits = [
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "ana" })),
        insert(
            "todos",
            &id(2),
            &ago(60),
            &json!({ "title": "new", "priority": 3 }),
        ),
        update(
            "todos",
            &id(3),
            1,
            &ago(60),
            &json!({ "title": "nothing there" }),
        ),
    ];
    let first = ana.push_numbered(1, &edits).expect(200);
    let _ = server
        .client("ben")
        .patch(&todo(1), &json!({ "title": "ben" }))
        .expect(200);
    let mut reader = reader(&server);
    let before = server.dump();
    for _again in 0..2 {
        assert_eq!(
            ana.push_numbered(1, &edits).expect(200).text(),
            first.text()
        );
    }
    assert_eq!(server.dump(), before);
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    let spaced = serde_json::to_string_pretty(&json!({ "edits": edits, "push": 1 })).unwrap();
    let again = ana
        .request("POST", "/v1/sync/push")
        .body("application/json", spaced)
        .send()
        .expect(200);
    assert_eq!(
        again.text(),
        first.text(),
        "white space and the order of members are no content"
    );
}

fn a_push_whose_answer_was_lost_takes_effect_once(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    let edit = update("todos", &id(1), 1, &ago(60), &json!({ "priority": 1 }));
    let body = json!({ "push": 1, "edits": [edit] }).to_string();
    let head = format!(
        "POST /v1/sync/push HTTP/1.1\r\nHost: localhost\r\nClient-Id: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        ana.id(),
        body.len(),
    );
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    drop(stream);
    let receipt = ana.push_one(edit);
    assert_eq!(
        (
            &receipt["version"],
            &receipt["columns"]["priority"]["outcome"]
        ),
        (&json!(2), &json!("applied"))
    );
    assert_eq!(ana.get(&todo(1)).expect(200).version(), 2);
    assert_eq!(
        server
            .value("SELECT count(*) FROM colsync_pushes")
            .as_deref(),
        Some("1")
    );
}

fn a_repeat_is_recognised_whatever_the_clock_says_now(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let edits = [update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ana" }),
    )];
    let first = ana.push_numbered(1, &edits).expect(200);
    let before = server.dump();
    let again = ana.skewed(7200).push_numbered(1, &edits).expect(200);
    assert_eq!(again.text(), first.text());
    assert_eq!(server.dump(), before);
}

fn the_same_number_with_other_content_is_a_forked_client(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let push = |title: &str| {
        ana.push_numbered(
            1,
            &[update(
                "todos",
                &id(1),
                1,
                &ago(60),
                &json!({ "title": title }),
            )],
        )
    };
    let _ = push("one").expect(200);
    let before = server.dump();
    let _ = push("two").problem(409, "client_forked");
    assert_eq!(server.dump(), before);
}

fn numbers_begin_at_one_and_leave_no_gap(backend: Backend) {
    let server = todos(backend);
    let ana = server.client("ana");
    let before = server.dump();
    let refused = ana.push_numbered(2, &[]).problem(409, "push_out_of_order");
    assert_eq!(refused.json()["expected"], 1);
    for number in [0, -1] {
        let refused = ana
            .push_numbered(number, &[])
            .problem(400, "malformed_push");
        assert_eq!(refused.json()["field"], "push");
    }
    assert_eq!(server.dump(), before);
    let _ = ana.push_numbered(1, &[]).expect(200);
    let refused = ana.push_numbered(3, &[]).problem(409, "push_out_of_order");
    assert_eq!(refused.json()["expected"], 2);
    let _ = ana.push_numbered(2, &[]).expect(200);
    let _ = server.client("ben").push_numbered(1, &[]).expect(200);
}

fn edits_of_one_push_build_on_each_other(backend: Backend) {
    let server = one_todo(backend);
    let receipts = server.client("ana").push(&[
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "one" })),
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "two" })),
        insert("todos", &id(2), &ago(60), &json!({ "title": "one" })),
        update("todos", &id(2), 0, &ago(60), &json!({ "title": "two" })),
        delete("todos", &id(2), 0, &ago(60)),
        insert("todos", &id(2), &ago(60), &json!({ "title": "three" })),
    ]);
    let versions: Vec<i64> = receipts
        .iter()
        .map(|receipt| receipt["version"].as_i64().unwrap())
        .collect();
    // The receipt of an insert tells the row as the push leaves it.
    assert_eq!(
        versions,
        [2, 3, 4, 2, 3, 4],
        "each accepted edit is a version: {receipts:#?}"
    );
    let ana = server.client("ana");
    assert_eq!(ana.row("todos", &id(1))["title"], "two");
    assert_eq!(ana.row("todos", &id(2))["title"], "three");
    assert_eq!(
        crate::ledger(&server, ""),
        Vec::<Json>::new(),
        "nobody conflicts with itself"
    );
}

fn a_push_needs_a_client(backend: Backend) {
    let server = todos(backend);
    let refused = server
        .anonymous()
        .push_numbered(1, &[])
        .problem(400, "invalid_header");
    assert_eq!(refused.json()["field"], "Client-Id");
}
