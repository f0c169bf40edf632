//! What the client does with edits that the server refuses, and with edits that the app takes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use colsync_client::{Error, Mode, Op, Progress};
use colsync_tests::tables::{ITEMS, LISTS, TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both, row_path};
use serde_json::{Value as Json, json};

use crate::client_sync::{device, pulling, sync_while};
use crate::{client_modes, ledger, one_todo, todo};

on_both![
    a_delete_that_loses_brings_back_what_the_server_has,
    a_refused_edit_is_a_dead_letter_and_the_rest_is_through,
    a_dead_letter_is_retried_when_the_app_says_so,
    a_refused_row_goes_from_the_table_and_stays_in_its_letter,
    a_refused_delete_brings_the_row_back,
    a_row_that_the_server_purged_takes_its_edits_to_the_dead_letters,
    a_push_that_is_too_large_is_made_smaller,
    refused_edits_that_are_too_many_for_one_push_are_all_told,
    what_a_refused_edit_needs_may_be_in_another_push,
    a_row_of_more_entries_than_a_push_may_have_goes_in_parts,
    the_original_of_a_row_is_there_until_its_edit_is_told,
    undo_takes_back_each_kind_of_edit,
    what_was_superseded_merged_or_held_is_listed,
    a_wrong_key_pauses_and_loses_nothing,
    hostile_values_do_not_stop_a_sync,
    what_was_told_of_a_deleted_row_stays_when_a_refused_edit_of_it_is_made_again,
];

fn lists_and_items(backend: Backend) -> (Server, Device) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let device = Device::new(&server).tracking(LISTS).tracking(ITEMS);
    device.sql(&format!("INSERT INTO lists VALUES ('{}', 'list')", id(1)));
    device.sql(&format!(
        "INSERT INTO items (id, list_id, name, amount) VALUES ('{}', '{}', 'item', 1)",
        id(2),
        id(1)
    ));
    device.client().sync().unwrap();
    // The app's own constraints would keep it from writing what the server refuses.
    device.sql("PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, ' CHECK (amount >= 0)', '') WHERE name = 'items'; PRAGMA writable_schema = RESET;");
    (server, device)
}

fn amount(device: &Device) -> Option<String> {
    device.value("SELECT amount FROM items WHERE name <> 'bad'")
}

fn a_refused_edit_is_a_dead_letter_and_the_rest_is_through(backend: Backend) {
    let (server, a) = lists_and_items(backend);
    a.sql("UPDATE items SET amount = -5");
    a.sql("UPDATE lists SET name = 'good'");
    let report = a.client().sync().unwrap();
    assert_eq!((report.rejected, report.applied), (1, 1), "{report:?}");
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].code, "constraint_violation");
    assert_eq!(
        letters[0].edit["columns"]["amount"],
        json!({"value": -5, "base": 1})
    );
    assert_eq!(amount(&a).as_deref(), Some("1"));
    a.assert_equals(&server.anonymous(), "items");
    a.assert_equals(&server.anonymous(), "lists");
    assert!(a.client().pending().unwrap().is_empty());
}

fn a_dead_letter_is_retried_when_the_app_says_so(backend: Backend) {
    let (server, a) = lists_and_items(backend);
    a.sql("UPDATE items SET amount = -5");
    a.client().sync().unwrap();
    let letter = a.client().dead_letters().unwrap()[0].number;
    a.client().retry_dead_letter(letter).unwrap();
    assert!(a.client().dead_letters().unwrap().is_empty());
    assert_eq!(
        a.client().pending().unwrap()[0].columns["amount"].edited,
        -5
    );
    // Refused again, it is a letter again.
    assert_eq!(a.client().sync().unwrap().rejected, 1);
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert!(matches!(
        a.client().retry_dead_letter(letter),
        Err(Error::Unknown {
            what: "dead letter",
            ..
        })
    ));
    a.client().discard_dead_letter(letters[0].number).unwrap();
    assert!(a.client().dead_letters().unwrap().is_empty());
    a.assert_equals(&server.anonymous(), "items");
}

fn a_refused_row_goes_from_the_table_and_stays_in_its_letter(backend: Backend) {
    let (server, a) = lists_and_items(backend);
    a.sql(&format!(
        "INSERT INTO items (id, list_id, name, amount) VALUES ('{}', '{}', 'bad', -1)",
        id(3),
        id(1)
    ));
    a.client().sync().unwrap();
    a.assert_equals(&server.anonymous(), "items");
    let letter = &a.client().dead_letters().unwrap()[0];
    assert_eq!(letter.edit["op"], "insert");
    assert_eq!(letter.edit["columns"]["name"]["value"], "bad");
    // With the cause gone, it passes.
    match backend {
        Backend::Sqlite => {
            server.sql("PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, ' CHECK (amount >= 0)', '') WHERE name = 'items'; PRAGMA writable_schema = RESET;");
        }
        Backend::Postgres => server.sql("ALTER TABLE items DROP CONSTRAINT items_amount_check"),
    }
    let mut server = server;
    server.restart();
    a.client().retry_dead_letter(letter.number).unwrap();
    let report = a.client().sync().unwrap();
    assert_eq!((report.rejected, report.pushed), (0, 1));
    assert_eq!(server.anonymous().row("items", &id(3))["amount"], -1);
    a.assert_equals(&server.anonymous(), "items");
}

fn a_refused_delete_brings_the_row_back(backend: Backend) {
    let refuse = match backend {
        Backend::Sqlite => {
            "CREATE TRIGGER keep BEFORE UPDATE ON todos WHEN NEW.sync_deleted_at IS NOT NULL
             BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: kept'); END"
        }
        Backend::Postgres => {
            "ALTER TABLE todos ADD CONSTRAINT kept CHECK (sync_deleted_at IS NULL)"
        }
    };
    let server = one_todo(backend);
    server.sql(refuse);
    let a = device(&server);
    a.sql("UPDATE todos SET note = 'mine'; DELETE FROM todos;");
    let report = a.client().sync();
    match report {
        Ok(report) => assert_eq!(report.rejected, 1),
        // A trigger that raises is no constraint: the server calls that its own failure.
        Err(Error::Unreachable(_)) if backend == Backend::Sqlite => return,
        Err(other) => panic!("{other}"),
    }
    a.assert_equals(&server.anonymous(), "todos");
    assert_eq!(
        a.value("SELECT title || note FROM todos").as_deref(),
        Some("oldold")
    );
}

fn a_row_that_the_server_purged_takes_its_edits_to_the_dead_letters(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    server.sql("DELETE FROM todos");
    a.sql("UPDATE todos SET title = 'mine'");
    let report = a.client().sync().unwrap();
    assert_eq!(report.rejected, 1);
    assert!(a.dump("todos").is_empty());
    let letter = &a.client().dead_letters().unwrap()[0];
    assert_eq!(
        (
            letter.code.as_str(),
            &letter.edit["columns"]["title"]["value"]
        ),
        ("row_gone", &json!("mine"))
    );
}

fn a_push_that_is_too_large_is_made_smaller(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .section("[limits]\npush_edits = 3\nbody_bytes = 4096")
        .start();
    let a = Device::new(&server).tracking(TODOS);
    for number in 0..20 {
        a.sql(&format!(
            "INSERT INTO todos (id, title, done) VALUES ('{}', 'x', 0)",
            id(number)
        ));
    }
    let noise: String = (0..4_000).map(|_| fastrand::alphanumeric()).collect();
    let large = format!("UPDATE todos SET note = '{noise}' WHERE id = '{}'", id(7));
    a.sql(&large);
    let report = a.client().sync().unwrap();
    assert_eq!(report.rejected, 1, "{report:?}");
    assert_eq!(a.client().dead_letters().unwrap()[0].code, "body_too_large");
    a.assert_equals(&server.anonymous(), "todos");
    assert_eq!(a.dump("todos").len(), 19);
}

/// A server that takes three edits at once, and a device whose tables have no constraints.
fn three_at_once(backend: Backend) -> (Server, Device) {
    let server = Server::on(backend).table(LISTS).table(ITEMS);
    let server = server.section("[limits]\npush_edits = 3").start();
    let device = device(&server);
    (server, device)
}

fn refused_edits_that_are_too_many_for_one_push_are_all_told(backend: Backend) {
    for others in [0, 1] {
        let (server, a) = three_at_once(backend);
        for number in 0..4 + others {
            let amount = if number < 4 { -1 } else { 1 };
            a.sql(&format!(
                "INSERT INTO items (id, name, amount) VALUES ('{}', 'item', {amount})",
                id(number)
            ));
        }
        let report = a.client().sync().unwrap();
        assert_eq!((report.rejected, report.applied), (4, others), "{report:?}");
        assert_eq!(a.client().dead_letters().unwrap().len(), 4);
        assert_eq!(a.client().status().unwrap().pending, 0);
        a.assert_equals(&server.anonymous(), "items");
    }
}

/// The lists come last, and nothing passes before them.
fn what_a_refused_edit_needs_may_be_in_another_push(backend: Backend) {
    let (server, a) = three_at_once(backend);
    for number in 0..4 {
        a.sql(&format!(
            "PRAGMA foreign_keys = OFF; INSERT INTO items (id, list_id, name) VALUES ('{}', '{}', 'item')",
            id(number),
            id(10 + number)
        ));
    }
    for number in 0..4 {
        let list = id(10 + number);
        a.sql(&format!("INSERT INTO lists VALUES ('{list}', 'list')"));
    }
    let report = a.client().sync().unwrap();
    assert_eq!((report.rejected, report.applied), (0, 8), "{report:?}");
    a.assert_equals(&server.anonymous(), "items");
}

fn a_row_of_more_entries_than_a_push_may_have_goes_in_parts(backend: Backend) {
    let (server, a) = three_at_once(backend);
    for number in 0..2 {
        a.sql(&format!(
            "INSERT INTO lists VALUES ('{}', 'name 0')",
            id(number)
        ));
    }
    for number in 1..5 {
        a.sql(&format!(
            "UPDATE lists SET name = 'name {number}' WHERE id = '{}'",
            id(1)
        ));
    }
    let report = client_modes::sync(&a, Mode::TransactionLog);
    assert_eq!(report.rejected, 0, "{report:?}");
    assert!(a.client().pending().unwrap().is_empty());
    assert_eq!(server.anonymous().row("lists", &id(1))["name"], "name 4");
    a.assert_equals(&server.anonymous(), "lists");
}

fn the_original_of_a_row_is_there_until_its_edit_is_told(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let client = a.client();
    a.sql("UPDATE todos SET title = 'one', done = 1");
    a.sql("UPDATE todos SET title = 'two'");
    let original = client.original("todos", &id(1)).unwrap().unwrap();
    assert_eq!(original["title"], "old");
    assert_eq!(original["done"], false);
    assert_eq!(original["id"], id(1));
    let pending = client.pending().unwrap();
    assert_eq!(pending.len(), 1);
    let names: Vec<_> = pending[0].columns.keys().map(String::as_str).collect();
    assert_eq!(names, ["done", "title"]);
    a.sql("DELETE FROM todos");
    assert_eq!(client.original("todos", &id(1)).unwrap(), Some(original));
    assert_eq!(client.pending().unwrap()[0].op, Op::Delete);
    assert_eq!(client.original("todos", &id(9)).unwrap(), None);
    assert!(matches!(
        client.original("nonsense", "1"),
        Err(Error::Unknown { .. })
    ));
    client.sync().unwrap();
    assert_eq!(client.original("todos", &id(1)).unwrap(), None);
}

fn undo_takes_back_each_kind_of_edit(backend: Backend) {
    let server = one_todo(backend);
    crate::make_todo(&server, 2);
    let a = device(&server);
    let before = a.dump("todos");
    a.sql(&format!(
        "UPDATE todos SET title = 'x', data = '[1]' WHERE id = '{}'",
        id(1)
    ));
    a.sql(&format!(
        "UPDATE todos SET title = 'y' WHERE id = '{0}'; DELETE FROM todos WHERE id = '{0}';",
        id(2)
    ));
    a.sql(&format!(
        "INSERT INTO todos (id, done) VALUES ('{}', 0)",
        id(3)
    ));
    for number in 1..=3 {
        a.client().undo("todos", &id(number)).unwrap();
    }
    assert_eq!(a.dump("todos"), before);
    assert!(a.client().pending().unwrap().is_empty());
    assert_eq!(a.client().sync().unwrap().pushed, 0);
    assert!(matches!(
        a.client().undo("todos", &id(1)),
        Err(Error::Unknown { .. })
    ));
}

fn what_was_superseded_merged_or_held_is_listed(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .policy("priority", "max")
        .policy("note", "manual")
        .start();
    let row = json!({ "id": id(1), "title": "t0", "note": "n0", "priority": 1 });
    server.client("maker").create_ago(60, "todos", &row);
    let a = device(&server);
    a.sql("UPDATE todos SET title = 't mine', note = 'n mine', priority = 3");
    std::thread::park_timeout(Duration::from_millis(5));
    let theirs = json!({ "title": "t theirs", "note": "n theirs", "priority": 9 });
    drop(server.client("other").patch(&todo(1), &theirs).expect(200));
    let report = a.client().sync().unwrap();
    assert_eq!((report.held, report.rejected), (1, 0));
    let listed = a.client().conflicts().unwrap();
    let of = |column: &str| {
        let found = listed.iter().find(|c| c.column.as_deref() == Some(column));
        let found = found.unwrap_or_else(|| panic!("{column}: {listed:?}"));
        (
            found.outcome.clone(),
            json!([found.base, found.mine, found.theirs, found.result]),
        )
    };
    assert_eq!(
        of("title"),
        (
            "superseded".to_owned(),
            json!(["t0", "t mine", "t theirs", "t theirs"])
        )
    );
    assert_eq!(
        of("note"),
        (
            "held".to_owned(),
            json!(["n0", "n mine", "n theirs", "n theirs"])
        )
    );
    assert_eq!(of("priority"), ("merged".to_owned(), json!([1, 3, 9, 9])));
    a.assert_equals(&server.anonymous(), "todos");
    let held = ledger(&server, "state=open");
    assert_eq!(held[0]["base"], "n0");
    assert_eq!(
        Some(held[0]["id"].as_str().unwrap()),
        listed
            .iter()
            .find(|c| c.outcome == "held")
            .unwrap()
            .conflict
            .as_deref()
    );
}

fn a_wrong_key_pauses_and_loses_nothing(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .api_keys(&[("alice", "the-key-of-alice-0123456789")])
        .start();
    let a = Device::new(&server).tracking(TODOS);
    a.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{}', 'x', 0)",
        id(1)
    ));
    let with = |key: &str| {
        let settings = colsync_client::Settings {
            server: Some(a.url()),
            token: Some(key.to_owned()),
            ..colsync_client::Settings::default()
        };
        colsync_client::Client::open(a.path(), settings).unwrap()
    };
    let refused = with("wrong").sync();
    assert!(
        matches!(&refused, Err(Error::Forbidden { code, .. }) if code == "unauthorized"),
        "{refused:?}"
    );
    assert_eq!(a.client().pending().unwrap().len(), 1);
    assert!(
        !format!(
            "{:?}",
            colsync_client::Settings {
                token: Some("wrong".to_owned()),
                ..Default::default()
            }
        )
        .contains("wrong")
    );
    assert_eq!(
        with("the-key-of-alice-0123456789").sync().unwrap().applied,
        1
    );
    let kept = a.column("SELECT value FROM colsync_meta");
    assert!(!kept.iter().flatten().any(|value| value.contains("the-key")));
}

fn hostile_values_do_not_stop_a_sync(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let a = Device::new(&server).tracking(TODOS);
    a.sql(&format!(
        "INSERT INTO todos (id, title, done, priority) VALUES
         ('{}', 'good', 0, 1), ('{}', 'nul' || char(0) || 'x', 0, 1), ('{}', 'x', 0, 'no number'),
         ('{}', 'x', 7, 1), ('not a uuid', 'x', 0, 1), ('{}', CAST(x'ff' AS TEXT), 0, 1)",
        id(1),
        id(2),
        id(3),
        id(4),
        id(6)
    ));
    let report = a.client().sync().unwrap();
    let letters: Vec<Json> = a
        .client()
        .dead_letters()
        .unwrap()
        .iter()
        .map(|l| json!([l.id, l.code]))
        .collect();
    assert_eq!(report.rejected, letters.len() as u64);
    assert!(letters.len() == 3, "{letters:?}");
    assert_eq!(report.waiting.len(), 2, "{report:?}");
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "good");
    assert_eq!(a.client().status().unwrap().pending, 2);
}

/// The app deleted the row while its edit was on the way. A whole row loses with all its columns, also those that nobody
/// else has changed.
fn a_delete_that_loses_brings_back_what_the_server_has(backend: Backend) {
    for (mode, title) in [
        (Mode::Differential, "mine"),
        (Mode::TransactionLog, "mine"),
        (Mode::WholeRow, "todo 1"),
    ] {
        let server = Server::on(backend).table(TODOS);
        let settings = "edit_after_delete = 'revive'\nrow_policy = 'server_wins'";
        let server = server.setting(settings).start();
        let made = json!({ "id": id(1), "title": "todo 1" });
        server.client("maker").create_ago(60, "todos", &made);
        let a = device(&server);
        let client = client_modes::client(&a, mode);
        a.sql("UPDATE todos SET title = 'mine'");
        server.sql("UPDATE todos SET note = 'theirs'");
        let is_done = AtomicBool::new(false);
        let report = client.sync_with(&|progress| {
            let is_pushing = matches!(progress, Progress::Pushing { .. });
            if is_pushing && !is_done.swap(true, Ordering::Relaxed) {
                a.sql("DELETE FROM todos");
                std::thread::sleep(Duration::from_millis(5));
                server.sql("UPDATE todos SET note = 'later'");
            }
        });
        assert!(report.is_ok(), "{report:?}");
        client.sync().unwrap();
        let row = "SELECT title || ' ' || note FROM todos";
        assert_eq!(a.value(row), Some(format!("{title} later")), "{mode:?}");
        a.assert_equals(&server.anonymous(), "todos");
    }
}

fn what_was_told_of_a_deleted_row_stays_when_a_refused_edit_of_it_is_made_again(backend: Backend) {
    let server = one_todo(backend);
    server.sql("CREATE UNIQUE INDEX one_of_each ON todos (priority)");
    let ben = server.client("ben");
    let taken = json!({ "id": id(2), "title": "first", "priority": 5 });
    let _ = ben.create_ago(60, "todos", &taken);
    let a = device(&server);
    let mine = |sql: &str| format!("{sql} WHERE id = '{}'", id(1));
    a.sql(&mine("UPDATE todos SET priority = 5"));
    a.client().sync().unwrap();
    let note = json!({ "note": "of ben" });
    let _ = ben.patch(&row_path("todos", &id(1)), &note).expect(200);
    sync_while(&a, pulling, || a.sql(&mine("DELETE FROM todos")));
    let letters = a.client().dead_letters().unwrap();
    a.client().retry_dead_letter(letters[0].number).unwrap();
    a.client().sync().unwrap();
    assert_eq!(a.client().dead_letters().unwrap().len(), 1, "refused again");
    a.client().sync().unwrap();
    a.assert_equals(&server.anonymous(), "todos");
}
