//! A database that goes away for a while, and what stays true meanwhile.

use std::time::{Duration, Instant};

use colsync_tests::edits::insert;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Answer, Backend, Client, Server, ago};
use diesel::connection::SimpleConnection as _;
use serde_json::json;

use crate::{make_todo, one_todo, todo};

/// Longer than a pool needs to notice that its connections are new again.
const RECOVERY: Duration = Duration::from_secs(60);

/// Asks again and again, as a client does, until the answer is another than 503.
#[track_caller]
fn until_recovered(what: &str, ask: impl Fn() -> Answer) -> Answer {
    let started = Instant::now();
    loop {
        let answer = ask();
        if answer.status != 503 {
            return answer;
        }
        assert!(started.elapsed() < RECOVERY, "{what}: {answer:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn reads_and_writes(client: &Client) -> Vec<Answer> {
    vec![
        client.get(&todo(1)),
        client.get("/v1/tables/todos/rows"),
        client.patch(&todo(1), &json!({ "title": "while it is down" })),
        client.push_numbered(
            1,
            &[insert(
                "todos",
                &id(2),
                &ago(60),
                &json!({ "title": "while it is down" }),
            )],
        ),
        client.try_pull(None, ""),
        client.get("/readyz"),
    ]
}

#[test]
fn a_server_that_loses_postgres_answers_503_and_recovers_by_itself() {
    let server = Server::on(Backend::Postgres)
        .table(TODOS)
        .own_cluster()
        .start();
    make_todo(&server, 1);
    let ana = server.client("ana");
    let mut reader = crate::reader(&server);
    server.cluster().stop();
    for answer in reads_and_writes(&ana) {
        let refused = answer.problem(503, "database_unavailable");
        assert!(
            refused
                .header("retry-after")
                .unwrap()
                .parse::<u32>()
                .is_ok()
        );
        assert!(
            !refused.text().contains("127.0.0.1"),
            "the cause is not the caller's business: {refused:?}"
        );
    }
    assert_eq!(
        ana.get("/healthz").expect(200).text(),
        "ok\n",
        "the process itself is well"
    );
    let nobody = server.anonymous();
    let _ = nobody
        .get("/v1/tables/nothing/rows")
        .problem(404, "unknown_table");
    server.cluster().resume();
    let _ = until_recovered("ready", || ana.get("/readyz")).expect(200);
    let _ = until_recovered("get", || ana.get(&todo(1))).expect(200);
    assert_eq!(
        ana.row("todos", &id(1))["title"],
        "old",
        "what was refused was not written"
    );
    let edits = [insert(
        "todos",
        &id(2),
        &ago(60),
        &json!({ "title": "while it is down" }),
    )];
    let pushed = until_recovered("push", || ana.push_numbered(1, &edits))
        .expect(200)
        .json();
    assert_eq!(
        pushed["receipts"][0]["status"], "ok",
        "the same push goes through now"
    );
    let _ =
        until_recovered("patch", || ana.patch(&todo(1), &json!({ "title": "new" }))).expect(200);
    let pulled = reader.pull();
    assert_eq!(pulled.row(&id(1))["columns"], json!({ "title": "new" }));
    assert_eq!(pulled.row(&id(2))["full"], true);
}

#[test]
fn connections_that_postgres_closes_are_replaced() {
    let server = one_todo(Backend::Postgres);
    let ana = server.client("ana");
    for round in 0..3 {
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        let patch = || ana.patch(&todo(1), &json!({ "priority": round }));
        let _ = until_recovered("patch", patch).expect(200);
        let _ = until_recovered("get", || ana.get(&todo(1))).expect(200);
        assert_eq!(ana.row("todos", &id(1))["priority"], round);
    }
}

#[test]
fn a_deadlock_with_another_program_is_survived() {
    let server = one_todo(Backend::Postgres);
    make_todo(&server, 2);
    let mut other = server.pg();
    other
        .batch_execute("SET deadlock_timeout = '10s'; BEGIN")
        .unwrap();
    other
        .batch_execute(&format!(
            "UPDATE todos SET note = 'sql' WHERE id = '{}'",
            id(2)
        ))
        .unwrap();
    std::thread::scope(|scope| {
        let mut ana = server.client("ana");
        let push = scope.spawn(move || {
            ana.push(&[
                insert("todos", &id(1), &ago(60), &json!({ "priority": 1 })),
                insert("todos", &id(2), &ago(60), &json!({ "priority": 2 })),
            ])
        });
        until_waiting(&server);
        // The push holds todo 1 and waits for todo 2; this closes the circle, and PostgreSQL breaks it.
        drop(other.batch_execute(&format!(
            "UPDATE todos SET note = 'sql' WHERE id = '{}'",
            id(1)
        )));
        drop(other.batch_execute("COMMIT"));
        let receipts = push.join().unwrap();
        assert!(
            receipts.iter().all(|receipt| receipt["status"] == "ok"),
            "{receipts:#?}"
        );
    });
    for number in [1, 2] {
        assert_eq!(
            server.anonymous().row("todos", &id(number))["priority"],
            number
        );
    }
}

/// Waits until a connection of the server waits for a lock.
pub fn until_waiting(server: &Server) {
    let started = Instant::now();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while server.value(waiting).as_deref() == Some("0") {
        assert!(started.elapsed() < RECOVERY, "nobody waits");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn an_edit_waits_for_another_program_that_is_writing_the_row() {
    let server = one_todo(Backend::Postgres);
    let mut other = server.pg();
    other
        .batch_execute("BEGIN; UPDATE todos SET title = 'sql'")
        .unwrap();
    let receipt = std::thread::scope(|scope| {
        let patch = scope.spawn(|| {
            server
                .client("ana")
                .patch(&todo(1), &json!({ "note": "ana" }))
        });
        until_waiting(&server);
        other.batch_execute("COMMIT").unwrap();
        patch.join().unwrap().expect(200).json()
    });
    assert_eq!(receipt["version"], 3);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("sql"), &json!("ana"))
    );
}

#[test]
fn an_edit_waits_for_another_program_that_is_writing_the_file() {
    let server = one_todo(Backend::Sqlite);
    let ana = server.client("ana");
    let _ = ana.get(&todo(1)).expect(200);
    let url = server.url();
    let path = url.strip_prefix("sqlite://").unwrap();
    let mut other = <diesel::SqliteConnection as diesel::Connection>::establish(path).unwrap();
    other
        .batch_execute(
            "PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE; UPDATE todos SET title = 'sql'",
        )
        .unwrap();
    std::thread::scope(|scope| {
        let patch = scope.spawn(|| ana.patch(&todo(1), &json!({ "note": "ana" })));
        assert_eq!(
            ana.row("todos", &id(1))["title"],
            "old",
            "reading goes on beside it"
        );
        other.batch_execute("COMMIT").unwrap();
        let _ = patch.join().unwrap().expect(200);
    });
    let row = ana.row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("sql"), &json!("ana"))
    );
}
