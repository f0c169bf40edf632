//! The tables of the simulation: their columns, and the values that are written to them.

use serde_json::{Value as Json, json};

use super::plan::{Perils, Table};

/// How a column merges, in the simulation's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Later,
    Server,
    Client,
    Greatest,
    Least,
    Count,
    Set,
    Hold,
    Words,
    Members,
}

impl Rule {
    /// Whether it makes one value of two, which neither side had.
    pub(super) fn mixes(self) -> bool {
        [Rule::Count, Rule::Set, Rule::Words, Rule::Members].contains(&self)
    }
}

/// A column.
pub(super) struct Column {
    pub(super) name: &'static str,
    sql: &'static str,
    policy: &'static str,
    pub(super) rule: Rule,
    /// The columns that it means something together with, by the name of their group.
    pub(super) group: Option<&'static str>,
    /// Whether young tables lack it: it is added while clients are away.
    late: bool,
}

const fn column(name: &'static str, sql: &'static str, policy: &'static str, rule: Rule) -> Column {
    Column {
        name,
        sql,
        policy,
        rule,
        group: None,
        late: false,
    }
}

const fn of_group(group: &'static str, column: Column) -> Column {
    Column {
        group: Some(group),
        ..column
    }
}

const fn late(column: Column) -> Column {
    Column {
        late: true,
        ..column
    }
}

const NOTES: &[Column] = &[
    column("title", "TEXT", "last_writer_wins", Rule::Later),
    column("body", "TEXT", "last_writer_wins", Rule::Later),
    column("draft", "TEXT", "manual", Rule::Hold),
    column("stock", "INTEGER", "counter", Rule::Count),
    column("best", "INTEGER", "max", Rule::Greatest),
    late(column("story", "TEXT", "text", Rule::Words)),
    of_group(
        "place",
        column("north", "TEXT", "last_writer_wins", Rule::Later),
    ),
    of_group(
        "place",
        column("east", "TEXT", "last_writer_wins", Rule::Later),
    ),
];

const TASKS: &[Column] = &[
    column("title", "TEXT", "last_writer_wins", Rule::Later),
    column("state", "TEXT", "server_wins", Rule::Server),
    column("owner", "TEXT", "client_wins", Rule::Client),
    column("tags", "JSON", "set", Rule::Set),
    column("least", "INTEGER", "min", Rule::Least),
    late(column("facts", "JSON", "json", Rule::Members)),
    of_group("span", column("since", "TEXT", "client_wins", Rule::Client)),
    of_group("span", column("until", "TEXT", "client_wins", Rule::Client)),
];

impl Table {
    pub(super) const ALL: [Table; 2] = [Table::Notes, Table::Tasks];

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Notes => "notes",
            Table::Tasks => "tasks",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Table::Notes => NOTES,
            Table::Tasks => TASKS,
        }
    }

    /// The columns that it has, young or not.
    pub(super) fn columns_of(self, is_young: bool) -> impl Iterator<Item = &'static Column> {
        let columns = self.columns().iter();
        columns.filter(move |column| !is_young || !column.late)
    }

    /// Whether it lacks a column while it is young.
    pub(super) fn gets_later(self, name: &str) -> bool {
        let mut late = self.columns().iter().filter(|column| column.late);
        late.any(|column| column.name == name)
    }

    /// What makes an old one of a young one.
    pub(super) fn growth(self) -> String {
        let late = self.columns().iter().filter(|column| column.late);
        let late = late.map(|c| {
            let name = self.name();
            format!("ALTER TABLE {name} ADD COLUMN {} {};", c.name, c.sql)
        });
        late.collect()
    }

    /// The columns of its group, which is one.
    pub(super) fn group(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Table::Notes => ("place", ["north", "east"]),
            Table::Tasks => ("span", ["since", "until"]),
        }
    }

    /// How a column merges.
    pub(super) fn rule(self, name: &str) -> Rule {
        let known = self.columns().iter().find(|column| column.name == name);
        known.unwrap_or_else(|| panic!("{name}")).rule
    }

    /// Whether a later edit brings a deleted row back.
    pub(super) fn revives(self) -> bool {
        self == Table::Tasks
    }

    /// Whether a whole row that was written later wins a conflict; the server's does otherwise.
    pub(super) fn takes_later_rows(self) -> bool {
        self == Table::Notes
    }

    /// Whether the ledger has what bare writes replace, and bare hard deletes take away, of other clients.
    pub(super) fn records(self) -> bool {
        self == Table::Tasks
    }

    /// The column of which its database refuses values from this bound on, if there is one.
    pub(super) fn bounded(self) -> Option<(&'static str, i64)> {
        (self == Table::Notes).then_some(("best", 900))
    }

    /// As apps have it; they do not know the bound.
    pub(super) fn create(self, is_young: bool) -> String {
        self.create_with(is_young, "")
    }

    /// As the server has it, on PostgreSQL or not.
    pub(super) fn create_bounded(self, is_young: bool, is_served: bool) -> String {
        let bound = self.bounded();
        let check = bound.map(|(name, bound)| format!(", CHECK ({name} < {bound})"));
        let create = self.create_with(is_young, &check.unwrap_or_default());
        if is_served {
            of_postgres(&create)
        } else {
            create
        }
    }

    fn create_with(self, is_young: bool, check: &str) -> String {
        let columns = self.columns_of(is_young);
        let columns: String = columns.map(|c| format!(", {} {}", c.name, c.sql)).collect();
        format!(
            "CREATE TABLE {} (id UUID PRIMARY KEY NOT NULL{columns}{check})",
            self.name()
        )
    }

    /// Its part of the server's configuration.
    pub(super) fn configuration(self, perils: &Perils, is_young: bool) -> String {
        let hard_deletes = perils.hard_deletes;
        let after = if self.revives() {
            "revive"
        } else {
            "keep_deleted"
        };
        let columns = self.columns_of(is_young);
        let columns: String = columns
            .map(|c| format!("{} = '{}'\n", c.name, c.policy))
            .collect();
        let rows = if self.takes_later_rows() {
            "last_writer_wins"
        } else {
            "server_wins"
        };
        let blind = if self.records() { "record" } else { "trust" };
        let (name, (group, members)) = (self.name(), self.group());
        format!(
            "[tables.{name}]\nedit_after_delete = '{after}'\nrow_policy = '{rows}'\nblind_writes = '{blind}'\n\
             hard_delete = {hard_deletes}\ngroups = {{ {group} = {members:?} }}\n\
             [tables.{name}.columns]\n{columns}"
        )
    }

    /// The id that goes by a number: the same on every device.
    pub(super) fn id(self, row: u8) -> String {
        let table = self as u8;
        format!("018f0000-0000-7000-8000-0000{table:04x}{row:04x}")
    }
}

/// A statement about columns as PostgreSQL calls their types.
pub(super) fn of_postgres(sql: &str) -> String {
    sql.replace(" JSON", " JSONB")
}

impl Column {
    /// A new value, made from the one that stands there; `number` is another each time.
    pub(super) fn value(&self, writer: &str, number: u64, now: &Json) -> Json {
        match self.rule {
            Rule::Later | Rule::Server | Rule::Client | Rule::Hold if number.is_multiple_of(13) => {
                Json::Null
            }
            Rule::Later | Rule::Server | Rule::Client | Rule::Hold => {
                json!(format!("{writer}-{number}"))
            }
            Rule::Greatest | Rule::Least => json!(number * 7919 % 1000),
            Rule::Count => json!(now.as_i64().unwrap_or(0) + (number % 9) as i64 - 3),
            Rule::Set => {
                let mut items = now.as_array().cloned().unwrap_or_default();
                if items.len() > 2 && number.is_multiple_of(3) {
                    items.remove(number as usize % items.len());
                }
                let new = json!(number % 17);
                if !items.contains(&new) {
                    items.push(new);
                }
                Json::Array(items)
            }
            Rule::Words => story(writer, number, now),
            Rule::Members => facts(writer, number, now),
        }
    }
}

/// A text of five words, of which one or two are new, or all where there was none.
fn story(writer: &str, number: u64, now: &Json) -> Json {
    if number.is_multiple_of(29) {
        return Json::Null;
    }
    let before: Vec<&str> = now.as_str().unwrap_or_default().split(' ').collect();
    let is_rewritten = before.len() < 5 || number.is_multiple_of(11);
    let is_new = |at: u64| {
        is_rewritten || at == number % 5 || (number.is_multiple_of(4) && at == number / 4 % 5)
    };
    let words = (0..5).map(|at| match before.get(at as usize) {
        Some(word) if !is_new(at) => (*word).to_owned(),
        Some(_) | None => format!("{writer}-{number}.{at}"),
    });
    json!(words.collect::<Vec<String>>().join(" "))
}

/// A document of which a member or two are new or gone, or all are new where there was none.
fn facts(writer: &str, number: u64, now: &Json) -> Json {
    if number.is_multiple_of(29) {
        return Json::Null;
    }
    let new = |at: u64| json!(format!("{writer}-{number}.{at}"));
    let Json::Object(mut members) = now.clone() else {
        return json!({ "a": new(0), "b": new(1), "in": { "c": new(2), "d": [new(3), new(4)] } });
    };
    let within = members.entry("in").or_insert_with(|| json!({}));
    match number % 7 {
        0 => drop(members.remove("a")),
        1 | 2 => drop(members.insert("a".to_owned(), new(0))),
        3 => drop(members.insert("b".to_owned(), new(0))),
        4 => within["c"] = new(0),
        5 => within["d"] = json!([new(0), new(1)]),
        _ => {
            within["d"] = new(0);
            members.insert("b".to_owned(), new(1));
        }
    }
    Json::Object(members)
}

/// A row's id, and the values of its columns that are not NULL.
pub(super) type Given = (Table, String, Vec<(&'static str, Json)>);

/// The rows that are there before colsync is.
pub(super) fn adopted(is_young: bool) -> Vec<Given> {
    let rows = Table::ALL
        .into_iter()
        .flat_map(|table| (0..8).map(move |row| (table, row)));
    let rows = rows.map(|(table, row)| {
        let columns = table.columns().iter().take(usize::from(row) + 1);
        let columns = columns.filter(|column| !is_young || !column.late);
        let number = u64::from(row);
        let values =
            columns.map(|column| (column.name, column.value("before", number, &Json::Null)));
        (table, table.id(row), values.collect())
    });
    rows.collect()
}

/// A value as SQL writes it.
pub(super) fn literal(value: &Json) -> String {
    match value {
        Json::Null => "NULL".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("'{text}'"),
        other => format!("'{other}'"),
    }
}
