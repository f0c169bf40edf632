//! What a table held before it was adopted: rows at the feed position 0, which every horizon sees, without an entry in
//! the feed's index until they change.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use colsync_tests::edits::{delete, insert, update};
use colsync_tests::tables::{LABELS, TODOS, id};
use colsync_tests::{Backend, Pulled, Server, ago, on_both};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::pull::{lay_over, pull_all};
use crate::{reader, todo};

on_both![
    rows_have_no_entry_in_the_feeds_index_until_they_change,
    a_change_of_an_adopted_row_is_told_column_by_column_and_once,
    a_first_pull_in_pieces_loses_nothing_of_rows_that_move_meanwhile,
    an_adopted_row_that_is_written_back_as_it_was_loses_no_change,
    a_table_adopted_again_is_another_history,
    a_table_adopted_again_after_a_restore_is_another,
    a_database_adopted_by_an_earlier_version_goes_on,
];

/// Todos 1 to `count` as they were before they were adopted.
fn adopted(backend: Backend, count: u64) -> Server {
    let mut before = TODOS.sql(backend).to_owned();
    for number in 1..=count {
        let id = id(number);
        before.push_str(&format!(
            "INSERT INTO todos (id, title, note, priority) VALUES ('{id}', 'old', 'old', {number});"
        ));
    }
    Server::on(backend).before(&before).synced("todos").start()
}

fn moved(server: &Server) -> Option<String> {
    server.value("SELECT count(*) FROM todos WHERE sync_txid > 0")
}

fn rows_have_no_entry_in_the_feeds_index_until_they_change(backend: Backend) {
    let server = adopted(backend, 3);
    let sql = match backend {
        Backend::Sqlite => "SELECT sql FROM sqlite_master WHERE name = 'colsync_todos_feed'",
        Backend::Postgres => {
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'colsync_todos_feed'"
        }
    };
    let index = server.value(sql).unwrap();
    assert!(index.contains("sync_txid <> 0"), "{index}");
    assert_eq!(moved(&server).as_deref(), Some("0"));
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    server.sql(&format!(
        "UPDATE todos SET note = 'sql' WHERE id = '{}'",
        id(2)
    ));
    // The value that it has already.
    let _ = ana.patch(&todo(3), &json!({ "title": "old" })).expect(200);
    assert_eq!(moved(&server).as_deref(), Some("2"));
    server.sql(&format!("INSERT INTO todos (id) VALUES ('{}')", id(4)));
    assert_eq!(moved(&server).as_deref(), Some("3"));
}

fn a_change_of_an_adopted_row_is_told_column_by_column_and_once(backend: Backend) {
    let server = adopted(backend, 6);
    let mut reader = reader(&server);
    assert!(reader.pull().rows.is_empty());
    let mut ana = server.client("ana");
    ana.push(&[
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "ana" })),
        delete("todos", &id(2), 1, &ago(60)),
        insert("todos", &id(7), &ago(60), &json!({ "title": "seven" })),
    ]);
    server.sql(&format!(
        "UPDATE todos SET note = 'sql' WHERE id = '{}'; DELETE FROM todos WHERE id = '{}'; \
         UPDATE todos SET id = '{}' WHERE id = '{}'",
        id(3),
        id(4),
        id(8),
        id(5)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(1))["columns"], json!({ "title": "ana" }));
    assert_eq!(pulled.row(&id(2))["removed"], "deleted");
    assert_eq!(pulled.row(&id(3))["columns"], json!({ "note": "sql" }));
    assert_eq!(pulled.row(&id(4))["removed"], "purged");
    assert_eq!(pulled.row(&id(5))["removed"], "purged");
    assert_eq!(pulled.row(&id(7))["full"], true);
    assert_eq!(pulled.row(&id(8))["full"], true);
    assert_eq!(pulled.rows.len(), 7, "and of todo 6 nothing");
    assert!(reader.pull().rows.is_empty());
    server.sql(&format!(
        "UPDATE todos SET sync_deleted_at = NULL WHERE id = '{}'",
        id(2)
    ));
    let pulled = reader.pull();
    let line = pulled.row(&id(2));
    assert_eq!(
        (
            &line["full"],
            &line["columns"]["title"],
            &line["columns"]["priority"]
        ),
        (&json!(true), &json!("old"), &json!(2))
    );
}

/// All rows of todos that are there, by id.
fn all_todos(server: &Server) -> BTreeMap<String, Json> {
    let rows = server
        .anonymous()
        .get("/v1/tables/todos/rows")
        .expect(200)
        .json();
    let rows = rows["rows"].as_array().unwrap();
    let by_id = rows
        .iter()
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()));
    by_id.collect()
}

/// After each page, rows on both sides of the reader are changed, deleted, purged, made, and given other keys.
fn a_first_pull_in_pieces_loses_nothing_of_rows_that_move_meanwhile(backend: Backend) {
    let server = adopted(backend, 60);
    let mut ana = server.client("ana");
    let mut reader = server.client("reader");
    let mut copy = BTreeMap::new();
    for page in 0..4_u64 {
        let pulled = reader.pull_with("limit=10");
        assert!(!pulled.complete);
        lay_over(&mut copy, &pulled);
        for first in [1, 31] {
            let at = |number: u64| id(first + 5 * page + number);
            ana.push(&[
                update("todos", &at(0), 1, &ago(60), &json!({ "title": "ana" })),
                delete("todos", &at(1), 1, &ago(60)),
                insert(
                    "todos",
                    &id(100 * first + page),
                    &ago(60),
                    &json!({ "title": "made" }),
                ),
            ]);
            server.sql(&format!(
                "UPDATE todos SET note = 'sql' WHERE id IN ('{}', '{}'); DELETE FROM todos WHERE id = '{}'; \
                 UPDATE todos SET id = '{}' WHERE id = '{}'",
                at(0),
                at(2),
                at(3),
                id(1000 * first + page),
                at(4)
            ));
        }
    }
    pull_all(&mut reader, &mut copy, "limit=7");
    pull_all(&mut reader, &mut copy, "limit=7");
    assert_eq!(copy, all_todos(&server));
    assert!(reader.pull().rows.is_empty());
}

/// An ORM saves the row as it loaded it before it first changed, all columns of it.
fn an_adopted_row_that_is_written_back_as_it_was_loses_no_change(backend: Backend) {
    let server = adopted(backend, 2);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    for number in [1, 2] {
        let _ = ana
            .patch(&todo(number), &json!({ "title": "new" }))
            .expect(200);
    }
    let before = server.dump();
    server.sql(&format!(
        "UPDATE todos SET sync_version = 1, sync_txid = 0 WHERE id = '{}'",
        id(1)
    ));
    assert_eq!(server.dump(), before, "nothing of the row is new");
    server.sql(&format!(
        "UPDATE todos SET note = 'saved', sync_version = 1, sync_txid = 0, sync_stamps = NULL WHERE id = '{}'",
        id(2)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(1))["columns"], json!({ "title": "new" }));
    let line = pulled.row(&id(2));
    assert_eq!(
        (&line["version"], &line["columns"]),
        (&json!(3), &json!({ "title": "new", "note": "saved" }))
    );
    // The same of a row that is as adopted still, written back by a program that saw no more than that.
    server.sql("UPDATE todos SET sync_txid = 0, title = title");
    assert!(reader.pull().rows.is_empty());
}

/// The table is dropped, made anew with one row, and adopted again.
pub(crate) fn make_anew(server: &mut Server, backend: Backend, number: u64) {
    server.terminate();
    server.sql("DROP TABLE todos");
    server.sql(TODOS.sql(backend));
    server.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'anew')",
        id(number)
    ));
    server.adopt();
    server.resume();
}

fn a_table_adopted_again_is_another_history(backend: Backend) {
    let mut server = adopted(backend, 3);
    let reader = reader(&server);
    make_anew(&mut server, backend, 2);
    // Only whoever starts over learns which rows are no more, and that versions begin again.
    let again = reader.try_pull(reader.cursor(), "");
    drop(again.problem(410, "cursor_expired"));
    let mut reader = server.client("anew");
    let pulled = reader.pull();
    assert_eq!(pulled.ids(), [id(2)]);
    assert_eq!(pulled.row(&id(2))["columns"]["title"], "anew");
    assert!(reader.pull().rows.is_empty());
}

/// The cursor may be of an anchor that the restored database holds, as nothing had moved since it was recorded; its
/// table is not the one adopted after the restore, whose rows are others.
fn a_table_adopted_again_after_a_restore_is_another(backend: Backend) {
    let mut server = Server::on(backend)
        .before(LABELS.sql(backend))
        .table(TODOS)
        .start();
    server.sql("INSERT INTO labels (code, meaning) VALUES ('red', 'stop')");
    let mut reader = reader(&server);
    server.terminate();
    let backup = server.backup();
    server.configure("[tables.labels]");
    let adopt = ["adopt", "--table", "labels"];
    assert!(server.run(&adopt).status.success());
    server.resume();
    assert_eq!(reader.pull().ids(), ["red"]);
    let cursor = reader.cursor().unwrap().to_owned();
    server.terminate();
    server.restore(&backup);
    server.sql("UPDATE labels SET meaning = 'halt'");
    assert!(server.run(&adopt).status.success());
    server.resume();
    let again = reader.try_pull(Some(&cursor), "");
    match backend {
        Backend::Sqlite => {
            let pulled = Pulled::read(&again.expect(200));
            assert_eq!(pulled.row("red")["columns"]["meaning"], "halt");
        }
        // In another database no anchor is good.
        Backend::Postgres => drop(again.problem(410, "cursor_expired")),
    }
}

/// As it left a table: all rows at the position of the adoption, and all of them in the feed's index.
fn as_earlier(server: &mut Server, backend: Backend) {
    server.terminate();
    let triggers = [
        "noteinsert",
        "noteupdate",
        "insert",
        "update",
        "move",
        "restore",
        "delete",
    ];
    let (before, position, after) = match backend {
        Backend::Sqlite => (
            triggers
                .map(|word| format!("DROP TRIGGER colsync_todos_{word};"))
                .concat(),
            "2",
            "UPDATE colsync_feed SET txid = 3;",
        ),
        Backend::Postgres => (
            "ALTER TABLE todos DISABLE TRIGGER USER;".to_owned(),
            "pg_current_xact_id()::text::bigint",
            "ALTER TABLE todos ENABLE TRIGGER USER;",
        ),
    };
    server.sql(&format!(
        "{before} UPDATE todos SET sync_txid = {position}; {after} \
         DROP INDEX colsync_todos_feed; CREATE INDEX colsync_todos_feed ON todos (sync_txid, id);"
    ));
    server.resume();
}

fn a_database_adopted_by_an_earlier_version_goes_on(backend: Backend) {
    let mut server = adopted(backend, 12);
    as_earlier(&mut server, backend);
    assert_eq!(moved(&server).as_deref(), Some("12"));
    let mut reader = server.client("reader");
    let mut copy = BTreeMap::new();
    let first = reader.pull_with("limit=5");
    lay_over(&mut copy, &first);
    // That version went by the position in the feed, and so does the cursor of a pull that it began.
    let text = URL_SAFE_NO_PAD.decode(reader.cursor().unwrap()).unwrap();
    let mut begun: Json = serde_json::from_slice(&text).unwrap();
    let last = begun["p"]["l"].as_str().expect("a row's id").to_owned();
    begun["p"]["l"] = json!([2, last]);
    let begun = URL_SAFE_NO_PAD.encode(begun.to_string());
    let rest = Pulled::read(&reader.try_pull(Some(&begun), "").expect(200));
    assert_eq!(rest.rows.len(), 12, "from the table's beginning");
    pull_all(&mut reader, &mut copy, "limit=5");
    assert_eq!(copy, all_todos(&server));
    pull_all(&mut reader, &mut copy, "");
    let _ = server
        .client("ana")
        .patch(&todo(3), &json!({ "title": "new" }))
        .expect(200);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(4)));
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(3))["columns"], json!({ "title": "new" }));
    assert_eq!(pulled.row(&id(4))["removed"], "purged");
    assert_eq!(pulled.rows.len(), 2);
}

/// The transaction has changed adopted rows when the first pull takes its horizon, and commits when the pull has passed
/// some of them and not the others.
#[test]
fn what_an_open_transaction_does_to_adopted_rows_reaches_a_first_pull_or_the_next() {
    let server = adopted(Backend::Postgres, 20);
    let mut open = server.pg();
    open.batch_execute(&format!(
        "BEGIN; UPDATE todos SET note = 'late' WHERE priority IN (2, 12); \
         DELETE FROM todos WHERE priority IN (3, 13); INSERT INTO todos (id, note) VALUES ('{}', 'late')",
        id(99)
    ))
    .unwrap();
    let mut reader = server.client("reader");
    let mut copy = BTreeMap::new();
    let first = reader.pull_with("limit=5");
    lay_over(&mut copy, &first);
    open.batch_execute("COMMIT").unwrap();
    pull_all(&mut reader, &mut copy, "limit=5");
    pull_all(&mut reader, &mut copy, "limit=5");
    assert_eq!(copy, all_todos(&server));
    assert!(reader.pull().rows.is_empty());
}

/// Its rows that have changed are stamped anew, those as adopted are left alone; cursors of before are good no more.
#[test]
fn adopted_rows_are_not_stamped_anew_in_another_cluster() {
    let mut server = adopted(Backend::Postgres, 3);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    server.terminate();
    let backup = server.backup();
    server.restore(&backup);
    server.resume();
    assert_eq!(moved(&server).as_deref(), Some("1"));
    let _ = reader
        .try_pull(reader.cursor(), "")
        .problem(410, "cursor_expired");
    reader = server.client("another");
    assert_eq!(reader.pull().rows.len(), 3);
    let _ = ana.patch(&todo(2), &json!({ "title": "new" })).expect(200);
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1);
    assert_eq!(pulled.row(&id(2))["columns"], json!({ "title": "new" }));
}
