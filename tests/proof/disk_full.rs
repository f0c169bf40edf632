//! A disk that is full, at twenty points on each side: twenty amounts of space left, at twenty moments.
//!
//! While it is full, nothing is acknowledged that is lost, and whoever asks is told so clearly; when there is space
//! again, the work goes on without a restart.

mod of_client;
mod of_server;

use std::time::Duration;

use crate::Options;
use crate::caught::caught;
use crate::report::Outcome;

/// Points on each side.
const POINTS: u64 = 20;

/// What has not gone on by now after there was space again never does.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let at_servers = options.backends.iter().map(|&backend| {
        move || {
            let suite = "disk_full_at_the_server";
            told(suite, options, |outcome| {
                of_server::fill_again_and_again(outcome, backend, options)
            })
        }
    });
    // The client's file knows nothing of the server's database.
    let at_client = options.backends.first().map(|&backend| {
        move || {
            let suite = "disk_full_at_the_client";
            told(suite, options, |outcome| {
                of_client::fill_again_and_again(outcome, backend, options)
            })
        }
    });
    // Each has a disk of its own, and mostly waits.
    std::thread::scope(|scope| {
        let mut running: Vec<_> = at_servers.map(|one| scope.spawn(one)).collect();
        running.extend(at_client.map(|one| scope.spawn(one)));
        let ended = running.into_iter().map(|one| one.join().unwrap());
        ended.collect()
    })
}

fn told(suite: &'static str, options: &Options, work: impl FnOnce(&mut Outcome)) -> Outcome {
    let mut outcome = Outcome::new(suite, options.seed);
    if let Err(told) = caught(|| work(&mut outcome)) {
        outcome.found(told);
    }
    outcome
}

/// How many bytes are left at each point, the least first: from none to more than a transaction takes.
fn space_left(points: u64) -> impl Iterator<Item = u64> {
    (0..points).map(|point| 512 * point * point)
}
