//! Rows over REST: create, read, page, replace, delete.

use std::collections::BTreeSet;

use colsync_tests::tables::{ITEMS, LABELS, LISTS, MEMBERS, TICKETS, TODOS, id};
use colsync_tests::{Backend, Server, ago, on_both, row_path, time};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, todo, todos};

on_both![
    a_row_is_created_with_an_id_and_the_defaults_that_the_server_gives_it,
    creating_a_row_that_exists_merges_into_it_column_by_column,
    a_row_is_read_with_its_version_as_etag,
    who_has_the_row_already_is_told_not_modified,
    the_stamps_of_a_row_are_shown_on_demand,
    rows_are_listed_page_by_page_in_the_order_of_their_keys,
    a_whole_row_is_replaced_and_columns_left_out_are_null,
    putting_a_row_that_does_not_exist_creates_it,
    a_whole_row_that_has_not_seen_a_later_edit_loses_as_a_whole,
    a_deleted_row_is_gone_unless_asked_for,
    the_same_idempotency_key_writes_once,
    an_idempotency_key_with_another_body_is_refused,
    keys_of_text_integers_and_several_columns_name_their_rows,
    rows_that_are_not_there_are_told_from_rows_that_are_gone,
    the_schema_tells_tables_types_and_policies,
    what_is_not_there_is_a_problem_and_a_wrong_method_names_the_right_ones,
];

fn a_row_is_created_with_an_id_and_the_defaults_that_the_server_gives_it(backend: Backend) {
    let server = todos(backend);
    let ana = server.client("ana");
    let made = ana
        .post("/v1/tables/todos/rows", &json!({ "title": "new" }))
        .expect(201);
    let receipt = made.json();
    let id = receipt["id"].as_str().unwrap().to_owned();
    assert_eq!(
        made.header("location").unwrap().replace("%2D", "-"),
        row_path("todos", &id)
    );
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7: {id}");
    assert_eq!(
        (&receipt["created"], &receipt["version"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    assert_eq!(
        receipt["changed"]["done"], false,
        "the database's default is told"
    );
    let row = ana.get(made.header("location").unwrap()).expect(200).json();
    let expected = json!({ "id": id, "title": "new", "note": null, "done": false, "priority": null, "data": null });
    assert_eq!(row, expected);
}

fn creating_a_row_that_exists_merges_into_it_column_by_column(backend: Backend) {
    let server = one_todo(backend);
    let row = json!({ "id": id(1), "priority": 3 });
    let receipt = server
        .client("ana")
        .post("/v1/tables/todos/rows", &row)
        .expect(200)
        .json();
    assert_eq!(receipt.get("created"), None);
    let row = server.client("ana").row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["priority"]),
        (&json!("old"), &json!(3))
    );
}

fn a_row_is_read_with_its_version_as_etag(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let patched = ana.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    assert_eq!(
        (patched.header("etag"), patched.json()["version"].as_i64()),
        (Some("\"2\""), Some(2))
    );
    let got = ana.get(&todo(1)).expect(200);
    assert_eq!(got.header("etag"), Some("\"2\""));
    assert!(got.header("last-modified").unwrap().ends_with(" GMT"));
    let updated = got.header("client-last-updated").unwrap();
    assert!(time(updated) > time(&ago(600)), "{updated}");
}

fn who_has_the_row_already_is_told_not_modified(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    for (tag, status) in [
        ("\"1\"", 304),
        ("W/\"1\"", 304),
        ("\"7\", \"1\"", 304),
        ("*", 304),
        ("\"2\"", 200),
    ] {
        let got = ana
            .request("GET", &todo(1))
            .header("If-None-Match", tag)
            .send()
            .expect(status);
        assert_eq!(got.body.is_empty(), status == 304, "{tag}");
        assert_eq!(got.header("etag"), Some("\"1\""), "{tag}");
    }
    let _ = ana.patch(&todo(1), &json!({ "title": "new" })).expect(200);
    let _ = ana
        .request("GET", &todo(1))
        .header("If-None-Match", "\"1\"")
        .send()
        .expect(200);
}

fn the_stamps_of_a_row_are_shown_on_demand(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let _ = ana
        .patch_ago(60, &todo(1), &json!({ "title": "new" }))
        .expect(200);
    assert_eq!(ana.row("todos", &id(1)).get("_sync"), None);
    let meta = ana
        .get(&format!("{}?meta=true", todo(1)))
        .expect(200)
        .json()["_sync"]
        .clone();
    assert_eq!(
        (&meta["version"], &meta["deleted"]),
        (&json!(2), &json!(false))
    );
    let title = json!({ "at": ago(60), "client": ana.id(), "version": 2 });
    assert_eq!(meta["columns"]["title"], title);
    let note = json!({ "at": ago(3600), "client": server.client("maker").id(), "version": 1 });
    assert_eq!(meta["columns"]["note"], note);
    assert_eq!(meta["columns"].get("id"), None, "a key has no stamp");
}

fn rows_are_listed_page_by_page_in_the_order_of_their_keys(backend: Backend) {
    let server = todos(backend);
    for number in [3, 1, 5, 2, 4] {
        make_todo(&server, number);
    }
    let ana = server.anonymous();
    let _ = ana.delete(&todo(4)).expect(200);
    let mut seen = Vec::new();
    let mut after = String::new();
    for _page in 0..3 {
        let page = ana
            .get(&format!("/v1/tables/todos/rows?limit=2{after}"))
            .expect(200)
            .json();
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() <= 2);
        seen.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(
        seen,
        [1, 2, 3, 5].map(id),
        "no row twice, none left out, no deleted one"
    );
    let all = ana
        .get("/v1/tables/todos/rows?deleted=true&meta=true")
        .expect(200)
        .json();
    let deleted: Vec<bool> = all["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["_sync"]["deleted"].as_bool().unwrap())
        .collect();
    assert_eq!(deleted, [false, false, false, true, false]);
}

fn a_whole_row_is_replaced_and_columns_left_out_are_null(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let receipt = ana
        .put(&todo(1), &json!({ "title": "new", "done": true }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
    let expected = json!({ "id": id(1), "title": "new", "note": null, "done": true, "priority": null, "data": null });
    assert_eq!(ana.row("todos", &id(1)), expected);
}

fn putting_a_row_that_does_not_exist_creates_it(backend: Backend) {
    let server = todos(backend);
    let ana = server.client("ana");
    let row = json!({ "id": id(1), "title": "new", "done": false });
    let _ = ana.put(&todo(1), &row).expect(201);
    assert_eq!(ana.row("todos", &id(1))["title"], "new");
}

fn a_whole_row_that_has_not_seen_a_later_edit_loses_as_a_whole(backend: Backend) {
    let server = one_todo(backend);
    let (ana, ben) = (server.client("ana"), server.client("ben"));
    let _ = ana
        .patch_ago(60, &todo(1), &json!({ "title": "ana" }))
        .expect(200);
    let row = json!({ "title": "ben", "note": "ben", "done": true });
    let put = ben
        .request("PUT", &todo(1))
        .header("If-Match", "\"1\"")
        .header("Client-Last-Updated", &ago(120));
    let receipt = put.json(&row).send().expect(200).json();
    for column in ["title", "note", "done"] {
        assert_eq!(
            receipt["columns"][column]["outcome"], "superseded",
            "{column}"
        );
    }
    let row = ana.row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("ana"), &json!("old"))
    );
    let kept = ledger(&server, "");
    assert_eq!((kept.len(), &kept[0]["kind"]), (1, &json!("row")));
    assert_eq!(kept[0]["lost"]["value"]["columns"]["note"], "ben");
}

fn a_deleted_row_is_gone_unless_asked_for(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let receipt = ana.delete(&todo(1)).expect(200).json();
    assert_eq!(
        (&receipt["deleted"], &receipt["version"]),
        (&json!(true), &json!(2))
    );
    let _ = ana.get(&todo(1)).problem(404, "row_not_found");
    let found = ana
        .get(&format!("{}?deleted=true&meta=true", todo(1)))
        .expect(200)
        .json();
    assert_eq!(
        (&found["title"], &found["_sync"]["deleted"]),
        (&json!("old"), &json!(true))
    );
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("1"),
        "the row itself stays"
    );
    let _ = ana.delete(&todo(2)).problem(404, "row_not_found");
}

fn the_same_idempotency_key_writes_once(backend: Backend) {
    let server = todos(backend);
    let ana = server.client("ana");
    let post = || {
        let post = ana
            .request("POST", "/v1/tables/todos/rows")
            .header("Idempotency-Key", "once");
        post.json(&json!({ "title": "new" })).send().expect(201)
    };
    let first = post();
    let _ = ana
        .patch(
            first.header("location").unwrap(),
            &json!({ "title": "newer" }),
        )
        .expect(200);
    let before = server.dump();
    assert_eq!(post().text(), first.text());
    assert_eq!(server.dump(), before);
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("1")
    );
}

fn an_idempotency_key_with_another_body_is_refused(backend: Backend) {
    let server = todos(backend);
    let send = |client: &str, title: &str| {
        let client = server.client(client);
        let post = client
            .request("POST", "/v1/tables/todos/rows")
            .header("Idempotency-Key", "once");
        post.json(&json!({ "title": title })).send()
    };
    let _ = send("ana", "new").expect(201);
    let refused = send("ana", "other").problem(422, "idempotency_key_reused");
    assert_eq!(refused.json()["field"], "Idempotency-Key");
    let _ = send("ben", "other").expect(201);
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("2"),
        "a key is its client's own"
    );
}

fn keys_of_text_integers_and_several_columns_name_their_rows(backend: Backend) {
    let server = Server::on(backend)
        .table(MEMBERS)
        .table(TICKETS)
        .table(LABELS)
        .start();
    let ana = server.client("ana");
    let mut reader = server.client("reader");
    reader.pull();
    for (table, row, column, wire_id, path_id) in [
        (
            "members",
            json!({ "team": "a,b%", "number": -7, "role": "x" }),
            "role",
            "a%2Cb%25,-7",
            "a%252Cb%2525,-7",
        ),
        (
            "labels",
            json!({ "code": "ä /?#", "meaning": "x" }),
            "meaning",
            "ä /?#",
            "%C3%A4%20%2F%3F%23",
        ),
        (
            "tickets",
            json!({ "id": 9_007_199_254_740_993_i64.to_string(), "subject": "x" }),
            "subject",
            "9007199254740993",
            "9007199254740993",
        ),
    ] {
        let made = ana
            .post(&format!("/v1/tables/{table}/rows"), &row)
            .expect(201);
        assert_eq!(made.json()["id"], wire_id);
        let _ = ana.get(made.header("location").unwrap()).expect(200);
        let path = row_path(table, path_id);
        let _ = ana.patch(&path, &json!({ column: "y" })).expect(200);
        assert_eq!(ana.get(&path).expect(200).json()[column], "y");
        assert_eq!(reader.pull().row(wire_id)["columns"][column], "y");
        let _ = ana.delete(&path).expect(200);
        assert_eq!(reader.pull().row(wire_id)["removed"], "deleted");
    }
    let made = ana
        .post(
            "/v1/tables/tickets/rows",
            &json!({ "subject": "a key by the database" }),
        )
        .expect(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert!(id.parse::<i64>().is_ok(), "{id}");
    assert_eq!(ana.row("tickets", &id)["subject"], "a key by the database");
}

fn rows_that_are_not_there_are_told_from_rows_that_are_gone(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let patch = json!({ "title": "new" });
    let _ = ana.patch(&todo(2), &patch).problem(404, "row_not_found");
    server.sql("DELETE FROM todos");
    let _ = ana.patch(&todo(1), &patch).problem(410, "row_gone");
    let _ = ana.get(&todo(1)).problem(404, "row_not_found");
    let made = ana
        .post(
            "/v1/tables/todos/rows",
            &json!({ "id": id(1), "title": "again" }),
        )
        .expect(201);
    assert!(
        made.version() > 1,
        "versions go on where the purged row's ended"
    );
}

fn the_schema_tells_tables_types_and_policies(backend: Backend) {
    let builder = Server::on(backend)
        .table(TODOS)
        .policy("note", "server_wins")
        .table(LISTS)
        .table(ITEMS);
    let server = builder.start();
    let schema = server.anonymous().get("/v1/schema").expect(200).json();
    assert!(!schema["hash"].as_str().unwrap().is_empty());
    let tables = schema["tables"].as_array().unwrap();
    let names: Vec<&str> = tables
        .iter()
        .map(|table| table["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["todos", "lists", "items"]);
    assert_eq!(tables[0]["key"], json!(["id"]));
    let column = |name: &str| {
        let columns = tables[0]["columns"].as_array().unwrap();
        columns
            .iter()
            .find(|column| column["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            &column("id")["type"]["name"],
            &column("data")["type"]["name"]
        ),
        (&json!("uuid"), &json!("json"))
    );
    assert_eq!(
        (&column("done")["nullable"], &column("done")["has_default"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(column("note")["policy"], "server_wins");
    let columns: BTreeSet<&str> = tables[0]["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert!(
        !columns.iter().any(|name| name.starts_with("sync_")),
        "{columns:?}"
    );
    let mut ana = server.client("ana");
    ana.push(&[]);
    let answer = ana.push_numbered(2, &[]).expect(200).json();
    assert_eq!(
        answer["schema"], schema["hash"],
        "a push tells when the schema has moved on"
    );
}

fn what_is_not_there_is_a_problem_and_a_wrong_method_names_the_right_ones(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.anonymous();
    for path in [
        "/",
        "/v1",
        "/v1/tables",
        "/v1/tables/todos",
        "/v1/sync/nowhere",
        "/index.html",
    ] {
        let _ = ana.get(path).problem(404, "not_found");
    }
    for table in [
        "nothing",
        "TODOS",
        "colsync_clients",
        "sqlite_master",
        "pg_class",
        "todos%22%3B--",
    ] {
        let refused = ana
            .get(&format!("/v1/tables/{table}/rows"))
            .problem(404, "unknown_table");
        assert_eq!(refused.json()["field"], "table", "{table}");
    }
    for (method, path) in [
        ("POST", todo(1)),
        ("DELETE", "/v1/sync/push".to_owned()),
        ("PUT", "/v1/sync/pull".to_owned()),
    ] {
        let _ = ana
            .request(method, &path)
            .json(&Json::Null)
            .send()
            .problem(405, "method_not_allowed");
    }
    assert_eq!(ana.get("/healthz").expect(200).text(), "ok\n");
    let _ = ana.get("/readyz").expect(200);
    assert!(ana.get("/metrics").expect(200).text().contains("# TYPE"));
}
