//! The transaction log: actions in the order in which they were done, through the same merge and receipts.

use colsync_tests::tables::{ITEMS, LISTS, TICKETS, TODOS, id};
use colsync_tests::{Backend, Client, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, reader, resolve, todo, todos};

on_both![
    actions_are_done_in_their_order,
    an_entry_meets_the_edits_of_others_as_any_edit_does,
    a_repeated_log_changes_nothing,
    a_hard_delete_removes_the_row_and_tells_everyone,
    a_hard_delete_is_for_tables_that_allow_it,
    a_report_changes_its_type_and_its_documents_go,
    what_a_hard_delete_had_not_seen_is_in_the_ledger,
    what_a_bare_hard_delete_takes_is_recorded_where_the_table_says_so,
    what_stood_beneath_a_tombstone_is_in_the_ledger_when_it_goes,
    a_decision_brings_a_removed_row_back_as_it_was,
    a_row_that_is_made_after_a_removal_was_not_seen_before,
    what_an_entry_was_merged_with_is_not_seen_by_the_next,
    an_entry_that_cannot_be_read_says_so_in_its_receipt,
    a_number_that_the_database_gives_again_is_a_new_row,
];

/// Sends entries as the log `number` and gives the receipts.
#[track_caller]
fn send(client: &Client, number: i64, entries: &[Json]) -> Vec<Json> {
    let body = json!({ "push": number, "entries": entries });
    let answer = client.post("/v1/sync/log", &body).expect(200).json();
    answer["receipts"].as_array().unwrap().clone()
}

fn entry(table: &str, row: u64, action: &str, seconds: i64, columns: &Json) -> Json {
    let mut entry = json!({ "table": table, "id": id(row), "action": action, "at": ago(seconds) });
    if !columns.is_null() {
        entry["columns"] = columns.clone();
    }
    entry
}

fn forgetful(backend: Backend) -> Server {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("hard_delete = true");
    server.start()
}

fn actions_are_done_in_their_order(backend: Backend) {
    let server = todos(backend);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let receipts = send(
        &ana,
        1,
        &[
            entry(
                "todos",
                1,
                "insert",
                50,
                &json!({ "title": "a", "priority": 1 }),
            ),
            entry("todos", 1, "update", 40, &json!({ "title": "b" })),
            entry("todos", 2, "insert", 30, &json!({ "title": "gone" })),
            entry("todos", 2, "delete", 20, &Json::Null),
            entry(
                "todos",
                1,
                "update",
                10,
                &json!({ "title": "c", "done": true }),
            ),
        ],
    );
    let versions: Vec<_> = receipts.iter().map(|r| r["version"].as_i64()).collect();
    // A row made within the submission is told as it is at its end.
    assert_eq!(versions, [Some(3), Some(2), Some(2), Some(2), Some(3)]);
    assert!(receipts.iter().all(|receipt| receipt["status"] == "ok"));
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["done"], &row["priority"]),
        (&json!("c"), &json!(true), &json!(1))
    );
    drop(
        server
            .anonymous()
            .get(&todo(2))
            .problem(404, "row_not_found"),
    );
    assert!(ledger(&server, "").is_empty(), "they have seen each other");
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(1))["columns"]["title"], "c");
    assert_eq!(pulled.row(&id(2))["removed"], "deleted");
}

fn an_entry_meets_the_edits_of_others_as_any_edit_does(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let _ = ben
        .patch_ago(30, &todo(1), &json!({ "title": "of ben" }))
        .expect(200);
    let mut early = entry(
        "todos",
        1,
        "update",
        60,
        &json!({ "title": "early", "note": "of ana" }),
    );
    early["base_version"] = json!(1);
    let receipts = send(&ana, 1, &[early]);
    assert_eq!(receipts[0]["columns"]["title"]["outcome"], "superseded");
    assert_eq!(receipts[0]["columns"]["title"]["value"], "of ben");
    assert_eq!(receipts[0]["columns"]["note"]["outcome"], "applied");
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["lost"]["value"], "early");
}

fn a_repeated_log_changes_nothing(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let entries = [
        entry("todos", 1, "update", 9, &json!({ "title": "x" })),
        entry("todos", 1, "delete", 8, &Json::Null),
    ];
    let first = send(&ana, 1, &entries);
    let before = server.dump();
    assert_eq!(send(&ana, 1, &entries), first);
    assert_eq!(server.dump(), before);
    // One count of numbers for all methods.
    let push = json!({ "push": 1, "edits": [] });
    let _ = ana
        .post("/v1/sync/push", &push)
        .problem(409, "client_forked");
    let push = json!({ "push": 2, "edits": [] });
    let _ = ana.post("/v1/sync/push", &push).expect(200);
}

fn a_hard_delete_removes_the_row_and_tells_everyone(backend: Backend) {
    let server = forgetful(backend);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let made = [entry("todos", 1, "insert", 50, &json!({ "title": "a" }))];
    send(&ana, 1, &made);
    assert_eq!(reader.pull().ids(), [id(1)]);
    let gone = [entry("todos", 1, "hard_delete", 40, &Json::Null)];
    let receipts = send(&ana, 2, &gone);
    assert_eq!(receipts[0]["status"], "ok");
    assert_eq!(receipts[0]["deleted"], true);
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("0")
    );
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1);
    assert_eq!(pulled.rows[0]["removed"], "purged");
    drop(
        server
            .anonymous()
            .get(&todo(1))
            .problem(404, "row_not_found"),
    );
    let late = [
        entry("todos", 1, "update", 1, &json!({ "title": "late" })),
        entry("todos", 1, "hard_delete", 1, &Json::Null),
        entry("todos", 1, "insert", 1, &json!({ "title": "again" })),
        entry("todos", 1, "hard_delete", 1, &Json::Null),
        entry("todos", 1, "insert", 1, &json!({ "title": "once more" })),
    ];
    let receipts = send(&ana, 3, &late);
    assert_eq!(receipts[0]["code"], "row_gone");
    assert_eq!(receipts[1]["code"], "row_gone");
    assert!(
        receipts[2..]
            .iter()
            .all(|receipt| receipt["status"] == "ok")
    );
    let row = server
        .anonymous()
        .get(&format!("{}?meta=true", todo(1)))
        .expect(200)
        .json();
    assert_eq!(row["title"], "once more");
    // Versions go on where the purged rows ended.
    assert!(row["_sync"]["version"].as_i64() > receipts[3]["version"].as_i64());
    assert_eq!(reader.pull().row(&id(1))["full"], true);
    let short = [
        entry("todos", 2, "insert", 1, &json!({ "title": "short" })),
        entry("todos", 2, "hard_delete", 1, &Json::Null),
    ];
    let receipts = send(&ana, 4, &short);
    for receipt in &receipts {
        assert_eq!(receipt["status"], "ok", "{receipts:?}");
        assert_eq!(
            (&receipt["table"], &receipt["id"]),
            (&json!("todos"), &json!(id(2)))
        );
        assert_eq!(receipt["deleted"], true);
    }
}

fn a_hard_delete_is_for_tables_that_allow_it(backend: Backend) {
    let server = one_todo(backend);
    let before = server.row_dump();
    let receipts = send(
        &server.client("ana"),
        1,
        &[entry("todos", 1, "hard_delete", 1, &Json::Null)],
    );
    assert_eq!(receipts[0]["status"], "rejected");
    assert_eq!(receipts[0]["code"], "hard_delete_not_allowed");
    assert_eq!(receipts[0]["field"], "action");
    assert_eq!(server.row_dump(), before);
}

/// Lists stand for reports, items for the documents of a report.
fn a_report_changes_its_type_and_its_documents_go(backend: Backend) {
    let server = Server::on(backend)
        .table(LISTS)
        .table(ITEMS)
        .setting("hard_delete = true")
        .start();
    let ana = server.client("ana");
    let item = |name: &str| json!({ "list_id": id(1), "name": name, "code": "first" });
    send(
        &ana,
        1,
        &[
            entry("lists", 1, "insert", 90, &json!({ "name": "an accident" })),
            entry("items", 2, "insert", 90, &item("photo")),
            entry(
                "items",
                3,
                "insert",
                90,
                &json!({ "list_id": id(1), "name": "sketch" }),
            ),
        ],
    );
    // The new document takes the unique code of one that goes.
    let receipts = send(
        &ana,
        2,
        &[
            entry("lists", 1, "update", 60, &json!({ "name": "a theft" })),
            entry("items", 2, "hard_delete", 59, &Json::Null),
            entry("items", 3, "hard_delete", 58, &Json::Null),
            entry("items", 4, "insert", 57, &item("receipt")),
        ],
    );
    assert!(receipts.iter().all(|r| r["status"] == "ok"), "{receipts:?}");
    let names = server.column("SELECT name FROM items");
    assert_eq!(names, [Some("receipt".to_owned())]);
    assert_eq!(server.anonymous().row("lists", &id(1))["name"], "a theft");
}

/// INSERT OR REPLACE after an UPDATE is such a log: the row is counted up, deleted and made anew.
fn what_an_entry_was_merged_with_is_not_seen_by_the_next(backend: Backend) {
    for delete in ["delete", "hard_delete"] {
        let server = Server::on(backend)
            .table(TODOS)
            .policy("priority", "counter")
            .setting("hard_delete = true")
            .start();
        let (ana, ben) = (server.client("ana"), server.client("ben"));
        let values = json!({ "title": "a", "priority": 5 });
        send(&ana, 1, &[entry("todos", 1, "insert", 90, &values)]);
        let tens = json!({ "priority": { "value": 15, "base": 5 } });
        let tens = json!({ "base_version": 1, "columns": tens });
        let _ = ben
            .request("PATCH", &todo(1))
            .edit(&tens)
            .send()
            .expect(200);

        let mut up = entry("todos", 1, "update", 30, &json!({ "priority": 6 }));
        up["base_version"] = json!(1);
        up["base"] = json!({ "priority": 5 });
        let mut away = entry("todos", 1, delete, 20, &Json::Null);
        away["base_version"] = json!(1);
        let values = json!({ "title": "b", "priority": 2 });
        let anew = entry("todos", 1, "insert", 10, &values);
        let receipts = send(&ana, 2, &[up, away, anew]);
        let counted = &receipts[0]["columns"]["priority"];
        assert_eq!(
            (&counted["outcome"], &counted["value"]),
            (&json!("merged"), &json!(16))
        );

        let row = server.anonymous().row("todos", &id(1));
        let lost: Vec<Json> = ledger(&server, "")
            .iter()
            .map(|entry| entry["lost"]["value"].clone())
            .collect();
        let columns = if delete == "delete" {
            json!({ "priority": 16 })
        } else {
            // All that goes with the row.
            json!({ "title": "a", "priority": 16, "done": false, "note": null, "data": null })
        };
        let of_the_delete = json!({ "deleted": false, "columns": columns });
        assert!(lost.contains(&of_the_delete), "{delete}: {row} {lost:?}");
        if delete == "delete" {
            let standing = row["priority"].as_i64();
            let other = json!(if standing == Some(2) { 16 } else { 2 });
            assert!(lost.contains(&other), "{delete}: {row} {lost:?}");
        }
    }
}

fn what_a_hard_delete_had_not_seen_is_in_the_ledger(backend: Backend) {
    let server = forgetful(backend);
    let receipts = removed_over_a_note(&server);
    assert_eq!(receipts[0]["status"], "ok");
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kind"], "deleted");
    assert_eq!(entries[0]["lost"]["value"]["columns"]["note"], "precious");
}

fn what_a_bare_hard_delete_takes_is_recorded_where_the_table_says_so(backend: Backend) {
    for (rule, many) in [("trust", 0), ("record", 1)] {
        let server = Server::on(backend)
            .table(TODOS)
            .setting("hard_delete = true")
            .setting(&format!("blind_writes = '{rule}'"))
            .start();
        make_todo(&server, 1);
        let gone = [entry("todos", 1, "hard_delete", 1, &Json::Null)];
        send(&server.client("ana"), 1, &gone);
        assert_eq!(ledger(&server, "").len(), many, "{rule}");
    }
}

/// One row of two values, of which ana has seen the first alone, when she removes it.
fn removed_over_a_note(server: &Server) -> Vec<Json> {
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let made = entry("todos", 1, "insert", 50, &json!({ "title": "a" }));
    send(&ana, 1, &[made]);
    let _ = ben
        .patch(&todo(1), &json!({ "note": "precious" }))
        .expect(200);
    let mut gone = entry("todos", 1, "hard_delete", 1, &Json::Null);
    gone["base_version"] = json!(1);
    send(&ana, 2, &[gone])
}

fn what_stood_beneath_a_tombstone_is_in_the_ledger_when_it_goes(backend: Backend) {
    let server = forgetful(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let made = entry("todos", 1, "insert", 50, &json!({ "title": "a" }));
    send(&ana, 1, &[made]);
    let deleted = send(&ben, 1, &[entry("todos", 1, "delete", 40, &Json::Null)]);
    // He knows that it is deleted, so that this is no conflict.
    let mut late = entry("todos", 1, "update", 30, &json!({ "note": "precious" }));
    late["base_version"] = deleted[0]["version"].clone();
    assert_eq!(send(&ben, 2, &[late])[0]["status"], "ok");
    assert!(ledger(&server, "").is_empty());
    let mut gone = entry("todos", 1, "hard_delete", 1, &Json::Null);
    gone["base_version"] = json!(1);
    assert_eq!(send(&ana, 2, &[gone])[0]["status"], "ok");
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["lost"]["value"]["columns"]["note"], "precious");
}

fn a_decision_brings_a_removed_row_back_as_it_was(backend: Backend) {
    let server = forgetful(backend);
    removed_over_a_note(&server);
    let conflict = &ledger(&server, "")[0];
    let _ = resolve(
        &server,
        &conflict["id"],
        &json!({ "decision": "take_lost" }),
    )
    .expect(200);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("a"), &json!("precious"))
    );
}

/// Its editor and deleter names the version that its receipt told: what others have made since is not in it.
fn a_row_that_is_made_after_a_removal_was_not_seen_before(backend: Backend) {
    let server = forgetful(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let made = entry("todos", 1, "insert", 50, &json!({ "title": "a" }));
    send(&ana, 1, &[made]);
    let mut entries = [
        entry("todos", 1, "update", 40, &json!({ "title": "b" })),
        entry("todos", 1, "hard_delete", 39, &Json::Null),
    ];
    entries
        .iter_mut()
        .for_each(|one| one["base_version"] = json!(1));
    let told = send(&ana, 2, &entries)[1]["version"].clone();
    let bens = entry("todos", 1, "insert", 30, &json!({ "title": "ben's" }));
    let receipts = send(&ben, 1, &[bens]);
    assert!(
        receipts[0]["version"].as_i64() > told.as_i64(),
        "{receipts:?}"
    );
    let mut anew = entry("todos", 1, "insert", 20, &json!({ "title": "ana's" }));
    anew["base_version"] = told;
    send(&ana, 3, &[anew]);
    let lost: Vec<Json> = ledger(&server, "")
        .iter()
        .map(|one| one["lost"]["value"].clone())
        .collect();
    assert_eq!(lost, ["ben's"]);
}

fn an_entry_that_cannot_be_read_says_so_in_its_receipt(backend: Backend) {
    let server = forgetful(backend);
    let before = server.row_dump();
    let named = |member: &str, value: Json| {
        let mut entry = entry("todos", 1, "update", 1, &json!({ "title": "x" }));
        entry[member] = value;
        entry
    };
    let bad = [
        (json!(7), "malformed_edit", "entries"),
        (named("action", json!("upsert")), "malformed_edit", "action"),
        (named("action", json!(null)), "malformed_edit", "action"),
        (
            named("action", json!("hard_delete")),
            "malformed_edit",
            "columns",
        ),
        (named("columns", json!([])), "malformed_edit", "columns"),
        (
            named("columns", json!({ "title": 1 })),
            "invalid_value",
            "title",
        ),
        (
            named("columns", json!({ "none": 1 })),
            "unknown_column",
            "none",
        ),
        (
            named("columns", json!({ "sync_txid": 1 })),
            "read_only_column",
            "sync_txid",
        ),
        (named("base", json!("x")), "malformed_edit", "base"),
        (
            named("base", json!({ "title": 1 })),
            "invalid_value",
            "title",
        ),
        (named("at", json!("yesterday")), "malformed_edit", "at"),
        (named("table", json!("users")), "unknown_table", "table"),
        (named("id", json!("1'; --")), "invalid_value", "id"),
    ];
    let entries: Vec<Json> = bad.iter().map(|(entry, ..)| entry.clone()).collect();
    let receipts = send(&server.client("ana"), 1, &entries);
    for ((entry, code, field), receipt) in bad.iter().zip(&receipts) {
        assert_eq!(receipt["code"], *code, "{entry}: {receipt}");
        assert_eq!(receipt["field"], *field, "{entry}: {receipt}");
    }
    let ana = server.client("ana");
    for body in [json!({ "push": 2 }), json!({ "push": 2, "entries": {} })] {
        let _ = ana
            .post("/v1/sync/log", &body)
            .problem(400, "malformed_push");
    }
    assert_eq!(server.row_dump(), before);
}

/// SQLite gives the number of the last row again when that is gone.
fn a_number_that_the_database_gives_again_is_a_new_row(backend: Backend) {
    let server = Server::on(backend)
        .table(TICKETS)
        .setting("hard_delete = true")
        .start();
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let made = json!({ "table": "tickets", "action": "insert", "columns": { "subject": "first" } });
    let first = send(&ana, 1, std::slice::from_ref(&made));
    let gone = json!({ "table": "tickets", "id": first[0]["id"], "action": "hard_delete" });
    let purged = send(&ana, 2, &[gone]);
    let again = send(&ana, 3, &[made]);
    assert_eq!(again[0]["created"], true);
    if again[0]["id"] == first[0]["id"] {
        assert!(
            again[0]["version"].as_i64() > purged[0]["version"].as_i64(),
            "{again:?}"
        );
    }
    let id = again[0]["id"].as_str().unwrap();
    let pulled = reader.pull();
    assert_eq!(pulled.row(id)["columns"]["subject"], "first");
    let about = pulled.rows.iter().filter(|row| row["id"] == id);
    assert_eq!(about.count(), 1, "{:?}", pulled.rows);
}
