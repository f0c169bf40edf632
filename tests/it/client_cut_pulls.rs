//! Pulls that are cut, and what happens before they go on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use colsync_client::Progress;
use colsync_tests::tables::{LABELS, TODOS, TableDef, id};
use colsync_tests::{Backend, Device, Fault, Plan, Proxy, Server, on_both, row_path};
use serde_json::json;

use crate::client_histories::insert;
use crate::client_sync::{pulling, sync_while};
use crate::{ledger, make_todo, todo};

on_both![
    a_first_sync_that_is_cut_goes_on_where_it_was,
    what_came_after_the_last_checkpoint_is_not_kept,
    a_row_that_is_deleted_before_the_first_pull_does_not_stay,
    nor_does_one_that_is_pushed_while_a_pull_is_still_to_begin,
    a_row_that_is_made_behind_a_cut_pull_stays,
    a_table_that_comes_later_keeps_what_came_before_the_cut,
    what_is_deleted_before_a_cut_pull_goes_on_with_more_tables_does_not_stay,
    a_table_that_is_left_and_taken_again_while_its_pull_is_cut_comes_whole,
    nor_does_one_lose_it_that_gets_a_column_meanwhile,
    what_came_before_a_cut_is_not_taken_for_seen_where_the_server_has_lost_it,
    nor_is_what_had_come_before_it_went_back,
    nor_is_what_had_come_before_a_pull_that_starts_over,
];

const ROWS: u64 = 300;

/// Rows between two checkpoints.
const PIECE: usize = 10;

/// A server with so many rows in each of two tables, and answers of many pieces.
fn full(backend: Backend) -> Server {
    let server = Server::on(backend)
        .table(TODOS)
        .table(LABELS)
        .section(&format!("[limits]\npage_rows = {PIECE}"))
        .start();
    let maker = Device::new(&server).tracking(TODOS).tracking(LABELS);
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) INSERT INTO"
    );
    maker.sql(&format!(
        "{numbers} todos (id, title, done)
         SELECT printf('018f0000-0000-7000-8000-%012d', i), 'row ' || i, 0 FROM n;
         {numbers} labels (code, meaning) SELECT printf('%03d', i), 'label ' || i FROM n",
    ));
    maker.client().sync().unwrap();
    server
}

/// Syncs until some of the rows that are to come have come, and no more.
#[track_caller]
fn sync_in_part(device: &Device, proxy: &Proxy) {
    let came = AtomicU64::new(0);
    while came.load(Relaxed) == 0 {
        // The pull breaks off somewhere, and no other is let through once something has come.
        proxy.plan(Plan::default().with(Fault::Truncate, 1000));
        let synced = device.client().sync_with(&|progress| {
            if let Progress::Pulling {
                rows: rows @ 1.., ..
            } = progress
            {
                came.store(rows, Relaxed);
                proxy.plan(Plan::default().with(Fault::Refuse, 1000));
            }
        });
        assert!(synced.is_err(), "{synced:?}");
    }
    let came = came.load(Relaxed);
    assert!(
        came < ROWS,
        "{came}: another seed of the proxy cuts earlier"
    );
    proxy.faults_off();
}

/// Syncs, and no pull gets through.
#[track_caller]
fn push_alone(device: &Device, proxy: &Proxy) {
    proxy.plan(Plan::default().with(Fault::Truncate, 1000));
    assert!(device.client().sync().is_err());
    assert!(device.client().pending().unwrap().is_empty());
    proxy.faults_off();
}

/// Once more than it needs.
#[track_caller]
fn equal_after_a_sync(device: &Device, server: &Server, tables: &[TableDef]) {
    for _ in 0..2 {
        device.client().sync().unwrap();
        for table in tables {
            device.assert_equals(&server.anonymous(), table.name);
        }
    }
}

fn a_first_sync_that_is_cut_goes_on_where_it_was(backend: Backend) {
    let server = full(backend);
    let proxy = server.proxy(7);
    proxy.plan(Plan::default().with(Fault::CutAnswer, 700));
    let a = Device::behind(&proxy).tracking(TODOS);
    let mut syncs = 0;
    while a.client().sync().is_err() {
        syncs += 1;
        assert!(syncs < 200, "{} rows", a.dump("todos").len());
    }
    assert!(proxy.counts().total() > 0);
    proxy.faults_off();
    equal_after_a_sync(&a, &server, &[TODOS]);
}

/// Its cursor says nothing of it.
fn what_came_after_the_last_checkpoint_is_not_kept(backend: Backend) {
    let server = full(backend);
    for seed in 1..9 {
        let proxy = server.proxy(seed);
        let late = Device::behind(&proxy).tracking(TODOS);
        sync_in_part(&late, &proxy);
        assert_eq!(late.dump("todos").len() % PIECE, 0, "seed {seed}");
    }
}

fn a_row_that_is_deleted_before_the_first_pull_does_not_stay(backend: Backend) {
    let server = Server::on(backend).table(TODOS).table(LABELS).start();
    let proxy = server.proxy(1);
    let late = Device::behind(&proxy);
    let other = Device::new(&server);
    for table in [TODOS, LABELS] {
        for device in [&late, &other] {
            device.sql(table.sqlite);
            device.client().track(table.name).unwrap();
        }
        let make = match table.name {
            "todos" => format!("INSERT INTO todos (id, title) VALUES ('{}', 'made')", id(1)),
            _ => "INSERT INTO labels (code, meaning) VALUES ('a', 'made')".to_owned(),
        };
        late.sql(&make);
        push_alone(&late, &proxy);
        other.client().sync().unwrap();
        other.sql(&format!("DELETE FROM {}", table.name));
        other.client().sync().unwrap();
        let report = late.client().sync().unwrap();
        assert_eq!(report.removed, 1, "{}", table.name);
        assert!(late.dump(table.name).is_empty());
    }
}

/// The pull that starts over is noted before the second row is pushed, and has brought nothing yet.
fn nor_does_one_that_is_pushed_while_a_pull_is_still_to_begin(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let proxy = server.proxy(1);
    let late = Device::behind(&proxy).tracking(TODOS);
    for number in [1, 2] {
        insert(&late, number, "made");
        push_alone(&late, &proxy);
    }
    for number in [1, 2] {
        let _ = server.anonymous().delete(&todo(number)).expect(200);
    }
    let report = late.client().sync().unwrap();
    assert_eq!(report.removed, 2);
    equal_after_a_sync(&late, &server, &[TODOS]);
}

fn a_row_that_is_made_behind_a_cut_pull_stays(backend: Backend) {
    let server = full(backend);
    let proxy = server.proxy(5);
    let late = Device::behind(&proxy).tracking(TODOS);
    // With a row of its own, the first pull starts over.
    insert(&late, 0x400, "made before");
    sync_in_part(&late, &proxy);
    insert(&late, 0, "made behind it");
    let report = late.client().sync().unwrap();
    assert_eq!(report.removed, 0);
    equal_after_a_sync(&late, &server, &[TODOS]);
}

fn a_table_that_comes_later_keeps_what_came_before_the_cut(backend: Backend) {
    let server = full(backend);
    let proxy = server.proxy(3);
    let late = Device::behind(&proxy).tracking(TODOS);
    late.client().sync().unwrap();
    let late = late.tracking(LABELS);
    sync_in_part(&late, &proxy);
    assert_eq!(late.client().sync().unwrap().removed, 0);
    equal_after_a_sync(&late, &server, &[TODOS, LABELS]);
}

/// The other table is pulled alone before it begins anew. That ends nothing of it.
fn nor_does_one_lose_it_that_gets_a_column_meanwhile(backend: Backend) {
    for is_taken_again in [false, true] {
        let mut server = full(backend);
        let proxy = server.proxy(3);
        let late = Device::behind(&proxy).tracking(TODOS);
        late.client().sync().unwrap();
        let late = late.tracking(LABELS);
        if is_taken_again {
            late.client().sync().unwrap();
            late.client().untrack("labels", false).unwrap();
            late.client().sync().unwrap();
            late.client().track("labels").unwrap();
        }
        sync_in_part(&late, &proxy);
        get_a_column(&mut server, &late, "labels");
        assert_eq!(late.client().sync().unwrap().removed, 0);
        equal_after_a_sync(&late, &server, &[TODOS, LABELS]);
    }
}

fn what_is_deleted_before_a_cut_pull_goes_on_with_more_tables_does_not_stay(backend: Backend) {
    let server = full(backend);
    for starts_over in [false, true] {
        let proxy = server.proxy(5);
        let late = Device::behind(&proxy).tracking(TODOS);
        if starts_over {
            insert(&late, 0x400, "made before");
        }
        sync_in_part(&late, &proxy);
        let first = late.value("SELECT min(id) FROM todos").unwrap();
        let path = row_path("todos", &first);
        let _ = server.anonymous().delete(&path).expect(200);
        let late = late.tracking(LABELS);
        equal_after_a_sync(&late, &server, &[TODOS, LABELS]);
    }
}

/// It is another table to the pull that goes on, of which that keeps what it has not brought.
fn a_table_that_is_left_and_taken_again_while_its_pull_is_cut_comes_whole(backend: Backend) {
    let server = full(backend);
    let proxy = server.proxy(5);
    let late = Device::behind(&proxy).tracking(LABELS);
    late.sql("INSERT INTO labels (code, meaning) VALUES ('a', 'made here')");
    sync_in_part(&late, &proxy);
    late.client().untrack("labels", false).unwrap();
    late.sql("DELETE FROM labels");
    late.client().track("labels").unwrap();
    equal_after_a_sync(&late, &server, &[LABELS]);
}

/// Both sides get a column.
fn get_a_column(server: &mut Server, device: &Device, table: &str) {
    let sql = format!("ALTER TABLE {table} ADD COLUMN colour TEXT");
    server.sql(&sql);
    device.sql(&sql);
    server.restart();
}

/// Syncs until something has come, and no pull after the one that brought it.
fn sync_until_something_comes(device: &Device, proxy: &Proxy) {
    let _synced_or_cut = device.client().sync_with(&|progress| {
        if let Progress::Pulling { rows: 1.., .. } = progress {
            proxy.plan(Plan::default().with(Fault::Refuse, 1000));
        }
    });
    proxy.faults_off();
}

fn write(server: &Server, title: &str) {
    let ben = server.client("ben");
    let _ = ben.patch(&todo(1), &json!({ "title": title })).expect(200);
}

/// Another value stands at the version that the app has of the row.
#[track_caller]
fn both_are_in_the_ledger(device: &Device, server: &Server, tables: &[TableDef]) {
    write(server, "of ben");
    device.sql("UPDATE todos SET title = 'mine'");
    equal_after_a_sync(device, server, tables);
    let ledger = ledger(server, "");
    assert_eq!(ledger.len(), 1, "{ledger:?}");
}

/// The table has just got a column, so it comes whole, and the rest does not come: the server goes back to a point that
/// the cursor, as it was before, knows nothing of.
fn what_came_before_a_cut_is_not_taken_for_seen_where_the_server_has_lost_it(backend: Backend) {
    for tables in [vec![TODOS], vec![TODOS, LABELS]] {
        let mut server = Server::on(backend).table(TODOS).table(LABELS).start();
        let proxy = server.proxy(1);
        let late = Device::behind(&proxy);
        let late = tables
            .iter()
            .fold(late, |late, table| late.tracking(*table));
        make_todo(&server, 1);
        late.client().sync().unwrap();
        get_a_column(&mut server, &late, "todos");
        let backup = server.back_up();
        write(&server, "lost");
        sync_until_something_comes(&late, &proxy);
        assert_eq!(
            late.value("SELECT title FROM todos").as_deref(),
            Some("lost")
        );
        server.go_back(&backup);
        both_are_in_the_ledger(&late, &server, &tables);
    }
}

/// The pull of the other tables alone, before the one with a new column comes whole, is told that the server has gone back.
fn nor_is_what_had_come_before_it_went_back(backend: Backend) {
    let mut server = Server::on(backend).table(TODOS).table(LABELS).start();
    let proxy = server.proxy(1);
    let late = Device::behind(&proxy).tracking(TODOS).tracking(LABELS);
    make_todo(&server, 1);
    let label = json!({ "code": "a", "meaning": "A" });
    let _ = server.client("ben").create_ago(60, "labels", &label);
    let backup = server.back_up();
    write(&server, "lost");
    late.client().sync().unwrap();
    server.go_back(&backup);
    get_a_column(&mut server, &late, "todos");
    sync_until_something_comes(&late, &proxy);
    both_are_in_the_ledger(&late, &server, &[TODOS, LABELS]);
}

/// The table with a new column is the only one, and its pull brings nothing. The app edits the row while the next one does.
fn nor_is_what_had_come_before_a_pull_that_starts_over(backend: Backend) {
    let mut server = Server::on(backend).table(TODOS).start();
    let proxy = server.proxy(1);
    let late = Device::behind(&proxy).tracking(TODOS);
    make_todo(&server, 1);
    let backup = server.back_up();
    write(&server, "lost");
    late.client().sync().unwrap();
    get_a_column(&mut server, &late, "todos");
    push_alone(&late, &proxy);
    server.go_back(&backup);
    server.sql("ALTER TABLE todos ADD COLUMN colour TEXT");
    server.restart();
    write(&server, "of ben");
    sync_while(&late, pulling, || {
        late.sql("UPDATE todos SET title = 'mine'");
    });
    equal_after_a_sync(&late, &server, &[TODOS]);
    let ledger = ledger(&server, "");
    assert_eq!(ledger.len(), 1, "{ledger:?}");
}
