//! The other two ways in which a client tells its edits: every one of them in order, and rows as a whole.

use colsync_client::{Mode, Progress, Settings};
use colsync_tests::tables::{ITEMS, LISTS, TICKETS, TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both, process};
use serde_json::{Value as Json, json};

use crate::client_sync::device;
use crate::column_groups::{at, place, position};
use crate::{ledger, make_todo, one_todo};

on_both![
    a_log_sends_every_edit_in_between,
    a_log_keeps_the_order_across_rows,
    a_log_removes_rows_for_good_where_the_server_allows_it,
    an_entry_that_is_refused_leaves_the_others_of_its_row,
    a_row_that_was_refused_and_deleted_in_one_log_stays_away,
    a_row_made_and_deleted_offline_is_told_to_a_log,
    a_row_that_another_one_replaced_is_deleted_by_a_log,
    a_log_of_a_row_that_someone_else_made_has_not_seen_that,
    edits_made_while_a_log_is_sent_stay_pending,
    a_counter_counts_each_entry_once,
    a_whole_row_is_decided_as_one_and_the_loser_is_kept,
    whole_rows_are_made_and_deleted,
    the_file_keeps_its_mode,
    devices_of_all_modes_converge,
    a_log_sends_the_whole_of_a_group_that_it_touches,
    rows_get_the_servers_ids_in_every_mode,
];

/// All modes.
pub(crate) const MODES: [Mode; 3] = [Mode::Differential, Mode::TransactionLog, Mode::WholeRow];

/// The SDK on the device's file, in this mode.
pub(crate) fn sync(device: &Device, mode: Mode) -> colsync_client::Report {
    client(device, mode).sync().unwrap()
}

pub(crate) fn client(device: &Device, mode: Mode) -> colsync_client::Client {
    let settings = Settings {
        server: Some(device.url()),
        mode: Some(mode),
        ..Settings::default()
    };
    colsync_client::Client::open(device.path(), settings).unwrap()
}

fn update(device: &Device, set: &str, number: u64) {
    device.sql(&format!(
        "UPDATE todos SET {set} WHERE id = '{}'",
        id(number)
    ));
}

fn version(server: &Server, number: u64) -> Json {
    let path = format!("{}?meta=true&deleted=true", crate::todo(number));
    server.anonymous().get(&path).expect(200).json()["_sync"]["version"].clone()
}

fn a_log_sends_every_edit_in_between(backend: Backend) {
    let server = one_todo(backend);
    let device = device(&server);
    update(&device, "title = 'first'", 1);
    update(&device, "title = 'second', priority = 2", 1);
    update(&device, "title = 'old'", 1);
    let report = sync(&device, Mode::TransactionLog);
    assert_eq!((report.pushed, report.applied), (3, 3));
    assert_eq!(version(&server, 1), 4, "one for each edit");
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["priority"]),
        (&json!("old"), &json!(2))
    );
    assert!(ledger(&server, "").is_empty());
    device.assert_equals(&server.anonymous(), "todos");
    assert_eq!(sync(&device, Mode::TransactionLog).pushed, 0);
}

fn a_log_keeps_the_order_across_rows(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let device = device(&server);
    let item = |number: u64, code: &str| {
        format!(
            "INSERT INTO items (id, list_id, name, code) VALUES ('{}', '{}', 'x', {code})",
            id(number),
            id(1)
        )
    };
    device.sql(&format!(
        "INSERT INTO lists (id, name) VALUES ('{}', 'list')",
        id(1)
    ));
    device.sql(&item(2, "'a'"));
    // The code goes from one to the other, and only in this order.
    device.sql(&format!(
        "UPDATE items SET code = NULL WHERE id = '{}'",
        id(2)
    ));
    device.sql(&item(3, "'a'"));
    device.sql(&format!(
        "UPDATE items SET code = 'b' WHERE id = '{}'",
        id(2)
    ));
    let report = sync(&device, Mode::TransactionLog);
    assert_eq!((report.pushed, report.rejected), (5, 0));
    let codes = server.column("SELECT code FROM items ORDER BY code");
    assert_eq!(codes, [Some("a".to_owned()), Some("b".to_owned())]);
    device.assert_equals(&server.anonymous(), "items");
}

fn a_log_removes_rows_for_good_where_the_server_allows_it(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("hard_delete = true")
        .start();
    make_todo(&server, 1);
    let (a, b) = (device(&server), device(&server));
    update(&a, "title = 'last words'", 1);
    a.sql("DELETE FROM todos");
    assert_eq!(sync(&a, Mode::TransactionLog).pushed, 2);
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("0")
    );
    update(&b, "note = 'late'", 1);
    let report = b.client().sync().unwrap();
    assert_eq!(report.rejected, 1);
    assert!(b.dump("todos").is_empty());
    let letters = b.client().dead_letters().unwrap();
    assert_eq!(letters[0].code, "row_gone");
    // Made again, it is a row like any other.
    a.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'again')",
        id(1)
    ));
    sync(&a, Mode::TransactionLog);
    b.client().sync().unwrap();
    assert_eq!(b.value("SELECT title FROM todos").as_deref(), Some("again"));
}

/// The server checks amounts, and the device's own table does not.
fn unchecked_items(backend: Backend) -> (Server, Device) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let device = Device::new(&server);
    device.sql("CREATE TABLE items (id UUID PRIMARY KEY NOT NULL, list_id UUID, name TEXT NOT NULL, code TEXT, amount INTEGER)");
    device.client().track("items").unwrap();
    (server, device)
}

fn an_entry_that_is_refused_leaves_the_others_of_its_row(backend: Backend) {
    let (server, device) = unchecked_items(backend);
    device.sql(&format!(
        "INSERT INTO items (id, name, amount) VALUES ('{}', 'x', 1)",
        id(1)
    ));
    device.sql("UPDATE items SET amount = 2");
    device.sql("UPDATE items SET amount = -1, code = 'c'");
    // What is written to a row within a millisecond is one entry.
    std::thread::sleep(std::time::Duration::from_millis(2));
    device.sql("UPDATE items SET name = 'y'");
    let report = sync(&device, Mode::TransactionLog);
    assert_eq!((report.applied, report.rejected), (3, 1));
    let letters = device.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].code, "constraint_violation");
    // The row is what the server has: the refused columns are what they were before.
    let row = "SELECT name || amount || coalesce(code, '-') FROM items";
    assert_eq!(device.value(row).as_deref(), Some("y2-"));
    assert_eq!(server.value(row).as_deref(), Some("y2-"));
    assert!(device.client().pending().unwrap().is_empty());
}

/// What was refused is told; and what the app deleted does not come back for it.
fn a_row_that_was_refused_and_deleted_in_one_log_stays_away(backend: Backend) {
    let (server, device) = unchecked_items(backend);
    device.sql(&format!(
        "INSERT INTO items (id, name, amount) VALUES ('{}', 'x', -1); DELETE FROM items",
        id(1)
    ));
    let report = sync(&device, Mode::TransactionLog);
    assert_eq!((report.applied, report.rejected), (0, 1));
    let letters = device.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].code, "constraint_violation");
    assert_eq!(letters[0].edit["columns"]["name"]["value"], "x");
    let rows = "SELECT count(*) FROM items";
    assert_eq!(device.value(rows).as_deref(), Some("0"));
    assert_eq!(server.value(rows).as_deref(), Some("0"));
    assert!(device.client().pending().unwrap().is_empty());
}

fn a_row_made_and_deleted_offline_is_told_to_a_log(backend: Backend) {
    let server = one_todo(backend);
    let device = device(&server);
    device.sql(&format!(
        "INSERT INTO todos (id, title) VALUES ('{}', 'short')",
        id(2)
    ));
    device.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(2)));
    assert_eq!(sync(&device, Mode::TransactionLog).pushed, 2);
    let path = format!("{}?deleted=true", crate::todo(2));
    assert_eq!(
        server.anonymous().get(&path).expect(200).json()["title"],
        "short"
    );
    device.assert_equals(&server.anonymous(), "todos");
}

/// What must be unique beside the key, the app's table knows alone.
fn a_row_that_another_one_replaced_is_deleted_by_a_log(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("CREATE UNIQUE INDEX one_of_each ON todos (title)");
    sync(&a, Mode::TransactionLog);
    update(&a, "note = 'edited'", 1);
    let replace = |number: u64, title: &str| {
        a.sql(&format!(
            "INSERT OR REPLACE INTO todos (id, title, done) VALUES ('{}', '{title}', 0)",
            id(number)
        ));
    };
    replace(2, "old");
    // One that nobody else has met, one that stays, and one that is replaced by itself.
    replace(3, "new");
    replace(4, "new");
    a.sql("INSERT OR IGNORE INTO todos (id, title, done) VALUES ('-', 'new', 0)");
    replace(2, "old");
    let expected = ["new", "old"].map(|title| Some(title.to_owned()));
    for device in [&a, &b] {
        sync(device, Mode::TransactionLog);
        let titles = device.column("SELECT title FROM todos ORDER BY title");
        assert_eq!(titles, expected);
        device.assert_equals(&server.anonymous(), "todos");
    }
    let path = format!("{}?deleted=true", crate::todo(1));
    let replaced = server.anonymous().get(&path).expect(200).json();
    assert_eq!(replaced["note"], "edited");
    assert!(a.client().pending().unwrap().is_empty());
    assert!(a.client().dead_letters().unwrap().is_empty());
}

fn a_log_of_a_row_that_someone_else_made_has_not_seen_that(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let device = device(&server);
    device.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{}', 'of the device', 0)",
        id(1)
    ));
    update(&device, "note = 'of the device'", 1);
    make_todo(&server, 1);
    sync(&device, Mode::TransactionLog);
    let entries = ledger(&server, "");
    let columns: Vec<&Json> = entries.iter().map(|entry| &entry["column"]).collect();
    assert_eq!(columns.len(), 2, "{entries:?}");
    assert!(columns.contains(&&json!("title")) && columns.contains(&&json!("note")));
    let lost = |entry: &Json| entry["lost"]["value"] == "old";
    assert!(entries.iter().all(lost), "{entries:?}");
    device.assert_equals(&server.anonymous(), "todos");
}

fn edits_made_while_a_log_is_sent_stay_pending(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    for mode in [Mode::TransactionLog, Mode::WholeRow] {
        let once = std::sync::atomic::AtomicBool::new(false);
        update(&a, &format!("title = 'before {}'", mode.name()), 1);
        let report = client(&a, mode).sync_with(&|progress| {
            let first = || !once.swap(true, std::sync::atomic::Ordering::SeqCst);
            if matches!(progress, Progress::Pushing { .. }) && first() {
                update(&a, &format!("title = 'during {}'", mode.name()), 1);
            }
        });
        assert_eq!(report.unwrap().pushed, 1);
        let row = server.anonymous().row("todos", &id(1));
        assert_eq!(row["title"], format!("before {}", mode.name()));
        sync(&a, mode);
        b.client().sync().unwrap();
        let title = format!("during {}", mode.name());
        assert_eq!(b.value("SELECT title FROM todos"), Some(title));
    }
    assert!(ledger(&server, "").is_empty());
}

fn a_counter_counts_each_entry_once(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .policy("priority", "counter")
        .start();
    make_todo(&server, 1);
    let (a, b) = (device(&server), device(&server));
    for device in [&a, &b] {
        for _ in 0..3 {
            update(device, "priority = coalesce(priority, 0) + 1", 1);
        }
    }
    sync(&a, Mode::TransactionLog);
    sync(&b, Mode::TransactionLog);
    sync(&a, Mode::TransactionLog);
    for device in [&a, &b] {
        assert_eq!(
            device.value("SELECT priority FROM todos").as_deref(),
            Some("6")
        );
    }
}

fn a_whole_row_is_decided_as_one_and_the_loser_is_kept(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    update(&a, "title = 'of a'", 1);
    update(&b, "note = 'of b'", 1);
    sync(&b, Mode::WholeRow);
    let report = sync(&a, Mode::WholeRow);
    // Column by column both would stand. As rows, b's was written last.
    assert_eq!((report.pushed, report.superseded), (1, 1));
    for device in [&a, &b] {
        let row = device.value("SELECT title || ', ' || note FROM todos");
        assert_eq!(row.as_deref(), Some("old, of b"));
    }
    let entries = ledger(&server, "");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["kind"], "row");
    assert_eq!(entries[0]["lost"]["value"]["columns"]["title"], "of a");
    let told = a.client().conflicts().unwrap();
    let title = told
        .iter()
        .find(|one| one.column.as_deref() == Some("title"));
    let title = title.unwrap();
    assert_eq!(
        (title.outcome.as_str(), &title.mine, &title.theirs),
        ("superseded", &Some(json!("of a")), &Some(json!("old")))
    );
    // An administrator gives a its row back, whole.
    let decision = json!({ "decision": "take_lost" });
    let _ = crate::resolve(&server, &entries[0]["id"], &decision).expect(200);
    b.client().sync().unwrap();
    let row = b.value("SELECT title || ', ' || note FROM todos");
    assert_eq!(row.as_deref(), Some("of a, old"));
}

fn whole_rows_are_made_and_deleted(backend: Backend) {
    let server = one_todo(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql(&format!(
        "INSERT INTO todos (id, title, done) VALUES ('{}', 'new', 1)",
        id(2)
    ));
    sync(&a, Mode::WholeRow);
    sync(&b, Mode::WholeRow);
    assert_eq!(a.dump("todos"), b.dump("todos"));
    b.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(2)));
    update(&b, "title = 'kept'", 1);
    sync(&b, Mode::WholeRow);
    sync(&a, Mode::WholeRow);
    assert_eq!(a.dump("todos"), b.dump("todos"));
    assert_eq!(
        a.column("SELECT title FROM todos"),
        [Some("kept".to_owned())]
    );
    assert!(ledger(&server, "").is_empty());
}

fn the_file_keeps_its_mode(backend: Backend) {
    let server = one_todo(backend);
    let device = device(&server);
    let told = device.run(&["sync", "--mode", "transaction_log"]);
    assert!(told.status.success(), "{}", process::said(&told));
    update(&device, "title = 'a'", 1);
    update(&device, "title = 'b'", 1);
    let told = device.run(&["sync"]);
    assert!(told.status.success(), "{}", process::said(&told));
    assert_eq!(version(&server, 1), 3);
    let told = device.run(&["sync", "--mode", "by_hand"]);
    assert_eq!(told.status.code(), Some(2));
    assert!(process::said(&told).contains("whole_row"));
}

fn devices_of_all_modes_converge(backend: Backend) {
    let server = one_todo(backend);
    for number in 2..8 {
        make_todo(&server, number);
    }
    let modes = [Mode::Differential, Mode::TransactionLog, Mode::WholeRow];
    let devices = modes.map(|_| device(&server));
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..20 {
        for (which, (device, mode)) in devices.iter().zip(modes).enumerate() {
            for edit in 0..random.u32(0..4) {
                let (number, mark) = (random.u64(1..8), format!("{which}-{round}-{edit}"));
                match random.u8(0..8) {
                    0 => device.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(number))),
                    1 => device.sql(&format!(
                        "INSERT OR REPLACE INTO todos (id, title, done) VALUES ('{}', '{mark}', 0)",
                        id(number)
                    )),
                    2 => update(
                        device,
                        &format!("note = '{mark}', title = '{mark}'"),
                        number,
                    ),
                    _ => update(device, &format!("title = '{mark}'"), number),
                }
            }
            if random.bool() {
                sync(device, mode);
            }
        }
    }
    for _ in 0..2 {
        for (device, mode) in devices.iter().zip(modes) {
            sync(device, mode);
        }
    }
    for device in &devices {
        device.assert_equals(&server.anonymous(), "todos");
        assert!(device.client().pending().unwrap().is_empty());
        assert!(device.client().dead_letters().unwrap().is_empty());
    }
}

fn rows_get_the_servers_ids_in_every_mode(backend: Backend) {
    let server = Server::on(backend).table(TICKETS).start();
    let modes = [Mode::Differential, Mode::TransactionLog, Mode::WholeRow];
    let devices = modes.map(|_| device(&server));
    // SQLite gives them the same numbers.
    for (device, mode) in devices.iter().zip(modes) {
        for number in 1..4 {
            let subject = format!("{} {number}", mode.name());
            device.sql(&format!(
                "INSERT INTO tickets (subject) VALUES ('{subject}')"
            ));
        }
        device.sql("UPDATE tickets SET subject = subject || ', urgent' WHERE id = 2");
        device.sql("DELETE FROM tickets WHERE id = 3");
    }
    for _ in 0..2 {
        for (device, mode) in devices.iter().zip(modes) {
            sync(device, mode);
        }
    }
    let subjects = server.column("SELECT subject FROM tickets WHERE sync_deleted_at IS NULL");
    let mut subjects: Vec<String> = subjects.into_iter().flatten().collect();
    subjects.sort();
    let mut expect: Vec<String> = modes
        .iter()
        .flat_map(|mode| {
            [
                format!("{} 1", mode.name()),
                format!("{} 2, urgent", mode.name()),
            ]
        })
        .collect();
    expect.sort();
    assert_eq!(subjects, expect);
    // Edits of them go by the ids that the server made.
    for (device, mode) in devices.iter().zip(modes) {
        device.sql(&format!(
            "UPDATE tickets SET subject = 'done' WHERE subject = '{} 1'",
            mode.name()
        ));
        sync(device, mode);
    }
    for (device, mode) in devices.iter().zip(modes) {
        sync(device, mode);
        device.assert_equals(&server.anonymous(), "tickets");
    }
    let done = "SELECT count(*) FROM tickets WHERE subject = 'done'";
    assert_eq!(server.value(done).as_deref(), Some("3"));
}

/// Each entry of a log has the whole of a group that it touches, as the app had it then: without the other half, an
/// edit could not win against another device's, however late it was.
fn a_log_sends_the_whole_of_a_group_that_it_touches(backend: Backend) {
    let server = place(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE places SET latitude = 2");
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    b.sql("UPDATE places SET longitude = 3");
    b.sql(&format!(
        "INSERT INTO places (id, latitude) VALUES ('{}', 4)",
        id(2)
    ));
    for device in [&a, &b, &a] {
        sync(device, Mode::TransactionLog);
    }
    assert_eq!(position(&server.anonymous()), at(1.0, 3.0));
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], at(2.0, 1.0));
    let made = server.anonymous().row("places", &id(2));
    assert_eq!(
        (&made["latitude"], &made["longitude"]),
        (&json!(4.0), &Json::Null)
    );
    a.assert_equals(&server.anonymous(), "places");
    b.assert_equals(&server.anonymous(), "places");
}
