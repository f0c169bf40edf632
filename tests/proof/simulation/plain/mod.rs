//! The same clients with an API that knows no sync in place of the server: a list, rows with strong ETags, and
//! programs that write to it beside them.
//!
//! Nobody but the clients merges here. At the end all files must be as the API is; each value that anybody wrote is
//! current, was in view of whoever replaced it, or is told by the client that replaced or refused it.

mod api;
mod manner;
mod world;

use std::path::PathBuf;

use colsync_client::Time;
use colsync_shared::simulation::set_now;
use tempfile::TempDir;

use super::crash;
use super::ground::tracking;
use super::plan::{Perils, Plan, Table};
use super::suite::{Stage, caught, memory};
use super::world::{BEGINNING, Counts};
use world::World;

/// Where they are run: a folder in memory, and the file that a client begins with.
pub(super) struct Ground {
    client: PathBuf,
    memory: PathBuf,
    _folder: TempDir,
}

impl Ground {
    pub(super) fn new() -> Ground {
        crash::listen();
        let memory = memory();
        let folder = TempDir::with_prefix_in("colsync-simulation-", &memory).unwrap();
        set_now(Time::from_micros(BEGINNING));
        let names = Table::ALL.map(|table| table.name().to_owned());
        Ground {
            client: tracking(folder.path().join("client.db"), &names, false),
            memory,
            _folder: folder,
        }
    }

    fn through(&self, plan: &Plan, world: &mut World) -> Option<String> {
        caught(|| {
            for (number, step) in plan.steps.iter().enumerate() {
                world
                    .step(step)
                    .map_err(|broken| format!("step {number}: {broken}"))?;
            }
            world.come_to_rest()?;
            world.check()
        })
    }
}

impl Stage for Ground {
    fn draw(&self, seed: u64, steps: usize) -> Plan {
        Plan::draw_with(seed, steps, |perils| Perils {
            network: perils.network,
            crashes: perils.crashes,
            clocks: perils.clocks,
            files: perils.files,
            ..Perils::default()
        })
    }

    fn play(&self, plan: &Plan) -> (Option<String>, Counts) {
        let mut world = World::new(plan, &self.client, &self.memory);
        let broken = self.through(plan, &mut world);
        (broken, world.end())
    }

    fn trace(&self, plan: &Plan) -> Vec<String> {
        let mut world = World::new(plan, &self.client, &self.memory);
        world.trace = Some(Vec::new());
        self.through(plan, &mut world);
        world.trace.take().unwrap_or_default()
    }

    fn comes_again(&self) -> bool {
        true
    }
}
