//! Random statements from two connections at once: whatever they do, the log rolls it back.

use std::sync::OnceLock;

use diesel::connection::SimpleConnection as _;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::{Story, app};

/// A table shape, and what the statements are made of.
struct Shape {
    schema: &'static str,
    tables: &'static [Table],
}

/// A table to be written to.
#[derive(Debug)]
struct Table {
    name: &'static str,
    /// Columns that may be written, those of the key first.
    columns: &'static [&'static str],
    /// How many of them are the key's.
    key: usize,
    /// What may be put into them.
    values: &'static [&'static str],
    /// Targets of an upsert.
    targets: &'static [&'static str],
}

const SHAPES: [Shape; 3] = [
    // A rowid, a second unique index without case, a default that takes a NULL's place, and the app's own
    // triggers.
    Shape {
        schema: "
            CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE UNIQUE, n,
                slot TEXT NOT NULL DEFAULT 'a' UNIQUE, r REAL, touched INT NOT NULL DEFAULT 0);
            CREATE TRIGGER touch AFTER UPDATE OF n ON items BEGIN
                UPDATE items SET touched = touched + 1 WHERE id = NEW.id; END;
            CREATE TRIGGER made AFTER INSERT ON items WHEN NEW.r = 1 BEGIN
                UPDATE items SET r = 5, n = 'made' WHERE id = NEW.id;
                DELETE FROM items WHERE id = NEW.id + 1; END;
            INSERT INTO items (id, code, n, slot) VALUES (1, 'a', 1, 'A'), (2, 'b', 'x', 'b'), (-1, 'c', 2, 'c');",
        tables: &[Table {
            name: "items",
            columns: &["id", "code", "n", "slot", "r"],
            key: 1,
            values: &["NULL", "1", "2", "3", "1.0", "'a'", "'A'", "'b'", "'B'", "x'61'", "n", "id + 1"],
            targets: &["", "(id)", "(code)", "(slot)"],
        }],
    },
    // No rowid, a key of two columns, a generated column that is unique. A key of several columns is named
    // by texts, so that a blob in it could be taken for one.
    Shape {
        schema: "
            CREATE TABLE pairs (v, a TEXT NOT NULL, g TEXT AS (v || w), b INTEGER NOT NULL, w TEXT COLLATE NOCASE,
                PRIMARY KEY (a, b), CHECK (typeof(a) = 'text' AND typeof(b) <> 'blob')) WITHOUT ROWID;
            CREATE UNIQUE INDEX pairs_g ON pairs (g);
            CREATE UNIQUE INDEX pairs_w ON pairs (w, v DESC);
            INSERT INTO pairs (a, b, v, w) VALUES ('a,b', 1, 1, 'a'), ('A', 2, 'x', 'b'), ('%', 1, NULL, NULL);",
        tables: &[Table {
            name: "pairs",
            columns: &["a", "b", "v", "w"],
            key: 2,
            values: &["NULL", "1", "2", "3", "1.0", "'a,b'", "'A'", "'a'", "'%'", "x'41'", "w", "b + 1"],
            targets: &["", "(a, b)", "(g)", "(w, v)"],
        }],
    },
    // A text key that may be NULL, partial and expression indexes, and children that follow.
    Shape {
        schema: "
            CREATE TABLE parents (id TEXT PRIMARY KEY, email TEXT, live INT, name TEXT);
            CREATE UNIQUE INDEX live ON parents (email) WHERE live AND parents.email <> 'no';
            CREATE UNIQUE INDEX named ON parents (lower(name), live IS NULL);
            CREATE TABLE children (id TEXT NOT NULL PRIMARY KEY, pos INT UNIQUE ON CONFLICT REPLACE,
                parent TEXT REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE,
                other TEXT REFERENCES parents ON DELETE SET NULL ON UPDATE SET NULL);
            INSERT INTO parents VALUES ('a', 'a', 1, 'b'), ('b', 'a', 0, 'a'), ('A', 'b', 1, NULL), (NULL, 'x', 1, 'x');
            INSERT INTO children VALUES ('a', 1, 'a', 'b'), ('b', 2, 'a', 'a'), ('A', 3, NULL, 'A');",
        tables: &[
            Table {
                name: "parents",
                columns: &["id", "email", "live", "name"],
                key: 1,
                values: &["NULL", "1", "0", "'a'", "'A'", "'b'", "'B'", "'no'", "x'61'", "name", "id || 'a'"],
                targets: &["", "(id)", "(lower(name), live IS NULL)"],
            },
            Table {
                name: "children",
                columns: &["id", "pos", "parent", "other"],
                key: 1,
                values: &["NULL", "1", "2", "'a'", "'A'", "'b'", "pos + 1", "parent", "id || 'a'"],
                targets: &["", "(id)", "(pos)"],
            },
        ],
    },
];

/// What a connection does between `BEGIN` and `COMMIT`.
#[derive(Debug, Clone)]
struct Transaction {
    /// Whether it is a connection that colsync opened.
    ours: bool,
    statements: Vec<String>,
}

fn conflict() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "",
            "",
            "OR REPLACE",
            "OR REPLACE",
            "OR IGNORE",
            "OR ABORT",
            "OR FAIL",
            "OR ROLLBACK",
        ][..],
    )
}

fn assignments(table: &'static Table) -> impl Strategy<Value = String> {
    let one = (select(table.columns), select(table.values));
    prop::collection::vec(one, 1..4).prop_map(|mut assigned| {
        assigned.sort_unstable();
        assigned.dedup_by_key(|(column, _)| *column);
        let assigned: Vec<String> = assigned
            .into_iter()
            .map(|(column, value)| format!("{column} = {value}"))
            .collect();
        assigned.join(", ")
    })
}

fn condition(table: &'static Table) -> impl Strategy<Value = String> {
    (0..4, select(table.columns), select(table.values)).prop_map(|(kind, column, value)| match kind
    {
        0 => String::new(),
        1 => format!("WHERE {column} IS NOT {value}"),
        _ => format!("WHERE {column} IS {value}"),
    })
}

/// The rows of a `VALUES`; names of columns mean nothing there.
fn new_rows(table: &'static Table) -> impl Strategy<Value = String> {
    let constant = |value: &'static str| {
        if value.starts_with(|c: char| c.is_lowercase() && c != 'x') {
            "3"
        } else {
            value
        }
    };
    let row =
        prop::collection::vec(select(table.values), table.columns.len()).prop_map(move |row| {
            format!(
                "({})",
                row.into_iter().map(constant).collect::<Vec<_>>().join(", ")
            )
        });
    prop::collection::vec(row, 1..4).prop_map(|rows| rows.join(", "))
}

fn statement(table: &'static Table) -> impl Strategy<Value = String> {
    let Table { name, columns, .. } = table;
    let into = format!("INTO {name} ({})", columns.join(", "));
    let upserts = into.clone();
    let copies = into.clone();
    let key = &columns[..table.key];
    let shifted = move |by: &str| {
        let rest = columns[key.len()..]
            .iter()
            .map(|column| (*column).to_owned());
        let shifted = key.iter().map(|column| format!("{column} || {by}"));
        shifted.chain(rest).collect::<Vec<_>>().join(", ")
    };
    prop_oneof![
        4 => (conflict(), new_rows(table)).prop_map(move |(or, rows)| format!("INSERT {or} {into} VALUES {rows}")),
        2 => (new_rows(table), select(table.targets), assignments(table)).prop_map(move |(rows, target, set)| {
            format!("INSERT {upserts} VALUES {rows} ON CONFLICT {target} DO UPDATE SET {set}")
        }),
        1 => (new_rows(table), select(table.targets)).prop_map(move |(rows, target)| {
            format!("INSERT INTO {name} ({}) VALUES {rows} ON CONFLICT {target} DO NOTHING", columns.join(", "))
        }),
        1 => (conflict(), condition(table)).prop_map(move |(or, condition)| {
            format!("INSERT {or} {copies} SELECT {} FROM {name} {condition}", shifted("1"))
        }),
        6 => (conflict(), assignments(table), condition(table))
            .prop_map(move |(or, set, condition)| format!("UPDATE {or} {name} SET {set} {condition}")),
        1 => (conflict(), 0..4).prop_map(move |(or, id)| format!("UPDATE {or} {name} SET rowid = {id} WHERE rowid = 1")),
        2 => condition(table).prop_map(move |condition| format!("DELETE FROM {name} {condition}")),
        3 => select(&["SAVEPOINT s", "RELEASE s", "ROLLBACK TO s", "ROLLBACK TO s", "ROLLBACK", "COMMIT; BEGIN"][..])
            .prop_map(str::to_owned),
    ]
}

fn transactions(shape: &'static Shape) -> impl Strategy<Value = Vec<Transaction>> {
    let statement = select((0..shape.tables.len()).collect::<Vec<_>>())
        .prop_flat_map(|table| statement(&shape.tables[table]));
    let transaction = (any::<bool>(), prop::collection::vec(statement, 1..6));
    let transaction = transaction.prop_map(|(ours, statements)| Transaction { ours, statements });
    prop::collection::vec(transaction, 1..4)
}

/// The file as it is once the tables are tracked; making it takes longest.
fn prepared(at: usize) -> &'static [u8] {
    static FILES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    FILES[at].get_or_init(|| {
        let tables: Vec<&str> = SHAPES[at].tables.iter().map(|table| table.name).collect();
        let mut story = Story::new(SHAPES[at].schema, &tables);
        // All of it must be in the file itself.
        story.file.batch("PRAGMA journal_mode = DELETE").unwrap();
        std::fs::read(&story.path).unwrap()
    })
}

fn holds(at: usize, transactions: &[Transaction]) -> Result<(), TestCaseError> {
    let mut story = Story::of(prepared(at));
    assert_eq!(story.tables.len(), SHAPES[at].tables.len());
    assert!(story.base.iter().all(|rows| rows.len() >= 3));
    let settings =
        "PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON";
    let mut theirs = app(&story.path, settings);
    story.file.batch("PRAGMA synchronous = OFF").unwrap();
    for transaction in transactions {
        let mut run = |sql: &str| {
            // Many are refused, by a constraint or for want of a savepoint. What counts is what they left.
            let _refused = if transaction.ours {
                story.file.batch(sql).is_err()
            } else {
                theirs.batch_execute(sql).is_err()
            };
        };
        run("BEGIN IMMEDIATE");
        transaction.statements.iter().for_each(|sql| run(sql));
        run("COMMIT");
        // A foreign key may have refused the commit.
        run("ROLLBACK");
    }
    story.check(&format!("{transactions:#?}"));
    Ok(())
}

/// A number that the environment sets.
fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn check(at: usize) {
    let seed = set("PROPTEST_RNG_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("PROPTEST_RNG_SEED={seed}");
    let cases = set("PROPTEST_CASES").and_then(|n| n.try_into().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(150),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(transactions in transactions(&SHAPES[at]))| {
        holds(at, &transactions)?;
    });
}

#[test]
fn nothing_is_missed_in_a_table_with_a_rowid_and_triggers_of_the_app() {
    check(0);
}

#[test]
fn nothing_is_missed_in_a_table_without_rowid() {
    check(1);
}

#[test]
fn nothing_is_missed_in_tables_with_partial_and_expression_indexes_and_cascades() {
    check(2);
}
