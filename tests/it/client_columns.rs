//! Columns that one side lacks, or gets later than the other: nothing of them is lost, and nothing replaced unseen.

use colsync_client::{Mode, Progress};
use colsync_tests::tables::{LABELS, TODOS, id};
use colsync_tests::{Backend, Device, Fault, Plan, Proxy, Server, on_both};
use serde_json::json;

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;
use crate::{ledger, make_todo, one_todo, todo, todos};

on_both![
    a_column_that_the_server_lacks_waits_until_it_has_it,
    it_waits_in_every_mode,
    what_waited_in_a_row_that_goes_is_a_dead_letter,
    what_waited_in_a_row_that_is_refused_is_in_its_dead_letter,
    what_waited_of_a_replaced_row_waits_on_when_the_rest_is_refused,
    what_waited_of_a_replaced_row_is_sent_as_an_edit_of_it,
    what_a_frozen_push_left_out_waits_although_the_server_has_it_since,
    what_a_frozen_push_left_out_is_not_what_others_have_written_there,
    nor_is_it_what_the_server_gives_a_new_row,
    what_a_refused_push_left_out_waits_on,
    a_table_is_not_left_with_an_edit_of_a_new_column,
    a_column_that_the_app_lacks_is_ignored_and_fetched_once_it_has_it,
    an_edit_of_a_column_that_has_not_come_down_replaces_nothing_unseen,
    a_whole_row_leaves_out_what_has_not_come_down,
    an_app_that_lacks_a_column_removes_no_value_of_it_untold,
    a_row_that_is_gone_goes_when_its_last_edit_is_taken_back,
    a_column_that_both_get_comes_down_although_nothing_is_pushed,
    a_row_that_is_made_anew_replaces_no_value_that_its_deleter_could_not_see,
    what_a_row_that_is_made_anew_has_in_a_new_column_is_sent,
];

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

fn what_waited_of_a_replaced_row_is_sent_as_an_edit_of_it(backend: Backend) {
    let mut server = Server::on(backend)
        .table(TODOS)
        .setting("hard_delete = true")
        .start();
    make_todo(&server, 1);
    let a = device(&server);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.client().sync().unwrap();
    a.sql("DELETE FROM todos");
    a.sql(&format!(
        "INSERT INTO todos (id, title, done, colour) VALUES ('{}', 'x', 1, 'red')",
        id(1)
    ));
    sync(&a, Mode::WholeRow);
    sync(&a, Mode::TransactionLog);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(row["title"], "x");
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    sync(&a, Mode::TransactionLog);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["colour"]),
        (&json!("x"), &json!("red"))
    );
    a.client().sync().unwrap();
    a.assert_equals(&server.anonymous(), "todos");
}

fn what_a_frozen_push_left_out_waits_although_the_server_has_it_since(backend: Backend) {
    let mut server = one_todo(backend);
    let write = "UPDATE todos SET colour = 'red', title = 'new'";
    let fault = Fault::LoseAnswer;
    let (_proxy, a) = frozen_without_its_colour(&mut server, fault, write, "colour TEXT");
    a.client().sync().unwrap();
    a.client().sync().unwrap();
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["colour"]),
        (&json!("new"), &json!("red"))
    );
}

/// A device that has frozen a push without the colours that it wrote, as the server lacked them; it has them by the time
/// that the push comes, and may have more since then.
fn frozen_without_its_colour(
    server: &mut Server,
    fault: Fault,
    writes: &str,
    column: &str,
) -> (Proxy, Device) {
    let proxy = server.proxy(1);
    let a = Device::behind(&proxy).tracking(TODOS);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.client().sync().unwrap();
    a.sql(writes);
    let sent = a.client().sync_with(&|progress| {
        if matches!(progress, Progress::Pushing { .. }) {
            proxy.plan(Plan::default().with(fault, 1000));
        }
    });
    let _ = sent.unwrap_err();
    proxy.faults_off();
    server.sql(&format!("ALTER TABLE todos ADD COLUMN {column}"));
    server.restart();
    (proxy, a)
}

fn what_a_frozen_push_left_out_is_not_what_others_have_written_there(backend: Backend) {
    let mut server = one_todo(backend);
    let write = "UPDATE todos SET colour = 'red', title = 'new'";
    let (_proxy, a) = frozen_without_its_colour(&mut server, Fault::Refuse, write, "colour TEXT");
    after_blue(&server, &a);
    a.assert_equals(&server.anonymous(), "todos");
    the_colours_met(&server);
}

/// Somebody else writes to the column, and the device syncs.
#[track_caller]
fn after_blue(server: &Server, a: &Device) {
    let ben = server.client("ben");
    let _ = ben
        .patch(&todo(1), &json!({ "colour": "blue" }))
        .expect(200);
    a.client().sync().unwrap();
    a.client().sync().unwrap();
}

#[track_caller]
fn the_colours_met(server: &Server) {
    let entries = ledger(server, "column=colour");
    assert_eq!(entries.len(), 1, "{entries:?}");
    let values = ["kept", "lost"].map(|side| entries[0][side]["value"].clone());
    assert!(
        values.contains(&json!("red")) && values.contains(&json!("blue")),
        "{entries:?}"
    );
}

fn nor_is_it_what_the_server_gives_a_new_row(backend: Backend) {
    let mut server = todos(backend);
    let id = id(1);
    let write =
        format!("INSERT INTO todos (id, title, done, colour) VALUES ('{id}', 'new', 0, 'red')");
    let (_proxy, a) = frozen_without_its_colour(
        &mut server,
        Fault::Refuse,
        &write,
        "colour TEXT DEFAULT 'blue'",
    );
    a.client().sync().unwrap();
    a.client().sync().unwrap();
    assert_eq!(server.anonymous().row("todos", &id)["colour"], "red");
    a.assert_equals(&server.anonymous(), "todos");
}

fn what_a_refused_push_left_out_waits_on(backend: Backend) {
    let mut server = one_todo(backend);
    let write = "UPDATE todos SET colour = 'red', priority = 'many'";
    let (_proxy, a) = frozen_without_its_colour(&mut server, Fault::Refuse, write, "colour TEXT");
    after_blue(&server, &a);
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].edit["columns"]["priority"]["value"], "many");
    a.assert_equals(&server.anonymous(), "todos");
    the_colours_met(&server);
}

fn a_table_is_not_left_with_an_edit_of_a_new_column(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT; UPDATE todos SET colour = 'red'");
    let left = a.client().untrack("todos", false);
    assert!(
        matches!(left, Err(colsync_client::Error::Unpushed { edits: 1, .. })),
        "{left:?}"
    );
}

fn a_column_that_the_app_lacks_is_ignored_and_fetched_once_it_has_it(backend: Backend) {
    for is_alone in [true, false] {
        let server = Server::on(backend).table(TODOS).table(LABELS).start();
        let _ = server
            .anonymous()
            .create_ago(60, "todos", &json!({ "id": id(1), "title": "old" }));
        let mut a = with_titles(&server);
        if !is_alone {
            a = a.tracking(LABELS);
            a.client().sync().unwrap();
        }
        let title = || a.value("SELECT title FROM todos");
        assert_eq!(title().as_deref(), Some("old"));
        let note = json!({ "note": "seen by nobody here" });
        let _ = server.client("other").patch(&todo(1), &note).expect(200);
        a.client().sync().unwrap();
        a.sql("UPDATE todos SET title = 'mine'");
        a.client().sync().unwrap();
        a.sql("ALTER TABLE todos ADD COLUMN note TEXT");
        a.client().sync().unwrap();
        let note = a.value("SELECT note FROM todos");
        assert_eq!(note.as_deref(), Some("seen by nobody here"));
        assert_eq!(title().as_deref(), Some("mine"));
        let again = a.client().sync().unwrap();
        assert_eq!((again.pulled, again.pushed), (0, 0));
    }
}

/// A device that has pulled the rows, and of their columns the titles alone.
fn with_titles(server: &Server) -> Device {
    let a = Device::new(server);
    a.sql("CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)");
    a.client().track("todos").unwrap();
    a.client().sync().unwrap();
    a
}

/// A device that has pulled a row of which it lacks a column, and now has that column.
fn without_note(server: &Server) -> Device {
    let a = with_titles(server);
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
    let a = with_titles(&server);
    a.sql("DELETE FROM todos");
    sync(&a, Mode::TransactionLog);
    // Of one that the server has got since, it hears when a value comes.
    let three = json!({ "id": id(3), "title": "old" });
    let _ = server.client("ben").create_ago(60, "todos", &three);
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
    // No row has changed for that.
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT DEFAULT 'blue'");
    server.restart();
    a.client().sync().unwrap();
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    a.client().sync().unwrap();
    assert_eq!(a.value("SELECT colour FROM todos").as_deref(), Some("blue"));
}

fn a_row_that_is_made_anew_replaces_no_value_that_its_deleter_could_not_see(backend: Backend) {
    for is_alone in [true, false] {
        let server = Server::on(backend).table(TODOS).table(LABELS).start();
        make_todo(&server, 1);
        let mut a = with_titles(&server);
        if !is_alone {
            a = a.tracking(LABELS);
            a.client().sync().unwrap();
        }
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
}

fn what_a_row_that_is_made_anew_has_in_a_new_column_is_sent(backend: Backend) {
    for mode in MODES {
        let server = one_todo(backend);
        let a = without_note(&server);
        a.sql("DELETE FROM todos");
        // The file learns of the column between the two.
        assert_eq!(a.client().pending().unwrap().len(), 1);
        a.sql(&format!(
            "INSERT INTO todos (id, title, note) VALUES ('{}', 'anew', 'mine')",
            id(1)
        ));
        sync(&a, mode);
        let row = server.anonymous().row("todos", &id(1));
        assert_eq!(
            (&row["title"], &row["note"]),
            (&json!("anew"), &json!("mine")),
            "{mode:?}"
        );
        assert_eq!(a.value("SELECT note FROM todos").as_deref(), Some("mine"));
    }
}
