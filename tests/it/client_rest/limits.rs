//! What an API forbids, or not yet allows.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use colsync_client::Error;
use colsync_tests::{Act, Between};

use super::cuts::behind;
use super::{get, in_pages, many_todos, one_todo, row, sync, tracking_behind};

#[test]
fn a_row_that_the_api_forbids_to_see_is_as_if_it_were_not_there() {
    let api = one_todo();
    let (is_made, is_gone) = (AtomicBool::new(false), AtomicBool::new(false));
    // It answers so of rows that it has not.
    let between = Between::new(&api, move |request| {
        is_made.fetch_or(request.starts_with(b"POST"), Ordering::SeqCst);
        is_gone.fetch_or(request.starts_with(b"DELETE"), Ordering::SeqCst);
        let is_forbidden = request.starts_with(b"GET /todos/b ") && !is_made.load(Ordering::SeqCst)
            || request.starts_with(b"GET /todos/a ") && is_gone.load(Ordering::SeqCst);
        match is_forbidden {
            true => Act::Answer(bare!("403 Forbidden")),
            false => Act::Pass,
        }
    });
    let a = behind(&between);
    a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
    a.sql("DELETE FROM todos WHERE id = 'a'");
    let report = sync(&a);
    assert_eq!((report.pushed, report.rejected), (2, 0), "{report:?}");
    assert_eq!(row(&api, "b")["title"], "made");
    drop(api.http().get("/todos/a").expect(404));
}

#[test]
fn a_write_that_the_api_forbids_is_a_dead_letter_and_the_rest_passes() {
    let api = one_todo();
    let between = Between::new(&api, |request| match request.starts_with(b"PATCH") {
        true => Act::Answer(bare!("403 Forbidden")),
        false => Act::Pass,
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine'");
    a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
    let report = sync(&a);
    assert_eq!((report.applied, report.rejected), (1, 1), "{report:?}");
    assert_eq!(a.client().dead_letters().unwrap()[0].code, "http_403");
    assert_eq!(row(&api, "b")["title"], "made");
    assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
}

#[test]
fn one_that_forbids_its_list_too_pauses_and_keeps_the_edits() {
    let check = |method: &'static str| {
        let api = one_todo();
        let forbids = Arc::new(AtomicBool::new(false));
        let forbidding = forbids.clone();
        let between = Between::new(&api, move |request| {
            let is_meant =
                request.starts_with(method.as_bytes()) || request.starts_with(b"GET /todos ");
            match is_meant && forbidding.load(Ordering::SeqCst) {
                true => Act::Answer(bare!("403 Forbidden")),
                false => Act::Pass,
            }
        });
        let a = behind(&between);
        a.sql("UPDATE todos SET title = 'mine'");
        forbids.store(true, Ordering::SeqCst);
        let refused = a.client().sync().unwrap_err();
        assert!(matches!(refused, Error::Forbidden { .. }), "{refused:?}");
        assert_eq!(a.client().pending().unwrap().len(), 1);
        assert!(a.client().dead_letters().unwrap().is_empty());
        forbids.store(false, Ordering::SeqCst);
        assert_eq!(sync(&a).applied, 1);
        assert_eq!(row(&api, "a")["title"], "mine");
    };
    check("GET /todos/a ");
    check("PATCH");
}

#[test]
fn one_that_allows_so_many_calls_a_minute_is_waited_for() {
    for (refusal, of_reading_alone) in [
        (bare!("429 Too Many Requests\r\nRetry-After: 0"), false),
        (bare!("503 Service Unavailable\r\nRetry-After: 0"), true),
    ] {
        let api = many_todos(5);
        let asked = Mutex::new(HashSet::new());
        let between = Between::new(&api, move |request| {
            let line = request.split(|&byte| byte == b'\r').next();
            let is_call = request.windows(8).any(|part| part == b"HTTP/1.1");
            let is_meant = is_call && (!of_reading_alone || request.starts_with(b"GET"));
            let line = line.unwrap_or_default().to_vec();
            // The first of each is too many.
            match is_meant && asked.lock().unwrap().insert(line) {
                true => Act::Answer(refusal),
                false => Act::Pass,
            }
        });
        let a = tracking_behind(&between, &in_pages());
        assert_eq!(sync(&a).pulled, 5);
        a.sql("UPDATE todos SET stock = 1 WHERE id = 'r0'");
        a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
        assert_eq!(sync(&a).applied, 2);
        assert_eq!(row(&api, "r0")["stock"], 1);
        assert_eq!(row(&api, "b")["title"], "made");
        assert!(a.client().conflicts().unwrap().is_empty());
    }
}

#[test]
fn one_that_is_too_busy_for_long_is_left_alone() {
    for (refusal, often) in [
        (bare!("429 Too Many Requests\r\nRetry-After: 3600"), 1),
        (bare!("503 Service Unavailable"), 1),
        (bare!("429 Too Many Requests\r\nRetry-After: 0"), 5),
    ] {
        let api = one_todo();
        let asked = Arc::new(AtomicU32::new(0));
        let counted = asked.clone();
        let between = Between::new(&api, move |request| {
            if !request.starts_with(b"PATCH") {
                return Act::Pass;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            Act::Answer(refusal)
        });
        let a = behind(&between);
        a.sql("UPDATE todos SET title = 'mine'");
        let refused = a.client().sync().unwrap_err();
        assert!(matches!(refused, Error::Unreachable(_)), "{refused:?}");
        assert_eq!(asked.load(Ordering::SeqCst), often);
        assert_eq!(a.client().pending().unwrap().len(), 1);
        assert!(a.client().dead_letters().unwrap().is_empty());
    }
}
