//! Cursors and what they cover: transactions that commit late, restarts, restores.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use colsync_tests::tables::id;
use colsync_tests::{Backend, Pulled, on_both};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::{make_todo, one_todo, reader, todo, todos};

on_both![
    a_cursor_outlives_a_restart,
    a_cursor_from_after_the_point_of_a_restore_has_expired,
    what_is_no_cursor_is_refused,
    who_pulls_now_and_then_is_never_too_late,
];

fn a_cursor_outlives_a_restart(backend: Backend) {
    let mut server = one_todo(backend);
    let mut reader = reader(&server);
    server.restart();
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "title": "new" }))
        .expect(200);
    server.restart();
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "new" })
    );
}

fn a_cursor_from_after_the_point_of_a_restore_has_expired(backend: Backend) {
    let mut server = one_todo(backend);
    let mut reader = reader(&server);
    let before = reader.cursor().unwrap().to_owned();
    let backup = server.back_up();
    make_todo(&server, 2);
    assert_eq!(reader.pull().ids(), [id(2)]);
    let after = reader.cursor().unwrap().to_owned();
    server.go_back(&backup);
    let _ = reader
        .try_pull(Some(&after), "")
        .problem(410, "cursor_expired");
    make_todo(&server, 3);
    let _ = reader
        .try_pull(Some(&after), "")
        .problem(410, "cursor_expired");
    let fresh = Pulled::read(&reader.try_pull(None, "").expect(200));
    let mut ids = fresh.ids();
    ids.sort_unstable();
    assert_eq!(ids, [id(1), id(3)]);
    let kept = reader.try_pull(Some(&before), "");
    match backend {
        // A cursor from before the restored point is as good as ever.
        Backend::Sqlite => assert_eq!(Pulled::read(&kept.expect(200)).ids(), [id(3)]),
        // Transaction ids mean nothing in another database: its rows were stamped anew.
        Backend::Postgres => drop(kept.problem(410, "cursor_expired")),
    }
    reader = server.client("reader");
    reader.pull();
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "title": "new" }))
        .expect(200);
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "new" })
    );
}

/// Nothing has changed since for longer than anything is remembered.
fn who_pulls_now_and_then_is_never_too_late(backend: Backend) {
    let mut server = one_todo(backend);
    let mut gone = server.client("gone");
    gone.pull();
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql(&format!(
        "UPDATE colsync_anchors SET recorded_at = 0; \
         UPDATE colsync_clients SET pulled_at = 0 WHERE id = '{}'",
        gone.id()
    ));
    // A server forgets when it starts, and has done so when it ends.
    server.restart();
    server.restart();
    let _ = gone
        .try_pull(gone.cursor(), "")
        .problem(410, "cursor_expired");
    assert!(reader.pull().rows.is_empty());
    make_todo(&server, 3);
    assert_eq!(reader.pull().ids(), [id(3)]);
}

fn what_is_no_cursor_is_refused(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let good = reader.cursor().unwrap().to_owned();
    for bad in [
        "x",
        "AAAA",
        "%00",
        "bnVsbA",
        "e30",
        &good[..good.len() - 4],
        &format!("{good}{good}"),
    ] {
        let refused = reader.try_pull(Some(bad), "");
        assert_eq!(
            refused.problem(400, "malformed_cursor").json()["field"],
            "cursor",
            "{bad}"
        );
    }
    for bad in ["limit=0", "limit=-1", "limit=x", "limit=1.5"] {
        let refused = reader.try_pull(None, bad).problem(400, "invalid_parameter");
        assert_eq!(refused.json()["field"], "limit", "{bad}");
    }
    // Of the right form, with names in them that no server gave, and that databases choke on.
    for bad in [
        json!({ "a": "x\0'\"", "t": [] }),
        json!({ "a": "", "t": [] }),
        json!({ "f": "x", "t": [] }),
        json!({ "t": [], "p": { "o": "x", "t": [], "n": 0, "g": false } }),
        json!({ "t": [], "p": { "o": id(1), "t": [], "n": 0, "g": true, "l": [1, "x\0"] } }),
        json!({ "t": [], "p": { "o": id(1), "t": [], "n": 0, "g": false, "l": "x\0" } }),
    ] {
        let cursor = URL_SAFE_NO_PAD.encode(bad.to_string());
        let refused = reader.try_pull(Some(&cursor), "");
        let _ = refused.problem(400, "malformed_cursor");
    }
    let elsewhere = todos(backend);
    let _ = elsewhere
        .client("reader")
        .try_pull(Some(&good), "")
        .problem(410, "cursor_expired");
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

#[test]
fn a_transaction_that_commits_late_is_delivered_once_by_a_later_pull() {
    let server = one_todo(Backend::Postgres);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    let mut late = server.pg();
    late.batch_execute("BEGIN").unwrap();
    late.batch_execute(&format!(
        "UPDATE todos SET title = 'late' WHERE id = '{}'",
        id(1)
    ))
    .unwrap();
    let _ = server
        .client("ana")
        .patch(&todo(2), &json!({ "title": "in time" }))
        .expect(200);
    assert_eq!(
        reader.pull().ids(),
        [id(2)],
        "an open transaction holds nothing else back"
    );
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    late.batch_execute("COMMIT").unwrap();
    let pulled = reader.pull();
    assert_eq!(pulled.ids(), [id(1)]);
    assert_eq!(pulled.row(&id(1))["columns"], json!({ "title": "late" }));
    assert_eq!(reader.pull().rows, Vec::<Json>::new(), "exactly once");
}

#[test]
fn an_older_transaction_that_commits_later_brings_its_own_columns_only() {
    let server = one_todo(Backend::Postgres);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    let mut older = server.pg();
    older.batch_execute("BEGIN").unwrap();
    older
        .batch_execute(&format!(
            "UPDATE todos SET title = 'older' WHERE id = '{}'",
            id(2)
        ))
        .unwrap();
    // A newer transaction writes todo 1 first and is pulled; then the older one writes it too.
    let _ = server
        .client("ana")
        .patch(&todo(1), &json!({ "title": "newer" }))
        .expect(200);
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "newer" })
    );
    older
        .batch_execute(&format!(
            "UPDATE todos SET note = 'older' WHERE id = '{}'",
            id(1)
        ))
        .unwrap();
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    older.batch_execute("COMMIT").unwrap();
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 2);
    assert_eq!(
        pulled.row(&id(1))["columns"],
        json!({ "note": "older" }),
        "the title is not told twice"
    );
    assert_eq!(pulled.row(&id(2))["columns"], json!({ "title": "older" }));
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

#[test]
fn a_first_pull_beside_an_open_transaction_misses_nothing_that_it_commits() {
    let server = one_todo(Backend::Postgres);
    let mut open = server.pg();
    open.batch_execute("BEGIN").unwrap();
    open.batch_execute(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'open')",
        id(2)
    ))
    .unwrap();
    let mut reader = server.client("reader");
    assert_eq!(reader.pull().ids(), [id(1)]);
    open.batch_execute("COMMIT").unwrap();
    let pulled = reader.pull();
    assert_eq!(pulled.ids(), [id(2)]);
    assert_eq!(pulled.row(&id(2))["full"], true);
}

#[test]
fn a_delete_that_commits_late_is_not_forgotten_before_its_reader_has_heard_of_it() {
    /// Microseconds.
    const DAY: i64 = 86_400_000_000;
    let mut server = one_todo(Backend::Postgres);
    make_todo(&server, 2);
    let mut late = server.pg();
    late.batch_execute("BEGIN").unwrap();
    late.batch_execute(&format!("DELETE FROM todos WHERE id = '{}'", id(1)))
        .unwrap();
    let mut reader = reader(&server);
    late.batch_execute("COMMIT").unwrap();
    // The transaction was open for two days. Then the reader was away for as long as anything is remembered, but
    // for a day.
    server.sql(&format!(
        "UPDATE colsync_tombstones SET deleted_at = deleted_at - {}; \
         UPDATE colsync_anchors SET recorded_at = recorded_at - {}",
        91 * DAY,
        89 * DAY
    ));
    // A server forgets when it starts, and has done so when it ends.
    server.restart();
    server.restart();
    assert_eq!(reader.pull().row(&id(1))["removed"], "purged");
}

#[test]
fn a_transaction_that_rolls_back_is_never_delivered() {
    let server = one_todo(Backend::Postgres);
    let mut reader = reader(&server);
    let mut undone = server.pg();
    undone.batch_execute("BEGIN").unwrap();
    undone
        .batch_execute("UPDATE todos SET title = 'undone'")
        .unwrap();
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    undone.batch_execute("ROLLBACK").unwrap();
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}
