//! Writes of rows that point to each other: with SQL, or by a program that knows no sync.

use serde_json::{Map, Value as Json, json};

use super::World;
use crate::simulation::kin::{Act, Kind, Row, is_row};
use crate::simulation::scene::Scene as _;
use crate::simulation::tables::literal;
use crate::simulation::wire::Sent;

/// What is done to a row.
pub(super) enum Change<'a> {
    Make(&'a Row),
    /// A column is given another value.
    Set(&'a Row, &'static str, &'a Json),
    End(&'a Row),
}

/// What databases say of a row that points to one that is not there, or whose tag another has.
const REFUSALS: [&str; 4] = ["FOREIGN KEY", ".tag", "foreign key constraint", "_tag_key"];

impl World {
    /// Does it; whether the database took it. A row can point to one that others have deleted, and an app that has
    /// foreign keys checked cannot write such a row; nor one whose tag another row has.
    pub(super) fn write(
        &mut self,
        act: Act,
        kind: Kind,
        change: Change<'_>,
    ) -> Result<bool, String> {
        let names_key = matches!(change, Change::Set(_, name, _) if kind.is_key(name));
        if act.by.is_none() && act.asks && !names_key {
            let taken = self.ask(&request(kind, &change))?;
            return Ok(taken.unwrap_or_else(|| self.is_done(kind, &change)));
        }
        match self.kin_file(act.by).0.execute(&sql(kind, &change)) {
            Err(refused) if REFUSALS.iter().any(|why| refused.contains(why)) => return Ok(false),
            done => done?,
        }
        self.cast.count(match act.by {
            Some(_) => "related row written",
            None => "related row written there",
        });
        Ok(true)
    }

    /// Asks the server; whether it took it, if it did not die of it.
    fn ask(&mut self, sent: &Sent) -> Result<Option<bool>, String> {
        self.cast.count("related row asked for");
        let Some(mut answer) = self.deliver(sent)? else {
            return Ok(None);
        };
        while self
            .server
            .go_on(&mut answer)?
            .is_some_and(|goes_on| goes_on)
        {}
        match answer.status {
            200 | 201 => Ok(Some(true)),
            404 | 409 | 410 | 422 => Ok(Some(false)),
            other => Err(format!("{} is answered {other}", sent.told())),
        }
    }

    /// Whether the server's database has it so.
    fn is_done(&mut self, kind: Kind, change: &Change<'_>) -> bool {
        let now = self.view(None);
        let mut rows = now.of(kind).iter();
        match change {
            Change::Make(made) => rows.any(|row| row["mark"] == made["mark"]),
            Change::Set(of, name, value) => {
                rows.any(|row| kind.is_same(row, of) && row[name] == **value)
            }
            Change::End(of) => !rows.any(|row| kind.is_same(row, of)),
        }
    }
}

fn sql(kind: Kind, change: &Change<'_>) -> String {
    let table = kind.name();
    match change {
        Change::Make(row) => {
            let values = row.iter().map(|(name, value)| (*name, literal(value)));
            let (names, values): (Vec<_>, Vec<_>) = values.unzip();
            let (names, values) = (names.join(", "), values.join(", "));
            format!("INSERT INTO {table} ({names}) VALUES ({values})")
        }
        Change::Set(row, name, value) => {
            let (value, is_row) = (literal(value), is_row(kind, row));
            format!("UPDATE {table} SET {name} = {value} WHERE {is_row}")
        }
        Change::End(row) => format!("DELETE FROM {table} WHERE {}", is_row(kind, row)),
    }
}

fn request(kind: Kind, change: &Change<'_>) -> Sent {
    let rows = format!("/v1/tables/{}/rows", kind.name());
    let of = |row: &Row| format!("{rows}/{}", kind.id(row));
    let (method, path, columns) = match change {
        Change::Make(row) => {
            let columns = row.iter().map(|(name, v)| ((*name).to_owned(), v.clone()));
            ("POST", rows, Some(Map::from_iter(columns)))
        }
        Change::Set(row, name, value) => {
            let columns = [((*name).to_owned(), (*value).clone())];
            ("PATCH", of(row), Some(Map::from_iter(columns)))
        }
        Change::End(row) => ("DELETE", of(row), None),
    };
    let json = ("Content-Type".to_owned(), "application/json".to_owned());
    Sent {
        method: method.to_owned(),
        path,
        headers: vec![json],
        body: columns.map_or_else(Vec::new, |columns| json!(columns).to_string().into_bytes()),
    }
}
