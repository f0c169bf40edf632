//! Other programs write the same tables with SQL: what they change reaches the clients column by column.

use colsync_tests::edits::update;
use colsync_tests::tables::{MEMBERS, TODOS, id};
use colsync_tests::{Backend, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, reader, todo};

on_both![
    a_receipt_tells_all_of_a_row_that_was_made_anew,
    an_update_reaches_a_pulling_client_column_by_column,
    an_update_that_changes_nothing_reaches_nobody,
    an_insert_reaches_a_pulling_client_whole,
    a_delete_reaches_a_pulling_client,
    a_row_that_is_deleted_and_inserted_again_comes_whole,
    an_update_of_the_key_is_a_removal_and_a_new_row,
    an_update_of_many_rows_reaches_a_pulling_client,
    a_transaction_that_is_rolled_back_leaves_no_trace,
    deletes_of_rows_with_several_key_columns_name_them,
    deletes_by_cascade_reach_a_pulling_client,
    a_soft_delete_by_sql_removes_the_row,
    what_sql_wrote_is_a_side_of_a_conflict_like_any_other,
    a_program_that_writes_stale_metadata_back_moves_nothing_backwards,
    an_updated_at_trigger_of_the_users_own_reaches_the_feed,
    rows_that_were_there_before_colsync_take_part,
];

fn where_id(number: u64) -> String {
    format!("WHERE id = '{}'", id(number))
}

fn an_update_reaches_a_pulling_client_column_by_column(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql(&format!(
        "UPDATE todos SET title = 'sql', note = 'old' {}",
        where_id(1)
    ));
    let pulled = reader.pull();
    let expected =
        json!({ "table": "todos", "id": id(1), "version": 2, "columns": { "title": "sql" } });
    assert_eq!(pulled.rows, [expected]);
    server.sql(&format!(
        "UPDATE todos SET priority = 1 {0}; UPDATE todos SET done = true {0}",
        where_id(1)
    ));
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "priority": 1, "done": true })
    );
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    let meta = server
        .anonymous()
        .get(&format!("{}?meta=true", todo(1)))
        .expect(200)
        .json();
    assert_eq!(
        meta["_sync"]["columns"]["title"]["client"],
        "00000000-0000-0000-0000-000000000001"
    );
    assert_eq!(
        meta["_sync"]["columns"]["note"]["client"],
        server.client("maker").id()
    );
}

fn an_update_that_changes_nothing_reaches_nobody(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let before = server.dump();
    server.sql("UPDATE todos SET title = 'old', note = note, priority = NULL");
    assert_eq!(server.dump(), before);
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

fn an_insert_reaches_a_pulling_client_whole(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    server.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'sql')",
        id(2)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1);
    let line = pulled.row(&id(2));
    assert_eq!(
        (
            &line["full"],
            &line["columns"]["title"],
            &line["columns"]["done"]
        ),
        (&json!(true), &json!("sql"), &json!(false))
    );
    let receipt = server
        .client("ana")
        .patch(&todo(2), &json!({ "title": "ana" }))
        .expect(200)
        .json();
    assert_eq!(
        (&receipt["version"], &receipt["columns"]["title"]["outcome"]),
        (&json!(2), &json!("applied"))
    );
}

fn a_delete_reaches_a_pulling_client(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql(&format!("DELETE FROM todos {}", where_id(1)));
    assert_eq!(
        reader.pull().rows,
        [json!({ "table": "todos", "id": id(1), "removed": "purged" })]
    );
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    assert_eq!(
        server.client("new").pull().ids(),
        [id(2)],
        "a first pull has no graves"
    );
}

fn a_row_that_is_deleted_and_inserted_again_comes_whole(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    server.sql(&format!(
        "DELETE FROM todos; INSERT INTO todos (id, title) VALUES ('{}', 'again')",
        id(1)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1, "{:#?}", pulled.rows);
    let line = pulled.row(&id(1));
    assert_eq!(
        (
            &line["full"],
            &line["columns"]["title"],
            &line["columns"]["note"]
        ),
        (&json!(true), &json!("again"), &Json::Null)
    );
    assert!(line["version"].as_i64().unwrap() > 1);
    let mut ana = server.client("ana");
    let receipt = ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ana" }),
    ));
    assert_eq!(
        receipt["columns"]["title"]["outcome"], "superseded",
        "version 1 was another row"
    );
}

fn an_update_of_the_key_is_a_removal_and_a_new_row(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    server.sql(&format!(
        "UPDATE todos SET id = '{}' {}",
        id(2),
        where_id(1)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 2);
    assert_eq!(pulled.row(&id(1))["removed"], "purged");
    assert_eq!(
        (
            &pulled.row(&id(2))["full"],
            &pulled.row(&id(2))["columns"]["title"]
        ),
        (&json!(true), &json!("old"))
    );
}

fn an_update_of_many_rows_reaches_a_pulling_client(backend: Backend) {
    let server = one_todo(backend);
    for number in 2..=20 {
        make_todo(&server, number);
    }
    let mut reader = reader(&server);
    server.sql("UPDATE todos SET priority = 1");
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 20);
    assert!(
        pulled
            .rows
            .iter()
            .all(|line| line["columns"] == json!({ "priority": 1 }))
    );
}

fn a_transaction_that_is_rolled_back_leaves_no_trace(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let before = server.dump();
    server.sql(&format!(
        "BEGIN; UPDATE todos SET title = 'x'; DELETE FROM todos; INSERT INTO todos (id) VALUES ('{}'); ROLLBACK",
        id(2)
    ));
    assert_eq!(server.dump(), before);
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

fn deletes_of_rows_with_several_key_columns_name_them(backend: Backend) {
    let server = Server::on(backend).table(MEMBERS).start();
    server.sql("INSERT INTO members (team, number, role) VALUES ('a,b%', 1, 'x'), ('c', 2, 'x')");
    let mut reader = server.client("reader");
    let mut ids: Vec<String> = reader.pull().ids().into_iter().map(str::to_owned).collect();
    ids.sort();
    assert_eq!(ids, ["a%2Cb%25,1", "c,2"]);
    server.sql("DELETE FROM members WHERE number = 1");
    assert_eq!(
        reader.pull().rows,
        [json!({ "table": "members", "id": "a%2Cb%25,1", "removed": "purged" })]
    );
}

fn deletes_by_cascade_reach_a_pulling_client(backend: Backend) {
    let tables = match backend {
        Backend::Sqlite => "CREATE TABLE albums (id INTEGER PRIMARY KEY, title TEXT);
            CREATE TABLE tracks (id INTEGER PRIMARY KEY, album INTEGER REFERENCES albums (id) ON DELETE CASCADE);",
        Backend::Postgres => "CREATE TABLE albums (id integer PRIMARY KEY, title text);
            CREATE TABLE tracks (id integer PRIMARY KEY, album integer REFERENCES albums (id) ON DELETE CASCADE);",
    };
    let server = Server::on(backend)
        .before(tables)
        .synced("albums")
        .synced("tracks")
        .start();
    server.sql("INSERT INTO albums (id, title) VALUES (1, 'a'); INSERT INTO tracks (id, album) VALUES (7, 1)");
    let mut reader = server.client("reader");
    assert_eq!(reader.pull().ids(), ["1", "7"]);
    server.sql("DELETE FROM albums");
    let pulled = reader.pull();
    assert_eq!(
        (&pulled.row("1")["removed"], &pulled.row("7")["removed"]),
        (&json!("purged"), &json!("purged"))
    );
}

fn a_soft_delete_by_sql_removes_the_row(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let now = match backend {
        Backend::Sqlite => "1700000000000000",
        Backend::Postgres => "now()",
    };
    server.sql(&format!("UPDATE todos SET sync_deleted_at = {now}"));
    assert_eq!(
        reader.pull().rows,
        [json!({ "table": "todos", "id": id(1), "removed": "deleted" })]
    );
    let _ = server
        .anonymous()
        .get(&todo(1))
        .problem(404, "row_not_found");
    server.sql("UPDATE todos SET sync_deleted_at = NULL");
    assert_eq!(reader.pull().row(&id(1))["full"], true);
}

fn what_sql_wrote_is_a_side_of_a_conflict_like_any_other(backend: Backend) {
    let server = one_todo(backend);
    server.sql("UPDATE todos SET title = 'sql'");
    let edits = json!({ "title": "ana", "note": "ana" });
    let receipt = server
        .client("ana")
        .push_one(update("todos", &id(1), 1, &ago(60), &edits));
    assert_eq!(receipt["columns"]["title"]["outcome"], "superseded");
    assert_eq!(receipt["columns"]["note"]["outcome"], "applied");
    let conflict = &ledger(&server, "")[0];
    assert_eq!(conflict["kept"]["value"], "sql");
    assert_eq!(conflict["kept"]["client"]["name"], "direct SQL");
    assert_eq!(conflict["lost"]["value"], "ana");
}

fn a_program_that_writes_stale_metadata_back_moves_nothing_backwards(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    for title in ["one", "two", "three"] {
        let _ = ana.patch(&todo(1), &json!({ "title": title })).expect(200);
    }
    let mut reader = reader(&server);
    // An ORM saves the row as it loaded it, all columns of it.
    server.sql("UPDATE todos SET title = 'saved', sync_version = 1, sync_txid = 1");
    let pulled = reader.pull();
    let line = pulled.row(&id(1));
    assert_eq!(
        (&line["version"], &line["columns"]),
        (&json!(5), &json!({ "title": "saved" }))
    );
    let before = server.dump();
    server.sql("UPDATE todos SET sync_version = 2, sync_txid = 2");
    assert_eq!(
        server.dump(),
        before,
        "and where nothing of the row has changed, nothing changes"
    );
}

fn an_updated_at_trigger_of_the_users_own_reaches_the_feed(backend: Backend) {
    let table = match backend {
        Backend::Sqlite => "CREATE TABLE pages (id INTEGER PRIMARY KEY, title TEXT, note TEXT, saves INTEGER NOT NULL DEFAULT 0);
            CREATE TRIGGER pages_saved AFTER UPDATE OF title ON pages WHEN NEW.title IS NOT OLD.title
            BEGIN UPDATE pages SET saves = saves + 1 WHERE id = NEW.id; END;",
        Backend::Postgres => "CREATE TABLE pages (id integer PRIMARY KEY, title text, note text, saves integer NOT NULL DEFAULT 0);
            CREATE FUNCTION pages_saved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF NEW.title IS DISTINCT FROM OLD.title THEN NEW.saves := OLD.saves + 1; END IF; RETURN NEW; END $$;
            CREATE TRIGGER pages_saved BEFORE UPDATE ON pages FOR EACH ROW EXECUTE FUNCTION pages_saved();",
    };
    let server = Server::on(backend).before(table).synced("pages").start();
    let mut ana = server.client("ana");
    ana.create_ago(60, "pages", &json!({ "id": 1, "title": "old" }));
    ana.pull();
    let mut reader = reader(&server);
    server.sql("UPDATE pages SET title = 'sql'");
    assert_eq!(
        reader.pull().row("1")["columns"],
        json!({ "title": "sql", "saves": 1 })
    );
    ana.pull();
    let _ = ana
        .patch("/v1/tables/pages/rows/1", &json!({ "title": "ana" }))
        .expect(200);
    assert_eq!(
        reader.pull().row("1")["columns"],
        json!({ "title": "ana", "saves": 2 })
    );
    assert_eq!(
        ana.pull().row("1")["columns"],
        json!({ "saves": 2 }),
        "what she did not write is news to her"
    );
    let _ = ana
        .patch("/v1/tables/pages/rows/1", &json!({ "note": "x" }))
        .expect(200);
    assert_eq!(reader.pull().row("1")["columns"], json!({ "note": "x" }));
}

fn rows_that_were_there_before_colsync_take_part(backend: Backend) {
    let rows = format!(
        "{} INSERT INTO todos (id, title) VALUES ('{}', 'before'), ('{}', 'before');",
        TODOS.sql(backend),
        id(1),
        id(2)
    );
    let server = Server::on(backend).before(&rows).synced("todos").start();
    let mut reader = server.client("reader");
    assert_eq!(reader.pull().rows.len(), 2);
    let mut ana = server.client("ana");
    let receipt = ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ana" }),
    ));
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "ana" })
    );
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

#[test]
fn insert_or_replace_on_sqlite_reaches_a_pulling_client() {
    let server = one_todo(Backend::Sqlite);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql(&format!(
        "INSERT OR REPLACE INTO todos (id, title) VALUES ('{}', 'replaced')",
        id(1)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1, "{:#?}", pulled.rows);
    let line = pulled.row(&id(1));
    assert_eq!(
        (&line["columns"]["title"], &line["columns"]["note"]),
        (&json!("replaced"), &Json::Null)
    );
    assert!(line["version"].as_i64().unwrap() > 1, "the version goes on");
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "replaced");
}

#[test]
fn update_or_replace_on_sqlite_removes_the_row_it_replaces() {
    let server = one_todo(Backend::Sqlite);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql(&format!(
        "UPDATE OR REPLACE todos SET id = '{}', title = 'moved' {}",
        id(2),
        where_id(1)
    ));
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(1))["removed"], "purged");
    assert_eq!(pulled.row(&id(2))["columns"]["title"], "moved");
}

#[test]
fn an_upsert_on_sqlite_and_on_postgres_changes_what_it_names() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let server = one_todo(backend);
        let mut reader = reader(&server);
        server.sql(&format!(
            "INSERT INTO todos (id, title) VALUES ('{}', 'upserted') ON CONFLICT (id) DO UPDATE SET title = excluded.title",
            id(1)
        ));
        assert_eq!(
            reader.pull().row(&id(1))["columns"],
            json!({ "title": "upserted" })
        );
    }
}

#[test]
fn truncate_on_postgres_removes_every_row() {
    let server = one_todo(Backend::Postgres);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    server.sql("TRUNCATE todos");
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 2);
    assert!(
        pulled.rows.iter().all(|line| line["removed"] == "purged"),
        "{:#?}",
        pulled.rows
    );
}

/// Another program has removed the row and made one of its key. Where that holds NULL, which nobody wrote, the sender
/// still has what was in the row before.
fn a_receipt_tells_all_of_a_row_that_was_made_anew(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "note": "ana" }),
    ));
    server.sql("DELETE FROM todos");
    server.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'anew')",
        id(1)
    ));
    let edit = update("todos", &id(1), 2, &ago(30), &json!({ "priority": 3 }));
    let receipt = ana.push_one(edit);
    assert_eq!(receipt["columns"]["priority"]["outcome"], "applied");
    assert_eq!(receipt["changed"]["title"], "anew");
    assert_eq!(
        receipt["changed"].get("note"),
        Some(&Json::Null),
        "{receipt}"
    );
}
