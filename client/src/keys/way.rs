//! Keeping local ids out of the way of the server's: before numbers of the server's are written into the file, rows
//! that are called by the same ones here are called otherwise. What the server says never means a local id.

use std::collections::BTreeSet;

use colsync_shared::sqlite::Stored;
use serde_json::Value as Json;

use super::locals::Standing;
use super::reused::tell_all_apart;
use super::shift::{self, Since};
use super::{Links, Locals, number};
use crate::error::Error;
use crate::file::File;
use crate::inbox::line::{Change, What};
use crate::inbox::{held, write};
use crate::outbox::edit::WireEdit;
use crate::outbox::fold::Folded;
use crate::outbox::history;
use crate::pairing::Paired;
use crate::table::{RowId, RowRef};

/// Rows that were given another local id: before and now.
pub(crate) type Moved = Vec<(RowRef, RowRef)>;

/// Numbers of the server's, each as a key of a table.
#[derive(Default)]
struct Servers(BTreeSet<(i64, i64)>);

impl Servers {
    /// Adds those among the columns of a row.
    fn columns<'v>(
        &mut self,
        links: &Links,
        paired: &Paired,
        columns: impl Iterator<Item = (&'v String, &'v Json)>,
    ) {
        for (name, value) in columns {
            let Some(at) = paired.position(name) else {
                continue;
            };
            if let (Some(target), Some(id)) = (
                links.target(paired.local.number, at),
                number(&paired.stored(at, value)),
            ) {
                self.0.insert((target, id));
            }
        }
    }

    /// Adds those in the id of a row.
    fn id(&mut self, links: &Links, paired: &Paired, id: &RowId) {
        let table = paired.local.number;
        for (&at, part) in paired.local.key.iter().zip(paired.local.parts(id)) {
            let own = links.is_maker(table).then_some(table);
            if let (Some(target), Some(id)) = (own.or(links.target(table, at)), number(&part)) {
                self.0.insert((target, id));
            }
        }
    }

    /// Adds those of what waits to be written.
    fn waiting(&mut self, file: &mut File, tables: &[Paired], links: &Links) -> Result<(), Error> {
        if held::none(file)? {
            return Ok(());
        }
        for (row, held) in held::all(file)? {
            let paired = tables.iter().find(|table| table.local.number == row.table);
            if let Some(paired) = paired {
                self.id(links, paired, &row.id);
                self.columns(links, paired, held.columns.iter());
            }
        }
        Ok(())
    }

    /// Gives another id to every row that has one of these as its local id.
    fn clear(
        self,
        file: &mut File,
        tables: &[Paired],
        links: &Links,
        mut locals: Locals,
    ) -> Result<Moved, Error> {
        let mut rows = Since::new();
        for (table, id) in self.0 {
            if locals.standing(file, table, id)? == Standing::Local {
                rows.insert((table, id), 0);
            }
        }
        if rows.is_empty() {
            return Ok(Moved::new());
        }
        let moves = write::without_echo(file, tables, |file| {
            file.uncaptured(|file| shift::aside(file, tables, links, &rows))
        })?;
        let row = |table, id| RowRef {
            table,
            id: RowId(Stored::Int(id)),
        };
        let moves = moves.into_iter();
        let moved = moves.flat_map(|(table, ids)| {
            let ids = ids.into_iter();
            ids.map(move |(old, new)| (row(table, old), row(table, new)))
        });
        Ok(moved.collect())
    }
}

/// Makes way for a page of a pull.
pub(crate) fn for_page(
    file: &mut File,
    tables: &[Paired],
    changes: &[Change<'_>],
) -> Result<Moved, Error> {
    let links = Links::read(file, tables)?;
    if links.is_empty() {
        return Ok(Moved::new());
    }
    apart_if_short(file, tables, &links)?;
    let mut servers = Servers::default();
    for change in changes {
        let mut tables = tables.iter();
        let Some(paired) =
            tables.find(|table| table.server.as_deref() == Ok(change.table.as_ref()))
        else {
            continue;
        };
        if let Some(id) = paired.row_id(&change.id) {
            servers.id(&links, paired, &id);
        }
        if let What::Columns { columns, .. } = &change.what {
            servers.columns(&links, paired, columns.documents()?.iter());
        }
    }
    servers.waiting(file, tables, &links)?;
    let locals = Locals::read(file, tables, &links)?;
    servers.clear(file, tables, &links, locals)
}

/// Makes way for a refused edit that is made again: but for the columns that say so, its numbers are the server's.
pub(crate) fn for_letter(
    file: &mut File,
    tables: &[Paired],
    paired: &Paired,
    edit: &WireEdit,
) -> Result<(), Error> {
    let links = Links::read(file, tables)?;
    if links.is_empty() {
        return Ok(());
    }
    tell_all_apart(file, tables, &links)?;
    let mut servers = Servers::default();
    if let Some(id) = edit.id.as_deref().and_then(|id| paired.row_id(id)) {
        servers.id(&links, paired, &id);
    }
    let told = edit.columns.iter().filter(|(_, column)| !column.local);
    let told = told.map(|(name, column)| (name, &column.value));
    servers.columns(&links, paired, told);
    let locals = Locals::read(file, tables, &links)?;
    servers.clear(file, tables, &links, locals).map(drop)
}

/// Tells rows apart that were made since the sync began, too. To look through a long log for them each time would cost more
/// than the push.
fn apart_if_short(file: &mut File, tables: &[Paired], links: &Links) -> Result<(), Error> {
    if history::is_indexed(file)? {
        return Ok(());
    }
    tell_all_apart(file, tables, links)
}

/// Makes way for the receipts of a push, made of `sent`.
pub(crate) fn for_receipts(
    file: &mut File,
    tables: &[Paired],
    links: &Links,
    sent: &[(RowRef, i64)],
    rows: &[Folded],
) -> Result<Moved, Error> {
    if links.is_empty() {
        return Ok(Moved::new());
    }
    apart_if_short(file, tables, links)?;
    let mut servers = Servers::default();
    let mut as_guessed = Vec::new();
    for ((row, _), Folded { edit, receipt, .. }) in sent.iter().zip(rows) {
        let Some(paired) = tables.iter().find(|t| t.local.number == row.table) else {
            continue;
        };
        let sent = edit.columns.iter();
        servers.columns(links, paired, sent.map(|(name, sent)| (name, &sent.value)));
        let results = receipt.columns.iter();
        let results = results.filter_map(|(name, result)| Some((name, result.value.as_ref()?)));
        servers.columns(links, paired, results);
        servers.columns(links, paired, receipt.changed.iter());
        let made = receipt.id.as_deref().filter(|_| edit.id.is_none());
        if let Some(id) = made.and_then(|id| paired.row_id(id)) {
            // The local id happens to be the server's.
            if id == row.id {
                as_guessed.extend(number(&id.0).map(|id| (row.table, id)));
            }
            servers.id(links, paired, &id);
        }
    }
    servers.waiting(file, tables, links)?;
    for row in as_guessed {
        servers.0.remove(&row);
    }
    let locals = Locals::read(file, tables, links)?;
    servers.clear(file, tables, links, locals)
}
