//! What other programs do at the server with plain SQL, at once or in transactions that they leave open.

use serde_json::Value as Json;

use super::World;
use super::there::IS_ALIVE;
use crate::simulation::database::{Columns, Opened};
use crate::simulation::device;
use crate::simulation::journal::Writer;
use crate::simulation::plan::{Direct, Table};
use crate::simulation::wire::Sent;

type Values = Vec<(&'static str, Json)>;

/// The most transactions that are open at a time.
const OPEN: usize = 3;

/// One statement about a row.
struct Statement {
    table: Table,
    id: String,
    what: What,
}

enum What {
    Insert(Values),
    /// What the row was, and what is written over it.
    Update(Columns, Values),
    /// What the row was.
    Delete(Columns),
}

/// A transaction that is not at its end.
pub(super) struct Held {
    statement: Statement,
    /// When it was written, as triggers have it.
    at: i64,
    opened: Opened,
}

impl Statement {
    fn sql(&self) -> String {
        let (table, id) = (self.table, self.id.as_str());
        match &self.what {
            What::Insert(values) => device::insertion(table, id, values),
            What::Update(_, values) => device::update(table, id, values),
            What::Delete(_) => format!("DELETE FROM {} WHERE id = '{id}'", table.name()),
        }
    }
}

impl World {
    /// Another program writes; nothing where that has no meaning.
    pub(super) fn direct(&mut self, direct: Direct) -> Result<(), String> {
        let Some(statement) = self.statement(direct)? else {
            return Ok(());
        };
        let sql = statement.sql();
        self.server.database.execute(&sql)?;
        self.has_written(statement, self.millis());
        self.compare().map_err(|why| format!("{sql}: {why}"))
    }

    /// Another program writes, and leaves its transaction open. Where there can be one writer at a time it does not.
    pub(super) fn hold(&mut self, direct: Direct) -> Result<(), String> {
        if !self.server.database.is_served() {
            return self.direct(direct);
        }
        if self.held.len() == OPEN {
            self.end_held(0, true)?;
        }
        let Some(statement) = self.statement(direct)? else {
            return Ok(());
        };
        let opened = self.server.database.open(&statement.sql())?;
        self.held.push(Held {
            statement,
            at: self.millis(),
            opened,
        });
        self.cast.count("transaction left open");
        self.compare()
            .map_err(|why| format!("what is not committed is seen: {why}"))
    }

    /// One of the open transactions comes to its end.
    pub(super) fn let_go(&mut self, which: u8, commits: bool) -> Result<(), String> {
        match usize::from(which).checked_rem(self.held.len()) {
            Some(at) => self.end_held(at, commits),
            None => Ok(()),
        }
    }

    fn end_held(&mut self, at: usize, commits: bool) -> Result<(), String> {
        let held = self.held.remove(at);
        if !commits {
            drop(held.opened);
            self.cast.count("transaction rolled back");
            return self.compare();
        }
        held.opened.commit();
        self.has_written(held.statement, held.at);
        self.compare()
            .map_err(|why| format!("a commit of what was written before: {why}"))
    }

    /// All of them do.
    pub(super) fn let_all_go(&mut self) -> Result<(), String> {
        while !self.held.is_empty() {
            self.end_held(0, true)?;
        }
        Ok(())
    }

    /// What a request writes does not wait for them.
    pub(super) fn let_go_for(&mut self, sent: &Sent) -> Result<(), String> {
        if self.held.is_empty() {
            return Ok(());
        }
        let told = sent.told();
        let is_named = |held: &Held| told.contains(&held.statement.id);
        while let Some(at) = self.held.iter().position(is_named) {
            self.end_held(at, true)?;
        }
        Ok(())
    }

    /// The row at a place of a table at the server, of which no transaction is open.
    pub(super) fn free_row(
        &mut self,
        table: Table,
        is_alive: &str,
        place: u8,
    ) -> Result<Option<(String, Columns)>, String> {
        loop {
            let found = self.server.database.at(table, is_alive, place);
            let Some((id, _)) = &found else {
                return Ok(None);
            };
            if !self.let_go_of(table, id)? {
                return Ok(found);
            }
        }
    }

    /// Ends the transaction that holds a row; whether there was one.
    fn let_go_of(&mut self, table: Table, id: &str) -> Result<bool, String> {
        let holds = |held: &Held| held.statement.table == table && held.statement.id == id;
        let Some(at) = self.held.iter().position(holds) else {
            return Ok(false);
        };
        self.end_held(at, true)?;
        Ok(true)
    }

    fn statement(&mut self, direct: Direct) -> Result<Option<Statement>, String> {
        match direct {
            Direct::Insert {
                table,
                row,
                columns,
            } => self.insertion(table, row, columns),
            Direct::Update {
                table,
                place,
                columns,
            } => {
                let Some((id, now, mut values)) = self.chosen(table, place, columns)? else {
                    return Ok(None);
                };
                values.retain(|value| is_taken(table, value));
                let writes = !values.is_empty();
                let what = What::Update(now, values);
                Ok(writes.then_some(Statement { table, id, what }))
            }
            Direct::Delete { table, place } => {
                let row = self.free_row(table, "true", place)?;
                Ok(row.map(|(id, now)| Statement {
                    table,
                    id,
                    what: What::Delete(now),
                }))
            }
        }
    }

    fn insertion(&mut self, table: Table, row: u8, mask: u8) -> Result<Option<Statement>, String> {
        let id = table.id(row);
        self.let_go_of(table, &id)?;
        if self.server.reference.row(table.name(), &id).is_some() {
            return Ok(None);
        }
        let mut values = self.new_values(table, mask, &Columns::new());
        values.retain(|value| is_taken(table, value));
        let what = What::Insert(values);
        Ok(Some(Statement { table, id, what }))
    }

    /// What a statement has done is committed; it was written at a time.
    fn has_written(&mut self, statement: Statement, at: i64) {
        let key = (statement.table, statement.id);
        let place = (key.0, key.1.as_str());
        let (journal, reference) = (&mut self.cast.journal, &mut self.server.reference);
        match &statement.what {
            What::Insert(values) => {
                journal.make(key.0, &key.1);
                journal.write_row(Writer::There, place, &Columns::new(), values);
                reference.direct_insert(&key, values, at);
            }
            What::Update(now, values) => {
                journal.write_row(Writer::There, place, now, values);
                reference.direct_update(&key, values, at);
            }
            What::Delete(now) => {
                now.values().for_each(|value| journal.see(value));
                journal.delete(key.0, &key.1);
                reference.direct_delete(&key);
            }
        }
        self.cast.count("direct write");
    }

    /// A row that is not deleted, as it is now, and new values of some of its columns.
    pub(super) fn chosen(
        &mut self,
        table: Table,
        place: u8,
        mask: u8,
    ) -> Result<Option<(String, Columns, Values)>, String> {
        let Some((id, now)) = self.free_row(table, IS_ALIVE, place)? else {
            return Ok(None);
        };
        let values = self.new_values(table, mask, &now);
        Ok((!values.is_empty()).then_some((id, now, values)))
    }
}

/// Whether the database takes a value.
fn is_taken(table: Table, (name, value): &(&'static str, Json)) -> bool {
    let bound = table.bounded().filter(|(bounded, _)| bounded == name);
    bound.is_none_or(|(_, bound)| value.as_i64().is_none_or(|value| value < bound))
}
