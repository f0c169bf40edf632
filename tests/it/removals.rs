//! Rows that are removed for good while others point to them: nothing goes with a row, and nothing changes.

use colsync_tests::{Backend, Client, Server, ago, on_both};
use diesel::connection::SimpleConnection as _;
use serde_json::{Value as Json, json};

use crate::faults::until_waiting;
use crate::{ledger, reader, resolve};

on_both![
    a_row_that_others_point_to_stays,
    it_goes_with_those_that_are_removed_too,
    a_row_that_would_go_by_way_of_another_table_keeps_it,
    a_row_that_points_to_itself_goes_alone,
    a_refused_removal_can_be_taken_once_nothing_points_to_the_row,
];

/// Sends the hard deletes of rows, a table and an id each, as the log `number`.
fn remove(client: &Client, number: i64, rows: &[(&str, &str)]) -> Vec<Json> {
    let entry = |(table, id): &(&str, &str)| json!({ "table": table, "id": id, "action": "hard_delete", "base_version": 1, "at": ago(1) });
    let entries: Vec<Json> = rows.iter().map(entry).collect();
    let body = json!({ "push": number, "entries": entries });
    let answer = client.post("/v1/sync/log", &body).expect(200).json();
    answer["receipts"].as_array().unwrap().clone()
}

fn server(backend: Backend, tables: &str, synced: &[&str]) -> Server {
    let made = Server::on(backend).before(tables);
    let synced = synced.iter().fold(made, |server, table| {
        server.synced(table).setting("hard_delete = true")
    });
    synced.start()
}

const ALBUMS: &str = "CREATE TABLE albums (id INTEGER PRIMARY KEY, title TEXT);
    CREATE TABLE covers (album INTEGER PRIMARY KEY REFERENCES albums (id) ON DELETE CASCADE);";

/// An album with a track, and what becomes of that when the album is deleted.
fn album(backend: Backend, action: &str) -> Server {
    let tracks = format!(
        "CREATE TABLE tracks (id INTEGER PRIMARY KEY, name TEXT, album INTEGER REFERENCES albums (id) ON DELETE {action});"
    );
    let server = server(backend, &format!("{ALBUMS}{tracks}"), &["albums", "tracks"]);
    server.sql(
        "INSERT INTO albums (id, title) VALUES (1, 'a'), (2, 'b'); INSERT INTO covers VALUES (2);
         INSERT INTO tracks (id, name, album) VALUES (7, 'precious', 1)",
    );
    server
}

const TOLD: &str = "SELECT name || ' ' || coalesce(CAST(album AS TEXT), 'nowhere') FROM tracks";

fn a_row_that_others_point_to_stays(backend: Backend) {
    for action in ["CASCADE", "SET NULL", "SET DEFAULT"] {
        let server = album(backend, action);
        let receipts = remove(
            &server.client("ana"),
            1,
            &[("albums", "1"), ("albums", "2")],
        );
        assert_eq!(receipts[0]["code"], "constraint_violation", "{action}");
        assert_eq!(receipts[0]["field"], "tracks (album)", "{action}");
        assert_eq!(server.value(TOLD).as_deref(), Some("precious 1"));
        // What is not synced is its owner's to take along.
        assert_eq!(receipts[1]["status"], "ok", "{action}");
        let left = "SELECT (SELECT count(*) FROM albums) + (SELECT count(*) FROM covers)";
        assert_eq!(server.value(left).as_deref(), Some("1"));
        assert_eq!(ledger(&server, "")[0]["kind"], "constraint");
    }
}

fn it_goes_with_those_that_are_removed_too(backend: Backend) {
    let server = album(backend, "CASCADE");
    let mut reader = reader(&server);
    let receipts = remove(
        &server.client("ana"),
        1,
        &[("albums", "1"), ("tracks", "7")],
    );
    assert!(
        receipts.iter().all(|one| one["status"] == "ok"),
        "{receipts:?}"
    );
    let pulled = reader.pull();
    for id in ["1", "7"] {
        assert_eq!(pulled.row(id)["removed"], "purged");
    }
}

fn a_row_that_would_go_by_way_of_another_table_keeps_it(backend: Backend) {
    let tables = "CREATE TABLE albums (id INTEGER PRIMARY KEY, title TEXT);
        CREATE TABLE discs (id INTEGER PRIMARY KEY, album INTEGER REFERENCES albums (id) ON DELETE CASCADE);
        CREATE TABLE tracks (id INTEGER PRIMARY KEY, name TEXT, disc INTEGER REFERENCES discs (id) ON DELETE CASCADE);";
    let server = server(backend, tables, &["albums", "tracks"]);
    server.sql(
        "INSERT INTO albums (id, title) VALUES (1, 'a'); INSERT INTO discs VALUES (3, 1);
         INSERT INTO tracks (id, name, disc) VALUES (7, 'precious', 3)",
    );
    let receipts = remove(&server.client("ana"), 1, &[("albums", "1")]);
    assert_eq!(receipts[0]["field"], "discs (album)");
    assert_eq!(
        server.value("SELECT name FROM tracks").as_deref(),
        Some("precious")
    );
}

fn a_row_that_points_to_itself_goes_alone(backend: Backend) {
    let tables = "CREATE TABLE people (id INTEGER PRIMARY KEY, boss INTEGER REFERENCES people (id) ON DELETE CASCADE);";
    let server = server(backend, tables, &["people"]);
    server.sql("INSERT INTO people (id, boss) VALUES (1, 1), (2, 1)");
    let ana = server.client("ana");
    let receipts = remove(&ana, 1, &[("people", "1")]);
    assert_eq!(receipts[0]["code"], "constraint_violation");
    let receipts = remove(&ana, 2, &[("people", "1"), ("people", "2")]);
    assert!(
        receipts.iter().all(|one| one["status"] == "ok"),
        "{receipts:?}"
    );
    assert_eq!(
        server.value("SELECT count(*) FROM people").as_deref(),
        Some("0")
    );
}

fn a_refused_removal_can_be_taken_once_nothing_points_to_the_row(backend: Backend) {
    let server = album(backend, "CASCADE");
    let mut reader = reader(&server);
    let receipts = remove(&server.client("ana"), 1, &[("albums", "1")]);
    assert_eq!(receipts[0]["code"], "constraint_violation");
    let conflict = &receipts[0]["conflict"];
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], "hard_delete");
    let take = json!({ "decision": "take_lost" });
    let _ = resolve(&server, conflict, &take).problem(409, "constraint_violation");
    server.sql("DELETE FROM tracks");
    let answer = resolve(&server, conflict, &take).expect(200).json();
    assert_eq!(answer["conflict"]["state"], "resolved");
    let left = "SELECT count(*) FROM albums WHERE id = 1";
    assert_eq!(server.value(left).as_deref(), Some("0"));
    assert_eq!(reader.pull().row("1")["removed"], "purged");
    assert_eq!(ledger(&server, "").len(), 1, "and nothing was lost by it");
}

#[test]
fn a_row_that_another_transaction_makes_meanwhile_is_seen() {
    let server = album(Backend::Postgres, "CASCADE");
    let mut other = server.pg();
    other
        .batch_execute("BEGIN; INSERT INTO tracks (id, name, album) VALUES (8, 'new', 2)")
        .unwrap();
    let ana = server.client("ana");
    let receipts = std::thread::scope(|scope| {
        let removal = scope.spawn(|| remove(&ana, 1, &[("albums", "2")]));
        until_waiting(&server);
        other.batch_execute("COMMIT").unwrap();
        removal.join().unwrap()
    });
    assert_eq!(receipts[0]["field"], "tracks (album)");
    assert_eq!(
        server.value("SELECT count(*) FROM tracks").as_deref(),
        Some("2")
    );
}
