//! What other programs ask the server for: bare requests.

use serde_json::{Map, Value as Json};

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::journal::Writer;
use crate::simulation::plan::{Based, Table};
use crate::simulation::reference::{NOBODY, is_by};
use crate::simulation::scene::Scene as _;
use crate::simulation::wire::Sent;

/// Of rows at the server: that they are not deleted.
pub(super) const IS_ALIVE: &str = "sync_deleted_at IS NULL";

/// An object of these columns, as a body.
fn document(values: &[(&'static str, Json)]) -> Vec<u8> {
    let members = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    let members: Map<String, Json> = members.collect();
    Json::Object(members).to_string().into_bytes()
}

impl World {
    pub(super) fn new_values(
        &mut self,
        table: Table,
        mask: u8,
        now: &Columns,
    ) -> Vec<(&'static str, Json)> {
        let columns = table.columns().iter().enumerate();
        let is_young = self.server.database.is_young();
        let named = columns.filter(|(at, column)| mask & (1 << at) != 0 && column.name != "stock");
        let named = named.filter(|(_, column)| !is_young || !table.gets_later(column.name));
        let values = named.map(|(_, column)| {
            self.cast.written += 1;
            let before = now.get(column.name).unwrap_or(&Json::Null);
            (
                column.name,
                column.value("there", self.cast.written, before),
            )
        });
        values.collect()
    }

    pub(super) fn patch(
        &mut self,
        table: Table,
        place: u8,
        mask: u8,
        based: Based,
    ) -> Result<(), String> {
        let Some((id, now, values)) = self.chosen(table, place, mask)? else {
            return Ok(());
        };
        let body = document(&values);
        let since = self.cast.journal.now();
        self.note_write((table, &id), &now, &values, (NOBODY, based));
        self.rest("PATCH", table, &id, body, (based, since))
    }

    pub(super) fn put(
        &mut self,
        table: Table,
        place: u8,
        mask: u8,
        based: Based,
    ) -> Result<(), String> {
        let Some((id, now, named)) = self.chosen(table, place, mask)? else {
            return Ok(());
        };
        let body = document(&named);
        let mut row: Columns = table
            .columns()
            .iter()
            .map(|c| (c.name, Json::Null))
            .collect();
        row.extend(named);
        let since = self.cast.journal.now();
        let values: Vec<_> = row.into_iter().collect();
        self.note_write((table, &id), &now, &values, (NOBODY, based));
        self.cast.count("whole row put");
        self.rest("PUT", table, &id, body, (based, since))
    }

    pub(super) fn rest_delete(&mut self, table: Table, place: u8) -> Result<(), String> {
        let Some((id, _)) = self.free_row(table, IS_ALIVE, place)? else {
            return Ok(());
        };
        self.cast.journal.delete(table, &id);
        let since = self.cast.journal.now();
        self.rest("DELETE", table, &id, Vec::new(), (None, since))
    }

    /// Notes what a program writes over what a row has now. What it had not in view, and has not written itself, must not
    /// be missing afterwards; a bare write is taken for one that had, where its table does not record what such a one replaces.
    pub(super) fn note_write(
        &mut self,
        (table, id): (Table, &str),
        now: &Columns,
        values: &[(&'static str, Json)],
        (client, based): (&str, Based),
    ) {
        let row = self.server.reference.rows.get(&(table, id.to_owned()));
        let cells = row.into_iter().flat_map(|row| {
            let base = based.map(|back| row.version - i64::from(back));
            let cells = row.cells.iter();
            cells.map(move |(name, cell)| {
                let is_own = is_by(cell.stamp.as_ref(), client);
                (
                    *name,
                    is_own || base.is_some_and(|base| cell.version <= base.max(0)),
                )
            })
        });
        let is_trusted = based.is_none() && !table.records();
        let unseen = cells.filter(|(_, seen)| !seen && !is_trusted);
        let unseen: Vec<&'static str> = unseen.map(|(name, _)| name).collect();
        self.cast
            .journal
            .write_over_unseen(Writer::There, (table, id), (now, &unseen), values);
    }

    /// A program that knows no sync: it names nobody, and perhaps the version that it saw.
    fn rest(
        &mut self,
        method: &str,
        table: Table,
        id: &str,
        body: Vec<u8>,
        (based, since): (Based, usize),
    ) -> Result<(), String> {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        if let Some(back) = based {
            let version = self.server.reference.rows[&(table, id.to_owned())].version;
            let version = (version - i64::from(back)).max(0);
            headers.push(("If-Match".to_owned(), format!("\"{version}\"")));
        }
        let sent = Sent {
            method: method.to_owned(),
            path: format!("/v1/tables/{}/rows/{id}", table.name()),
            headers,
            body,
        };
        self.cast.count("bare write");
        if self.deliver(&sent)?.is_none() {
            // Nobody was told that it was accepted, and it may not be.
            self.cast.journal.was_not_accepted(Writer::There, since);
        }
        Ok(())
    }
}
