//! Parts: rows that point to notes, with a label that no two of them may have.

use super::manner::{Manner, Relations};
use crate::simulation::database::Columns;
use crate::simulation::plan::Table;

/// What an API has lists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    Of(Table),
    Parts,
}

/// The table of them.
pub(super) const PARTS: &str = "parts";

const COLUMNS: &[&str] = &["note", "name", "label"];

/// Labels that there are.
const LABELS: u8 = 6;

impl From<Table> for Resource {
    fn from(table: Table) -> Resource {
        Resource::Of(table)
    }
}

impl Resource {
    /// What is pointed to comes first.
    pub(super) const ALL: [Resource; 3] = [
        Resource::Of(Table::Notes),
        Resource::Of(Table::Tasks),
        Resource::Parts,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Resource::Of(table) => table.name(),
            Resource::Parts => PARTS,
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Resource> {
        Resource::ALL
            .into_iter()
            .find(|resource| resource.name() == name)
    }

    /// Its columns but for the id.
    pub(super) fn columns(self) -> Vec<&'static str> {
        match self {
            Resource::Of(table) => table.columns().iter().map(|column| column.name).collect(),
            Resource::Parts => COLUMNS.to_vec(),
        }
    }
}

/// What makes the table in an app's file: it minds what the API does, but for labels, which may be the API's alone.
pub(super) fn create(manner: &Manner) -> String {
    created(manner.relations != Relations::Loose, manner.is_unique_here)
}

/// All that may make it.
pub(super) fn all() -> [String; 4] {
    [(true, true), (true, false), (false, true), (false, false)]
        .map(|(points, is_unique)| created(points, is_unique))
}

fn created(points: bool, is_unique: bool) -> String {
    let references = if points { " REFERENCES notes(id)" } else { "" };
    let unique = if is_unique { " UNIQUE" } else { "" };
    format!(
        "CREATE TABLE {PARTS} (id UUID PRIMARY KEY NOT NULL, note UUID{references}, name TEXT, label TEXT{unique})"
    )
}

/// A query for them as they are in a file.
pub(super) fn selection() -> String {
    let columns = COLUMNS.join(", ");
    format!("SELECT json_array(id, {columns}) FROM {PARTS} ORDER BY id")
}

/// A row of that query.
pub(super) fn named(line: &serde_json::Value) -> (String, Columns) {
    let id = line[0].as_str().unwrap().to_owned();
    let columns = COLUMNS.iter().enumerate();
    let columns = columns.map(|(at, name)| (*name, line[at + 1].clone()));
    (id, columns.collect())
}

/// The id that goes by a number.
pub(super) fn id(number: u8) -> String {
    format!("018f0000-0000-7000-8002-00000000{:04x}", number % 16)
}

/// The label that goes by a number; none by some.
pub(super) fn label(number: u8) -> Option<String> {
    (!number.is_multiple_of(4)).then(|| format!("label {}", number % LABELS))
}
