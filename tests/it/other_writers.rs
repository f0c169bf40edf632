//! What other programs write while a push is under way: the row that it makes.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{LISTS, TODOS, id};
use colsync_tests::{Backend, Server, ago};
use diesel::connection::SimpleConnection as _;
use serde_json::json;

use crate::faults::until_waiting;
use crate::{ledger, reader};

fn insert_todo(title: &str) -> String {
    format!(
        "INSERT INTO todos (id, title) VALUES ('{}', '{title}')",
        id(1)
    )
}

fn tombstones(server: &Server) -> Option<String> {
    server.value("SELECT count(*) FROM colsync_tombstones")
}

#[test]
fn a_row_whose_key_was_made_and_removed_meanwhile_stays() {
    let server = crate::todos(Backend::Postgres);
    let mut reader = reader(&server);
    let mut other = server.pg();
    other
        .batch_execute(&format!("BEGIN; {}", insert_todo("sql")))
        .unwrap();
    let mut ana = server.client("ana");
    let edit = insert("todos", &id(1), &ago(60), &json!({ "title": "ana" }));
    let receipt = std::thread::scope(|scope| {
        let push = scope.spawn(|| ana.push_one(edit));
        until_waiting(&server);
        other.batch_execute("DELETE FROM todos; COMMIT").unwrap();
        push.join().unwrap()
    });
    assert_eq!(
        (&receipt["status"], &receipt["version"]),
        (&json!("ok"), &json!(3))
    );
    assert_eq!(tombstones(&server).as_deref(), Some("0"));
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1, "{:#?}", pulled.rows);
    assert_eq!(pulled.row(&id(1))["columns"]["title"], "ana");
}

#[test]
fn a_row_goes_on_from_the_last_one_of_its_key() {
    let server = Server::on(Backend::Postgres)
        .table(TODOS)
        .table(LISTS)
        .start();
    let list = json!({ "id": id(9), "name": "old" });
    server.client("maker").create_ago(3600, "lists", &list);
    server.sql(&format!("{}; DELETE FROM todos", insert_todo("first")));
    let mut other = server.pg();
    other
        .batch_execute("BEGIN; UPDATE lists SET name = 'sql'")
        .unwrap();
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    let edits = [
        insert("todos", &id(1), &ago(60), &json!({ "title": "ana" })),
        update("lists", &id(9), 1, &ago(60), &json!({ "name": "ana" })),
    ];
    // The push has read the tombstone, and waits for the list.
    let (receipts, seen) = std::thread::scope(|scope| {
        let push = scope.spawn(|| ana.push(&edits));
        until_waiting(&server);
        server.sql(&insert_todo("second"));
        let seen = ben.pull().row(&id(1))["version"].as_i64().unwrap();
        server.sql("DELETE FROM todos");
        other.batch_execute("COMMIT").unwrap();
        (push.join().unwrap(), seen)
    });
    assert!(
        receipts[0]["version"].as_i64().unwrap() > seen + 1,
        "{receipts:#?}"
    );
    assert_eq!(tombstones(&server).as_deref(), Some("0"));
    let edit = update("todos", &id(1), seen, &ago(120), &json!({ "title": "ben" }));
    let receipt = ben.push_one(edit);
    assert_eq!(receipt["columns"]["title"]["outcome"], "superseded");
    assert_eq!(ledger(&server, "column=title")[0]["lost"]["value"], "ben");
}
