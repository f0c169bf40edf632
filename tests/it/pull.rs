//! Pulls: everything once, then only what changed, resumable at every checkpoint, nothing lost or twice.

use std::collections::BTreeMap;

use colsync_tests::edits::{delete, insert, update};
use colsync_tests::tables::{ITEMS, LABELS, LISTS, TODOS, id};
use colsync_tests::{Backend, Client, Pulled, Server, ago, on_both};
use serde_json::{Value as Json, json};

use crate::{make_todo, one_todo, reader, todo, todos};

on_both![
    the_first_pull_brings_every_live_row_whole,
    later_pulls_bring_only_the_columns_that_changed,
    a_pull_with_nothing_new_brings_a_checkpoint_alone,
    who_has_everything_still_hears_of_what_happens,
    pulls_that_are_answered_together_are_not_older_than_their_questions,
    a_client_does_not_get_its_own_writes_back,
    a_client_whose_push_number_is_not_the_servers_is_told,
    a_deleted_row_is_removed_and_a_revived_one_comes_whole,
    a_row_that_was_made_and_changed_comes_once_and_whole,
    a_pull_with_a_limit_is_resumed_from_its_checkpoint,
    a_pull_that_broke_off_is_resumed_from_any_of_its_checkpoints,
    rows_that_change_between_two_pages_are_not_lost,
    parents_come_before_their_children,
    a_pull_of_some_tables_learns_the_others_in_full_when_they_are_asked_for,
    a_table_that_is_synced_later_comes_in_full,
    everyone_gets_to_the_same_rows,
];

fn the_first_pull_brings_every_live_row_whole(backend: Backend) {
    let server = todos(backend);
    for number in 1..=3 {
        make_todo(&server, number);
    }
    let ana = server.client("ana");
    let _ = ana.patch(&todo(2), &json!({ "priority": 7 })).expect(200);
    let _ = ana.delete(&todo(3)).expect(200);
    let pulled = server.client("reader").pull();
    assert!(pulled.complete);
    let mut ids = pulled.ids();
    ids.sort_unstable();
    assert_eq!(ids, [id(1), id(2)]);
    let expected = json!({ "table": "todos", "id": id(2), "version": 2, "full": true, "columns": {
        "id": id(2), "title": "old", "note": "old", "done": false, "priority": 7, "data": null,
    }});
    assert_eq!(*pulled.row(&id(2)), expected);
}

fn later_pulls_bring_only_the_columns_that_changed(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    let ana = server.client("ana");
    let _ = ana.patch(&todo(1), &json!({ "title": "one" })).expect(200);
    let _ = ana
        .patch(&todo(1), &json!({ "title": "two", "priority": 1 }))
        .expect(200);
    let pulled = reader.pull();
    let expected = json!({ "table": "todos", "id": id(1), "version": 3, "columns": { "title": "two", "priority": 1 } });
    assert_eq!(pulled.rows, [expected]);
    let _ = ana.patch(&todo(1), &json!({ "note": "three" })).expect(200);
    assert_eq!(
        reader.pull().row(&id(1))["columns"],
        json!({ "note": "three" }),
        "and not those of the pull before"
    );
}

fn a_pull_with_nothing_new_brings_a_checkpoint_alone(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    for _again in 0..3 {
        let pulled = reader.pull();
        assert_eq!((pulled.rows.len(), pulled.complete), (0, true));
    }
}

/// Such a pull is answered by what is remembered of its cursor and one question to the database.
fn who_has_everything_still_hears_of_what_happens(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let mut reader = reader(&server);
    let up_to_date = |reader: &mut Client| {
        for _again in 0..2 {
            assert_eq!(reader.pull().rows, Vec::<Json>::new());
        }
    };
    up_to_date(&mut reader);
    server.sql("UPDATE todos SET title = 'by SQL' ");
    assert_eq!(reader.pull().rows.len(), 2);
    up_to_date(&mut reader);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(2)));
    assert_eq!(reader.pull().row(&id(2))["removed"], "purged");
    up_to_date(&mut reader);
    let ahead = reader
        .request(
            "GET",
            &format!("/v1/sync/pull?cursor={}", reader.cursor().unwrap()),
        )
        .header("Client-Push", "7")
        .send();
    let _ = ahead.problem(409, "push_out_of_order");
    // As after 90 days.
    server.sql("DELETE FROM colsync_anchors");
    let _ = reader
        .try_pull(reader.cursor(), "")
        .problem(410, "cursor_expired");
}

/// Each reader asks as soon as its own row's change is acknowledged, while the others ask, too.
fn pulls_that_are_answered_together_are_not_older_than_their_questions(backend: Backend) {
    const READERS: u64 = 12;
    let server = todos(backend);
    for number in 1..=READERS {
        make_todo(&server, number);
    }
    let mut readers: Vec<(u64, Client)> = (1..=READERS)
        .map(|number| (number, server.client(&format!("reader {number}"))))
        .collect();
    for (_, reader) in &mut readers {
        reader.pull();
    }
    std::thread::scope(|scope| {
        for (number, mut reader) in readers {
            let writer = server.client(&format!("writer {number}"));
            scope.spawn(move || {
                for round in 0..15 {
                    // Those that find nothing share a question with those that find something.
                    while !reader.pull().rows.is_empty() {}
                    let title = format!("{number} in round {round}");
                    let _ = writer
                        .patch(&todo(number), &json!({ "title": title }))
                        .expect(200);
                    let pulled = reader.pull();
                    assert_eq!(pulled.row(&id(number))["columns"]["title"], title);
                }
            });
        }
    });
}

fn a_client_does_not_get_its_own_writes_back(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    ana.pull();
    ana.push(&[
        update("todos", &id(1), 1, &ago(60), &json!({ "title": "ana" })),
        insert("todos", &id(2), &ago(60), &json!({ "title": "ana" })),
    ]);
    let mut copy = ana.clone().echoed();
    assert_eq!(ana.pull().rows, Vec::<Json>::new());
    assert_eq!(
        copy.pull().rows.len(),
        2,
        "unless it does not tell which pushes it knows"
    );
    ana.push(&[update(
        "todos",
        &id(1),
        2,
        &ago(50),
        &json!({ "title": "ana again" }),
    )]);
    let _ = server
        .client("ben")
        .patch(&todo(1), &json!({ "note": "ben" }))
        .expect(200);
    let _ = server
        .client("ben")
        .patch(&todo(2), &json!({ "note": "ben" }))
        .expect(200);
    let pulled = ana.pull();
    for number in [1, 2] {
        assert_eq!(pulled.row(&id(number))["columns"], json!({ "note": "ben" }));
    }
    ana.push(&[delete("todos", &id(1), 4, &ago(10))]);
    assert_eq!(ana.pull().rows, Vec::<Json>::new(), "nor its own deletes");
}

fn a_client_whose_push_number_is_not_the_servers_is_told(backend: Backend) {
    let server = one_todo(backend);
    let mut ana = server.client("ana");
    let restored = ana.clone();
    ana.push(&[update(
        "todos",
        &id(1),
        1,
        &ago(60),
        &json!({ "title": "ana" }),
    )]);
    let _ = restored.try_pull(None, "").problem(409, "client_forked");
    let ahead = ana
        .request("GET", "/v1/sync/pull")
        .header("Client-Push", "3")
        .send();
    assert_eq!(
        ahead.problem(409, "push_out_of_order").json()["expected"],
        2
    );
}

fn a_deleted_row_is_removed_and_a_revived_one_comes_whole(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    let mut ana = server.client("ana");
    ana.push(&[delete("todos", &id(1), 1, &ago(60))]);
    assert_eq!(
        reader.pull().rows,
        [json!({ "table": "todos", "id": id(1), "removed": "deleted" })]
    );
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
    ana.push(&[insert(
        "todos",
        &id(1),
        &ago(30),
        &json!({ "title": "again" }),
    )]);
    let pulled = reader.pull();
    let line = pulled.row(&id(1));
    assert_eq!(
        (
            &line["full"],
            &line["columns"]["title"],
            &line["columns"]["note"]
        ),
        (&json!(true), &json!("again"), &json!("old"))
    );
}

fn a_row_that_was_made_and_changed_comes_once_and_whole(backend: Backend) {
    let server = one_todo(backend);
    let mut reader = reader(&server);
    make_todo(&server, 2);
    let _ = server
        .client("ana")
        .patch(&todo(2), &json!({ "title": "new" }))
        .expect(200);
    let pulled = reader.pull();
    assert_eq!(pulled.rows.len(), 1);
    let line = pulled.row(&id(2));
    assert_eq!(
        (
            &line["full"],
            &line["columns"]["title"],
            &line["columns"]["note"]
        ),
        (&json!(true), &json!("new"), &json!("old"))
    );
}

fn many_todos(server: &Server, count: u64) {
    let edits: Vec<Json> = (1..=count)
        .map(|number| {
            insert(
                "todos",
                &id(number),
                &ago(3600),
                &json!({ "priority": number }),
            )
        })
        .collect();
    server.client("maker of many").push(&edits);
}

fn a_pull_with_a_limit_is_resumed_from_its_checkpoint(backend: Backend) {
    let server = todos(backend);
    many_todos(&server, 25);
    let mut reader = server.client("reader");
    let mut seen = Vec::new();
    for (rows, complete) in [(10, false), (10, false), (5, true)] {
        let pulled = reader.pull_with("limit=10");
        assert_eq!((pulled.rows.len(), pulled.complete), (rows, complete));
        seen.extend(pulled.ids().into_iter().map(str::to_owned));
    }
    seen.sort();
    assert_eq!(seen, (1..=25).map(id).collect::<Vec<_>>(), "each row once");
    assert_eq!(reader.pull().rows, Vec::<Json>::new());
}

fn a_pull_that_broke_off_is_resumed_from_any_of_its_checkpoints(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .section("[limits]\npage_rows = 10")
        .start();
    many_todos(&server, 35);
    let reader = server.client("reader");
    let whole = Pulled::read(&reader.try_pull(None, "").expect(200));
    assert_eq!(whole.rows.len(), 35);
    assert!(
        whole.checkpoints.len() >= 4,
        "a checkpoint after every page"
    );
    for (position, checkpoint) in whole.checkpoints.iter().enumerate() {
        let rest = Pulled::read(&reader.try_pull(Some(checkpoint), "").expect(200));
        let delivered = 10 * (position + 1);
        assert_eq!(
            rest.ids(),
            whole.ids()[delivered.min(35)..],
            "from checkpoint {position}"
        );
        assert!(rest.complete);
    }
}

fn rows_that_change_between_two_pages_are_not_lost(backend: Backend) {
    let server = todos(backend);
    many_todos(&server, 10);
    let mut reader = server.client("reader");
    let mut copy = BTreeMap::new();
    let first = reader.pull_with("limit=4");
    lay_over(&mut copy, &first);
    let delivered = first.ids()[0].to_owned();
    let waiting = (1..=10)
        .map(id)
        .find(|id| !first.ids().contains(&id.as_str()))
        .unwrap();
    let ana = server.client("ana");
    for changed in [&delivered, &waiting] {
        let _ = ana
            .patch(
                &colsync_tests::row_path("todos", changed),
                &json!({ "title": "new" }),
            )
            .expect(200);
    }
    pull_all(&mut reader, &mut copy, "limit=4");
    // What a page brought before the change comes again by the pull after.
    pull_all(&mut reader, &mut copy, "limit=4");
    assert_eq!(copy.len(), 10);
    for changed in [&delivered, &waiting] {
        assert_eq!(copy[changed]["title"], "new");
    }
}

/// Pulls until nothing is left.
pub(crate) fn pull_all(client: &mut Client, copy: &mut BTreeMap<String, Json>, parameters: &str) {
    loop {
        let pulled = client.pull_with(parameters);
        lay_over(copy, &pulled);
        if pulled.complete {
            return;
        }
    }
}

/// What a client does with the lines of a pull.
pub(crate) fn lay_over(copy: &mut BTreeMap<String, Json>, pulled: &Pulled) {
    for line in &pulled.rows {
        let id = line["id"].as_str().unwrap().to_owned();
        if line.get("removed").is_some() {
            copy.remove(&id);
        } else if line["full"] == true {
            copy.insert(id, line["columns"].clone());
        } else {
            let row = copy
                .get_mut(&id)
                .expect("columns of a row that this client has");
            for (name, value) in line["columns"].as_object().unwrap() {
                row[name] = value.clone();
            }
        }
    }
}

fn parents_come_before_their_children(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    server.client("ana").push(&[
        insert(
            "items",
            &id(1),
            &ago(60),
            &json!({ "name": "child", "list_id": id(2) }),
        ),
        insert("lists", &id(2), &ago(60), &json!({ "name": "parent" })),
    ]);
    let pulled = server.client("reader").pull();
    let tables: Vec<&str> = pulled
        .rows
        .iter()
        .map(|line| line["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["lists", "items"]);
}

fn a_pull_of_some_tables_learns_the_others_in_full_when_they_are_asked_for(backend: Backend) {
    let server = Server::on(backend).table(TODOS).table(LABELS).start();
    make_todo(&server, 1);
    let ana = server.client("ana");
    let _ = ana
        .post(
            "/v1/tables/labels/rows",
            &json!({ "code": "red", "meaning": "stop" }),
        )
        .expect(201);
    let mut reader = server.client("reader");
    assert_eq!(reader.pull_with("tables=todos").ids(), [id(1)]);
    let _ = ana
        .patch("/v1/tables/labels/rows/red", &json!({ "meaning": "halt" }))
        .expect(200);
    assert_eq!(reader.pull_with("tables=todos").rows, Vec::<Json>::new());
    let pulled = reader.pull();
    assert_eq!(pulled.ids(), ["red"], "and no todo again");
    assert_eq!(pulled.row("red")["full"], true);
    assert_eq!(
        reader.pull_with("tables=todos,labels").rows,
        Vec::<Json>::new()
    );
    let refused = reader
        .try_pull(None, "tables=todos,nothing")
        .problem(404, "unknown_table");
    assert_eq!(refused.json()["field"], "tables");
}

fn a_table_that_is_synced_later_comes_in_full(backend: Backend) {
    let mut server = Server::on(backend)
        .before(LABELS.sql(backend))
        .table(TODOS)
        .start();
    make_todo(&server, 1);
    server.sql("INSERT INTO labels (code, meaning) VALUES ('red', 'stop')");
    let mut reader = reader(&server);
    server.terminate();
    server.configure("[tables.labels]");
    let adopted = server.run(&["adopt", "--table", "labels"]);
    assert!(adopted.status.success(), "{adopted:?}");
    server.resume();
    let pulled = reader.pull();
    assert_eq!(pulled.ids(), ["red"]);
    assert_eq!(
        pulled.row("red")["columns"],
        json!({ "code": "red", "meaning": "stop" })
    );
}

fn everyone_gets_to_the_same_rows(backend: Backend) {
    let server = todos(backend);
    let mut clients = ["ana", "ben", "eve"].map(|name| server.client(name).echoed());
    let mut copies = [const { BTreeMap::new() }; 3];
    for round in 0..4_i64 {
        for (position, client) in clients.iter_mut().enumerate() {
            let at = ago(1000 - 10 * round - i64::try_from(position).unwrap());
            let own = 10 + u64::try_from(position).unwrap();
            let edits = [
                insert(
                    "todos",
                    &id(1),
                    &at,
                    &json!({ "title": client.id(), "priority": round }),
                ),
                insert("todos", &id(own), &at, &json!({ "priority": round })),
                if round == 2 {
                    delete("todos", &id(own), 99, &at)
                } else {
                    insert("todos", &id(2), &at, &json!({ "note": client.id() }))
                },
            ];
            client.push(&edits);
            if round != 1 {
                pull_all(client, &mut copies[position], "limit=2");
            }
        }
    }
    for (client, copy) in clients.iter_mut().zip(&mut copies) {
        pull_all(client, copy, "");
        pull_all(client, copy, "");
    }
    let rows = server
        .anonymous()
        .get("/v1/tables/todos/rows")
        .expect(200)
        .json();
    let rows: BTreeMap<String, Json> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()))
        .collect();
    for copy in copies {
        assert_eq!(copy, rows);
    }
}
