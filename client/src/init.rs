//! Making the server's tables in the app's file.
//!
//! Decides what a column is called in SQLite; must not know how a table is captured, nor ask the server.

use std::collections::{BTreeMap, BTreeSet};

use colsync_shared::schema_wire::{ColumnWire, ForeignKeyWire, SchemaWire, TableWire};
use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;
use colsync_shared::types::TypeWire;

use crate::capture::{Tracked, track};
use crate::error::Error;
use crate::file::{File, text};

/// The most digits of a decimal that SQLite keeps as a number; longer ones are texts.
const DECIMAL_DIGITS: u32 = 15;

const EXISTS: &str = "
    SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = :? COLLATE NOCASE";

const KEY: &str = "SELECT name FROM pragma_table_info(:?) WHERE pk > 0";

/// The tables that the file has, or will have: their keys by their names, all in lower case.
type Keys = BTreeMap<String, BTreeSet<String>>;

/// Makes those of `tables` that the file does not have, all of the server's if none is named, and tracks
/// them. A table that is there is left as it is and only tracked.
///
/// # Errors
/// [`Error::Unknown`] for a table that the server does not have; then nothing is made. Whatever tracking
/// refuses; then the tables are made, and the call can be repeated.
pub(crate) fn init(
    file: &mut File,
    schema: &SchemaWire,
    tables: &[String],
) -> Result<Vec<Tracked>, Error> {
    if let Some(unknown) = tables.iter().find(|name| schema.table(name).is_none()) {
        return Err(Error::Unknown {
            what: "table of the server",
            name: unknown.clone(),
        });
    }
    let mut chosen: Vec<&TableWire> = schema.tables.iter().collect();
    if !tables.is_empty() {
        chosen.retain(|table| tables.contains(&table.name));
    }
    distinct("table", chosen.iter().map(|table| &table.name))?;
    file.write(|file| make(file, &chosen))?;
    chosen
        .into_iter()
        .map(|table| track(file, &table.name))
        .collect()
}

/// Makes the tables that are missing.
fn make(file: &mut File, chosen: &[&TableWire]) -> Result<(), Error> {
    let mut keys = Keys::new();
    let mut missing = Vec::new();
    for table in chosen {
        let named = [Stored::Text(table.name.clone())];
        let key = if file.first(EXISTS, &named)?.is_some() {
            let rows = file.load(KEY, &named)?;
            let names = rows.iter().filter_map(|row| text(row.first()?));
            names.map(str::to_lowercase).collect()
        } else {
            missing.push(*table);
            lower(&table.key)
        };
        keys.insert(table.name.to_lowercase(), key);
    }
    for table in missing {
        file.batch(&create_table(table, &keys)?)?;
    }
    Ok(())
}

fn lower(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

/// The statement that makes `table`, with the foreign keys that can hold among tables of these `keys`.
///
/// # Errors
/// [`Error::Untrackable`] if two columns have the same name to SQLite.
fn create_table(table: &TableWire, keys: &Keys) -> Result<String, Error> {
    distinct(&table.name, table.columns.iter().map(|column| &column.name))?;
    let row_id = match table.key.as_slice() {
        [only] => table
            .column(only)
            .filter(|column| column.ty.name == "integer"),
        _ => None,
    };
    let mut lines: Vec<String> = Vec::with_capacity(table.columns.len() + 1);
    for column in &table.columns {
        let name = quote(&column.name);
        lines.push(if row_id.is_some_and(|key| key.name == column.name) {
            format!("{name} INTEGER PRIMARY KEY")
        } else {
            let required = if is_required(table, column) {
                " NOT NULL"
            } else {
                ""
            };
            format!("{name} {}{required}", sqlite_type(&column.ty))
        });
    }
    if row_id.is_none() {
        lines.push(format!("PRIMARY KEY ({})", list(&table.key)));
    }
    let holding = table.foreign_keys.iter().filter(|key| holds(key, keys));
    lines.extend(holding.map(|key| {
        format!(
            "FOREIGN KEY ({}) REFERENCES {} ({}) DEFERRABLE INITIALLY DEFERRED",
            list(&key.columns),
            quote(&key.table),
            list(&key.references)
        )
    }));
    Ok(format!(
        "CREATE TABLE {} (\n    {}\n)",
        quote(&table.name),
        lines.join(",\n    ")
    ))
}

/// What the server fills in, the app may leave out; it stays NULL here until the server's row comes.
fn is_required(table: &TableWire, column: &ColumnWire) -> bool {
    table.key.contains(&column.name) || !(column.nullable || column.has_default)
}

/// Whether SQLite could check it: to a table without these columns as its key, every write of the child
/// would fail.
fn holds(key: &ForeignKeyWire, keys: &Keys) -> bool {
    keys.get(&key.table.to_lowercase())
        .is_some_and(|parent| *parent == lower(&key.references))
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    quoted.join(", ")
}

/// How a column of this type is declared. Texts keep what has no type of its own in SQLite.
fn sqlite_type(ty: &TypeWire) -> String {
    match ty.name.as_str() {
        "bool" => "BOOLEAN",
        "integer" => "INTEGER",
        "real" => "REAL",
        "decimal" => {
            return match (ty.precision, ty.scale) {
                (Some(precision @ ..=DECIMAL_DIGITS), Some(scale)) => {
                    format!("DECIMAL({precision}, {scale})")
                }
                _ => "TEXT".to_owned(),
            };
        }
        "date" => "DATE",
        "time" => "TIME",
        "datetime" => "DATETIME",
        "timestamp" => "TIMESTAMP",
        "bytes" => "BLOB",
        // Also what a later server calls by a name unknown here.
        _ => "TEXT",
    }
    .to_owned()
}

/// Refuses names that differ in case alone: on the server two things, in SQLite one.
fn distinct<'n>(table: &str, names: impl Iterator<Item = &'n String>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(Error::Untrackable {
                table: table.to_owned(),
                reasons: vec![format!(
                    "SQLite cannot tell {name} from another of its name"
                )],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use colsync_shared::ColumnType;
    use colsync_shared::sqlite::column_type;
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, QueryResult, SqliteConnection};

    use super::*;

    fn column(name: &str, ty: &ColumnType) -> ColumnWire {
        ColumnWire {
            name: name.to_owned(),
            ty: ty.to_wire(),
            nullable: true,
            has_default: false,
            policy: "last_writer_wins".to_owned(),
            group: None,
        }
    }

    const INT: ColumnType = ColumnType::Int { bits: 32 };
    const TEXT: ColumnType = ColumnType::Text { max_length: None };

    fn table(name: &str, key: &[&str], columns: Vec<ColumnWire>) -> TableWire {
        TableWire {
            name: name.to_owned(),
            key: key.iter().map(|&name| name.to_owned()).collect(),
            columns,
            parents: vec![],
            foreign_keys: vec![],
            row_policy: "last_writer_wins".to_owned(),
            edit_after_delete: "keep_deleted".to_owned(),
            hard_delete: false,
        }
    }

    fn foreign_key(columns: &[&str], parent: &str, references: &[&str]) -> ForeignKeyWire {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        ForeignKeyWire {
            columns: owned(columns),
            table: parent.to_owned(),
            references: owned(references),
        }
    }

    fn keys(tables: &[&TableWire]) -> Keys {
        let pairs = tables
            .iter()
            .map(|table| (table.name.to_lowercase(), lower(&table.key)));
        pairs.collect()
    }

    /// A database with these tables, that checks foreign keys.
    fn made(tables: &[&TableWire]) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        for table in tables {
            let sql = create_table(table, &keys(tables)).unwrap();
            conn.batch_execute(&sql)
                .unwrap_or_else(|refused| panic!("{sql}: {refused}"));
        }
        conn
    }

    fn run(conn: &mut SqliteConnection, sql: &str) -> QueryResult<()> {
        conn.batch_execute(sql)
    }

    #[test]
    fn a_declared_type_means_what_the_server_said_or_text() {
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        let same = [
            ColumnType::Bool,
            ColumnType::Int { bits: 64 },
            ColumnType::Real { bits: 64 },
            decimal(Some(15), Some(3)),
            TEXT,
            ColumnType::Date,
            ColumnType::Time,
            ColumnType::DateTime,
            ColumnType::Bytes,
        ];
        for ty in same {
            let declared = sqlite_type(&ty.to_wire());
            assert_eq!(column_type(&declared), Some(ty), "{declared}");
        }
        let texts = [
            decimal(Some(16), Some(0)),
            decimal(None, None),
            ColumnType::Uuid,
            ColumnType::Json,
            ColumnType::Enum { labels: vec![] },
            ColumnType::Array(Box::new(INT)),
        ];
        for ty in texts {
            assert_eq!(sqlite_type(&ty.to_wire()), "TEXT", "{ty:?}");
        }
        assert_eq!(sqlite_type(&ColumnType::Timestamp.to_wire()), "TIMESTAMP");
        let later = TypeWire {
            name: "polygon); DROP TABLE todos; --".to_owned(),
            ..TEXT.to_wire()
        };
        assert_eq!(sqlite_type(&later), "TEXT");
    }

    #[test]
    fn a_single_integer_key_is_the_rows_own_number() {
        let tickets = table(
            "tickets",
            &["id"],
            vec![column("subject", &TEXT), column("id", &INT)],
        );
        let mut conn = made(&[&tickets]);
        run(
            &mut conn,
            "INSERT INTO tickets (subject) VALUES ('a'); INSERT INTO tickets VALUES ('b', 7);
             UPDATE tickets SET subject = 'c' WHERE rowid = 7 AND id = 7",
        )
        .unwrap();
        assert!(
            run(&mut conn, "INSERT INTO tickets VALUES ('d', 7)").is_err(),
            "a key of its own"
        );
    }

    #[test]
    fn keys_are_never_null_and_what_the_server_fills_in_may_be() {
        let mut columns = vec![
            column("team", &TEXT),
            column("number", &INT),
            column("role", &TEXT),
            column("since", &ColumnType::Date),
        ];
        for column in &mut columns {
            column.nullable = false;
        }
        columns[3].has_default = true;
        // A key with a default, too: without one, the row could not be told from others.
        columns[0].has_default = true;
        let members = table("members", &["team", "number"], columns);
        let mut conn = made(&[&members]);
        let mut insert =
            |row: &str| run(&mut conn, &format!("INSERT INTO members VALUES ({row})")).is_ok();
        assert!(insert("'a', 1, 'x', NULL"));
        assert!(insert("'a', 2, 'x', '2026-11-22'"));
        assert!(!insert("'a', 2, 'y', NULL"));
        assert!(!insert("NULL, 3, 'x', NULL"));
        assert!(!insert("'a', NULL, 'x', NULL"));
        assert!(!insert("'a', 3, NULL, NULL"));
    }

    #[test]
    fn a_foreign_key_is_checked_when_the_transaction_ends() {
        let lists = table("lists", &["id"], vec![column("id", &ColumnType::Uuid)]);
        let mut items = table(
            "items",
            &["id"],
            vec![column("id", &INT), column("list_id", &ColumnType::Uuid)],
        );
        items.foreign_keys = vec![foreign_key(&["list_id"], "lists", &["id"])];
        let mut conn = made(&[&lists, &items]);
        run(
            &mut conn,
            "BEGIN; INSERT INTO items VALUES (1, 'a'); INSERT INTO lists VALUES ('a'); COMMIT",
        )
        .unwrap();
        assert!(run(&mut conn, "INSERT INTO items VALUES (2, 'b')").is_err());
    }

    #[test]
    fn a_foreign_key_may_be_of_several_columns_of_the_table_itself_and_of_a_cycle() {
        let key = || vec![column("a", &INT), column("b", &TEXT), column("p", &INT)];
        let mut tree = table(
            "tree",
            &["a", "b"],
            [key(), vec![column("q", &TEXT)]].concat(),
        );
        tree.foreign_keys = vec![foreign_key(&["q", "p"], "tree", &["b", "a"])];
        let mut one = table("one", &["a"], key());
        one.foreign_keys = vec![foreign_key(&["p"], "other", &["a"])];
        let mut other = table("other", &["a"], key());
        other.foreign_keys = vec![foreign_key(&["p"], "one", &["a"])];
        let mut conn = made(&[&tree, &one, &other]);
        run(
            &mut conn,
            "INSERT INTO tree VALUES (1, 'x', 1, 'x'), (2, 'y', 1, 'x');
             BEGIN; INSERT INTO one VALUES (1, '', 2); INSERT INTO other VALUES (2, '', 1); COMMIT",
        )
        .unwrap();
        assert!(run(&mut conn, "INSERT INTO tree VALUES (3, 'z', 2, 'x')").is_err());
        assert!(run(&mut conn, "INSERT INTO one VALUES (3, '', 3)").is_err());
    }

    #[test]
    fn a_foreign_key_that_sqlite_could_not_check_is_left_out() {
        let codes = table(
            "codes",
            &["id"],
            vec![column("id", &INT), column("code", &TEXT)],
        );
        let mut uses = table(
            "uses",
            &["id"],
            vec![column("id", &INT), column("code", &TEXT)],
        );
        uses.foreign_keys = vec![
            // Unique on the server; here only the key is.
            foreign_key(&["code"], "codes", &["code"]),
            foreign_key(&["id"], "not_in_this_file", &["id"]),
        ];
        let mut conn = made(&[&codes, &uses]);
        run(&mut conn, "INSERT INTO uses VALUES (1, 'x')").unwrap();
        let sql = create_table(&uses, &keys(&[&codes, &uses])).unwrap();
        assert!(!sql.contains("FOREIGN"), "{sql}");
    }

    #[test]
    fn names_may_hold_anything_but_two_may_not_differ_in_case_alone() {
        let odd = "say \"hi\"; DROP TABLE x --";
        let strange = table(
            "order by",
            &[odd],
            vec![column(odd, &TEXT), column("select", &INT)],
        );
        let mut conn = made(&[&strange]);
        run(&mut conn, "INSERT INTO \"order by\" (\"select\", \"say \"\"hi\"\"; DROP TABLE x --\") VALUES (1, 'a')")
            .unwrap();
        let twice = table("t", &["id"], vec![column("id", &INT), column("ID", &TEXT)]);
        assert!(matches!(
            create_table(&twice, &Keys::new()),
            Err(Error::Untrackable { .. })
        ));
    }

    fn file() -> File {
        File::open(std::path::Path::new(":memory:")).unwrap()
    }

    fn tracked(file: &mut File, schema: &SchemaWire, tables: &[&str]) -> Vec<(String, usize)> {
        let tables: Vec<String> = tables.iter().map(|&name| name.to_owned()).collect();
        let tracked = init(file, schema, &tables).unwrap();
        let each = tracked.into_iter();
        each.map(|one| (one.table, one.existing)).collect()
    }

    fn lists_and_items() -> SchemaWire {
        let mut items = table(
            "items",
            &["id"],
            vec![column("id", &INT), column("list_id", &TEXT)],
        );
        items.foreign_keys = vec![foreign_key(&["list_id"], "lists", &["id"])];
        SchemaWire {
            hash: "1".to_owned(),
            tables: vec![table("lists", &["id"], vec![column("id", &TEXT)]), items],
        }
    }

    #[test]
    fn all_tables_are_made_and_tracked_and_again_changes_nothing() {
        let (mut file, schema) = (file(), lists_and_items());
        let expected = [("lists".to_owned(), 0), ("items".to_owned(), 0)];
        assert_eq!(tracked(&mut file, &schema, &[]), expected);
        file.batch("INSERT INTO items VALUES (1, 'a')").unwrap();
        assert_eq!(tracked(&mut file, &schema, &[]), expected);
        let rows = file.int("SELECT count(*) FROM items", &[]).unwrap();
        assert_eq!(rows, 1, "a table that is there stays");
    }

    #[test]
    fn a_table_that_the_app_made_is_left_as_it_is() {
        let (mut file, schema) = (file(), lists_and_items());
        file.batch("CREATE TABLE Lists (id TEXT, own INTEGER, PRIMARY KEY (own)); INSERT INTO lists VALUES ('a', 1)")
            .unwrap();
        let expected = [("Lists".to_owned(), 1), ("items".to_owned(), 0)];
        assert_eq!(tracked(&mut file, &schema, &[]), expected);
        // Its key is not what the server's foreign keys mean: they would refuse every row.
        file.batch("PRAGMA foreign_keys = ON; INSERT INTO items VALUES (1, 'b')")
            .unwrap();
    }

    #[test]
    fn only_the_tables_named_are_made_and_an_unknown_name_makes_none() {
        let (mut file, schema) = (file(), lists_and_items());
        let names = ["items".to_owned(), "nothing".to_owned()];
        let refused = init(&mut file, &schema, &names);
        assert!(matches!(refused, Err(Error::Unknown { name, .. }) if name == "nothing"));
        let count = "SELECT count(*) FROM sqlite_master WHERE name IN ('items', 'lists')";
        assert_eq!(file.int(count, &[]).unwrap(), 0);
        let expected = [("items".to_owned(), 0)];
        assert_eq!(tracked(&mut file, &schema, &["items", "items"]), expected);
        assert_eq!(file.int(count, &[]).unwrap(), 1);
        // Without its parent, the foreign key would refuse every row.
        file.batch("PRAGMA foreign_keys = ON; INSERT INTO items VALUES (1, 'b')")
            .unwrap();
    }
}
