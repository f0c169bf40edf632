//! Lists that end in their own ways, or change while they are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colsync_tests::{Act, Between, Plain};
use serde_json::json;

use super::cuts::behind;
use super::{
    DESCRIPTION, get, in_pages, many_todos, one_todo, row, sync, telling, theirs, tracking,
    tracking_behind,
};

#[test]
fn what_is_undone_right_after_it_was_written_comes_down() {
    let api = one_todo();
    let (http, is_written) = (api.http(), AtomicBool::new(false));
    let between = Between::new(&api, move |request| {
        is_written.fetch_or(request.starts_with(b"PATCH"), Ordering::SeqCst);
        // The list is to the byte what it was.
        if request.starts_with(b"GET /todos ") && is_written.load(Ordering::SeqCst) {
            let undo = json!({ "title": "old", "changed": colsync_tests::ago(60) });
            drop(http.request("PATCH", "/todos/a").json(&undo).send());
        }
        Act::Pass
    });
    let a = behind(&between);
    a.sql("UPDATE todos SET title = 'mine'");
    assert_eq!(sync(&a).applied, 1);
    assert_eq!(row(&api, "a")["title"], "old");
    assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
    let idle = sync(&a);
    assert_eq!(idle.received_bytes, 0, "the list is known again");
}

#[test]
fn what_is_undone_after_changes_have_told_it_comes_down_with_the_whole_list() {
    let api = one_todo();
    let changes = "changes = '/todos?changed_gte={since}'\nwhole_every = 3\nskip";
    let a = tracking(&api, &DESCRIPTION.replace("skip", changes));
    // The whole list, and what changed while it was read.
    sync(&a);
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    sync(&a);
    assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
    // No change tells of it, and the list is to the byte what it was.
    let undo = json!({ "title": "old", "changed": colsync_tests::ago(60) });
    let http = api.http();
    drop(
        http.request("PATCH", "/todos/a")
            .json(&undo)
            .send()
            .expect(200),
    );
    sync(&a);
    assert_eq!(get(&a, "title", "a").as_deref(), Some("old"));
}

#[test]
fn a_numbered_list_ends_in_many_ways() {
    let null = telling("200 OK", &json!(null));
    for end in [
        bare!("204 No Content"),
        bare!("400 Bad Request"),
        bare!("404 Not Found"),
        bare!("422 Unprocessable Content"),
        null,
    ] {
        let api = many_todos(5);
        let between = Between::new(&api, move |request| {
            match request.starts_with(b"GET /todos?_page=4&") {
                true => Act::Answer(end),
                false => Act::Pass,
            }
        });
        let a = tracking_behind(&between, &in_pages());
        assert_eq!(sync(&a).pulled, 5);
        let idle = sync(&a);
        assert_eq!((idle.pulled, idle.removed), (0, 0));
    }
}

#[test]
fn a_list_whose_first_page_is_refused_is_not_an_empty_one() {
    for refusal in [
        bare!("204 No Content"),
        bare!("400 Bad Request"),
        bare!("404 Not Found"),
    ] {
        let api = many_todos(3);
        let refuses = Arc::new(AtomicBool::new(false));
        let refusing = refuses.clone();
        let between = Between::new(&api, move |request| {
            let is_first = request.starts_with(b"GET /todos?_page=1&");
            match is_first && refusing.load(Ordering::SeqCst) {
                true => Act::Answer(refusal),
                false => Act::Pass,
            }
        });
        let a = tracking_behind(&between, &in_pages());
        sync(&a);
        refuses.store(true, Ordering::SeqCst);
        a.client().sync().unwrap_err();
        assert_eq!(a.value("SELECT count(*) FROM todos").as_deref(), Some("3"));
    }
}

#[test]
fn a_row_that_went_to_a_page_that_was_read_stays() {
    let api = many_todos(3);
    let http = api.http();
    let shifts = Arc::new(AtomicBool::new(false));
    let shifting = shifts.clone();
    let between = Between::new(&api, move |request| {
        let is_second = request.starts_with(b"GET /todos?_page=2&");
        if is_second && shifting.load(Ordering::SeqCst) {
            // What was on this page is on the first one now.
            drop(http.delete("/todos/r0"));
            return Act::Answer(bare!("404 Not Found"));
        }
        Act::Pass
    });
    let a = tracking_behind(&between, &in_pages());
    assert_eq!(sync(&a).pulled, 3);
    shifts.store(true, Ordering::SeqCst);
    assert_eq!(sync(&a).removed, 0);
    assert_eq!(get(&a, "title", "r2").as_deref(), Some("old"));
    assert_eq!(sync(&a).removed, 1);
    let left = a.column("SELECT id FROM todos ORDER BY id");
    assert_eq!(left, [Some("r1".to_owned()), Some("r2".to_owned())]);
}

#[test]
fn a_row_that_changes_after_its_page_was_read_is_among_the_next_changes() {
    let api = many_todos(3);
    let changes =
        "changes = '/todos?changed_gte={since}&_sort=id&_page={page}&_limit={limit}'\nskip";
    let description = in_pages().replace("skip", changes);
    let (aside, is_changed) = (api.http(), AtomicBool::new(true));
    let is_changed = Arc::new(is_changed);
    let changed = is_changed.clone();
    let between = Between::new(&api, move |request| {
        let line = request.split(|&byte| byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        let is_second = line.contains("changed_gte") && line.contains("_page=2&");
        if is_second && !changed.swap(true, Ordering::SeqCst) {
            // Earlier than what the second page tells.
            let again = json!({ "title": "again", "changed": colsync_tests::ago(15) });
            drop(aside.request("PATCH", "/todos/r0").json(&again).send());
        }
        Act::Pass
    });
    let a = tracking_behind(&between, &description);
    sync(&a);
    let change = |id: &str, ago: i64| {
        let fields = json!({ "title": format!("{ago} ago"), "changed": colsync_tests::ago(ago) });
        let http = api.http();
        let patch = http.request("PATCH", &format!("/todos/{id}"));
        drop(patch.json(&fields).send().expect(200));
    };
    change("r0", 20);
    change("r1", 20);
    change("r2", 10);
    is_changed.store(false, Ordering::SeqCst);
    assert_eq!(sync(&a).pulled, 3);
    assert_eq!(row(&api, "r0")["title"], "again");
    assert_eq!(sync(&a).pulled, 1);
    assert_eq!(get(&a, "title", "r0").as_deref(), Some("again"));
    // What the list before told is not asked for again.
    let before = sync(&a).received_bytes;
    change("r1", 9);
    assert_eq!(sync(&a).pulled, 1);
    assert!(sync(&a).received_bytes <= before);
}

#[test]
fn a_file_that_kept_less_of_its_lists_goes_on() {
    let api = one_todo();
    let a = tracking(&api, DESCRIPTION);
    sync(&a);
    a.sql("ALTER TABLE colsync_remote_tables DROP COLUMN latest");
    theirs(&api, "a", 0, json!({ "title": "theirs" }));
    assert_eq!(sync(&a).pulled, 1);
    assert_eq!(get(&a, "title", "a").as_deref(), Some("theirs"));
}

#[test]
fn a_row_in_whose_place_another_is_told_is_gone() {
    let rows = ["A", "b", "c"].map(|id| json!({ "id": id, "title": "old" }));
    let api = Plain::json_server(&json!({ "todos": rows }));
    let other = telling("200 OK", &row(&api, "b"));
    let between = Between::new(&api, move |request| {
        match request.starts_with(b"GET /todos/A ") {
            true => Act::Answer(other),
            false => Act::Pass,
        }
    });
    let a = tracking_behind(&between, &in_pages());
    assert_eq!(sync(&a).pulled, 3);
    drop(api.http().delete("/todos/A").expect(200));
    let report = sync(&a);
    assert_eq!((report.pulled, report.removed), (0, 1));
    assert_eq!(a.value("SELECT count(*) FROM todos").as_deref(), Some("2"));
}
