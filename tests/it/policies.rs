//! What policies decide: of columns, and of rows that one side deleted.

use colsync_tests::edits::{delete, insert, update};
use colsync_tests::tables::{TODOS, WIDE, id};
use colsync_tests::{Backend, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, one_todo, reader, resolve, todo};

on_both![
    each_policy_decides_a_conflict_in_its_own_way,
    an_edit_that_has_seen_the_value_is_no_conflict_for_any_policy,
    a_delete_over_unseen_edits_is_told_to_the_ledger,
    an_edit_of_a_row_deleted_meanwhile_lies_beneath_the_tombstone_until_it_is_promoted,
    where_edits_revive_a_later_edit_brings_the_row_back,
];

const POLICIES: [(&str, &str); 6] = [
    ("c0", "last_writer_wins"),
    ("c1", "server_wins"),
    ("c2", "client_wins"),
    ("c3", "max"),
    ("c4", "min"),
    ("c5", "manual"),
];

fn with_policies(backend: Backend) -> Server {
    let mut builder = Server::on(backend).table(WIDE);
    for (column, policy) in POLICIES {
        builder = builder.policy(column, policy);
    }
    let server = builder.start();
    let columns = POLICIES.map(|(column, _)| (column.to_owned(), json!(10)));
    let mut row: serde_json::Map<String, Json> = columns.into_iter().collect();
    row.insert("id".to_owned(), json!(id(1)));
    server
        .client("maker")
        .create_ago(3600, "wide", &Json::Object(row));
    server
}

fn all(value: i64) -> Json {
    Json::Object(
        POLICIES
            .map(|(column, _)| (column.to_owned(), json!(value)))
            .into_iter()
            .collect(),
    )
}

fn each_policy_decides_a_conflict_in_its_own_way(backend: Backend) {
    let server = with_policies(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    // Ana's 20 is later and arrives first; Ben's 15 had not seen it.
    ana.push_one(update("wide", &id(1), 1, &ago(60), &all(20)));
    let receipt = ben.push_one(update("wide", &id(1), 1, &ago(120), &all(15)));
    let row = ana.row("wide", &id(1));
    for (column, outcome, value, lost) in [
        ("c0", "superseded", 20, Some(15)),
        ("c1", "superseded", 20, Some(15)),
        ("c2", "applied", 15, Some(20)),
        ("c3", "merged", 20, None),
        ("c4", "merged", 15, None),
        ("c5", "held", 20, Some(15)),
    ] {
        assert_eq!(receipt["columns"][column]["outcome"], outcome, "{column}");
        assert_eq!(row[column], value, "{column}");
        let kept = ledger(&server, &format!("column={column}"));
        let values: Vec<i64> = kept
            .iter()
            .filter_map(|conflict| conflict["lost"]["value"].as_i64())
            .collect();
        assert_eq!(values, lost.into_iter().collect::<Vec<i64>>(), "{column}");
    }
    let open = ledger(&server, "state=open");
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0]["column"], &open[0]["policy"]),
        (&json!("c5"), &json!("manual"))
    );
    let _ = resolve(
        &server,
        &open[0]["id"],
        &json!({ "decision": "value", "value": 17 }),
    )
    .expect(200);
    assert_eq!(ana.row("wide", &id(1))["c5"], 17);
    assert_eq!(ledger(&server, "state=open"), Vec::<Json>::new());
}

fn an_edit_that_has_seen_the_value_is_no_conflict_for_any_policy(backend: Backend) {
    let server = with_policies(backend);
    let receipt = server
        .client("ana")
        .push_one(update("wide", &id(1), 1, &ago(60), &all(5)));
    for (column, policy) in POLICIES {
        assert_eq!(receipt["columns"][column]["outcome"], "applied", "{policy}");
    }
    assert_eq!(ledger(&server, ""), Vec::<Json>::new());
}

fn a_delete_over_unseen_edits_is_told_to_the_ledger(backend: Backend) {
    let server = one_todo(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(120),
        &json!({ "title": "ana" }),
    ));
    let receipt = ben.push_one(delete("todos", &id(1), 1, &ago(60)));
    assert_eq!(
        (&receipt["status"], &receipt["deleted"]),
        (&json!("ok"), &json!(true))
    );
    let kept = ledger(&server, "");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["kind"], "deleted");
    assert_eq!(receipt["conflicts"], json!([kept[0]["id"]]));
    assert_eq!(kept[0]["lost"]["value"]["columns"]["title"], "ana");
}

fn an_edit_of_a_row_deleted_meanwhile_lies_beneath_the_tombstone_until_it_is_promoted(
    backend: Backend,
) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(delete("todos", &id(1), 1, &ago(120)));
    assert_eq!(reader.pull().row(&id(1))["removed"], "deleted");
    let receipt = ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ben" }),
    ));
    assert_eq!(
        (&receipt["status"], &receipt["deleted"]),
        (&json!("ok"), &json!(true))
    );
    let _ = ben.get(&todo(1)).problem(404, "row_not_found");
    let kept = ledger(&server, "");
    assert_eq!(receipt["conflicts"], json!([kept[0]["id"]]));
    assert_eq!(kept[0]["kind"], "deleted");
    let _ = resolve(&server, &kept[0]["id"], &json!({ "decision": "take_lost" })).expect(200);
    assert_eq!(ben.row("todos", &id(1))["title"], "ben");
    let pulled = reader.pull();
    assert_eq!(
        pulled.row(&id(1))["full"],
        true,
        "a row that comes back comes whole"
    );
    assert_eq!(pulled.row(&id(1))["columns"]["title"], "ben");
}

fn where_edits_revive_a_later_edit_brings_the_row_back(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .setting("edit_after_delete = 'revive'")
        .start();
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push_one(insert(
        "todos",
        &id(1),
        &ago(3600),
        &json!({ "title": "old", "note": "old" }),
    ));
    ana.push_one(delete("todos", &id(1), 1, &ago(120)));
    ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(180),
        &json!({ "note": "earlier than the delete" }),
    ));
    let _ = ben.get(&todo(1)).problem(404, "row_not_found");
    ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "later than the delete" }),
    ));
    let row = ben.row("todos", &id(1));
    assert_eq!(row["title"], "later than the delete");
    assert_eq!(
        row["note"], "earlier than the delete",
        "what was merged beneath comes back too"
    );
}
