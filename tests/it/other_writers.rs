//! What other programs, and triggers of the user's own, write while a push is under way: the row that it makes, or the row
//! that it is about to write.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{LISTS, TODOS, id};
use colsync_tests::{Backend, Client, Server, ago, on_both, row_path};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::faults::until_waiting;
use crate::{ledger, reader};

on_both![
    what_a_trigger_of_another_table_writes_into_a_row_of_the_push_is_told,
    what_a_trigger_writes_in_the_middle_of_a_push_was_not_seen,
    what_a_foreign_key_changes_in_a_row_of_the_push_is_told,
];

const DIRECT_SQL: &str = "00000000-0000-0000-0000-000000000001";

/// Lists whose items a trigger counts.
fn counted(backend: Backend) -> Server {
    let tables = match backend {
        Backend::Sqlite => {
            "CREATE TABLE lists (id UUID PRIMARY KEY NOT NULL, title TEXT, note TEXT, items INTEGER NOT NULL DEFAULT 0);
            CREATE TABLE items (id UUID PRIMARY KEY NOT NULL, list_id UUID, name TEXT);
            CREATE TRIGGER counted AFTER INSERT ON items
            BEGIN UPDATE lists SET items = items + 1 WHERE id = NEW.list_id; END;"
        }
        Backend::Postgres => {
            "CREATE TABLE lists (id uuid PRIMARY KEY, title text, note text, items integer NOT NULL DEFAULT 0);
            CREATE TABLE items (id uuid PRIMARY KEY, list_id uuid, name text);
            CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              UPDATE lists SET items = items + 1 WHERE id = NEW.list_id; RETURN NULL; END $$;
            CREATE TRIGGER counted AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION counted();"
        }
    };
    let server = Server::on(backend).before(tables);
    let server = server.synced("lists").synced("items").start();
    let list = json!({ "id": id(1), "title": "old", "items": 0 });
    server.client("maker").create_ago(3600, "lists", &list);
    server
}

fn list(version: i64, values: Json) -> Json {
    update("lists", &id(1), version, &ago(60), &values)
}

fn item(number: u64) -> Json {
    let values = json!({ "list_id": id(1), "name": "new" });
    insert("items", &id(number), &ago(60), &values)
}

/// Who wrote a column of the list last.
fn writer(server: &Server, column: &str) -> Json {
    let path = format!("{}?meta=true", row_path("lists", &id(1)));
    let row = server.anonymous().get(&path).expect(200).json();
    row["_sync"]["columns"][column]["client"].clone()
}

/// The list's columns that are news to a client.
fn news(client: &mut Client) -> Json {
    client.pull().row(&id(1))["columns"].clone()
}

fn what_a_trigger_of_another_table_writes_into_a_row_of_the_push_is_told(backend: Backend) {
    let title = list(1, json!({ "title": "ana" }));
    let note = list(1, json!({ "note": "ana" }));
    for edits in [vec![title.clone()], vec![title, note]] {
        let server = counted(backend);
        let mut reader = reader(&server);
        let mut ana = server.client("ana");
        ana.pull();
        let mut all = edits.clone();
        all.push(item(2));
        let receipts = ana.push(&all);
        let told = i64::try_from(edits.len()).unwrap() + 1;
        assert_eq!(receipts[edits.len() - 1]["version"], told, "{receipts:#?}");
        assert_eq!(writer(&server, "title"), ana.id());
        assert_eq!(writer(&server, "items"), DIRECT_SQL);
        let pulled = news(&mut reader);
        assert_eq!(
            (&pulled["title"], &pulled["items"]),
            (&json!("ana"), &json!(1))
        );
        assert_eq!(news(&mut ana), json!({ "items": 1 }));
        let unseen = list(told, json!({ "items": 7 }));
        let receipt = server.client("ben").push_one(unseen);
        assert_eq!(receipt["columns"]["items"]["outcome"], "superseded");
        assert_eq!(ledger(&server, "")[0]["lost"]["value"], 7);
    }
}

fn what_a_trigger_writes_in_the_middle_of_a_push_was_not_seen(backend: Backend) {
    let server = counted(backend);
    let name = json!({ "name": "newer" });
    // The item is written before its next edit, and the trigger changes the list with that.
    let receipts = server.client("ana").push(&[
        list(1, json!({ "title": "ana" })),
        item(2),
        update("items", &id(2), 1, &ago(50), &name),
        list(1, json!({ "items": 7 })),
    ]);
    assert_eq!(receipts[3]["columns"]["items"]["outcome"], "superseded");
    assert_eq!(server.anonymous().row("lists", &id(1))["items"], 1);
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], 7);
    assert_eq!(server.anonymous().row("items", &id(2))["name"], "newer");
}

fn what_a_foreign_key_changes_in_a_row_of_the_push_is_told(backend: Backend) {
    let tables = "CREATE TABLE lists (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
        CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, note TEXT, list TEXT REFERENCES lists (code) ON UPDATE CASCADE);
        INSERT INTO lists VALUES (1, 'a'); INSERT INTO items VALUES (2, 'old', 'old', 'a');";
    let server = Server::on(backend).before(tables);
    let server = server.synced("lists").synced("items").start();
    let mut reader = reader(&server);
    let edit = |table, id, values| update(table, id, 1, &ago(60), &values);
    let receipts = server.client("ana").push(&[
        edit("lists", "1", json!({ "code": "b" })),
        edit("items", "2", json!({ "name": "ana" })),
        edit("items", "2", json!({ "note": "ana" })),
    ]);
    assert!(
        receipts.iter().all(|one| one["status"] == "ok"),
        "{receipts:#?}"
    );
    assert_eq!(
        reader.pull().row("2")["columns"],
        json!({ "name": "ana", "note": "ana", "list": "b" })
    );
}

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
