//! Logs of rows of which the server does not take all at once.

use colsync_client::Mode;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Device, Server, on_both};

use crate::client_modes::sync;
use crate::client_sync::device;
use crate::make_todo;

on_both![
    a_log_that_is_too_large_goes_in_parts,
    where_an_entry_is_too_large_the_row_goes_as_it_is,
    a_row_that_is_refused_as_it_is_is_a_dead_letter,
];

/// A server that takes small pushes, with two rows.
fn small(backend: Backend) -> (Server, Device) {
    let server = Server::on(backend)
        .table(TODOS)
        .section("[limits]\nbody_bytes = 10000")
        .start();
    make_todo(&server, 1);
    make_todo(&server, 2);
    let device = device(&server);
    (server, device)
}

fn note(device: &Device, number: u64, length: usize) -> String {
    let noise: String = (0..length).map(|_| fastrand::alphanumeric()).collect();
    device.sql(&format!(
        "UPDATE todos SET note = '{noise}' WHERE id = '{}'",
        id(number)
    ));
    noise
}

fn version(server: &Server, number: u64) -> serde_json::Value {
    let path = format!("{}?meta=true", crate::todo(number));
    server.anonymous().get(&path).expect(200).json()["_sync"]["version"].clone()
}

fn a_log_that_is_too_large_goes_in_parts(backend: Backend) {
    let (server, a) = small(backend);
    let notes = [(); 5].map(|()| note(&a, 1, 3_000));
    note(&a, 2, 10);
    let report = sync(&a, Mode::TransactionLog);
    assert_eq!((report.pushed, report.rejected), (6, 0));
    assert_eq!(version(&server, 1), 6, "one for each save");
    assert_eq!(server.anonymous().row("todos", &id(1))["note"], notes[4]);
    a.assert_equals(&server.anonymous(), "todos");
    assert!(a.client().pending().unwrap().is_empty());
    assert!(a.client().dead_letters().unwrap().is_empty());
}

fn where_an_entry_is_too_large_the_row_goes_as_it_is(backend: Backend) {
    let (server, a) = small(backend);
    for length in [10, 20_000, 11] {
        note(&a, 1, length);
    }
    let last = note(&a, 2, 12);
    let report = sync(&a, Mode::TransactionLog);
    assert_eq!(report.rejected, 0);
    assert_eq!(server.anonymous().row("todos", &id(2))["note"], last);
    a.assert_equals(&server.anonymous(), "todos");
    assert!(a.client().pending().unwrap().is_empty());
    assert!(a.client().dead_letters().unwrap().is_empty());
}

fn a_row_that_is_refused_as_it_is_is_a_dead_letter(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let a = device(&server);
    let deep = format!("{}{}", "[".repeat(62), "]".repeat(62));
    a.sql(&format!(
        "INSERT INTO todos (id, title, done, data) VALUES ('{}', 'deep', 0, '{deep}');
         UPDATE todos SET title = 'deeper';
         INSERT INTO todos (id, title, done) VALUES ('{}', 'other', 0)",
        id(1),
        id(2)
    ));
    let report = sync(&a, Mode::TransactionLog);
    assert_eq!((report.applied, report.rejected), (1, 1));
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].edit["columns"]["title"]["value"], "deeper");
    assert!(a.client().pending().unwrap().is_empty());
    a.assert_equals(&server.anonymous(), "todos");
    assert_eq!(a.dump("todos").len(), 1);
}
