//! The triggers that note in the log what the app writes to a tracked table.
//!
//! Plain SQL that SQLite 3.35 understands, so that every program that writes the file is captured. Must not
//! run any SQL itself.
//!
//! Of what a trigger costs, its program's registers and cursors are a part, needed or not: SQLite allocates them
//! for each statement, and more than 1,200 bytes of them not from the memory that it has at hand. Whether the
//! writes are the app's is asked last: mostly the conditions before it have told already that there is
//! nothing to note.

use colsync_shared::sql::{literal, quote};

use super::introspect::{Shape, Term, Unique, What};
use super::tokens::default_value;
use crate::file::IS_THE_APPS;
use crate::table::LocalColumn;

/// How everything of colsync's in the app's file is called.
pub(super) const PREFIX: &str = "colsync_";

/// Now, ms since 1970: those of the Julian day, which is now's where none is named, less those until then, rounded. To
/// read the word `'now'` and to subtract before it multiplies would cost SQLite twice as much.
pub(super) const NOW_MS: &str = "CAST(julianday() * 86400000.0 - 210866759999999.5 AS INTEGER)";

/// How colsync's triggers on the table of this number begin.
pub(super) fn prefix(number: i64) -> String {
    format!("{PREFIX}{number}_")
}

/// The name of the trigger for the column at `position`.
pub(super) fn of_column(number: i64, position: usize) -> String {
    format!("{}column_{position}", prefix(number))
}

/// The triggers of a table, by name, as SQLite keeps their text.
///
/// An app's own triggers may write to the row again. SQLite runs the trigger first that was made last, and
/// so these must be made after the app's: the log is then in the order of what happened.
pub(super) fn all(shape: &Shape) -> Vec<(String, String)> {
    let names = Names {
        shape,
        table: quote(&shape.table.name),
        alias: alias(&shape.table.name),
        number: shape.table.number,
    };
    let mut triggers = vec![
        ("may_insert".to_owned(), names.before_insert()),
        ("may_update".to_owned(), names.before_update()),
        ("insert".to_owned(), names.inserted()),
        ("delete".to_owned(), names.deleted()),
        ("leave".to_owned(), names.left_its_key()),
        ("arrive".to_owned(), names.came_to_its_key()),
    ]
    .into_iter()
    .map(|(word, rest)| (format!("{}{word}", prefix(names.number)), rest))
    .collect::<Vec<_>>();
    triggers.extend(shape.values().map(|(position, column)| {
        let name = of_column(names.number, position);
        (name, names.changed(column))
    }));
    triggers
        .into_iter()
        .map(|(name, rest)| {
            let sql = format!("CREATE TRIGGER {} {rest}", quote(&name));
            (name, sql)
        })
        .collect()
}

/// What a row of the table itself is called in a trigger. An index's condition may name the table, so it
/// keeps its name, unless that would hide the trigger's own rows.
fn alias(table: &str) -> String {
    if table.eq_ignore_ascii_case("new") || table.eq_ignore_ascii_case("old") {
        "o".to_owned()
    } else {
        quote(table)
    }
}

/// The table's names, ready to stand in SQL.
struct Names<'a> {
    shape: &'a Shape,
    table: String,
    alias: String,
    number: i64,
}

impl Names<'_> {
    /// A column's own trigger, under the id that the row had: that of its base.
    fn changed(&self, column: &LocalColumn) -> String {
        let name = quote(&column.name);
        format!(
            "AFTER UPDATE OF {name} ON {table} FOR EACH ROW\n\
             WHEN {differs} AND {IS_THE_APPS}{has_id}\nBEGIN\n    \
             INSERT INTO colsync_log (op, table_number, row_id, column_name, old, new, at_ms)\n    \
             VALUES (0, {number}, {id}, {literal}, OLD.{name}, NEW.{name}, {NOW_MS});\nEND",
            table = self.table,
            differs = self.differs(column),
            has_id = self.and_has_id("OLD"),
            number = self.number,
            id = self.id("OLD"),
            literal = literal(&column.name),
        )
    }

    fn inserted(&self) -> String {
        format!(
            "AFTER INSERT ON {table} FOR EACH ROW\n\
             WHEN {IS_THE_APPS}{has_id}\nBEGIN\n    {line}\nEND",
            table = self.table,
            has_id = self.and_has_id("NEW"),
            line = self.line_of_new(),
        )
    }

    fn deleted(&self) -> String {
        format!(
            "AFTER DELETE ON {table} FOR EACH ROW\n\
             WHEN {IS_THE_APPS}{has_id}\nBEGIN\n    {lines}\nEND",
            table = self.table,
            has_id = self.and_has_id("OLD"),
            lines = self.lines_of_old(),
        )
    }

    /// A change of the key deletes the row of the old one …
    fn left_its_key(&self) -> String {
        format!(
            "AFTER UPDATE OF {key} ON {table} FOR EACH ROW\n\
             WHEN {differs} AND {IS_THE_APPS}{has_id}\nBEGIN\n    {lines}\nEND",
            key = self.names_of_key(),
            table = self.table,
            differs = self.key_differs(),
            has_id = self.and_has_id("OLD"),
            lines = self.lines_of_old(),
        )
    }

    /// … and inserts one under the new key.
    fn came_to_its_key(&self) -> String {
        format!(
            "AFTER UPDATE OF {key} ON {table} FOR EACH ROW\n\
             WHEN {differs} AND {IS_THE_APPS}{has_id}\nBEGIN\n    {line}\nEND",
            key = self.names_of_key(),
            table = self.table,
            differs = self.key_differs(),
            has_id = self.and_has_id("NEW"),
            line = self.line_of_new(),
        )
    }

    /// Before an insert: notes the rows that an OR REPLACE would delete, for which no delete trigger fires.
    fn before_insert(&self) -> String {
        let uniques = &self.shape.uniques;
        let ways: Vec<String> = uniques
            .iter()
            .map(|unique| self.in_the_way(unique))
            .collect();
        format!(
            "BEFORE INSERT ON {table} FOR EACH ROW\n\
             WHEN ({exists}) AND {IS_THE_APPS}\nBEGIN\n    {lines}\nEND",
            table = self.table,
            // SQLite has -1 there before it chooses one.
            exists = self.any_exists(&ways, |unique| {
                let name = unique.columns.first().filter(|_| unique.is_hidden_rowid)?;
                Some(format!("NEW.{} IS NOT -1", quote(name)))
            }),
            lines = self.lines_of_victims(&ways),
        )
    }

    /// Before an update of unique columns: notes the other rows that an OR REPLACE would delete.
    fn before_update(&self) -> String {
        let key = self.shape.table.key_columns();
        let itself: Vec<String> = key
            .map(|column| {
                let name = quote(&column.name);
                format!("{}.{name} IS OLD.{name} COLLATE BINARY", self.alias)
            })
            .collect();
        let itself = itself.join(" AND ");
        let uniques = &self.shape.uniques;
        let ways: Vec<String> = uniques
            .iter()
            .map(|unique| format!("{} AND NOT ({itself})", self.in_the_way(unique)))
            .collect();
        format!(
            "BEFORE UPDATE{of} ON {table} FOR EACH ROW\n\
             WHEN ({exists}) AND {IS_THE_APPS}\nBEGIN\n    {lines}\nEND",
            of = self.of_unique_columns(),
            table = self.table,
            exists = self.any_exists(&ways, |unique| {
                let moved: Vec<String> = unique
                    .columns
                    .iter()
                    .map(|name| {
                        let name = quote(name);
                        format!("NEW.{name} IS NOT OLD.{name} COLLATE BINARY")
                    })
                    .collect();
                Some(moved.join(" OR "))
            }),
            lines = self.lines_of_victims(&ways),
        )
    }

    /// Whether any row stands in the way, index by index; `first` is asked before the index is.
    fn any_exists(&self, ways: &[String], first: impl Fn(&Unique) -> Option<String>) -> String {
        let uniques = self.shape.uniques.iter();
        let conditions: Vec<String> = uniques
            .zip(ways)
            .map(|(unique, way)| {
                let exists = format!(
                    "EXISTS (SELECT 1 FROM {} AS {} WHERE {way})",
                    self.table, self.alias
                );
                match first(unique) {
                    Some(first) => format!("(({first}) AND {exists})"),
                    None => exists,
                }
            })
            .collect();
        conditions.join("\n    OR ")
    }

    /// The condition that a row has what NEW is to have in this index. It must be of the form that SQLite
    /// answers from the index itself: it is asked for every insert.
    fn in_the_way(&self, unique: &Unique) -> String {
        let mut conditions: Vec<String> = unique.terms.iter().map(|term| self.same(term)).collect();
        // Without it SQLite could not use a partial index. Whether it holds for NEW does not matter: at
        // worst a line too many is written.
        conditions.extend(unique.predicate.iter().map(|text| format!("({text})")));
        conditions.join(" AND ")
    }

    fn same(&self, term: &Term) -> String {
        let collation = quote(&term.collation);
        match &term.what {
            What::Column(name) => format!(
                "{}.{} = {} COLLATE {collation}",
                self.alias,
                quote(name),
                self.to_be(name),
            ),
            What::Expression(expression) => {
                let columns = self.shape.table.columns.iter().map(|column| &column.name);
                let row: Vec<String> = columns
                    .chain(&self.shape.generated)
                    .map(|name| format!("{} AS {}", self.to_be(name), quote(name)))
                    .collect();
                format!(
                    "({expression}) = (SELECT {expression} FROM (SELECT {})) COLLATE {collation}",
                    row.join(", "),
                )
            }
        }
    }

    /// The value of NEW's column. An OR REPLACE puts the default where a NULL must not be.
    fn to_be(&self, name: &str) -> String {
        let quoted = quote(name);
        match self.shape.column(name) {
            Some(LocalColumn {
                not_null: true,
                default: Some(default),
                ..
            }) => format!("coalesce(NEW.{quoted}, {})", default_value(default)),
            _ => format!("NEW.{quoted}"),
        }
    }

    /// The columns that a `BEFORE UPDATE` trigger waits for. A generated column moves with others.
    fn of_unique_columns(&self) -> String {
        let names: Vec<&String> = self
            .shape
            .uniques
            .iter()
            .flat_map(|unique| &unique.columns)
            .collect();
        if names.iter().any(|name| self.shape.generated.contains(name)) {
            return String::new();
        }
        let mut quoted: Vec<String> = Vec::new();
        for name in names {
            let name = quote(name);
            if !quoted.contains(&name) {
                quoted.push(name);
            }
        }
        format!(" OF {}", quoted.join(", "))
    }

    fn names_of_key(&self) -> String {
        let key = self.shape.table.key_columns();
        let mut names: Vec<String> = key.map(|column| quote(&column.name)).collect();
        if self.shape.is_rowid {
            names.extend(self.shape.rowid_names.iter().map(|name| quote(name)));
        }
        names.join(", ")
    }

    /// The line of a row that is there anew.
    fn line_of_new(&self) -> String {
        let (number, id) = (self.number, self.id("NEW"));
        if !self.shape.is_autoincrement {
            return format!(
                "INSERT INTO colsync_log (op, table_number, row_id, at_ms)\n    \
                 VALUES (1, {number}, {id}, {NOW_MS});"
            );
        }
        // What SQLite remembers, it changes at the end of a statement.
        format!(
            "INSERT INTO colsync_log (op, table_number, row_id, new, at_ms)\n    \
             VALUES (1, {number}, {id}, (SELECT 1 FROM sqlite_sequence WHERE name = {table} AND seq >= {id}), {NOW_MS});",
            table = literal(&self.shape.table.name),
        )
    }

    /// The lines of a row that is gone.
    fn lines_of_old(&self) -> String {
        let (number, id) = (self.number, self.id("OLD"));
        let mut lines = vec![format!("(2, {number}, {id}, NULL, NULL, {NOW_MS})")];
        lines.extend(self.shape.values().map(|(_, column)| {
            let (literal, name) = (literal(&column.name), quote(&column.name));
            format!("(2, {number}, {id}, {literal}, OLD.{name}, {NOW_MS})")
        }));
        format!(
            "INSERT INTO colsync_log (op, table_number, row_id, column_name, old, at_ms) VALUES\n    {};",
            lines.join(",\n    "),
        )
    }

    /// The lines of the rows that may be replaced, found in any of these ways.
    fn lines_of_victims(&self, ways: &[String]) -> String {
        let values: Vec<(usize, &LocalColumn)> = self.shape.values().collect();
        let mut names = vec!["(NULL, NULL)".to_owned()];
        names.extend(
            values
                .iter()
                .map(|(at, column)| format!("({}, {at})", literal(&column.name))),
        );
        let old = if values.is_empty() {
            "NULL".to_owned()
        } else {
            let cases: Vec<String> = values
                .iter()
                .map(|(at, column)| {
                    format!("WHEN {at} THEN {}.{}", self.alias, quote(&column.name))
                })
                .collect();
            format!("CASE colsync_at {} END", cases.join(" "))
        };
        let statements: Vec<String> = self
            .found_together(ways)
            .iter()
            .map(|found| {
                format!(
                    "INSERT INTO colsync_log (op, table_number, row_id, column_name, old, at_ms)\n    \
                     SELECT 3, {number}, {id}, colsync_name, {old}, {NOW_MS}\n    \
                     FROM {table} AS {alias},\n        \
                     (SELECT column1 AS colsync_name, column2 AS colsync_at FROM (VALUES {names}))\n    \
                     WHERE {found}{has_id};",
                    number = self.number,
                    id = self.id(&self.alias),
                    table = self.table,
                    alias = self.alias,
                    names = names.join(", "),
                    has_id = self.and_has_id(&self.alias),
                )
            })
            .collect();
        statements.join("\n    ")
    }

    /// As few conditions as find what all of `ways` find, each by its index. Every statement that writes to
    /// the table compiles them.
    fn found_together(&self, ways: &[String]) -> Vec<String> {
        let Some(rowid) = self.shape.rowid_names.first().filter(|_| ways.len() > 1) else {
            return ways.to_vec();
        };
        let (table, alias, rowid) = (&self.table, &self.alias, quote(rowid));
        let rows: Vec<String> = ways
            .iter()
            .map(|way| format!("SELECT {alias}.{rowid} FROM {table} AS {alias} WHERE {way}"))
            .collect();
        vec![format!(
            "{alias}.{rowid} IN (\n        {})",
            rows.join("\n        UNION ALL ")
        )]
    }

    fn id(&self, row: &str) -> String {
        self.shape.table.id_expression(row)
    }

    /// The condition that a row has a key, where it may lack one.
    fn and_has_id(&self, row: &str) -> String {
        if self.shape.has_null_keys {
            format!(" AND {} IS NOT NULL", self.id(row))
        } else {
            String::new()
        }
    }

    fn key_differs(&self) -> String {
        let key = self.shape.table.key_columns();
        let parts: Vec<String> = key.map(|column| self.differs(column)).collect();
        match parts.as_slice() {
            [only] => only.clone(),
            parts => format!("({})", parts.join(" OR ")),
        }
    }

    /// Whether a column really differs: also 'abc' from 'ABC' where it ignores case, and 1 from 1.0.
    fn differs(&self, column: &LocalColumn) -> String {
        let name = quote(&column.name);
        let bytes = format!("NEW.{name} IS NOT OLD.{name} COLLATE BINARY");
        if has_one_number_class(&column.declared) {
            format!("({bytes})")
        } else {
            format!("({bytes} OR typeof(NEW.{name}) <> typeof(OLD.{name}))")
        }
    }
}

/// Whether a column of this declared type cannot hold both 1 and 1.0: its affinity is TEXT or REAL. These
/// are SQLite's own rules, <https://www.sqlite.org/datatype3.html>, section 3.1.
fn has_one_number_class(declared: &str) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("INT") {
        false
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        true
    } else if has("BLOB") {
        false
    } else {
        has("REAL") || has("FLOA") || has("DOUB")
    }
}
