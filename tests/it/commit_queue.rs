//! Many requests at once: one transaction for all that wait, and nothing answered that is not durable.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{ITEMS, LISTS, TODOS, WIDE, id};
use colsync_tests::{Answer, Backend, Client, Server, ago, on_both, row_path};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use serde_json::{Value as Json, json};

use crate::{make_todo, todo, todos};

on_both![
    sixteen_writers_of_one_row_lose_no_column,
    sixteen_writers_that_create_one_row_lose_no_column,
    sixteen_pushes_that_insert_one_row_lose_no_column,
    a_counter_of_versions_counts_every_accepted_edit,
    many_requests_at_once_are_all_answered,
    a_refused_row_takes_none_of_its_neighbours_along,
    the_same_push_sent_twice_at_once_takes_effect_once,
    a_full_queue_says_try_again_later,
    who_waits_for_another_programs_lock_is_told_in_time,
    pushes_that_are_committed_together_have_not_seen_each_other,
    on_sigterm_every_answered_edit_is_in_the_database,
    after_a_kill_every_acknowledged_patch_is_there,
];

/// How long an answer is waited for: longer than any client of these stories waits for its own.
const PATIENCE: Duration = Duration::from_secs(90);

/// Calls `write` for 16 writers at the same moment.
fn sixteen<T: Send>(server: &Server, write: impl Fn(usize, Client) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(16);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|number| {
                let client = server.client(&format!("writer {number}"));
                let (start, write) = (&start, &write);
                scope.spawn(move || {
                    start.wait();
                    write(number, client)
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    })
}

#[track_caller]
fn all_sixteen_columns(server: &Server) {
    let row = server.anonymous().row("wide", &id(1));
    for number in 0..16 {
        assert_eq!(row[format!("c{number}")], number, "{row}");
    }
}

fn sixteen_writers_of_one_row_lose_no_column(backend: Backend) {
    let server = Server::on(backend).table(WIDE).start();
    server
        .client("maker")
        .create_ago(3600, "wide", &json!({ "id": id(1) }));
    let answers = sixteen(&server, |number, client| {
        client.patch(
            &row_path("wide", &id(1)),
            &json!({ format!("c{number}"): number }),
        )
    });
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{answers:?}"
    );
    all_sixteen_columns(&server);
    let mut versions: Vec<i64> = answers.iter().map(Answer::version).collect();
    versions.sort_unstable();
    assert_eq!(
        versions,
        (2..=17).collect::<Vec<i64>>(),
        "each edit has a version of its own"
    );
}

fn sixteen_writers_that_create_one_row_lose_no_column(backend: Backend) {
    let server = Server::on(backend).table(WIDE).start();
    let answers = sixteen(&server, |number, client| {
        client.post(
            "/v1/tables/wide/rows",
            &json!({ "id": id(1), format!("c{number}"): number }),
        )
    });
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let merged = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, merged), (1, 15), "{answers:?}");
    all_sixteen_columns(&server);
}

fn sixteen_pushes_that_insert_one_row_lose_no_column(backend: Backend) {
    let server = Server::on(backend).table(WIDE).start();
    let answers = sixteen(&server, |number, client| {
        let at = ago(60 * i64::try_from(number % 5).unwrap() + 60);
        client.push_numbered(
            1,
            &[insert(
                "wide",
                &id(1),
                &at,
                &json!({ format!("c{number}"): number }),
            )],
        )
    });
    assert!(
        answers
            .iter()
            .all(|answer| answer.json()["receipts"][0]["status"] == "ok"),
        "{answers:?}"
    );
    all_sixteen_columns(&server);
}

fn a_counter_of_versions_counts_every_accepted_edit(backend: Backend) {
    let server = todos(backend);
    make_todo(&server, 1);
    let mut reader = crate::reader(&server);
    let answers = sixteen(&server, |number, client| {
        let titles = (0..4).map(|again| json!({ "title": format!("{number}/{again}") }));
        let answers = titles.map(|title| client.patch(&todo(1), &title).expect(200));
        answers.collect::<Vec<Answer>>()
    });
    let outcomes = answers
        .iter()
        .flatten()
        .map(|answer| answer.json()["columns"]["title"]["outcome"].clone());
    let (applied, lost): (Vec<Json>, Vec<Json>) =
        outcomes.partition(|outcome| outcome == "applied");
    let version = 1 + i64::try_from(applied.len()).unwrap();
    assert_eq!(
        server.anonymous().get(&todo(1)).expect(200).version(),
        version
    );
    assert_eq!(reader.pull().row(&id(1))["version"], version);
    // One that arrived earlier and was committed later has lost, and is kept.
    assert_eq!(crate::ledger(&server, "limit=1000").len(), lost.len());
}

fn many_requests_at_once_are_all_answered(backend: Backend) {
    let server = todos(backend);
    sixteen(&server, |number, client| {
        let mut last = None;
        for again in 0..10 {
            let row = id(u64::try_from(number * 10 + again).unwrap() + 1);
            last = Some(
                client
                    .post("/v1/tables/todos/rows", &json!({ "id": row, "title": "x" }))
                    .expect(201),
            );
        }
        last.unwrap()
    });
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("160")
    );
    assert_eq!(server.client("reader").pull().rows.len(), 160);
}

fn a_refused_row_takes_none_of_its_neighbours_along(backend: Backend) {
    let server = Server::on(backend).table(LISTS).table(ITEMS).start();
    let answers = sixteen(&server, |number, client| {
        let bad = number % 4 == 0;
        let amount = if bad { -1 } else { 1 };
        let row =
            json!({ "id": id(u64::try_from(number).unwrap()), "name": "x", "amount": amount });
        let answer = client.post("/v1/tables/items/rows", &row);
        if bad {
            answer.problem(409, "constraint_violation")
        } else {
            answer.expect(201)
        }
    });
    assert_eq!(answers.len(), 16);
    assert_eq!(
        server.value("SELECT count(*) FROM items").as_deref(),
        Some("12")
    );
}

fn the_same_push_sent_twice_at_once_takes_effect_once(backend: Backend) {
    let server = todos(backend);
    let answers = sixteen(&server, |_, _| {
        let edits = [insert("todos", &id(1), &ago(60), &json!({ "title": "x" }))];
        server.client("ana").push_numbered(1, &edits).expect(200)
    });
    assert!(
        answers
            .iter()
            .all(|answer| answer.text() == answers[0].text()),
        "{answers:?}"
    );
    assert_eq!(
        server.value("SELECT count(*) FROM todos").as_deref(),
        Some("1")
    );
    assert_eq!(server.anonymous().get(&todo(1)).expect(200).version(), 1);
}

/// Another program's transaction that keeps writers out for as long as it lives.
enum Blocker {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Blocker {
    fn new(server: &Server, backend: Backend) -> Blocker {
        match backend {
            Backend::Sqlite => {
                let url = server.url();
                let mut conn =
                    SqliteConnection::establish(url.strip_prefix("sqlite://").unwrap()).unwrap();
                conn.batch_execute("PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE")
                    .unwrap();
                Blocker::Sqlite(conn)
            }
            Backend::Postgres => {
                let mut conn = server.pg();
                conn.batch_execute("BEGIN; LOCK TABLE todos IN EXCLUSIVE MODE")
                    .unwrap();
                Blocker::Postgres(conn)
            }
        }
    }

    fn release(self) {
        match self {
            Blocker::Sqlite(mut conn) => conn.batch_execute("ROLLBACK").unwrap(),
            Blocker::Postgres(mut conn) => conn.batch_execute("ROLLBACK").unwrap(),
        }
    }
}

fn a_full_queue_says_try_again_later(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .section("[limits]\nqueue_submissions = 1")
        .start();
    let clients: Vec<Client> = (1..=16)
        .map(|number| server.client(&format!("writer {number}")))
        .collect();
    for (number, client) in (1..).zip(&clients) {
        make_todo(&server, number);
        // The server knows them all; nothing but the edit itself is left to write.
        let _ = client.get(&todo(number)).expect(200);
    }
    let blocker = Blocker::new(&server, backend);
    let (answered, answers) = channel();
    let mut first = None;
    std::thread::scope(|scope| {
        for (number, client) in (1..).zip(clients) {
            let answered = answered.clone();
            scope.spawn(move || {
                answered
                    .send(client.patch(&todo(number), &json!({ "priority": 1 })))
                    .unwrap()
            });
        }
        first = answers.recv_timeout(PATIENCE).ok();
        blocker.release();
    });
    drop(answered);
    let refused = first.unwrap().problem(503, "queue_full");
    let again = refused.header("retry-after").unwrap();
    assert!(again.parse::<u32>().is_ok(), "{again}");
    let rest: Vec<Answer> = answers.iter().collect();
    assert!(
        rest.iter()
            .all(|answer| [200, 503].contains(&answer.status)),
        "{rest:?}"
    );
    let accepted = rest.iter().filter(|answer| answer.status == 200).count();
    assert!(accepted >= 1, "what was waiting is written once it can be");
    let written = server.value("SELECT count(*) FROM todos WHERE priority = 1");
    assert_eq!(
        written,
        Some(accepted.to_string()),
        "and what was refused is not"
    );
}

fn who_waits_for_another_programs_lock_is_told_in_time(backend: Backend) {
    let server = todos(backend);
    make_todo(&server, 1);
    let client = server.client("ana");
    let _ = client.get(&todo(1)).expect(200);
    let edits = [insert("todos", &id(2), &ago(60), &json!({ "title": "x" }))];
    let blocker = Blocker::new(&server, backend);
    let asked = Instant::now();
    let refused = client.push_numbered(1, &edits).problem(503, "queue_full");
    let waited = asked.elapsed();
    assert!(waited < Duration::from_secs(40), "{waited:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    blocker.release();
    let count = "SELECT count(*) FROM todos";
    assert_eq!(
        server.value(count).as_deref(),
        Some("1"),
        "what was refused is not written"
    );
    let again = client.push_numbered(1, &edits).expect(200);
    assert_eq!(again.json()["receipts"][0]["status"], "ok");
    assert_eq!(
        server.value(count).as_deref(),
        Some("2"),
        "and can be sent again"
    );
}

fn pushes_that_are_committed_together_have_not_seen_each_other(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .section("[limits]\nqueue_submissions = 8")
        .start();
    let version = make_todo(&server, 1);
    // More than the queue and the batches of both writers can hold, however they are taken.
    let clients: Vec<Client> = (1..=32)
        .map(|number| server.client(&format!("writer {number}")))
        .collect();
    for client in &clients {
        let _ = client.get(&todo(1)).expect(200);
    }
    let blocker = Blocker::new(&server, backend);
    let (answered, answers) = channel();
    let mut first = None;
    std::thread::scope(|scope| {
        for (number, client) in (1..).zip(clients) {
            let answered = answered.clone();
            scope.spawn(move || {
                let title = format!("by {number}");
                let values = json!({ "title": title });
                let edit = update("todos", &id(1), version, &ago(60), &values);
                let answer = client.push_numbered(1, &[edit]);
                answered.send((title, answer)).unwrap();
            });
        }
        first = answers.recv_timeout(PATIENCE).ok();
        blocker.release();
    });
    drop(answered);
    // The queue was full: so many wait for one transaction.
    let _ = first.unwrap().1.problem(503, "queue_full");
    let mut accepted: Vec<Json> = answers
        .iter()
        .filter(|(_, answer)| answer.status == 200)
        .map(|(title, _)| title.into())
        .collect();
    assert!(accepted.len() >= 8, "{accepted:?}");
    accepted.sort_by_key(Json::to_string);
    let ledger = crate::ledger(&server, "limit=1000");
    let mut kept: Vec<Json> = ledger
        .iter()
        .map(|one| one["lost"]["value"].clone())
        .collect();
    kept.push(server.anonymous().row("todos", &id(1))["title"].clone());
    kept.sort_by_key(Json::to_string);
    assert_eq!(
        kept, accepted,
        "one is current, and all others are in the ledger"
    );
}

/// Eight clients count up in rows of their own until the server does not answer any more. When `enough`
/// answers have come, `stop` is called. Gives the last number answered to each.
fn count_until_the_end(server: &Server, enough: usize, stop: impl FnOnce()) -> Vec<i64> {
    let stopped = AtomicBool::new(false);
    let (answered, answers) = channel();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=8)
            .map(|number| {
                let (client, answered, stopped) = (
                    server.client(&format!("writer {number}")),
                    answered.clone(),
                    &stopped,
                );
                scope.spawn(move || {
                    let mut last = 0;
                    for next in 1.. {
                        let patch = client
                            .request("PATCH", &todo(number))
                            .merge_patch(&json!({ "priority": next }));
                        match patch.try_send() {
                            Ok(answer) if answer.status == 200 => last = next,
                            Ok(answer) => {
                                assert!(
                                    answer.status == 503 && stopped.load(Ordering::SeqCst),
                                    "{answer:?}"
                                );
                                break;
                            }
                            Err(failure) => {
                                assert!(stopped.load(Ordering::SeqCst), "{failure}");
                                break;
                            }
                        }
                        let _ = answered.send(());
                    }
                    last
                })
            })
            .collect();
        for _answer in 0..enough {
            answers.recv_timeout(PATIENCE).unwrap();
        }
        stopped.store(true, Ordering::SeqCst);
        stop();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    })
}

#[track_caller]
fn nothing_answered_is_lost(server: &Server, last: &[i64]) {
    let stored = server.column("SELECT priority FROM todos ORDER BY id");
    let stored: Vec<i64> = stored
        .iter()
        .map(|value| value.as_deref().unwrap_or("0").parse().unwrap())
        .collect();
    for (stored, last) in stored.iter().zip(last) {
        // One more may have been committed whose answer did not get through.
        assert!(
            (*last..=last + 1).contains(stored),
            "answered {last}, stored {stored}"
        );
    }
    assert_eq!(stored.len(), last.len());
}

fn on_sigterm_every_answered_edit_is_in_the_database(backend: Backend) {
    let mut server = todos(backend);
    for number in 1..=8 {
        make_todo(&server, number);
    }
    let last = count_until_the_end(&server, 80, || server.signal_term());
    server.terminate();
    nothing_answered_is_lost(&server, &last);
    server.resume();
    let rows = server.client("reader").pull().rows;
    assert_eq!(rows.len(), 8);
}

fn after_a_kill_every_acknowledged_patch_is_there(backend: Backend) {
    let mut server = todos(backend);
    for number in 1..=8 {
        make_todo(&server, number);
    }
    let last = count_until_the_end(&server, 80, || server.signal_kill());
    server.kill_9();
    server.resume();
    nothing_answered_is_lost(&server, &last);
    let rows: Vec<Json> = server.client("reader").pull().rows;
    assert_eq!(rows.len(), 8);
    let _ = server
        .anonymous()
        .patch(&todo(1), &json!({ "title": "on it goes" }))
        .expect(200);
}
