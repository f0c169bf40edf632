//! Clocks that are wrong: shifted, clamped, measured, and never a reason to refuse an honest client.

use colsync_tests::edits::update;
use colsync_tests::tables::id;
use colsync_tests::{Answer, Backend, Client, Server, ago, clock, on_both, time};
use serde_json::{Value as Json, json};

use crate::{ledger, make_todo, one_todo, todo, todos};

on_both![
    a_clock_three_hours_fast_wins_nothing,
    a_clock_three_hours_slow_loses_nothing,
    a_small_difference_is_not_touched,
    a_time_in_the_future_is_now,
    the_skew_of_a_client_is_shown_to_administrators,
    every_answer_tells_the_servers_time,
    headers_that_are_no_times_are_refused,
];

const THREE_HOURS: i64 = 10_800;

fn a_clock_three_hours_fast_wins_nothing(backend: Backend) {
    let server = todos(backend);
    for (number, push) in [(1, true), (2, false)] {
        make_todo(&server, number);
        let mut right = server.client("right");
        let mut fast = server.client("fast").skewed(THREE_HOURS);
        // The fast client's edit is the earlier one, though its clock says something else.
        let outcome = edit(&mut right, 30, number, push, "right");
        assert_eq!(outcome, "applied");
        let outcome = edit(&mut fast, 90, number, push, "fast");
        assert_eq!(outcome, "superseded", "pushed: {push}");
        assert_eq!(right.row("todos", &id(number))["title"], "right");
    }
}

fn a_clock_three_hours_slow_loses_nothing(backend: Backend) {
    let server = todos(backend);
    for (number, push) in [(1, true), (2, false)] {
        make_todo(&server, number);
        let mut right = server.client("right");
        let mut slow = server.client("slow").skewed(-THREE_HOURS);
        assert_eq!(edit(&mut right, 90, number, push, "right"), "applied");
        assert_eq!(
            edit(&mut slow, 30, number, push, "slow"),
            "applied",
            "pushed: {push}"
        );
        assert_eq!(right.row("todos", &id(number))["title"], "slow");
    }
}

/// An edit of version 1 made `seconds` ago by the client's own clock; gives its outcome.
#[track_caller]
fn edit(client: &mut Client, seconds: i64, number: u64, push: bool, title: &str) -> String {
    let at = client.ago(seconds);
    let value = json!({ "title": title });
    let receipt = if push {
        client.push_one(update("todos", &id(number), 1, &at, &value))
    } else {
        client
            .patch_ago(seconds, &todo(number), &value)
            .expect(200)
            .json()
    };
    receipt["columns"]["title"]["outcome"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn a_small_difference_is_not_touched(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana").skewed(1);
    let patch = ana
        .request("PATCH", &todo(1))
        .header("Client-Last-Updated", &ago(60));
    let receipt = patch
        .merge_patch(&json!({ "title": "new" }))
        .send()
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["at"], ago(60));
}

fn a_time_in_the_future_is_now(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let answer = ana
        .patch_ago(-86_400, &todo(1), &json!({ "title": "new" }))
        .expect(200);
    let at = answer.json()["columns"]["title"]["at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(time(&at) <= time(server_time(&answer)), "{at}");
    assert!(time(&at) > time(&ago(60)), "{at}");
    // So an edit made after it wins, as it should.
    let receipt = server
        .client("ben")
        .patch(&todo(1), &json!({ "title": "newer" }))
        .expect(200)
        .json();
    assert_eq!(receipt["columns"]["title"]["outcome"], "applied");
}

fn the_skew_of_a_client_is_shown_to_administrators(backend: Backend) {
    let server = one_todo(backend);
    let mut fast = server.client("fast").skewed(THREE_HOURS);
    fast.push(&[]);
    let mut slow = server.client("slow").skewed(-THREE_HOURS);
    let receipt = slow.push_one(update(
        "todos",
        &id(1),
        0,
        &slow.ago(7200),
        &json!({ "title": "stale" }),
    ));
    assert_eq!(receipt["columns"]["title"]["outcome"], "superseded");
    let clients = server.admin().get("/admin/v1/clients").expect(200).json();
    let shown = |id: &str| {
        let clients = clients["clients"].as_array().unwrap();
        clients
            .iter()
            .find(|client| client["id"] == id)
            .expect("the client")
            .clone()
    };
    about(&shown(&fast.id())["skew_us"], THREE_HOURS);
    about(&shown(&slow.id())["skew_us"], -THREE_HOURS);
    let conflict = &ledger(&server, "")[0];
    about(&conflict["skew_us"], -THREE_HOURS);
    about(&conflict["lost"]["client"]["skew_us"], -THREE_HOURS);
    let right = server.client("right");
    let _ = right
        .patch(&todo(1), &json!({ "title": "new" }))
        .expect(200);
}

#[track_caller]
fn about(micros: &Json, seconds: i64) {
    let micros = micros
        .as_i64()
        .unwrap_or_else(|| panic!("no skew: {micros}"));
    assert!(
        (micros - seconds * 1_000_000).abs() < 30_000_000,
        "{micros} µs instead of {seconds} s"
    );
}

fn every_answer_tells_the_servers_time(backend: Backend) {
    let server = one_todo(backend);
    let ana = server.client("ana");
    let answers = [
        ana.get("/v1/schema"),
        ana.get("/v1/tables/todos/rows"),
        ana.get(&todo(1)),
        ana.patch(&todo(1), &json!({ "title": "new" })),
        ana.post("/v1/tables/todos/rows", &json!({})),
        ana.put(&todo(1), &json!({ "done": false })),
        ana.push_numbered(1, &[]),
        ana.clone().echoed().try_pull(None, ""),
        ana.delete(&todo(1)),
    ];
    for answer in answers {
        assert!(answer.status < 300, "{answer:?}");
        let told = time(server_time(&answer));
        assert!(
            (told - time(&clock::now_with(0))).num_seconds().abs() < 600,
            "{answer:?}"
        );
    }
}

#[track_caller]
fn server_time(answer: &Answer) -> &str {
    answer
        .header("server-time")
        .unwrap_or_else(|| panic!("no Server-Time: {answer:?}"))
}

fn headers_that_are_no_times_are_refused(backend: Backend) {
    let server: Server = one_todo(backend);
    let before = server.dump();
    for header in ["Client-Time", "Client-Last-Updated"] {
        for bad in [
            "now",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "1700000000",
            "2026-13-01T00:00:00Z",
        ] {
            let patch = server
                .client("ana")
                .request("PATCH", &todo(1))
                .header(header, bad)
                .merge_patch(&json!({ "title": "x" }))
                .send();
            assert_eq!(
                patch.problem(400, "invalid_header").json()["field"],
                header,
                "{bad}"
            );
        }
    }
    assert_eq!(server.dump(), before);
}
