//! What administrators decide about entries of the ledger.

use serde_json::{Value as Json, json};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::journal::Writer;
use crate::simulation::plan::Table;
use crate::simulation::scene::Scene as _;
use crate::simulation::server::{ADMIN_TOKEN, plain};
use crate::simulation::tables::Rule;
use crate::simulation::wire::Sent;

const ENTRIES: &str = "SELECT json_array(id, table_name, row_id, kind, column_name, state, json(kept), json(lost)) \
     FROM colsync_conflicts WHERE table_name IN ('notes', 'tasks') ORDER BY rowid";

impl World {
    /// An administrator decides about an entry, mostly one that has no decision yet.
    pub(super) fn decide(&mut self, which: u8, how: u8) -> Result<(), String> {
        let mut entries = self.server.database.lines(ENTRIES, &[]);
        if !(how / 4).is_multiple_of(4) {
            entries.retain(|entry| entry[5] != "resolved");
        }
        let Some(at) = usize::from(which).checked_rem(entries.len()) else {
            return Ok(());
        };
        let entry = entries.swap_remove(at);
        let table = Table::of_name(entry[1].as_str().unwrap()).unwrap();
        let is_count = entry[4]
            .as_str()
            .is_some_and(|name| entry[3] == "column" && table.rule(name) == Rule::Count);
        let since = self.cast.journal.now();
        let (what, decision) = match how % 4 {
            1 | 2 if !is_count => {
                self.note_decision(table, &entry, &entry[7]);
                ("promoted", json!({ "decision": "take_lost" }))
            }
            3 if !is_count => {
                let value = self.another(table, &entry, how);
                self.note_decision(table, &entry, &value);
                (
                    "another value",
                    json!({ "decision": "value", "value": value }),
                )
            }
            _ => ("kept", json!({ "decision": "keep" })),
        };
        let headers = [
            ("Content-Type", "application/json".to_owned()),
            ("Authorization", format!("Bearer {ADMIN_TOKEN}")),
        ];
        let sent = Sent {
            method: "POST".to_owned(),
            path: format!("/admin/v1/conflicts/{}/resolve", entry[0].as_str().unwrap()),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            body: decision.to_string().into_bytes(),
        };
        let conflicts = self.server.conflicts;
        let answer = self.deliver(&sent)?;
        match answer {
            Some(answer) if answer.status == 200 => {
                self.cast.count(match what {
                    "promoted" => "decision: promoted",
                    "kept" => "decision: kept",
                    _ => "decision: another value",
                });
                if self.server.conflicts > conflicts {
                    self.cast.count("decision over a change");
                }
            }
            Some(answer) => {
                if plain(&answer)["code"] == "already_resolved" {
                    self.cast.count("decision repeated");
                }
                self.take_back_note(&entry, since);
            }
            None => self.take_back_note(&entry, since),
        }
        Ok(())
    }

    /// What was noted of a decision that was not taken does not stand.
    fn take_back_note(&mut self, entry: &Json, since: usize) {
        let journal = &mut self.cast.journal;
        journal.was_not_accepted(Writer::There, since);
        journal.lose_count(entry[2].as_str().unwrap());
    }

    /// A value that is neither the one that was kept nor the one that lost.
    fn another(&mut self, table: Table, entry: &Json, how: u8) -> Json {
        self.cast.written += 1;
        let new = |name: &str, before: &Json, number: u64| {
            let column = table.columns().iter().find(|column| column.name == name);
            column.unwrap().value("admin", number, before)
        };
        match entry[3].as_str().unwrap() {
            "column" | "blind" => new(entry[4].as_str().unwrap(), &entry[6], self.cast.written),
            "group" => {
                let (_, members) = table.group();
                let named = members.iter().enumerate();
                // The second alone, or both.
                let named = named.filter(|(at, _)| *at == 1 || how > 128);
                let named = named.map(|(_, name)| {
                    self.cast.written += 1;
                    (
                        (*name).to_owned(),
                        new(name, &entry[6][*name], self.cast.written),
                    )
                });
                Json::Object(named.collect())
            }
            "constraint" => {
                let name = ["title", "best"][usize::from(how > 128)];
                let kept = entry[6].get(name).unwrap_or(&Json::Null);
                json!({ name: new(name, kept, self.cast.written) })
            }
            _ => json!({ "deleted": how > 128 }),
        }
    }

    /// Notes what a decision writes.
    fn note_decision(&mut self, table: Table, entry: &Json, value: &Json) {
        let id = entry[2].as_str().unwrap().to_owned();
        let kept = &entry[6];
        let named = |side: &Json| -> Columns {
            let columns = table.columns().iter().map(|column| column.name);
            let named = columns.filter_map(|name| Some((name, side.get(name)?.clone())));
            named.collect()
        };
        let (value, kept) = match entry[3].as_str().unwrap() {
            "column" | "blind" => {
                let name = entry[4].as_str().unwrap();
                (
                    named(&json!({ name: value })),
                    named(&json!({ name: kept })),
                )
            }
            "group" | "constraint" => (named(value), named(kept)),
            _ if value["deleted"] == json!(true) => return self.cast.journal.delete(table, &id),
            "row" => (named(&value["columns"]), named(&kept["columns"])),
            _ => return,
        };
        let values: Vec<_> = value.into_iter().collect();
        self.cast
            .journal
            .write_row(Writer::There, (table, &id), &kept, &values);
    }
}
