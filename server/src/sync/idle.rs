//! Pulls of clients that have everything: one question to the database answers each.
//!
//! Most pulls find nothing. What a pull does to find that out is told by two facts: the database still knows the
//! cursor's anchor, and nothing of the tables has moved since.

use super::cursor::Cursor;
use super::feed::{Chunk, PullError, Request, own_writes};
use super::line;
use crate::store::conn::Conn;
use crate::store::horizon::Horizons;
use crate::store::internal;

/// What answers `request`, if its client has everything; with the anchor that it stays at.
///
/// # Errors
/// As a pull.
pub(crate) fn answer(
    conn: &mut Conn,
    horizons: &Horizons,
    request: &Request,
) -> Result<Option<(Chunk, String)>, PullError> {
    let Some(Cursor {
        anchor: Some(anchor),
        tables: covered,
        pass: None,
        floor: _,
    }) = &request.cursor
    else {
        return Ok(None);
    };
    let wanted: Vec<i64> = request.tables.iter().map(|table| table.id).collect();
    if !wanted.iter().all(|table| covered.contains(table)) {
        return Ok(None);
    }
    let horizon = match horizons.of(anchor) {
        Some(horizon) => horizon,
        None => match internal::anchor(conn, anchor)? {
            Some(horizon) => horizons.learn(anchor, horizon),
            None => return Ok(None),
        },
    };
    let found = conn.still(&request.tables, anchor, &horizon, request.client)?;
    own_writes(request, found.last_push)?;
    if !found.has_anchor {
        return Err(PullError::Expired);
    }
    if found.has_moved {
        return Ok(None);
    }
    let mut chunk = Chunk {
        lines: Vec::new(),
        rows: 0,
        complete: true,
    };
    let cursor = Cursor {
        anchor: Some(anchor.clone()),
        floor: None,
        tables: wanted,
        pass: None,
    };
    line::checkpoint(&cursor.encode(), true, &mut chunk.lines);
    Ok(Some((chunk, anchor.clone())))
}
