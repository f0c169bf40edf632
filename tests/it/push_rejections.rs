//! Edits of a push that are rejected, each in its own receipt, and what becomes of the rest.

use colsync_tests::edits::{delete, insert, update};
use colsync_tests::tables::{ITEMS, LISTS, TODOS, TableDef, id};
use colsync_tests::{Backend, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::one_todo;

on_both![
    one_bad_edit_is_rejected_in_its_receipt_and_the_rest_commit,
    an_edit_that_cannot_be_read_is_rejected_in_its_receipt,
    an_atomic_push_with_a_bad_edit_writes_nothing_and_uses_its_number_up,
    an_atomic_push_without_a_bad_edit_writes_everything,
    a_constraint_violation_is_isolated_to_its_row,
    a_child_may_come_before_its_parent,
    an_atomic_push_that_edits_the_row_it_makes_leaves_nothing_of_it,
    a_constraint_that_only_commit_checks_rejects_its_push_and_no_other,
    a_row_that_is_gone_is_told_from_one_that_never_was,
];

fn one_bad_edit_is_rejected_in_its_receipt_and_the_rest_commit(backend: Backend) {
    let server = one_todo(backend);
    let receipts = server.client("ana").push(&[
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "good" })),
        update(
            "todos",
            &id(2),
            1,
            &ago(60),
            &json!({ "title": "no such row" }),
        ),
        insert("todos", &id(3), &ago(60), &json!({ "title": "good" })),
    ]);
    let statuses: Vec<&str> = receipts
        .iter()
        .map(|receipt| receipt["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        statuses,
        ["ok", "rejected", "ok"],
        "receipts in the order of the edits"
    );
    assert_eq!(
        (&receipts[1]["code"], &receipts[1]["id"]),
        (&json!("row_not_found"), &json!(id(2)))
    );
    let titles = server.column("SELECT title FROM todos ORDER BY id");
    assert_eq!(titles, [Some("good".to_owned()), Some("good".to_owned())]);
}

fn an_edit_that_cannot_be_read_is_rejected_in_its_receipt(backend: Backend) {
    let server = one_todo(backend);
    let edit = |patch: Json| {
        let mut edit = update("todos", &id(1), 1, &ago(60), &json!({ "title": "bad" }));
        for (member, value) in patch.as_object().unwrap() {
            edit[member] = value.clone();
        }
        edit
    };
    let columns =
        |name: &str, value: Json| edit(json!({ "columns": { name: { "value": value } } }));
    let cases = [
        ("not an object", json!(7), "malformed_edit", ""),
        (
            "no table",
            edit(json!({ "table": null })),
            "malformed_edit",
            "table",
        ),
        ("no id", edit(json!({ "id": null })), "malformed_edit", "id"),
        (
            "unknown table",
            edit(json!({ "table": "nothing" })),
            "unknown_table",
            "table",
        ),
        (
            "internal table",
            edit(json!({ "table": "colsync_meta" })),
            "unknown_table",
            "table",
        ),
        (
            "a bad id",
            edit(json!({ "id": "x" })),
            "invalid_value",
            "id",
        ),
        ("no op", edit(json!({ "op": null })), "malformed_edit", "op"),
        (
            "another op",
            edit(json!({ "op": "upsert" })),
            "malformed_edit",
            "op",
        ),
        (
            "no object of columns",
            edit(json!({ "columns": [] })),
            "malformed_edit",
            "columns",
        ),
        (
            "no column object",
            edit(json!({ "columns": { "title": "x" } })),
            "malformed_edit",
            "title",
        ),
        (
            "no value",
            edit(json!({ "columns": { "title": {} } })),
            "malformed_edit",
            "title",
        ),
        (
            "a bad version",
            edit(json!({ "base_version": -1 })),
            "malformed_edit",
            "base_version",
        ),
        (
            "no list of what is unseen",
            edit(json!({ "unseen": "title" })),
            "malformed_edit",
            "unseen",
        ),
        (
            "no name of what is unseen",
            edit(json!({ "unseen": [1] })),
            "malformed_edit",
            "unseen",
        ),
        (
            "an unknown column is unseen",
            edit(json!({ "unseen": ["nothing"] })),
            "unknown_column",
            "unseen",
        ),
        (
            "a bad time",
            edit(json!({ "at": "yesterday" })),
            "malformed_edit",
            "at",
        ),
        (
            "columns of a delete",
            edit(json!({ "op": "delete" })),
            "malformed_edit",
            "columns",
        ),
        (
            "unknown column",
            columns("nothing", json!(1)),
            "unknown_column",
            "nothing",
        ),
        (
            "colsync's column",
            columns("sync_version", json!(9)),
            "read_only_column",
            "sync_version",
        ),
        (
            "another key",
            columns("id", json!(id(2))),
            "key_is_immutable",
            "id",
        ),
        (
            "a wrong type",
            columns("priority", json!("x")),
            "invalid_value",
            "priority",
        ),
        (
            "NUL",
            columns("title", json!("a\0b")),
            "invalid_value",
            "title",
        ),
        (
            "NUL in a document",
            columns("data", json!({ "a": ["\0"] })),
            "invalid_value",
            "data",
        ),
    ];
    let before = server.row_dump();
    let edits: Vec<Json> = cases.iter().map(|(_, edit, _, _)| edit.clone()).collect();
    let receipts = server.client("ana").push(&edits);
    for ((name, _, code, field), receipt) in cases.iter().zip(&receipts) {
        assert_eq!(receipt["status"], "rejected", "{name}: {receipt}");
        assert_eq!(receipt["code"], *code, "{name}: {receipt}");
        assert!(receipt["detail"].is_string(), "{name}: {receipt}");
        if !field.is_empty() {
            assert_eq!(receipt["field"], *field, "{name}: {receipt}");
        }
    }
    assert_eq!(receipts.len(), cases.len());
    assert_eq!(server.row_dump(), before);
}

fn an_atomic_push_with_a_bad_edit_writes_nothing_and_uses_its_number_up(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .table(LISTS)
        .table(ITEMS)
        .start();
    let mut ana = server.client("ana");
    ana.push(&[insert(
        "todos",
        &id(1),
        &ago(3600),
        &json!({ "title": "old" }),
    )]);
    for bad in [
        update(
            "todos",
            &id(9),
            1,
            &ago(60),
            &json!({ "title": "no such row" }),
        ),
        insert(
            "items",
            &id(2),
            &ago(60),
            &json!({ "name": "x", "amount": -1 }),
        ),
    ] {
        let before = server.row_dump();
        let receipts = ana.push_atomic(&[
            update("todos", &id(1), 1, &ago(60), &json!({ "title": "new" })),
            bad,
            insert("todos", &id(2), &ago(60), &json!({ "title": "new" })),
        ]);
        let statuses: Vec<&str> = receipts
            .iter()
            .map(|receipt| receipt["status"].as_str().unwrap())
            .collect();
        assert_eq!(statuses, ["rolled_back", "rejected", "rolled_back"]);
        // Of the edit at fault the ledger may tell.
        server.sql("DELETE FROM colsync_conflicts WHERE kind = 'constraint'");
        assert_eq!(
            server.row_dump(),
            before,
            "no row and no other ledger entry"
        );
    }
    let receipt = ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "new" }),
    ));
    assert_eq!(
        (&receipt["status"], &receipt["version"]),
        (&json!("ok"), &json!(2))
    );
}

fn an_atomic_push_without_a_bad_edit_writes_everything(backend: Backend) {
    let server = one_todo(backend);
    let receipts = server.client("ana").push_atomic(&[
        update("todos", &id(1), 1, &ago(7200), &json!({ "title": "new" })),
        insert("todos", &id(2), &ago(60), &json!({ "title": "new" })),
    ]);
    assert!(
        receipts.iter().all(|receipt| receipt["status"] == "ok"),
        "{receipts:?}"
    );
    assert_eq!(
        server
            .value("SELECT count(*) FROM todos WHERE title = 'new'")
            .as_deref(),
        Some("2")
    );
}

fn a_constraint_violation_is_isolated_to_its_row(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let mut ana = server.client("ana");
    ana.push(&[
        insert(
            "items",
            &id(1),
            &ago(3600),
            &json!({ "name": "one", "code": "taken", "amount": 1 }),
        ),
        insert("items", &id(2), &ago(3600), &json!({ "name": "two" })),
    ]);
    let receipts = ana.push(&[
        insert("items", &id(3), &ago(60), &json!({ "name": "good" })),
        insert("items", &id(4), &ago(60), &json!({ "code": "no name" })),
        insert(
            "items",
            &id(5),
            &ago(60),
            &json!({ "name": "x", "amount": -1 }),
        ),
        insert(
            "items",
            &id(6),
            &ago(60),
            &json!({ "name": "x", "code": "taken" }),
        ),
        insert(
            "items",
            &id(7),
            &ago(60),
            &json!({ "name": "x", "list_id": id(99) }),
        ),
        update("items", &id(1), 1, &ago(60), &json!({ "name": null })),
        update(
            "items",
            &id(2),
            1,
            &ago(60),
            &json!({ "name": "good", "code": "free" }),
        ),
        update("items", &id(2), 1, &ago(60), &json!({ "amount": -5 })),
        insert(
            "items",
            &id(8),
            &ago(60),
            &json!({ "name": "good", "code": "free too" }),
        ),
    ]);
    let statuses: Vec<&str> = receipts
        .iter()
        .map(|receipt| receipt["status"].as_str().unwrap())
        .collect();
    let (ok, no) = ("ok", "rejected");
    assert_eq!(
        statuses,
        [ok, no, no, no, no, no, ok, no, ok],
        "{receipts:#?}"
    );
    for receipt in receipts.iter().filter(|receipt| receipt["status"] == no) {
        assert_eq!(receipt["code"], "constraint_violation", "{receipt}");
    }
    let rows = server.column("SELECT name || '/' || coalesce(code, '-') || '/' || coalesce(amount, 0) FROM items ORDER BY id");
    let rows: Vec<String> = rows.into_iter().flatten().collect();
    assert_eq!(
        rows,
        ["one/taken/1", "good/free/0", "good/-/0", "good/free too/0"]
    );
    let refused = ana.post(
        "/v1/tables/items/rows",
        &json!({ "name": "x", "code": "taken" }),
    );
    let _ = refused.problem(409, "constraint_violation");
}

fn a_child_may_come_before_its_parent(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let receipts = server.client("ana").push(&[
        insert(
            "items",
            &id(1),
            &ago(60),
            &json!({ "name": "child", "list_id": id(2) }),
        ),
        insert("lists", &id(2), &ago(60), &json!({ "name": "parent" })),
        insert(
            "items",
            &id(3),
            &ago(60),
            &json!({ "name": "orphan", "list_id": id(4) }),
        ),
        update("items", &id(1), 0, &ago(60), &json!({ "amount": 7 })),
    ]);
    let statuses: Vec<&str> = receipts
        .iter()
        .map(|receipt| receipt["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["ok", "ok", "rejected", "ok"], "{receipts:#?}");
    assert_eq!(
        server.client("ben").row("items", &id(1))["amount"],
        7,
        "an edit of a row that waits for its parent waits with it"
    );
    assert_eq!(
        server
            .value("SELECT count(*) FROM items JOIN lists ON lists.id = list_id")
            .as_deref(),
        Some("1")
    );
}

fn an_atomic_push_that_edits_the_row_it_makes_leaves_nothing_of_it(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    ana.push(&[]);
    let before = server.row_dump();
    let receipts = ana.push_atomic(&[
        insert("todos", &id(2), &ago(60), &json!({ "title": "made" })),
        update("todos", &id(2), 1, &ago(60), &json!({ "title": "edited" })),
        update("todos", &id(9), 1, &ago(60), &json!({ "title": "nowhere" })),
    ]);
    let statuses: Vec<&str> = receipts
        .iter()
        .map(|receipt| receipt["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["rolled_back", "rolled_back", "rejected"]);
    assert_eq!(server.row_dump(), before);
}

fn a_constraint_that_only_commit_checks_rejects_its_push_and_no_other(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(LATE_ITEMS).start();
    let receipts = server.client("ana").push(&[insert(
        "late_items",
        &id(1),
        &ago(60),
        &json!({ "list_id": id(9) }),
    )]);
    assert_eq!(
        (&receipts[0]["status"], &receipts[0]["code"]),
        (&json!("rejected"), &json!("constraint_violation"))
    );
    assert_eq!(
        server.value("SELECT count(*) FROM late_items").as_deref(),
        Some("0")
    );
    let receipts = server.client("ben").push(&[
        insert("late_items", &id(1), &ago(60), &json!({ "list_id": id(2) })),
        insert("lists", &id(2), &ago(60), &json!({ "name": "in time" })),
    ]);
    assert!(
        receipts.iter().all(|receipt| receipt["status"] == "ok"),
        "{receipts:#?}"
    );
}

/// A foreign key that is checked at the end of the transaction.
const LATE_ITEMS: TableDef = TableDef {
    name: "late_items",
    sqlite: "CREATE TABLE late_items (id UUID PRIMARY KEY NOT NULL,
             list_id UUID REFERENCES lists (id) DEFERRABLE INITIALLY DEFERRED);",
    postgres: "CREATE TABLE late_items (id uuid PRIMARY KEY,
               list_id uuid REFERENCES lists (id) DEFERRABLE INITIALLY DEFERRED);",
};

fn a_row_that_is_gone_is_told_from_one_that_never_was(backend: Backend) {
    let server = one_todo(backend);
    server.sql("DELETE FROM todos");
    let receipts = server.client("ana").push(&[
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "x" })),
        delete("todos", &id(1), 1, &ago(60)),
        update("todos", &id(2), 1, &ago(60), &json!({ "title": "x" })),
    ]);
    let codes: Vec<&str> = receipts
        .iter()
        .map(|receipt| receipt["code"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(
        codes,
        ["row_gone", "row_gone", "row_not_found"],
        "{receipts:#?}"
    );
}
