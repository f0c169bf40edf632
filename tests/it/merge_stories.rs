//! Two clients and one row: who wins, and where the other value is kept.

use chrono::TimeDelta;
use colsync_tests::edits::update;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Server, ago, on_both, time};
use serde_json::{Value as Json, json};

use crate::column_groups::{at, place};
use crate::{ledger, make_todo, one_todo, reader, resolve, todo, todos};

on_both![
    different_columns_edited_offline_both_survive_whatever_the_order_and_the_clocks,
    the_later_edit_wins_although_it_arrived_first_and_the_loser_can_be_promoted,
    the_later_edit_wins_when_it_arrives_last_and_the_loser_is_kept,
    edits_of_the_same_instant_are_decided_by_the_client_id_in_either_order,
    an_edit_made_with_the_newer_value_in_view_wins_although_its_clock_is_behind,
    an_edit_whose_base_is_the_current_value_has_seen_it,
    writing_the_value_that_is_there_makes_no_version_and_no_change,
    a_receipt_brings_the_columns_that_its_reader_has_not_seen,
    a_bare_patch_that_is_later_overwrites_as_sql_does,
    a_bare_patch_that_is_earlier_loses_and_is_kept,
    a_table_that_records_blind_writes_keeps_what_they_replace,
    a_bare_edit_of_a_part_of_a_group_has_not_looked_at_the_rest,
];

fn different_columns_edited_offline_both_survive_whatever_the_order_and_the_clocks(
    backend: Backend,
) {
    let server = todos(backend);
    let mut number = 0;
    for ana_first in [true, false] {
        for skew in [0, 10_800, -10_800] {
            number += 1;
            let base = make_todo(&server, number);
            let mut ana = server.client(&format!("ana {number}")).skewed(skew);
            let mut ben = server.client(&format!("ben {number}"));
            let of_ana = update(
                "todos",
                &id(number),
                base,
                &ana.ago(60),
                &json!({ "title": "ana" }),
            );
            let of_ben = update(
                "todos",
                &id(number),
                base,
                &ben.ago(30),
                &json!({ "note": "ben" }),
            );
            let receipts = if ana_first {
                [ana.push_one(of_ana), ben.push_one(of_ben)]
            } else {
                [ben.push_one(of_ben), ana.push_one(of_ana)]
            };
            for receipt in receipts {
                for (column, told) in receipt["columns"].as_object().unwrap() {
                    assert_eq!(told["outcome"], "applied", "{column}, {skew} s: {receipt}");
                }
            }
            let row = ana.row("todos", &id(number));
            assert_eq!(
                (&row["title"], &row["note"]),
                (&json!("ana"), &json!("ben")),
                "{skew} s"
            );
        }
    }
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

fn the_later_edit_wins_although_it_arrived_first_and_the_loser_can_be_promoted(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "later" }),
    ));
    let mut edit = update(
        "todos",
        &id(1),
        1,
        &ago(120),
        &json!({ "title": "earlier" }),
    );
    edit["columns"]["title"]["base"] = json!("old");
    let receipt = ben.push_one(edit);
    let told = &receipt["columns"]["title"];
    assert_eq!(told["outcome"], "superseded");
    assert_eq!(told["value"], "later", "the loser learns what stands");
    assert_eq!(
        (&told["at"], &told["client"]),
        (&json!(ago(60)), &json!(ana.id()))
    );
    assert_eq!(ana.row("todos", &id(1))["title"], "later");

    let conflict = &ledger(&server, "")[0];
    assert_eq!(conflict["id"], told["conflict"]);
    assert_eq!(conflict["table"], "todos");
    assert_eq!(conflict["row"], id(1));
    assert_eq!(conflict["column"], "title");
    assert_eq!(conflict["kind"], "column");
    assert_eq!(conflict["policy"], "last_writer_wins");
    assert_eq!(conflict["state"], "decided");
    assert_eq!(conflict["base"], "old");
    let side = |value: &str, at: String, client: &str| (json!(value), json!(at), json!(client));
    let shown = |side: &Json| {
        (
            side["value"].clone(),
            side["at"].clone(),
            side["client"]["id"].clone(),
        )
    };
    assert_eq!(shown(&conflict["kept"]), side("later", ago(60), &ana.id()));
    assert_eq!(
        shown(&conflict["lost"]),
        side("earlier", ago(120), &ben.id())
    );

    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "later" })
    );
    let resolved = resolve(
        &server,
        &conflict["id"],
        &json!({ "decision": "take_lost" }),
    )
    .expect(200)
    .json();
    assert_eq!(resolved["conflict"]["state"], "resolved");
    assert_eq!(resolved["conflict"]["decision"], "take_lost");
    assert_eq!(ana.row("todos", &id(1))["title"], "earlier");
    for client in [&mut reader, &mut ana, &mut ben] {
        let pulled = client.pull();
        assert_eq!(
            pulled.row(&id(1))["columns"]["title"],
            "earlier",
            "every client gets the decision"
        );
    }
    let again = resolve(&server, &conflict["id"], &json!({ "decision": "keep" }));
    let _ = again.problem(409, "already_resolved");
    assert_eq!(
        ledger(&server, "").len(),
        1,
        "the decision itself is no conflict"
    );
}

fn the_later_edit_wins_when_it_arrives_last_and_the_loser_is_kept(backend: Backend) {
    let server = one_todo(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(120),
        &json!({ "title": "earlier" }),
    ));
    let receipt = ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "later" }),
    ));
    let told = &receipt["columns"]["title"];
    assert_eq!(told["outcome"], "applied");
    assert_eq!(
        told.get("value"),
        None,
        "the value sent is the value that stands"
    );
    assert_eq!(ana.row("todos", &id(1))["title"], "later");
    let conflict = &ledger(&server, "")[0];
    assert_eq!(conflict["id"], told["conflict"]);
    assert_eq!(
        (
            &conflict["lost"]["value"],
            &conflict["lost"]["client"]["id"]
        ),
        (&json!("earlier"), &json!(ana.id()))
    );
}

fn edits_of_the_same_instant_are_decided_by_the_client_id_in_either_order(backend: Backend) {
    let server = todos(backend);
    for number in [1, 2] {
        let base = make_todo(&server, number);
        let mut clients = [
            server.client(&format!("ana {number}")),
            server.client(&format!("ben {number}")),
        ];
        clients.sort_by_key(colsync_tests::Client::id);
        let higher = clients[1].id();
        if number == 2 {
            clients.reverse();
        }
        for client in &mut clients {
            let value = json!({ "title": client.id() });
            client.push_one(update("todos", &id(number), base, &ago(60), &value));
        }
        assert_eq!(clients[0].row("todos", &id(number))["title"], higher);
    }
    assert_eq!(ledger(&server, "").len(), 2);
}

fn an_edit_made_with_the_newer_value_in_view_wins_although_its_clock_is_behind(backend: Backend) {
    let server = one_todo(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    let receipt = ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "first" }),
    ));
    let seen = receipt["version"].as_i64().unwrap();
    // Three hours behind, and the client does not know it.
    let receipt = ben.push_one(update(
        "todos",
        &id(1),
        seen,
        &ago(10_860),
        &json!({ "title": "second" }),
    ));
    let told = &receipt["columns"]["title"];
    assert_eq!(told["outcome"], "applied");
    let just_after = time(&ago(60)) + TimeDelta::microseconds(1);
    assert_eq!(
        time(told["at"].as_str().unwrap()),
        just_after,
        "its stamp comes after what it had in view"
    );
    assert_eq!(ana.row("todos", &id(1))["title"], "second");
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

fn an_edit_whose_base_is_the_current_value_has_seen_it(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "first" }),
    ));
    let edit = json!({ "columns": { "title": { "value": "second", "base": "first", "at": ago(10_860) } } });
    let ben = server.client("ben");
    let receipt = ben
        .request("PATCH", &todo(1))
        .edit(&edit)
        .send()
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

fn writing_the_value_that_is_there_makes_no_version_and_no_change(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let mut ana = server.client("ana");
    let receipt = ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "old" }),
    ));
    assert_eq!(receipt["columns"]["title"]["outcome"], "unchanged");
    assert_eq!(
        receipt["columns"]["title"]["at"],
        ago(60),
        "the stamp advances"
    );
    assert_eq!(receipt["version"], 1);
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

fn a_receipt_brings_the_columns_that_its_reader_has_not_seen(backend: Backend) {
    let server = one_todo(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ana" }),
    ));
    let receipt = ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(30),
        &json!({ "note": "ben" }),
    ));
    assert_eq!(receipt["version"], 3);
    assert_eq!(
        receipt["changed"],
        json!({ "title": "ana" }),
        "and not what has not changed"
    );
}

fn a_bare_patch_that_is_later_overwrites_as_sql_does(backend: Backend) {
    let server = one_todo(backend);
    let receipt = server
        .client("ana")
        .patch(&todo(1), &json!({ "title": "new" }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

fn a_bare_patch_that_is_earlier_loses_and_is_kept(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let receipt = ana
        .patch_ago(7200, &todo(1), &json!({ "title": "stale" }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "superseded");
    assert_eq!(receipt["columns"]["title"]["value"], "old");
    assert_eq!(ledger(&server, "")[0]["lost"]["value"], "stale");
}

fn a_table_that_records_blind_writes_keeps_what_they_replace(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("blind_writes = 'record'")
        .start();
    make_todo(&server, 1);
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    let _ = ana
        .patch(&todo(1), &json!({ "title": "newer" }))
        .expect(200);
    let kept = ledger(&server, "");
    assert_eq!(
        kept.len(),
        1,
        "what a client replaces of its own is not kept"
    );
    assert_eq!(
        (&kept[0]["kind"], &kept[0]["lost"]["value"]),
        (&json!("blind"), &json!("old"))
    );
}

/// It is taken as SQL would take it. The next edit of its push says what it had in view.
fn a_bare_edit_of_a_part_of_a_group_has_not_looked_at_the_rest(backend: Backend) {
    let server = place(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ben.push_one(update("places", &id(1), 1, &ago(60), &at(1.0, 2.0)));
    let mut bare = update("places", &id(1), 1, &ago(40), &json!({ "latitude": 3.0 }));
    bare.as_object_mut().unwrap().remove("base_version");
    let informed = update("places", &id(1), 1, &ago(30), &at(4.0, 4.0));
    let receipts = ana.push(&[bare, informed]);
    assert!(receipts.iter().all(|receipt| receipt["status"] == "ok"));
    let lost: Vec<Json> = ledger(&server, "")
        .iter()
        .map(|entry| entry["lost"]["value"].clone())
        .collect();
    assert_eq!(lost, [at(3.0, 2.0)], "with what ben has written");
}
