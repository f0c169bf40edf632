//! The server's database on a disk that is full again and again, while many write and pull.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_tests::cluster::Setup;
use colsync_tests::disk::Disk;
use colsync_tests::tables::{TODOS, WIDE, id};
use colsync_tests::{Backend, Client, Server, row_path};
use diesel::{Connection as _, PgConnection};
use serde_json::json;

use super::{PATIENCE, POINTS, space_left};
use crate::beside::SetOnDrop;
use crate::counter::Counter;
use crate::poller::{Poller, in_database};
use crate::report::Outcome;
use crate::writer::{SHARED, Way, Writer, lost, noise};
use crate::{Options, name_of};

const WRITERS: u64 = 4;
const POLLERS: u64 = 2;

/// Bytes that a write brings.
const NOTE: usize = 48 << 10;

/// Refusals in a row by which the disk is full.
const REFUSALS: u32 = 3;

/// Of the whole disk: PostgreSQL's own files are 40 MiB before the first row.
const MIB: u64 = 512;

/// The row that is asked for.
const PROBE: u64 = 50;

/// What a point came to.
#[derive(Default)]
struct Done {
    points: u64,
    refused: u64,
    /// How often PostgreSQL itself did not survive it, and was started again.
    down: u64,
    longest: Duration,
}

pub(super) fn fill_again_and_again(outcome: &mut Outcome, backend: Backend, options: &Options) {
    let disk = Disk::new(MIB).unwrap_or_else(|refused| panic!("{refused}"));
    let server = Server::on(backend)
        .table(TODOS)
        .table(WIDE)
        .policy("c0", "counter")
        .within(disk.folder())
        .own_cluster_with(Setup {
            within: Some(disk.folder().to_owned()),
            settings: "-c max_wal_size=32MB -c min_wal_size=32MB".to_owned(),
        })
        .start();
    Counter::prepare(&server);
    let writers = (0..WRITERS).map(|number| {
        let client = server.client(&format!("writer {number}"));
        let mut writer = Writer::new(number, Way::Http, client, "", options.seed);
        writer.note_bytes = NOTE;
        writer
    });
    let mut writers: Vec<Writer> = writers.collect();
    let rows = (0..SHARED).map(id).chain([id(PROBE)]);
    for row in rows.chain(writers.iter().map(Writer::own_row)) {
        server.sql(&format!("INSERT INTO todos (id) VALUES ('{row}')"));
    }
    let pollers =
        (0..POLLERS).map(|number| Poller::new(server.client(&format!("poller {number}"))));
    let mut pollers: Vec<Poller> = pollers.collect();
    let mut counter = Counter::new(&server, 1);
    let mut done = Done::default();
    let over = [AtomicBool::new(false), AtomicBool::new(false)];
    let [writers_over, pollers_over] = &over;
    std::thread::scope(|scope| {
        let _over = over.each_ref().map(SetOnDrop);
        let writing = writers
            .iter_mut()
            .map(|writer| scope.spawn(|| writer.write_until(writers_over)));
        let mut writing: Vec<_> = writing.collect();
        writing.push(scope.spawn(|| counter.count(writers_over)));
        for poller in &mut pollers {
            scope.spawn(|| poller.poll(pollers_over));
        }
        let prober = server.client("who asks whether it answers");
        let space: Vec<u64> = space_left(POINTS).collect();
        for left in if options.long { space.repeat(5) } else { space } {
            fill(&disk, left, &server, &prober, &mut done);
        }
        writers_over.store(true, Ordering::SeqCst);
        for writer in writing {
            writer.join().unwrap();
        }
    });
    outcome.size("backend", name_of(backend));
    outcome.size("writers", WRITERS);
    let commits = writers.iter().map(|writer| writer.written.committed.len());
    outcome.size("commits", commits.sum::<usize>());
    outcome.fault(
        "times_full",
        done.points,
        if options.long { 5 * POINTS } else { POINTS },
    );
    outcome.fault("refused", done.refused, u64::from(REFUSALS) * POINTS);
    outcome.figure("postgres_went_down", done.down);
    outcome.figure("longest_recovery_ms", done.longest.as_millis() as u64);
    judge(outcome, &server, &writers, &pollers);
    if Counter::counted(&server) != counter.answered() {
        let (there, answered) = (Counter::counted(&server), counter.answered());
        outcome.found(format!("{answered} pushes were counted as {there}"));
    }
    if server.log().contains("panicked") {
        outcome.found("a thread of the server has panicked");
    }
}

/// Fills the disk but for `left` bytes until the server refuses to write, and gives the space back until it does.
fn fill(disk: &Disk, left: u64, server: &Server, prober: &Client, done: &mut Done) {
    disk.fill(left);
    let started = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < REFUSALS {
        assert!(
            started.elapsed() < PATIENCE,
            "with {left} bytes left it goes on for ever"
        );
        if writes(prober) {
            in_a_row = 0;
        } else {
            in_a_row += 1;
            done.refused += 1;
        }
        reads(prober);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let full_after = started.elapsed();
    disk.empty();
    done.points += 1;
    let started = Instant::now();
    if let Some(cluster) = server.is_on_postgres().then(|| server.cluster()) {
        // It may need a moment to find that out.
        while PgConnection::establish(&server.url()).is_err() {
            assert!(started.elapsed() < PATIENCE, "PostgreSQL stays away");
            if started.elapsed() > Duration::from_secs(2) && cluster.try_resume() {
                done.down += 1;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
    while !writes(prober) {
        assert!(
            started.elapsed() < PATIENCE,
            "{left} bytes were left; it does not recover"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    eprintln!(
        "with {left} bytes left: full after {full_after:?}, recovered in {:?}",
        started.elapsed()
    );
    done.longest = done.longest.max(started.elapsed());
}

/// Whether the server writes; ends with a panic if it says anything but that it cannot now.
fn writes(prober: &Client) -> bool {
    let row = json!({ "note": noise(&mut fastrand::Rng::new(), NOTE) });
    let patch = prober.request("PATCH", &row_path("todos", &id(PROBE)));
    match patch.merge_patch(&row).try_send() {
        Ok(answer) if answer.status == 200 => true,
        Ok(answer) => {
            let refused = answer.expect(503);
            assert!(!refused.code().is_empty(), "{refused:?}");
            false
        }
        Err(nobody) => panic!("the server does not answer: {nobody}"),
    }
}

/// Asks for a row: it is told as it is, or that it cannot be told.
fn reads(prober: &Client) {
    let answer = prober.get(&row_path("todos", &id(PROBE)));
    match answer.status {
        200 => assert_eq!(answer.json()["id"], id(PROBE), "{answer:?}"),
        503 => assert!(!answer.code().is_empty(), "{answer:?}"),
        _ => panic!("{answer:?}"),
    }
}

fn judge(outcome: &mut Outcome, server: &Server, writers: &[Writer], pollers: &[Poller]) {
    let there = in_database(server);
    for lost in lost(writers, &there).into_iter().take(5) {
        outcome.found(lost);
    }
    for wrong in writers
        .iter()
        .flat_map(|writer| &writer.written.wrong)
        .take(5)
    {
        outcome.found(format!("an answer: {wrong}"));
    }
    let refused = writers
        .iter()
        .flat_map(|writer| writer.written.refused.keys());
    let mut codes: Vec<&String> = refused.collect();
    codes.sort();
    codes.dedup();
    outcome.figure("codes", codes.into_iter().cloned().collect::<Vec<_>>());
    for poller in pollers {
        if poller.rows != there {
            outcome.found("a poller has not what the database has");
        }
        if poller.repeated > 0 || poller.expired > 0 {
            let (repeated, expired) = (poller.repeated, poller.expired);
            outcome.found(format!(
                "a poller: {repeated} repeated, {expired} cursors expired"
            ));
        }
        for wrong in poller.wrong.iter().take(5) {
            outcome.found(format!("a poller: {wrong}"));
        }
    }
}
