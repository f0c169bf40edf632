//! The crash matrix: a real server or a real client is killed at each named step, again and again, while other
//! clients and apps go on writing.
//!
//! After each kill the program starts again, and all files come to what the server has; a counter that is pushed to
//! has counted each push once. What a step's kills left is held against all that the apps wrote.

mod stage;

use std::collections::BTreeMap;

use colsync_shared::step;
use colsync_tests::Backend;
use fastrand::Rng;

use crate::caught::caught;
use crate::report::Outcome;
use crate::{Options, name_of};
use stage::Stage;

/// Kills at each step in the long form.
const KILLS: u64 = 20;

/// What is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let backends = options.backends.iter();
    backends.map(|&backend| matrix(backend, options)).collect()
}

fn matrix(backend: Backend, options: &Options) -> Outcome {
    let mut outcome = Outcome::new("crashes", options.seed);
    let kills = if options.long { KILLS } else { 1 };
    let of_server = step::OF_SERVER.map(|step| (Side::Server, step));
    let of_client = step::OF_CLIENT.map(|step| (Side::Client, step));
    let steps: Vec<(Side, &str)> = of_server.into_iter().chain(of_client).collect();
    let mut random = Rng::with_seed(options.seed);
    let mut done = Done::default();
    // A stage's rows become more with each kill; the short form has few.
    let in_one = if options.long { 1 } else { steps.len() };
    for steps in steps.chunks(in_one) {
        let seed = random.u64(..);
        let told = caught(|| on_one_stage(backend, steps, kills, seed, &mut done));
        if let Err(told) = told {
            let names: Vec<&str> = steps.iter().map(|(_, step)| *step).collect();
            outcome.found(format!("{}, seed {seed}: {told}", names.join(" ")));
        }
    }
    outcome.size("backend", name_of(backend));
    outcome.size("steps", steps.len());
    outcome.size("values_written", done.values);
    outcome.size("pushes_counted", done.counted);
    outcome.fault(
        "servers_killed",
        done.of(Side::Server),
        kills * step::OF_SERVER.len() as u64,
    );
    outcome.fault(
        "clients_killed",
        done.of(Side::Client),
        kills * step::OF_CLIENT.len() as u64,
    );
    outcome
}

/// What has been done so far.
#[derive(Default)]
struct Done {
    kills: BTreeMap<&'static str, u64>,
    values: u64,
    counted: u64,
}

impl Done {
    fn all(&self) -> u64 {
        self.kills.values().sum()
    }

    fn of(&self, side: Side) -> u64 {
        let steps: &[&str] = match side {
            Side::Server => &step::OF_SERVER,
            Side::Client => &step::OF_CLIENT,
        };
        steps.iter().filter_map(|step| self.kills.get(step)).sum()
    }
}

fn on_one_stage(
    backend: Backend,
    steps: &[(Side, &'static str)],
    kills: u64,
    seed: u64,
    done: &mut Done,
) {
    let mut stage = Stage::new(backend, seed);
    for &(side, step) in steps {
        for kill in 1..=kills {
            let ended = caught(|| match side {
                Side::Server => stage.kill_server_at(step),
                Side::Client => stage.kill_client_at(step),
            })
            .and_then(|()| caught(|| stage.assert_equal()));
            if let Err(told) = ended {
                panic!("kill {kill} at {step}: {told}");
            }
            *done.kills.entry(step).or_default() += 1;
        }
    }
    eprintln!("{} kills on {}", done.all(), name_of(backend));
    done.values += stage.values();
    done.counted += stage.counted();
    let broken = stage.unaccounted();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
