//! What an API forbids, or not yet allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colsync_client::Error;
use colsync_tests::{Act, Between};

use super::cuts::behind;
use super::{get, one_todo, row, sync};

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
