//! Files and servers that go back in time: copies and restored backups.

use colsync_tests::device::until;
use colsync_tests::edits::update;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Fault, Plan, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::client_sync::device;
use crate::{ledger, make_todo, one_todo, todos};

on_both![
    a_copied_file_goes_on_as_another_client,
    a_file_restored_from_a_backup_goes_on_as_another_client,
    a_push_whose_answer_was_lost_is_repeated_and_done_once,
    pushes_that_a_restored_server_lost_are_sent_again,
    what_a_restored_server_got_again_is_kept_as_if_it_were_new,
    what_is_sent_again_has_seen_nothing_of_what_came_before_it,
    what_a_restored_server_makes_of_pushes_sent_again_comes_down,
    what_is_refused_of_a_push_sent_again_is_told_though_its_answer_was_lost,
    a_server_restored_to_before_the_client_gets_the_clients_edits_again,
    a_version_of_a_lost_history_does_not_make_another_value_look_seen,
    a_version_from_before_a_row_was_removed_never_means_its_successor,
    a_tracked_table_with_rows_is_sent_whole,
    a_table_untracked_and_tracked_again_is_what_the_server_has,
    a_long_backlog_is_worked_off,
    a_file_of_the_first_version_goes_on,
    a_file_of_the_second_version_gets_new_triggers,
];

pub(crate) fn insert(device: &Device, number: u64, title: &str) {
    device.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{}', '{title}', 0)",
        id(number)
    ));
}

/// A copy of a file as a backup makes it.
fn copy(from: &Device, to: &Device) {
    drop(std::fs::remove_file(to.path()));
    from.sql(&format!("VACUUM INTO '{}'", to.path().display()));
}

#[track_caller]
pub(crate) fn converge(server: &Server, devices: &[&Device]) {
    for _ in 0..2 {
        for device in devices {
            device.client().sync().unwrap();
        }
    }
    for device in devices {
        device.assert_equals(&server.anonymous(), "todos");
        assert!(device.client().pending().unwrap().is_empty());
    }
}

/// Two titles met as a conflict: one of them stands, and the other is told.
#[track_caller]
pub(crate) fn the_ledger_has_both(server: &Server, one: &str, other: &str) -> Json {
    let entries = ledger(server, "column=title");
    assert_eq!(entries.len(), 1, "{entries:?}");
    let values = [&entries[0]["kept"]["value"], &entries[0]["lost"]["value"]];
    assert!(values.contains(&&json!(one)), "{entries:?}");
    assert!(values.contains(&&json!(other)), "{entries:?}");
    entries[0].clone()
}

fn a_copied_file_goes_on_as_another_client(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), Device::new(&server));
    insert(&a, 2, "before");
    a.client().sync().unwrap();
    copy(&a, &b);
    insert(&a, 3, "of the file");
    insert(&b, 4, "of the copy");
    a.sql("UPDATE todos SET note = 'of the file'");
    b.sql("UPDATE todos SET title = 'of the copy' WHERE note = 'old'");
    converge(&server, &[&a, &b]);
    assert_ne!(
        a.client().status().unwrap().client,
        b.client().status().unwrap().client
    );
    assert_eq!(a.dump("todos").len(), 4);
    let both = a.value(&format!(
        "SELECT title || ', ' || note FROM todos WHERE id = '{}'",
        id(1)
    ));
    assert_eq!(both.as_deref(), Some("of the copy, of the file"));
    assert!(ledger(&server, "").is_empty());
}

fn a_file_restored_from_a_backup_goes_on_as_another_client(backend: Backend) {
    let server = one_todo(backend);
    let (a, backup) = (device(&server), Device::new(&server));
    insert(&a, 2, "kept");
    copy(&a, &backup);
    a.client().sync().unwrap();
    insert(&a, 3, "after the backup");
    a.client().sync().unwrap();
    copy(&backup, &a);
    assert_eq!(a.dump("todos").len(), 2);
    // The backup has an edit that was pushed since, and gets one that was not.
    insert(&a, 4, "after the restore");
    converge(&server, &[&a]);
    assert_eq!(a.dump("todos").len(), 4);
    assert!(ledger(&server, "").is_empty());
}

fn a_push_whose_answer_was_lost_is_repeated_and_done_once(backend: Backend) {
    let server = todos(backend);
    let proxy = server.proxy(1);
    let a = Device::behind(&proxy).tracking(TODOS);
    let plan = Plan::default().with(Fault::LoseAnswer, 1000);
    insert(&a, 1, "once");
    a.client().sync().unwrap();
    a.sql("UPDATE todos SET title = 'twice?'");
    proxy.plan(plan);
    for _ in 0..3 {
        assert!(a.client().sync().is_err());
    }
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "twice?");
    proxy.faults_off();
    let report = a.client().sync().unwrap();
    assert_eq!(report.applied, 1);
    let versions = server.value("SELECT sync_version FROM todos");
    assert_eq!(versions.as_deref(), Some("2"));
}

fn pushes_that_a_restored_server_lost_are_sent_again(backend: Backend) {
    let mut server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    insert(&a, 2, "before the backup");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    let backup = server.back_up();
    insert(&a, 3, "lost");
    a.sql(&format!(
        "UPDATE todos SET title = 'lost, too' WHERE id = '{}'",
        id(1)
    ));
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    a.sql(&format!(
        "UPDATE todos SET note = 'and this' WHERE id = '{}'",
        id(1)
    ));
    a.client().sync().unwrap();
    server.go_back(&backup);
    insert(&a, 4, "after the restore");
    converge(&server, &[&a, &b]);
    assert_eq!(a.dump("todos").len(), 4);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (row["title"].as_str(), row["note"].as_str()),
        (Some("lost, too"), Some("and this"))
    );
}

fn what_a_restored_server_got_again_is_kept_as_if_it_were_new(backend: Backend) {
    let mut server = one_todo(backend);
    let a = device(&server);
    let backup = server.back_up();
    insert(&a, 2, "of long ago");
    a.client().sync().unwrap();
    // Longer than pushes are kept for a server that may lose them.
    a.sql("UPDATE colsync_pushes SET settled_at_ms = settled_at_ms - 40 * 86400000");
    for number in [3, 4] {
        server.go_back(&backup);
        insert(&a, number, "after a restore");
        converge(&server, &[&a]);
    }
    assert_eq!(a.dump("todos").len(), 4);
    assert!(a.client().dead_letters().unwrap().is_empty());
}

fn what_is_sent_again_has_seen_nothing_of_what_came_before_it(backend: Backend) {
    let mut server = one_todo(backend);
    let (a, b, c) = (device(&server), device(&server), device(&server));
    let backup = server.back_up();
    let write = |device: &Device, title: &str| {
        device.sql(&format!(
            "UPDATE todos SET title = '{title}' WHERE id = '{}'",
            id(1)
        ));
    };
    write(&a, "of a, offline");
    write(&b, "of b");
    b.client().sync().unwrap();
    c.client().sync().unwrap();
    // From the second version of the row, which will be another one.
    write(&c, "of c over b");
    c.client().sync().unwrap();
    server.go_back(&backup);
    converge(&server, &[&a, &c, &b]);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(row["title"], "of c over b");
    let lost = ledger(&server, "").into_iter();
    let mut lost: Vec<String> = lost.map(|one| one["lost"]["value"].to_string()).collect();
    lost.sort();
    assert!(lost.contains(&r#""of a, offline""#.to_owned()), "{lost:?}");
    assert!(lost.contains(&r#""of b""#.to_owned()), "{lost:?}");
}

fn what_a_restored_server_makes_of_pushes_sent_again_comes_down(backend: Backend) {
    let mut server = Server::on(backend)
        .table(TODOS)
        .policy("priority", "counter")
        .start();
    let row = json!({ "id": id(1), "title": "t", "priority": 10 });
    server.client("maker").create_ago(60, "todos", &row);
    let proxy = server.proxy(1);
    let (a, b) = (Device::behind(&proxy).tracking(TODOS), device(&server));
    a.client().sync().unwrap();
    let backup = server.back_up();
    // The push gets through and no pull does: the cursor is one that the restored server knows.
    proxy.plan(Plan::default().with(Fault::Truncate, 1000));
    a.sql("UPDATE todos SET priority = priority + 1");
    assert!(a.client().sync().is_err());
    proxy.faults_off();
    server.go_back(&backup);
    b.sql("UPDATE todos SET priority = priority + 5");
    b.client().sync().unwrap();
    // Sent again, it meets what it had not met.
    converge(&server, &[&a, &b]);
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 16);
}

fn what_is_refused_of_a_push_sent_again_is_told_though_its_answer_was_lost(backend: Backend) {
    let mut server = todos(backend);
    let backup = server.back_up();
    make_todo(&server, 1);
    let a = device(&server);
    a.client().sync().unwrap();
    a.sql("UPDATE todos SET title = 'of a lost row'");
    a.client().sync().unwrap();
    server.terminate();
    server.restore(&backup);
    server.resume_until("push.committed", 1);
    a.client().sync().unwrap_err();
    until("the server is killed", || server.ended().is_some());
    server.resume();
    a.client().sync().unwrap();
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let title = &letters[0].edit["columns"]["title"]["value"];
    assert_eq!(title, "of a lost row");
}

fn a_server_restored_to_before_the_client_gets_the_clients_edits_again(backend: Backend) {
    let mut server = one_todo(backend);
    let backup = server.back_up();
    let a = device(&server);
    for number in 2..6 {
        insert(&a, number, "made");
        a.client().sync().unwrap();
    }
    server.go_back(&backup);
    converge(&server, &[&a]);
    assert_eq!(a.dump("todos").len(), 5);
}

fn a_version_of_a_lost_history_does_not_make_another_value_look_seen(backend: Backend) {
    let mut server = todos(backend);
    let backup = server.back_up();
    make_todo(&server, 1);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE todos SET title = 'made of the lost row'");
    server.go_back(&backup);
    b.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(1)));
    b.client().sync().unwrap();
    // Both the lost row and this one are at version 1.
    insert(&b, 1, "of the new history");
    b.client().sync().unwrap();
    converge(&server, &[&a, &b]);
    let entry = the_ledger_has_both(&server, "of the new history", "made of the lost row");
    assert_eq!(entry["policy"], "last_writer_wins");
}

fn a_version_from_before_a_row_was_removed_never_means_its_successor(backend: Backend) {
    let mut server = one_todo(backend);
    let device = device(&server);
    device.sql("UPDATE todos SET title = 'made of the removed row'");
    server.sql("DELETE FROM todos");
    server.terminate();
    // Years go by.
    server.sql(
        "UPDATE colsync_tombstones SET deleted_at = 0; UPDATE colsync_anchors SET recorded_at = 0;
         UPDATE colsync_clients SET pulled_at = 0",
    );
    server.resume();
    until("the house is kept", || {
        server
            .value("SELECT CAST(count(*) AS TEXT) FROM colsync_anchors")
            .as_deref()
            == Some("0")
    });
    make_todo(&server, 1);
    device.client().sync().unwrap();
    the_ledger_has_both(&server, "old", "made of the removed row");
    // Nor does that of a client that does not say where it was.
    let note = json!({ "note": "made of the removed row" });
    let edit = update("todos", &id(1), 1, &ago(-1), &note);
    assert_eq!(server.client("late").push_one(edit)["status"], "ok");
    assert_eq!(ledger(&server, "column=note").len(), 1);
}

fn a_tracked_table_with_rows_is_sent_whole(backend: Backend) {
    let server = todos(backend);
    let a = Device::new(&server);
    a.sql(TODOS.sqlite);
    insert(&a, 1, "there before");
    insert(&a, 2, "there before");
    assert_eq!(a.client().track("TODOS").unwrap().existing, 2);
    assert_eq!(a.client().track("todos").unwrap().existing, 0);
    assert_eq!(a.client().sync().unwrap().pushed, 2);
    a.assert_equals(&server.anonymous(), "todos");
    // Another device had the same row before it knew of the server.
    let b = Device::new(&server);
    b.sql(TODOS.sqlite);
    insert(&b, 1, "there before");
    b.sql("UPDATE todos SET note = 'only here'");
    b.client().track("todos").unwrap();
    converge(&server, &[&b, &a]);
    assert_eq!(
        a.value("SELECT note FROM todos WHERE note IS NOT NULL")
            .as_deref(),
        Some("only here")
    );
}

fn a_table_untracked_and_tracked_again_is_what_the_server_has(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE todos SET note = 'unpushed'");
    assert!(matches!(
        a.client().untrack("todos", false),
        Err(colsync_client::Error::Unpushed { edits: 1, .. })
    ));
    a.client().sync().unwrap();
    a.client().untrack("todos", false).unwrap();
    a.sql("UPDATE todos SET title = 'written while untracked'");
    drop(
        server
            .client("other")
            .patch(&crate::todo(1), &json!({ "priority": 4 }))
            .expect(200),
    );
    make_todo(&server, 2);
    a.client().track("todos").unwrap();
    converge(&server, &[&a, &b]);
    assert_eq!(a.dump("todos").len(), 2);
}

fn a_long_backlog_is_worked_off(backend: Backend) {
    let server = todos(backend);
    let a = Device::new(&server);
    a.sql(TODOS.sqlite);
    a.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 22000)
         INSERT INTO todos (id, title, done)
         SELECT printf('018f0000-0000-7000-8000-%012d', i), 'row ' || i, 0 FROM n",
    );
    a.client().track("todos").unwrap();
    assert_eq!(a.client().sync().unwrap().pushed, 22_000);
    let indexes = "SELECT count(*) FROM sqlite_master WHERE name = 'colsync_log_rows'";
    assert_eq!(a.value(indexes).as_deref(), Some("0"));
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("22000")
    );
    assert_eq!(
        a.value("SELECT count(*) FROM colsync_log").as_deref(),
        Some("0")
    );
}

fn a_file_of_the_first_version_goes_on(backend: Backend) {
    let server = one_todo(backend);
    let device = device(&server);
    insert(&device, 2, "before");
    device.client().sync().unwrap();
    // As the first version had it.
    device.sql(
        "ALTER TABLE colsync_pushes DROP COLUMN mode;
         UPDATE colsync_meta SET value = '1' WHERE name = 'format'",
    );
    insert(&device, 3, "after");
    let report = device.client().sync().unwrap();
    assert_eq!(report.pushed, 1);
    device.assert_equals(&server.anonymous(), "todos");
    // A file of a later version is left alone.
    device.sql("UPDATE colsync_meta SET value = '4' WHERE name = 'format'");
    let told = device.run(&["sync"]);
    assert_eq!(told.status.code(), Some(1));
}

fn a_file_of_the_second_version_gets_new_triggers(backend: Backend) {
    let server = one_todo(backend);
    let (other, device) = (device(&server), device(&server));
    // As the second version had it: a row in a table made its triggers look away.
    device.sql(
        "CREATE TABLE colsync_applying (yes INTEGER PRIMARY KEY);
         DROP TRIGGER colsync_1_insert;
         CREATE TRIGGER colsync_1_insert AFTER INSERT ON todos FOR EACH ROW
         WHEN NOT EXISTS (SELECT 1 FROM colsync_applying) BEGIN
             INSERT INTO colsync_log (op, table_number, row_id, at_ms) VALUES (1, 1, NEW.id, 1700000000000);
         END;
         UPDATE colsync_meta SET value = '2' WHERE name = 'format';
         UPDATE colsync_meta SET value = (SELECT schema_version FROM pragma_schema_version) || '/1'
         WHERE name = 'schema_version'",
    );
    insert(&device, 2, "by the old triggers");
    insert(&other, 3, "of another");
    other.client().sync().unwrap();
    let report = device.client().sync().unwrap();
    assert_eq!(report.pushed, 1);
    // What the pull brought is not taken for the app's.
    assert!(device.client().pending().unwrap().is_empty());
    let left = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%colsync_applying%'";
    assert_eq!(device.value(left).as_deref(), Some("0"));
    insert(&device, 4, "by the new triggers");
    converge(&server, &[&device, &other]);
    assert_eq!(device.dump("todos").len(), 4);
}
