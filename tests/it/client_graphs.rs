//! Rows that point to each other, made, changed and deleted offline in whatever order.

use colsync_client::{Client, Mode, Settings};
use colsync_tests::edits::insert;
use colsync_tests::tables::{ITEMS, LISTS, PEOPLE, REMARKS, TEAMS, id};
use colsync_tests::{Backend, Device, Server, ago, on_both};
use serde_json::json;

use crate::client_sync::device;
use crate::ledger;

on_both![
    a_graph_made_offline_arrives_whatever_the_order_and_the_batches,
    a_graph_is_edited_and_deleted_on_both_sides,
    a_deleted_parent_hides_none_of_its_children,
    rows_that_point_to_each_other_arrive,
    what_hangs_on_a_cycle_arrives_with_it,
    a_row_that_points_to_nothing_is_refused_and_leaves_the_cycle_beside_it,
    a_report_changes_its_type_by_the_log,
];

fn three_levels(backend: Backend) -> Server {
    let server = Server::on(backend).table(LISTS).table(ITEMS).table(REMARKS);
    server.start()
}

fn company(backend: Backend) -> Server {
    Server::on(backend).table(TEAMS).table(PEOPLE).start()
}

#[track_caller]
fn same_everywhere(server: &Server, devices: &[&Device], tables: &[&str]) {
    for _ in 0..2 {
        for device in devices {
            device.client().sync().unwrap();
        }
    }
    for device in devices {
        assert!(device.client().pending().unwrap().is_empty());
        assert!(device.client().dead_letters().unwrap().is_empty());
        for table in tables {
            device.assert_equals(&server.anonymous(), table);
        }
    }
}

/// An app that does not check foreign keys, as SQLite by default does not.
fn sql(device: &Device, statement: &str) {
    device.sql(&format!("PRAGMA foreign_keys = OFF; {statement}"));
}

const LEVELS: [&str; 3] = ["lists", "items", "remarks"];

/// List 1 with items 10, 11 and two remarks on each; children before parents.
fn make_graph(device: &Device) {
    for remark in 100..104 {
        let item = 10 + remark % 2;
        sql(
            device,
            &format!(
                "INSERT INTO remarks (id, item_id, text) VALUES ('{}', '{}', 'r{remark}')",
                id(remark),
                id(item)
            ),
        );
    }
    for item in [10, 11] {
        sql(
            device,
            &format!(
                "INSERT INTO items (id, list_id, name) VALUES ('{}', '{}', 'i{item}')",
                id(item),
                id(1)
            ),
        );
    }
    sql(
        device,
        &format!("INSERT INTO lists (id, name) VALUES ('{}', 'l')", id(1)),
    );
}

fn a_graph_made_offline_arrives_whatever_the_order_and_the_batches(backend: Backend) {
    for batch in [1, 2, 1_000] {
        let server = three_levels(backend);
        let (a, b) = (device(&server), device(&server));
        make_graph(&a);
        let settings = Settings {
            server: Some(a.url()),
            batch,
            ..Settings::default()
        };
        let report = Client::open(a.path(), settings).unwrap().sync().unwrap();
        assert_eq!(
            (report.applied, report.rejected),
            (7, 0),
            "batches of {batch}"
        );
        same_everywhere(&server, &[&a, &b], &LEVELS);
        assert_eq!(b.dump("remarks").len(), 4);
    }
}

fn a_graph_is_edited_and_deleted_on_both_sides(backend: Backend) {
    let server = three_levels(backend);
    let (a, b) = (device(&server), device(&server));
    make_graph(&a);
    same_everywhere(&server, &[&a, &b], &LEVELS);
    // One takes the graph apart while the other goes on with it.
    sql(
        &a,
        &format!("DELETE FROM remarks WHERE item_id = '{}'", id(10)),
    );
    sql(&a, &format!("DELETE FROM items WHERE id = '{}'", id(10)));
    sql(&a, "UPDATE lists SET name = 'renamed'");
    sql(
        &b,
        &format!("UPDATE items SET name = 'kept' WHERE id = '{}'", id(10)),
    );
    sql(
        &b,
        &format!(
            "INSERT INTO remarks (id, item_id, text) VALUES ('{}', '{}', 'late')",
            id(105),
            id(10)
        ),
    );
    sql(
        &b,
        &format!("UPDATE remarks SET text = 'new' WHERE id = '{}'", id(101)),
    );
    same_everywhere(&server, &[&a, &b], &LEVELS);
    // The item is gone, and what was written to it is in the ledger. A row that points to it is not.
    let entries = ledger(&server, "table=items");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["lost"]["value"]["columns"]["name"], "kept");
    let texts = a.column("SELECT text FROM remarks ORDER BY text");
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    assert_eq!(texts, ["late", "new", "r103"]);
}

fn a_deleted_parent_hides_none_of_its_children(backend: Backend) {
    let server = three_levels(backend);
    let (a, b) = (device(&server), device(&server));
    make_graph(&a);
    same_everywhere(&server, &[&a, &b], &LEVELS);
    sql(&a, "DELETE FROM lists");
    same_everywhere(&server, &[&a, &b], &LEVELS);
    for device in [&a, &b] {
        assert!(device.dump("lists").is_empty());
        assert_eq!(device.dump("items").len(), 2);
    }
}

fn rows_that_point_to_each_other_arrive(backend: Backend) {
    let server = company(backend);
    let (a, b) = (device(&server), device(&server));
    let person = |number: u64, boss: u64| {
        sql(
            &a,
            &format!(
                "INSERT INTO people (id, name, team_id, boss_id) VALUES ('{}', 'p{number}', '{}', '{}')",
                id(number),
                id(1),
                id(boss)
            ),
        );
    };
    // The team is led by one of its own, who is the boss of all, himself among them; two are each other's.
    sql(
        &a,
        &format!(
            "INSERT INTO teams (id, name, lead_id) VALUES ('{}', 't', '{}')",
            id(1),
            id(10)
        ),
    );
    person(10, 10);
    person(11, 12);
    person(12, 11);
    same_everywhere(&server, &[&a, &b], &["teams", "people"]);
    let bosses = b.column("SELECT boss_id FROM people ORDER BY name");
    assert_eq!(bosses, [10, 12, 11].map(|number| Some(id(number))));
    assert_eq!(b.value("SELECT lead_id FROM teams"), Some(id(10)));
    assert!(ledger(&server, "").is_empty());
}

fn what_hangs_on_a_cycle_arrives_with_it(backend: Backend) {
    let server = company(backend);
    let mut ana = server.client("ana");
    let team = |number: u64, lead: u64| {
        let values = json!({ "name": "t", "lead_id": id(lead) });
        insert("teams", &id(number), &ago(9), &values)
    };
    let person = |number: u64, team: u64| {
        let values = json!({ "name": "p", "team_id": id(team) });
        insert("people", &id(number), &ago(9), &values)
    };
    let receipts = ana.push(&[team(2, 11), person(11, 1), team(1, 10), person(10, 1)]);
    for receipt in &receipts {
        assert_eq!(receipt["status"], "ok", "{receipt}");
    }
    // Each receipt tells of the whole edit.
    assert_eq!(receipts[2]["columns"]["lead_id"]["outcome"], "applied");
    assert_eq!(receipts[2]["columns"]["name"]["outcome"], "applied");
    let again = ana.push_numbered(1, &[team(2, 11), person(11, 1), team(1, 10), person(10, 1)]);
    assert_eq!(again.expect(200).json()["receipts"], json!(receipts));
    let leads = server.column("SELECT CAST(lead_id AS TEXT) FROM teams ORDER BY id");
    assert_eq!(leads, [Some(id(10)), Some(id(11))]);
}

fn a_row_that_points_to_nothing_is_refused_and_leaves_the_cycle_beside_it(backend: Backend) {
    let server = company(backend);
    let mut ana = server.client("ana");
    let team = |number: u64, lead: u64| {
        let values = json!({ "name": "t", "lead_id": id(lead) });
        insert("teams", &id(number), &ago(9), &values)
    };
    let boss = json!({ "name": "p", "team_id": id(1) });
    let receipts = ana.push(&[
        team(1, 10),
        team(2, 99),
        insert("people", &id(10), &ago(9), &boss),
    ]);
    let statuses: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt["status"].clone())
        .collect();
    assert_eq!(statuses, ["ok", "rejected", "ok"]);
    assert_eq!(receipts[1]["code"], "constraint_violation");
    assert_eq!(
        server.value("SELECT count(*) FROM teams").as_deref(),
        Some("1")
    );
    // All or nothing.
    let receipts = ana.push_atomic(&[
        team(3, 11),
        insert("people", &id(11), &ago(9), &json!({ "team_id": id(98) })),
    ]);
    assert!(
        receipts.iter().all(|receipt| receipt["status"] != "ok"),
        "{receipts:?}"
    );
    assert_eq!(
        server.value("SELECT count(*) FROM teams").as_deref(),
        Some("1")
    );
}

/// Lists stand for reports, items for the documents that a report of one type has.
fn a_report_changes_its_type_by_the_log(backend: Backend) {
    let server = Server::on(backend)
        .table(LISTS)
        .table(ITEMS)
        .setting("hard_delete = true")
        .table(REMARKS)
        .setting("hard_delete = true")
        .start();
    let (a, b) = (device(&server), device(&server));
    make_graph(&a);
    same_everywhere(&server, &[&a, &b], &LEVELS);
    sql(&a, "DELETE FROM remarks");
    sql(&a, "DELETE FROM items");
    sql(&a, "UPDATE lists SET name = 'a theft'");
    sql(
        &a,
        &format!(
            "INSERT INTO items (id, list_id, name) VALUES ('{}', '{}', 'receipt')",
            id(12),
            id(1)
        ),
    );
    let settings = Settings {
        server: Some(a.url()),
        mode: Some(Mode::TransactionLog),
        ..Settings::default()
    };
    let report = Client::open(a.path(), settings).unwrap().sync().unwrap();
    assert_eq!(report.rejected, 0);
    assert_eq!(
        server.value("SELECT count(*) FROM remarks").as_deref(),
        Some("0")
    );
    assert_eq!(
        server.column("SELECT name FROM items"),
        [Some("receipt".to_owned())]
    );
    same_everywhere(&server, &[&a, &b], &LEVELS);
    assert_eq!(
        b.value("SELECT name FROM lists").as_deref(),
        Some("a theft")
    );
}
