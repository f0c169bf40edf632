//! A client's first sync, beside an export of the table and a plain import of that file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use colsync_client::{Client, Settings};
use colsync_tests::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::json;

use crate::Options;
use crate::program;
use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::rounds::{Rounds, Side, in_turn, median};
use crate::served::{Place, Served, name_of};
use crate::things::{self, Thing};

/// Rows of a transaction of the plain import.
const TOGETHER: usize = 5_000;

/// Measures a tenth of the rows and all of them, on each database.
pub(crate) fn table(rows: u64, options: &Options) -> Table {
    let sizes = [rows / 10, rows];
    let each = options
        .backends
        .iter()
        .flat_map(|&backend| sizes.map(|rows| (backend, rows)));
    Table {
        title: "First sync of a client, beside an export and a plain import of the file",
        heads: &[
            "on",
            "rows",
            "rows/s",
            "baseline/s",
            "ratio",
            "(rounds)",
            "bytes/row",
            "client MiB",
            "server MiB",
        ],
        lines: each
            .map(|(backend, rows)| measure(backend, rows, options))
            .collect(),
    }
}

/// What neither process should need more of, in MiB.
const MEMORY: f64 = 96.0;

fn measure(backend: Backend, rows: u64, options: &Options) -> Line {
    let on = name_of(backend);
    let progress = Progress::new(format!("first-sync on {on}, {rows} rows"), options.rounds);
    progress.say("making the table");
    let served = things::serve(backend, rows);
    let quantities = things::quantities(rows);
    let mut rounds = Rounds::default();
    let mut peaks = Vec::new();
    let mut received = 0.0;
    for round in 1..=options.rounds {
        let (ours, baseline) = in_turn(round, |side| {
            let file = served.place.folder.path().join("round.db");
            let took = match side {
                Side::Ours => {
                    let synced = sync(&served, &file, rows);
                    peaks.push(synced.peak);
                    received = synced.report["received_bytes"].as_f64().unwrap() / rows as f64;
                    synced.took
                }
                Side::Baseline => import(&served.place, &file),
            };
            let mut conn = open(&file);
            assert_eq!(things::counted(&mut conn), (rows, quantities), "{side:?}");
            drop(conn);
            std::fs::remove_file(&file).unwrap();
            rows as f64 / took.as_secs_f64()
        });
        progress.step(format!("{ours:.0}/s, baseline {baseline:.0}/s"));
        rounds.push((ours, baseline));
    }
    let server = served.peak_memory();
    served.stop();
    let client = peaks.into_iter().fold(0.0, f64::max);
    let cells = vec![
        on.to_owned(),
        rows.to_string(),
        format!("{:.0}", median(&rounds.ours)),
        format!("{:.0}", median(&rounds.baseline)),
        format!("{:.2}", rounds.ratio()),
        rounds.spread(),
        format!("{received:.0}"),
        format!("{client:.0}"),
        format!("{server:.0}"),
    ];
    let object = json!({
        "what": "first-sync",
        "on": on,
        "rows": rows,
        "rows_per_second": median(&rounds.ours),
        "baseline_rows_per_second": median(&rounds.baseline),
        "ratio": rounds.ratio(),
        "received_bytes_per_row": received,
        "client_peak_mib": client,
        "server_peak_mib": server,
        "rounds": rounds.ours,
        "baseline_rounds": rounds.baseline,
    });
    Line::new(cells, object).should([
        Target::at_least(0.6, rounds.ratio()),
        Target::at_most(MEMORY, client).of("client", "MiB"),
        Target::at_most(MEMORY, server).of("server", "MiB"),
    ])
}

/// Makes a client and runs its program once.
fn sync(served: &Served, file: &Path, rows: u64) -> program::Synced {
    let settings = Settings {
        server: Some(format!("http://{}", served.address())),
        ..Settings::default()
    };
    let client = Client::open(file, settings).unwrap();
    client.init(&[]).unwrap();
    let synced = program::sync(file);
    assert_eq!(
        synced.report["pulled"].as_u64(),
        Some(rows),
        "{}",
        synced.report
    );
    assert_eq!(client.status().unwrap().pending, 0);
    synced
}

/// Exports the table to a file, and imports that into a new file of SQLite.
fn import(place: &Place, file: &Path) -> Duration {
    let exported = place.folder.path().join("export.tsv");
    let started = Instant::now();
    let mut out = BufWriter::new(File::create(&exported).unwrap());
    match place.backend {
        Backend::Postgres => things::export_pg(&mut place.pg(), &mut out),
        Backend::Sqlite => things::export_file(&mut place.file(), &mut out),
    }
    out.flush().unwrap();
    let mut conn = open(file);
    conn.batch_execute(things::SQLITE).unwrap();
    let mut lines = BufReader::new(File::open(&exported).unwrap()).lines();
    loop {
        let mut added = 0;
        let committed: diesel::QueryResult<()> = conn.immediate_transaction(|conn| {
            for line in lines.by_ref().take(TOGETHER) {
                Thing::read(&line.unwrap()).insert(conn);
                added += 1;
            }
            Ok(())
        });
        committed.unwrap();
        if added < TOGETHER {
            return started.elapsed();
        }
    }
}

/// A file as the client makes it: with a write-ahead log, which a pull does not wait for.
fn open(file: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        .unwrap();
    conn
}
