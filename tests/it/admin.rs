//! What administrators see and decide.

use colsync_tests::edits::{delete, update};
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Answer, Backend, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, reader, resolve, todo, todos};

on_both![
    without_a_configured_token_there_is_no_admin,
    nothing_under_admin_answers_without_the_token,
    the_ledger_is_filtered_and_paged,
    filters_that_make_no_sense_are_refused,
    keeping_what_stands_closes_the_conflict_and_changes_no_row,
    a_decision_for_another_value_reaches_every_client,
    a_delete_that_is_promoted_has_not_seen_what_was_written_since,
    a_decision_is_taken_once,
    a_decision_that_makes_no_sense_leaves_the_conflict_as_it_is,
    under_the_manual_policy_nothing_moves_until_it_is_decided,
    a_row_is_shown_with_every_stamp_and_conflict,
    clients_are_shown_with_what_is_known_of_them,
    tables_are_shown_with_their_counts,
];

const CALLS: [(&str, &str); 6] = [
    ("GET", "/admin/v1/conflicts"),
    (
        "GET",
        "/admin/v1/conflicts/018f0000-0000-7000-8000-000000000001",
    ),
    (
        "POST",
        "/admin/v1/conflicts/018f0000-0000-7000-8000-000000000001/resolve",
    ),
    (
        "GET",
        "/admin/v1/rows/todos/018f0000-0000-7000-8000-000000000001",
    ),
    ("GET", "/admin/v1/clients"),
    ("GET", "/admin/v1/tables"),
];

fn call(server: &Server, (method, path): (&str, &str), token: Option<&str>) -> Answer {
    let client = server.anonymous();
    let mut request = client.request(method, path);
    if let Some(token) = token {
        request = request.header("Authorization", token);
    }
    if method == "POST" {
        request.json(&json!({ "decision": "keep" })).send()
    } else {
        request.send()
    }
}

fn without_a_configured_token_there_is_no_admin(backend: Backend) {
    let server = Server::on(backend).table(TODOS).without_admin().start();
    for path in CALLS {
        for token in [
            None,
            Some("Bearer "),
            Some("Bearer an-administrators-token"),
        ] {
            let _ = call(&server, path, token).problem(404, "not_found");
        }
    }
}

fn nothing_under_admin_answers_without_the_token(backend: Backend) {
    let server = two_conflicts(backend);
    let before = server.dump();
    for path in CALLS {
        for token in [
            None,
            Some("Bearer wrong"),
            Some("Basic an-administrators-token"),
            Some("an-administrators-token"),
        ] {
            let refused = call(&server, path, token).problem(401, "unauthorized");
            assert!(
                refused
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Bearer")
            );
        }
    }
    assert_eq!(server.dump(), before);
}

/// Todo 1 and todo 2, each with a title of Ben's that lost to Ana's.
fn two_conflicts(backend: Backend) -> Server {
    let server = todos(backend);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    for number in [1, 2] {
        make_todo(&server, number);
        ana.push(&[update(
            "todos",
            &id(number),
            1,
            &ago(60),
            &json!({ "title": "ana" }),
        )]);
        ben.push(&[update(
            "todos",
            &id(number),
            1,
            &ago(120),
            &json!({ "title": "ben" }),
        )]);
    }
    server
}

fn the_ledger_is_filtered_and_paged(backend: Backend) {
    let server = two_conflicts(backend);
    let all = ledger(&server, "");
    let (ana, eve) = (server.client("ana").id(), server.client("eve").id());
    for (filter, count) in [
        ("table=todos".to_owned(), 2),
        ("table=nothing".to_owned(), 0),
        (format!("table=todos&row={}", id(1)), 1),
        ("column=title".to_owned(), 2),
        ("column=note".to_owned(), 0),
        (format!("client={}", server.client("ben").id()), 2),
        (format!("client={ana}"), 2),
        (format!("client={eve}"), 0),
        ("state=decided".to_owned(), 2),
        ("state=open".to_owned(), 0),
        (format!("since={}", ago(600)), 2),
        (format!("since={}", ago(-3600)), 0),
        ("limit=1".to_owned(), 1),
    ] {
        assert_eq!(ledger(&server, &filter).len(), count, "{filter}");
    }
    let admin = server.admin();
    let first = admin.get("/admin/v1/conflicts?limit=1").expect(200).json();
    let next = first["next"].as_str().expect("there is more");
    let second = admin
        .get(&format!("/admin/v1/conflicts?limit=1&after={next}"))
        .expect(200)
        .json();
    let mut pages =
        [&first, &second].map(|page| page["conflicts"][0]["id"].as_str().unwrap().to_owned());
    pages.sort();
    assert_eq!(
        pages.to_vec(),
        all.iter()
            .map(|conflict| conflict["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    );
    let one = admin
        .get(&format!("/admin/v1/conflicts/{}", pages[0]))
        .expect(200)
        .json();
    assert_eq!(one, all[0]);
}

fn filters_that_make_no_sense_are_refused(backend: Backend) {
    let server = todos(backend);
    let admin = server.admin();
    for (filter, field) in [
        ("state=closed", "state"),
        ("client=ana", "client"),
        ("since=yesterday", "since"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("limit=100000", "limit"),
        ("table=%00", "table"),
        ("row=a%00b", "row"),
        ("column=%00", "column"),
    ] {
        let refused = admin
            .get(&format!("/admin/v1/conflicts?{filter}"))
            .problem(400, "invalid_parameter");
        assert_eq!(refused.json()["field"], field);
    }
    for path in [
        "/admin/v1/conflicts/x",
        "/admin/v1/conflicts/018f0000-0000-7000-8000-000000000001",
    ] {
        let _ = admin.get(path).problem(404, "conflict_not_found");
    }
    let _ = admin
        .get(&format!("/admin/v1/rows/todos/{}", id(1)))
        .problem(404, "row_not_found");
    let _ = admin
        .get(&format!("/admin/v1/rows/nothing/{}", id(1)))
        .problem(404, "unknown_table");
}

fn keeping_what_stands_closes_the_conflict_and_changes_no_row(backend: Backend) {
    let server = two_conflicts(backend);
    let mut reader = reader(&server);
    let conflict = &ledger(&server, &format!("row={}", id(1)))[0];
    let answer = resolve(&server, &conflict["id"], &json!({ "decision": "keep" }))
        .expect(200)
        .json();
    assert_eq!(answer["conflict"]["state"], "resolved");
    assert_eq!(answer["conflict"]["decision"], "keep");
    assert!(answer["conflict"]["decided_at"].is_string());
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "ana");
    assert_eq!(
        ledger(&server, "state=decided").len(),
        1,
        "the other one is as it was"
    );
}

/// The delete lost to an edit that it had not seen. Whoever promotes it has that edit in view, and none that came later.
fn a_delete_that_is_promoted_has_not_seen_what_was_written_since(backend: Backend) {
    for is_edited_since in [false, true] {
        let server = Server::on(backend).table(TODOS);
        let server = server.setting("edit_after_delete = 'revive'").start();
        make_todo(&server, 1);
        let edit = |seconds, version, of: &str, value: &str| {
            update(
                "todos",
                &id(1),
                version,
                &ago(seconds),
                &json!({ of: value }),
            )
        };
        server.client("ana").push_one(edit(60, 1, "title", "ana"));
        let mut ben = server.client("ben");
        let receipt = ben.push_one(delete("todos", &id(1), 1, &ago(120)));
        assert_eq!(receipt["deleted"], Json::Null);
        if is_edited_since {
            server.client("eve").push_one(edit(30, 2, "note", "eve"));
        }
        let conflict = &ledger(&server, "")[0]["id"];
        let _ = resolve(&server, conflict, &json!({ "decision": "take_lost" })).expect(200);
        let _ = ben.get(&todo(1)).problem(404, "row_not_found");
        let entries = ledger(&server, "");
        let since: Vec<_> = entries[1..]
            .iter()
            .map(|entry| &entry["lost"]["value"])
            .collect();
        if is_edited_since {
            assert_eq!(since.len(), 1, "{since:?}");
            assert_eq!(since[0]["columns"]["note"], "eve");
        } else {
            assert_eq!(since.len(), 0, "{since:?}");
        }
    }
}

fn a_decision_for_another_value_reaches_every_client(backend: Backend) {
    let server = two_conflicts(backend);
    let mut reader = reader(&server);
    let conflict = &ledger(&server, &format!("row={}", id(1)))[0];
    let decision = json!({ "decision": "value", "value": "both" });
    let answer = resolve(&server, &conflict["id"], &decision)
        .expect(200)
        .json();
    assert_eq!(answer["conflict"]["decided_value"], "both");
    assert_eq!(answer["receipt"]["columns"]["title"]["outcome"], "applied");
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "both" })
    );
    let meta = server
        .anonymous()
        .get(&format!("{}?meta=true", todo(1)))
        .expect(200)
        .json();
    assert_eq!(
        meta["_sync"]["columns"]["title"]["client"],
        "00000000-0000-0000-0000-000000000002"
    );
}

fn a_decision_is_taken_once(backend: Backend) {
    let server = two_conflicts(backend);
    let conflict = &ledger(&server, "")[0];
    let decisions = [
        json!({ "decision": "take_lost" }),
        json!({ "decision": "keep" }),
        json!({ "decision": "value", "value": "x" }),
    ];
    let statuses = std::thread::scope(|scope| {
        let waiting = decisions
            .each_ref()
            .map(|decision| scope.spawn(|| resolve(&server, &conflict["id"], decision)));
        waiting.map(|answer| answer.join().unwrap().status)
    });
    let count = |status: u16| statuses.iter().filter(|&&other| other == status).count();
    assert_eq!((count(200), count(409)), (1, 2), "{statuses:?}");
    let _ = resolve(&server, &conflict["id"], &decisions[0]).problem(409, "already_resolved");
}

fn a_decision_that_makes_no_sense_leaves_the_conflict_as_it_is(backend: Backend) {
    let server = two_conflicts(backend);
    let conflict = &ledger(&server, "")[0];
    let before = server.dump();
    for (decision, status, code, field) in [
        (json!({}), 400, "invalid_parameter", "decision"),
        (
            json!({ "decision": "both" }),
            400,
            "invalid_parameter",
            "decision",
        ),
        (
            json!({ "decision": "value" }),
            400,
            "invalid_parameter",
            "value",
        ),
        (
            json!({ "decision": "value", "value": 7 }),
            422,
            "invalid_value",
            "title",
        ),
        (
            json!({ "decision": "value", "value": "a\0" }),
            422,
            "invalid_value",
            "title",
        ),
    ] {
        let refused = resolve(&server, &conflict["id"], &decision).problem(status, code);
        assert_eq!(refused.json()["field"], field, "{decision}");
    }
    let unknown = json!("018f0000-0000-7000-8000-000000000001");
    let _ = resolve(&server, &unknown, &json!({ "decision": "keep" }))
        .problem(404, "conflict_not_found");
    assert_eq!(server.dump(), before);
}

fn under_the_manual_policy_nothing_moves_until_it_is_decided(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .policy("title", "manual")
        .start();
    make_todo(&server, 1);
    let (mut ana, mut ben) = (server.client("ana"), server.client("ben"));
    ana.push(&[update(
        "todos",
        &id(1),
        1,
        &ago(120),
        &json!({ "title": "ana" }),
    )]);
    let mut reader = reader(&server);
    let receipt = ben.push_one(update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ben", "note": "ben" }),
    ));
    assert_eq!(receipt["columns"]["title"]["outcome"], "held");
    assert_eq!(receipt["columns"]["title"]["value"], "ana");
    assert_eq!(
        receipt["columns"]["note"]["outcome"], "applied",
        "one column waits, the other does not"
    );
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "note": "ben" })
    );
    let open = ledger(&server, "state=open");
    assert_eq!(open.len(), 1);
    let _ = resolve(&server, &open[0]["id"], &json!({ "decision": "take_lost" })).expect(200);
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "title": "ben" })
    );
    assert_eq!(ledger(&server, "state=open"), Vec::<Json>::new());
}

fn a_row_is_shown_with_every_stamp_and_conflict(backend: Backend) {
    let server = two_conflicts(backend);
    let shown = server
        .admin()
        .get(&format!("/admin/v1/rows/todos/{}", id(1)))
        .expect(200)
        .json();
    assert_eq!(shown["row"]["title"], "ana");
    let stamps = &shown["row"]["_sync"]["columns"];
    assert_eq!(stamps["title"]["client"], server.client("ana").id());
    assert_eq!(stamps["note"]["client"], server.client("maker").id());
    let conflicts = shown["conflicts"].as_array().unwrap();
    assert_eq!(conflicts.len(), 1, "its own alone");
    assert_eq!(conflicts[0]["lost"]["value"], "ben");
    let _ = server.anonymous().delete(&todo(1)).expect(200);
    let shown = server
        .admin()
        .get(&format!("/admin/v1/rows/todos/{}", id(1)))
        .expect(200)
        .json();
    assert_eq!(
        shown["row"]["_sync"]["deleted"], true,
        "a deleted row is still shown"
    );
    server.sql("DELETE FROM todos");
    let shown = server
        .admin()
        .get(&format!("/admin/v1/rows/todos/{}", id(1)))
        .expect(200)
        .json();
    assert_eq!(shown["row"], Json::Null);
    assert!(
        !shown["conflicts"].as_array().unwrap().is_empty(),
        "and of a purged one what lost"
    );
}

fn clients_are_shown_with_what_is_known_of_them(backend: Backend) {
    let server = two_conflicts(backend);
    let mut ben = server.client("ben");
    let clients = || server.admin().get("/admin/v1/clients").expect(200).json()["clients"].clone();
    let shown = |id: &str| {
        let clients = clients();
        clients
            .as_array()
            .unwrap()
            .iter()
            .find(|client| client["id"] == id)
            .cloned()
            .expect("the client")
    };
    let of_ben = shown(&ben.id());
    assert_eq!(
        (&of_ben["last_push"], &of_ben["pushes"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(of_ben["conflicts"], 2);
    assert_eq!(of_ben["pulled_at"], Json::Null);
    assert!(of_ben["first_seen"].is_string() && of_ben["last_seen"].is_string());
    ben = ben.echoed();
    ben.pull();
    assert!(shown(&ben.id())["pulled_at"].is_string());
    let _ = server.anonymous().get(&todo(1)).expect(200).version();
    let nobody = json!("00000000-0000-0000-0000-000000000000");
    assert!(
        clients()
            .as_array()
            .unwrap()
            .iter()
            .all(|client| client["id"] != nobody)
    );
}

fn tables_are_shown_with_their_counts(backend: Backend) {
    let server = one_todo(backend);
    for number in 2..=4 {
        make_todo(&server, number);
    }
    let _ = server.anonymous().delete(&todo(2)).expect(200);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(3)));
    let tables = server.admin().get("/admin/v1/tables").expect(200).json();
    let table = &tables["tables"][0];
    assert_eq!(table["name"], "todos");
    let counts = ["rows", "deleted", "tombstones"].map(|name| table[name].as_i64().unwrap());
    assert_eq!(counts, [2, 1, 1]);
}
