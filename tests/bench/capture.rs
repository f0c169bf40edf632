//! What the app pays for being tracked: its writes to a tracked table, beside the same to a plain file.
//!
//! Each measurement begins with a copy of a file made once, so that every round meets the same pages.

use std::path::{Path, PathBuf};
use std::time::Instant;

use colsync_client::{Client, Settings};
use colsync_tests::Backend;
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::BigInt;
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection};
use serde_json::json;
use tempfile::TempDir;

use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::rounds::{Rounds, Side, in_turn, median};
use crate::served::Place;
use crate::things::{self, Thing};

/// What the app does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Sets one column of every row, a statement a row, in one transaction.
    UpdateEach,
    /// Sets one column of every row by one statement.
    UpdateAll,
    /// Adds every row, a statement a row, in one transaction.
    Insert,
    /// Sets one column of a row in a transaction of its own, of a tenth of the rows.
    Single,
}

impl Case {
    const ALL: [Case; 4] = [
        Case::UpdateEach,
        Case::UpdateAll,
        Case::Insert,
        Case::Single,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::UpdateEach => "update each",
            Case::UpdateAll => "update all",
            Case::Insert => "insert",
            Case::Single => "update alone",
        }
    }

    /// The ratio that is not to be exceeded.
    fn target(self) -> f64 {
        match self {
            Case::UpdateEach | Case::UpdateAll => 1.6,
            Case::Insert => 1.7,
            Case::Single => 1.5,
        }
    }

    /// Rows that it writes, of so many.
    fn writes(self, rows: u64) -> u64 {
        match self {
            Case::UpdateEach | Case::UpdateAll | Case::Insert => rows,
            Case::Single => rows / 10,
        }
    }
}

/// The files that the rounds begin with.
struct Files {
    folder: TempDir,
    rows: Vec<Thing>,
    /// Of all rows as they were made.
    quantities: i64,
    sizes: Sizes,
}

/// Of files with all rows, in bytes.
struct Sizes {
    plain: u64,
    /// Before the server has answered for the rows.
    pending: u64,
    settled: u64,
    /// What of `settled` is no page that is free to be used again.
    settled_used: u64,
}

/// Measures every case, and the files.
pub(crate) fn tables(rows: u64, count: u32) -> [Table; 2] {
    let progress = Progress::new("capture", count * Case::ALL.len() as u32);
    progress.say(format!("making files of {rows} rows"));
    let files = Files::make(rows);
    let measured = Case::ALL.map(|case| {
        let mut rounds = Rounds::default();
        for round in 1..=count {
            let (ours, baseline) = in_turn(round, |side| files.measure(case, side));
            let name = case.name();
            progress.step(format!(
                "{name}: {ours:.2} µs a row, baseline {baseline:.2}"
            ));
            rounds.push((ours, baseline));
        }
        line(case, rows, &rounds)
    });
    [
        Table {
            title: "Writes of an app to a tracked table, beside those to a plain one",
            heads: &["what", "rows", "µs/row", "baseline", "ratio", "(rounds)"],
            lines: measured.into(),
        },
        files.sizes.table(rows),
    ]
}

fn line(case: Case, rows: u64, rounds: &Rounds) -> Line {
    let cells = vec![
        case.name().to_owned(),
        case.writes(rows).to_string(),
        format!("{:.2}", median(&rounds.ours)),
        format!("{:.2}", median(&rounds.baseline)),
        format!("{:.2}", rounds.ratio()),
        rounds.spread(),
    ];
    let object = json!({
        "what": format!("capture {}", case.name()),
        "rows": case.writes(rows),
        "us_per_row": median(&rounds.ours),
        "baseline_us_per_row": median(&rounds.baseline),
        "ratio": rounds.ratio(),
        "rounds": rounds.ours,
        "baseline_rounds": rounds.baseline,
    });
    Line::new(cells, object).should([Target::at_most(case.target(), rounds.ratio())])
}

impl Files {
    fn make(count: u64) -> Files {
        let server = Place::new(Backend::Sqlite);
        server.batch(things::SQLITE);
        let server = server.serve("things");
        let folder = TempDir::with_prefix("colsync-bench-").unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["Baseline-empty.db", "Ours-empty.db"] {
            open(&at(name)).batch_execute(things::SQLITE).unwrap();
        }
        client(&at("Ours-empty.db"), None).track("things").unwrap();
        for side in ["Baseline", "Ours"] {
            let full = at(&format!("{side}-full.db"));
            std::fs::copy(at(&format!("{side}-empty.db")), &full).unwrap();
            let mut conn = open(&full);
            things::fill_file(&mut conn, count);
            settle(&mut conn);
        }
        let (plain, tracked) = (at("Baseline-full.db"), at("Ours-full.db"));
        let pending = length(&tracked);
        // So that the log is empty.
        let client = client(&tracked, Some(format!("http://{}", server.address())));
        let report = client.sync().unwrap();
        assert_eq!(report.applied, count, "{report:?}");
        assert_eq!(client.status().unwrap().pending, 0);
        server.stop();
        let mut conn = open(&tracked);
        assert_eq!(int(&mut conn, "SELECT count(*) AS n FROM colsync_log"), 0);
        settle(&mut conn);
        let used = "SELECT (page_count - freelist_count) * page_size AS n \
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let sizes = Sizes {
            plain: length(&plain),
            pending,
            settled: length(&tracked),
            settled_used: int(&mut conn, used) as u64,
        };
        Files {
            folder,
            rows: (1..=count).map(Thing::of).collect(),
            quantities: things::quantities(count),
            sizes,
        }
    }

    /// The µs that each row takes.
    fn measure(&self, case: Case, side: Side) -> f64 {
        let begin = if case == Case::Insert {
            "empty"
        } else {
            "full"
        };
        let begin = self.folder.path().join(format!("{side:?}-{begin}.db"));
        let path = self.folder.path().join("round.db");
        std::fs::copy(&begin, &path).unwrap();
        let mut conn = open(&path);
        // The schema is read, and the pages are in memory.
        things::counted(&mut conn);
        let writes = case.writes(self.rows.len() as u64);
        let started = Instant::now();
        self.run(case, &mut conn, writes);
        let took = started.elapsed();
        self.check(case, side, &mut conn, writes);
        drop(conn);
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", path.display())));
        }
        took.as_secs_f64() * 1e6 / writes as f64
    }

    fn run(&self, case: Case, conn: &mut SqliteConnection, writes: u64) {
        let update = |row: &Thing, conn: &mut SqliteConnection| {
            things::set_quantity(conn, &row.id, row.quantity + 1);
        };
        let together = |conn: &mut SqliteConnection,
                        each: &dyn Fn(&Thing, &mut SqliteConnection)| {
            let committed: diesel::QueryResult<()> = conn.immediate_transaction(|conn| {
                self.rows.iter().for_each(|row| each(row, conn));
                Ok(())
            });
            committed.unwrap();
        };
        match case {
            Case::UpdateEach => together(conn, &update),
            Case::Insert => together(conn, &Thing::insert),
            Case::UpdateAll => conn
                .batch_execute("UPDATE things SET quantity = quantity + 1")
                .unwrap(),
            Case::Single => {
                // A stride that is prime to the number of rows meets none twice.
                let places = (0..writes).map(|step| (step * 7_919) as usize % self.rows.len());
                places.for_each(|place| update(&self.rows[place], conn));
            }
        }
    }

    /// Every row is there with its new value, and every write is in the log, once.
    fn check(&self, case: Case, side: Side, conn: &mut SqliteConnection, writes: u64) {
        let (op, added) = match case {
            Case::Insert => (1, 0),
            Case::UpdateEach | Case::UpdateAll | Case::Single => (0, writes as i64),
        };
        assert_eq!(
            things::counted(conn),
            (self.rows.len() as u64, self.quantities + added)
        );
        if side == Side::Baseline {
            return;
        }
        assert_eq!(
            int(conn, "SELECT count(*) AS n FROM colsync_log"),
            writes as i64
        );
        let noted = "SELECT count(DISTINCT row_id) AS n FROM colsync_log WHERE op = ";
        assert_eq!(int(conn, &format!("{noted}{op}")), writes as i64);
        if op == 0 {
            let true_lines = "SELECT count(*) AS n FROM colsync_log AS l JOIN things AS t \
                 ON t.id = l.row_id WHERE l.column_name = 'quantity' AND l.new = t.quantity \
                 AND l.old = t.quantity - 1";
            assert_eq!(int(conn, true_lines), writes as i64);
        }
    }
}

impl Sizes {
    fn table(&self, rows: u64) -> Table {
        let line = |what: &str, bytes: u64| {
            let ratio = bytes as f64 / self.plain as f64;
            let cells = vec![
                what.to_owned(),
                rows.to_string(),
                format!("{:.1}", bytes as f64 / 1e6),
                format!("{:.1}", bytes as f64 / rows as f64),
                format!("{ratio:.2}"),
            ];
            let object = json!({
                "what": format!("size, {what}"),
                "rows": rows,
                "bytes": bytes,
                "baseline_bytes": self.plain,
                "ratio": ratio,
            });
            Line::new(cells, object)
        };
        Table {
            title: "Size of the file with all rows",
            heads: &["what", "rows", "MB", "bytes/row", "ratio"],
            lines: vec![
                line("plain", self.plain),
                line("tracked, nothing pushed", self.pending),
                line("tracked, all settled", self.settled),
                line("of that not free again", self.settled_used),
            ],
        }
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The value of a query's column `n`.
fn int(conn: &mut SqliteConnection, sql: &str) -> i64 {
    let count: Count = diesel::sql_query(sql).get_result(conn).unwrap();
    count.n
}

/// A connection as apps have it.
fn open(path: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        .unwrap();
    conn
}

fn client(path: &Path, server: Option<String>) -> Client {
    let settings = Settings {
        server,
        ..Settings::default()
    };
    Client::open(path, settings).unwrap()
}

/// Everything is in the file itself.
fn settle(conn: &mut SqliteConnection) {
    conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
}

fn length(path: &PathBuf) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
