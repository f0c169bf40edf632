//! Where simulations of a server are run, and what they begin with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use colsync_client::{Client, Settings};
use colsync_server::simulation::Node;
use colsync_tests::{Backend, Cluster};
use tempfile::TempDir;

use super::clock::Clock;
use super::database::{Database, cluster};
use super::device::insertion;
use super::kin::{self, Kind};
use super::plan::{Perils, Plan, Table};
use super::server::configuration;
use super::suite::{Stage, place};
use super::tables::adopted;
use super::world::{BEGINNING, Seedlings, World};

/// The tables of rows that point to each other that a simulation begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    /// None.
    Without,
    /// Plain ones.
    Plain,
    /// At a server whose counters of keys can be set.
    Counting,
    /// At one that does not check what they point to, either.
    Unchecked,
}

impl Kin {
    const ALL: [Kin; 4] = [Kin::Without, Kin::Plain, Kin::Counting, Kin::Unchecked];

    fn of(perils: &Perils) -> Kin {
        match (perils.kin, perils.forgets_rows(), perils.unchecked) {
            (false, _, _) => Kin::Without,
            (true, false, _) => Kin::Plain,
            // What an operator does who puts a backup back needs counters, and so do rows that are removed for good.
            (true, true, false) => Kin::Counting,
            (true, true, true) => Kin::Unchecked,
        }
    }

    /// What makes them at the server.
    fn creation(self, backend: Backend) -> Vec<String> {
        let create = match (self, backend) {
            (Kin::Without, _) => return Vec::new(),
            // There numbers are counted, always.
            (_, Backend::Postgres) => Kind::create_served,
            (Kin::Plain, _) => Kind::create,
            (Kin::Counting, _) => Kind::create_counting,
            (Kin::Unchecked, _) => Kind::create_unchecked,
        };
        let is_checked_after = backend == Backend::Postgres && self != Kin::Unchecked;
        let checks = Kind::ALL.into_iter().filter(|_| is_checked_after);
        let tables = Kind::ALL.map(create).into_iter();
        tables.chain(checks.flat_map(Kind::checks)).collect()
    }
}

/// Where simulations are run: a folder in memory, and the files that they begin with.
pub(super) struct Ground {
    /// By the tables of related rows, and whether the others lack columns.
    seedlings: BTreeMap<(Kin, bool), Seedlings>,
    backend: Backend,
    memory: PathBuf,
    _folder: TempDir,
}

impl Ground {
    pub(super) fn new(backend: Backend) -> Ground {
        let (memory, folder) = place();
        // Their ids are in cursors, whose bytes may be cut.
        colsync_shared::simulation::seed(BEGINNING.unsigned_abs());
        let cluster = (backend == Backend::Postgres).then(|| Rc::new(cluster(folder.path())));
        let all = Kin::ALL.iter();
        let all = all.flat_map(|kin| [(*kin, false), (*kin, true)]);
        let made = all.map(|(kin, is_young)| {
            let folder = folder.path().join(format!("{kin:?}-{is_young}"));
            let kin_there = kin.creation(backend);
            let seedlings = seedlings(&folder, cluster.as_ref(), &kin_there, is_young);
            ((kin, is_young), seedlings)
        });
        Ground {
            seedlings: made.collect(),
            backend,
            memory,
            _folder: folder,
        }
    }
}

impl Stage for Ground {
    type Scene = World;

    fn draw(&self, seed: u64, steps: usize) -> Plan {
        Plan::draw(seed, steps)
    }

    fn scene(&self, plan: &Plan) -> World {
        let perils = &plan.perils;
        let seedlings = &self.seedlings[&(Kin::of(perils), perils.grows)];
        World::new(plan, seedlings, &self.memory)
    }

    /// What PostgreSQL calls its transactions is another number each time.
    fn comes_again(&self) -> bool {
        self.backend == Backend::Sqlite
    }
}

/// Makes what is begun with, of young tables or not; `kin` makes the server's tables of rows that point to each other.
fn seedlings(
    folder: &Path,
    cluster: Option<&Rc<Cluster>>,
    kin: &[String],
    is_young: bool,
) -> Seedlings {
    let has_kin = !kin.is_empty();
    std::fs::create_dir_all(folder).unwrap();
    let clock = Clock::default();
    let mut server = match cluster {
        Some(cluster) => Database::served(cluster, &clock),
        None => Database::file(folder.join("server.db"), &clock),
    };
    let bounded = Table::ALL.iter();
    let bounded = bounded.map(|table| table.create_bounded(is_young, server.is_served()));
    let bounded: Vec<String> = bounded.collect();
    for create in bounded.iter().chain(kin) {
        server.execute(create).unwrap();
    }
    for (table, id, values) in adopted(is_young) {
        server.execute(&insertion(table, &id, &values)).unwrap();
    }
    let names = kin::names(has_kin);
    let perils = Perils {
        kin: has_kin,
        ..Perils::default()
    };
    let config = configuration(&server.url(), &perils, is_young);
    colsync_server::serve::adopt(&config, &names, false).unwrap();
    Node::open(config).unwrap().close();
    let kin = Kind::ALL.iter().filter(|_| has_kin);
    let kin = kin.map(|kind| kind.create());
    let tables = Table::ALL.iter().map(|table| table.create(is_young));
    let tables: Vec<String> = tables.chain(kin).collect();
    Seedlings {
        server: server.into_seedling(),
        client: tracking(folder.join("client.db"), &names, &tables),
    }
}

/// Makes a client's file at `path` in which these statements make the tables of these names, which it tracks; gives the
/// path.
pub(super) fn tracking(path: PathBuf, names: &[String], tables: &[String]) -> PathBuf {
    let mut client = Database::file(path.clone(), &Clock::default());
    client
        .execute("PRAGMA journal_mode = WAL")
        .unwrap_or_default();
    for create in tables {
        client.execute(create).unwrap();
    }
    let sdk = Client::open(&path, Settings::default()).unwrap();
    names.iter().for_each(|name| drop(sdk.track(name).unwrap()));
    // Each device makes an identity of its own.
    client
        .execute("DELETE FROM colsync_meta WHERE name = 'client_id'")
        .unwrap();
    path
}
