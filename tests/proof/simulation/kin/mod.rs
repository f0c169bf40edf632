//! Rows that point to each other, under integer keys that the server makes, and keys that apps change.
//!
//! The reference knows nothing of these tables: what is called by one number on a device and by another at the server
//! cannot be told beforehand. They are held to what their writers meant, at the end. A row is known by a mark that is
//! written once and never changed, and what it points to by the mark of that row: of all that was meant, each must be
//! current, replaced in view, in the ledger, or refused; and what nobody meant must be nowhere.

mod view;

use std::collections::{BTreeSet, HashSet};

use serde_json::Value as Json;

use super::database::Database;
use super::plan::{Perils, Table};
pub(super) use view::{Row, View, is_row};

/// A table of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Owners,
    /// Each may point to an owner, and to one of their own.
    Pets,
    /// Their key is an owner and a pet.
    Walks,
    /// Their key is a text, which apps change.
    Labels,
}

/// A column of them: how it is declared, and what it points to.
pub(super) struct Column {
    pub(super) name: &'static str,
    sql: &'static str,
    pub(super) target: Option<Kind>,
}

const fn column(name: &'static str, sql: &'static str) -> Column {
    Column {
        name,
        sql,
        target: None,
    }
}

const fn to(target: Kind, name: &'static str, sql: &'static str) -> Column {
    Column {
        name,
        sql,
        target: Some(target),
    }
}

const OWNERS: &[Column] = &[
    column("id", "INTEGER PRIMARY KEY"),
    column("mark", "TEXT"),
    column("name", "TEXT"),
    to(Kind::Pets, "favourite", "INTEGER REFERENCES pets(id)"),
    column("tag", "TEXT UNIQUE"),
];

const PETS: &[Column] = &[
    column("id", "INTEGER PRIMARY KEY"),
    column("mark", "TEXT"),
    column("name", "TEXT"),
    to(Kind::Owners, "owner", "INTEGER REFERENCES owners(id)"),
    to(Kind::Pets, "mother", "INTEGER REFERENCES pets(id)"),
];

const WALKS: &[Column] = &[
    to(
        Kind::Owners,
        "owner",
        "INTEGER NOT NULL REFERENCES owners(id)",
    ),
    to(Kind::Pets, "pet", "INTEGER NOT NULL REFERENCES pets(id)"),
    column("mark", "TEXT"),
    column("name", "TEXT"),
];

const LABELS: &[Column] = &[
    column("code", "TEXT PRIMARY KEY NOT NULL"),
    column("mark", "TEXT"),
    column("name", "TEXT"),
    to(Kind::Pets, "pet", "INTEGER REFERENCES pets(id)"),
    column("tag", "TEXT UNIQUE"),
];

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Owners, Kind::Pets, Kind::Walks, Kind::Labels];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Owners => "owners",
            Kind::Pets => "pets",
            Kind::Walks => "walks",
            Kind::Labels => "labels",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Kind::Owners => OWNERS,
            Kind::Pets => PETS,
            Kind::Walks => WALKS,
            Kind::Labels => LABELS,
        }
    }

    /// The columns of its key.
    pub(super) fn key(self) -> &'static [Column] {
        match self {
            Kind::Walks => &WALKS[..2],
            Kind::Owners | Kind::Pets | Kind::Labels => &self.columns()[..1],
        }
    }

    /// Whether the server makes its keys.
    pub(super) fn is_numbered(self) -> bool {
        matches!(self, Kind::Owners | Kind::Pets)
    }

    pub(super) fn is_key(self, name: &str) -> bool {
        self.key().iter().any(|column| column.name == name)
    }

    /// A row's key, as the wire has it.
    pub(super) fn id(self, row: &Row) -> String {
        let parts = self.key().iter().map(|column| match &row[column.name] {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        });
        parts.collect::<Vec<_>>().join(",")
    }

    /// Whether two rows have one key.
    pub(super) fn is_same(self, one: &Row, other: &Row) -> bool {
        self.key()
            .iter()
            .all(|column| one[column.name] == other[column.name])
    }

    pub(super) fn create(self) -> String {
        let columns = self.columns().iter();
        let mut parts: Vec<String> = columns.map(|c| format!("{} {}", c.name, c.sql)).collect();
        if self == Kind::Walks {
            parts.push("PRIMARY KEY (owner, pet)".to_owned());
        }
        format!("CREATE TABLE {} ({})", self.name(), parts.join(", "))
    }

    /// The table where no number is given twice.
    pub(super) fn create_counting(self) -> String {
        let counts = "INTEGER PRIMARY KEY AUTOINCREMENT";
        self.create().replace("INTEGER PRIMARY KEY", counts)
    }

    /// The same, which takes what points to rows that are not there (yet).
    pub(super) fn create_unchecked(self) -> String {
        let mut create = self.create_counting();
        for kind in Kind::ALL {
            create = create.replace(&format!(" REFERENCES {}(id)", kind.name()), "");
        }
        create
    }

    /// The same on PostgreSQL.
    pub(super) fn create_served(self) -> String {
        let counts = "INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY";
        self.create_unchecked()
            .replace("INTEGER PRIMARY KEY AUTOINCREMENT", counts)
    }

    /// What has PostgreSQL check what its rows point to, once all tables are there.
    pub(super) fn checks(self) -> impl Iterator<Item = String> {
        let columns = self.columns().iter();
        columns.filter_map(move |column| {
            let (table, target) = (self.name(), column.target?.name());
            let name = column.name;
            Some(format!(
                "ALTER TABLE {table} ADD FOREIGN KEY ({name}) REFERENCES {target} (id)"
            ))
        })
    }

    /// Its part of the server's configuration.
    pub(super) fn configuration(self, perils: &Perils) -> String {
        let groups = match self {
            Kind::Pets if perils.grouped => "groups = { home = ['owner', 'mother'] }\n",
            _ => "",
        };
        let (name, hard_deletes) = (self.name(), perils.hard_deletes);
        format!("[tables.{name}]\nhard_delete = {hard_deletes}\n{groups}")
    }
}

/// All names of tables, with these or without.
pub(super) fn names(has_kin: bool) -> Vec<String> {
    let kin = Kind::ALL.iter().filter(|_| has_kin);
    let kin = kin.map(|kind| kind.name().to_owned());
    let others = Table::ALL.iter().map(|table| table.name().to_owned());
    others.chain(kin).collect()
}

/// What somebody does to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act {
    /// The device, or a program with SQL at the server.
    pub(super) by: Option<usize>,
    /// Whether that program asks the server instead.
    pub(super) asks: bool,
    pub(super) what: What,
    pub(super) place: u8,
    pub(super) other: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Make(Kind),
    /// Gives another name.
    Name(Kind),
    /// Gives an owner or a label a tag, which no two of them may have.
    Tag(Kind),
    /// Has a row point elsewhere.
    Point(Kind),
    /// Gives another key.
    Key(Kind),
    Delete(Kind),
    /// Takes back what was done to one of them.
    Undo,
    /// Has one of the refused edits made again.
    Retry,
    /// Gives one of them up.
    Discard,
}

/// What was meant.
#[derive(Debug, Default)]
pub(super) struct Meant {
    /// What rows were ever to point to, as [`View::pointer`] tells it.
    pub(super) pointers: HashSet<String>,
    /// Where the server's database may have rows no more: what it ever gave its numbers to. It gives none twice then.
    numbers: Option<View>,
    /// Otherwise: new rows that were given up. Others of their device go on pointing to them.
    given_up: View,
    /// Rows that were made, and rows that were deleted.
    made: BTreeSet<(Kind, String)>,
    deleted: BTreeSet<(Kind, String)>,
}

impl Meant {
    pub(super) fn new(forgets_rows: bool) -> Meant {
        Meant {
            numbers: forgets_rows.then(View::default),
            ..Meant::default()
        }
    }

    /// What the server has now, and what its numbers meant before.
    pub(super) fn there(&mut self, server: &mut Database) -> View {
        let there = View::read(server, "true");
        match &mut self.numbers {
            Some(numbers) => {
                numbers.remember(&there);
                there.beside(numbers.clone())
            }
            None => there.beside(self.given_up.clone()),
        }
    }

    /// Notes what the server's numbers mean, where it may have them no more later.
    pub(super) fn note(&mut self, server: &mut Database) {
        if let Some(numbers) = &mut self.numbers {
            numbers.remember(&View::read(server, "true"));
        }
    }

    /// A new row was given up under a number that no server made.
    pub(super) fn give_up(&mut self, kind: Kind, number: i64, row: &str) {
        let known = self.numbers.as_mut().unwrap_or(&mut self.given_up);
        known.remember_gone(kind, number, row);
    }

    pub(super) fn make(&mut self, kind: Kind, row: &str) {
        self.made.insert((kind, row.to_owned()));
    }

    pub(super) fn delete(&mut self, kind: Kind, row: &str) {
        self.deleted.insert((kind, row.to_owned()));
    }

    /// Whether anyone ever made it.
    pub(super) fn has_made(&self, kind: Kind, row: &str) -> bool {
        self.made.contains(&(kind, row.to_owned()))
    }

    /// Whether anyone ever deleted a row of this mark.
    pub(super) fn has_deleted(&self, mark: &str) -> bool {
        let kinds = [Kind::Owners, Kind::Pets];
        kinds
            .into_iter()
            .any(|kind| self.deleted.contains(&(kind, mark.to_owned())))
    }

    /// Rows that nobody deleted.
    pub(super) fn kept(&self) -> impl Iterator<Item = &(Kind, String)> {
        self.made.difference(&self.deleted)
    }
}
