//! Constraints of SQLite that say ON CONFLICT: no row is deleted, left out or changed in silence because of an edit. On
//! PostgreSQL the same tables have plain constraints.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{TableDef, id};
use colsync_tests::{Backend, Server, ago, on_both};
use serde_json::json;

use crate::reader;

on_both![
    a_constraint_that_would_replace_or_ignore_a_row_refuses_the_edit,
    what_a_tables_triggers_ignore_is_still_ignored,
];

const SEATS: TableDef = TableDef {
    name: "seats",
    sqlite: "CREATE TABLE seats (id UUID PRIMARY KEY NOT NULL, code TEXT UNIQUE ON CONFLICT REPLACE,
             row_of TEXT UNIQUE on  conflict IGNORE, number INTEGER UNIQUE ON CONFLICT ROLLBACK,
             name TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'nobody');",
    postgres: "CREATE TABLE seats (id uuid PRIMARY KEY, code text UNIQUE, row_of text UNIQUE, number bigint UNIQUE,
               name text NOT NULL DEFAULT 'nobody');",
};

fn a_constraint_that_would_replace_or_ignore_a_row_refuses_the_edit(backend: Backend) {
    let server = Server::on(backend).table(SEATS).start();
    let seat = |number: u64, code: &str, row_of: &str| {
        let row = json!({ "code": code, "row_of": row_of, "number": number, "name": "x" });
        insert("seats", &id(number), &ago(3600), &row)
    };
    let change = |columns| update("seats", &id(2), 1, &ago(60), &columns);
    let mut ana = server.client("ana");
    ana.push(&[seat(1, "a", "A"), seat(2, "b", "B")]);
    let mut reader = reader(&server);
    let before = server.column("SELECT code || row_of || number || name FROM seats ORDER BY id");
    let receipts = ana.push(&[
        seat(3, "a", "C"),
        seat(4, "d", "A"),
        change(json!({ "code": "a" })),
        change(json!({ "row_of": "A" })),
        change(json!({ "number": 1 })),
        change(json!({ "name": null })),
        insert("seats", &id(5), &ago(60), &json!({ "code": "e" })),
    ]);
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt["code"].as_str().unwrap_or("ok"))
        .collect();
    let refused = ["constraint_violation"; 6];
    assert_eq!(told, [refused.as_slice(), &["ok"]].concat());
    let after = server.column("SELECT code || row_of || number || name FROM seats ORDER BY id");
    assert_eq!(after[..2], before, "no row is gone, and none is changed");
    assert_eq!(after.len(), 3);
    assert_eq!(reader.pull().ids(), [id(5)]);
}

/// A trigger that counts on being ignored.
const VISITS: TableDef = TableDef {
    name: "visits",
    sqlite: "CREATE TABLE visits (id UUID PRIMARY KEY NOT NULL, place TEXT);
             CREATE TABLE places_seen (place TEXT PRIMARY KEY);
             CREATE TRIGGER visits_new AFTER INSERT ON visits BEGIN
                 INSERT OR IGNORE INTO places_seen VALUES (NEW.place); END;",
    postgres: "CREATE TABLE visits (id uuid PRIMARY KEY, place text);
               CREATE TABLE places_seen (place text PRIMARY KEY);
               CREATE FUNCTION visits_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO places_seen VALUES (NEW.place) ON CONFLICT DO NOTHING; RETURN NULL; END $$;
               CREATE TRIGGER visits_new AFTER INSERT ON visits FOR EACH ROW EXECUTE FUNCTION visits_new();",
};

fn what_a_tables_triggers_ignore_is_still_ignored(backend: Backend) {
    let server = Server::on(backend).table(VISITS).start();
    let visit = |number: u64| insert("visits", &id(number), &ago(60), &json!({ "place": "home" }));
    let receipts = server.client("ana").push(&[visit(1), visit(2)]);
    assert!(
        receipts.iter().all(|receipt| receipt["status"] == "ok"),
        "{receipts:#?}"
    );
    let seen = server.value("SELECT count(*) FROM places_seen");
    assert_eq!(seen.as_deref(), Some("1"));
}
