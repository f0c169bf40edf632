//! Pulls that are read in several pieces, while rows move in the feed; and tables that come later.

use std::collections::BTreeMap;

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{LISTS, TODOS, id};
use colsync_tests::{Backend, Pulled, Server, ago, on_both};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, todo, todos};

on_both![
    a_table_that_is_new_to_the_cursor_brings_the_clients_own_rows,
    a_checkpoint_comes_after_a_mebibyte,
    a_pull_of_changes_is_resumed_from_each_of_its_checkpoints,
    a_pull_in_pieces_has_expired_where_the_server_goes_back_to_a_point_between_them,
];

fn a_table_that_is_new_to_the_cursor_brings_the_clients_own_rows(backend: Backend) {
    let server = Server::on(backend).table(TODOS).table(LISTS).start();
    let mut ana = server.client("ana");
    ana.pull_with("tables=todos");
    ana.push(&[insert(
        "lists",
        &id(1),
        &ago(60),
        &json!({ "name": "hers" }),
    )]);
    assert_eq!(ana.pull().row(&id(1))["full"], true);
    assert!(ana.pull().rows.is_empty(), "and only once");
}

fn a_pull_of_changes_is_resumed_from_each_of_its_checkpoints(backend: Backend) {
    let server = todos(backend);
    let mut reader = server.client("reader");
    reader.pull();
    for number in 1..=4 {
        make_todo(&server, number);
    }
    let mut came = Vec::new();
    for _piece in 0..4 {
        let piece = reader.pull_with("limit=1");
        came.extend(piece.ids().into_iter().map(str::to_owned));
    }
    came.sort_unstable();
    assert_eq!(came, [id(1), id(2), id(3), id(4)]);
    assert!(reader.pull().rows.is_empty());
}

fn a_checkpoint_comes_after_a_mebibyte(backend: Backend) {
    let server = todos(backend);
    let note = "n".repeat(400_000);
    for number in 1..=7 {
        let row = json!({ "id": id(number), "note": note });
        let _ = server.anonymous().create_ago(60, "todos", &row);
    }
    let mut reader = server.client("reader");
    let pulled = reader.pull();
    // Three rows, three, one.
    assert_eq!((pulled.rows.len(), pulled.checkpoints.len()), (7, 3));
    assert!(reader.pull().rows.is_empty());
    let again = reader
        .try_pull(Some(&pulled.checkpoints[0]), "")
        .expect(200);
    assert_eq!(Pulled::read(&again).rows.len(), 4);
}

/// Its anchor is from before the point to which the server goes back, and its last piece from after it.
fn a_pull_in_pieces_has_expired_where_the_server_goes_back_to_a_point_between_them(
    backend: Backend,
) {
    for goes_on in [true, false] {
        let mut server = todos(backend);
        for number in [1, 2, 3] {
            make_todo(&server, number);
        }
        let mut reader = server.client("reader");
        assert_eq!(reader.pull_with("limit=1").rows.len(), 1);
        let backup = server.back_up();
        let writer = server.client("writer");
        for number in [2, 3] {
            let _ = writer
                .patch(&todo(number), &json!({ "title": "lost" }))
                .expect(200);
        }
        let piece = reader.pull_with(if goes_on { "" } else { "limit=1" });
        assert_eq!(piece.complete, goes_on);
        let lost = reader.cursor().unwrap().to_owned();
        let _ = reader.try_pull(Some(&lost), "").expect(200);
        server.go_back(&backup);
        let _ = reader
            .try_pull(Some(&lost), "")
            .problem(410, "cursor_expired");
        // Nor has an edit seen what this database has at the version that it names.
        let ben = server.client("ben");
        let _ = ben
            .patch(&todo(2), &json!({ "title": "of ben" }))
            .expect(200);
        let edit = update(
            "todos",
            &id(2),
            2,
            &ago(-1),
            &json!({ "title": "of reader" }),
        );
        let push = json!({ "push": 1, "edits": [edit] });
        let push = reader.request("POST", "/v1/sync/push").json(&push);
        let _ = push.header("Client-Cursor", &lost).send().expect(200);
        assert_eq!(ledger(&server, "").len(), 1);
    }
}

/// The transaction of `slow` begins before row 2's title changes and writes the row's note after: the row
/// moves backwards in the feed, past a reader that stands between the two positions.
#[test]
fn a_row_that_moves_backwards_past_a_reader_is_not_lost() {
    for first_sync in [false, true] {
        let server = todos(Backend::Postgres);
        for number in [1, 2] {
            make_todo(&server, number);
        }
        let mut reader = server.client("reader");
        let mut copy: BTreeMap<String, Json> = BTreeMap::new();
        let lay_over = |copy: &mut BTreeMap<String, Json>, rows: &[Json]| {
            for row in rows {
                let known = copy
                    .entry(row["id"].as_str().unwrap().to_owned())
                    .or_insert(json!({}));
                for (name, value) in row["columns"].as_object().unwrap() {
                    known[name] = value.clone();
                }
            }
        };
        if !first_sync {
            lay_over(&mut copy, &reader.pull().rows);
        }
        let mut slow = server.pg();
        slow.batch_execute("BEGIN; SELECT pg_current_xact_id()")
            .unwrap();
        let writer = server.client("writer");
        for number in [1, 2] {
            let _ = writer
                .patch(&todo(number), &json!({ "title": "new" }))
                .expect(200);
        }
        lay_over(&mut copy, &reader.pull_with("limit=1").rows);
        slow.batch_execute("UPDATE todos SET note = 'late' WHERE title = 'new'; COMMIT")
            .unwrap();
        for _ in 0..3 {
            lay_over(&mut copy, &reader.pull().rows);
        }
        for number in [1, 2] {
            let row = &copy[&id(number)];
            assert_eq!(
                (&row["title"], &row["note"]),
                (&json!("new"), &json!("late")),
                "{row}"
            );
        }
        assert!(
            reader.pull().rows.is_empty(),
            "and then nothing comes again"
        );
    }
}
