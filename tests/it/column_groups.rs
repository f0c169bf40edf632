//! Columns that mean something together only: they are stamped and decided as one.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{PLACES, TODOS, id};
use colsync_tests::{Backend, Client, Server, ago, on_both, process, row_path};
use serde_json::{Value as Json, json};

use crate::client_sync::{device, sync_while};
use crate::{ledger, make_todo, reader, resolve};

on_both![
    two_positions_never_mix_and_the_losing_one_is_kept_as_one,
    an_edit_of_one_column_is_an_edit_of_its_group,
    an_edit_that_cannot_know_the_whole_group_loses,
    a_lost_group_is_brought_back_as_one,
    a_decision_about_a_group_names_its_columns,
    under_the_manual_policy_a_group_waits_as_one,
    a_bare_patch_of_one_column_is_taken_as_sql_takes_it,
    direct_sql_of_one_column_is_a_change_of_its_group,
    a_whole_row_writes_a_group_as_one,
    a_group_is_made_whole_by_its_first_writer,
    groups_are_shown_with_the_schema,
    a_group_that_the_table_cannot_have_is_refused,
    the_ledger_of_an_earlier_version_is_kept,
    devices_that_move_one_place_end_with_one_of_both_positions,
    a_device_that_edits_half_a_position_during_its_sync_mixes_nothing,
    a_device_sends_only_the_groups_that_it_touched,
];

const GROUP: &str = "groups = { position = ['latitude', 'longitude'] }";

/// A server with place 1, made an hour ago at 1, 1.
pub(crate) fn place(backend: Backend) -> Server {
    one_place(Server::on(backend).table(PLACES).setting(GROUP).start())
}

fn one_place(server: Server) -> Server {
    let row = json!({ "id": id(1), "name": "old", "latitude": 1.0, "longitude": 1.0 });
    server.client("maker").create_ago(3600, "places", &row);
    server
}

pub(crate) fn at(latitude: f64, longitude: f64) -> Json {
    json!({ "latitude": latitude, "longitude": longitude })
}

fn moved(seconds: i64, to: &Json) -> Json {
    update("places", &id(1), 1, &ago(seconds), to)
}

pub(crate) fn position(client: &Client) -> Json {
    let row = client.row("places", &id(1));
    json!({ "latitude": row["latitude"], "longitude": row["longitude"] })
}

fn outcomes(receipt: &Json) -> [&Json; 2] {
    ["latitude", "longitude"].map(|column| &receipt["columns"][column]["outcome"])
}

fn stamps(server: &Server) -> [Json; 2] {
    let path = format!("{}?meta=true", row_path("places", &id(1)));
    let row = server.anonymous().get(&path).expect(200).json();
    ["latitude", "longitude"].map(|column| row["_sync"]["columns"][column].clone())
}

fn two_positions_never_mix_and_the_losing_one_is_kept_as_one(backend: Backend) {
    let server = place(backend);
    let mut reader = reader(&server);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(moved(60, &at(2.0, 1.0)));
    let mut lost = at(1.0, 3.0);
    lost["name"] = json!("of ben");
    let receipt = ben.push_one(moved(120, &lost));
    assert_eq!(outcomes(&receipt), ["superseded", "superseded"]);
    assert_eq!(receipt["columns"]["name"]["outcome"], "applied");
    assert_eq!(receipt["columns"]["latitude"]["value"], 2.0);
    assert_eq!(position(&ben), at(2.0, 1.0));
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1, "one entry for the group");
    let entry = &kept[0];
    for column in ["latitude", "longitude"] {
        assert_eq!(receipt["columns"][column]["conflict"], entry["id"]);
    }
    assert_eq!(
        (&entry["kind"], &entry["column"]),
        (&json!("group"), &json!("position"))
    );
    assert_eq!(entry["policy"], "last_writer_wins");
    assert_eq!(entry["kept"]["value"], at(2.0, 1.0));
    assert_eq!(entry["lost"]["value"], at(1.0, 3.0));
    assert_eq!(entry["kept"]["client"]["id"], ana.id());
    assert_eq!(entry["lost"]["client"]["id"], ben.id());
    assert_eq!(ledger(&server, "column=position").len(), 1);
    let columns = reader.pull().row(&id(1))["columns"].clone();
    assert_eq!(columns, json!({ "latitude": 2.0, "name": "of ben" }));
    // The later one wins whole, whichever of its columns it had changed.
    let receipt = server.client("eve").push_one(moved(30, &at(1.0, 4.0)));
    assert_eq!(outcomes(&receipt), ["applied", "applied"]);
    assert_eq!(position(&ben), at(1.0, 4.0));
    assert_eq!(ledger(&server, "")[1]["lost"]["value"], at(2.0, 1.0));
}

fn an_edit_of_one_column_is_an_edit_of_its_group(backend: Backend) {
    let server = place(backend);
    let mut reader = reader(&server);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    let receipt = ana.push_one(moved(60, &json!({ "latitude": 2.0 })));
    assert_eq!(receipt["columns"]["latitude"]["outcome"], "applied");
    assert_eq!(receipt["changed"], Json::Null, "the other is as she had it");
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "latitude": 2.0 }),
        "nothing is sent of a column that only shares the stamp"
    );
    let [latitude, longitude] = stamps(&server);
    assert_eq!(latitude, longitude);
    assert_eq!(longitude["client"], ana.id());
    // Ben had seen neither: his longitude is a conflict although it is as it was.
    let receipt = ben.push_one(moved(30, &json!({ "longitude": 3.0 })));
    assert_eq!(receipt["columns"]["longitude"]["outcome"], "superseded");
    assert_eq!(receipt["changed"], json!({ "latitude": 2.0 }));
    assert_eq!(position(&ben), at(2.0, 1.0));
    // With her edit in view his is none.
    let edit = update("places", &id(1), 2, &ago(20), &json!({ "longitude": 3.0 }));
    assert_eq!(
        ben.push_one(edit)["columns"]["longitude"]["outcome"],
        "applied"
    );
    assert_eq!(position(&ben), at(2.0, 3.0));
    assert_eq!(ledger(&server, "").len(), 1);
}

fn an_edit_that_cannot_know_the_whole_group_loses(backend: Backend) {
    let server = place(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(moved(120, &at(2.0, 2.0)));
    let receipt = ben.push_one(moved(60, &json!({ "latitude": 3.0 })));
    assert_eq!(
        receipt["columns"]["latitude"]["outcome"], "superseded",
        "although it is later"
    );
    assert_eq!(position(&ben), at(2.0, 2.0));
    let entry = &ledger(&server, "")[0];
    assert_eq!(entry["lost"]["value"], json!({ "latitude": 3.0 }));
    // What it leaves out is taken from what the administrator sees.
    let answer = resolve(&server, &entry["id"], &json!({ "decision": "take_lost" }));
    assert_eq!(
        outcomes(&answer.expect(200).json()["receipt"]),
        ["applied", "applied"]
    );
    assert_eq!(position(&ben), at(3.0, 2.0));
}

/// A place that Ana moved to 2, 2 and Ben, earlier, to 3, 3.
fn contested(backend: Backend) -> (Server, Json) {
    let server = place(backend);
    server.client("ana").push_one(moved(60, &at(2.0, 2.0)));
    server.client("ben").push_one(moved(120, &at(3.0, 3.0)));
    let conflict = ledger(&server, "")[0]["id"].clone();
    (server, conflict)
}

fn a_lost_group_is_brought_back_as_one(backend: Backend) {
    let (server, conflict) = contested(backend);
    let mut reader = reader(&server);
    let answer = resolve(&server, &conflict, &json!({ "decision": "take_lost" })).expect(200);
    let answer = answer.json();
    assert_eq!(outcomes(&answer["receipt"]), ["applied", "applied"]);
    assert_eq!(answer["conflict"]["decided_value"], at(3.0, 3.0));
    assert_eq!(reader.pull().row(&id(1))["columns"], at(3.0, 3.0));
    assert_eq!(
        ledger(&server, "").len(),
        1,
        "it was decided with what stood in view"
    );
    let _ = resolve(&server, &conflict, &json!({ "decision": "keep" }))
        .problem(409, "already_resolved");
    // If the place has moved on since, what the decision replaces is kept in its turn.
    let (server, conflict) = contested(backend);
    let edit = update("places", &id(1), 2, &ago(30), &at(4.0, 4.0));
    server.client("eve").push_one(edit);
    let _ = resolve(&server, &conflict, &json!({ "decision": "take_lost" })).expect(200);
    assert_eq!(position(&server.anonymous()), at(3.0, 3.0));
    assert_eq!(ledger(&server, "")[1]["lost"]["value"], at(4.0, 4.0));
}

fn a_decision_about_a_group_names_its_columns(backend: Backend) {
    let (server, conflict) = contested(backend);
    let before = server.dump();
    for (value, code, field) in [
        (json!(7), "invalid_value", "value"),
        (json!({ "latitude": "north" }), "invalid_value", "latitude"),
        (json!({ "name": "elsewhere" }), "invalid_value", "name"),
    ] {
        let decision = json!({ "decision": "value", "value": value });
        let refused = resolve(&server, &conflict, &decision).problem(422, code);
        assert_eq!(refused.json()["field"], field);
    }
    assert_eq!(server.dump(), before);
    let decision = json!({ "decision": "value", "value": { "longitude": 9.0 } });
    let _ = resolve(&server, &conflict, &decision).expect(200);
    assert_eq!(position(&server.anonymous()), at(2.0, 9.0));
}

fn under_the_manual_policy_a_group_waits_as_one(backend: Backend) {
    let server = Server::on(backend).table(PLACES).setting(GROUP);
    let server = server
        .policy("latitude", "manual")
        .policy("longitude", "manual");
    let server = one_place(server.start());
    server.client("ana").push_one(moved(120, &at(2.0, 2.0)));
    let receipt = server.client("ben").push_one(moved(60, &at(3.0, 3.0)));
    assert_eq!(outcomes(&receipt), ["held", "held"]);
    assert_eq!(position(&server.anonymous()), at(2.0, 2.0));
    let open = ledger(&server, "state=open");
    assert_eq!((open.len(), &open[0]["policy"]), (1, &json!("manual")));
    let _ = resolve(&server, &open[0]["id"], &json!({ "decision": "take_lost" })).expect(200);
    assert_eq!(position(&server.anonymous()), at(3.0, 3.0));
    assert_eq!(ledger(&server, "state=open"), Vec::<Json>::new());
}

fn a_bare_patch_of_one_column_is_taken_as_sql_takes_it(backend: Backend) {
    let server = Server::on(backend).table(PLACES).setting(GROUP);
    let server = one_place(server.setting("blind_writes = 'record'").start());
    let ana = server.client("ana");
    let path = row_path("places", &id(1));
    let receipt = ana
        .patch(&path, &json!({ "latitude": 2.0 }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["latitude"]["outcome"], "applied");
    assert_eq!(
        receipt["changed"]["longitude"], 1.0,
        "who names no version is told all"
    );
    let [latitude, longitude] = stamps(&server);
    assert_eq!(latitude, longitude);
    let entry = &ledger(&server, "")[0];
    assert_eq!(
        (&entry["kind"], &entry["lost"]["value"]),
        (&json!("group"), &at(1.0, 1.0))
    );
    let receipt = server
        .client("ben")
        .patch_ago(7200, &path, &json!({ "longitude": 3.0 }))
        .expect(200);
    assert_eq!(
        receipt.json()["columns"]["longitude"]["outcome"],
        "superseded"
    );
    assert_eq!(position(&ana), at(2.0, 1.0));
}

fn direct_sql_of_one_column_is_a_change_of_its_group(backend: Backend) {
    let server = place(backend);
    server.sql("UPDATE places SET longitude = 5");
    let receipt = server
        .client("ana")
        .push_one(moved(-60, &json!({ "latitude": 2.0 })));
    assert_eq!(receipt["columns"]["latitude"]["outcome"], "superseded");
    let receipt = server.client("eve").push_one(moved(1800, &at(2.0, 1.0)));
    assert_eq!(outcomes(&receipt), ["superseded", "superseded"]);
    assert_eq!(position(&server.anonymous()), at(1.0, 5.0));
    let edit = update("places", &id(1), 2, &ago(1), &json!({ "latitude": 2.0 }));
    assert_eq!(
        server.client("ben").push_one(edit)["columns"]["latitude"]["outcome"],
        "applied"
    );
    assert_eq!(position(&server.anonymous()), at(2.0, 5.0));
}

fn a_whole_row_writes_a_group_as_one(backend: Backend) {
    let server = place(backend);
    let ana = server.client("ana");
    let row = json!({ "name": "put", "latitude": 2.0, "longitude": 1.0 });
    let request = ana.request("PUT", &row_path("places", &id(1)));
    let receipt = request
        .header("If-Match", "\"1\"")
        .json(&row)
        .send()
        .expect(200)
        .json();
    assert_eq!(outcomes(&receipt), ["applied", "applied"]);
    let [latitude, longitude] = stamps(&server);
    assert_eq!(latitude, longitude);
    let receipt = server
        .client("ben")
        .push_one(moved(-60, &json!({ "longitude": 3.0 })));
    assert_eq!(receipt["columns"]["longitude"]["outcome"], "superseded");
    assert_eq!(position(&ana), at(2.0, 1.0));
}

fn a_group_is_made_whole_by_its_first_writer(backend: Backend) {
    let server = place(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(insert(
        "places",
        &id(2),
        &ago(60),
        &json!({ "latitude": 2.0 }),
    ));
    // Two make one place: half of each would be nobody's.
    let receipt = ben.push_one(insert(
        "places",
        &id(2),
        &ago(30),
        &json!({ "longitude": 3.0 }),
    ));
    assert_eq!(receipt["columns"]["longitude"]["outcome"], "superseded");
    let row = ben.row("places", &id(2));
    assert_eq!(
        (&row["latitude"], &row["longitude"]),
        (&json!(2.0), &Json::Null)
    );
    let edit = update("places", &id(2), 1, &ago(20), &json!({ "longitude": 3.0 }));
    assert_eq!(
        ben.push_one(edit)["columns"]["longitude"]["outcome"],
        "applied"
    );
}

fn groups_are_shown_with_the_schema(backend: Backend) {
    let server = place(backend);
    let schema = server.anonymous().get("/v1/schema").expect(200).json();
    let columns = schema["tables"][0]["columns"].as_array().unwrap().clone();
    let groups: Vec<(&Json, &Json)> = columns
        .iter()
        .map(|column| (&column["name"], &column["group"]))
        .filter(|(_, group)| !group.is_null())
        .collect();
    let position = json!("position");
    assert_eq!(
        groups,
        [
            (&json!("latitude"), &position),
            (&json!("longitude"), &position)
        ]
    );
    let said = process::said(&server.run(&["check"]));
    assert!(
        said.contains("group position (latitude, longitude)"),
        "{said}"
    );
    let without = Server::on(backend).table(PLACES).start();
    let other = without.anonymous().get("/v1/schema").expect(200).json();
    assert_ne!(schema["hash"], other["hash"]);
}

fn a_group_that_the_table_cannot_have_is_refused(backend: Backend) {
    for (groups, why) in [
        ("position = ['latitude', 'height']", "no such column height"),
        ("position = ['latitude', 'id']", "id is of the key"),
        ("name = ['latitude', 'longitude']", "a column has this name"),
        ("position = ['latitude']", "needs two columns"),
    ] {
        let setting = format!("[tables.places.groups]\n{groups}");
        let server = Server::on(backend).table(PLACES).prepare();
        server.adopt();
        server.configure(&setting);
        let output = server.run(&["check"]);
        let said = process::said(&output);
        assert!(!output.status.success());
        assert!(
            said.contains("tables.places.groups.") && said.contains(why),
            "{said}"
        );
    }
}

/// The migration before groups, as the database of an earlier version has it.
const BEFORE_SQLITE: &str =
    include_str!("../../migrations/sqlite/2026-11-26-000000_groups_in_the_ledger/down.sql");
const BEFORE_POSTGRES: &str =
    include_str!("../../migrations/postgres/2026-11-26-000000_groups_in_the_ledger/down.sql");

fn the_ledger_of_an_earlier_version_is_kept(backend: Backend) {
    let mut server = Server::on(backend).table(PLACES).table(TODOS).start();
    make_todo(&server, 1);
    server.client("ana").push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "a" }),
    ));
    server.client("ben").push_one(update(
        "todos",
        &id(1),
        1,
        &ago(120),
        &json!({ "title": "b" }),
    ));
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1);
    server.terminate();
    server.sql(match backend {
        Backend::Sqlite => BEFORE_SQLITE,
        Backend::Postgres => BEFORE_POSTGRES,
    });
    server.sql("DELETE FROM __diesel_schema_migrations WHERE version = '20261126000000'");
    server.resume();
    assert_eq!(ledger(&server, ""), kept);
    let _ = resolve(&server, &kept[0]["id"], &json!({ "decision": "take_lost" })).expect(200);
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "b");
}

fn devices_that_move_one_place_end_with_one_of_both_positions(backend: Backend) {
    let server = place(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE places SET latitude = 2");
    std::thread::park_timeout(std::time::Duration::from_millis(5));
    b.sql("UPDATE places SET longitude = 3");
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    assert_eq!(
        position(&server.anonymous()),
        at(1.0, 3.0),
        "the later one's, as it had it"
    );
    let entry = &ledger(&server, "")[0];
    assert_eq!(entry["lost"]["value"], at(2.0, 1.0));
    a.assert_equals(&server.anonymous(), "places");
    b.assert_equals(&server.anonymous(), "places");
    // Made offline with half a position, a place is whole all the same.
    a.sql(&format!(
        "INSERT INTO places (id, latitude) VALUES ('{}', 4)",
        id(2)
    ));
    b.sql(&format!(
        "INSERT INTO places (id, longitude) VALUES ('{}', 5)",
        id(2)
    ));
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    let row = server.anonymous().row("places", &id(2));
    let halves = [(json!(4.0), Json::Null), (Json::Null, json!(5.0))];
    assert!(
        halves.contains(&(row["latitude"].clone(), row["longitude"].clone())),
        "{row}"
    );
    a.assert_equals(&server.anonymous(), "places");
    b.assert_equals(&server.anonymous(), "places");
}

/// The app changes the longitude after its push was frozen, and the pull of the same sync brings another's
/// latitude into its table. What the table holds then, nobody meant.
fn a_device_that_edits_half_a_position_during_its_sync_mixes_nothing(backend: Backend) {
    let server = place(backend);
    let (a, b) = (device(&server), device(&server));
    b.sql("UPDATE places SET latitude = 2");
    b.client().sync().unwrap();
    a.sql("UPDATE places SET name = 'of a'");
    sync_while(
        &a,
        |progress| matches!(progress, colsync_client::Progress::Pushing { .. }),
        || a.sql("UPDATE places SET longitude = 3"),
    );
    let shown = a.value("SELECT latitude || ' ' || longitude FROM places");
    assert_eq!(shown.as_deref(), Some("1.0 3.0"), "what its user sees");
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    let wholes = [at(2.0, 1.0), at(1.0, 3.0)];
    let stands = position(&server.anonymous());
    assert!(wholes.contains(&stands), "{stands} is nobody's");
    let entry = &ledger(&server, "")[0];
    let sides = [&entry["kept"]["value"], &entry["lost"]["value"]];
    assert!(sides.iter().all(|side| wholes.contains(side)), "{sides:?}");
    a.assert_equals(&server.anonymous(), "places");
    b.assert_equals(&server.anonymous(), "places");
}

fn a_device_sends_only_the_groups_that_it_touched(backend: Backend) {
    let server = place(backend);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE places SET name = 'of a'");
    b.sql("UPDATE places SET latitude = 2");
    for device in [&b, &a, &b] {
        device.client().sync().unwrap();
    }
    let row = server.anonymous().row("places", &id(1));
    assert_eq!(
        (&row["name"], &row["latitude"]),
        (&json!("of a"), &json!(2.0))
    );
    assert!(ledger(&server, "").is_empty());
    assert_eq!(stamps(&server)[0], stamps(&server)[1]);
}
