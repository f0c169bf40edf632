//! The worker: it syncs by itself, when there is reason to.

use std::time::Duration;

use colsync_client::{Error, Pace, Progress, State};
use colsync_tests::device::until;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use crate::client_sync::{device, pulling, sync_while};
use crate::{one_todo, todo, todos};

on_both![
    what_another_program_writes_goes_up_by_itself,
    what_others_change_comes_down_on_the_interval,
    a_server_that_was_away_is_found_again,
    a_wrong_key_pauses_the_worker,
    one_sync_at_a_time_on_a_file,
    also_by_another_path,
    a_worker_that_is_dropped_ends_within_a_sync,
    the_offset_of_a_wrong_clock_is_known,
];

/// Quick, but never by the interval.
fn by_writes() -> Pace {
    Pace {
        interval: Duration::from_secs(3600),
        debounce: Duration::from_millis(20),
        poll: Duration::from_millis(20),
        longest_backoff: Duration::from_secs(3600),
    }
}

fn title(server: &Server) -> String {
    server.anonymous().row("todos", &id(1))["title"].to_string()
}

fn what_another_program_writes_goes_up_by_itself(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let worker = a.client().start(by_writes()).unwrap();
    let status = worker.status();
    until("the first sync", || status.borrow().last_report.is_some());
    for number in 0..3 {
        a.sql(&format!("UPDATE todos SET title = 'write {number}'"));
        until("the write arrives", || {
            title(&server) == format!("\"write {number}\"")
        });
    }
    until("it is idle", || {
        let status = status.borrow();
        status.state == State::Idle && status.pending == 0
    });
    worker.stop();
    assert_eq!(status.borrow().state, State::Stopped);
    a.sql("UPDATE todos SET title = 'unseen'");
    assert_eq!(title(&server), "\"write 2\"");
}

fn what_others_change_comes_down_on_the_interval(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let pace = Pace {
        interval: Duration::from_millis(50),
        ..by_writes()
    };
    let worker = a.client().start(pace).unwrap();
    drop(
        server
            .client("other")
            .patch(&todo(1), &json!({ "title": "theirs" }))
            .expect(200),
    );
    until("the change comes", || {
        a.value("SELECT title FROM todos").as_deref() == Some("theirs")
    });
    worker.stop();
}

fn a_server_that_was_away_is_found_again(backend: Backend) {
    let mut server = one_todo(backend);
    // The device's URL stays what it was while the server comes back elsewhere.
    let proxy = server.proxy(3);
    let a = Device::behind(&proxy).tracking(TODOS);
    a.client().sync().unwrap();
    server.kill_9();
    let pace = Pace {
        longest_backoff: Duration::from_millis(200),
        ..by_writes()
    };
    let worker = a.client().start(pace).unwrap();
    let status = worker.status();
    a.sql("UPDATE todos SET title = 'offline'");
    until("it notices", || status.borrow().state == State::Offline);
    assert!(status.borrow().last_error.is_some());
    server.resume();
    until("the edit arrives", || title(&server) == "\"offline\"");
    until("it is idle", || status.borrow().state == State::Idle);
    assert_eq!(status.borrow().last_error, None);
    worker.stop();
}

fn a_wrong_key_pauses_the_worker(backend: Backend) {
    let key = "the-key-of-alice-0123456789";
    let server = Server::on(backend)
        .table(TODOS)
        .api_keys(&[("alice", key)])
        .start();
    let a = Device::new(&server).tracking(TODOS);
    let worker = a.client().start(by_writes()).unwrap();
    let status = worker.status();
    until("it pauses", || status.borrow().state == State::Paused);
    assert!(
        status
            .borrow()
            .last_error
            .as_deref()
            .unwrap()
            .contains("unauthorized")
    );
    worker.stop();
}

fn one_sync_at_a_time_on_a_file(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let client = a.client();
    let second = a.client();
    let seen = std::sync::Mutex::new(Vec::new());
    client
        .sync_with(&|progress| {
            if matches!(progress, Progress::Pulling { .. }) {
                seen.lock().unwrap().push(second.sync());
                let output = a.run(&["sync"]);
                assert_eq!(output.status.code(), Some(6), "{output:?}");
            }
        })
        .unwrap();
    assert!(matches!(seen.lock().unwrap()[0], Err(Error::Busy)));
    second.sync().unwrap();
}

fn also_by_another_path(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let link = a.path().with_file_name("link.db");
    std::os::unix::fs::symlink(a.path(), &link).unwrap();
    let settings = || colsync_client::Settings {
        server: Some(a.url()),
        ..colsync_client::Settings::default()
    };
    let other = colsync_client::Client::open(&link, settings()).unwrap();
    sync_while(&a, pulling, || {
        let second = other.sync();
        assert!(matches!(second, Err(Error::Busy)), "{second:?}");
    });
    other.sync().unwrap();
    // A link to a file that is still to be made leads to it, too.
    let (file, link) = (
        a.path().with_file_name("new.db"),
        a.path().with_file_name("to-new.db"),
    );
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let first = colsync_client::Client::open(&link, settings()).unwrap();
    let second = colsync_client::Client::open(&file, settings()).unwrap();
    let done = first.sync_with(&|_| assert!(matches!(second.sync(), Err(Error::Busy))));
    assert!(done.is_ok(), "{done:?}");
}

fn a_worker_that_is_dropped_ends_within_a_sync(backend: Backend) {
    let server = todos(backend);
    let a = device(&server);
    for number in 0..50 {
        a.sql(&format!(
            "INSERT INTO todos (id, title, done) VALUES ('{}', 'x', 0)",
            id(number)
        ));
    }
    drop(a.client().start(by_writes()).unwrap());
    a.client().sync().unwrap();
    a.assert_equals(&server.anonymous(), "todos");
}

fn the_offset_of_a_wrong_clock_is_known(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    let settings = colsync_client::Settings {
        server: Some(a.url()),
        clock: colsync_client::Clock::ahead_by(90_000_000),
        ..colsync_client::Settings::default()
    };
    let client = colsync_client::Client::open(a.path(), settings).unwrap();
    client.sync().unwrap();
    let offset = client.status().unwrap().clock_offset_us.unwrap();
    assert!((-91_000_000..-89_000_000).contains(&offset), "{offset}");
}
