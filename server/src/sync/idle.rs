//! Pulls of clients that have everything: one question to the database answers all that wait.
//!
//! Most pulls find nothing. What a pull does to find that out is told by two facts: the database still knows the
//! cursor's anchor, and nothing of the tables has moved since. The question is asked after the pulls came, so that no
//! answer is older than its pull.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cursor::Cursor;
use super::feed::{Chunk, PullError, Request, own_writes};
use super::line;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::facts::Facts;
use crate::store::model::TableInfo;

/// What a pull is told: the whole answer and the anchor that its client stays at, if it brings nothing.
pub(crate) type Told = Result<Option<(Chunk, String)>, PullError>;

/// The anchor of a client that perhaps has everything: no pull is under way, and it has all the tables wanted.
pub(crate) fn anchor(request: &Request) -> Option<&str> {
    match &request.cursor {
        Some(Cursor {
            anchor: Some(anchor),
            tables: covered,
            pass: None,
            seen: None,
            floor: _,
        }) => {
            let mut wanted = request.tables.iter();
            wanted
                .all(|table| covered.contains(&table.id))
                .then_some(anchor)
        }
        Some(_) | None => None,
    }
}

/// What `requests` are told, in their order.
///
/// # Errors
/// If the database fails: then none of them has an answer.
pub(crate) fn answers(conn: &mut Conn, requests: &[Request]) -> Result<Vec<Told>, StoreError> {
    // Each once, and in one order, so that the same tables are the same statement.
    let mut tables: BTreeMap<i64, Arc<TableInfo>> = BTreeMap::new();
    let (mut anchors, mut clients) = (BTreeSet::new(), BTreeSet::new());
    for request in requests {
        for table in &request.tables {
            tables.entry(table.id).or_insert_with(|| table.clone());
        }
        anchors.extend(anchor(request));
        clients.insert(request.client.to_string());
    }
    let tables: Vec<Arc<TableInfo>> = tables.into_values().collect();
    let anchors = anchors.into_iter().map(str::to_owned).collect();
    let facts = conn.facts(&tables, anchors, clients.into_iter().collect())?;
    let mut moved = Moved::new(&facts);
    let told = requests
        .iter()
        .map(|request| tell(conn, &mut moved, request));
    told.collect()
}

/// The outer error is everyone's.
fn tell(conn: &mut Conn, moved: &mut Moved<'_>, request: &Request) -> Result<Told, StoreError> {
    let Some(anchor) = anchor(request) else {
        return Ok(Ok(None));
    };
    let last_push = moved.facts.last_push(&request.client.to_string());
    if let Err(refused) = own_writes(request, last_push) {
        return Ok(Err(refused));
    }
    Ok(match moved.since(conn, anchor, &request.tables)? {
        None => Err(PullError::Expired),
        Some(true) => Ok(None),
        Some(false) => Ok(Some((nothing(request, anchor), anchor.to_owned()))),
    })
}

/// What is told of a pull that brings nothing.
fn nothing(request: &Request, anchor: &str) -> Chunk {
    let cursor = Cursor {
        anchor: Some(anchor.to_owned()),
        floor: None,
        seen: None,
        tables: request.tables.iter().map(|table| table.id).collect(),
        pass: None,
    };
    let mut chunk = Chunk {
        lines: Vec::new(),
        rows: 0,
        complete: true,
    };
    line::checkpoint(&cursor.encode(), true, &mut chunk.lines);
    chunk
}

/// Whether tables have moved since anchors, as far as it was asked for.
struct Moved<'a> {
    facts: &'a Facts,
    /// What was asked for by itself: by the anchor, then by the table.
    looked: BTreeMap<(String, i64), bool>,
}

impl<'a> Moved<'a> {
    fn new(facts: &'a Facts) -> Self {
        Moved {
            facts,
            looked: BTreeMap::new(),
        }
    }

    /// Whether any of `tables` has moved since `anchor`; `None` if the database does not know it.
    fn since(
        &mut self,
        conn: &mut Conn,
        anchor: &str,
        tables: &[Arc<TableInfo>],
    ) -> Result<Option<bool>, StoreError> {
        let Some(horizon) = self.facts.horizon(anchor) else {
            return Ok(None);
        };
        for table in tables {
            let has_moved = match self.facts.has_moved(table.id, horizon) {
                Some(has_moved) => has_moved,
                None => {
                    let known = (anchor.to_owned(), table.id);
                    match self.looked.get(&known) {
                        Some(&has_moved) => has_moved,
                        None => {
                            let has_moved = conn.moved_since(&[table], horizon)?;
                            self.looked.insert(known, has_moved);
                            has_moved
                        }
                    }
                }
            };
            if has_moved {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}
