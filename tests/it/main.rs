//! The stories of colsync, told through its doors: HTTP, SQL, the command line. One file a door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it must be"
)]

mod access;
mod admin;
mod adopted_rows;
mod bad_input;
mod cli;
mod client_article;
mod client_columns;
mod client_cut_pulls;
mod client_faults;
mod client_graphs;
mod client_histories;
mod client_keys;
mod client_kinto;
mod client_large_logs;
mod client_made_anew;
mod client_modes;
mod client_policies;
mod client_refusals;
mod client_rest;
mod client_row_keys;
mod client_schemas;
mod client_starting_over;
mod client_sync;
mod client_tables;
mod client_values;
mod client_worker;
mod clock;
mod column_groups;
mod commit_queue;
mod constraints;
mod cursors;
mod direct_sql;
mod faults;
mod houses;
mod log;
mod loose_keys;
mod merge_stories;
mod on_conflict;
mod openapi;
mod other_writers;
mod patch;
mod policies;
mod protocol_page;
mod proxy;
mod pull;
mod push;
mod push_rejections;
mod refused_alone;
mod removals;
mod renamed_columns;
mod rows;
mod schema_call;
mod steps;
mod torn_pulls;
mod types;
mod whole_rows;

use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Client, Server, row_path};
use serde_json::{Value as Json, json};

/// A server with the table `todos`.
#[track_caller]
fn todos(backend: Backend) -> Server {
    Server::on(backend).table(TODOS).start()
}

/// The path of todo `number`.
fn todo(number: u64) -> String {
    row_path("todos", &id(number))
}

/// A server with todo 1, made an hour ago by a client of its own: title and note are "old".
#[track_caller]
fn one_todo(backend: Backend) -> Server {
    let server = todos(backend);
    make_todo(&server, 1);
    server
}

/// Makes todo `number` as in [`one_todo`]; gives its version.
#[track_caller]
fn make_todo(server: &Server, number: u64) -> i64 {
    let row = json!({ "id": id(number), "title": "old", "note": "old" });
    server.client("maker").create_ago(3600, "todos", &row)
}

/// The ledger as the administrator sees it, oldest first.
#[track_caller]
fn ledger(server: &Server, filter: &str) -> Vec<Json> {
    let answer = server
        .admin()
        .get(&format!("/admin/v1/conflicts?{filter}"))
        .expect(200)
        .json();
    let mut conflicts = answer["conflicts"].as_array().unwrap().clone();
    conflicts.sort_by_key(|conflict| conflict["id"].as_str().unwrap().to_owned());
    conflicts
}

/// Resolves a conflict.
fn resolve(server: &Server, conflict: &Json, decision: &Json) -> colsync_tests::Answer {
    let id = conflict.as_str().expect("a conflict's id");
    server
        .admin()
        .post(&format!("/admin/v1/conflicts/{id}/resolve"), decision)
}

/// A client that has pulled everything there is.
#[track_caller]
fn reader(server: &Server) -> Client {
    let mut reader = server.client("reader");
    assert!(reader.pull().complete);
    reader
}
