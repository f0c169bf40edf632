//! A client's first sync, beside an export of the table and a plain import of that file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use colsync_client::{Client, Settings};
use colsync_tests::{Backend, process};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::{Value as Json, json};

use crate::memory;
use crate::report::{Line, Rounds, Side, Table, in_turn, median};
use crate::served::{Place, Served, name_of};
use crate::things::{self, Thing};

/// Rows of a transaction of the plain import.
const TOGETHER: usize = 5_000;
/// How often the client's memory is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Measures a tenth of the rows and all of them, on each database.
pub(crate) fn table(rows: u64, backends: &[Backend], rounds: u32) -> Table {
    let sizes = [rows / 10, rows];
    let each = backends
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
            "client MB",
            "server MB",
        ],
        lines: each
            .map(|(backend, rows)| measure(backend, rows, rounds))
            .collect(),
    }
}

/// What the client did and had.
struct Synced {
    took: Duration,
    peak: f64,
    received: f64,
}

fn measure(backend: Backend, rows: u64, count: u32) -> Line {
    let on = name_of(backend);
    eprintln!("first sync on {on}: making {rows} rows");
    let served = serve(backend, rows);
    let config = served.place.folder.path().join("bench.toml");
    let server = memory::process(&config, "serve");
    let quantities = things::quantities(rows);
    let mut rounds = Rounds::default();
    let mut peaks = Vec::new();
    let mut received = 0.0;
    for round in 1..=count {
        let (ours, baseline) = in_turn(round, |side| {
            let file = served.place.folder.path().join("round.db");
            let took = match side {
                Side::Ours => {
                    let client = sync(&served, &file, rows);
                    peaks.push(client.peak);
                    received = client.received;
                    client.took
                }
                Side::Baseline => import(&served.place, &file),
            };
            let mut conn = open(&file);
            assert_eq!(things::counted(&mut conn), (rows, quantities), "{side:?}");
            drop(conn);
            std::fs::remove_file(&file).unwrap();
            rows as f64 / took.as_secs_f64()
        });
        eprintln!(
            "first sync on {on}, {rows} rows, round {round}: {ours:.0}/s, baseline {baseline:.0}/s"
        );
        rounds.ours.push(ours);
        rounds.baseline.push(baseline);
    }
    let server = memory::peak(server).unwrap();
    served.stop();
    let client = median(&peaks);
    Line {
        cells: vec![
            on.to_owned(),
            rows.to_string(),
            format!("{:.0}", median(&rounds.ours)),
            format!("{:.0}", median(&rounds.baseline)),
            format!("{:.2}", rounds.ratio()),
            rounds.spread(),
            format!("{received:.0}"),
            format!("{client:.0}"),
            format!("{server:.0}"),
        ],
        object: json!({
            "what": "first sync",
            "on": on,
            "rows": rows,
            "rows_per_second": median(&rounds.ours),
            "baseline_rows_per_second": median(&rounds.baseline),
            "ratio": rounds.ratio(),
            "received_bytes_per_row": received,
            "client_peak_mb": client,
            "server_peak_mb": server,
            "rounds": rounds.ours,
            "baseline_rounds": rounds.baseline,
        }),
    }
}

/// A server whose table has so many rows that nobody has edited.
fn serve(backend: Backend, rows: u64) -> Served {
    let place = Place::new(backend);
    match backend {
        Backend::Postgres => {
            place.batch(things::POSTGRES);
            things::fill_pg(&mut place.pg(), rows);
        }
        Backend::Sqlite => {
            place.batch(things::SQLITE);
            things::fill_file(&mut place.file(), rows);
        }
    }
    let served = place.serve("things");
    if backend == Backend::Postgres {
        // What adopting has left, so that it is not done by itself during one side's turn.
        served.place.batch("VACUUM ANALYZE things");
    }
    served
}

/// Makes a client and runs its program once.
fn sync(served: &Served, file: &Path, rows: u64) -> Synced {
    let settings = Settings {
        server: Some(format!("http://{}", served.address())),
        ..Settings::default()
    };
    let client = Client::open(file, settings).unwrap();
    client.init(&[]).unwrap();
    let said = served.place.folder.path().join("said.json");
    let mut command = Command::new(process::client_binary());
    command
        .env_clear()
        .args(["--json", "sync", "--file"])
        .arg(file);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&said).unwrap());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(memory::peak(child.id()).unwrap_or_default());
        std::thread::sleep(LOOK);
    };
    let took = started.elapsed();
    let said = std::fs::read_to_string(said).unwrap();
    assert!(status.success(), "{status}: {said}");
    let report: Json = serde_json::from_str(&said).unwrap();
    assert_eq!(report["pulled"].as_u64(), Some(rows), "{report}");
    assert_eq!(client.status().unwrap().pending, 0);
    Synced {
        took,
        peak,
        received: report["received_bytes"].as_f64().unwrap() / rows as f64,
    }
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
