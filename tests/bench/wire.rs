//! What an edit weighs on the wire: pushed by one client and pulled by another, beside the whole row.

use colsync_client::{Client, Report, Settings};
use colsync_tests::Backend;
use diesel::SqliteConnection;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::caller::Caller;
use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::rounds::median;
use crate::served::{Served, sqlite};
use crate::things::{self, Thing};

/// Rows of the table.
const ROWS: u64 = 2_000;
/// Edits of a large push.
const MANY: u64 = 1_000;

/// The column that is edited.
#[derive(Clone, Copy)]
enum Column {
    /// `quantity`
    Integer,
    /// `title`
    Text,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Integer => "integer",
            Column::Text => "text",
        }
    }

    /// Gives the row of this number another value, the `round`th.
    fn edit(self, conn: &mut SqliteConnection, number: u64, round: u64) {
        let row = Thing::of(number);
        match self {
            Column::Integer => {
                let quantity = Thing::of(ROWS * round + number).quantity + 100_000 * round as i64;
                things::set_quantity(conn, &row.id, quantity);
            }
            Column::Text => {
                let title = Thing::of(ROWS * round + number).title;
                things::set_title(conn, &row.id, &format!("{title} {round}"));
            }
        }
    }
}

/// Measures single edits and many.
pub(crate) fn table() -> Table {
    let progress = Progress::new("wire", 8);
    let server = things::serve(Backend::Sqlite, ROWS);
    let folder = TempDir::with_prefix("colsync-bench-").unwrap();
    let device = |name: &str| Device::new(&server, &folder, name);
    let (writer, reader) = (device("writer"), device("reader"));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut plain = runtime.block_on(Caller::open(&server.address(), 1));
    assert_eq!(runtime.block_on(plain.pull()), ROWS);
    let mut round = 0;
    let mut lines = Vec::new();
    for column in [Column::Integer, Column::Text] {
        for edits in [1, MANY] {
            let mut measure = |compress: bool| {
                round += 1;
                let (pushed, pulled) = exchange(&writer, &reader, column, edits, compress, round);
                let name = column.name();
                progress.step(format!(
                    "{edits} of {name}, zstd {compress}: {pushed:.0} bytes pushed"
                ));
                assert_eq!(runtime.block_on(plain.pull()), edits);
                // The SDK takes answers compressed, whatever it sends.
                match compress {
                    true => (pushed, pulled),
                    false => (pushed, plain.received as f64 / edits as f64),
                }
            };
            let (raw, zstd) = (measure(false), measure(true));
            lines.push(line(column, edits, raw, zstd));
        }
    }
    drop(plain);
    server.stop();
    Table {
        title: "Bytes an edit of one column takes, beside the row as JSON",
        heads: &[
            "column",
            "edits",
            "row",
            "pushed",
            "ratio",
            "zstd",
            "ratio",
            "pulled",
            "pulled zstd",
        ],
        lines,
    }
}

/// Edits on one device and syncs both: bytes an edit that were sent and that were received.
fn exchange(
    writer: &Device,
    reader: &Device,
    column: Column,
    edits: u64,
    compress: bool,
    round: u64,
) -> (f64, f64) {
    let mut conn = sqlite(&writer.path);
    (1..=edits).for_each(|number| column.edit(&mut conn, number, round));
    let pushed = writer.sync(compress);
    assert_eq!(
        (pushed.pushed, pushed.applied),
        (edits, edits),
        "{pushed:?}"
    );
    let pulled = reader.sync(compress);
    assert_eq!((pulled.pulled, pulled.sent_bytes), (edits, 0), "{pulled:?}");
    let each = |bytes: u64| bytes as f64 / edits as f64;
    (each(pushed.sent_bytes), each(pulled.received_bytes))
}

/// Of both, what an edit weighs as it is pushed and as it is pulled.
fn line(column: Column, edits: u64, raw: (f64, f64), zstd: (f64, f64)) -> Line {
    let lengths = (1..=ROWS).map(|number| Thing::of(number).json().to_string().len() as f64);
    let row = median(&lengths.collect::<Vec<_>>());
    let bytes = |bytes: f64| format!("{bytes:.0}");
    let ratio = |bytes: f64| format!("{:.2}", bytes / row);
    let cells = vec![
        column.name().to_owned(),
        edits.to_string(),
        bytes(row),
        bytes(raw.0),
        ratio(raw.0),
        bytes(zstd.0),
        ratio(zstd.0),
        bytes(raw.1),
        bytes(zstd.1),
    ];
    let object = json!({
        "what": format!("wire {}", column.name()),
        "edits": edits,
        "row_bytes": row,
        "pushed_bytes": raw.0,
        "pushed_ratio": raw.0 / row,
        "pushed_zstd_bytes": zstd.0,
        "pushed_zstd_ratio": zstd.0 / row,
        "pulled_bytes": raw.1,
        "pulled_zstd_bytes": zstd.1,
    });
    let line = Line::new(cells, object);
    match edits {
        MANY => line.should([
            Target::at_most(190.0, raw.0).of("raw", "B"),
            Target::at_most(40.0, zstd.0).of("zstd", "B"),
        ]),
        _ => line,
    }
}

/// A file that is in sync.
struct Device {
    path: String,
    server: String,
}

impl Device {
    fn new(server: &Served, folder: &TempDir, name: &str) -> Device {
        let file = folder.path().join(format!("{name}.db"));
        let device = Device {
            path: file.display().to_string(),
            server: format!("http://{}", server.address()),
        };
        device.client(true).init(&[]).unwrap();
        assert_eq!(device.sync(true).pulled, ROWS);
        device
    }

    fn client(&self, compress: bool) -> Client {
        let settings = Settings {
            server: Some(self.server.clone()),
            compress,
            ..Settings::default()
        };
        Client::open(&self.path, settings).unwrap()
    }

    fn sync(&self, compress: bool) -> Report {
        self.client(compress).sync().unwrap()
    }
}
