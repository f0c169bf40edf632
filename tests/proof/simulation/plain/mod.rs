//! The same clients with an API that knows no sync in place of the server: a list, rows with strong ETags, and
//! programs that write to it beside them.
//!
//! Nobody but the clients merges here. At the end all files must be as the API is; each value that anybody wrote is
//! current, was in view of whoever replaced it, or is told by the client that replaced or refused it.

mod api;
mod manner;
mod parts;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::ground::tracking;
use super::plan::{Moment, Perils, Plan, Step, Table};
use super::suite::{Stage, place};
use manner::Manner;
use world::World;

/// Where they are run: a folder in memory, and the files that a client begins with.
pub(super) struct Ground {
    /// By what makes their table of parts, if they have one.
    clients: BTreeMap<Option<String>, PathBuf>,
    memory: PathBuf,
    _folder: TempDir,
}

impl Ground {
    pub(super) fn new() -> Ground {
        let (memory, folder) = place();
        let with_parts = parts::all().into_iter().map(Some);
        let clients = std::iter::once(None).chain(with_parts).enumerate();
        let clients = clients.map(|(number, parts)| {
            let path = folder.path().join(format!("client-{number}.db"));
            let mut names = Table::ALL.map(|table| table.name().to_owned()).to_vec();
            let mut tables = Table::ALL.map(|table| table.create(false)).to_vec();
            if let Some(create) = &parts {
                names.push(parts::PARTS.to_owned());
                tables.push(create.clone());
            }
            (parts, tracking(path, &names, &tables))
        });
        Ground {
            clients: clients.collect(),
            memory,
            _folder: folder,
        }
    }
}

impl Stage for Ground {
    type Scene = World;

    fn draw(&self, seed: u64, steps: usize) -> Plan {
        let mut plan = Plan::draw_with(seed, steps, |perils| Perils {
            network: perils.network,
            crashes: perils.crashes,
            clocks: perils.clocks,
            files: perils.files,
            kin: perils.kin,
            ..Perils::default()
        });
        // An answer comes in one piece: what was to happen within it does before.
        for step in &mut plan.steps {
            let Step::Sync(sync) = step else { continue };
            for (moment, _) in &mut sync.meanwhile {
                if let Moment::Piece(call, _) = *moment {
                    *moment = Moment::Before(call);
                }
            }
        }
        plan
    }

    fn scene(&self, plan: &Plan) -> World {
        let manner = Manner::of(plan.seed);
        let parts = plan.perils.kin.then(|| parts::create(&manner));
        World::new(plan, &self.clients[&parts], &self.memory)
    }

    fn comes_again(&self) -> bool {
        true
    }
}
