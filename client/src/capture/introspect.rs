//! Reads what a table of the app's file looks like: its columns, its key, what must be unique in it, and
//! the app's own triggers.
//!
//! Must not write anything.

use std::collections::BTreeSet;

use colsync_shared::sqlite::Stored;

use super::tokens;
use super::triggers::PREFIX;
use crate::error::Error;
use crate::file::{File, text};
use crate::table::{LocalColumn, LocalTable};

const KIND: &str = "
    SELECT t.type, t.name, t.strict, t.wr, s.sql FROM pragma_table_list AS t
    LEFT JOIN sqlite_master AS s ON s.type = 'table' AND s.name = t.name
    WHERE t.schema = 'main' AND t.name = :? COLLATE NOCASE";

const COLUMNS: &str = "
    SELECT name, type, \"notnull\", dflt_value, pk, hidden
    FROM pragma_table_xinfo(:?) ORDER BY cid";

/// Every term of every unique index, in the index's order; name is NULL for an expression.
const INDEXES: &str = "
    SELECT i.name, c.name, c.coll, s.sql
    FROM pragma_index_list(:?) AS i, pragma_index_xinfo(i.name) AS c
    LEFT JOIN sqlite_master AS s ON s.type = 'index' AND s.name = i.name
    WHERE i.\"unique\" AND c.key
    ORDER BY i.seq, c.seqno";

const TRIGGERS: &str = "
    SELECT name, tbl_name, sql FROM sqlite_master
    WHERE type = 'trigger' AND sql IS NOT NULL ORDER BY rowid";

/// A table, and what its triggers must know beyond that.
#[derive(Debug)]
pub(super) struct Shape {
    /// The table; its `echoing` and `ending` are empty.
    pub(super) table: LocalTable,
    /// What must be unique in it, the key among it.
    pub(super) uniques: Vec<Unique>,
    /// Whether the key is the rowid itself, `INTEGER PRIMARY KEY`.
    pub(super) is_rowid: bool,
    /// The names by which SQL may speak of the rowid. Empty if there is none.
    pub(super) rowid_names: Vec<&'static str>,
    /// Whether a key may be NULL, as SQLite allows in most tables. Such a row has no name: it is no row to
    /// us until it has a key.
    pub(super) has_null_keys: bool,
    /// Whether SQLite remembers the highest number that it gave to a row.
    pub(super) is_autoincrement: bool,
    /// Whether it is STRICT.
    pub(super) strict: bool,
    /// The names of its generated columns.
    pub(super) generated: Vec<String>,
}

/// A unique index.
#[derive(Debug)]
pub(super) struct Unique {
    /// Its terms.
    pub(super) terms: Vec<Term>,
    /// The condition of a partial index.
    pub(super) predicate: Option<String>,
    /// The columns whose change may bring a row in another's way.
    pub(super) columns: Vec<String>,
    /// Whether it is the rowid of a table whose key is another.
    pub(super) is_hidden_rowid: bool,
}

/// A term of a unique index.
#[derive(Debug)]
pub(super) struct Term {
    /// A column's name, or an expression.
    pub(super) what: What,
    /// The collation that the index compares it by.
    pub(super) collation: String,
}

/// What a term of an index is.
#[derive(Debug)]
pub(super) enum What {
    /// The column of this name.
    Column(String),
    /// This expression of the row's columns.
    Expression(String),
}

/// A trigger in the file.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) name: String,
    /// The table that it is on.
    pub(super) table: String,
    pub(super) sql: String,
}

impl Trigger {
    /// Whether it is one of colsync's.
    pub(super) fn is_ours(&self) -> bool {
        starts_with(&self.name, PREFIX)
    }

    /// Whether it is on the table of this name.
    pub(super) fn is_on(&self, table: &str) -> bool {
        self.table.eq_ignore_ascii_case(table)
    }
}

impl Shape {
    /// The column of this name.
    pub(super) fn column(&self, name: &str) -> Option<&LocalColumn> {
        self.table
            .position(name)
            .and_then(|at| self.table.columns.get(at))
    }

    /// The columns that are no part of the key, and their positions.
    pub(super) fn values(&self) -> impl Iterator<Item = (usize, &LocalColumn)> {
        let columns = self.table.columns.iter().enumerate();
        columns.filter(|(at, _)| !self.table.is_key(*at))
    }
}

/// What the table of this name looks like, to be called `number` in the log.
///
/// # Errors
/// [`Error::Untrackable`] with all that stands against tracking it.
pub(super) fn shape(file: &mut File, name: &str, number: i64) -> Result<Shape, Error> {
    let untrackable = |reasons: Vec<String>| Error::Untrackable {
        table: name.to_owned(),
        reasons,
    };
    let kind = file.first(KIND, &[Stored::Text(name.to_owned())])?;
    let Some(
        [
            Stored::Text(kind),
            Stored::Text(name),
            Stored::Int(strict),
            Stored::Int(without_rowid),
            sql,
        ],
    ) = kind.as_deref()
    else {
        return Err(untrackable(vec!["there is no such table".to_owned()]));
    };
    let mut reasons = Vec::new();
    if is_internal(name) {
        reasons.push("it belongs to colsync or SQLite itself".to_owned());
    }
    match kind.as_str() {
        "table" => {}
        "view" => return Err(untrackable(vec!["it is a view".to_owned()])),
        "virtual" => return Err(untrackable(vec!["it is a virtual table".to_owned()])),
        _ => reasons.push("it is a part of a virtual table".to_owned()),
    }
    let mut shape = Shape {
        table: LocalTable {
            number,
            name: name.clone(),
            columns: Vec::new(),
            key: Vec::new(),
            echoing: Vec::new(),
            ending: Vec::new(),
            resolves: text(sql).is_some_and(tokens::resolves),
        },
        uniques: Vec::new(),
        is_rowid: false,
        rowid_names: Vec::new(),
        has_null_keys: false,
        is_autoincrement: text(sql).is_some_and(tokens::is_autoincrement),
        strict: *strict != 0,
        generated: Vec::new(),
    };
    read_columns(file, &mut shape)?;
    if shape.table.key.is_empty() {
        reasons.push("it has no primary key".to_owned());
    }
    let unnamed = |column: &LocalColumn| column.name.is_empty();
    if shape.table.columns.iter().any(unnamed) {
        reasons.push("it has a column with an empty name".to_owned());
    }
    if !reasons.is_empty() {
        return Err(untrackable(reasons));
    }

    read_uniques(file, &mut shape)?;
    let has_key_index = has_key_index(file, name)?;
    shape.is_rowid = !has_key_index;
    shape.has_null_keys = has_key_index
        && *without_rowid == 0
        && shape.table.key_columns().any(|column| !column.not_null);
    if *without_rowid == 0 {
        add_rowid(&mut shape);
    }
    Ok(shape)
}

/// Adds the rowid to what must be unique, be it the key or not: an OR REPLACE may be by it as well.
fn add_rowid(shape: &mut Shape) {
    let is_free = |name: &&str| {
        let is_same = |own: &&String| own.eq_ignore_ascii_case(name);
        shape.column(name).is_none() && shape.generated.iter().find(is_same).is_none()
    };
    shape.rowid_names = ["rowid", "oid", "_rowid_"]
        .into_iter()
        .filter(is_free)
        .collect();
    let key = shape.table.key_columns().filter(|_| shape.is_rowid);
    let names: Vec<String> = key
        .map(|column| column.name.clone())
        .chain(shape.rowid_names.iter().map(|&name| name.to_owned()))
        .collect();
    let Some(name) = names.first() else { return };
    let term = Term {
        what: What::Column(name.clone()),
        collation: "BINARY".to_owned(),
    };
    shape.uniques.push(Unique {
        terms: vec![term],
        predicate: None,
        columns: names,
        is_hidden_rowid: !shape.is_rowid,
    });
}

fn read_columns(file: &mut File, shape: &mut Shape) -> Result<(), Error> {
    let rows = file.load(COLUMNS, &[Stored::Text(shape.table.name.clone())])?;
    let mut key: Vec<(i64, usize)> = Vec::new();
    for row in rows {
        let [
            Stored::Text(column),
            Stored::Text(declared),
            Stored::Int(not_null),
            default,
            Stored::Int(key_position),
            Stored::Int(hidden),
        ] = row.as_slice()
        else {
            return Err(unreadable("pragma_table_xinfo", &shape.table.name));
        };
        if *hidden != 0 {
            shape.generated.push(column.clone());
            continue;
        }
        if *key_position > 0 {
            key.push((*key_position, shape.table.columns.len()));
        }
        shape.table.columns.push(LocalColumn {
            name: column.clone(),
            declared: declared.clone(),
            not_null: *not_null != 0,
            default: text(default).map(str::to_owned),
        });
    }
    key.sort_unstable();
    shape.table.key = key.into_iter().map(|(_, at)| at).collect();
    Ok(())
}

fn read_uniques(file: &mut File, shape: &mut Shape) -> Result<(), Error> {
    let rows = file.load(INDEXES, &[Stored::Text(shape.table.name.clone())])?;
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let [Stored::Text(index), column, collation, sql] = row.as_slice() else {
            return Err(unreadable("pragma_index_xinfo", &shape.table.name));
        };
        let parsed = text(sql).and_then(tokens::index);
        if names.last() != Some(index) {
            names.push(index.clone());
            shape.uniques.push(Unique {
                terms: Vec::new(),
                predicate: parsed.as_ref().and_then(|index| index.predicate.clone()),
                columns: parsed
                    .as_ref()
                    .map(|index| named(shape, &index.names))
                    .unwrap_or_default(),
                is_hidden_rowid: false,
            });
        }
        let Some(unique) = shape.uniques.last_mut() else {
            continue;
        };
        let what = match column {
            Stored::Text(column) => {
                if !unique.columns.contains(column) {
                    unique.columns.push(column.clone());
                }
                What::Column(column.clone())
            }
            Stored::Null | Stored::Int(_) | Stored::Real(_) | Stored::Bytes(_) => {
                let term = parsed.and_then(|index| index.terms.into_iter().nth(unique.terms.len()));
                let term = term.ok_or_else(|| Error::Untrackable {
                    table: shape.table.name.clone(),
                    reasons: vec![format!("its unique index {index} cannot be understood")],
                })?;
                What::Expression(term)
            }
        };
        unique.terms.push(Term {
            what,
            collation: text(collation).unwrap_or("BINARY").to_owned(),
        });
    }
    Ok(())
}

/// Whether the key has an index of its own. It has none if it is the rowid.
fn has_key_index(file: &mut File, table: &str) -> Result<bool, Error> {
    let found = file.int(
        "SELECT count(*) FROM pragma_index_list(:?) WHERE origin = 'pk'",
        &[Stored::Text(table.to_owned())],
    )?;
    Ok(found > 0)
}

/// Those of the table's columns, generated ones too, that are among `names`.
fn named(shape: &Shape, names: &[String]) -> Vec<String> {
    let columns = shape.table.columns.iter().map(|column| &column.name);
    columns
        .chain(&shape.generated)
        .filter(|column| names.iter().any(|name| name.eq_ignore_ascii_case(column)))
        .cloned()
        .collect()
}

/// All triggers of the file, in the order in which they were made.
pub(super) fn triggers(file: &mut File) -> Result<Vec<Trigger>, Error> {
    let rows = file.load(TRIGGERS, &[])?;
    rows.into_iter()
        .map(|row| match <[Stored; 3]>::try_from(row) {
            Ok([Stored::Text(name), Stored::Text(table), Stored::Text(sql)]) => {
                Ok(Trigger { name, table, sql })
            }
            _ => Err(unreadable("sqlite_master", "its triggers")),
        })
        .collect()
}

/// The app's own triggers on `table` that write to one of the tables `tracked`, directly or by triggers
/// of what they write to; each with its SQL.
pub(super) fn echoing(
    triggers: &[Trigger],
    table: &str,
    tracked: &[String],
) -> Vec<(String, String)> {
    let lower = |name: &String| name.to_ascii_lowercase();
    let apps: Vec<(&Trigger, Vec<String>)> = triggers
        .iter()
        .filter(|trigger| !trigger.is_ours())
        .map(|trigger| {
            let written = tokens::written(&trigger.sql);
            (trigger, written.iter().map(lower).collect())
        })
        .collect();
    let mut leading: BTreeSet<String> = tracked.iter().map(lower).collect();
    loop {
        let before = leading.len();
        for (trigger, written) in &apps {
            if written.iter().any(|name| leading.contains(name)) {
                leading.insert(lower(&trigger.table));
            }
        }
        if leading.len() == before {
            break;
        }
    }
    apps.into_iter()
        .filter(|(trigger, written)| {
            trigger.is_on(table) && written.iter().any(|name| leading.contains(name))
        })
        .map(|(trigger, _)| (trigger.name.clone(), trigger.sql.clone()))
        .collect()
}

/// The app's own triggers on `table`, but for the `echoing`, that end more than the statement that they refuse; each with
/// its SQL, and that of one that does not.
pub(super) fn ending(
    triggers: &[Trigger],
    table: &str,
    echoing: &[(String, String)],
) -> Vec<(String, String, String)> {
    let echoes = |trigger: &&Trigger| echoing.iter().any(|(name, _)| *name == trigger.name);
    let apps = triggers
        .iter()
        .filter(|trigger| !trigger.is_ours() && trigger.is_on(table) && !echoes(trigger));
    apps.filter_map(|trigger| {
        let softened = tokens::softened(&trigger.sql)?;
        Some((trigger.name.clone(), trigger.sql.clone(), softened))
    })
    .collect()
}

/// Whether a name is colsync's own, or SQLite's.
fn is_internal(name: &str) -> bool {
    starts_with(name, PREFIX) || starts_with(name, "sqlite_")
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn unreadable(place: &str, what: &str) -> Error {
    Error::Corrupt(format!("{place} of {what}"))
}
