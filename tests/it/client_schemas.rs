//! Tables that are not the same on both sides: columns and tables that one side lacks, and apps that change
//! theirs; and triggers of the app's own.

use colsync_client::Mode;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;
use crate::{ledger, make_todo, one_todo, todo, todos};

on_both![
    a_column_that_the_server_lacks_waits_until_it_has_it,
    a_column_that_the_app_lacks_is_ignored_and_fetched_once_it_has_it,
    it_waits_in_every_mode,
    what_waited_in_a_row_that_goes_is_a_dead_letter,
    what_waited_in_a_row_that_is_refused_is_in_its_dead_letter,
    what_waited_of_a_replaced_row_waits_on_when_the_rest_is_refused,
    an_edit_of_a_column_that_has_not_come_down_replaces_nothing_unseen,
    a_whole_row_leaves_out_what_has_not_come_down,
    an_app_that_lacks_a_column_removes_no_value_of_it_untold,
    a_row_that_is_gone_goes_when_its_last_edit_is_taken_back,
    a_column_that_both_get_comes_down_although_nothing_is_pushed,
    a_row_that_is_made_anew_replaces_no_value_that_its_deleter_could_not_see,
    a_table_that_the_server_lacks_waits_until_it_has_it,
    a_table_of_another_key_waits_and_says_why,
    a_column_that_the_app_adds_is_captured_with_what_was_written_before,
    a_required_column_with_a_default_may_be_left_out,
    a_trigger_of_the_apps_own_is_captured_and_does_not_echo,
    an_index_that_triggers_keep_follows_what_is_pulled,
    a_row_that_the_apps_own_constraint_refuses_waits_and_blocks_nothing,
    names_that_need_quotes_sync,
];

fn title(device: &Device) -> Option<String> {
    device.value("SELECT title FROM todos")
}

fn a_column_that_the_server_lacks_waits_until_it_has_it(backend: Backend) {
    let mut server = one_todo(backend);
    let a = device(&server);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.sql("UPDATE todos SET colour = 'red', title = 'new'");
    a.sql(&format!(
        "INSERT INTO todos (id, title, done, colour) VALUES ('{}', 'x', 0, 'blue')",
        id(2)
    ));
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.rejected), (2, 0), "{report:?}");
    let report = a.client().sync().unwrap();
    assert_eq!(report.pushed, 0);
    assert!(report.waiting[0].contains("colour"), "{report:?}");
    assert_eq!(a.client().status().unwrap().pending, 2);
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.waiting.len()), (2, 0), "{report:?}");
    assert_eq!(server.anonymous().row("todos", &id(1))["colour"], "red");
    assert_eq!(server.anonymous().row("todos", &id(2))["colour"], "blue");
    assert_eq!(a.client().status().unwrap().pending, 0);
    a.assert_equals(&server.anonymous(), "todos");
}

fn it_waits_in_every_mode(backend: Backend) {
    for mode in MODES {
        let mut server = one_todo(backend);
        let a = device(&server);
        sync(&a, mode);
        a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
        a.sql("UPDATE todos SET colour = 'red', title = 'new'");
        sync(&a, mode);
        let report = sync(&a, mode);
        assert!(report.waiting[0].contains("colour"), "{mode:?} {report:?}");
        server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
        server.restart();
        sync(&a, mode);
        let row = server.anonymous().row("todos", &id(1));
        assert_eq!(row["colour"], "red", "{mode:?}");
        a.assert_equals(&server.anonymous(), "todos");
    }
}

/// A device whose row 1 holds a colour, of which the server knows nothing.
fn coloured(server: &Server) -> Device {
    let a = device(server);
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT; UPDATE todos SET colour = 'red'");
    a.client().sync().unwrap();
    a
}

fn what_waited_in_a_row_that_goes_is_a_dead_letter(backend: Backend) {
    let server = one_todo(backend);
    let a = coloured(&server);
    let _ = server.client("ben").delete(&todo(1)).expect(200);
    a.sql("UPDATE todos SET title = 'mine'");
    a.client().sync().unwrap();
    assert_eq!(a.value("SELECT count(*) FROM todos").as_deref(), Some("0"));
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].code, "row_deleted");
    assert_eq!(letters[0].edit["columns"]["colour"]["value"], "red");
    assert_eq!(a.client().status().unwrap().pending, 0);
}

fn what_waited_in_a_row_that_is_refused_is_in_its_dead_letter(backend: Backend) {
    let mut server = todos(backend);
    let a = device(&server);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.sql("CREATE UNIQUE INDEX one_of_each ON todos (priority)");
    let taken = json!({ "id": id(2), "title": "first", "priority": 5 });
    let _ = server.client("ben").create_ago(60, "todos", &taken);
    a.sql(&format!(
        "INSERT INTO todos (id, title, done, priority, colour) VALUES ('{}', 'second', 0, 5, 'red')",
        id(1)
    ));
    a.client().sync().unwrap();
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters[0].edit["columns"]["colour"]["value"], "red");
    assert_eq!(a.client().status().unwrap().pending, 0);
    // It is made again with the colour.
    server.sql("DROP INDEX one_of_each; ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    a.client().retry_dead_letter(letters[0].number).unwrap();
    a.client().sync().unwrap();
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id(1))["colour"], "red");
    a.assert_equals(&server.anonymous(), "todos");
}

fn what_waited_of_a_replaced_row_waits_on_when_the_rest_is_refused(backend: Backend) {
    let mut server = one_todo(backend);
    server.sql("CREATE UNIQUE INDEX one_of_each ON todos (priority)");
    let taken = json!({ "id": id(2), "title": "first", "priority": 5 });
    let _ = server.client("ben").create_ago(60, "todos", &taken);
    let a = device(&server);
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.sql(&format!(
        "INSERT OR REPLACE INTO todos (id, title, priority, colour) VALUES ('{}', 'x', 5, 'red')",
        id(1)
    ));
    sync(&a, Mode::WholeRow);
    let letters = a.client().dead_letters().unwrap();
    a.client().retry_dead_letter(letters[0].number).unwrap();
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    sync(&a, Mode::TransactionLog);
    sync(&a, Mode::TransactionLog);
    let letters = a.client().dead_letters().unwrap();
    let is_told = letters
        .iter()
        .any(|letter| letter.edit.to_string().contains("red"));
    let row = server.anonymous().row("todos", &id(1));
    assert!(is_told || row["colour"] == "red", "{letters:?} {row}");
}

/// A device that has pulled a row of which it lacks a column, and now has that column.
fn without_note(server: &Server) -> Device {
    let a = Device::new(server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN note TEXT");
    a
}

fn an_edit_of_a_column_that_has_not_come_down_replaces_nothing_unseen(backend: Backend) {
    for mode in MODES {
        let server = one_todo(backend);
        let a = without_note(&server);
        a.sql("UPDATE todos SET note = 'mine'");
        sync(&a, mode);
        sync(&a, mode);
        let note = server.anonymous().row("todos", &id(1))["note"].clone();
        assert_eq!(note, "mine", "it is the later one");
        let lost = ledger(&server, "")[0]["lost"]["value"].to_string();
        assert!(lost.contains("old"), "{mode:?} {lost}");
        // Now it is in view.
        a.sql("UPDATE todos SET note = 'newer'");
        sync(&a, mode);
        assert_eq!(ledger(&server, "").len(), 1, "{mode:?}");
        let note = server.anonymous().row("todos", &id(1))["note"].clone();
        assert_eq!(note, "newer");
    }
}

fn a_whole_row_leaves_out_what_has_not_come_down(backend: Backend) {
    let server = one_todo(backend);
    let a = without_note(&server);
    a.sql("UPDATE todos SET title = 'mine'");
    sync(&a, MODES[2]);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("mine"), &json!("old"))
    );
    let note = a.value("SELECT note FROM todos");
    assert_eq!(note.as_deref(), Some("old"));
    assert!(ledger(&server, "").is_empty());
}

fn an_app_that_lacks_a_column_removes_no_value_of_it_untold(backend: Backend) {
    let mut server = Server::on(backend)
        .table(TODOS)
        .setting("hard_delete = true")
        .start();
    make_todo(&server, 1);
    make_todo(&server, 2);
    let path = todo(2);
    let _ = server
        .client("ben")
        .patch(&path, &json!({ "note": null }))
        .expect(200);
    let a = Device::new(&server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    a.sql("DELETE FROM todos");
    sync(&a, Mode::TransactionLog);
    // Of one that the server has got since, it hears when a value comes.
    make_todo(&server, 3);
    a.client().sync().unwrap();
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    let _ = server
        .client("ben")
        .patch(&todo(3), &json!({ "colour": "red" }))
        .expect(200);
    a.client().sync().unwrap();
    a.sql("DELETE FROM todos");
    sync(&a, Mode::TransactionLog);
    let (one, two, three) = (id(1), id(2), id(3));
    let entries = ledger(&server, "");
    let of = |row: &str| entries.iter().find(|entry| entry["row"] == row);
    let lost = &of(&one).unwrap()["lost"]["value"]["columns"];
    assert_eq!(
        (&lost["title"], &lost["note"]),
        (&json!("old"), &json!("old"))
    );
    assert!(of(&two).is_some(), "that it is NULL now is an edit, too");
    assert_eq!(
        of(&three).unwrap()["lost"]["value"]["columns"]["colour"],
        "red"
    );
}

/// The file starts over, because the server was restored, while an edit of the row waits for a column.
fn a_row_that_is_gone_goes_when_its_last_edit_is_taken_back(backend: Backend) {
    let server = one_todo(backend);
    let a = coloured(&server);
    let _ = server.client("ben").delete(&todo(1)).expect(200);
    a.sql("DELETE FROM colsync_meta WHERE name = 'cursor'");
    a.client().sync().unwrap();
    assert_eq!(a.value("SELECT colour FROM todos").as_deref(), Some("red"));
    a.client().undo("todos", &id(1)).unwrap();
    a.client().sync().unwrap();
    assert_eq!(a.value("SELECT count(*) FROM todos").as_deref(), Some("0"));
}

fn a_column_that_both_get_comes_down_although_nothing_is_pushed(backend: Backend) {
    let mut server = one_todo(backend);
    let a = device(&server);
    a.client().sync().unwrap();
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    let _ = server
        .client("ben")
        .patch(&todo(1), &json!({ "colour": "red" }))
        .expect(200);
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.client().sync().unwrap();
    assert_eq!(a.value("SELECT colour FROM todos").as_deref(), Some("red"));
}

fn a_row_that_is_made_anew_replaces_no_value_that_its_deleter_could_not_see(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    a.sql("DELETE FROM todos");
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN note TEXT");
    a.client().sync().unwrap();
    a.sql(&format!(
        "INSERT INTO todos (id, title, note) VALUES ('{}', 'anew', 'mine')",
        id(1)
    ));
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id(1))["note"], "mine");
    let entries = ledger(&server, "");
    let is_kept = |entry: &serde_json::Value| entry["lost"]["value"] == "old";
    assert!(entries.iter().any(is_kept), "{entries:?}");
}

fn a_column_that_the_app_lacks_is_ignored_and_fetched_once_it_has_it(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    assert_eq!(title(&a).as_deref(), Some("old"));
    let other = server.client("other");
    drop(
        other
            .patch(&todo(1), &json!({ "note": "seen by nobody here" }))
            .expect(200),
    );
    a.client().sync().unwrap();
    a.sql("UPDATE todos SET title = 'mine'");
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN note TEXT");
    a.client().sync().unwrap();
    let note = a.value("SELECT note FROM todos");
    assert_eq!(note.as_deref(), Some("seen by nobody here"));
    assert_eq!(title(&a).as_deref(), Some("mine"));
    let again = a.client().sync().unwrap();
    assert_eq!((again.pulled, again.pushed), (0, 0));
}

fn a_table_that_the_server_lacks_waits_until_it_has_it(backend: Backend) {
    let mut server = todos(backend);
    let a = device(&server);
    a.sql("CREATE TABLE later (id TEXT PRIMARY KEY NOT NULL, t TEXT); INSERT INTO later VALUES ('k', 'v');");
    a.client().track("later").unwrap();
    let report = a.client().sync().unwrap();
    assert_eq!(report.waiting, ["the server has no table later"]);
    let pending = a.client().pending().unwrap();
    assert_eq!(
        pending[0].waiting.as_deref(),
        Some("the server has no table later")
    );
    server.sql("CREATE TABLE later (id VARCHAR(40) PRIMARY KEY NOT NULL, t TEXT)");
    server.terminate();
    let adopted = server.run(&["adopt", "--table", "later"]);
    assert!(adopted.status.success(), "{adopted:?}");
    server.configure("[tables.later]");
    server.resume();
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.waiting.len()), (1, 0), "{report:?}");
    assert_eq!(server.anonymous().row("later", "k")["t"], "v");
}

fn a_table_of_another_key_waits_and_says_why(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server);
    a.sql("CREATE TABLE todos (id TEXT, title TEXT PRIMARY KEY NOT NULL); INSERT INTO todos VALUES ('a', 'b');");
    a.client().track("todos").unwrap();
    let report = a.client().sync().unwrap();
    assert_eq!(
        report.waiting,
        ["the key of todos is (title) here and (id) on the server"]
    );
    assert_eq!(a.dump("todos"), ["'a', 'b'"]);
}

fn a_column_that_the_app_adds_is_captured_with_what_was_written_before(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    // In one go, before anyone of colsync's looks at the file.
    a.sql(
        "ALTER TABLE todos ADD COLUMN priority INTEGER DEFAULT 1; UPDATE todos SET priority = 8;",
    );
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 8);
    a.sql("UPDATE todos SET priority = 9");
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 9);
}

fn a_required_column_with_a_default_may_be_left_out(backend: Backend) {
    let server = todos(backend);
    let a = device(&server);
    a.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'x')",
        id(1)
    ));
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.rejected), (1, 0));
    assert_eq!(a.value("SELECT done FROM todos").as_deref(), Some("0"));
    a.assert_equals(&server.anonymous(), "todos");
}

fn a_trigger_of_the_apps_own_is_captured_and_does_not_echo(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    for device in [&a, &b] {
        device.sql(
            "CREATE TRIGGER touched AFTER UPDATE OF title ON todos
             BEGIN UPDATE todos SET priority = coalesce(priority, 0) + 1 WHERE id = NEW.id; END",
        );
    }
    a.sql("UPDATE todos SET title = 'new'");
    let pending = a.client().pending().unwrap();
    assert_eq!(pending[0].columns["priority"].edited, 1);
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    for device in [&a, &b] {
        assert_eq!(
            device.value("SELECT priority FROM todos").as_deref(),
            Some("1")
        );
        device.client().sync().unwrap();
        assert!(device.client().pending().unwrap().is_empty());
    }
    // It is there again, and works; what it writes comes after what it was fired by.
    b.sql("UPDATE todos SET title = 'newer', priority = 7");
    assert_eq!(b.value("SELECT priority FROM todos").as_deref(), Some("8"));
    let original = b.client().original("todos", &id(1)).unwrap().unwrap();
    assert_eq!(
        (&original["title"], &original["priority"]),
        (&json!("new"), &json!(1))
    );
}

fn an_index_that_triggers_keep_follows_what_is_pulled(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql(
        "CREATE TABLE words (id TEXT PRIMARY KEY, title TEXT);
         INSERT INTO words SELECT id, title FROM todos;
         CREATE TRIGGER words_u AFTER UPDATE ON todos
         BEGIN UPDATE words SET title = NEW.title WHERE id = NEW.id; END;",
    );
    drop(
        server
            .client("other")
            .patch(&todo(1), &json!({ "title": "pulled" }))
            .expect(200),
    );
    a.client().sync().unwrap();
    assert_eq!(
        a.value("SELECT title FROM words").as_deref(),
        Some("pulled")
    );
}

fn a_row_that_the_apps_own_constraint_refuses_waits_and_blocks_nothing(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server);
    a.sql(
        "CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT CHECK (title <> 'never'), note TEXT)",
    );
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    let other = server.client("other");
    drop(
        other
            .patch(&todo(1), &json!({ "title": "never" }))
            .expect(200),
    );
    make_todo(&server, 2);
    a.client().sync().unwrap();
    assert_eq!(a.dump("todos").len(), 2);
    assert_eq!(a.client().status().unwrap().held, 1);
    // The app edits another column of the row meanwhile.
    a.sql(&format!(
        "UPDATE todos SET note = 'mine' WHERE id = '{}'",
        id(1)
    ));
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id(1))["note"], "mine");
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "never");
    assert_eq!(a.client().status().unwrap().held, 1);
    drop(
        other
            .patch(&todo(1), &json!({ "title": "fine" }))
            .expect(200),
    );
    a.client().sync().unwrap();
    assert_eq!(a.client().status().unwrap().held, 0);
    assert_eq!(a.dump("todos").len(), 2);
    let title = a.value(&format!("SELECT title FROM todos WHERE id = '{}'", id(1)));
    assert_eq!(title.as_deref(), Some("fine"));
}

fn names_that_need_quotes_sync(backend: Backend) {
    let sql = "CREATE TABLE \"select\" (\"group\" VARCHAR(30) PRIMARY KEY NOT NULL, \"a\"\"b'c\" TEXT, \"Wörter\" TEXT);";
    let server = Server::on(backend).before(sql).synced("select").start();
    let (a, b) = (device(&server), device(&server));
    a.sql("INSERT INTO \"select\" VALUES ('k', 'one', 'zwei')");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    b.sql("UPDATE \"select\" SET \"a\"\"b'c\" = 'edited'");
    b.client().sync().unwrap();
    a.client().sync().unwrap();
    assert_eq!(a.dump("select"), ["'k', 'edited', 'zwei'"]);
}
