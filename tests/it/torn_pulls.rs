//! Pulls that are read in several pieces, while rows move in the feed; and tables that come later.

use std::collections::BTreeMap;

use colsync_tests::edits::insert;
use colsync_tests::tables::{LISTS, TODOS, id};
use colsync_tests::{Backend, Server, ago, on_both};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::{todo, todos};

on_both![a_table_that_is_new_to_the_cursor_brings_the_clients_own_rows];

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

/// The transaction of `slow` begins before row 2's title changes and writes the row's note after: the row
/// moves backwards in the feed, past a reader that stands between the two positions.
#[test]
fn a_row_that_moves_backwards_past_a_reader_is_not_lost() {
    for first_sync in [false, true] {
        let server = todos(Backend::Postgres);
        for number in [1, 2] {
            crate::make_todo(&server, number);
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
