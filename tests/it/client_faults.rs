//! A client under a bad network, power cuts and an app that goes on writing: nothing is lost, nothing twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_client::{Client, Error, Mode, Pace, Progress, Settings, State, Worker};
use colsync_tests::convergence::{LONGEST, all_become_equal, holds_the_same};
use colsync_tests::device::{until, until_or};
use colsync_tests::tables::TODOS;
use colsync_tests::{Backend, Device, Fault, Journal, Plan, Writer, evidence, on_both, process};
use fastrand::Rng;

use crate::client_sync::sync_while;
use crate::todos;

/// Faults that must have happened before the network is well again.
const FAULTS: u64 = 1_000;

/// Syncs that are killed.
const KILLS: u32 = 100;

on_both![
    a_thousand_faults_lose_nothing_and_do_nothing_twice,
    faults_lose_nothing_of_a_transaction_log,
    faults_lose_nothing_of_whole_rows,
    a_sync_that_is_killed_at_any_point_loses_nothing,
    a_file_that_python_edits_is_followed_by_another,
    what_the_app_writes_during_a_push_is_not_overwritten,
    workers_get_through_a_bad_network_by_themselves,
];

/// Another one in each run, printed when the test fails; or the one that is given.
fn seed() -> u64 {
    let given = std::env::var("COLSYNC_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("COLSYNC_TEST_SEED={seed}");
    seed
}

fn a_thousand_faults_lose_nothing_and_do_nothing_twice(backend: Backend) {
    lose_nothing(backend, Mode::Differential, FAULTS);
}

fn faults_lose_nothing_of_a_transaction_log(backend: Backend) {
    lose_nothing(backend, Mode::TransactionLog, FAULTS / 4);
}

fn faults_lose_nothing_of_whole_rows(backend: Backend) {
    lose_nothing(backend, Mode::WholeRow, FAULTS / 4);
}

/// Three devices that edit and sync in `mode` until so many faults have happened.
fn lose_nothing(backend: Backend, mode: Mode, faults: u64) {
    let seed = seed();
    let server = todos(backend);
    let proxy = server.proxy(seed);
    let devices = [(); 3].map(|()| Device::behind(&proxy).tracking(TODOS));
    for device in &devices {
        // The file keeps the mode.
        let settings = Settings {
            server: Some(device.url()),
            mode: Some(mode),
            ..Settings::default()
        };
        Client::open(device.path(), settings)
            .unwrap()
            .sync()
            .unwrap();
    }
    // Only pulls can be truncated, and most requests are none.
    proxy.plan(Plan::all(80).with(Fault::Truncate, 200));
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let journals = std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for (number, device) in (1..).zip(&devices) {
            let (over, proxy) = (&over, &proxy);
            writers.push(scope.spawn(move || write_until(over, number, device, seed)));
            scope.spawn(move || {
                let _over = SetOnDrop(over);
                let client = device.client();
                while proxy.counts().total() < faults {
                    assert!(started.elapsed() < LONGEST, "{}", proxy.counts());
                    match client.sync() {
                        Ok(_) | Err(Error::Unreachable(_)) => {}
                        Err(other) => panic!("no fault of the network: {other:?}"),
                    }
                }
            });
        }
        let journals = writers.into_iter().map(|writer| writer.join().unwrap());
        Journal::of_all(journals.collect::<Vec<_>>())
    });
    println!("{} in {:?}", proxy.counts(), started.elapsed());
    proxy.faults_off();
    all_become_equal(&server, &devices);
    journals.assert_kept(&server, &devices);
}

/// Edits now and then, also while a sync runs.
fn write_until(over: &AtomicBool, number: u64, device: &Device, seed: u64) -> Journal {
    let mut writer = Writer::new(number, device, seed);
    let mut random = Rng::with_seed(seed ^ number);
    while !over.load(Ordering::SeqCst) {
        for _ in 0..random.u8(1..4) {
            writer.edit();
        }
        std::thread::park_timeout(Duration::from_millis(random.u64(1..60)));
    }
    writer.journal()
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn a_sync_that_is_killed_at_any_point_loses_nothing(backend: Backend) {
    let seed = seed();
    let server = todos(backend);
    let devices = [(); 2].map(|()| Device::new(&server).tracking(TODOS));
    let [killed, well] = &devices;
    let mut writers = [Writer::new(1, killed, seed), Writer::new(2, well, seed)];
    let mut random = Rng::with_seed(seed);
    // The program is built, and as long as this is what a sync takes.
    writers[0].edit();
    let _ = killed.run(&["sync"]);
    let started = Instant::now();
    let told = killed.run(&["sync"]);
    assert!(told.status.success(), "{}", process::said(&told));
    // Adapts itself, so that kills fall on all of a sync and some syncs come to their end.
    let mut longest = 2 * started.elapsed();
    let (mut kills, mut syncs) = (0, 0);
    let started = Instant::now();
    while kills < KILLS {
        assert!(started.elapsed() < LONGEST, "{kills} kills of {syncs}");
        for writer in &mut writers {
            (0..random.u8(1..6)).for_each(|_| writer.edit());
        }
        let mut sync = killed.command(&["sync"]);
        let mut sync = sync
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::park_timeout(longest.mul_f64(random.f64()));
        sync.kill().unwrap();
        let ended = sync.wait().unwrap();
        let killed = ended.code().is_none();
        longest = longest.mul_f64(if killed { 1.05 } else { 0.9 });
        kills += u32::from(killed);
        syncs += 1;
        if random.u8(0..4) == 0 {
            well.client().sync().unwrap();
        }
    }
    let took = started.elapsed();
    println!("{kills} of {syncs} syncs killed in {took:?}, each within {longest:?}");
    all_become_equal(&server, &devices);
    Journal::of_all(writers.map(Writer::journal)).assert_kept(&server, &devices);
}

/// Python with its own SQLite, which may be another version than colsync's.
const PYTHON: &str = r#"
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], timeout=30)
for statement in sys.argv[2:]:
    with file:
        file.execute(statement)
file.close()
"#;

#[track_caller]
fn python(device: &Device, statements: &[String]) {
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", PYTHON])
        .arg(device.path())
        .args(statements);
    let told = command.output().expect("python3");
    assert!(told.status.success(), "{}", process::said(&told));
}

fn a_file_that_python_edits_is_followed_by_another(backend: Backend) {
    let server = todos(backend);
    let [written, follower] = [(); 2].map(|()| Device::new(&server).tracking(TODOS));
    // An hour: what the first file pushes, it pushes because it was written.
    let _first = written.spawn(&["watch", "--interval", "3600"]);
    let _second = follower.spawn(&["watch", "--interval", "0.2"]);
    let follows = |what: &str, query: &str, value: Option<&str>| {
        until(what, || {
            follower.column(query) == [value.map(str::to_owned)]
        });
    };
    let rows: Vec<String> = (0..50)
        .map(|number| {
            let id = colsync_tests::tables::id(number);
            format!("INSERT INTO todos (id, title, done, priority) VALUES ('{id}', 'made', 0, 1)")
        })
        .collect();
    python(&written, &rows);
    follows(
        "inserts",
        "SELECT count(*) FROM todos WHERE title = 'made'",
        Some("50"),
    );
    python(
        &written,
        &[
            "UPDATE todos SET title = 'changed', done = 1".to_owned(),
            "UPDATE todos SET priority = priority + 1 WHERE title = 'changed'".to_owned(),
        ],
    );
    follows(
        "updates",
        "SELECT count(*) FROM todos WHERE title = 'changed' AND done AND priority = 2",
        Some("50"),
    );
    follower.sql("UPDATE todos SET note = 'answer'");
    let answers = "SELECT count(*) FROM todos WHERE note = 'answer'";
    until("an edit of the follower", || {
        server.value(answers).as_deref() == Some("50")
    });
    python(&written, &["UPDATE todos SET done = 0".to_owned()]);
    until("the answer beside further edits", || {
        written.value(answers).as_deref() == Some("50")
    });
    python(&written, &["DELETE FROM todos".to_owned()]);
    follows("deletes", "SELECT count(*) FROM todos", Some("0"));
    written.assert_equals(&server.anonymous(), "todos");
}

/// What the app wrote before a push, what it writes while the push is under way, and the row after it all.
const DURING: [(&str, &str, &str); 8] = [
    (
        "UPDATE title = mine",
        "UPDATE title = later",
        "later theirs",
    ),
    ("UPDATE note = mine", "UPDATE note = later", "old later"),
    ("UPDATE title = mine", "UPDATE note = later", "mine later"),
    ("UPDATE title = mine", "DELETE", ""),
    ("UPDATE title = mine", "DELETE, INSERT", "again again"),
    ("DELETE", "INSERT", "again again"),
    ("DELETE", "INSERT, UPDATE title = last", "last again"),
    ("DELETE, INSERT", "UPDATE title = last", "last again"),
];

fn what_the_app_writes_during_a_push_is_not_overwritten(backend: Backend) {
    let server = todos(backend);
    let [device, other] = [(); 2].map(|()| Device::new(&server).tracking(TODOS));
    let pushing = |progress: &Progress| matches!(progress, Progress::Pushing { .. });
    for (number, (before, during, after)) in (0..).zip(DURING) {
        let id = colsync_tests::tables::id(number);
        let write = |device: &Device, what: &str| {
            for one in what.split(", ") {
                let mut words = one.split(' ');
                device.sql(&match words.next() {
                    Some("INSERT") => format!(
                        "INSERT INTO todos (id, title, note) VALUES ('{id}', 'again', 'again')"
                    ),
                    Some("DELETE") => format!("DELETE FROM todos WHERE id = '{id}'"),
                    _ => {
                        let (column, value) = (words.next().unwrap(), words.nth(1).unwrap());
                        format!("UPDATE todos SET {column} = '{value}' WHERE id = '{id}'")
                    }
                });
            }
        };
        write(&device, "INSERT, UPDATE title = old, UPDATE note = old");
        device.client().sync().unwrap();
        other.client().sync().unwrap();
        // What this one has not in view when it writes.
        write(&other, "UPDATE note = theirs");
        other.client().sync().unwrap();
        write(&device, before);
        sync_while(&device, pushing, || write(&device, during));
        let row = format!("SELECT title || ' ' || note FROM todos WHERE id = '{id}'");
        let row: String = device.column(&row).into_iter().flatten().collect();
        assert_eq!(row, after, "{before}; during the push: {during}");
    }
    all_become_equal(&server, &[device, other]);
}

fn workers_get_through_a_bad_network_by_themselves(backend: Backend) {
    let seed = seed();
    let server = todos(backend);
    let proxy = server.proxy(seed);
    let devices = [(); 2].map(|()| Device::behind(&proxy).tracking(TODOS));
    proxy.plan(Plan::all(80).with(Fault::Truncate, 200));
    let pace = Pace {
        interval: Duration::from_millis(100),
        debounce: Duration::from_millis(10),
        poll: Duration::from_millis(10),
        longest_backoff: Duration::from_millis(200),
    };
    let workers = devices
        .each_ref()
        .map(|device| device.client().start(pace).unwrap());
    let mut writers = [1, 2].map(|number| Writer::new(number, &devices[number as usize - 1], seed));
    while proxy.counts().total() < FAULTS / 10 {
        writers.iter_mut().for_each(Writer::edit);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    proxy.faults_off();
    println!("{}", proxy.counts());
    let reader = server.anonymous();
    let synced = || {
        devices.iter().all(|device| holds_the_same(device, &reader))
            && workers.iter().all(|worker| {
                let status = worker.status().borrow().clone();
                status.pending == 0 && matches!(status.state, State::Idle)
            })
    };
    until_or("the workers have synced everything", synced, || {
        let statuses = workers.iter().map(|worker| {
            let status = worker.status().borrow().clone();
            format!("{status:#?}\n")
        });
        let files = devices.iter().map(|device| {
            use colsync_tests::rows::{in_file, on_server};
            let (here, there) = (
                in_file(device, &reader, "todos"),
                on_server(&reader, "todos"),
            );
            let here_only: Vec<_> = here.iter().filter(|row| !there.contains(row)).collect();
            let there_only: Vec<_> = there.iter().filter(|row| !here.contains(row)).collect();
            let ids = here_only.iter().chain(&there_only).map(|row| {
                let row: Vec<serde_json::Value> = serde_json::from_str(row).unwrap();
                row[0].as_str().unwrap().to_owned()
            });
            let about = ids.flat_map(|id| {
                let mut told: Vec<String> =
                    writers.iter().flat_map(|writer| writer.told(&id)).collect();
                told.sort();
                told.extend(evidence::about(&server, &devices, &id));
                told
            });
            let about: Vec<String> = about.collect();
            format!(
                "only here: {here_only:#?}\nonly there: {there_only:#?}\n{}\n",
                about.join("\n")
            )
        });
        statuses.chain(files).collect()
    });
    workers.into_iter().for_each(Worker::stop);
    all_become_equal(&server, &devices);
    Journal::of_all(writers.map(Writer::journal)).assert_kept(&server, &devices);
}
