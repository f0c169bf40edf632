//! Tables that are not the same on both sides: tables that one side lacks, and apps that change theirs; and triggers of
//! the app's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use colsync_client::Progress;
use colsync_tests::tables::{LABELS, TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;
use crate::{make_todo, one_todo, todo, todos};

on_both![
    a_table_that_the_server_lacks_waits_until_it_has_it,
    a_table_that_the_server_has_no_more_stays_out_and_the_others_come,
    an_empty_table_that_the_server_gets_later_is_filled,
    a_column_that_the_server_gets_later_than_the_app_is_filled,
    a_table_of_another_key_waits_and_says_why,
    a_column_that_the_app_adds_is_captured_with_what_was_written_before,
    a_required_column_with_a_default_may_be_left_out,
    a_trigger_of_the_apps_own_is_captured_and_does_not_echo,
    an_index_that_triggers_keep_follows_what_is_pulled,
    a_refused_edit_is_not_made_again_without_a_column_that_is_gone,
    a_row_that_the_apps_own_constraint_refuses_waits_and_blocks_nothing,
    names_that_need_quotes_sync,
    a_table_of_one_letter_may_get_a_column,
];

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
    get_later(&mut server);
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.waiting.len()), (1, 0), "{report:?}");
    assert_eq!(server.anonymous().row("later", "k")["t"], "v");
}

/// The server gets the table `later`.
fn get_later(server: &mut Server) {
    server.sql("CREATE TABLE later (id VARCHAR(40) PRIMARY KEY NOT NULL, t TEXT)");
    server.terminate();
    let adopted = server.run(&["adopt", "--table", "later"]);
    assert!(adopted.status.success(), "{adopted:?}");
    server.configure("[tables.later]");
    server.resume();
}

fn a_table_that_the_server_has_no_more_stays_out_and_the_others_come(backend: Backend) {
    let mut server = Server::on(backend).table(TODOS).table(LABELS).start();
    let ben = server.client("ben");
    make_todo(&server, 1);
    let label = json!({ "code": "k", "meaning": "old" });
    let _ = ben.create_ago(60, "labels", &label);
    let a = device(&server);
    let alone = Device::new(&server).tracking(LABELS);
    alone.client().sync().unwrap();
    server.configure_without("labels");
    server.restart();
    let _ = ben.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    assert_eq!(a.client().sync().unwrap().pulled, 1);
    assert_eq!(a.value("SELECT title FROM todos").as_deref(), Some("new"));
    assert_eq!(alone.client().sync().unwrap().pulled, 0);
    for device in [&a, &alone] {
        assert_eq!(device.dump("labels"), ["'k', 'old'"]);
        let tables = device.client().status().unwrap().tables;
        let labels = tables.iter().find(|table| table.name == "labels").unwrap();
        let why = labels.stays_out.as_deref();
        assert_eq!(why, Some("the server has no table labels"));
    }
    a.sql("UPDATE labels SET meaning = 'mine'");
    let report = a.client().sync().unwrap();
    assert_eq!(report.waiting, ["the server has no table labels"]);
    // Once it is there again, so are its rows.
    server.configure("[tables.labels]");
    server.restart();
    let more = json!({ "code": "l", "meaning": "of ben" });
    let _ = ben.create_ago(60, "labels", &more);
    for device in [&a, &alone] {
        device.client().sync().unwrap();
        device.assert_equals(&server.anonymous(), "labels");
        let mut tables = device.client().status().unwrap().tables.into_iter();
        assert!(tables.all(|table| table.stays_out.is_none()));
    }
    assert_eq!(server.anonymous().row("labels", "k")["meaning"], "mine");
}

/// How often a sync asks for the server's schema.
#[track_caller]
fn asked(device: &Device) -> usize {
    let asked = AtomicUsize::new(0);
    let done = device.client().sync_with(&|progress| {
        if matches!(progress, Progress::Schema) {
            asked.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(done.is_ok(), "{done:?}");
    asked.into_inner()
}

fn an_empty_table_that_the_server_gets_later_is_filled(backend: Backend) {
    let mut server = todos(backend);
    let a = device(&server);
    assert_eq!(asked(&a), 0, "all is there");
    a.sql("CREATE TABLE later (id TEXT PRIMARY KEY NOT NULL, t TEXT)");
    a.client().track("later").unwrap();
    assert_eq!((asked(&a), asked(&a)), (1, 1));
    get_later(&mut server);
    let row = json!({ "id": "k", "t": "v" });
    let _ = server.client("ben").create_ago(60, "later", &row);
    // It pushes nothing, from which it could hear of it.
    assert_eq!(asked(&a), 1);
    assert_eq!(a.dump("later"), ["'k', 'v'"]);
    assert_eq!(asked(&a), 0);
}

fn a_column_that_the_server_gets_later_than_the_app_is_filled(backend: Backend) {
    let mut server = one_todo(backend);
    let a = device(&server);
    a.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    assert_eq!((asked(&a), asked(&a)), (1, 1));
    // No row has changed for that.
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT DEFAULT 'blue'");
    server.restart();
    assert_eq!(asked(&a), 1);
    assert_eq!(a.value("SELECT colour FROM todos").as_deref(), Some("blue"));
    assert_eq!(asked(&a), 0);
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
    for mode in MODES {
        let server = todos(backend);
        let a = device(&server);
        a.sql(&format!(
            "INSERT INTO todos (id, title) VALUES ('{}', 'x')",
            id(1)
        ));
        let report = sync(&a, mode);
        assert_eq!((report.pushed, report.rejected), (1, 0), "{mode:?}");
        assert_eq!(a.value("SELECT done FROM todos").as_deref(), Some("0"));
        a.assert_equals(&server.anonymous(), "todos");
        // What the app says itself is told.
        a.sql("UPDATE todos SET done = NULL");
        assert_eq!(sync(&a, mode).rejected, 1, "{mode:?}");
        a.assert_equals(&server.anonymous(), "todos");
    }
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

fn a_refused_edit_is_not_made_again_without_a_column_that_is_gone(backend: Backend) {
    let mut server = one_todo(backend);
    server.sql("CREATE UNIQUE INDEX one_of_each ON todos (priority)");
    let taken = json!({ "id": id(2), "title": "first", "priority": 5 });
    let _ = server.client("ben").create_ago(60, "todos", &taken);
    let a = device(&server);
    let write = "UPDATE todos SET priority = 5, note = 'mine' WHERE title = 'old'";
    a.sql(write);
    assert_eq!(a.client().sync().unwrap().rejected, 1);
    let letter = a.client().dead_letters().unwrap()[0].number;
    let is_refused = || {
        let before = a.dump("todos");
        let retried = a.client().retry_dead_letter(letter);
        let told = "no column todos.note";
        assert!(
            matches!(&retried, Err(why) if why.to_string() == told),
            "{retried:?}"
        );
        assert_eq!(a.dump("todos"), before);
        assert_eq!(a.client().dead_letters().unwrap().len(), 1);
    };
    a.sql("ALTER TABLE todos RENAME COLUMN note TO remark");
    is_refused();
    a.sql("ALTER TABLE todos RENAME COLUMN remark TO note");
    server.sql("DROP INDEX one_of_each; ALTER TABLE todos RENAME COLUMN note TO remark");
    server.restart();
    a.sql("UPDATE todos SET done = 1");
    a.client().sync().unwrap();
    is_refused();
    // Once both have it again, all of the edit is made.
    server.sql("ALTER TABLE todos RENAME COLUMN remark TO note");
    server.restart();
    a.client().sync().unwrap();
    a.client().retry_dead_letter(letter).unwrap();
    a.client().sync().unwrap();
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["priority"], &row["note"]),
        (&json!(5), &json!("mine"))
    );
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

/// Colsync's own SQL stands beside the app's names.
fn a_table_of_one_letter_may_get_a_column(backend: Backend) {
    for table in ["d", "l", "s", "t"] {
        let sql = format!(
            "CREATE TABLE {table} (id VARCHAR(30) PRIMARY KEY NOT NULL, value TEXT, note TEXT)"
        );
        let server = Server::on(backend).before(&sql).synced(table).start();
        let a = Device::new(&server);
        a.sql(&format!(
            "CREATE TABLE {table} (id TEXT PRIMARY KEY NOT NULL, value TEXT)"
        ));
        a.client().track(table).unwrap();
        a.sql(&format!(
            "INSERT INTO {table} VALUES ('k', 'v');
             ALTER TABLE {table} ADD COLUMN note TEXT DEFAULT 'none';
             UPDATE {table} SET note = 'some';"
        ));
        assert_eq!(a.client().sync().unwrap().pushed, 1);
        assert_eq!(server.anonymous().row(table, "k")["note"], "some");
    }
}
