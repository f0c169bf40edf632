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

mod capture;
mod first_sync;
mod http;
mod load;
mod memory;
mod patch;
mod prepared;
mod push;
mod random;
mod report;
mod served;
mod subject;
mod things;
mod wire;

use std::time::Duration;

use clap::{Parser, ValueEnum};
use colsync_tests::Backend;

use load::Kind;

/// Measures the server's writes and the client's work against what the plain database does.
#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    /// The server only on this database
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Rounds, of which the medians are shown
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that the server is measured in each round of patch and push, and its baseline likewise
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Rows of the table [default: capture 100000, first-sync 1000000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..))]
    rows: Option<u64>,
    /// Print JSON in place of tables
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Single-row PATCH requests
    Patch,
    /// Edits by push
    Push,
    /// An app's writes to a tracked table
    Capture,
    /// Bytes of an edit
    Wire,
    /// A client's first sync
    FirstSync,
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

fn main() {
    let arguments = Arguments::parse();
    let asked = |what: What| arguments.what == what || arguments.what == What::All;
    let backends: &[Backend] = match arguments.on {
        Some(On::Postgres) => &[Backend::Postgres],
        Some(On::Sqlite) => &[Backend::Sqlite],
        None => &[Backend::Postgres, Backend::Sqlite],
    };
    let kinds: Vec<Kind> = [(What::Patch, Kind::Patch), (What::Push, Kind::Push)]
        .into_iter()
        .filter_map(|(what, kind)| asked(what).then_some(kind))
        .collect();
    let mut tables = Vec::new();
    if !kinds.is_empty() {
        let time = Duration::from_secs(arguments.seconds);
        tables.push(load::table(&kinds, backends, arguments.rounds, time));
    }
    if asked(What::Capture) {
        let rows = arguments.rows.unwrap_or(100_000);
        tables.extend(capture::tables(rows, arguments.rounds));
    }
    if asked(What::Wire) {
        tables.push(wire::table());
    }
    if asked(What::FirstSync) {
        let rows = arguments.rows.unwrap_or(1_000_000);
        tables.push(first_sync::table(rows, backends, arguments.rounds));
    }
    if arguments.json {
        println!("{}", report::json(tables));
    } else {
        print!("{}", report::text(&tables));
    }
}
