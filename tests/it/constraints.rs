//! Edits that merge, and then break a constraint: they are refused, and the ledger keeps them.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{ITEMS, LISTS, TableDef, id};
use colsync_tests::{Backend, Device, Server, ago, on_both, row_path};
use serde_json::{Value as Json, json};

use crate::{ledger, resolve};

on_both![
    an_edit_that_breaks_a_constraint_is_kept_in_the_ledger,
    a_repeated_push_leaves_no_second_entry,
    a_refused_write_over_rest_names_its_entry,
    the_same_edit_sent_again_is_kept_once,
    an_edit_that_passes_once_its_parent_is_there_leaves_no_entry,
    an_atomic_push_leaves_an_entry_of_the_edit_at_fault_only,
    what_only_commit_refuses_is_kept_too,
    what_commit_would_refuse_takes_no_other_edit_along,
    a_row_that_others_point_to_until_commit_stays,
    a_refused_edit_can_be_taken_once_the_constraint_allows_it,
    a_refused_insert_can_be_taken_with_another_value,
    a_row_whose_key_the_database_makes_can_be_taken,
    a_device_leaves_one_entry_however_often_it_tries,
    a_deleted_row_keeps_its_unique_value_unless_the_index_leaves_it_out,
];

/// Items 1 (code taken, amount 1) and 2, made by Ana an hour ago.
fn items(backend: Backend) -> Server {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let one = json!({ "id": id(1), "name": "one", "code": "taken", "amount": 1 });
    server.client("maker").create_ago(3600, "items", &one);
    let two = json!({ "id": id(2), "name": "two" });
    server.client("maker").create_ago(3600, "items", &two);
    server
}

fn an_edit_that_breaks_a_constraint_is_kept_in_the_ledger(backend: Backend) {
    let server = items(backend);
    let mut ana = server.client("ana");
    let receipts = ana.push(&[
        insert("items", &id(3), &ago(60), &json!({ "name": "good" })),
        insert("items", &id(4), &ago(60), &json!({ "code": "no name" })),
        update(
            "items",
            &id(2),
            1,
            &ago(60),
            &json!({ "amount": -5, "name": "x" }),
        ),
        update("items", &id(2), 1, &ago(60), &json!({ "code": "taken" })),
        update("items", &id(2), 1, &ago(60), &json!({ "list_id": id(99) })),
        update("items", &id(2), 1, &ago(60), &json!({ "name": "good" })),
    ]);
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 4, "{kept:#?}");
    for (entry, receipt) in kept.iter().zip(&receipts[1..]) {
        assert_eq!(receipt["status"], "rejected", "{receipt}");
        assert_eq!(receipt["conflict"], entry["id"], "{receipt}");
        assert_eq!(
            (&entry["kind"], &entry["state"]),
            (&json!("constraint"), &json!("decided"))
        );
        assert_eq!(entry["lost"]["client"]["id"], ana.id());
        assert_ne!(entry["policy"], "");
    }
    assert_eq!(
        (&receipts[0]["conflict"], &receipts[5]["conflict"]),
        (&Json::Null, &Json::Null)
    );
    let [no_name, check, unique, foreign] = kept.as_slice() else {
        unreachable!("there are four");
    };
    assert_eq!(
        (&no_name["row"], &no_name["column"]),
        (&json!(id(4)), &json!("name"))
    );
    assert_eq!(no_name["kept"]["value"], Json::Null);
    assert_eq!(no_name["lost"]["value"], json!({ "code": "no name" }));
    assert_eq!(check["lost"]["value"], json!({ "amount": -5, "name": "x" }));
    assert_eq!(check["kept"]["value"]["name"], "two", "the row as it stood");
    assert_eq!(check["kept"]["client"]["id"], server.client("maker").id());
    assert_eq!(unique["lost"]["value"], json!({ "code": "taken" }));
    assert_eq!(foreign["lost"]["value"], json!({ "list_id": id(99) }));
    if backend == Backend::Postgres {
        let names = [&check["policy"], &unique["policy"], &foreign["policy"]];
        assert_eq!(
            names,
            ["items_amount_check", "items_code_key", "items_list_id_fkey"]
        );
    }
    assert_eq!(ana.row("items", &id(2))["name"], "good");
}

fn bad(number: u64) -> Json {
    update("items", &id(number), 1, &ago(60), &json!({ "amount": -5 }))
}

fn a_repeated_push_leaves_no_second_entry(backend: Backend) {
    let server = items(backend);
    let ana = server.client("ana");
    let edits = [bad(2), bad(1)];
    let first = ana.push_numbered(1, &edits).expect(200).json();
    assert_eq!(ledger(&server, "").len(), 2);
    assert_eq!(ana.push_numbered(1, &edits).expect(200).json(), first);
    assert_eq!(ledger(&server, "").len(), 2);
}

fn a_refused_write_over_rest_names_its_entry(backend: Backend) {
    let server = items(backend);
    let ana = server.client("ana");
    let path = row_path("items", &id(2));
    let patch = |key: &str| {
        let request = ana.request("PATCH", &path).header("Idempotency-Key", key);
        request
            .json(&json!({ "amount": -1 }))
            .send()
            .problem(409, "constraint_violation")
            .json()
    };
    let first = patch("one");
    assert_eq!(patch("one"), first);
    assert_eq!(ledger(&server, "").len(), 1);
    let refused = ana.request("PATCH", &path).json_patch(&json!([
        { "op": "add", "path": "/amount", "value": -2 },
    ]));
    let by_operations = refused.send().problem(409, "constraint_violation").json();
    let row = json!({ "name": "put", "amount": -3 });
    let put = ana
        .put(&path, &row)
        .problem(409, "constraint_violation")
        .json();
    let row = json!({ "name": "x", "code": "taken" });
    let post = ana
        .post("/v1/tables/items/rows", &row)
        .problem(409, "constraint_violation")
        .json();
    let kept = ledger(&server, "");
    let ids: Vec<&Json> = kept.iter().map(|entry| &entry["id"]).collect();
    let told = [&first, &by_operations, &put, &post].map(|problem| &problem["conflict"]);
    assert_eq!(ids, told);
    let lost: Vec<&Json> = kept.iter().map(|entry| &entry["lost"]["value"]).collect();
    assert_eq!(*lost[1], json!({ "amount": -2 }));
    assert_eq!(
        *lost[2],
        json!({ "name": "put", "amount": -3, "code": null, "list_id": null })
    );
    assert_eq!(*lost[3], json!({ "name": "x", "code": "taken" }));
    assert_eq!(ana.row("items", &id(2))["name"], "two");
}

fn the_same_edit_sent_again_is_kept_once(backend: Backend) {
    let server = items(backend);
    let mut ana = server.client("ana");
    let receipts = ana.push(&[bad(2), bad(2), bad(1)]);
    let again = ana.push_one(bad(2));
    assert_eq!(receipts[0]["conflict"], receipts[1]["conflict"]);
    assert_eq!(receipts[0]["conflict"], again["conflict"]);
    assert_eq!(ledger(&server, "").len(), 2);
    let other = server.client("ben").push_one(bad(2));
    assert_ne!(
        other["conflict"], again["conflict"],
        "another client's is another"
    );
    let _ = resolve(&server, &again["conflict"], &json!({ "decision": "keep" })).expect(200);
    let afresh = ana.push_one(bad(2));
    assert_ne!(
        afresh["conflict"], again["conflict"],
        "that one has its decision"
    );
    assert_eq!(ledger(&server, "").len(), 4);
}

fn an_edit_that_passes_once_its_parent_is_there_leaves_no_entry(backend: Backend) {
    let server = items(backend);
    let child = |number: u64, list: u64| {
        let values = json!({ "name": "child", "list_id": id(list) });
        insert("items", &id(number), &ago(60), &values)
    };
    let receipts = server.client("ana").push(&[
        update("items", &id(2), 1, &ago(60), &json!({ "list_id": id(50) })),
        insert("lists", &id(50), &ago(60), &json!({ "name": "parent" })),
        child(4, 51),
        bad(1),
    ]);
    assert_eq!(receipts[0]["status"], "ok", "{receipts:#?}");
    let kept = ledger(&server, "");
    let mut rows: Vec<&str> = kept
        .iter()
        .filter_map(|entry| entry["row"].as_str())
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [id(1), id(4)]);
}

fn an_atomic_push_leaves_an_entry_of_the_edit_at_fault_only(backend: Backend) {
    let server = items(backend);
    let mut ana = server.client("ana");
    let receipts = ana.push_atomic(&[
        update("items", &id(1), 1, &ago(7200), &json!({ "name": "new" })),
        bad(2),
        insert("items", &id(3), &ago(60), &json!({ "name": "new" })),
    ]);
    let statuses: Vec<&Json> = receipts.iter().map(|receipt| &receipt["status"]).collect();
    assert_eq!(statuses, ["rolled_back", "rejected", "rolled_back"]);
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(
        (&kept[0]["row"], &kept[0]["id"]),
        (&json!(id(2)), &receipts[1]["conflict"])
    );
    let rows = server.column("SELECT name FROM items ORDER BY id");
    assert_eq!(
        rows.into_iter().flatten().collect::<Vec<_>>(),
        ["one", "two"]
    );
}

/// A constraint that is checked at the end of the transaction, and that no backend checks before.
const LATE: TableDef = TableDef {
    name: "late",
    sqlite: "CREATE TABLE late (id UUID PRIMARY KEY NOT NULL,
             list_id UUID REFERENCES lists (id) DEFERRABLE INITIALLY DEFERRED);",
    postgres: "CREATE TABLE late (id uuid PRIMARY KEY,
               list_id uuid REFERENCES lists (id) DEFERRABLE INITIALLY DEFERRED);",
};

fn what_only_commit_refuses_is_kept_too(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(LATE).start();
    let orphan = insert("late", &id(1), &ago(60), &json!({ "list_id": id(9) }));
    let receipt = server.client("ana").push_one(orphan);
    assert_eq!(receipt["code"], "constraint_violation");
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1);
    assert_eq!(receipt["conflict"], kept[0]["id"]);
    assert_eq!(kept[0]["lost"]["value"], json!({ "list_id": id(9) }));
}

fn what_commit_would_refuse_takes_no_other_edit_along(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(LATE).start();
    let late = |number: u64, list: Option<u64>| {
        let values = json!({ "list_id": list.map(id) });
        insert("late", &id(number), &ago(60), &values)
    };
    let point = |list: u64| update("late", &id(4), 1, &ago(50), &json!({ "list_id": id(list) }));
    let edits = [
        late(1, Some(9)),
        // Its list comes after it.
        late(2, Some(3)),
        insert("lists", &id(3), &ago(60), &json!({ "name": "good" })),
        late(4, None),
        point(9),
        point(3),
    ];
    let receipts = server.client("ana").push(&edits);
    let statuses: Vec<&Json> = receipts.iter().map(|receipt| &receipt["status"]).collect();
    assert_eq!(
        statuses,
        ["rejected", "ok", "ok", "ok", "rejected", "ok"],
        "{receipts:#?}"
    );
    let rows = server.column("SELECT list_id FROM late ORDER BY id");
    assert_eq!(rows, [Some(id(3)), Some(id(3))]);
    let kept = ledger(&server, "");
    let kept: Vec<_> = kept.iter().map(|entry| &entry["row"]).collect();
    assert_eq!(kept, [&json!(id(1)), &json!(id(4))]);
}

#[test]
fn rows_that_exchange_a_unique_value_pass_beside_a_refused_edit() {
    let table = "CREATE TABLE ranks (id integer PRIMARY KEY, name text CHECK (name <> ''),
                 place integer UNIQUE DEFERRABLE INITIALLY DEFERRED);";
    let server = Server::on(Backend::Postgres).before(table);
    let server = server.synced("ranks").start();
    server.sql("INSERT INTO ranks (id, place) VALUES (1, 1), (2, 2), (3, 3)");
    let edit = |id, version, values| update("ranks", id, version, &ago(60), &values);
    let mut ana = server.client("ana");
    let statuses = |receipts: Vec<Json>| -> Vec<Json> {
        let each = receipts.iter().map(|receipt| receipt["status"].clone());
        each.collect()
    };
    let receipts = ana.push(&[
        edit("1", 1, json!({ "place": 2 })),
        edit("2", 1, json!({ "place": 1 })),
        edit("3", 1, json!({ "name": "" })),
    ]);
    assert_eq!(statuses(receipts), ["ok", "ok", "rejected"]);
    // Nothing makes room for this one.
    let receipts = ana.push(&[
        edit("1", 2, json!({ "place": 3 })),
        edit("3", 1, json!({ "name": "three" })),
    ]);
    assert_eq!(statuses(receipts), ["rejected", "ok"]);
    let places = server.column("SELECT place::text FROM ranks ORDER BY id");
    let places: Vec<String> = places.into_iter().flatten().collect();
    assert_eq!(places, ["2", "1", "3"]);
    assert_eq!(ledger(&server, "").len(), 2);
}

fn a_row_that_others_point_to_until_commit_stays(backend: Backend) {
    let leave = "hard_delete = true";
    let server = Server::on(backend).table(LISTS).setting(leave);
    let server = server.table(LATE).setting(leave).start();
    let mut ana = server.client("ana");
    for number in [1, 2] {
        let list = json!({ "name": "list" });
        let late = json!({ "list_id": id(number) });
        ana.push(&[
            insert("lists", &id(number), &ago(60), &list),
            insert("late", &id(number), &ago(60), &late),
        ]);
    }
    let remove = |table: &str, number: u64| json!({ "table": table, "id": id(number), "action": "hard_delete", "base_version": 1, "at": ago(1) });
    let rename = json!({ "table": "lists", "id": id(1), "action": "update", "base_version": 1, "at": ago(1),
                         "columns": { "name": "new" } });
    // The second list goes before the row that points to it.
    let entries = [
        rename,
        remove("lists", 1),
        remove("lists", 2),
        remove("late", 2),
    ];
    let body = json!({ "push": 3, "entries": entries });
    let answer = ana.post("/v1/sync/log", &body).expect(200).json();
    let statuses = answer["receipts"].as_array().unwrap().iter();
    let statuses: Vec<&Json> = statuses.map(|receipt| &receipt["status"]).collect();
    assert_eq!(statuses, ["ok", "rejected", "ok", "ok"], "{answer:#}");
    assert_eq!(
        server.column("SELECT name FROM lists"),
        [Some("new".to_owned())]
    );
    assert_eq!(server.column("SELECT list_id FROM late"), [Some(id(1))]);
}

fn a_refused_edit_can_be_taken_once_the_constraint_allows_it(backend: Backend) {
    let server = items(backend);
    let mut ana = server.client("ana");
    let edit = update(
        "items",
        &id(2),
        1,
        &ago(60),
        &json!({ "code": "taken", "amount": 7 }),
    );
    let receipt = ana.push(&[edit]).remove(0);
    let conflict = &receipt["conflict"];
    let before = server.dump();
    let take = json!({ "decision": "take_lost" });
    let _ = resolve(&server, conflict, &take).problem(409, "constraint_violation");
    let wrong = json!({ "decision": "value", "value": 7 });
    let _ = resolve(&server, conflict, &wrong).problem(422, "invalid_value");
    let unknown = json!({ "decision": "value", "value": { "colour": "red" } });
    let _ = resolve(&server, conflict, &unknown).problem(422, "unknown_column");
    assert_eq!(
        server.dump(),
        before,
        "the entry stays as it is, and makes no other"
    );
    let _ = ana
        .patch(&row_path("items", &id(1)), &json!({ "code": "free" }))
        .expect(200);
    let answer = resolve(&server, conflict, &take).expect(200).json();
    assert_eq!(answer["conflict"]["state"], "resolved");
    assert_eq!(answer["receipt"]["columns"]["code"]["outcome"], "applied");
    let row = ana.row("items", &id(2));
    assert_eq!((&row["code"], &row["amount"]), (&json!("taken"), &json!(7)));
    let _ = resolve(&server, conflict, &take).problem(409, "already_resolved");
}

fn a_refused_insert_can_be_taken_with_another_value(backend: Backend) {
    let server = items(backend);
    let mut ana = server.client("ana");
    let edit = insert(
        "items",
        &id(3),
        &ago(60),
        &json!({ "name": "three", "code": "taken" }),
    );
    let conflict = ana.push(&[edit]).remove(0)["conflict"].clone();
    let value = json!({ "name": "three", "code": "other" });
    let decision = json!({ "decision": "value", "value": value });
    let answer = resolve(&server, &conflict, &decision).expect(200).json();
    assert_eq!(answer["receipt"]["created"], true);
    assert_eq!(ana.row("items", &id(3))["code"], "other");
}

/// The database makes the key, so that a refused row has none.
const NUMBERED: TableDef = TableDef {
    name: "numbered",
    sqlite: "CREATE TABLE numbered (id INTEGER PRIMARY KEY, amount INTEGER CHECK (amount >= 0));",
    postgres: "CREATE TABLE numbered (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
               amount bigint CHECK (amount >= 0));",
};

fn a_row_whose_key_the_database_makes_can_be_taken(backend: Backend) {
    let server = Server::on(backend).table(NUMBERED).start();
    let ana = server.client("ana");
    let post = ana.post("/v1/tables/numbered/rows", &json!({ "amount": -1 }));
    let conflict = post.problem(409, "constraint_violation").json()["conflict"].clone();
    let _ = resolve(&server, &conflict, &json!({ "decision": "take_lost" }))
        .problem(409, "constraint_violation");
    let decision = json!({ "decision": "value", "value": { "amount": 1 } });
    let answer = resolve(&server, &conflict, &decision).expect(200).json();
    let made = answer["receipt"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ana.row("numbered", &made)["amount"], 1);
}

fn a_device_leaves_one_entry_however_often_it_tries(backend: Backend) {
    let server = items(backend);
    let device = Device::new(&server).tracking(LISTS);
    // The app's own table lets through what the server's does not.
    device.sql("CREATE TABLE items (id UUID PRIMARY KEY NOT NULL, list_id UUID, name TEXT, code TEXT, amount INTEGER)");
    device.client().track("items").unwrap();
    device.client().sync().unwrap();
    device.sql(&format!(
        "UPDATE items SET amount = -5 WHERE id = '{}'",
        id(2)
    ));
    device.sql(&format!(
        "UPDATE items SET name = 'good' WHERE id = '{}'",
        id(1)
    ));
    device.client().sync().unwrap();
    let kept = ledger(&server, "");
    assert_eq!(
        kept.len(),
        1,
        "the client sends a refused edit again after the others"
    );
    assert_eq!(kept[0]["lost"]["value"], json!({ "amount": -5 }));
    assert_eq!(device.client().dead_letters().unwrap().len(), 1);
    assert_eq!(server.anonymous().row("items", &id(1))["name"], "good");
    device.assert_equals(&server.anonymous(), "items");
}

/// Codes that are unique among the rows that are not deleted.
const CODES: TableDef = TableDef {
    name: "codes",
    sqlite: "CREATE TABLE codes (id UUID PRIMARY KEY NOT NULL, code TEXT);",
    postgres: "CREATE TABLE codes (id uuid PRIMARY KEY, code text);",
};

fn a_deleted_row_keeps_its_unique_value_unless_the_index_leaves_it_out(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS);
    let server = server.table(CODES).start();
    server.sql("CREATE UNIQUE INDEX codes_code ON codes (code) WHERE sync_deleted_at IS NULL");
    let a = Device::new(&server);
    a.client().init(&[]).unwrap();
    a.sql(&format!(
        "INSERT INTO items (id, name, code) VALUES ('{0}', 'one', 'x'); \
         INSERT INTO codes (id, code) VALUES ('{0}', 'x')",
        id(1)
    ));
    a.client().sync().unwrap();
    // All of it is one push.
    a.sql(&format!(
        "DELETE FROM items; INSERT INTO items (id, name, code) VALUES ('{0}', 'two', 'x'); \
         DELETE FROM codes; INSERT INTO codes (id, code) VALUES ('{0}', 'x')",
        id(2)
    ));
    a.client().sync().unwrap();
    let letters = a.client().dead_letters().unwrap();
    let told: Vec<_> = letters
        .iter()
        .map(|letter| (letter.table.as_str(), letter.code.as_str()))
        .collect();
    assert_eq!(told, [("items", "constraint_violation")]);
    assert_eq!(server.anonymous().row("codes", &id(2))["code"], "x");
    a.assert_equals(&server.anonymous(), "codes");
}
