//! The demo: a real server, two real client files, and what happens when both go offline and edit the same
//! rows with plain SQL.
//!
//! `cargo run --release --bin demo` shows it and then keeps serving; `--once` ends after it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a demo ends where something is not as it must be"
)]

mod show;
mod stage;

use std::process::ExitCode;

use clap::Parser;
use stage::{Stage, id};

/// Shows colsync at work: two offline clients, one server, one ledger.
#[derive(Parser)]
struct Arguments {
    /// End after the show instead of going on serving.
    #[arg(long)]
    once: bool,
    /// Where the server answers.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
}

/// What each of the two does while offline, as they would: with plain SQL on their own file.
const ANA: [(&str, &str); 5] = [
    (
        "finishes a title",
        "UPDATE todos SET title = 'Buy oat milk' WHERE id = '{1}'",
    ),
    (
        "renames it",
        "UPDATE todos SET title = 'Call Bob at noon' WHERE id = '{2}'",
    ),
    ("deletes it", "DELETE FROM todos WHERE id = '{3}'"),
    (
        "raises the priority",
        "UPDATE todos SET priority = 5 WHERE id = '{4}'",
    ),
    (
        "adds one",
        "INSERT INTO todos (id, title, priority) VALUES ('{5}', 'Water the plants', 1)",
    ),
];
const BEN: [(&str, &str); 5] = [
    (
        "ticks the same row off",
        "UPDATE todos SET done = TRUE WHERE id = '{1}'",
    ),
    (
        "renames it, too",
        "UPDATE todos SET title = 'Call Bob back' WHERE id = '{2}'",
    ),
    (
        "edits what Ana deletes",
        "UPDATE todos SET notes = 'by transfer' WHERE id = '{3}'",
    ),
    (
        "raises it less",
        "UPDATE todos SET priority = 3, notes = 'ask Cem' WHERE id = '{4}'",
    ),
    (
        "adds one",
        "INSERT INTO todos (id, title, done) VALUES ('{6}', 'Fix the bike', TRUE)",
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stage = Stage::set(&arguments.listen);
    show::heading("1. A server on embedded SQLite, and two client files with its rows");
    show::tables(&[
        ("Ana's file", &stage.rows(&stage.ana)),
        (
            "Ben's file, his clock 3 hours behind",
            &stage.rows(&stage.ben),
        ),
    ]);

    show::heading(
        "2. Both go offline and write their own files with plain SQL. First Ana, then Ben",
    );
    stage.edit(&stage.ana, &ANA);
    stage.edit(&stage.ben, &BEN);
    show::edits(&[("Ana", &ANA), ("Ben", &BEN)]);
    show::tables(&[
        ("Ana's file", &stage.rows(&stage.ana)),
        ("Ben's file", &stage.rows(&stage.ben)),
    ]);

    show::heading("3. Both are back, and sync: Ana, Ben, Ana again");
    for device in [&stage.ana, &stage.ben, &stage.ana] {
        let report = device.client.sync().expect("a sync");
        show::synced(&stage, device, &report);
    }

    show::heading(
        "4. Nothing that lost is gone: the server's ledger, and what Ben's file was told",
    );
    show::ledger(&stage.ledger());
    show::conflicts(&stage.ben.client.conflicts().expect("the conflicts"));

    show::heading("5. All three have the same rows");
    let (ana, ben, server) = (
        stage.rows(&stage.ana),
        stage.rows(&stage.ben),
        stage.server_rows(),
    );
    show::tables(&[
        ("Ana's file", &ana),
        ("Ben's file", &ben),
        ("the server", &server),
    ]);
    let titles = [(1, "Buy oat milk"), (2, "Call Bob back")];
    let as_promised = titles.iter().all(|(number, title)| {
        server
            .iter()
            .any(|row| row[0] == id(*number) && row[1] == *title)
    });
    if ana != ben || ben != server || !as_promised {
        eprintln!("they differ: this is a fault of colsync's");
        return ExitCode::FAILURE;
    }
    println!("equal: {} rows each", server.len());
    if arguments.once {
        return ExitCode::SUCCESS;
    }
    show::to_try(&stage);
    stage.serve_on()
}
