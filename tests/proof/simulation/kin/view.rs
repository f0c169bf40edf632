//! A database's rows of these tables, and what they mean.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Column, Kind};
use crate::simulation::database::Database;
use crate::simulation::tables::literal;

/// A row by its columns' names.
pub(crate) type Row = BTreeMap<&'static str, Json>;

/// All rows of them in a database.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct View {
    rows: BTreeMap<Kind, Vec<Row>>,
    /// All that the server has: what a row points to may be gone from a file.
    there: Option<Box<View>>,
}

impl View {
    /// Those of which `is_alive` holds.
    pub(crate) fn read(file: &mut Database, is_alive: &str) -> View {
        let rows = Kind::ALL.into_iter().map(|kind| {
            let columns = kind.columns();
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            let key: Vec<&str> = kind.key().iter().map(|column| column.name).collect();
            let sql = format!(
                "SELECT json_array({}) FROM {} WHERE {is_alive} ORDER BY {}",
                names.join(", "),
                kind.name(),
                key.join(", "),
            );
            let lines = file.lines(&sql, &[]).into_iter();
            let rows = lines.map(|line| {
                let values = line.as_array().cloned().unwrap_or_default();
                names.iter().copied().zip(values).collect()
            });
            (kind, rows.collect())
        });
        View {
            rows: rows.collect(),
            there: None,
        }
    }

    /// What the server had when this was read.
    pub(crate) fn there(&self) -> Option<&View> {
        self.there.as_deref()
    }

    /// With those that `there` has, by which numbers are looked up that mean nothing here.
    pub(crate) fn beside(self, there: View) -> View {
        View {
            there: Some(Box::new(there)),
            ..self
        }
    }

    /// Adds the rows under numbers that it does not know.
    pub(crate) fn remember(&mut self, view: &View) {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_numbered()) {
            let known = self.rows.entry(kind).or_default();
            for row in view.of(kind) {
                if known.iter().all(|known| known["id"] != row["id"]) {
                    known.push(row.clone());
                }
            }
        }
    }

    /// Adds a row that is nowhere any more.
    pub(crate) fn remember_gone(&mut self, kind: Kind, number: i64, mark: &str) {
        let mut row: Row = kind
            .columns()
            .iter()
            .map(|c| (c.name, Json::Null))
            .collect();
        row.extend([("id", json!(number)), ("mark", json!(mark))]);
        self.rows.entry(kind).or_default().push(row);
    }

    pub(crate) fn of(&self, kind: Kind) -> &[Row] {
        self.rows.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The row at a place, if there is any; places go round.
    pub(crate) fn at(&self, kind: Kind, place: u8) -> Option<&Row> {
        let rows = self.of(kind);
        rows.get(usize::from(place).checked_rem(rows.len())?)
    }

    /// The row that goes by a number.
    fn numbered(&self, kind: Kind, number: &Json) -> Option<&Row> {
        let own = self.of(kind).iter().find(|row| row["id"] == *number);
        own.or_else(|| self.there.as_ref()?.numbered(kind, number))
    }

    /// Whether a row points to a number that the server gave it, and that a new row of this file has taken since: until
    /// the next sync its app cannot tell which is meant.
    pub(crate) fn is_unclear(&self, kind: Kind, row: &Row) -> bool {
        let Some(there) = &self.there else {
            return false;
        };
        let known = there
            .of(kind)
            .iter()
            .filter(|known| kind.is_same(known, row) || known["mark"] == row["mark"]);
        let mut known = known.collect::<Vec<_>>().into_iter();
        known.any(|known| {
            let mut targets = kind
                .columns()
                .iter()
                .filter_map(|c| Some((c.name, c.target?)));
            targets.any(|(name, target)| {
                let mark = |view: &View| {
                    view.numbered(target, &row[name])
                        .map(|row| row["mark"].clone())
                };
                known[name] == row[name] && mark(self) != mark(there)
            })
        })
    }

    /// The row under a key, as the wire has it.
    pub(crate) fn under(&self, kind: Kind, id: &str) -> Option<&Row> {
        self.of(kind).iter().find(|row| kind.id(row) == id)
    }

    /// What a row is known by wherever it is; none if it is called by a row that is not there.
    pub(crate) fn identity(&self, kind: Kind, row: &Row) -> Option<String> {
        Some(match kind {
            Kind::Owners | Kind::Pets => row["mark"].as_str()?.to_owned(),
            Kind::Walks => {
                let owner = self.numbered(Kind::Owners, &row["owner"])?;
                let pet = self.numbered(Kind::Pets, &row["pet"])?;
                let (owner, pet) = (owner["mark"].as_str()?, pet["mark"].as_str()?);
                format!("{owner}+{pet}")
            }
            Kind::Labels => row["code"].as_str()?.to_owned(),
        })
    }

    /// What the row under a key is known by, as far as that can be told of one that is gone.
    pub(crate) fn named(&self, kind: Kind, id: &str) -> Option<String> {
        let number = |text: &str| text.parse::<i64>().ok().map(Json::from);
        match kind {
            Kind::Owners | Kind::Pets => self.identity(kind, self.numbered(kind, &number(id)?)?),
            Kind::Walks => {
                let (owner, pet) = id.split_once(',')?;
                let row = Row::from([("owner", number(owner)?), ("pet", number(pet)?)]);
                self.identity(kind, &row)
            }
            Kind::Labels => Some(id.to_owned()),
        }
    }

    /// What a column of a row means that points to `number`; none where it points to nothing that is there.
    pub(crate) fn pointer(
        &self,
        kind: Kind,
        identity: &str,
        name: &str,
        number: &Json,
    ) -> Option<String> {
        let columns = kind.columns().iter();
        let target = columns.filter(|column| column.name == name);
        let target = target.filter_map(|column| column.target).next()?;
        let to = self.numbered(target, number)?["mark"].as_str()?;
        Some(format!("{identity}.{name}={to}"))
    }

    /// Whether any row points to this one.
    pub(crate) fn is_pointed_to(&self, kind: Kind, row: &Row) -> bool {
        Kind::ALL.into_iter().any(|from| {
            let columns = from.columns().iter();
            let mut columns = columns.filter(|column| column.target == Some(kind));
            columns.any(|column| {
                self.of(from)
                    .iter()
                    .any(|known| known[column.name] == row["id"])
            })
        })
    }

    /// A number for a new row, where the next one is that of a row that is gone and that others still point to.
    pub(crate) fn free(&self, kind: Kind) -> Option<i64> {
        let numbers = self.of(kind).iter().filter_map(|row| row["id"].as_i64());
        let next = numbers.max().unwrap_or(0).max(0) + 1;
        let of_kind = |c: &&Column| c.target == Some(kind);
        let pointing = Kind::ALL.into_iter().flat_map(|from| {
            let columns = from.columns().iter().filter(of_kind);
            columns.flat_map(move |c| self.of(from).iter().filter_map(|row| row[c.name].as_i64()))
        });
        let highest = pointing.max().filter(|highest| *highest >= next)?;
        Some(highest + 1)
    }

    /// All that a row of this identity points to.
    pub(crate) fn pointers(&self, kind: Kind, identity: &str, row: &Row) -> Vec<String> {
        let columns = kind.columns().iter();
        let pointers =
            columns.filter_map(|c| self.pointer(kind, identity, c.name, row.get(c.name)?));
        pointers.collect()
    }
}

/// The condition under which SQL finds a row.
pub(crate) fn is_row(kind: Kind, row: &Row) -> String {
    let parts = kind.key().iter();
    let parts = parts.map(|c| format!("{} = {}", c.name, literal(&row[c.name])));
    parts.collect::<Vec<_>>().join(" AND ")
}
