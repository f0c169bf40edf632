//! Columns that have met the server's since their table's rows were pulled: the app has added them, or the server has.
//!
//! The table comes whole once more. Until it has come down, nothing of such a column is in the app's view, whatever version of a row the file knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::file::{File, Meta};
use crate::pairing::Paired;

/// Names of such columns in the file, by their tables' numbers.
type Fresh = BTreeMap<i64, BTreeSet<String>>;

/// Notes columns of a table, by their names in the file.
pub(crate) fn note(file: &mut File, table: i64, names: &[String]) -> Result<(), Error> {
    let mut fresh: Fresh = file.meta_json(Meta::Fresh)?;
    let of_table = fresh.entry(table).or_default();
    of_table.extend(names.iter().cloned());
    write(file, &fresh)
}

/// All of these tables' columns have come down.
pub(crate) fn forget(file: &mut File, tables: impl Iterator<Item = i64>) -> Result<(), Error> {
    let mut fresh: Fresh = file.meta_json(Meta::Fresh)?;
    let before = fresh.len();
    for table in tables {
        fresh.remove(&table);
    }
    if fresh.len() == before {
        return Ok(());
    }
    write(file, &fresh)
}

/// Tells the tables which of their columns these are.
pub(crate) fn mark(file: &mut File, tables: &mut [Paired]) -> Result<(), Error> {
    let fresh: Fresh = file.meta_json(Meta::Fresh)?;
    for paired in tables {
        let names = fresh.get(&paired.local.number);
        let columns = paired.local.columns.iter().zip(&mut paired.columns);
        for (local, there) in columns {
            if let Some(there) = there {
                there.fresh = names.is_some_and(|names| names.contains(&local.name));
            }
        }
    }
    Ok(())
}

fn write(file: &mut File, fresh: &Fresh) -> Result<(), Error> {
    if fresh.is_empty() {
        return file.set_meta(Meta::Fresh, None);
    }
    file.set_meta_json(Meta::Fresh, fresh)
}
