//! Which numbers are local ids: those of rows that the app made and the server has not, and of rows whose making
//! the server refused. Reads; writes nothing.

use std::collections::{HashMap, HashSet};

use colsync_shared::Op;
use colsync_shared::sqlite::Stored;

use super::shift::Aside;
use super::{Links, number};
use crate::error::Error;
use crate::file::{File, text};
use crate::outbox::edit::WireEdit;
use crate::outbox::history;
use crate::pairing::Paired;

/// The first line of each row. SQLite takes the other columns from the line with the least `seq`.
const FIRST_LINES: &str = "
    SELECT row_id, op, old, min(seq) FROM colsync_log WHERE table_number = :? GROUP BY row_id";

const FIRST_LINE: &str = "
    SELECT row_id, op, old FROM colsync_log
    WHERE table_number = :? AND row_id = :? ORDER BY seq LIMIT 1";

/// What a number in a column stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The server's row of that id, or none.
    Servers,
    /// A row that is still to be made there.
    Local,
    /// A row that the server refused to make.
    Refused,
}

/// The local ids of a file. For short logs they are read at once, else one by one by the log's index.
#[derive(Debug, Default)]
pub(crate) struct Locals {
    known: HashMap<(i64, i64), bool>,
    /// Whether `known` is all there is.
    whole: bool,
    refused: HashSet<(i64, i64)>,
    aside: Aside,
}

impl Locals {
    /// Reads what can be read at once.
    pub(crate) fn read(file: &mut File, tables: &[Paired], links: &Links) -> Result<Locals, Error> {
        let mut locals = Locals::default();
        if links.is_empty() {
            return Ok(locals);
        }
        locals.aside = Aside::read(file)?;
        locals.refused = refused(file, tables, locals.aside)?;
        locals.whole = !history::is_indexed(file)?;
        if locals.whole {
            for table in links.makers() {
                for row in file.load(FIRST_LINES, &[Stored::Int(table)])? {
                    if let (Some(id), true) = (row.first().and_then(number), is_local(&row)) {
                        locals.known.insert((table, id), true);
                    }
                }
            }
        }
        Ok(locals)
    }

    /// What `id` stands for as a key of `table`, one whose keys the server makes.
    pub(crate) fn standing(
        &mut self,
        file: &mut File,
        table: i64,
        id: i64,
    ) -> Result<Standing, Error> {
        if self.refused.contains(&(table, id)) {
            return Ok(Standing::Refused);
        }
        let is_local = match self.known.get(&(table, id)) {
            Some(known) => *known,
            None if self.whole => false,
            None => {
                let line = file.first(FIRST_LINE, &[Stored::Int(table), Stored::Int(id)])?;
                let found = line.is_some_and(|line| is_local(&line));
                self.known.insert((table, id), found);
                found
            }
        };
        Ok(if is_local {
            Standing::Local
        } else {
            Standing::Servers
        })
    }

    /// Whether a value is the number of no row of `table`, here or at the server: that of a new row which was taken back.
    pub(crate) fn is_nobodys(
        &mut self,
        file: &mut File,
        table: i64,
        value: &Stored,
    ) -> Result<bool, Error> {
        let Some(id) = number(value).filter(|id| self.aside.has(*id)) else {
            return Ok(false);
        };
        Ok(self.standing(file, table, id)? == Standing::Servers)
    }
}

/// Whether a row's first line says that the app made it, under an id of this file's.
fn is_local(line: &[Stored]) -> bool {
    matches!(line, [_, Stored::Int(1), Stored::Null, ..])
}

/// The ids of rows whose making the server refused.
fn refused(file: &mut File, tables: &[Paired], aside: Aside) -> Result<HashSet<(i64, i64)>, Error> {
    let mut found = HashSet::new();
    let letters = file.load("SELECT table_name, id, edit FROM colsync_dead_letters", &[])?;
    for row in letters {
        let [Some(table), Some(id), Some(edit)] = [0, 1, 2].map(|at| row.get(at).and_then(text))
        else {
            continue;
        };
        let table = tables
            .iter()
            .find(|paired| paired.makes_key && paired.server.as_deref() == Ok(table));
        let edit: Option<WireEdit> = serde_json::from_str(edit).ok();
        let makes = edit.is_some_and(|edit| matches!(edit.op, Op::Insert | Op::Replace));
        // Those that it refused are called by numbers that it does not make (`learn::give_up`).
        if let (Some(table), Ok(id), true) = (table, id.parse::<i64>(), makes)
            && aside.has(id)
        {
            found.insert((table.local.number, id));
        }
    }
    Ok(found)
}
