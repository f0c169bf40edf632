//! Which columns hold keys of tables whose key the server makes: by the foreign keys that the server tells of, and
//! those of the file. Must not know rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Error;
use crate::file::{File, text};
use crate::pairing::Paired;

/// Every foreign key of the file, a column a row. `to` is NULL where it points to the key.
const FOREIGN_KEYS: &str = "
    SELECT m.name, f.\"from\", f.\"table\", f.\"to\", f.seq
    FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'";

/// A column by its table and name, both in lower case.
type Place = (String, String);

/// A column that holds keys of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pointer {
    /// The table that it is in, as the file spells it.
    pub(crate) table: String,
    /// That table's number; None if it is not tracked.
    pub(crate) number: Option<i64>,
    /// Its name.
    pub(crate) column: String,
}

/// The columns of a file that hold keys which the server makes. Empty if it makes none.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// By the number of the table that is pointed to.
    into: BTreeMap<i64, Vec<Pointer>>,
    /// The table that a column of a tracked table points to, by its own table's number and its position.
    targets: HashMap<(i64, usize), i64>,
}

impl Links {
    /// Reads them.
    pub(crate) fn read(file: &mut File, tables: &[Paired]) -> Result<Links, Error> {
        let makers: Vec<&Paired> = tables.iter().filter(|table| table.makes_key).collect();
        let mut links = Links::default();
        if makers.is_empty() {
            return Ok(links);
        }
        let edges = edges(file, tables)?;
        // A column that points to one that holds such keys holds them, too.
        let mut holds: BTreeMap<Place, i64> = BTreeMap::new();
        for table in &makers {
            links.into.insert(table.local.number, Vec::new());
            for key in table.local.key_columns() {
                holds.insert(place(&table.local.name, &key.name), table.local.number);
            }
        }
        loop {
            let before = holds.len();
            for (from, to) in &edges {
                if let Some(&table) = holds.get(to) {
                    holds.entry(from.clone()).or_insert(table);
                }
            }
            if holds.len() == before {
                break;
            }
        }
        for ((table, column), target) in holds {
            let paired = tables
                .iter()
                .find(|paired| paired.local.name.eq_ignore_ascii_case(&table));
            let number = paired.map(|paired| paired.local.number);
            if let Some(paired) = paired {
                match paired.local.position(&column) {
                    // Its own key, or a generated column.
                    Some(at) if paired.makes_key && paired.local.is_key(at) => continue,
                    None => continue,
                    Some(at) => links.targets.insert((paired.local.number, at), target),
                };
            }
            let pointer = Pointer {
                table,
                number,
                column,
            };
            links.into.entry(target).or_default().push(pointer);
        }
        Ok(links)
    }

    /// Whether the server makes no table's key.
    pub(crate) fn is_empty(&self) -> bool {
        self.into.is_empty()
    }

    /// The tables whose keys the server makes.
    pub(crate) fn makers(&self) -> impl Iterator<Item = i64> {
        self.into.keys().copied()
    }

    /// Whether the server makes the keys of this table.
    pub(crate) fn is_maker(&self, table: i64) -> bool {
        self.into.contains_key(&table)
    }

    /// The columns that hold keys of this table, but for its own key.
    pub(crate) fn into(&self, table: i64) -> &[Pointer] {
        self.into.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The table whose keys the column at `position` holds.
    pub(crate) fn target(&self, table: i64, position: usize) -> Option<i64> {
        self.targets.get(&(table, position)).copied()
    }
}

fn place(table: &str, column: &str) -> Place {
    (table.to_ascii_lowercase(), column.to_ascii_lowercase())
}

/// What points to what.
fn edges(file: &mut File, tables: &[Paired]) -> Result<BTreeSet<(Place, Place)>, Error> {
    let mut edges = BTreeSet::new();
    for row in file.load(FOREIGN_KEYS, &[])? {
        let [Some(child), Some(from), Some(parent)] =
            [0, 1, 2].map(|at| row.get(at).and_then(text))
        else {
            continue;
        };
        let named = row.get(3).and_then(text).map(str::to_owned);
        let part = row.get(4).and_then(super::number);
        let of_key = || {
            let parent = tables
                .iter()
                .find(|table| table.local.name.eq_ignore_ascii_case(parent))?;
            let part = usize::try_from(part?).ok()?;
            Some(parent.local.key_columns().nth(part)?.name.clone())
        };
        if let Some(to) = named.or_else(of_key) {
            edges.insert((place(child, from), place(parent, &to)));
        }
    }
    for child in tables {
        for key in &child.foreign_keys {
            let parent = tables
                .iter()
                .find(|table| table.server.as_ref() == Ok(&key.table));
            let Some(parent) = parent else { continue };
            for (from, to) in key.columns.iter().zip(&key.references) {
                let name = |paired: &Paired, there: &str| {
                    let at = paired.position(there)?;
                    let column = paired.local.columns.get(at)?;
                    Some(place(&paired.local.name, &column.name))
                };
                if let (Some(from), Some(to)) = (name(child, from), name(parent, to)) {
                    edges.insert((from, to));
                }
            }
        }
    }
    Ok(edges)
}
