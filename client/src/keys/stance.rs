//! What of an edit can be sent while rows that it points to have local ids. Decides; writes nothing.

use colsync_shared::Op;

use super::locals::Standing;
use super::{Links, Locals, number};
use crate::error::Error;
use crate::file::File;
use crate::outbox::edit::WireEdit;
use crate::pairing::Paired;
use crate::table::RowRef;

/// What becomes of an edit at this push.
#[derive(Debug)]
pub(crate) enum Stance {
    /// It is sent.
    Goes,
    /// It goes when a row that it points to has its id; a clause, should that never come.
    WaitsForId(String),
    /// It stays pending; a clause says why.
    Waits(String),
}

/// Says what becomes of an edit, and takes columns out of it that are to follow when their ids are known: those by
/// which a new row points to itself, and with `break_cycles` all by which it points to rows that are still to be
/// made.
pub(crate) fn stance(
    file: &mut File,
    links: &Links,
    locals: &mut Locals,
    paired: &Paired,
    row: &RowRef,
    edit: &mut WireEdit,
    break_cycles: bool,
) -> Result<Stance, Error> {
    let table = paired.local.number;
    for (&at, part) in paired.local.key.iter().zip(paired.local.parts(&row.id)) {
        if let (Some(target), Some(id)) = (links.target(table, at), number(&part)) {
            match locals.standing(file, target, id)? {
                Standing::Servers => {}
                Standing::Local => return Ok(Stance::WaitsForId(waits(paired, at, id))),
                Standing::Refused => return Ok(Stance::Waits(refused(paired, at, id))),
            }
        }
    }
    let mut follow = Vec::new();
    for (name, sent) in &edit.columns {
        let Some(at) = paired.position(name) else {
            continue;
        };
        let Some(target) = links.target(table, at) else {
            continue;
        };
        let Some(id) = number(&paired.stored(at, &sent.value)) else {
            continue;
        };
        match locals.standing(file, target, id)? {
            Standing::Servers => {}
            Standing::Local => {
                let is_itself = target == table && number(&row.id.0) == Some(id);
                let can_follow = paired.column(at).is_some_and(|column| column.nullable);
                if edit.op == Op::Insert && can_follow && (is_itself || break_cycles) {
                    follow.push(name.clone());
                } else {
                    return Ok(Stance::WaitsForId(waits(paired, at, id)));
                }
            }
            Standing::Refused => return Ok(Stance::Waits(refused(paired, at, id))),
        }
    }
    for name in follow {
        edit.columns.remove(&name);
    }
    Ok(Stance::Goes)
}

fn waits(paired: &Paired, at: usize, id: i64) -> String {
    let column = paired.column(at).map_or("", |column| column.name.as_str());
    let table = &paired.local.name;
    format!("{table}: {column} points to the row {id}, which the server has not made yet")
}

fn refused(paired: &Paired, at: usize, id: i64) -> String {
    let column = paired.column(at).map_or("", |column| column.name.as_str());
    let table = &paired.local.name;
    format!(
        "{table}: {column} points to the row {id}, which the server refused: see the dead letters"
    )
}
