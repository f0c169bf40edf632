//! Columns that are the file's own: under `skip`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use colsync_tests::{Act, Between};
use serde_json::json;

use super::cuts::behind;
use super::{device, get, one_todo, row, sync};

#[test]
fn what_is_written_to_a_column_that_stays_here_waits_for_nothing() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET mine_alone = 'one' WHERE id = 'a'");
    assert!(a.client().pending().unwrap().is_empty());
    a.sql("UPDATE todos SET title = 'mine', mine_alone = 'two' WHERE id = 'a'");
    a.sql("INSERT INTO todos (id, title, mine_alone) VALUES ('b', 'made', 'three')");
    let report = sync(&a);
    assert_eq!((report.applied, report.rejected), (2, 0), "{report:?}");
    assert!(report.waiting.is_empty(), "{report:?}");
    assert!(a.client().pending().unwrap().is_empty());
    assert_eq!(get(&a, "mine_alone", "a").as_deref(), Some("two"));
    assert_eq!(get(&a, "mine_alone", "b").as_deref(), Some("three"));
    assert_eq!(row(&api, "a").get("mine_alone"), None);
    assert_eq!(row(&api, "b").get("mine_alone"), None);
    let idle = sync(&a);
    assert_eq!((idle.pushed, idle.pulled), (0, 0));
    assert!(idle.waiting.is_empty(), "{idle:?}");
}

#[test]
fn a_row_that_has_such_edits_alone_goes_when_others_delete_it() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET mine_alone = 'one'");
    sync(&a);
    a.sql("UPDATE todos SET mine_alone = 'two'");
    drop(api.http().delete("/todos/a").expect(200));
    assert_eq!(sync(&a).removed, 1);
    assert!(a.dump("todos").is_empty());
    assert!(a.client().pending().unwrap().is_empty());
    assert!(a.client().dead_letters().unwrap().is_empty());
    assert!(a.client().conflicts().unwrap().is_empty());
    // One of this key that is made since begins without them.
    let made = json!({ "id": "a", "title": "theirs" });
    drop(api.http().post("/todos", &made).expect(201));
    assert_eq!(sync(&a).pulled, 1);
    assert_eq!(get(&a, "mine_alone", "a"), None);
}

#[test]
fn a_new_row_that_is_refused_has_them_when_it_is_made_again() {
    let api = one_todo();
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = refuses.clone();
    let between = Between::new(&api, move |request| {
        match request.starts_with(b"POST") && refusing.load(Ordering::SeqCst) {
            true => Act::Answer(bare!("422 Unprocessable Content")),
            false => Act::Pass,
        }
    });
    let a = behind(&between);
    a.sql("INSERT INTO todos (id, title, mine_alone) VALUES ('b', 'made', 'one')");
    assert_eq!(sync(&a).rejected, 1);
    assert!(a.column("SELECT id FROM todos WHERE id = 'b'").is_empty());
    refuses.store(false, Ordering::SeqCst);
    let letters = a.client().dead_letters().unwrap();
    a.client().retry_dead_letter(letters[0].number).unwrap();
    assert_eq!(sync(&a).applied, 1);
    assert_eq!(get(&a, "mine_alone", "b").as_deref(), Some("one"));
    assert_eq!(row(&api, "b").get("mine_alone"), None);
}
