//! The named steps: each is come to, so that a crash at each can be tried.

use std::os::unix::process::ExitStatusExt as _;

use colsync_shared::step;
use colsync_tests::device::until;
use colsync_tests::edits::insert;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Client, Device, Server, on_both, process};
use serde_json::json;

use crate::todos;

/// What SIGKILL is called on.
const KILLED: Option<i32> = Some(9);

on_both![
    a_push_and_a_pull_come_to_each_step_of_the_server,
    a_sync_comes_to_each_step_of_the_client,
];

fn a_push_and_a_pull_come_to_each_step_of_the_server(backend: Backend) {
    let small = "[limits]\npage_rows = 2";
    let mut server = Server::on(backend).table(TODOS).section(small).start();
    server.terminate();
    for (number, step) in (1..).zip(step::OF_SERVER) {
        server.resume_until(step, 1);
        push_and_pull(&server.client(step), number);
        let mut status = None;
        until(step, || {
            status = server.ended();
            status.is_some()
        });
        assert_eq!(status.unwrap().signal(), KILLED, "{step}");
        // What it was sent, it can be sent again.
        server.resume();
        assert!(push_and_pull(&server.client(step), number), "{step}");
        server.terminate();
    }
}

/// Makes five rows and pulls all there are in several chunks; whether both were answered.
fn push_and_pull(client: &Client, number: u64) -> bool {
    let at = "2026-01-01T00:00:00Z";
    let edits: Vec<_> = (0..5)
        .map(|row| {
            insert(
                "todos",
                &id(number * 10 + row),
                at,
                &json!({ "title": "x" }),
            )
        })
        .collect();
    let push = json!({ "push": 1, "edits": edits });
    let pushed = client.request("POST", "/v1/sync/push").json(&push);
    let Ok(pushed) = pushed.try_send() else {
        return false;
    };
    let _ = pushed.expect(200);
    let pulled = client.request("GET", "/v1/sync/pull").try_send();
    pulled.is_ok_and(|pulled| pulled.expect(200).text().ends_with("\"complete\":true}\n"))
}

fn a_sync_comes_to_each_step_of_the_client(backend: Backend) {
    let server = todos(backend);
    for (number, step) in (1..).zip(step::OF_CLIENT) {
        let device = Device::new(&server).tracking(TODOS);
        let write = |column: &str| {
            let of = format!(
                "INSERT INTO todos (id, {column}) VALUES ('{}', 'x')",
                id(number)
            );
            let or = format!("ON CONFLICT (id) DO UPDATE SET {column} = 'y'");
            device.sql(&format!("{of} {or}"));
        };
        write("title");
        device.client().sync().unwrap();
        if step.starts_with("identity") {
            let before = std::fs::read(device.path()).unwrap();
            write("title");
            device.client().sync().unwrap();
            drop(std::fs::remove_file(format!(
                "{}-wal",
                device.path().display()
            )));
            std::fs::write(device.path(), before).unwrap();
        }
        if step.starts_with("resync") {
            server.sql("DELETE FROM colsync_anchors");
        }
        write("note");
        let other = json!({ "id": id(1000 + number), "title": "another's" });
        server.client("other").create_ago(60, "todos", &other);
        let told = device
            .command(&["sync"])
            .env("COLSYNC_KILL_AT", format!("{step}:1"))
            .output()
            .unwrap();
        assert_eq!(
            told.status.signal(),
            KILLED,
            "{step}: {}",
            process::said(&told)
        );
        device.client().sync().unwrap();
        device.assert_equals(&server.anonymous(), "todos");
        assert_eq!(device.client().pending().unwrap().len(), 0, "{step}");
    }
}
