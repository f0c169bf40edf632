//! A dump restored over the database while clients go on: cursors from after the dump are refused, and what clients
//! had pushed since is pushed again, so that nothing of it is lost.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use colsync_tests::convergence::come_to_rest;
use colsync_tests::server::Backup;
use colsync_tests::tables::TODOS;
use colsync_tests::{Backend, Device, Journal, Server, Writer};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::Options;
use crate::beside::{SetOnDrop, write_and_sync};
use crate::caught::caught;
use crate::poller::{Poller, in_database};
use crate::report::Outcome;

const DEVICES: u64 = 3;
const POLLERS: u64 = 4;

/// How long all write before the dump, between it and its restore, and after that.
const PHASE: Duration = Duration::from_millis(900);

/// How a database is copied and put back.
#[derive(Clone, Copy)]
enum Copying {
    /// `pg_dump` beside the running server, and `pg_restore`.
    Dump,
    /// The files as they are, by PostgreSQL's own copy of a database.
    Template,
}

enum Copy {
    Dump(TempDir),
    Template(Backup),
}

pub(super) fn run(options: &Options) -> Outcome {
    let mut outcome = Outcome::new("restores", options.seed);
    let rounds = if options.long { 10 } else { 1 };
    if let Err(told) = caught(|| restore_again_and_again(&mut outcome, options.seed, rounds)) {
        outcome.found(told);
    }
    outcome
}

fn restore_again_and_again(outcome: &mut Outcome, seed: u64, rounds: u64) {
    let mut server = Server::on(Backend::Postgres)
        .table(TODOS)
        .own_cluster()
        .start();
    let devices = (0..DEVICES).map(|_| Device::new(&server).tracking(TODOS));
    let devices: Vec<Device> = devices.collect();
    let apps = (1..).zip(&devices);
    let mut apps: Vec<Writer> = apps
        .map(|(number, device)| Writer::new(number, device, seed))
        .collect();
    let pollers =
        (0..POLLERS).map(|number| Poller::new(server.client(&format!("poller {number}"))));
    let mut pollers: Vec<Poller> = pollers.collect();
    let (mut restores, mut taken_back, mut refused) = (0, 0, Vec::new());
    for round in 0..rounds {
        for copying in [Copying::Dump, Copying::Template] {
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let _over = SetOnDrop(&over);
                for (device, app) in devices.iter().zip(&mut apps) {
                    let over = &over;
                    scope.spawn(move || write_and_sync(device, app, over, seed ^ round));
                }
                for poller in &mut pollers {
                    scope.spawn(|| poller.poll(&over));
                }
                taken_back += take_back(&mut server, copying);
                restores += 1;
                std::thread::park_timeout(PHASE);
            });
            come_to_rest(&server, &devices);
            refused.extend(take_letters(&devices));
        }
    }
    outcome.size("backend", "postgres");
    outcome.size("clients", DEVICES);
    outcome.size("pollers", POLLERS);
    outcome.size(
        "values_written",
        apps.iter().map(Writer::values).sum::<u64>(),
    );
    outcome.fault("restores", restores, 2 * rounds);
    outcome.fault("values_taken_back", taken_back, 2 * rounds);
    let expired = pollers.iter().map(|poller| poller.expired).sum();
    outcome.fault("cursors_expired", expired, POLLERS * restores);
    let there = in_database(&server);
    for poller in &mut pollers {
        poller.pull_all();
        if poller.rows != there {
            outcome.found("a poller has not what the database has");
        }
        if let Some(wrong) = poller.wrong.first() {
            outcome.found(format!("a poller: {wrong}"));
        }
    }
    let journals = apps.into_iter().map(Writer::journal);
    let mut journal = Journal::of_all(journals.collect::<Vec<_>>());
    outcome.figure("edits_refused_and_told", refused.len());
    refused.iter().for_each(|edit| journal.told_refused(edit));
    for broken in journal.unaccounted(&server, &devices).into_iter().take(20) {
        outcome.found(broken);
    }
}

/// The edits of which the apps were told that the server refused them: those of rows that another client made after
/// the dump, and had not pushed again yet.
fn take_letters(devices: &[Device]) -> Vec<Json> {
    let mut edits = Vec::new();
    for client in devices.iter().map(Device::client) {
        for letter in client.dead_letters().unwrap() {
            assert_eq!(letter.code, "row_not_found", "{}", letter.edit);
            edits.push(serde_json::to_value(&letter.edit).unwrap());
            client.discard_dead_letter(letter.number).unwrap();
        }
    }
    edits
}

/// Copies the database, lets all go on, and puts the copy back; how many values it lacks.
fn take_back(server: &mut Server, copying: Copying) -> u64 {
    std::thread::park_timeout(PHASE);
    let copy = match copying {
        Copying::Dump => dump(server),
        Copying::Template => {
            server.terminate();
            let copy = Copy::Template(server.backup());
            server.resume();
            copy
        }
    };
    std::thread::park_timeout(PHASE);
    server.terminate();
    let before = values(server);
    match copy {
        Copy::Dump(folder) => restore(server, &folder),
        Copy::Template(copy) => {
            server.restore(&copy);
            if let Backup::Postgres(url) = copy {
                server.cluster().drop_database(&url);
            }
        }
    }
    let after = values(server);
    server.resume();
    before.difference(&after).count() as u64
}

fn values(server: &Server) -> HashSet<String> {
    let values = server.column("SELECT title FROM todos UNION SELECT note FROM todos");
    values.into_iter().flatten().collect()
}

fn dump(server: &Server) -> Copy {
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("dump");
    server.cluster().dump(&server.url(), &[], &to);
    Copy::Dump(folder)
}

fn restore(server: &Server, folder: &TempDir) {
    let url = server.url();
    let cluster = server.cluster();
    cluster.replace_database(&url, None);
    cluster.restore(&url, &[], &folder.path().join("dump"));
}
