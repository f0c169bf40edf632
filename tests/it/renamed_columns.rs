//! A column that is renamed in the database: what was written under its old name counts under the new one.

use colsync_tests::edits::update;
use colsync_tests::tables::id;
use colsync_tests::{Backend, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, reader, todo};

on_both![
    what_was_written_under_the_old_name_was_not_seen_before,
    a_column_that_is_added_or_dropped_moves_no_row,
];

fn alter(server: &mut Server, change: &str) {
    server.terminate();
    server.sql(&format!("ALTER TABLE todos {change}"));
    server.resume();
}

fn what_was_written_under_the_old_name_was_not_seen_before(backend: Backend) {
    let mut server = one_todo(backend);
    make_todo(&server, 2);
    let _ = server
        .client("ana")
        .patch(&todo(1), &json!({ "title": "ana" }))
        .expect(200);
    let mut reader = reader(&server);
    alter(&mut server, "RENAME COLUMN title TO name");
    let mut ben = server.client("ben");
    let edit = |number, name| {
        let values = json!({ "name": name });
        update("todos", &id(number), 1, &ago(60), &values)
    };
    let receipt = ben.push_one(edit(1, "ben"));
    assert_eq!(receipt["columns"]["name"]["outcome"], "superseded");
    assert_eq!(receipt["columns"]["name"]["value"], "ana");
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["lost"]["value"], "ben");
    let told = json!({ "table": "todos", "id": id(1), "version": 2, "columns": { "name": "ana" } });
    assert_eq!(reader.pull().rows, [told]);
    // Nobody has written that of todo 2 since it was made.
    let receipt = ben.push_one(edit(2, "ben"));
    assert_eq!(receipt["columns"]["name"]["outcome"], "applied");
    assert_eq!(
        reader.pull().row(&id(2))["columns"],
        json!({ "name": "ben" })
    );
    let edit = update("todos", &id(1), 2, &ago(60), &json!({ "name": "seen" }));
    let receipt = ben.push_one(edit);
    assert_eq!(receipt["columns"]["name"]["outcome"], "applied");
    assert_eq!(ledger(&server, "").len(), 1);
    reader.pull();
    server.restart();
    assert_eq!(reader.pull().rows, Vec::<Json>::new(), "it is told once");
}

fn a_column_that_is_added_or_dropped_moves_no_row(backend: Backend) {
    let mut server = one_todo(backend);
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "title": "ana" })).expect(200);
    let mut reader = reader(&server);
    alter(&mut server, "ADD COLUMN colour TEXT");
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    // A trigger that names the column keeps SQLite from dropping it.
    if backend == Backend::Postgres {
        alter(&mut server, "DROP COLUMN title");
        assert_eq!(reader.pull().rows, Vec::<Json>::new());
    }
}
