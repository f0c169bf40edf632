//! The client's sync: what two devices and a server make of each other's edits, also of those that are made
//! while a sync is under way.

use std::sync::atomic::{AtomicBool, Ordering};

use colsync_client::{Error, Op, Progress, Report};
use colsync_tests::tables::{ITEMS, LISTS, MEMBERS, TODOS, id};
use colsync_tests::{Backend, Device, Fault, Plan, Server, on_both};
use serde_json::json;

use crate::{ledger, make_todo, one_todo, todo, todos};

on_both![
    two_devices_that_edit_different_columns_both_keep_theirs,
    a_deleted_row_goes_everywhere_and_an_edit_of_it_is_in_the_ledger,
    init_makes_the_tables_and_the_first_sync_fills_them,
    an_edit_made_during_a_push_stays_pending,
    what_is_written_after_a_value_that_loses_meets_the_winner_as_a_conflict,
    a_value_that_waited_does_not_come_back_over_a_newer_one,
    a_pull_never_moves_the_base_of_an_unpushed_edit,
    an_edit_taken_back_lets_the_newer_value_in,
    a_row_deleted_elsewhere_while_it_is_edited_goes_when_the_edit_is_told,
    a_row_deleted_during_its_own_push_is_deleted_by_the_next,
    what_is_written_over_a_delete_that_nobody_has_seen_is_in_the_ledger,
    a_delete_has_not_seen_what_waited_beside_an_edit,
    a_row_made_deleted_and_made_again_is_the_last_one,
    a_changed_key_is_another_row,
    rows_that_swap_a_unique_value_arrive,
    a_child_that_was_made_before_its_parent_arrives_whatever_the_batches,
    the_second_device_gets_every_kind_of_value_as_it_was,
    async_code_can_sync,
];

/// A device with the server's tables and rows.
#[track_caller]
pub fn device(server: &Server) -> Device {
    let device = Device::new(server);
    device.client().init(&[]).unwrap();
    device.client().sync().unwrap();
    device
}

/// Syncs, and runs `during` once at the first moment that `when` says.
#[track_caller]
pub fn sync_while(
    device: &Device,
    when: impl Fn(&Progress) -> bool + Sync,
    during: impl Fn() + Sync,
) -> Report {
    try_sync_while(device, when, during).unwrap()
}

#[track_caller]
fn try_sync_while(
    device: &Device,
    when: impl Fn(&Progress) -> bool + Sync,
    during: impl Fn() + Sync,
) -> Result<Report, Error> {
    let done = AtomicBool::new(false);
    let report = device.client().sync_with(&|progress| {
        if when(&progress) && !done.swap(true, Ordering::Relaxed) {
            during();
        }
    });
    assert!(done.load(Ordering::Relaxed), "the moment never came");
    report
}

fn pushing(progress: &Progress) -> bool {
    matches!(progress, Progress::Pushing { .. })
}

pub(crate) fn pulling(progress: &Progress) -> bool {
    matches!(progress, Progress::Pulling { .. })
}

fn set(device: &Device, column: &str, value: &str, number: u64) {
    device.sql(&format!(
        "UPDATE todos SET {column} = '{value}' WHERE id = '{}'",
        id(number)
    ));
}

#[track_caller]
fn get(device: &Device, column: &str, number: u64) -> Option<String> {
    device.value(&format!(
        "SELECT {column} FROM todos WHERE id = '{}'",
        id(number)
    ))
}

fn two_devices_that_edit_different_columns_both_keep_theirs(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    set(&a, "title", "of a", 1);
    set(&b, "note", "of b", 1);
    let report = a.client().sync().unwrap();
    assert_eq!((report.pushed, report.applied), (1, 1));
    let report = b.client().sync().unwrap();
    assert_eq!((report.pushed, report.applied), (1, 1));
    a.client().sync().unwrap();
    for device in [&a, &b] {
        assert_eq!(get(device, "title", 1).as_deref(), Some("of a"));
        assert_eq!(get(device, "note", 1).as_deref(), Some("of b"));
        device.assert_equals(&server.anonymous(), "todos");
        assert!(device.client().pending().unwrap().is_empty());
    }
    assert!(ledger(&server, "").is_empty());
    let idle = a.client().sync().unwrap();
    assert_eq!((idle.pushed, idle.pulled, idle.removed), (0, 0, 0));
}

fn a_deleted_row_goes_everywhere_and_an_edit_of_it_is_in_the_ledger(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("DELETE FROM todos");
    set(&b, "title", "edited", 1);
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    assert!(b.dump("todos").is_empty());
    let conflicts = b.client().conflicts().unwrap();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].outcome, "deleted");
    assert_eq!(ledger(&server, "").len(), 1);
    a.assert_equals(&server.anonymous(), "todos");
}

fn init_makes_the_tables_and_the_first_sync_fills_them(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let list = json!({ "id": id(1), "name": "one" });
    let item = json!({ "id": id(2), "list_id": id(1), "name": "two", "amount": 3 });
    server.client("maker").create_ago(9, "lists", &list);
    server.client("maker").create_ago(9, "items", &item);
    let device = device(&server);
    device.assert_equals(&server.anonymous(), "lists");
    device.assert_equals(&server.anonymous(), "items");
    let keys = device.column(
        "SELECT \"table\" || ' ' || \"from\" || ' ' || \"to\" FROM pragma_foreign_key_list('items')",
    );
    assert_eq!(keys, [Some("lists list_id id".to_owned())]);
    assert!(device.client().pending().unwrap().is_empty());
    assert_eq!(device.client().tracked().unwrap(), ["lists", "items"]);
}

fn an_edit_made_during_a_push_stays_pending(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    set(&a, "title", "one", 1);
    let report = sync_while(&a, pushing, || set(&a, "title", "two", 1));
    assert_eq!(report.applied, 1);
    assert_eq!(get(&a, "title", 1).as_deref(), Some("two"));
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "one");
    let pending = a.client().pending().unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].op, Op::Update);
    assert_eq!(pending[0].columns["title"].original, "one");
    assert_eq!(pending[0].columns["title"].edited, "two");
    let report = a.client().sync().unwrap();
    assert_eq!(report.applied, 1);
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "two");
    assert!(ledger(&server, "").is_empty());
}

fn what_is_written_after_a_value_that_loses_meets_the_winner_as_a_conflict(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    set(&a, "title", "mine", 1);
    // Someone else's later edit.
    let later = json!({ "title": "theirs" });
    let ahead = server.client("other");
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    drop(ahead.patch(&todo(1), &later).expect(200));
    let report = sync_while(&a, pushing, || set(&a, "title", "mine, again", 1));
    assert_eq!(report.superseded, 1);
    assert_eq!(get(&a, "title", 1).as_deref(), Some("mine, again"));
    a.client().sync().unwrap();
    assert_eq!(get(&a, "title", 1).as_deref(), Some("mine, again"));
    a.assert_equals(&server.anonymous(), "todos");
    let lost: Vec<_> = ledger(&server, "")
        .iter()
        .map(|entry| entry["lost"]["value"].clone())
        .collect();
    assert_eq!(lost, ["mine", "theirs"]);
}

fn a_value_that_waited_does_not_come_back_over_a_newer_one(backend: Backend) {
    let server = one_todo(backend);
    let proxy = server.proxy(1);
    let (a, b) = (Device::behind(&proxy), device(&server));
    a.client().init(&[]).unwrap();
    a.client().sync().unwrap();
    // Pushes get through, and no pull does, which would bring the newer value once more.
    proxy.plan(Plan::default().with(Fault::Truncate, 1000));
    set(&a, "title", "a 1", 1);
    set(&b, "title", "b 1", 1);
    b.client().sync().unwrap();
    // What b wrote wins, and waits beside what a writes meanwhile.
    let cut = try_sync_while(&a, pushing, || set(&a, "title", "a 2", 1));
    assert!(cut.is_err());
    set(&b, "title", "b 2", 1);
    b.client().sync().unwrap();
    // It wins again, and can be written: a writes something else meanwhile.
    let cut = try_sync_while(&a, pushing, || set(&a, "done", "1", 1));
    assert!(cut.is_err());
    assert_eq!(get(&a, "title", 1).as_deref(), Some("b 2"));
    assert!(a.client().sync().is_err());
    assert_eq!(get(&a, "title", 1).as_deref(), Some("b 2"));
    proxy.faults_off();
    // So this replaces what a had in view, and nothing else.
    set(&a, "title", "a 3", 1);
    a.client().sync().unwrap();
    let lost: Vec<_> = ledger(&server, "")
        .iter()
        .map(|e| e["lost"]["value"].clone())
        .collect();
    assert_eq!(lost, [json!("a 1"), json!("a 2")]);
    a.assert_equals(&server.anonymous(), "todos");
}

fn a_pull_never_moves_the_base_of_an_unpushed_edit(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let other = server.client("other");
    drop(
        other
            .patch(&todo(1), &json!({ "title": "theirs", "note": "new" }))
            .expect(200),
    );
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    sync_while(&a, pulling, || set(&a, "title", "mine", 1));
    assert_eq!(get(&a, "title", 1).as_deref(), Some("mine"));
    assert_eq!(get(&a, "note", 1).as_deref(), Some("new"));
    let original = a.client().original("todos", &id(1)).unwrap().unwrap();
    assert_eq!(original["title"], "old");
    assert_eq!(original["note"], "new");
    let report = a.client().sync().unwrap();
    assert_eq!(report.applied, 1, "{report:?}");
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], "theirs");
    a.assert_equals(&server.anonymous(), "todos");
}

fn an_edit_taken_back_lets_the_newer_value_in(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let b = device(&server);
    drop(
        server
            .client("other")
            .patch(&todo(1), &json!({ "title": "theirs" }))
            .expect(200),
    );
    for (device, take_back) in [(&a, true), (&b, false)] {
        sync_while(device, pulling, || set(device, "title", "mine", 1));
        assert_eq!(get(device, "title", 1).as_deref(), Some("mine"));
        if take_back {
            set(device, "title", "old", 1);
            assert!(device.client().pending().unwrap().is_empty());
            let report = device.client().sync().unwrap();
            assert_eq!(report.pushed, 0);
        } else {
            device.client().undo("todos", &id(1)).unwrap();
        }
        assert_eq!(get(device, "title", 1).as_deref(), Some("theirs"));
        assert!(device.client().pending().unwrap().is_empty());
        device.assert_equals(&server.anonymous(), "todos");
    }
}

fn a_row_deleted_elsewhere_while_it_is_edited_goes_when_the_edit_is_told(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let a = device(&server);
    drop(server.client("other").delete(&todo(1)).expect(200));
    drop(server.client("other").delete(&todo(2)).expect(200));
    sync_while(&a, pulling, || {
        set(&a, "title", "mine", 1);
        set(&a, "title", "mine", 2);
    });
    assert_eq!(get(&a, "title", 1).as_deref(), Some("mine"));
    // One edit is taken back: then there is nothing that keeps the row.
    set(&a, "title", "old", 2);
    a.client().sync().unwrap();
    assert!(a.dump("todos").is_empty());
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kind"], "deleted");
}

fn a_row_deleted_during_its_own_push_is_deleted_by_the_next(backend: Backend) {
    let server = todos(backend);
    let a = device(&server);
    a.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{}', 'x', 0)",
        id(1)
    ));
    sync_while(&a, pushing, || a.sql("DELETE FROM todos"));
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "x");
    assert!(a.dump("todos").is_empty());
    a.client().sync().unwrap();
    drop(
        server
            .anonymous()
            .get(&todo(1))
            .problem(404, "row_not_found"),
    );
    assert!(ledger(&server, "").is_empty());
}

fn what_is_written_over_a_delete_that_nobody_has_seen_is_in_the_ledger(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("DELETE FROM todos");
    a.client().sync().unwrap();
    set(&b, "title", "first", 1);
    // The receipt says that the row is deleted; the app wrote this before it could know.
    sync_while(&b, pushing, || set(&b, "title", "second", 1));
    b.client().sync().unwrap();
    assert!(b.dump("todos").is_empty());
    let lost: Vec<_> = ledger(&server, "")
        .iter()
        .map(|entry| entry["lost"]["value"]["columns"]["title"].clone())
        .collect();
    assert!(lost.contains(&json!("first")), "{lost:?}");
    assert!(lost.contains(&json!("second")), "{lost:?}");
}

fn a_delete_has_not_seen_what_waited_beside_an_edit(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    set(&a, "title", "of a", 1);
    a.client().sync().unwrap();
    // The pull finds an unpushed edit of the column: what a wrote waits beside it, out of sight.
    sync_while(&b, pulling, || set(&b, "title", "of b", 1));
    b.sql("DELETE FROM todos");
    b.client().sync().unwrap();
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["kind"], "deleted");
    assert_eq!(entries[0]["lost"]["value"]["columns"]["title"], "of a");
}

fn a_row_made_deleted_and_made_again_is_the_last_one(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    let key = id(1);
    a.sql(&format!(
        "DELETE FROM todos; INSERT INTO todos (id, title, done) VALUES ('{key}', 'again', 1);"
    ));
    let pending = a.client().pending().unwrap();
    assert_eq!(pending[0].op, Op::Update, "{pending:?}");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    assert_eq!(get(&b, "title", 1).as_deref(), Some("again"));
    assert_eq!(get(&b, "note", 1), None);
    // Deleted and told, then made again.
    b.sql("DELETE FROM todos");
    b.client().sync().unwrap();
    b.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{key}', 'back', 0)"
    ));
    b.client().sync().unwrap();
    a.client().sync().unwrap();
    assert_eq!(get(&a, "title", 1).as_deref(), Some("back"));
    a.assert_equals(&server.anonymous(), "todos");
    b.assert_equals(&server.anonymous(), "todos");
}

fn a_changed_key_is_another_row(backend: Backend) {
    let server = Server::on(backend).table(MEMBERS).start();
    let (a, b) = (device(&server), device(&server));
    a.sql("INSERT INTO members VALUES ('red, or 50%', 1, 'lead'), ('blue', 2, 'guest')");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    b.sql("UPDATE members SET number = 7 WHERE team LIKE 'red%'");
    b.client().sync().unwrap();
    a.client().sync().unwrap();
    assert_eq!(
        a.dump("members"),
        ["'blue', 2, 'guest'", "'red, or 50%', 7, 'lead'"]
    );
    a.assert_equals(&server.anonymous(), "members");
}

fn rows_that_swap_a_unique_value_arrive(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let a = Device::new(&server).tracking(LISTS).tracking(ITEMS);
    a.sql(&format!(
        "INSERT INTO items (id, name, code) VALUES ('{}', 'one', 'x'), ('{}', 'two', 'y')",
        id(1),
        id(2)
    ));
    a.client().sync().unwrap();
    let b = Device::new(&server).tracking(LISTS).tracking(ITEMS);
    b.client().sync().unwrap();
    server.sql("UPDATE items SET code = 'z' WHERE name = 'one'");
    server.sql("UPDATE items SET code = 'x' WHERE name = 'two'");
    server.sql("UPDATE items SET code = 'y' WHERE name = 'one'");
    for device in [&a, &b] {
        device.client().sync().unwrap();
        device.assert_equals(&server.anonymous(), "items");
        assert_eq!(device.client().status().unwrap().held, 0);
    }
}

fn a_child_that_was_made_before_its_parent_arrives_whatever_the_batches(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let a = Device::new(&server).tracking(LISTS).tracking(ITEMS);
    for number in 0..6 {
        a.sql(&format!(
            "PRAGMA foreign_keys = OFF; INSERT INTO items (id, name, list_id) VALUES ('{}', 'child', '{}')",
            id(100 + number),
            id(number)
        ));
    }
    for number in 0..6 {
        a.sql(&format!(
            "INSERT INTO lists VALUES ('{}', 'parent')",
            id(number)
        ));
    }
    let settings = colsync_client::Settings {
        server: Some(a.url()),
        batch: 2,
        ..colsync_client::Settings::default()
    };
    let client = colsync_client::Client::open(a.path(), settings).unwrap();
    let report = client.sync().unwrap();
    assert_eq!((report.rejected, report.pushed), (0, 12), "{report:?}");
    assert!(client.dead_letters().unwrap().is_empty());
    a.assert_equals(&server.anonymous(), "items");
}

fn the_second_device_gets_every_kind_of_value_as_it_was(backend: Backend) {
    let sqlite = "CREATE TABLE kinds (id UUID PRIMARY KEY NOT NULL, n INTEGER, x REAL, d DECIMAL(12,3), t TEXT,
        b BOOLEAN, blob BLOB, day DATE, at DATETIME, doc JSON);";
    let postgres =
        "CREATE TABLE kinds (id uuid PRIMARY KEY, n bigint, x double precision, d numeric(12,3),
        t text, b boolean, blob bytea, day date, at timestamp, doc jsonb);";
    let sql = match backend {
        Backend::Sqlite => sqlite,
        Backend::Postgres => postgres,
    };
    let server = Server::on(backend).before(sql).synced("kinds").start();
    let (a, b) = (device(&server), device(&server));
    a.sql(&format!(
        "INSERT INTO kinds VALUES
         ('{}', 9223372036854775807, 0.1, 12.5, 'ä''\"\\', 1, x'00ff', '2026-11-23', '2026-11-23 10:00:00.5', '{{\"a\":[1,2.50]}}'),
         ('{}', -1, -1e300, 0, '', 0, x'', '0001-01-01', '2026-11-23 10:00:00', 'null'),
         ('{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
        id(1), id(2), id(3)
    ));
    let report = a.client().sync().unwrap();
    assert_eq!(
        (report.pushed, report.rejected),
        (3, 0),
        "{:?}",
        a.client().dead_letters()
    );
    b.client().sync().unwrap();
    b.assert_equals(&server.anonymous(), "kinds");
    a.assert_equals(&server.anonymous(), "kinds");
    let kind =
        "SELECT typeof(n) || typeof(x) || typeof(d) || typeof(t) || typeof(b) || typeof(blob)
        FROM kinds ORDER BY id LIMIT 1";
    assert_eq!(a.value(kind), b.value(kind));
    a.sql("UPDATE kinds SET blob = NULL, x = 2, t = 'b' WHERE n IS NOT NULL");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    b.assert_equals(&server.anonymous(), "kinds");
}

fn async_code_can_sync(backend: Backend) {
    let server = one_todo(backend);
    let a = Device::new(&server).tracking(TODOS);
    let client = a.client();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let report = runtime.block_on(client.sync_async()).unwrap();
    assert_eq!(report.pulled, 1);
}
