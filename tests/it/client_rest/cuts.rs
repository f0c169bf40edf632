//! Syncs with a server that knows no sync that are killed or cut: nothing is lost, nothing done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use colsync_client::{Error, Op};
use colsync_tests::{Act, Between, Device, Plain, process};
use fastrand::Rng;
use serde_json::json;

use super::{DESCRIPTION, device, get, one_todo, row, sync, theirs, tracking_behind};

/// Syncs that are killed.
const KILLS: u32 = 20;

/// After this a story has failed.
const LONGEST: Duration = Duration::from_secs(120);

/// A device that has synced, and will not get the answer to its first write by a method.
#[track_caller]
fn behind_one_that_loses_the_first(api: &Plain, method: &'static [u8]) -> (Between, Device) {
    let lost = AtomicU32::new(0);
    let between = Between::new(api, move |request| {
        let is_first = || lost.fetch_add(1, Ordering::SeqCst) == 0;
        if request.starts_with(method) && is_first() {
            Act::LoseAnswer
        } else {
            Act::Pass
        }
    });
    let a = behind(&between);
    (between, a)
}

/// A device that has synced that way.
#[track_caller]
pub(super) fn behind(between: &Between) -> Device {
    let device = tracking_behind(between, DESCRIPTION);
    sync(&device);
    device
}

#[test]
fn a_sync_that_is_killed_at_any_point_loses_nothing_and_does_nothing_twice() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let api = one_todo();
    let a = device(&api);
    // The program is built, and as long as this is what a sync takes.
    let told = a.run(&["sync"]);
    assert!(told.status.success(), "{}", process::said(&told));
    let started = Instant::now();
    let _ = a.run(&["sync"]);
    let mut longest = 4 * started.elapsed();
    let (mut kills, mut syncs, mut added, mut theirs_added) = (0, 0, 0, 0);
    let mut rows = 1;
    let started = Instant::now();
    while kills < KILLS {
        assert!(started.elapsed() < LONGEST, "{kills} kills of {syncs}");
        for _ in 0..random.u8(1..5) {
            a.sql("UPDATE todos SET stock = stock + 1 WHERE id = 'a'");
            added += 1;
            a.sql(&format!(
                "INSERT INTO todos (id, title, stock) VALUES ('made {rows}', 'made', 0)"
            ));
            rows += 1;
        }
        a.sql(&format!(
            "UPDATE todos SET title = 'title {syncs}' WHERE id = 'made {}'",
            random.u32(0..rows)
        ));
        let mut sync = a.command(&["sync"]);
        let sync = sync
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut sync = sync.spawn().unwrap();
        std::thread::park_timeout(longest.mul_f64(random.f64()));
        sync.kill().unwrap();
        let killed = sync.wait().unwrap().code().is_none();
        longest = longest.mul_f64(if killed { 1.1 } else { 0.8 });
        kills += u32::from(killed);
        syncs += 1;
        if random.bool() {
            // What someone else adds to another row must not be lost either.
            let remark = format!("remark {syncs}");
            theirs(&api, "a", 0, json!({ "remark": remark }));
            theirs_added = syncs;
        }
    }
    println!("{kills} of {syncs} syncs killed in {:?}", started.elapsed());
    while !a.client().pending().unwrap().is_empty() {
        sync(&a);
    }
    sync(&a);
    assert_eq!(row(&api, "a")["stock"], 5 + added, "each counted once");
    let there = api.http().get("/todos").expect(200).json();
    let there = there.as_array().unwrap();
    assert_eq!(there.len(), rows as usize, "each made once");
    assert_eq!(row(&api, "a")["remark"], format!("remark {theirs_added}"));
    for row in there {
        let id = row["id"].as_str().unwrap();
        assert_eq!(
            row["title"].as_str(),
            get(&a, "title", id).as_deref(),
            "{id}"
        );
    }
    assert!(a.client().dead_letters().unwrap().is_empty());
    assert!(a.client().conflicts().unwrap().is_empty());
    assert!(a.client().pending().unwrap().is_empty());
}

#[test]
fn a_write_whose_answer_is_lost_is_not_done_twice() {
    let api = one_todo();
    let lost = Arc::new(AtomicU32::new(0));
    let losses = lost.clone();
    let between = Between::new(&api, move |request| {
        let writes: [&[u8]; 3] = [b"PATCH", b"POST", b"DELETE"];
        let is_write = writes.iter().any(|method| request.starts_with(method));
        // Every other write gets its answer.
        if is_write && losses.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            Act::LoseAnswer
        } else {
            Act::Pass
        }
    });
    let a = behind(&between);
    a.sql(
        "UPDATE todos SET stock = stock + 2;
         INSERT INTO todos (id, title, stock) VALUES ('b', 'made', 1), ('c', 'made', 1);
         UPDATE todos SET tags = '[\"x\",\"y\"]' WHERE id = 'a'",
    );
    let mut tries = 0;
    while let Err(refused) = a.client().sync() {
        assert!(matches!(refused, Error::Unreachable(_)), "{refused:?}");
        // What others do to another column meanwhile is no part of it.
        theirs(&api, "a", 0, json!({ "remark": "theirs" }));
        tries += 1;
        assert!(tries < 10, "{refused:?}");
    }
    assert_eq!(
        (tries, lost.load(Ordering::SeqCst)),
        (2, 3),
        "three writes, none again"
    );
    let there = row(&api, "a");
    assert_eq!(
        (&there["stock"], &there["tags"]),
        (&json!(7), &json!(["x", "y"]))
    );
    assert_eq!(get(&a, "note", "a").as_deref(), Some("theirs"));
    assert_eq!(get(&a, "stock", "a").as_deref(), Some("7"));
    let all = api.http().get("/todos").expect(200).json();
    assert_eq!(all.as_array().unwrap().len(), 3);
    assert!(a.client().conflicts().unwrap().is_empty());
    assert_eq!((sync(&a).pushed, sync(&a).pulled), (0, 0));
}

#[test]
fn what_a_write_without_an_answer_replaced_is_told_though_others_have_written_since() {
    let api = one_todo();
    let (_between, a) = behind_one_that_loses_the_first(&api, b"PATCH");
    theirs(
        &api,
        "a",
        30,
        json!({ "title": "theirs, half a minute ago" }),
    );
    a.sql("UPDATE todos SET title = 'mine', note = 'mine, too'");
    a.client().sync().unwrap_err();
    assert_eq!(row(&api, "a")["title"], "mine");
    theirs(&api, "a", 0, json!({ "remark": "theirs, since" }));
    sync(&a);
    let told = a.client().conflicts().unwrap();
    let title = told
        .iter()
        .filter(|one| one.column.as_deref() == Some("title"));
    let title: Vec<_> = title.map(|one| (&*one.outcome, &one.theirs)).collect();
    assert_eq!(
        title,
        [("applied", &Some(json!("theirs, half a minute ago")))]
    );
    assert_eq!(row(&api, "a")["title"], "mine");
}

#[test]
fn what_others_write_to_a_new_row_whose_answer_was_lost_is_not_seen_by_its_maker() {
    let api = one_todo();
    let (_between, a) = behind_one_that_loses_the_first(&api, b"POST");
    a.sql("INSERT INTO todos (id, title) VALUES ('b', 'made')");
    a.client().sync().unwrap_err();
    theirs(&api, "b", 0, json!({ "remark": "theirs" }));
    std::thread::park_timeout(Duration::from_millis(5));
    a.sql("UPDATE todos SET note = 'mine' WHERE id = 'b'");
    sync(&a);
    sync(&a);
    assert_eq!(row(&api, "b")["remark"], "mine");
    let told = a.client().conflicts().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|one| (&*one.outcome, &one.theirs))
        .collect();
    assert_eq!(told, [("applied", &Some(json!("theirs")))]);
}

#[test]
fn edits_wait_while_the_api_is_away() {
    let mut api = one_todo();
    let a = device(&api);
    api.stop();
    a.sql("UPDATE todos SET title = 'offline'; INSERT INTO todos (id, title) VALUES ('b', 'new')");
    assert!(matches!(a.client().sync(), Err(Error::Unreachable(_))));
    let told = a.run(&["sync"]);
    assert_eq!(told.status.code(), Some(3), "{}", process::said(&told));
    assert_eq!(a.client().pending().unwrap().len(), 2);
    api.resume();
    assert_eq!(sync(&a).applied, 2);
    assert_eq!(row(&api, "a")["title"], "offline");
    assert_eq!(row(&api, "b")["title"], "new");
}

#[test]
fn an_edit_made_while_another_is_on_its_way_stays_pending() {
    let api = one_todo();
    let a = device(&api);
    a.sql("UPDATE todos SET title = 'one'");
    let during = |progress: &colsync_client::Progress| {
        matches!(progress, colsync_client::Progress::Pushing { .. })
    };
    crate::client_sync::sync_while(&a, during, || a.sql("UPDATE todos SET title = 'two'"));
    assert_eq!(row(&api, "a")["title"], "one");
    let pending = a.client().pending().unwrap();
    assert_eq!((pending.len(), pending[0].op), (1, Op::Update));
    assert_eq!(sync(&a).applied, 1);
    assert_eq!(row(&api, "a")["title"], "two");
    assert!(a.client().conflicts().unwrap().is_empty());
}
