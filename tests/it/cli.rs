//! The command line: adopting tables, checking a configuration, refusing what cannot work.

use colsync_tests::process::said;
use colsync_tests::tables::{ITEMS, LABELS, LISTS, TODOS, id};
use colsync_tests::{Backend, Server, on_both};
use serde_json::json;

use crate::todo;

on_both![
    a_dry_run_prints_the_sql_and_changes_no_table,
    adopting_twice_is_adopting_once,
    adopting_keeps_every_row,
    a_table_that_cannot_be_synced_is_refused_with_every_reason,
    a_configuration_is_checked_against_the_database,
    a_table_that_is_not_adopted_is_not_served,
    a_setting_that_does_not_exist_is_refused_by_name,
    a_column_added_later_is_synced_after_a_restart,
];

fn columns_of(backend: Backend, table: &str) -> String {
    match backend {
        Backend::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
        Backend::Postgres => {
            format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"
            )
        }
    }
}

fn a_dry_run_prints_the_sql_and_changes_no_table(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).prepare();
    let before = server.column(&columns_of(backend, "items"));
    let output = server.run(&["adopt", "--table", "lists", "--table", "items", "--dry-run"]);
    assert!(output.status.success(), "{}", said(&output));
    let sql = String::from_utf8(output.stdout).unwrap();
    for part in [
        "ALTER TABLE",
        "sync_version",
        "sync_stamps",
        "TRIGGER",
        "items",
        "lists",
    ] {
        assert!(sql.contains(part), "{part}: {sql}");
    }
    assert_eq!(server.column(&columns_of(backend, "items")), before);
}

fn adopting_twice_is_adopting_once(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let _ = server
        .anonymous()
        .post(
            "/v1/tables/todos/rows",
            &json!({ "id": id(1), "title": "x" }),
        )
        .expect(201);
    let before = (server.dump(), server.column(&columns_of(backend, "todos")));
    server.adopt();
    assert_eq!(
        (server.dump(), server.column(&columns_of(backend, "todos"))),
        before
    );
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "title": "y" }))
        .expect(200);
}

fn adopting_keeps_every_row(backend: Backend) {
    let mut rows = TODOS.sql(backend).to_owned();
    for number in 1..=50 {
        rows.push_str(&format!(
            "INSERT INTO todos (id, priority) VALUES ('{}', {number});",
            id(number)
        ));
    }
    let server = Server::on(backend).before(&rows).synced("todos").start();
    let pulled = server.client("reader").pull();
    assert_eq!(pulled.rows.len(), 50);
    for number in [1, 50] {
        let line = pulled.row(&id(number));
        assert_eq!(
            (&line["columns"]["priority"], &line["full"]),
            (&json!(number), &json!(true))
        );
    }
}

fn a_table_that_cannot_be_synced_is_refused_with_every_reason(backend: Backend) {
    let (tables, reasons): (&str, &[(&str, &str)]) = match backend {
        Backend::Sqlite => (
            "CREATE TABLE keyless (a TEXT); CREATE TABLE typeless (id INTEGER PRIMARY KEY, shape);
             CREATE TABLE realkey (ratio REAL PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS a;
             CREATE TABLE taken (id INTEGER PRIMARY KEY, sync_mine TEXT);",
            &[
                ("keyless", "primary key"),
                ("typeless", "shape"),
                ("realkey", "ratio"),
                ("seen", "view"),
                ("taken", "sync_mine"),
                ("nowhere", "no such table"),
                ("colsync_meta", "colsync"),
            ],
        ),
        Backend::Postgres => (
            "CREATE TABLE keyless (a text); CREATE TABLE typeless (id integer PRIMARY KEY, shape point, span interval);
             CREATE TABLE realkey (ratio real PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS a;
             CREATE TABLE taken (id integer PRIMARY KEY, sync_mine text);
             CREATE TABLE late (id uuid PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text);",
            &[
                ("keyless", "primary key"),
                ("late", "DEFERRABLE"),
                ("typeless", "shape"),
                ("typeless", "interval"),
                ("realkey", "ratio"),
                ("seen", "view"),
                ("taken", "sync_mine"),
                ("nowhere", "no such table"),
                ("colsync_meta", "colsync"),
            ],
        ),
    };
    let server = Server::on(backend).before(tables).table(TODOS).prepare();
    for (table, reason) in reasons {
        let output = server.run(&["adopt", "--table", "todos", "--table", table]);
        assert!(!output.status.success(), "{table}");
        let said = said(&output);
        assert!(
            said.contains(table) && said.contains(reason),
            "{table}, {reason}: {said}"
        );
    }
    let columns = server.column(&columns_of(backend, "todos"));
    assert!(
        !columns.contains(&Some("sync_version".to_owned())),
        "all or nothing"
    );
}

fn a_configuration_is_checked_against_the_database(backend: Backend) {
    let server = Server::on(backend).table(TODOS).prepare();
    assert!(!server.run(&["check"]).status.success(), "not adopted yet");
    server.adopt();
    let output = server.run(&["check"]);
    assert!(
        output.status.success() && said(&output).contains("todos"),
        "{}",
        said(&output)
    );
    let server = Server::on(backend)
        .table(TODOS)
        .policy("nothing", "max")
        .prepare();
    server.adopt();
    let output = server.run(&["check"]);
    assert!(
        !output.status.success() && said(&output).contains("nothing"),
        "{}",
        said(&output)
    );
    let server = Server::on(backend).table(TODOS).synced("nowhere").prepare();
    let adopted = server.run(&["adopt", "--table", "todos"]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    let output = server.run(&["check"]);
    assert!(
        !output.status.success() && said(&output).contains("nowhere"),
        "{}",
        said(&output)
    );
}

fn a_table_that_is_not_adopted_is_not_served(backend: Backend) {
    let server = Server::on(backend).table(TODOS).prepare();
    let output = server.run(&["serve"]);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("todos") && said.contains("adopt"), "{said}");
}

fn a_setting_that_does_not_exist_is_refused_by_name(backend: Backend) {
    for (setting, named) in [
        ("[limits]\nbody_byte = 1", "body_byte"),
        (
            "[tables.other]\nscope = { column = 'owner', claim = 'sub' }",
            "scope",
        ),
        ("[tables.other.columns]\nstock = 'biggest'", "biggest"),
        ("[auth]\napi_keys = []", "api_keys"),
    ] {
        let server = Server::on(backend).table(TODOS).section(setting).prepare();
        let output = server.run(&["serve"]);
        assert!(
            !output.status.success() && said(&output).contains(named),
            "{named}: {}",
            said(&output)
        );
    }
}

fn a_column_added_later_is_synced_after_a_restart(backend: Backend) {
    let mut server = Server::on(backend)
        .before(LABELS.sql(backend))
        .synced("labels")
        .start();
    let ana = server.client("ana");
    let _ = ana
        .post(
            "/v1/tables/labels/rows",
            &json!({ "code": "red", "meaning": "stop" }),
        )
        .expect(201);
    server.terminate();
    server.sql("ALTER TABLE labels ADD COLUMN shade TEXT");
    server.adopt();
    server.resume();
    let mut reader = crate::reader(&server);
    assert_eq!(
        ana.row("labels", "red"),
        json!({ "code": "red", "meaning": "stop", "shade": null })
    );
    let _ = ana
        .patch("/v1/tables/labels/rows/red", &json!({ "shade": "dark" }))
        .expect(200);
    assert_eq!(
        reader.pull().row("red")["columns"],
        json!({ "shade": "dark" })
    );
    server.sql("UPDATE labels SET shade = 'light'");
    assert_eq!(
        reader.pull().row("red")["columns"],
        json!({ "shade": "light" })
    );
}
