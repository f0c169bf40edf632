//! The scenarios that differential sync was first described by, told as one story; and the faults of its first
//! sample, which this client must not have.

use colsync_client::Op;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Fault, Plan, on_both};
use serde_json::json;

use crate::client_sync::device;
use crate::{ledger, one_todo, todos};

on_both![
    two_offices_share_their_contacts,
    every_changed_column_is_sent_and_not_the_first_alone,
    the_original_is_what_was_there_before_the_first_edit,
    rows_that_were_pulled_are_not_dirty_and_do_not_come_back,
    the_cursor_is_no_clock,
    a_new_row_goes_the_same_way_as_a_changed_one,
    times_decide_where_both_sides_changed_a_column,
];

#[track_caller]
fn all_equal(server: &colsync_tests::Server, devices: &[&Device]) {
    for device in devices {
        device.assert_equals(&server.anonymous(), "todos");
        assert!(device.client().pending().unwrap().is_empty());
    }
}

#[track_caller]
fn sync(device: &Device) {
    device.client().sync().unwrap();
}

fn two_offices_share_their_contacts(backend: Backend) {
    // 1. Both get what is there.
    let server = one_todo(backend);
    let (east, west) = (device(&server), device(&server));
    all_equal(&server, &[&east, &west]);

    // 2. Each adds a row.
    let add = |device: &Device, number: u64, title: &str| {
        device.sql(&format!(
            "INSERT INTO todos (id, title, done) VALUES ('{}', '{title}', 0)",
            id(number)
        ));
    };
    add(&east, 2, "of the east");
    add(&west, 3, "of the west");
    [&east, &west, &east].into_iter().for_each(sync);
    assert_eq!(east.dump("todos").len(), 3);
    all_equal(&server, &[&east, &west]);

    // 3. One deletes a row.
    east.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(3)));
    [&east, &west].into_iter().for_each(sync);
    assert_eq!(west.dump("todos").len(), 2);
    all_equal(&server, &[&east, &west]);

    // 4. One changes a row.
    west.sql(&format!(
        "UPDATE todos SET title = 'changed' WHERE id = '{}'",
        id(2)
    ));
    [&west, &east].into_iter().for_each(sync);
    all_equal(&server, &[&east, &west]);

    // 5. Both change other columns of one row, and sync in the other order than they wrote.
    east.sql(&format!(
        "UPDATE todos SET title = 'written first' WHERE id = '{}'",
        id(1)
    ));
    west.sql(&format!(
        "UPDATE todos SET note = 'written later' WHERE id = '{}'",
        id(1)
    ));
    [&west, &east, &west].into_iter().for_each(sync);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("written first"), &json!("written later"))
    );
    all_equal(&server, &[&east, &west]);
    assert!(ledger(&server, "").is_empty());
}

fn every_changed_column_is_sent_and_not_the_first_alone(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql("UPDATE todos SET title = 't', note = 'n', done = 1, priority = 5, data = '[1]'");
    let pending = a.client().pending().unwrap();
    let names: Vec<&str> = pending[0].columns.keys().map(String::as_str).collect();
    assert_eq!(names, ["data", "done", "note", "priority", "title"]);
    sync(&a);
    all_equal(&server, &[&a]);
    assert_eq!(server.anonymous().row("todos", &id(1))["priority"], 5);
}

fn the_original_is_what_was_there_before_the_first_edit(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    for title in ["one", "two", "three"] {
        a.sql(&format!("UPDATE todos SET title = '{title}'"));
    }
    let diff = &a.client().pending().unwrap()[0].columns["title"];
    assert_eq!(
        (&diff.original, &diff.edited),
        (&json!("old"), &json!("three"))
    );
    // Back to the Original is no edit.
    a.sql("UPDATE todos SET title = 'old'");
    assert!(a.client().pending().unwrap().is_empty());
    assert_eq!(a.client().sync().unwrap().pushed, 0);
}

fn rows_that_were_pulled_are_not_dirty_and_do_not_come_back(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE todos SET title = 'of a'");
    sync(&a);
    let version = || server.value("SELECT sync_version FROM todos");
    let before = version();
    for _ in 0..3 {
        for device in [&b, &a] {
            let report = device.client().sync().unwrap();
            assert_eq!(report.pushed, 0);
        }
    }
    assert_eq!(version(), before);
    let idle = b.client().sync().unwrap();
    assert_eq!((idle.pulled, idle.removed), (0, 0));
}

fn the_cursor_is_no_clock(backend: Backend) {
    let server = todos(backend);
    let proxy = server.proxy(5);
    let a = Device::behind(&proxy).tracking(TODOS);
    let settings = colsync_client::Settings {
        server: Some(a.url()),
        // A day ahead: by this clock nothing would ever be new.
        clock: colsync_client::Clock::ahead_by(24 * 3600 * 1_000_000),
        ..colsync_client::Settings::default()
    };
    let client = colsync_client::Client::open(a.path(), settings).unwrap();
    client.sync().unwrap();
    for number in 1..4 {
        crate::make_todo(&server, number);
        proxy.plan(Plan::default().with(Fault::CutAnswer, 500));
        drop(client.sync());
        proxy.faults_off();
        client.sync().unwrap();
        assert_eq!(a.dump("todos").len() as u64, number);
    }
}

fn a_new_row_goes_the_same_way_as_a_changed_one(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql(&format!(
        "UPDATE todos SET title = 'changed';
         INSERT INTO todos (id, title, done) VALUES ('{0}', 'new', 0);
         UPDATE todos SET note = 'edited before it was ever sent' WHERE id = '{0}';",
        id(2)
    ));
    let mut ops: Vec<Op> = a
        .client()
        .pending()
        .unwrap()
        .iter()
        .map(|edit| edit.op)
        .collect();
    ops.sort_by_key(|op| format!("{op:?}"));
    assert_eq!(ops, [Op::Insert, Op::Update]);
    assert_eq!(a.client().sync().unwrap().applied, 2);
    sync(&b);
    all_equal(&server, &[&a, &b]);
    let note = b.value(&format!("SELECT note FROM todos WHERE id = '{}'", id(2)));
    assert_eq!(note.as_deref(), Some("edited before it was ever sent"));
}

fn times_decide_where_both_sides_changed_a_column(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    b.sql("UPDATE todos SET title = 'earlier'");
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    a.sql("UPDATE todos SET title = 'later'");
    // The later one arrives first, and stays.
    [&a, &b, &a].into_iter().for_each(sync);
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "later");
    all_equal(&server, &[&a, &b]);
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], "earlier");
    assert_eq!(b.client().conflicts().unwrap()[0].outcome, "superseded");
}
