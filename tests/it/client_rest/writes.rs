//! What an API makes of writes, and says of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use colsync_tests::{Act, Between, clock};
use serde_json::json;

use super::cuts::behind;
use super::{device, get, one_todo, row, sync, telling, theirs};

#[test]
fn a_delete_that_the_api_says_it_has_done_and_has_not_is_a_dead_letter() {
    for answer in [
        bare!("200 OK"),
        bare!("202 Accepted"),
        bare!("204 No Content"),
    ] {
        let api = one_todo();
        let between = Between::new(&api, move |request| match request.starts_with(b"DELETE") {
            true => Act::Answer(answer),
            false => Act::Pass,
        });
        let a = behind(&between);
        theirs(&api, "a", 0, json!({ "title": "theirs" }));
        a.sql("DELETE FROM todos WHERE id = 'a'");
        a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
        let report = sync(&a);
        assert_eq!((report.applied, report.rejected), (1, 1), "{report:?}");
        let letters = a.client().dead_letters().unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].code, "delete_not_done");
        assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
        // It has replaced nothing.
        assert!(a.client().conflicts().unwrap().is_empty());
        let idle = sync(&a);
        assert_eq!((idle.pushed, idle.pulled, idle.removed), (0, 0, 0));
    }
}

#[test]
fn a_delete_whose_question_was_cut_is_asked_about_and_not_sent_again() {
    let api = one_todo();
    let deletes = Arc::new(AtomicU32::new(0));
    let counted = deletes.clone();
    let between = Between::new(&api, move |request| {
        if request.starts_with(b"DELETE") {
            counted.fetch_add(1, Ordering::SeqCst);
            return Act::Answer(bare!("204 No Content"));
        }
        let is_question = request.starts_with(b"GET /todos/a ");
        let is_first = || {
            let next = counted.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst);
            next.is_ok()
        };
        match is_question && is_first() {
            true => Act::LoseAnswer,
            false => Act::Pass,
        }
    });
    let a = behind(&between);
    a.sql("DELETE FROM todos WHERE id = 'a'");
    a.client().sync().unwrap_err();
    assert_eq!(sync(&a).rejected, 1);
    assert_eq!(deletes.load(Ordering::SeqCst), 2, "one, and its question");
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters[0].code, "delete_not_done");
    assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
}

#[test]
fn a_write_depends_on_an_etag_that_compression_would_weaken() {
    let api = one_todo();
    let there = row(&api, "a");
    let strong = telling("200 OK\r\nETag: \"1\"", &there);
    let weak = telling("200 OK\r\nETag: W/\"1\"", &there);
    let depends = Arc::new(AtomicBool::new(false));
    let seen = depends.clone();
    let between = Between::new(&api, move |request| {
        let head = String::from_utf8_lossy(request).to_ascii_lowercase();
        if head.starts_with("patch /todos/a ") {
            seen.store(head.contains("if-match: \"1\"\r\n"), Ordering::SeqCst);
        }
        match head.starts_with("get /todos/a ") {
            true if head.contains("accept-encoding: identity\r\n") => Act::Answer(strong),
            true => Act::Answer(weak),
            false => Act::Pass,
        }
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine'");
    assert_eq!(sync(&a).applied, 1);
    assert!(depends.load(Ordering::SeqCst));
}

#[test]
fn a_write_does_not_move_the_time_of_its_row_back() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET title = 'mine'");
    std::thread::park_timeout(Duration::from_millis(5));
    theirs(&api, "a", 0, json!({ "remark": "theirs" }));
    let time = || clock::time(row(&api, "a")["changed"].as_str().unwrap());
    let before = time();
    assert_eq!(sync(&a).applied, 1);
    // Or whoever asks for changes since then would not hear of it.
    assert!(time() > before, "{} {before}", time());
    assert!(time() <= clock::time(&clock::now_with(0)));
    assert_eq!(row(&api, "a")["title"], "mine");
    assert_eq!(row(&api, "a")["remark"], "theirs");
}

#[test]
fn an_answer_that_tells_the_row_as_it_was_is_not_believed() {
    let api = one_todo();
    let was = telling("200 OK", &row(&api, "a"));
    let between = Between::new(&api, move |request| match request.starts_with(b"PATCH") {
        true => Act::AnswerInstead(was),
        false => Act::Pass,
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine', stock = stock + 1");
    let report = sync(&a);
    assert_eq!((report.applied, report.superseded), (1, 0), "{report:?}");
    assert!(a.client().conflicts().unwrap().is_empty());
    assert_eq!(get(&a, "title", "a").as_deref(), Some("mine"));
    assert_eq!(get(&a, "stock", "a").as_deref(), Some("6"));
    assert_eq!(row(&api, "a")["stock"], 6);
}

#[test]
fn a_key_that_no_path_can_hold_is_refused_by_name_and_holds_up_nothing() {
    let api = one_todo();
    let a = device(&api);
    a.sql("INSERT INTO todos (id, title) VALUES ('', 'x'), ('.', 'x'), ('..', 'x'), ('b', 'made')");
    let report = sync(&a);
    assert_eq!((report.applied, report.rejected), (1, 3), "{report:?}");
    let letters = a.client().dead_letters().unwrap();
    let codes: Vec<_> = letters.iter().map(|letter| letter.code.as_str()).collect();
    assert_eq!(codes, ["invalid_id"; 3]);
    assert_eq!(row(&api, "b")["title"], "made");
    let there = api.http().get("/todos").expect(200).json();
    assert_eq!(there.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_row_that_the_api_takes_for_another_is_a_dead_letter_and_holds_up_nothing() {
    let api = one_todo();
    // It does not tell A from a.
    let other = telling("200 OK", &row(&api, "a"));
    let between = Between::new(&api, move |request| {
        match request.starts_with(b"GET /todos/A ") {
            true => Act::Answer(other),
            false => Act::Pass,
        }
    });
    let a = behind(&between);
    a.sql("INSERT INTO todos (id, title) VALUES ('A', 'mine'), ('b', 'made')");
    let report = sync(&a);
    assert_eq!((report.applied, report.rejected), (1, 1), "{report:?}");
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters[0].code, "key_not_kept");
    assert!(letters[0].detail.contains('a'), "{}", letters[0].detail);
    assert_eq!(row(&api, "a")["title"], "old");
    assert_eq!(row(&api, "b")["title"], "made");
    assert!(a.column("SELECT id FROM todos WHERE id = 'A'").is_empty());
}
