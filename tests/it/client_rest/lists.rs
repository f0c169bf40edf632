//! Lists that end in their own ways, or change while they are read.

use std::sync::atomic::{AtomicBool, Ordering};

use colsync_tests::{Act, Between};
use serde_json::json;

use super::cuts::behind;
use super::{DESCRIPTION, get, one_todo, row, sync, theirs, tracking};

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
