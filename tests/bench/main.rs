//! What colsync costs: each figure beside what the same work costs without it.
//!
//! Each figure is the median of rounds that alternate with their baseline on the same machine, and both
//! are as durable as each other. Nothing is asserted about time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark ends where something is not as it must be"
)]

mod bulk;
mod by_hand;
mod caller;
mod capture;
mod clients;
mod first_sync;
mod growth;
mod http;
mod idle_pull;
mod load;
mod patch;
mod plot;
mod prepared;
mod program;
mod progress;
mod pull;
mod push;
mod random;
mod receipt;
mod report;
mod rounds;
mod served;
mod space;
mod subject;
mod things;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, ValueEnum, error::ErrorKind};
use colsync_tests::Backend;

use load::Kind;
use report::Table;

/// Measures what colsync costs, beside what the same work costs without it.
///
/// It starts its own PostgreSQL, SQLite and servers, in temporary folders. A missed target is told, and is no
/// failure; a lost edit is one.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure; several are measured in the order of this list
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Only what is measured on this database
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Rounds, of which the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that either side of a round takes, where time is what is given [default: 5, clients 60]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Rows of the table [default: loads 10000; capture and space 100000; first-sync, pull and growth 1000000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..))]
    rows: Option<u64>,
    /// How many clients there are in `clients`
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(2..))]
    clients: u64,
    /// Print JSON in place of tables
    #[arg(long)]
    json: bool,
    /// Draw what `growth` measures as SVG files in this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Serve the database as a user would without colsync; what `patch-by-hand` starts
    #[arg(long, value_name = "URL", hide = true)]
    serve_by_hand: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Single-row PATCH requests on PostgreSQL, beside pgbench
    Patch,
    /// The same, beside an endpoint written without colsync
    PatchByHand,
    /// Single-row PATCH requests on SQLite, beside single-row transactions
    PatchSqlite,
    /// Edits by push on PostgreSQL, half in conflict, beside bulk updates
    Push,
    /// The same on SQLite, beside large transactions
    PushSqlite,
    /// A client's first sync, beside an export and a plain import; memory
    FirstSync,
    /// A pull of 1,000 changed rows out of many, beside one out of few
    Pull,
    /// Pulls of clients that are up to date, beside GET /healthz
    IdlePull,
    /// An app's writes to a tracked table, beside a plain one
    Capture,
    /// Bytes of an edit on the wire
    Wire,
    /// Bytes of a row's metadata in the server's database, and of the client's log
    Space,
    /// Many clients at once: from an edit to its sight elsewhere; memory
    Clients,
    /// How cost grows with a push's edits, a table's rows and a row's columns
    Growth,
    /// Everything
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// An embedded file
    Sqlite,
    /// A server
    Postgres,
}

/// How much is measured, and on what.
struct Options {
    backends: Vec<Backend>,
    rounds: u32,
    /// Of each side of a round.
    time: Duration,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(url) = &arguments.serve_by_hand {
        return by_hand::serve(url);
    }
    let tables = measure(&arguments, |table| {
        if !arguments.json {
            println!("{}", table.text());
        }
    });
    if tables.is_empty() {
        let message = "nothing of this is measured on that database";
        Arguments::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit();
    }
    if arguments.json {
        println!("{}", report::json(tables));
    }
}

/// Measures what is asked for, and tells each table as soon as it is there.
fn measure(arguments: &Arguments, tell: impl Fn(&Table)) -> Vec<Table> {
    let asked = |what: What| arguments.what.iter().any(|&w| w == what || w == What::All);
    let options = Options {
        backends: match arguments.on {
            Some(On::Postgres) => vec![Backend::Postgres],
            Some(On::Sqlite) => vec![Backend::Sqlite],
            None => vec![Backend::Postgres, Backend::Sqlite],
        },
        rounds: arguments.rounds,
        time: Duration::from_secs(arguments.seconds.unwrap_or(5)),
    };
    let rows = |or: u64| arguments.rows.unwrap_or(or);
    let mut tables = Vec::new();
    let mut keep = |table: Table| {
        tell(&table);
        tables.push(table);
    };
    let loads = [
        (What::Patch, Kind::Patch(32)),
        (What::Patch, Kind::Patch(128)),
        (What::PatchByHand, Kind::PatchByHand),
        (What::PatchSqlite, Kind::PatchSqlite),
        (What::Push, Kind::Push(Backend::Postgres)),
        (What::PushSqlite, Kind::Push(Backend::Sqlite)),
    ];
    let loads = loads
        .into_iter()
        .filter(|&(what, kind)| asked(what) && options.backends.contains(&kind.backend()));
    let loads: Vec<Kind> = loads.map(|(_, kind)| kind).collect();
    if !loads.is_empty() {
        keep(load::table(&loads, rows(10_000), &options));
    }
    if asked(What::FirstSync) {
        keep(first_sync::table(rows(1_000_000), &options));
    }
    if asked(What::Pull) {
        keep(pull::table(rows(1_000_000), &options));
    }
    if asked(What::IdlePull) {
        keep(idle_pull::table(&options));
    }
    if asked(What::Capture) && options.backends.contains(&Backend::Sqlite) {
        capture::tables(rows(100_000), options.rounds)
            .into_iter()
            .for_each(&mut keep);
    }
    if asked(What::Wire) && options.backends.contains(&Backend::Sqlite) {
        keep(wire::table());
    }
    if asked(What::Space) {
        space::tables(rows(100_000), &options)
            .into_iter()
            .for_each(&mut keep);
    }
    if asked(What::Clients) {
        let time = Duration::from_secs(arguments.seconds.unwrap_or(60));
        keep(clients::table(arguments.clients, time, &options));
    }
    if asked(What::Growth) {
        let plots = arguments.plots.as_deref();
        growth::tables(rows(1_000_000), plots, &options)
            .into_iter()
            .for_each(&mut keep);
    }
    tables
}
