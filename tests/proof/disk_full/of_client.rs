//! A client's file on a disk that is full again and again: syncs by the program, and a worker that goes on all the while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use colsync_client::Pace;
use colsync_tests::convergence::holds_the_same;
use colsync_tests::disk::Disk;
use colsync_tests::process::said;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Client, Device, Server};
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection as _;
use fastrand::Rng;
use serde_json::json;

use super::{PATIENCE, POINTS, space_left};
use crate::Options;
use crate::name_of;
use crate::report::Outcome;
use crate::writer::noise;

const MIB: u64 = 64;

/// Bytes of each value.
const NOTE: usize = 8 << 10;

/// What SQLite says, and what a program may say of it.
const FULL: [&str; 3] = ["full", "No space left", "disk I/O error"];

/// Of the client that syncs by itself: as an impatient app has it, or it waits for a minute after each failure.
const PACE: Pace = Pace {
    interval: Duration::from_millis(200),
    debounce: Duration::from_millis(10),
    poll: Duration::from_millis(50),
    longest_backoff: Duration::from_millis(300),
};

/// Syncs that may come to their end although a disk is nearly full, before one does not.
const TRIES: u32 = 50;

/// An app on the disk.
struct App {
    number: u64,
    file: SqliteConnection,
    random: Rng,
    made: u64,
    /// Of each row, the title that was last committed.
    committed: HashMap<String, String>,
    refused: u64,
}

#[derive(Default)]
struct Done {
    points: u64,
    syncs_refused: u64,
    longest: Duration,
}

pub(super) fn fill_again_and_again(outcome: &mut Outcome, backend: Backend, options: &Options) {
    let disk = Disk::new(MIB).unwrap_or_else(|refused| panic!("{refused}"));
    let server = Server::on(backend).table(TODOS).start();
    let [synced, watched] =
        [(); 2].map(|()| Device::within(disk.folder(), &server).tracking(TODOS));
    let mut apps = [
        App::new(1, &synced, options.seed),
        App::new(2, &watched, options.seed),
    ];
    let worker = watched.client().start(PACE).unwrap();
    let mut done = Done::default();
    let others = server.client("others");
    let space: Vec<u64> = space_left(POINTS).collect();
    for left in if options.long { space.repeat(5) } else { space } {
        apps.iter_mut()
            .for_each(|app| (0..5).for_each(|_| app.write()));
        disk.fill(left);
        until_full(&synced, &others, &mut apps, &mut done);
        disk.empty();
        done.points += 1;
        let started = Instant::now();
        let told = synced.run(&["sync"]);
        assert!(told.status.success(), "with space again: {}", said(&told));
        let reader = server.anonymous();
        while !holds_the_same(&watched, &reader) || !holds_the_same(&synced, &reader) {
            let status = worker.status().borrow().clone();
            assert!(
                started.elapsed() < PATIENCE,
                "{left} bytes were left: {status:#?}"
            );
            let told = synced.run(&["sync"]);
            assert!(told.status.success(), "with space again: {}", said(&told));
        }
        eprintln!(
            "with {left} bytes left: {} syncs refused, recovered in {:?}",
            done.syncs_refused,
            started.elapsed()
        );
        done.longest = done.longest.max(started.elapsed());
        assert_all_there(&server, &apps);
        // The next point begins with few rows.
        server.sql("DELETE FROM todos WHERE title = 'another''s'");
    }
    outcome.size("backend", name_of(backend));
    outcome.size("rows", apps.iter().map(|app| app.made).sum::<u64>());
    outcome.fault(
        "times_full",
        done.points,
        if options.long { 5 * POINTS } else { POINTS },
    );
    outcome.fault("syncs_refused", done.syncs_refused, POINTS);
    outcome.fault(
        "writes_of_apps_refused",
        apps.iter().map(|app| app.refused).sum(),
        1,
    );
    outcome.figure("longest_recovery_ms", done.longest.as_millis() as u64);
    worker.stop();
}

/// Lets others make rows, and the device sync and its app write, until a sync finds no space.
fn until_full(device: &Device, others: &Client, apps: &mut [App], done: &mut Done) {
    for _ in 0..TRIES {
        for _ in 0..10 {
            let row = json!({ "title": "another's", "note": noise(&mut apps[0].random, NOTE) });
            let _ = others.post("/v1/tables/todos/rows", &row).expect(201);
        }
        let told = device.run(&["sync"]);
        apps.iter_mut().for_each(App::write);
        if told.status.success() {
            continue;
        }
        let says = said(&told);
        assert_eq!(told.status.code(), Some(1), "{says}");
        assert!(FULL.iter().any(|full| says.contains(full)), "{says}");
        done.syncs_refused += 1;
        return;
    }
    panic!("the disk is never full");
}

/// What apps have committed is what the server has.
fn assert_all_there(server: &Server, apps: &[App]) {
    let rows = server
        .column("SELECT CAST(id AS TEXT) || ' ' || title FROM todos WHERE title <> 'another''s'");
    let rows: Vec<String> = rows.into_iter().flatten().collect();
    let there: HashMap<&str, &str> = rows.iter().filter_map(|row| row.split_once(' ')).collect();
    for (row, title) in apps.iter().flat_map(|app| &app.committed) {
        assert_eq!(there.get(&**row), Some(&&**title), "the row {row}");
    }
    let committed: usize = apps.iter().map(|app| app.committed.len()).sum();
    assert_eq!(there.len(), committed, "rows that nobody committed");
}

impl App {
    fn new(number: u64, device: &Device, seed: u64) -> App {
        App {
            number,
            file: device.file(),
            random: Rng::with_seed(seed ^ number),
            made: 0,
            committed: HashMap::new(),
            refused: 0,
        }
    }

    /// Makes a row, or changes one of its own; if the disk is full, it hears so, and nothing is changed.
    fn write(&mut self) {
        self.made += 1;
        let title = format!("{}-{}", self.number, self.made);
        let known = self.random.u64(1..=self.made.min(40));
        let row = id(1000 * self.number + known);
        let note = noise(&mut self.random, NOTE);
        let sql = format!(
            "INSERT INTO todos (id, title, note) VALUES ('{row}', '{title}', '{note}') \
             ON CONFLICT (id) DO UPDATE SET title = excluded.title, note = excluded.note"
        );
        match self.file.batch_execute(&sql) {
            Ok(()) => drop(self.committed.insert(row, title)),
            Err(refused) => {
                let says = refused.to_string();
                assert!(FULL.iter().any(|full| says.contains(full)), "{says}");
                self.refused += 1;
            }
        }
    }
}
