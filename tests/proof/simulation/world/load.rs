//! A program that has no file of its own, and sends pushes and logs that it has written itself: to a server that it
//! trusts to repeat what it answered.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::journal::Writer;
use crate::simulation::plan::{Load, Loaded, Loading, Table};
use crate::simulation::reference::Row;
use crate::simulation::scene::Scene as _;
use crate::simulation::server::plain;
use crate::simulation::wire::Sent;

/// How often it sends what it has no answer to.
const TRIES: usize = 8;

/// Who it says it is, and what it has sent.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// How many names it had before: it takes a new one where the server does not know its pushes any more.
    names: u64,
    pushes: u64,
}

impl Program {
    fn client(&self) -> String {
        format!("0190b000-0000-7000-8000-{:012x}", self.names)
    }
}

impl World {
    pub(super) fn load(&mut self, load: &Load) -> Result<(), String> {
        let since = self.cast.journal.now();
        let mut written = HashMap::new();
        // No two are of one moment.
        let moments = (1..=load.edits.len() as i64).rev();
        let edits: Vec<Json> = load
            .edits
            .iter()
            .zip(moments)
            .map(|edit| self.loaded(edit, load.as_log, &mut written))
            .collect();
        self.program.pushes += 1;
        let (path, list) = if load.as_log {
            ("/v1/sync/log", "entries")
        } else {
            ("/v1/sync/push", "edits")
        };
        let body = json!({ "push": self.program.pushes, "atomic": load.atomic, list: edits });
        let headers = [
            ("Content-Type", "application/json".to_owned()),
            ("Client-Id", self.program.client()),
        ];
        let sent = Sent {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            body: body.to_string().into_bytes(),
        };
        self.cast.count("push of a program");
        let mut answer = None;
        for _ in 0..TRIES {
            answer = self.deliver(&sent)?;
            if answer.is_some() {
                break;
            }
            // A client that the database knows no more is noted again by and by.
            self.wait(10_000_000);
        }
        let answer = answer.ok_or("a program is never answered")?;
        self.cast.journal.was_not_accepted(Writer::There, since);
        if answer.status != 200 {
            // The database was put back, and has not what it was sent since.
            self.program.names += 1;
            self.program.pushes = 0;
            return Ok(());
        }
        let receipts = &plain(&answer)["receipts"];
        for receipt in receipts.as_array().into_iter().flatten() {
            if receipt["created"] == json!(true) {
                let table = Table::of_name(receipt["table"].as_str().unwrap()).unwrap();
                self.cast
                    .journal
                    .make(table, receipt["id"].as_str().unwrap());
            }
        }
        if load.again {
            self.cast.late.push(sent);
        }
        Ok(())
    }

    /// An edit as it is sent, of a moment so many µs earlier than it says.
    fn loaded(
        &mut self,
        (edit, before): (&Loaded, i64),
        as_log: bool,
        written: &mut HashMap<(Table, String), Columns>,
    ) -> Json {
        let table = edit.table;
        let key = (table, table.id(edit.row));
        let row = self.server.reference.rows.get(&key);
        let version = row.zip(edit.based);
        let version = version.map(|(row, back)| (row.version - i64::from(back)).max(0));
        let now = row.map(columns).unwrap_or_default();
        let mut sent = Map::from_iter([
            ("table".to_owned(), json!(table.name())),
            ("id".to_owned(), json!(key.1)),
        ]);
        let at =
            chrono::DateTime::from_timestamp_micros(self.cast.now - edit.ago - before).unwrap();
        sent.insert("at".to_owned(), json!(at.to_rfc3339()));
        if let Some(version) = version {
            sent.insert("base_version".to_owned(), json!(version));
        }
        let what = match edit.what {
            Loading::Make => "insert",
            Loading::Change => "update",
            Loading::Remove if as_log && self.hard_deletes => "hard_delete",
            Loading::Delete | Loading::Remove => "delete",
        };
        let name = if as_log { "action" } else { "op" };
        sent.insert(name.to_owned(), json!(what));
        if ["delete", "hard_delete"].contains(&what) {
            self.cast.journal.delete(table, &key.1);
            let own = written.entry(key).or_default();
            let ended = now.values().chain(own.values());
            ended.for_each(|value| self.cast.journal.see(value));
            return Json::Object(sent);
        }
        let earlier = written.get(&key);
        let mask = whole_group(table, edit.columns, earlier.is_some());
        let values = self.new_values(table, mask, &now);
        // It knows what it has written itself.
        let own = values.iter().filter_map(|(name, _)| earlier?.get(name));
        own.for_each(|value| self.cast.journal.see(value));
        let client = self.program.client();
        // And an earlier edit of the push may have told what it had in view.
        let based = if earlier.is_some() {
            Some(0)
        } else {
            edit.based
        };
        self.note_write((table, &key.1), &now, &values, (&client, based));
        written
            .entry(key)
            .or_default()
            .extend(values.iter().cloned());
        let columns = values.into_iter().map(|(name, value)| {
            let value = if as_log {
                value
            } else {
                json!({ "value": value })
            };
            (name.to_owned(), value)
        });
        sent.insert("columns".to_owned(), Json::Object(columns.collect()));
        Json::Object(sent)
    }
}

fn columns(row: &Row) -> Columns {
    let cells = row.cells.iter();
    cells
        .map(|(name, cell)| (*name, cell.value.clone()))
        .collect()
}

/// Columns to change; of a row that the same push has written before, all of the group or none of it: what it finds
/// there depends on what became of the earlier edit.
fn whole_group(table: Table, mask: u8, is_again: bool) -> u8 {
    let (_, members) = table.group();
    let columns = table.columns().iter().enumerate();
    let group = columns.filter(|(_, column)| members.contains(&column.name));
    let group: u8 = group.map(|(at, _)| 1 << at).sum();
    if is_again && mask & group != 0 {
        mask | group
    } else {
        mask
    }
}
