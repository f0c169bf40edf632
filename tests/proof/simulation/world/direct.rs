//! What other programs do at the server with plain SQL, at once or in transactions that they leave open.

use serde_json::Value as Json;

use super::World;
use super::there::IS_ALIVE;
use crate::simulation::database::{Columns, Opened};
use crate::simulation::device;
use crate::simulation::journal::Writer;
use crate::simulation::plan::{Direct, Table};
use crate::simulation::server::Sent;

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
            self.let_go(0, true)?;
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
        self.count("transaction left open");
        self.compare()
            .map_err(|why| format!("what is not committed is seen: {why}"))
    }

    /// One of the open transactions comes to its end.
    pub(super) fn let_go(&mut self, which: u8, commits: bool) -> Result<(), String> {
        let Some(at) = usize::from(which).checked_rem(self.held.len()) else {
            return Ok(());
        };
        let held = self.held.remove(at);
        if !commits {
            drop(held.opened);
            self.count("transaction rolled back");
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
            self.let_go(0, true)?;
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
            self.let_go(u8::try_from(at).unwrap_or_default(), true)?;
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
        self.let_go(u8::try_from(at).unwrap_or_default(), true)?;
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
                let what = What::Update(now, values);
                let statement = Statement { table, id, what };
                let writes =
                    matches!(&statement.what, What::Update(_, values) if !values.is_empty());
                Ok(writes.then_some(statement))
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
        let Statement { table, id, what } = statement;
        let place = (table, id.as_str());
        let writer = Writer::There;
        match &what {
            What::Insert(values) => {
                self.journal.make(table, &id);
                self.journal
                    .write_row(writer, place, &Columns::new(), values);
            }
            What::Update(now, values) => self.journal.write_row(writer, place, now, values),
            What::Delete(now) => {
                now.values().for_each(|value| self.journal.see(value));
                self.journal.delete(table, &id);
            }
        }
        let (reference, key) = (&mut self.server.reference, (table, id));
        match &what {
            What::Insert(values) => reference.direct_insert(&key, values, at),
            What::Update(_, values) => reference.direct_update(&key, values, at),
            What::Delete(_) => reference.direct_delete(&key),
        }
        self.count("direct write");
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
