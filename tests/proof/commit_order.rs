//! Commit order on PostgreSQL: transactions that commit late, and everyone who pulls by cursor.
//!
//! 32 write, through HTTP and by SQL beside the server, some in transactions that stay open for seconds, some rolling
//! back. 16 pull all the while. At the end each of these holds what the database holds: a row that it lacks, or has
//! at another version, is one that was missed, and a version that came to it twice was repeated. Then the same while
//! PostgreSQL is stopped, restarted and killed and has no connection left, and while dumps are restored over it.

mod faults;
mod restores;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use colsync_tests::cluster::Setup;
use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Server};

use crate::Options;
use crate::beside::SetOnDrop;
use crate::caught::caught;
use crate::poller::{Poller, in_database};
use crate::report::Outcome;
use crate::writer::{SHARED, Way, Writer, Written, lost};

const WRITERS: u64 = 32;
const POLLERS: u64 = 16;

/// Of the writers, those through HTTP, and those whose transactions stay open.
const BY_HTTP: u64 = 16;
const HELD: u64 = 6;

/// Few, so that they can all be taken.
const CONNECTIONS: &str = "-c max_connections=70";

pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    if !options.backends.contains(&Backend::Postgres) {
        return Vec::new();
    }
    vec![
        order("commit_order", options, false),
        order("commit_order_under_faults", options, true),
        restores::run(options),
    ]
}

fn order(suite: &'static str, options: &Options, with_faults: bool) -> Outcome {
    let mut outcome = Outcome::new(suite, options.seed);
    let broken = caught(|| write_and_poll(&mut outcome, options, with_faults));
    if let Err(told) = broken {
        outcome.found(told);
    }
    outcome
}

/// Everyone who takes part.
struct Stage {
    server: Server,
    writers: Vec<Writer>,
    pollers: Vec<Poller>,
}

impl Stage {
    fn new(seed: u64, held: u64) -> Stage {
        let server = Server::on(Backend::Postgres)
            .table(TODOS)
            .own_cluster_with(Setup {
                settings: CONNECTIONS.to_owned(),
                ..Setup::default()
            })
            .start();
        let writers = (0..WRITERS).map(|number| {
            let way = match number {
                0..BY_HTTP => Way::Http,
                _ if number < WRITERS - HELD => Way::Sql,
                _ => Way::HeldSql(held),
            };
            let client = server.client(&format!("writer {number}"));
            Writer::new(number, way, client, &server.url(), seed)
        });
        let writers: Vec<Writer> = writers.collect();
        let shared = (0..SHARED).map(id);
        let rows = shared.chain(writers.iter().map(Writer::own_row));
        let rows: Vec<String> = rows.map(|row| format!("('{row}')")).collect();
        server.sql(&format!(
            "INSERT INTO todos (id) VALUES {}",
            rows.join(", ")
        ));
        let pollers = (0..POLLERS).map(|number| {
            let client = server.client(&format!("poller {number}"));
            Poller::new(client)
        });
        Stage {
            pollers: pollers.collect(),
            server,
            writers,
        }
    }
}

fn write_and_poll(outcome: &mut Outcome, options: &Options, with_faults: bool) {
    let (seconds, held, rounds) = match (options.long, with_faults) {
        (false, false) => (8, 2_500, 0),
        (true, false) => (180, 5_000, 0),
        (false, true) => (0, 1_500, 1),
        (true, true) => (0, 3_000, 8),
    };
    let mut stage = Stage::new(options.seed, held);
    let started = Instant::now();
    let over = [AtomicBool::new(false), AtomicBool::new(false)];
    let [writers_over, pollers_over] = &over;
    let mut injected: HashMap<&str, u64> = HashMap::new();
    std::thread::scope(|scope| {
        let _over = over.each_ref().map(SetOnDrop);
        let writers = stage.writers.iter_mut();
        let writing: Vec<_> = writers
            .map(|writer| scope.spawn(|| writer.write_until(writers_over)))
            .collect();
        for poller in &mut stage.pollers {
            scope.spawn(|| poller.poll(pollers_over));
        }
        std::thread::park_timeout(Duration::from_secs(seconds));
        for _ in 0..rounds {
            for fault in faults::ALL {
                fault.happen(&stage.server);
                *injected.entry(fault.name()).or_default() += 1;
                // All get to work again, and find what happened.
                std::thread::park_timeout(Duration::from_millis(1_500));
            }
        }
        writers_over.store(true, Ordering::SeqCst);
        for writer in writing {
            writer.join().unwrap();
        }
        // Only now: each is to have what the last of them wrote.
    });
    let took = started.elapsed();
    outcome.size("backend", "postgres");
    outcome.size("writers", WRITERS);
    outcome.size("pollers", POLLERS);
    outcome.size("seconds", took.as_secs());
    for fault in faults::ALL {
        if with_faults {
            outcome.fault(
                fault.name(),
                injected.get(fault.name()).copied().unwrap_or(0),
                rounds,
            );
        }
    }
    judge(outcome, &mut stage, rounds == 0);
}

/// Holds what was written against the database, and what each poller has against both.
fn judge(outcome: &mut Outcome, stage: &mut Stage, is_calm: bool) {
    let there = in_database(&stage.server);
    let all: Vec<&Written> = stage.writers.iter().map(|writer| &writer.written).collect();
    let sum = |of: fn(&Written) -> u64| all.iter().map(|written| of(written)).sum::<u64>();
    let commits = sum(|written| written.committed.len() as u64);
    outcome.size("commits", commits);
    outcome.size("rows", there.len());
    outcome.figure("nobody_can_tell", sum(|written| written.unsure));
    outcome.fault("rolled_back", sum(|written| written.undone.len() as u64), 5);
    outcome.fault("held_open_for_a_second", sum(|written| written.held), 1);
    for wrong in all.iter().flat_map(|written| &written.wrong).take(5) {
        outcome.found(format!("an answer: {wrong}"));
    }
    for lost in lost(&stage.writers, &there).into_iter().take(5) {
        outcome.found(lost);
    }
    let mut missed = 0;
    for poller in &stage.pollers {
        let lacking = there
            .iter()
            .filter(|(row, known)| poller.rows.get(*row) != Some(known));
        missed += lacking.count();
        missed += poller
            .rows
            .keys()
            .filter(|row| !there.contains_key(*row))
            .count();
    }
    let pollers = &stage.pollers;
    let of_pollers = |of: fn(&Poller) -> u64| pollers.iter().map(of).sum::<u64>();
    let (repeated, expired) = (of_pollers(|p| p.repeated), of_pollers(|p| p.expired));
    outcome.size("pulls", of_pollers(|p| p.pulls));
    outcome.figure("missed", missed);
    outcome.figure("repeated", repeated);
    outcome.figure("again_as_a_pull_had_several_chunks", of_pollers(|p| p.torn));
    outcome.figure("pulls_unanswered", of_pollers(|p| p.unanswered));
    outcome.figure(
        "longest_delay_ms",
        longest_delay(&all, pollers).as_millis() as u64,
    );
    if missed > 0 || repeated > 0 {
        outcome.found(format!("missed {missed}, repeated {repeated}"));
    }
    if expired > 0 {
        outcome.found(format!(
            "{expired} cursors expired although nothing was restored"
        ));
    }
    if is_calm && of_pollers(|p| p.unanswered) + sum(|written| written.unsure) > 0 {
        outcome.found("requests without an answer although nothing was wrong");
    }
    for wrong in pollers.iter().flat_map(|p| &p.wrong).take(5) {
        outcome.found(format!("a poller: {wrong}"));
    }
    let undone: HashSet<&String> = all.iter().flat_map(|written| &written.undone).collect();
    for poller in pollers {
        if let Some(seen) = poller.sights.keys().find(|value| undone.contains(value)) {
            outcome.found(format!("{seen} was rolled back, and delivered"));
        }
    }
}

/// The longest time from a commit to the sight of it by any poller, of all that were seen.
fn longest_delay(written: &[&Written], pollers: &[Poller]) -> Duration {
    let commits = written.iter().flat_map(|written| &written.committed);
    let delays = commits.flat_map(|(value, at)| {
        let sights = pollers.iter().filter_map(|poller| poller.sights.get(value));
        sights.map(|seen| seen.saturating_duration_since(*at))
    });
    delays.max().unwrap_or_default()
}
