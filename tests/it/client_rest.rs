//! A server that knows no sync: a json-server that others use at the same time, and files that sync with it.

/// An answer that has a status alone, and ends the connection.
macro_rules! bare {
    ($status:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .as_bytes()
    };
}

mod cuts;
mod limits;
mod lists;
mod manners;
mod own;
mod writes;

use std::time::Duration;

use colsync_client::Report;
use colsync_tests::device::until;
use colsync_tests::{Between, Device, Plain, process};
use serde_json::{Value as Json, json};

/// What the app keeps. `mine_alone` the API never hears of.
const TABLE: &str = "CREATE TABLE todos (id TEXT PRIMARY KEY, title TEXT, note TEXT, done BOOLEAN,
    stock INTEGER, price DECIMAL(10,2), tags JSON, mine_alone TEXT)";

/// How json-server is used.
const DESCRIPTION: &str = r#"
[tables.todos]
list = "/todos"
item = "/todos/{id}"
create = "/todos"
update = "patch"
updated_at = "changed"
writes_updated_at = true
skip = ["mine_alone"]

[tables.todos.columns]
note = { field = "remark" }
stock = { policy = "counter" }
tags = { policy = "set" }
"#;

/// A json-server with todo `a`, changed a minute ago.
fn one_todo() -> Plain {
    let row = json!({
        "id": "a", "title": "old", "remark": "old", "done": false, "stock": 5, "price": 1.5,
        "tags": ["x"], "colour": "red", "changed": colsync_tests::ago(60),
    });
    Plain::json_server(&json!({ "todos": [row] }))
}

/// Some todos, numbered, of which others are to be told in pages.
fn many_todos(many: u32) -> Plain {
    let rows: Vec<Json> = (0..many)
        .map(
            |n| json!({ "id": format!("r{n}"), "title": "old", "changed": colsync_tests::ago(60) }),
        )
        .collect();
    Plain::json_server(&json!({ "todos": rows }))
}

/// How json-server is used where its list comes in pages of two.
fn in_pages() -> String {
    let list = r#"list = "/todos?_page={page}&_limit={limit}""#;
    DESCRIPTION.replace(r#"list = "/todos""#, &format!("{list}\nlimit = 2"))
}

/// An answer with this row, or these, which ends the connection.
fn telling(head: &str, body: &Json) -> &'static [u8] {
    let body = body.to_string();
    let many = body.len();
    let answer =
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {many}\r\n\r\n{body}");
    answer.into_bytes().leak()
}

#[track_caller]
fn tracking(api: &Plain, description: &str) -> Device {
    tracked(Device::of_api(api, description))
}

/// The same behind something that sees its requests.
#[track_caller]
fn tracking_behind(between: &Between, description: &str) -> Device {
    tracked(Device::of_api_at(&between.url(), description))
}

#[track_caller]
fn tracked(device: Device) -> Device {
    device.sql(TABLE);
    device.client().track("todos").unwrap();
    device
}

/// A device that has synced.
#[track_caller]
fn device(api: &Plain) -> Device {
    let device = tracking(api, DESCRIPTION);
    sync(&device);
    device
}

#[track_caller]
fn sync(device: &Device) -> Report {
    device.client().sync().unwrap()
}

#[track_caller]
fn row(api: &Plain, id: &str) -> Json {
    api.http().get(&format!("/todos/{id}")).expect(200).json()
}

/// Someone else changes a row, now or `seconds` ago.
#[track_caller]
fn theirs(api: &Plain, id: &str, seconds: i64, mut fields: Json) {
    fields["changed"] = colsync_tests::clock::now_with(-seconds).into();
    let http = api.http();
    let patch = http.request("PATCH", &format!("/todos/{id}"));
    drop(patch.json(&fields).send().expect(200));
}

#[track_caller]
fn get(device: &Device, column: &str, id: &str) -> Option<String> {
    device.value(&format!("SELECT {column} FROM todos WHERE id = '{id}'"))
}

#[test]
fn the_first_sync_brings_the_rows_and_the_next_one_nothing() {
    let api = one_todo();
    let a = device(&api);
    assert_eq!(
        a.dump("todos"),
        ["'a', 'old', 'old', 0, 5, 1.5, '[\"x\"]', NULL"]
    );
    let idle = sync(&a);
    assert_eq!((idle.pushed, idle.pulled, idle.removed), (0, 0, 0));
    // The list is what it was, and does not come again.
    assert_eq!(idle.received_bytes, 0);
    assert!(a.client().pending().unwrap().is_empty());
}

#[test]
fn edits_go_up_by_the_apis_own_calls_and_what_it_keeps_besides_stays() {
    let api = one_todo();
    let a = device(&api);
    a.sql(
        "UPDATE todos SET title = 'new', price = 2.25, mine_alone = 'secret' WHERE id = 'a';
         INSERT INTO todos (id, title, done, stock, tags) VALUES ('b/1 ä', 'made', 1, 7, '[1]');",
    );
    let report = sync(&a);
    assert_eq!((report.pushed, report.applied), (2, 2), "{report:?}");
    let there = row(&api, "a");
    assert_eq!(
        (&there["title"], &there["remark"]),
        (&json!("new"), &json!("old"))
    );
    assert_eq!(
        (&there["price"], &there["colour"]),
        (&json!(2.25), &json!("red"))
    );
    assert_eq!(there.get("mine_alone"), None);
    let made = row(&api, "b%2F1%20%C3%A4");
    assert_eq!(
        (&made["title"], &made["done"], &made["stock"], &made["tags"]),
        (&json!("made"), &json!(true), &json!(7), &json!([1]))
    );
    let idle = sync(&a);
    assert_eq!((idle.pushed, idle.pulled), (0, 0), "no echo");
    a.sql("DELETE FROM todos WHERE id = 'a'");
    sync(&a);
    drop(api.http().get("/todos/a").expect(404));
    assert_eq!(sync(&a).removed, 0);
}

#[test]
fn what_others_change_make_and_delete_comes_down() {
    let api = one_todo();
    let a = device(&api);
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    let made = json!({ "id": "b", "title": "made by others" });
    drop(api.http().post("/todos", &made).expect(201));
    let report = sync(&a);
    assert_eq!((report.pulled, report.removed), (2, 0));
    assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
    assert_eq!(get(&a, "note", "a").as_deref(), Some("old"));
    assert_eq!(get(&a, "title", "b").as_deref(), Some("made by others"));
    drop(api.http().delete("/todos/a").expect(200));
    assert_eq!(sync(&a).removed, 1);
    assert_eq!(a.value("SELECT count(*) FROM todos").as_deref(), Some("1"));
}

#[test]
fn what_both_changed_in_different_columns_is_merged_and_written_back() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET title = 'mine'");
    theirs(
        &api,
        "a",
        0,
        json!({ "remark": "theirs", "colour": "blue" }),
    );
    let report = sync(&a);
    assert_eq!((report.applied, report.superseded), (1, 0));
    for (field, column, value) in [("title", "title", "mine"), ("remark", "note", "theirs")] {
        assert_eq!(row(&api, "a")[field], value);
        assert_eq!(get(&a, column, "a").as_deref(), Some(value));
    }
    assert_eq!(row(&api, "a")["colour"], "blue");
    assert!(a.client().conflicts().unwrap().is_empty());
}

#[test]
fn of_the_same_column_the_later_wins_and_the_loser_is_told() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET title = 'mine, earlier', note = 'mine, alone'");
    std::thread::park_timeout(Duration::from_millis(5));
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    let report = sync(&a);
    assert_eq!((report.superseded, report.applied), (1, 0), "{report:?}");
    assert_eq!(row(&api, "a")["title"], "theirs");
    assert_eq!(row(&api, "a")["remark"], "mine, alone");
    assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
    theirs(
        &api,
        "a",
        30,
        json!({ "title": "theirs, half a minute ago" }),
    );
    a.sql("UPDATE todos SET title = 'mine, now'");
    let report = sync(&a);
    assert_eq!((report.superseded, report.applied), (0, 1), "{report:?}");
    assert_eq!(row(&api, "a")["title"], "mine, now");
    let told = a.client().conflicts().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|one| {
            let text = |value: &Option<Json>| value.clone().unwrap_or_default().to_string();
            format!("{} {} {}", one.outcome, text(&one.mine), text(&one.theirs))
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"superseded "mine, earlier" "theirs""#,
            r#"applied "mine, now" "theirs, half a minute ago""#
        ]
    );
}

#[test]
fn counters_add_up_and_sets_are_united() {
    let api = one_todo();
    let [a, b] = [device(&api), device(&api)];
    a.sql("UPDATE todos SET stock = stock + 2, tags = '[\"x\",\"a\"]'");
    b.sql("UPDATE todos SET stock = stock - 1, tags = '[\"b\"]'");
    theirs(&api, "a", 0, json!({ "stock": 15, "tags": ["x", "c"] }));
    assert_eq!(sync(&a).merged, 1);
    assert_eq!(sync(&b).merged, 1);
    sync(&a);
    let there = row(&api, "a");
    assert_eq!(
        (&there["stock"], &there["tags"]),
        (&json!(16), &json!(["c", "a", "b"]))
    );
    assert_eq!(a.dump("todos"), b.dump("todos"));
    assert_eq!(get(&a, "stock", "a").as_deref(), Some("16"));
}

#[test]
fn an_edit_of_a_row_that_others_deleted_does_not_bring_it_back_and_is_told() {
    let api = one_todo();
    let a = device(&api);
    drop(api.http().delete("/todos/a").expect(200));
    a.sql("UPDATE todos SET title = 'mine'");
    sync(&a);
    assert!(a.dump("todos").is_empty());
    drop(api.http().get("/todos/a").expect(404));
    let told = a.client().conflicts().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].outcome, "deleted");
    assert_eq!(told[0].mine.as_ref().unwrap()["columns"]["title"], "mine");
}

#[test]
fn an_edit_brings_a_deleted_row_back_where_the_description_says_so() {
    let api = one_todo();
    let revive = DESCRIPTION.replace("skip", "edit_after_delete = 'revive'\nskip");
    let a = tracking(&api, &revive);
    sync(&a);
    drop(api.http().delete("/todos/a").expect(200));
    a.sql("UPDATE todos SET title = 'mine'");
    sync(&a);
    let there = row(&api, "a");
    assert_eq!(
        (&there["title"], &there["remark"], &there["stock"]),
        (&json!("mine"), &json!("old"), &json!(5))
    );
    assert_eq!(get(&a, "title", "a").as_deref(), Some("mine"));
    assert_eq!(a.client().conflicts().unwrap().len(), 1);
    let idle = sync(&a);
    assert_eq!((idle.pushed, idle.pulled, idle.removed), (0, 0, 0));
}

#[test]
fn a_worker_keeps_a_file_in_sync_by_itself() {
    let api = one_todo();
    let a = tracking(&api, DESCRIPTION);
    let _watch = a.spawn(&["watch", "--interval", "0.1"]);
    until("the row comes", || {
        a.column("SELECT title FROM todos") == [Some("old".to_owned())]
    });
    a.sql("UPDATE todos SET title = 'mine'");
    until("the edit arrives", || row(&api, "a")["title"] == "mine");
    theirs(&api, "a", 0, json!({ "remark": "theirs" }));
    until("the answer comes", || {
        get(&a, "note", "a").as_deref() == Some("theirs")
    });
}

#[test]
fn a_delete_over_edits_that_it_had_not_seen_keeps_them_in_the_list_of_conflicts() {
    let api = one_todo();
    let a = device(&api);
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    a.sql("DELETE FROM todos");
    sync(&a);
    drop(api.http().get("/todos/a").expect(404));
    let told = a.client().conflicts().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].theirs.as_ref().unwrap()["columns"]["title"],
        "theirs"
    );
}

#[test]
fn a_row_that_is_made_on_both_sides_is_merged_into_one() {
    let api = one_todo();
    let a = device(&api);
    a.sql("INSERT INTO todos (id, title, stock) VALUES ('b', 'mine', 1)");
    let made = json!({ "id": "b", "title": "theirs", "remark": "theirs", "changed": colsync_tests::ago(60) });
    drop(api.http().post("/todos", &made).expect(201));
    let report = sync(&a);
    assert_eq!(report.rejected, 0, "{report:?}");
    assert_eq!(
        a.dump("todos")[1],
        "'b', 'mine', 'theirs', NULL, 1, NULL, NULL, NULL"
    );
    let there = row(&api, "b");
    assert_eq!(
        (&there["title"], &there["remark"]),
        (&json!("mine"), &json!("theirs"))
    );
    let told = a.client().conflicts().unwrap();
    assert_eq!(told[0].theirs, Some(json!("theirs")));
}

#[test]
fn whole_rows_can_be_put_and_lists_come_in_pages() {
    let rows: Vec<Json> = (0..25)
        .map(|n| json!({ "id": format!("r{n:02}"), "title": "old", "colour": n }))
        .collect();
    let api = Plain::json_server(&json!({ "todos": rows }));
    let a = tracking(
        &api,
        "[tables.todos]\nlist = '/todos?_page={page}&_limit={limit}'\nitem = '/todos/{id}'\n\
         create = '/todos'\nlimit = 10\nskip = ['mine_alone']\n",
    );
    assert_eq!(sync(&a).pulled, 25);
    a.sql("UPDATE todos SET title = 'new' WHERE id < 'r05'; DELETE FROM todos WHERE id = 'r24'");
    assert_eq!(sync(&a).applied, 6);
    assert_eq!(
        row(&api, "r04"),
        json!({ "id": "r04", "title": "new", "colour": 4 })
    );
    drop(api.http().delete("/todos/r23").expect(200));
    let report = sync(&a);
    assert_eq!((report.pulled, report.removed), (0, 1));
}

#[test]
fn init_says_that_there_is_no_schema_and_the_description_is_kept_in_the_file() {
    let api = one_todo();
    let a = tracking(&api, DESCRIPTION);
    let told = a.run(&["init"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        process::said(&told).contains("tells no schema"),
        "{}",
        process::said(&told)
    );
    let told = a.run(&["sync"]);
    assert_eq!(told.status.code(), Some(0), "{}", process::said(&told));
    a.sql("UPDATE todos SET title = 'without the option'");
    let settings = colsync_client::Settings::default();
    let client = colsync_client::Client::open(a.path(), settings).unwrap();
    assert_eq!(client.sync().unwrap().applied, 1);
    assert_eq!(row(&api, "a")["title"], "without the option");
}

#[test]
fn another_api_in_the_place_of_the_first_is_synced_from_its_beginning() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET title = 'mine'; INSERT INTO todos (id, title) VALUES ('b', 'new')");
    let there = json!({ "id": "a", "title": "other", "remark": "other", "changed": colsync_tests::ago(60) });
    let more = json!({ "id": "c", "title": "more" });
    let other = Plain::json_server(&json!({ "todos": [there, more] }));
    let settings = colsync_client::Settings {
        remote: Some(format!("url = '{}'\n{DESCRIPTION}", other.url())),
        ..colsync_client::Settings::default()
    };
    let client = colsync_client::Client::open(a.path(), settings).unwrap();
    client.sync().unwrap();
    assert_eq!(
        a.dump("todos"),
        [
            "'a', 'mine', 'other', NULL, NULL, NULL, NULL, NULL",
            "'b', 'new', NULL, NULL, NULL, NULL, NULL, NULL",
            "'c', 'more', NULL, NULL, NULL, NULL, NULL, NULL",
        ]
    );
    assert_eq!(row(&other, "a")["title"], "mine");
    assert_eq!(row(&other, "b")["title"], "new");
    assert_eq!(client.conflicts().unwrap()[0].theirs, Some(json!("other")));
    assert_eq!(row(&api, "a")["title"], "old");
}

#[test]
fn a_description_that_is_wrong_is_refused_by_the_name_of_its_member() {
    let a = Device::of_api(
        &one_todo(),
        "[tables.todos]\nlist = '/todos'\nitem = '/todos'\n",
    );
    a.sql(TABLE);
    let told = a.run(&["sync"]);
    assert_eq!(told.status.code(), Some(1));
    let said = process::said(&told);
    assert!(
        said.contains("tables.todos.item: {id} is missing"),
        "{said}"
    );
}
