//! What sync adds to the bytes of a row: in the server's database, and in the client's file.
//!
//! Bytes are pages, with what is free in them. Before they are counted after edits, both databases are packed
//! as the table was before it was adopted: what edits leave free, they leave in a plain table, too.

use std::collections::BTreeMap;

use colsync_client::{Client, Settings};
use colsync_tests::Backend;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection};
use serde_json::json;

use crate::Options;
use crate::progress::Progress;
use crate::report::{Line, Table, Target};
use crate::served::{Place, name_of, sqlite};
use crate::things::{self, Thing};

/// Of each relation: the table that it is or belongs to, its name, its bytes.
const POSTGRES: &str = "SELECT coalesce(t.relname, c.relname)::text AS of, c.relname::text AS name, \
        CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END AS bytes \
    FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid \
        LEFT JOIN pg_class AS t ON t.oid = i.indrelid \
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i') ORDER BY c.relname";
const SQLITE: &str = "SELECT s.tbl_name AS of, s.name AS name, sum(d.pgsize) AS bytes \
    FROM dbstat AS d JOIN sqlite_schema AS s ON s.name = d.name \
    GROUP BY s.name, s.tbl_name ORDER BY s.name";

/// The columns that adopting adds.
const COLUMNS: [&str; 7] = [
    "sync_version",
    "sync_deleted_at",
    "sync_server_last_updated",
    "sync_client_last_updated",
    "sync_client_id",
    "sync_stamps",
    "sync_txid",
];

/// What a value takes in a record of SQLite, with its type.
const SQLITE_BYTES: &str = "CASE typeof($) WHEN 'null' THEN 1 WHEN 'real' THEN 9 \
    WHEN 'integer' THEN CASE WHEN $ IN (0, 1) THEN 1 WHEN abs($) < 128 THEN 2 \
        WHEN abs($) < 32768 THEN 3 WHEN abs($) < 8388608 THEN 4 WHEN abs($) < 2147483648 THEN 5 \
        WHEN abs($) < 140737488355328 THEN 7 ELSE 9 END \
    ELSE length(CAST($ AS blob)) + CASE WHEN length(CAST($ AS blob)) < 58 THEN 1 ELSE 2 END END";

#[derive(QueryableByName)]
struct Relation {
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// Bytes of a database, by table and then by relation.
struct Sizes(BTreeMap<String, BTreeMap<String, u64>>);

impl Sizes {
    fn new(relations: Vec<Relation>) -> Sizes {
        let mut sizes = BTreeMap::<String, BTreeMap<String, u64>>::new();
        for Relation { of, name, bytes } in relations {
            sizes.entry(of).or_default().insert(name, bytes as u64);
        }
        Sizes(sizes)
    }

    fn of_file(conn: &mut SqliteConnection) -> Sizes {
        Sizes::new(diesel::sql_query(SQLITE).load(conn).unwrap())
    }

    /// The table and its indexes.
    fn table(&self, table: &str) -> u64 {
        self.0
            .get(table)
            .map_or(0, |relations| relations.values().sum())
    }

    fn relations(&self, table: &str) -> impl Iterator<Item = (&str, u64)> {
        let relations = self.0.get(table).into_iter().flatten();
        relations.map(|(name, bytes)| (name.as_str(), *bytes))
    }

    /// Colsync's own tables that take more than the `before` they were made with.
    fn internal(&self, before: &Sizes) -> Vec<(&str, u64)> {
        let own = self.0.keys().filter(|table| table.starts_with("colsync_"));
        let grown = own.map(|table| {
            let grown = self.table(table).saturating_sub(before.table(table));
            (table.as_str(), grown)
        });
        grown.filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// One database at the three moments, and the client's file.
struct Measured {
    backend: Backend,
    rows: u64,
    plain: Sizes,
    adopted: Sizes,
    /// As they stand, and packed.
    edited: Sizes,
    packed: Sizes,
    /// Bytes a row of each metadata column after the edits.
    columns: Vec<(&'static str, f64)>,
    /// The client's file with its edits, and after their sync.
    pending: Sizes,
    synced: Sizes,
}

/// Measures each database: the figures, and what they are made of.
pub(crate) fn tables(rows: u64, options: &Options) -> [Table; 2] {
    let measured: Vec<Measured> = options
        .backends
        .iter()
        .map(|&backend| Measured::new(backend, rows))
        .collect();
    [
        Table {
            title: "Bytes that sync adds to a row, beside those of the row and its key's index",
            heads: &["what", "on", "rows", "bytes/row", "row", "ratio"],
            lines: measured.iter().flat_map(Measured::figures).collect(),
        },
        Table {
            title: "What they are made of, bytes a row",
            heads: &["what", "on", "imported", "edited", "edited, unpacked"],
            lines: measured.iter().flat_map(Measured::parts).collect(),
        },
    ]
}

impl Measured {
    fn new(backend: Backend, rows: u64) -> Measured {
        let progress = Progress::new(format!("space on {}", name_of(backend)), 4);
        progress.say(format!("making {rows} rows"));
        let place = things::place(backend, rows);
        place.tidy("things");
        let plain = sizes(&place);
        progress.step("adopting the table");
        let served = place.serve("things");
        served.place.tidy("things");
        let adopted = sizes(&served.place);
        progress.step("a client's first sync");
        let file = served.place.folder.path().join("client.db");
        let settings = Settings {
            server: Some(format!("http://{}", served.address())),
            ..Settings::default()
        };
        let client = Client::open(&file, settings).unwrap();
        client.init(&[]).unwrap();
        assert_eq!(client.sync().unwrap().pulled, rows);
        progress.step("an edit of each row, and their sync");
        let mut conn = sqlite(&file.display().to_string());
        let edited: diesel::QueryResult<()> = diesel::Connection::transaction(&mut conn, |conn| {
            (1..=rows).for_each(|number| {
                let row = Thing::of(number);
                things::set_quantity(conn, &row.id, row.quantity + 1);
            });
            Ok(())
        });
        edited.unwrap();
        let pending = Sizes::of_file(&mut conn);
        let report = client.sync().unwrap();
        assert_eq!((report.pushed, report.applied), (rows, rows), "{report:?}");
        let synced = Sizes::of_file(&mut conn);
        progress.step("packing");
        served.place.tidy("things");
        let edited = sizes(&served.place);
        let packed = pack(&served.place);
        let columns = columns(&served.place);
        served.stop();
        Measured {
            backend,
            rows,
            plain,
            adopted,
            edited,
            packed,
            columns,
            pending,
            synced,
        }
    }

    fn per_row(&self, bytes: u64) -> f64 {
        bytes as f64 / self.rows as f64
    }

    /// What the table has more than before it was adopted, and colsync's own tables more than at first.
    fn added(&self, sizes: &Sizes) -> f64 {
        let table = sizes.table("things") - self.plain.table("things");
        let internal = sizes.internal(&self.adopted);
        self.per_row(table) + self.per_row(internal.iter().map(|(_, bytes)| bytes).sum())
    }

    fn figures(&self) -> Vec<Line> {
        let log = |sizes: &Sizes| self.per_row(sizes.table("colsync_log"));
        vec![
            self.figure("metadata, imported", self.added(&self.adopted), Some(0.1)),
            self.figure("metadata, edited", self.added(&self.packed), Some(0.25)),
            self.figure("client's log, unsynced", log(&self.pending), None),
            self.figure("client's log, synced", log(&self.synced), Some(0.01)),
        ]
    }

    fn figure(&self, what: &str, bytes: f64, target: Option<f64>) -> Line {
        let (on, row) = (
            name_of(self.backend),
            self.per_row(self.plain.table("things")),
        );
        let cells = vec![
            what.to_owned(),
            on.to_owned(),
            self.rows.to_string(),
            format!("{bytes:.1}"),
            format!("{row:.1}"),
            format!("{:.3}", bytes / row),
        ];
        let object = json!({
            "what": format!("space, {what}"),
            "on": on,
            "rows": self.rows,
            "bytes_per_row": bytes,
            "row_bytes": row,
            "ratio": bytes / row,
        });
        let target = target.map(|target| Target::at_most(target, bytes / row));
        Line::new(cells, object).should(target)
    }

    fn parts(&self) -> Vec<Line> {
        let moments = [&self.adopted, &self.packed, &self.edited];
        let mut lines = vec![self.part("table before", [self.plain.table("things"); 3])];
        for (name, _) in self.packed.relations("things") {
            let bytes = moments.map(|sizes| {
                let found = sizes.relations("things").find(|(at, _)| *at == name);
                found.map_or(0, |(_, bytes)| bytes)
            });
            let what = if name == "things" { "table" } else { name };
            lines.push(self.part(what, bytes));
        }
        for (table, _) in self.edited.internal(&self.adopted) {
            let grown = moments.map(|sizes| {
                let before = self.adopted.table(table);
                sizes.table(table).saturating_sub(before)
            });
            lines.push(self.part(table, grown));
        }
        for (column, bytes) in &self.columns {
            lines.push(self.line(&format!("  {column}"), [None, Some(*bytes), None]));
        }
        for (table, bytes) in self.synced.internal(&Sizes(BTreeMap::new())) {
            if self.per_row(bytes) >= 0.1 {
                let bytes = Some(self.per_row(bytes));
                lines.push(self.line(&format!("client's {table}"), [None, bytes, None]));
            }
        }
        lines
    }

    fn part(&self, what: &str, bytes: [u64; 3]) -> Line {
        self.line(what, bytes.map(|bytes| Some(self.per_row(bytes))))
    }

    fn line(&self, what: &str, bytes: [Option<f64>; 3]) -> Line {
        let on = name_of(self.backend);
        let mut cells = vec![what.to_owned(), on.to_owned()];
        cells.extend(bytes.map(|n| n.map_or(String::new(), |n| format!("{n:.1}"))));
        let [imported, edited, unpacked] = bytes;
        let object = json!({
            "what": format!("space of {}", what.trim()),
            "on": on,
            "rows": self.rows,
            "imported_bytes_per_row": imported,
            "edited_bytes_per_row": edited,
            "edited_unpacked_bytes_per_row": unpacked,
        });
        Line::new(cells, object)
    }
}

fn sizes(place: &Place) -> Sizes {
    match place.backend {
        Backend::Postgres => Sizes::new(diesel::sql_query(POSTGRES).load(&mut place.pg()).unwrap()),
        Backend::Sqlite => Sizes::of_file(&mut place.file()),
    }
}

/// The sizes without what edits have left free.
fn pack(place: &Place) -> Sizes {
    match place.backend {
        Backend::Postgres => {
            place.batch("VACUUM FULL");
            place.tidy("things");
            sizes(place)
        }
        Backend::Sqlite => {
            let packed = place.folder.path().join("packed.db").display().to_string();
            place.batch(&format!("VACUUM INTO '{packed}'"));
            Sizes::of_file(&mut sqlite(&packed))
        }
    }
}

#[derive(QueryableByName)]
struct Mean {
    #[diesel(sql_type = diesel::sql_types::Double)]
    mean: f64,
}

/// What each metadata column takes in a row, at the mean.
fn columns(place: &Place) -> Vec<(&'static str, f64)> {
    let mean = |column: &'static str| {
        let bytes = match place.backend {
            Backend::Postgres => format!("coalesce(pg_column_size({column}), 0)"),
            Backend::Sqlite => SQLITE_BYTES.replace('$', column),
        };
        let query = format!("SELECT CAST(avg({bytes}) AS double precision) AS mean FROM things");
        let query = diesel::sql_query(query);
        let found = match place.backend {
            Backend::Postgres => query.get_result(&mut place.pg()),
            Backend::Sqlite => query.get_result(&mut place.file()),
        };
        let Mean { mean } = found.unwrap();
        (column, mean)
    };
    COLUMNS.map(mean).into()
}
