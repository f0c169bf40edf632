//! Apps' tables whose own constraints and triggers would make something else of what the server has: other rows go, the
//! transaction ends, a write is left out. What the table does not take waits, and nothing else comes of it.

use colsync_tests::tables::id;
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use crate::client_histories::the_ledger_has_both;
use crate::client_keys::PEOPLE;
use crate::client_row_keys::LABELS;
use crate::client_sync::device;
use crate::{make_todo, one_todo, todo};

on_both![
    a_conflict_clause_of_the_tables_own_takes_no_other_row_away,
    a_row_that_a_trigger_refuses_waits_alone_however_it_refuses,
    a_write_that_a_trigger_leaves_out_is_not_in_view,
    a_row_that_an_index_cannot_hold_waits,
    rows_that_swap_a_value_do_it_whatever_else_waits,
    a_key_that_differs_in_case_is_another_row,
    a_row_that_a_trigger_keeps_goes_later_though_its_edit_was_pushed,
    new_rows_get_the_servers_numbers_though_triggers_forbid_updates,
];

/// How many rows wait in the file.
const WAITING: &str = "SELECT count(*) FROM colsync_held";

/// A device that keeps todos in a table of its own, and has synced.
fn tracking(server: &Server, table: &str) -> Device {
    let device = Device::new(server);
    device.sql(table);
    device.client().track("todos").unwrap();
    device.client().sync().unwrap();
    device
}

/// Somebody else gives a todo other values.
fn theirs(server: &Server, number: u64, values: &serde_json::Value) {
    drop(
        server
            .client("other")
            .patch(&todo(number), values)
            .expect(200),
    );
}

fn title(device: &Device, number: u64) -> Option<String> {
    device.value(&format!(
        "SELECT title FROM todos WHERE id = '{}'",
        id(number)
    ))
}

fn a_conflict_clause_of_the_tables_own_takes_no_other_row_away(backend: Backend) {
    for clause in ["REPLACE", "IGNORE", "FAIL", "ROLLBACK"] {
        let server = one_todo(backend);
        let a = tracking(
            &server,
            &format!(
                "CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT UNIQUE ON CONFLICT {clause},
                 note TEXT, mine TEXT)"
            ),
        );
        // The server lacks this column: the edit stays.
        a.sql("UPDATE todos SET mine = 'kept'");
        make_todo(&server, 2);
        let last = json!({ "id": id(3), "title": "last" });
        server.client("other").create_ago(60, "todos", &last);
        for _ in 0..2 {
            a.client().sync().unwrap();
            assert_eq!(a.dump("todos").len(), 2, "{clause}");
            assert_eq!(a.value(WAITING).as_deref(), Some("1"), "{clause}");
            assert_eq!(
                a.value("SELECT mine FROM todos WHERE mine IS NOT NULL")
                    .as_deref(),
                Some("kept")
            );
        }
        theirs(&server, 2, &json!({ "title": "another" }));
        a.client().sync().unwrap();
        assert_eq!(title(&a, 2).as_deref(), Some("another"), "{clause}");
        // An update that is in the way of another row is one as well.
        theirs(&server, 3, &json!({ "title": "another" }));
        a.client().sync().unwrap();
        assert_eq!(title(&a, 2).as_deref(), Some("another"), "{clause}");
        assert_eq!(title(&a, 3).as_deref(), Some("last"), "{clause}");
        assert_eq!(a.value(WAITING).as_deref(), Some("1"), "{clause}");
        assert_eq!(server.anonymous().row("todos", &id(1))["title"], "old");
    }
}

fn a_row_that_a_trigger_refuses_waits_alone_however_it_refuses(backend: Backend) {
    for raise in [
        "RAISE(ROLLBACK, 'no')",
        "raise ( /* all of it */ rollback, 'it''s no')",
        "RAISE(FAIL, 'no')",
        "RAISE(IGNORE)",
        "RAISE(ABORT, \"no\")",
        "RAISE(ABORT, 'row ' || NEW.id || ' is in the way')",
    ] {
        let server = one_todo(backend);
        let a = device(&server);
        a.sql(&format!(
            "CREATE TRIGGER refusing BEFORE INSERT ON todos WHEN NEW.title = 'no' BEGIN SELECT {raise}; END"
        ));
        let trigger = "SELECT sql FROM sqlite_master WHERE name = 'refusing'";
        let written = a.value(trigger);
        for (number, title) in [(2, "yes"), (3, "no"), (4, "yes")] {
            let row = json!({ "id": id(number), "title": title });
            server.client("other").create_ago(60, "todos", &row);
        }
        for _ in 0..2 {
            a.client().sync().unwrap();
            assert_eq!(a.dump("todos").len(), 3, "{raise}");
            assert_eq!(a.value(WAITING).as_deref(), Some("1"), "{raise}");
        }
        assert_eq!(a.value(trigger), written, "{raise}");
        a.sql("DROP TRIGGER refusing");
        a.client().sync().unwrap();
        a.assert_equals(&server.anonymous(), "todos");
    }
}

fn a_write_that_a_trigger_leaves_out_is_not_in_view(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql(
        "CREATE TRIGGER locked BEFORE UPDATE OF title ON todos WHEN OLD.note = 'old'
         BEGIN SELECT RAISE(IGNORE); END",
    );
    theirs(&server, 1, &json!({ "title": "theirs" }));
    a.client().sync().unwrap();
    assert_eq!(title(&a, 1).as_deref(), Some("old"));
    a.sql("UPDATE todos SET note = 'open'; UPDATE todos SET title = 'mine'");
    a.client().sync().unwrap();
    the_ledger_has_both(&server, "theirs", "mine");
}

fn a_row_that_an_index_cannot_hold_waits(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql("UPDATE todos SET note = '{}'");
    a.client().sync().unwrap();
    a.sql("CREATE INDEX kinds ON todos (json_extract(note, '$.kind'))");
    make_todo(&server, 2);
    let row = json!({ "id": id(3), "note": "{\"kind\": 1}" });
    server.client("other").create_ago(60, "todos", &row);
    a.client().sync().unwrap();
    assert_eq!(a.dump("todos").len(), 2);
    assert_eq!(a.value(WAITING).as_deref(), Some("1"));
}

fn rows_that_swap_a_value_do_it_whatever_else_waits(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    make_todo(&server, 3);
    let give = |number, title: &str| theirs(&server, number, &json!({ "title": title }));
    give(2, "two");
    give(3, "three");
    let a = tracking(
        &server,
        "CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT UNIQUE CHECK (title <> 'never'), note TEXT)",
    );
    give(3, "never");
    give(1, "two");
    give(2, "old");
    a.client().sync().unwrap();
    assert_eq!(title(&a, 1).as_deref(), Some("two"));
    assert_eq!(title(&a, 2).as_deref(), Some("old"));
    assert_eq!(a.value(WAITING).as_deref(), Some("1"));
}

fn a_key_that_differs_in_case_is_another_row(backend: Backend) {
    let server = Server::on(backend).table(LABELS).start();
    let nocase = |server: &Server| {
        let device = Device::new(server);
        device.sql(
            "CREATE TABLE labels (code TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, meaning TEXT)",
        );
        device.client().track("labels").unwrap();
        device.client().sync().unwrap();
        device
    };
    let a = nocase(&server);
    a.sql("INSERT INTO labels VALUES ('abc', 'one')");
    a.client().sync().unwrap();
    let b = nocase(&server);
    a.sql("UPDATE labels SET code = 'ABC'");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    assert_eq!(b.dump("labels"), ["'ABC', 'one'"]);
    assert_eq!(b.value(WAITING).as_deref(), Some("0"));
    // One of its own, which this table cannot have beside.
    let other = json!({ "code": "Abc", "meaning": "two" });
    server.client("other").create_ago(60, "labels", &other);
    b.client().sync().unwrap();
    assert_eq!(b.dump("labels"), ["'ABC', 'one'"]);
    assert_eq!(b.value(WAITING).as_deref(), Some("1"));
}

fn a_row_that_a_trigger_keeps_goes_later_though_its_edit_was_pushed(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql("CREATE TRIGGER pinned BEFORE DELETE ON todos BEGIN SELECT RAISE(ABORT, 'pinned'); END");
    a.sql("UPDATE todos SET title = 'mine'");
    drop(server.client("other").delete(&todo(1)).expect(200));
    let report = a.client().sync().unwrap();
    assert_eq!(report.pushed, 1);
    assert!(a.client().pending().unwrap().is_empty());
    assert_eq!(title(&a, 1).as_deref(), Some("mine"));
    make_todo(&server, 2);
    a.client().sync().unwrap();
    assert_eq!(a.dump("todos").len(), 2);
    a.sql("DROP TRIGGER pinned");
    a.client().sync().unwrap();
    a.assert_equals(&server.anonymous(), "todos");
}

fn new_rows_get_the_servers_numbers_though_triggers_forbid_updates(backend: Backend) {
    let server = Server::on(backend).table(PEOPLE).start();
    let (a, b) = (device(&server), device(&server));
    for device in [&a, &b] {
        device.sql(
            "CREATE TABLE audit (person_id INTEGER REFERENCES people (id), what TEXT);
             CREATE TRIGGER appended BEFORE UPDATE ON people BEGIN SELECT RAISE(ABORT, 'append only'); END;
             CREATE TRIGGER audited BEFORE UPDATE ON audit BEGIN SELECT RAISE(IGNORE); END;",
        );
    }
    a.sql("INSERT INTO people (name) VALUES ('ana')");
    b.sql(
        "INSERT INTO people (name) VALUES ('ben'); INSERT INTO audit SELECT id, name FROM people;",
    );
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    for device in [&a, &b] {
        device.assert_equals(&server.anonymous(), "people");
    }
    let audited = "SELECT p.name FROM audit JOIN people AS p ON p.id = person_id";
    assert_eq!(b.value(audited).as_deref(), Some("ben"));
    let triggers = "SELECT count(*) FROM sqlite_master WHERE name IN ('appended', 'audited')";
    assert_eq!(b.value(triggers).as_deref(), Some("2"));
}
