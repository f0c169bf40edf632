//! Whole rows, by `POST /v1/sync/rows` and by PUT: decided as one, the loser whole in the ledger.

use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Client, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, todo};

on_both![
    the_row_policy_decides_about_the_row_as_one,
    columns_that_a_row_leaves_out_stay_as_they_are,
    a_row_sent_with_everything_in_view_is_no_conflict,
    rows_are_made_deleted_and_brought_back,
    a_repeated_submission_of_rows_changes_nothing,
    what_a_bare_put_replaces_is_recorded_where_the_table_says_so,
    a_row_that_comes_back_by_put_keeps_what_it_replaces_beneath_the_tombstone,
    the_same_row_again_advances_its_stamps,
];

#[track_caller]
fn send(client: &Client, number: i64, rows: &[Json]) -> Vec<Json> {
    let body = json!({ "push": number, "rows": rows });
    let answer = client.post("/v1/sync/rows", &body).expect(200).json();
    answer["receipts"].as_array().unwrap().clone()
}

fn row(number: u64, base_version: i64, seconds: i64, columns: &Json) -> Json {
    json!({ "table": "todos", "id": id(number), "base_version": base_version, "at": ago(seconds),
            "columns": columns })
}

/// Two clients change different columns of one row from the same version, and send all of it.
fn the_row_policy_decides_about_the_row_as_one(backend: Backend) {
    let of_ana = json!({ "title": "of ana", "note": "old" });
    let of_ben = json!({ "title": "old", "note": "of ben" });
    // Who stands when ana was earlier, and when she was later, and ben's row arrives first.
    for (policy, earlier, later) in [
        ("last_writer_wins", &of_ben, &of_ana),
        ("server_wins", &of_ben, &of_ben),
        ("client_wins", &of_ana, &of_ana),
    ] {
        let server = Server::on(backend)
            .table(TODOS)
            .setting(&format!("row_policy = '{policy}'"))
            .start();
        for (number, seconds, stands) in [(1, 60, earlier), (2, 10, later)] {
            make_todo(&server, number);
            let (ana, ben) = (
                server.client(&format!("ana {number}")),
                server.client(&format!("ben {number}")),
            );
            let receipts = send(&ben, 1, &[row(number, 1, 30, &of_ben)]);
            assert_eq!(receipts[0]["columns"]["note"]["outcome"], "applied");
            let receipts = send(&ana, 1, &[row(number, 1, seconds, &of_ana)]);
            let wins = *stands == of_ana;
            let outcome = if wins { "applied" } else { "superseded" };
            assert_eq!(
                receipts[0]["columns"]["title"]["outcome"], outcome,
                "{policy}"
            );
            assert_eq!(
                receipts[0]["columns"]["note"]["outcome"], outcome,
                "{policy}"
            );
            let now = server.anonymous().row("todos", &id(number));
            assert_eq!(
                (&now["title"], &now["note"]),
                (&stands["title"], &stands["note"])
            );
            let entries = ledger(&server, &format!("row={}", id(number)));
            assert_eq!(entries.len(), 1, "{policy}");
            assert_eq!(entries[0]["kind"], "row");
            assert_eq!(receipts[0]["conflicts"][0], entries[0]["id"]);
            let lost = if wins { &of_ben } else { &of_ana };
            let columns = &entries[0]["lost"]["value"]["columns"];
            assert_eq!(
                (&columns["title"], &columns["note"]),
                (&lost["title"], &lost["note"])
            );
        }
    }
}

fn columns_that_a_row_leaves_out_stay_as_they_are(backend: Backend) {
    let server = one_todo(backend);
    let receipts = send(
        &server.client("ana"),
        1,
        &[row(1, 1, 5, &json!({ "title": "new" }))],
    );
    assert_eq!(receipts[0]["status"], "ok");
    assert_eq!(server.anonymous().row("todos", &id(1))["note"], "old");
    let put = server
        .client("ana")
        .put(&todo(1), &json!({ "title": "put", "done": false }));
    let _ = put.expect(200);
    assert_eq!(server.anonymous().row("todos", &id(1))["note"], Json::Null);
}

fn a_row_sent_with_everything_in_view_is_no_conflict(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let version = ben
        .patch(&todo(1), &json!({ "note": "seen" }))
        .expect(200)
        .json()["version"]
        .as_i64()
        .unwrap();
    // A clock that is behind does not matter.
    let receipts = send(
        &ana,
        1,
        &[row(1, version, 3000, &json!({ "title": "x", "note": "y" }))],
    );
    assert_eq!(receipts[0]["columns"]["note"]["outcome"], "applied");
    assert!(ledger(&server, "").is_empty());
}

fn rows_are_made_deleted_and_brought_back(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let deleted = |version: i64| {
        json!({ "table": "todos", "id": id(7), "base_version": version,
                                         "at": ago(20), "deleted": true })
    };
    let receipts = send(&ana, 1, &[row(7, 0, 30, &json!({ "title": "made" }))]);
    assert_eq!(receipts[0]["created"], true);
    let receipts = send(&ana, 2, &[deleted(1)]);
    assert_eq!(receipts[0]["deleted"], true);
    let receipts = send(&ana, 3, &[row(7, 2, 10, &json!({ "title": "back" }))]);
    assert_eq!(receipts[0].get("deleted"), None);
    assert_eq!(server.anonymous().row("todos", &id(7))["title"], "back");
    let bad = [
        json!({ "table": "todos", "id": id(7), "deleted": "yes" }),
        json!({ "table": "todos", "id": id(7), "deleted": true, "columns": { "title": "x" } }),
    ];
    for (receipt, field) in send(&ana, 4, &bad).iter().zip(["deleted", "columns"]) {
        assert_eq!(receipt["code"], "malformed_edit");
        assert_eq!(receipt["field"], field);
    }
}

fn a_repeated_submission_of_rows_changes_nothing(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let rows = [row(1, 1, 5, &json!({ "title": "x", "note": "y" }))];
    let first = send(&ana, 1, &rows);
    let before = server.dump();
    assert_eq!(send(&ana, 1, &rows), first);
    assert_eq!(server.dump(), before);
}

fn what_a_bare_put_replaces_is_recorded_where_the_table_says_so(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("blind_writes = 'record'")
        .start();
    make_todo(&server, 1);
    let ana = server.client("ana");
    let whole = json!({ "title": "new", "note": "old", "done": false });
    let receipt = ana.put(&todo(1), &whole).expect(200).json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kind"], "row");
    assert_eq!(
        entries[0]["lost"]["value"]["columns"],
        json!({ "title": "old" })
    );
    // Her own values need no entry.
    let whole = json!({ "title": "newer", "note": "old", "done": false });
    let _ = ana.put(&todo(1), &whole).expect(200);
    assert_eq!(ledger(&server, "").len(), 1);
}

fn a_row_that_comes_back_by_put_keeps_what_it_replaces_beneath_the_tombstone(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let _ = ben.delete(&todo(1)).expect(200);
    let whole = json!({ "title": "new", "note": "new", "done": false });
    let answer = ana
        .request("PUT", &todo(1))
        .header("If-Match", "\"0\"")
        .json(&whole)
        .send();
    let _ = answer.expect(200);
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "new");
    let lost: Vec<Json> = ledger(&server, "")
        .iter()
        .map(|entry| entry["lost"]["value"].clone())
        .collect();
    let values = json!({ "deleted": false, "columns": { "title": "old", "note": "old" } });
    assert!(lost.contains(&json!({ "deleted": true })), "{lost:?}");
    assert!(lost.contains(&values), "{lost:?}");
}

fn the_same_row_again_advances_its_stamps(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let whole = json!({ "title": "old", "note": "old", "done": false });
    let receipt = ana.put(&todo(1), &whole).expect(200).json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "unchanged");
    assert_eq!(receipt["columns"]["title"]["client"], json!(ana.id()));
    assert_eq!(receipt["version"], 1, "nothing for the feed");
    // So an edit from before it is the earlier one.
    let early = server
        .client("ben")
        .patch_ago(60, &todo(1), &json!({ "title": "early" }));
    assert_eq!(
        early.expect(200).json()["columns"]["title"]["outcome"],
        "superseded"
    );
}
