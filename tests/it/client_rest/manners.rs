//! Ways of APIs that json-server and Kinto do not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use colsync_tests::{Act, Between, Plain};
use serde_json::{Value as Json, json};

use super::cuts::behind;
use super::{DESCRIPTION, get, one_todo, row, sync, telling, theirs, tracking};

/// A json-server with todo `a`, which was deleted in an API's own way: by a flag, or with the time of it.
#[track_caller]
fn one_deleted(gone: &Json) -> Plain {
    let row = json!({
        "id": "a", "title": "old", "remark": "old", "stock": 5, "colour": "red", "gone": gone,
        "changed": colsync_tests::ago(60),
    });
    Plain::json_server(&json!({ "todos": [row] }))
}

#[test]
fn a_row_that_is_still_told_as_deleted_is_made_anew_by_writing_to_it() {
    let alive = [
        (json!(true), json!(false)),
        (json!(1), json!(0)),
        (json!("2026-11-01T00:00:00Z"), Json::Null),
    ];
    for update in ["put", "patch"] {
        for (gone, not_gone) in &alive {
            let api = one_deleted(gone);
            let update = format!("update = '{update}'\ndeleted = 'gone'");
            let a = tracking(&api, &DESCRIPTION.replace("update = \"patch\"", &update));
            assert_eq!(sync(&a).pulled, 0, "{gone}");
            a.sql("INSERT INTO todos (id, title) VALUES ('a', 'mine')");
            let report = sync(&a);
            assert_eq!((report.applied, report.rejected), (1, 0), "{update} {gone}");
            let there = row(&api, "a");
            let told = ["title", "remark", "stock", "colour", "gone"].map(|name| &there[name]);
            let expected = json!(["mine", null, null, "red", not_gone]);
            assert_eq!(json!(told), expected, "{update} {gone}");
            let idle = sync(&a);
            assert_eq!((idle.pushed, idle.pulled, idle.removed), (0, 0, 0));
            assert_eq!(get(&a, "title", "a").as_deref(), Some("mine"));
        }
    }
}

#[test]
fn the_time_of_a_change_is_told_as_the_api_tells_it() {
    let check = |told: Json, setting: &str, is_right: fn(i64) -> bool| {
        let row = json!({ "id": "a", "title": "old", "changed": told });
        let api = Plain::json_server(&json!({ "todos": [row] }));
        let setting = format!("writes_updated_at = {setting}");
        let description = DESCRIPTION.replace("writes_updated_at = true", &setting);
        let a = tracking(&api, &description);
        sync(&a);
        a.sql("UPDATE todos SET title = 'mine'; INSERT INTO todos (id) VALUES ('b')");
        assert_eq!(sync(&a).applied, 2);
        for id in ["a", "b"] {
            let changed = super::row(&api, id)["changed"].as_i64();
            assert!(changed.is_some_and(is_right), "{id} {setting}: {changed:?}");
        }
    };
    // In 2026.
    let seconds = |told: i64| told > 1_767_225_600 && told < 4_000_000_000;
    let millis = |told: i64| told > 1_767_225_600_000 && told < 4_000_000_000_000;
    check(json!(1_700_000_000), "true", seconds);
    check(json!(1_700_000_000_000_i64), "true", millis);
    check(json!("2026-01-01T00:00:00Z"), "'s'", seconds);
}

#[test]
fn one_that_always_says_that_others_were_faster_is_believed_after_some_syncs() {
    let api = one_todo();
    let between = Between::new(&api, |request| {
        if request.starts_with(b"PATCH /todos/a ") {
            Act::Answer(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n")
        } else {
            Act::Pass
        }
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine' WHERE id = 'a'");
    a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
    // It may tell rows from a copy that is behind.
    for _ in 0..4 {
        a.client().sync().unwrap_err();
    }
    assert_eq!(a.client().pending().unwrap().len(), 2);
    let done = (0..4).find(|_| a.client().sync().is_ok());
    assert!(done.is_some());
    assert_eq!(row(&api, "b")["title"], "made");
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].code, "http_412");
    assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
}

#[test]
fn a_new_row_that_the_api_calls_otherwise_is_told_also_where_the_answer_broke_off() {
    let api = one_todo();
    let answers = AtomicU32::new(0);
    let between = Between::new(&api, move |request| {
        if !request.starts_with(b"POST") {
            return Act::Pass;
        }
        match answers.fetch_add(1, Ordering::SeqCst) {
            0 => Act::Answer(b"HTTP/1.1 201 Created\r\nContent-Length: 40\r\n\r\n{\"id\": \"an"),
            _ => Act::Answer(
                b"HTTP/1.1 201 Created\r\nContent-Length: 17\r\n\r\n{\"id\": \"another\"}",
            ),
        }
    });
    let a = behind(&between);
    a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
    a.client().sync().unwrap_err();
    assert_eq!(a.client().pending().unwrap().len(), 1);
    assert_eq!(sync(&a).rejected, 1);
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].code, "key_not_kept");
    assert!(letters[0].detail.contains("another"));
    assert!(a.column("SELECT id FROM todos WHERE id = 'b'").is_empty());
}

#[test]
fn an_edit_that_the_api_does_not_make_is_told() {
    let check = |answer: &'static [u8]| {
        let api = one_todo();
        let between = Between::new(&api, move |request| match request.starts_with(b"PATCH") {
            true => Act::Answer(answer),
            false => Act::Pass,
        });
        let a = behind(&between);
        a.sql("UPDATE todos SET title = 'mine' WHERE id = 'a'");
        sync(&a);
        assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
        let told = a.client().conflicts().unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.outcome.as_str(), &one.mine))
            .collect();
        assert_eq!(told, [("superseded", &Some(json!("mine")))]);
        let idle = sync(&a);
        assert_eq!((idle.pushed, idle.pulled), (0, 0));
    };
    check(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"id\": \"a\", \"title\": \"old\", \
          \"remark\": \"old\", \"done\": false, \"stock\": 5, \"price\": 1.5, \"tags\": [\"x\"]}",
    );
    // An answer that does not tell the row: it is asked for.
    check(b"HTTP/1.1 204 No Content\r\n\r\n");
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"id\": \"a\"}");
}

#[test]
fn an_edit_that_is_answered_with_its_own_field_leaves_the_others_as_they_are() {
    let api = one_todo();
    let told = telling("200 OK", &json!({ "id": "a", "title": "mine" }));
    let between = Between::new(&api, move |request| match request.starts_with(b"PATCH") {
        true => Act::AnswerInstead(told),
        false => Act::Pass,
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine' WHERE id = 'a'");
    let report = sync(&a);
    assert_eq!((report.applied, report.pulled), (1, 0), "{report:?}");
    assert_eq!(get(&a, "note", "a").as_deref(), Some("old"));
    assert_eq!(get(&a, "stock", "a").as_deref(), Some("5"));
}

#[test]
fn an_edit_of_a_row_that_is_gone_right_after_it_is_told() {
    let api = one_todo();
    let is_written = AtomicBool::new(false);
    // Whether the API ever held what it was sent, only whoever deleted the row could know.
    let between = Between::new(&api, move |request| {
        if request.starts_with(b"PATCH") {
            is_written.store(true, Ordering::SeqCst);
            Act::Answer(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        } else if request.starts_with(b"GET /todos/a ") && is_written.load(Ordering::SeqCst) {
            Act::Answer(bare!("404 Not Found"))
        } else {
            Act::Pass
        }
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine' WHERE id = 'a'");
    sync(&a);
    let told = a.client().conflicts().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.outcome.as_str(), &one.mine, &one.theirs))
        .collect();
    let mine = Some(json!({ "deleted": false, "columns": { "title": "mine" } }));
    let theirs = Some(json!({ "deleted": true }));
    assert_eq!(told, [("deleted", &mine, &theirs)]);
}

#[test]
fn a_write_that_was_answered_is_in_no_doubt_though_the_row_was_not_told() {
    let api = one_todo();
    let writes = AtomicU32::new(0);
    let between = Between::new(&api, move |request| {
        if request.starts_with(b"PATCH") {
            writes.fetch_add(1, Ordering::SeqCst);
            return Act::AnswerInstead(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
        // The question that follows is not answered.
        let is_first = || {
            let counted = writes.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst);
            counted.is_ok()
        };
        if request.starts_with(b"GET /todos/a ") && is_first() {
            return Act::LoseAnswer;
        }
        Act::Pass
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine', stock = stock + 1 WHERE id = 'a'");
    a.client().sync().unwrap_err();
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    sync(&a);
    let there = row(&api, "a");
    assert_eq!(
        (&there["title"], &there["stock"]),
        (&json!("theirs"), &json!(6))
    );
    assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
    assert!(a.client().conflicts().unwrap().is_empty());
}

#[test]
fn an_edit_that_others_have_to_come_before_passes_after_them() {
    for refusal in [
        bare!("400 Bad Request"),
        bare!("404 Not Found"),
        bare!("409 Conflict"),
        bare!("422 Unprocessable Content"),
    ] {
        let api = one_todo();
        let (is_made, is_deleted) = (AtomicBool::new(false), AtomicBool::new(false));
        // It takes `a` as soon as there is `b`, which it points to, and deletes `a` when there is `b` no more.
        let between = Between::new(&api, move |request| {
            is_made.fetch_or(request.starts_with(b"POST"), Ordering::SeqCst);
            is_deleted.fetch_or(request.starts_with(b"DELETE /todos/b "), Ordering::SeqCst);
            let is_early = request.starts_with(b"PATCH /todos/a ")
                && !is_made.load(Ordering::SeqCst)
                || request.starts_with(b"DELETE /todos/a ") && !is_deleted.load(Ordering::SeqCst);
            if is_early {
                Act::Answer(refusal)
            } else {
                Act::Pass
            }
        });
        let a = behind(&between);
        a.sql("UPDATE todos SET title = 'first' WHERE id = 'a'");
        a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
        a.sql("UPDATE todos SET note = 'b' WHERE id = 'a'");
        let report = sync(&a);
        assert_eq!((report.applied, report.rejected), (2, 0));
        assert_eq!(row(&api, "a")["remark"], "b");
        a.sql("UPDATE todos SET title = 'last' WHERE id = 'a'");
        a.sql("DELETE FROM todos WHERE id = 'b'");
        a.sql("DELETE FROM todos WHERE id = 'a'");
        assert_eq!(sync(&a).rejected, 0);
        drop(api.http().get("/todos/a").expect(404));
        assert!(a.client().dead_letters().unwrap().is_empty());
    }
}

#[test]
fn what_the_api_refuses_alone_is_asked_once_more_and_no_oftener() {
    let api = one_todo();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let between = Between::new(&api, move |request| {
        if !request.starts_with(b"PATCH") {
            return Act::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Answer(bare!("422 Unprocessable Content"))
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine' WHERE id = 'a'");
    assert_eq!(sync(&a).rejected, 1);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(a.client().dead_letters().unwrap()[0].code, "http_422");
}

#[test]
fn one_that_never_deletes_keeps_no_other_edit_waiting() {
    for (refusal, code) in [
        (bare!("404 Not Found"), "http_404"),
        (bare!("405 Method Not Allowed"), "http_405"),
    ] {
        let api = one_todo();
        let between = Between::new(&api, move |request| {
            if request.starts_with(b"DELETE") {
                Act::Answer(refusal)
            } else {
                Act::Pass
            }
        });
        let a = behind(&between);
        a.sql("DELETE FROM todos WHERE id = 'a'");
        a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
        let report = sync(&a);
        assert_eq!((report.applied, report.rejected), (1, 1), "{code}");
        assert_eq!(row(&api, "b")["title"], "made");
        assert_eq!(a.client().dead_letters().unwrap()[0].code, code);
        assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
    }
}
