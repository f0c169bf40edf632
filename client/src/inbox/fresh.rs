//! Columns that have met the server's since their table's rows were pulled: the app has added them, or the server has.
//!
//! The table comes whole once more. Until it has come down, nothing of such a column is in the app's
//! view, whatever version of a row the file knows.

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

/// All of a table's columns have come down.
pub(crate) fn forget(file: &mut File, table: i64) -> Result<(), Error> {
    let mut fresh: Fresh = file.meta_json(Meta::Fresh)?;
    match fresh.remove(&table) {
        Some(_) => write(file, &fresh),
        None => Ok(()),
    }
}

/// The same of all these tables, by the server's names.
pub(crate) fn forget_all(
    file: &mut File,
    tables: &[Paired],
    names: &[String],
) -> Result<(), Error> {
    for paired in tables {
        if paired
            .server
            .as_ref()
            .is_ok_and(|name| names.contains(name))
        {
            forget(file, paired.local.number)?;
        }
    }
    Ok(())
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
