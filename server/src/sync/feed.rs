//! The feed of changes: what a pull delivers, chunk by chunk, at flat memory.
//!
//! A pull delivers every row whose last change is not visible at the cursor's anchor, and of each row
//! the columns of which that holds; of a table that is new to the cursor, every row in the order of the keys. Chunks
//! are read one after the other in snapshots of their own: a row that changes meanwhile is not visible where the pull
//! leads, and the next pull delivers it, whether this one did or not. A pull that fits into one chunk is one snapshot,
//! and delivers each change exactly once.

use std::collections::HashSet;
use std::sync::Arc;

use colsync_shared::{ClientId, RowKey, step};

use super::cursor::{Cursor, Last, Pass};
use super::line::{self, Lines, View};
use crate::edges;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::horizon::Horizon;
use crate::store::internal;
use crate::store::model::{Schema, TableInfo};

/// A chunk ends after so many bytes, whatever rows it may hold: clients write what came with its checkpoint.
const CHUNK_BYTES: usize = 1 << 20;

/// What a pull asks for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) cursor: Option<Cursor>,
    /// The tables wanted, in feed order.
    pub(crate) tables: Vec<Arc<TableInfo>>,
    pub(crate) client: ClientId,
    /// The client's last push, if it says so: then its own writes are not echoed.
    pub(crate) client_push: Option<i64>,
}

/// Why a pull cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// The database does not know the cursor's anchor.
    #[error("the cursor's position is not in this database's history; sync anew")]
    Expired,
    /// The client's last push is older than what the server has from it.
    #[error(
        "the server has push {known} of this client; a copied or restored client needs a new Client-Id"
    )]
    Forked { known: i64 },
    /// The server does not have the client's last push.
    #[error("the server expects push {expected} of this client; push again what it has lost")]
    Behind { expected: i64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A pull under way.
pub(crate) struct Pull {
    schema: Arc<Schema>,
    from: Option<(String, Horizon)>,
    floor: Floor,
    covered: HashSet<i64>,
    echo_of: Option<ClientId>,
    pass: Pass,
    /// Whether it is read in more than one snapshot.
    torn: bool,
    /// Then: the anchor at which what was read last is visible, where that is not the one where the pass leads.
    seen: Option<String>,
    /// Bytes of a row, as they were in the last chunk.
    row_bytes: usize,
}

/// An anchor at which all that is visible now is visible; with its horizon, where it is still to be recorded.
type Here = (String, Option<Horizon>);

/// What columns are compared with.
enum Floor {
    /// The anchor that rows are, too.
    Anchor,
    /// An earlier one.
    Earlier(String, Horizon),
    /// Nothing: every row that has changed comes in full.
    Nothing,
}

/// A piece of a pull's answer.
pub(crate) struct Chunk {
    /// NDJSON, whole lines, the last one a checkpoint.
    pub(crate) lines: Vec<u8>,
    /// Rows in it.
    pub(crate) rows: usize,
    /// Whether the pull is complete.
    pub(crate) complete: bool,
}

impl Pull {
    /// Begins or resumes a pull and reads its first chunk of at most `limit` rows, in one snapshot.
    pub(crate) fn begin(
        conn: &mut Conn,
        schema: Arc<Schema>,
        request: Request,
        limit: usize,
    ) -> Result<(Pull, Chunk), PullError> {
        let known = if request.client == ClientId::ANONYMOUS {
            None
        } else {
            internal::client(conn, request.client)?
        };
        let echo_of = own_writes(&request, known.map_or(0, |client| client.last_push))?;
        let (pull, chunk, here) = conn.snapshot_read(|conn| {
            let begun = Pull::positioned(conn, schema, request, echo_of);
            Ok(match begun {
                Ok((mut pull, here)) => {
                    let chunk = pull.read(conn, limit)?;
                    Ok((pull, chunk, here))
                }
                Err(refused) => Err(refused),
            })
        })??;
        step::reach("pull.first_chunk");
        record(conn, here)?;
        Ok((pull, chunk))
    }

    /// Reads the next chunk.
    pub(crate) fn next(&mut self, conn: &mut Conn, limit: usize) -> Result<Chunk, StoreError> {
        self.torn = true;
        let (chunk, here) = conn.snapshot_read(|conn| {
            let here = here(conn, &self.tables())?;
            self.note_seen(&here);
            Ok((self.read(conn, limit)?, here))
        })?;
        record(conn, here)?;
        Ok(chunk)
    }

    /// The tables that it goes through.
    fn tables(&self) -> Vec<&TableInfo> {
        let tables = self.schema.tables.iter().map(AsRef::as_ref);
        tables
            .filter(|table| self.pass.tables.contains(&table.id))
            .collect()
    }

    /// What is read next, in another snapshot than what came before, is visible `here`.
    fn note_seen(&mut self, (anchor, _): &Here) {
        self.seen = (*anchor != self.pass.to).then(|| anchor.clone());
    }

    /// The anchor up to which whoever takes all of it has everything.
    pub(crate) fn leads_to(&self) -> &str {
        &self.pass.to
    }

    fn positioned(
        conn: &mut Conn,
        schema: Arc<Schema>,
        request: Request,
        echo_of: Option<ClientId>,
    ) -> Result<(Pull, Here), PullError> {
        let cursor = request.cursor.unwrap_or_default();
        let from = match cursor.anchor {
            None => None,
            Some(anchor) => {
                let horizon = internal::anchor(conn, &anchor)?.ok_or(PullError::Expired)?;
                Some((anchor, horizon))
            }
        };
        let floor = match cursor.floor.as_deref() {
            None => Floor::Anchor,
            Some("") => Floor::Nothing,
            Some(anchor) => {
                let horizon = internal::anchor(conn, anchor)?.ok_or(PullError::Expired)?;
                Floor::Earlier(anchor.to_owned(), horizon)
            }
        };
        if let Some(anchor) = &cursor.seen {
            internal::anchor(conn, anchor)?.ok_or(PullError::Expired)?;
        }
        let covered: HashSet<i64> = if from.is_some() {
            cursor.tables.into_iter().collect()
        } else {
            HashSet::new()
        };
        let wanted: Vec<i64> = request.tables.iter().map(|table| table.id).collect();
        let mut resumed = cursor.pass.filter(|pass| pass.tables == wanted);
        if let Some(pass) = &mut resumed {
            place(pass, &request.tables, &covered)?;
        }
        let tables: Vec<&TableInfo> = request.tables.iter().map(AsRef::as_ref).collect();
        let here = here(conn, &tables)?;
        let torn = resumed.is_some();
        let pass = match resumed {
            Some(pass) => {
                internal::anchor(conn, &pass.to)?.ok_or(PullError::Expired)?;
                pass
            }
            None => Pass {
                to: here.0.clone(),
                table: wanted.first().copied().unwrap_or(0),
                tables: wanted,
                graves: false,
                last: None,
            },
        };
        let mut pull = Pull {
            schema,
            from,
            floor,
            covered,
            echo_of,
            pass,
            torn,
            seen: None,
            row_bytes: 1,
        };
        pull.note_seen(&here);
        Ok((pull, here))
    }

    /// Whether nothing can have changed between the cursor and where the pass leads.
    fn is_idle(&self) -> bool {
        let same = self
            .from
            .as_ref()
            .is_some_and(|(anchor, _)| *anchor == self.pass.to);
        same && self.pass.last.is_none()
            && self
                .pass
                .tables
                .iter()
                .all(|table| self.covered.contains(table))
    }

    fn read(&mut self, conn: &mut Conn, limit: usize) -> Result<Chunk, StoreError> {
        let mut chunk = Chunk {
            lines: Vec::new(),
            rows: 0,
            complete: self.is_idle(),
        };
        while !chunk.complete && chunk.rows < limit && chunk.lines.len() < CHUNK_BYTES {
            // Rows that are read and do not fit are read again for the next chunk.
            let fit = (CHUNK_BYTES - chunk.lines.len()) / self.row_bytes + 1;
            let room = fit.min(limit - chunk.rows);
            let table = self
                .schema
                .tables
                .iter()
                .find(|table| table.id == self.pass.table)
                .cloned();
            let exhausted = match table {
                None => true,
                Some(table) if self.pass.graves => self.graves(conn, &table, room, &mut chunk)?,
                Some(table) => self.rows(conn, &table, room, &mut chunk)?,
            };
            if exhausted {
                chunk.complete = !self.step();
            }
        }
        self.row_bytes = (chunk.lines.len() / chunk.rows.max(1)).max(1);
        self.checkpoint(&mut chunk);
        Ok(chunk)
    }

    /// Goes on to the table's tombstones, or to the next table; false if there is none.
    fn step(&mut self) -> bool {
        self.pass.last = None;
        if !self.pass.graves && self.covered.contains(&self.pass.table) {
            self.pass.graves = true;
            return true;
        }
        self.pass.graves = false;
        let after = self
            .pass
            .tables
            .iter()
            .skip_while(|table| **table != self.pass.table)
            .nth(1);
        match after {
            Some(&table) => {
                self.pass.table = table;
                true
            }
            None => false,
        }
    }

    /// What the client knows of `table`: nothing, or all that is visible in a horizon.
    fn known(&self, table: &TableInfo) -> Option<&Horizon> {
        self.from
            .as_ref()
            .map(|(_, horizon)| horizon)
            .filter(|_| self.covered.contains(&table.id))
    }

    /// What the rows of `table` are compared with.
    fn view(&self, table: &TableInfo) -> View<'_> {
        let known = self.known(table);
        let floor = known.and_then(|anchor| match &self.floor {
            Floor::Anchor => Some(anchor),
            Floor::Earlier(_, horizon) => Some(horizon),
            Floor::Nothing => None,
        });
        // Of a table that is new to it a client wants its own rows, too.
        View {
            covered: known.is_some(),
            floor,
            echo_of: self.echo_of.filter(|_| known.is_some()),
        }
    }

    /// The floor of the cursor that the pass ends with.
    fn next_floor(&self) -> Option<String> {
        if !self.torn {
            return None;
        }
        let all_covered = self
            .pass
            .tables
            .iter()
            .all(|table| self.covered.contains(table));
        Some(match (&self.floor, &self.from) {
            (Floor::Anchor, Some((anchor, _))) if all_covered => anchor.clone(),
            (Floor::Earlier(anchor, _), _) if all_covered => anchor.clone(),
            (Floor::Anchor | Floor::Earlier(..) | Floor::Nothing, _) => String::new(),
        })
    }

    fn rows(
        &mut self,
        conn: &mut Conn,
        table: &TableInfo,
        limit: usize,
        chunk: &mut Chunk,
    ) -> Result<bool, StoreError> {
        let key = |id: &str| {
            RowKey::from_id(&table.spec, id)
                .map_err(|refused| StoreError::Corrupt(format!("a cursor's row: {refused}")))
        };
        let rows = match self.known(table) {
            Some(horizon) => {
                let after = match &self.pass.last {
                    Some(Last::Change(txid, id)) => Some((*txid, key(id)?)),
                    Some(Last::Row(_)) | None => None,
                };
                let after = after.as_ref().map(|(txid, key)| (*txid, key));
                conn.feed_page(table, horizon, after, limit)?
            }
            // Those deleted are read, too, and nothing said of them: to look for others could take long.
            None => {
                let after = match &self.pass.last {
                    Some(Last::Row(id)) => Some(key(id)?),
                    Some(Last::Change(..)) | None => None,
                };
                conn.read_page(table, after.as_ref(), limit, true)?
            }
        };
        let view = self.view(table);
        let lines = Lines::of(table);
        let mut taken = 0;
        for row in &rows {
            lines.row(row, &view, &mut chunk.lines);
            taken += 1;
            if chunk.lines.len() >= CHUNK_BYTES {
                break;
            }
        }
        chunk.rows += taken;
        if let Some(row) = rows.get(..taken).and_then(<[_]>::last) {
            let id = row.key.to_string();
            self.pass.last = Some(match self.known(table) {
                Some(_) => Last::Change(row.txid, id),
                None => Last::Row(id),
            });
        }
        Ok(rows.len() < limit && taken == rows.len())
    }

    fn graves(
        &mut self,
        conn: &mut Conn,
        table: &TableInfo,
        limit: usize,
        chunk: &mut Chunk,
    ) -> Result<bool, StoreError> {
        let Some(horizon) = self.known(table) else {
            return Ok(true);
        };
        let after = match &self.pass.last {
            Some(Last::Change(txid, id)) => Some((*txid, id.as_str())),
            Some(Last::Row(_)) | None => None,
        };
        let graves = conn.feed_tombstones(table, horizon, after, limit)?;
        let lines = Lines::of(table);
        for grave in &graves {
            lines.removed(&grave.row_id, "purged", &mut chunk.lines);
        }
        chunk.rows += graves.len();
        if let Some(grave) = graves.last() {
            self.pass.last = Some(Last::Change(grave.txid, grave.row_id.clone()));
        }
        Ok(graves.len() < limit)
    }

    fn checkpoint(&self, chunk: &mut Chunk) {
        let cursor = if chunk.complete {
            Cursor {
                anchor: Some(self.pass.to.clone()),
                floor: self.next_floor(),
                seen: self.seen.clone(),
                tables: self.pass.tables.clone(),
                pass: None,
            }
        } else {
            let mut tables: Vec<i64> = self.covered.iter().copied().collect();
            tables.sort_unstable();
            let floor = match &self.floor {
                Floor::Anchor => None,
                Floor::Earlier(anchor, _) => Some(anchor.clone()),
                Floor::Nothing => Some(String::new()),
            };
            let anchor = self.from.as_ref().map(|(anchor, _)| anchor.clone());
            Cursor {
                anchor,
                floor,
                seen: self.seen.clone(),
                tables,
                pass: Some(self.pass.clone()),
            }
        };
        line::checkpoint(&cursor.encode(), chunk.complete, &mut chunk.lines);
    }
}

fn here(conn: &mut Conn, tables: &[&TableInfo]) -> Result<Here, StoreError> {
    let now = conn.snapshot()?;
    Ok(match internal::latest_anchor(conn)? {
        Some((anchor, horizon)) if !conn.moved_since(tables, &horizon)? => (anchor, None),
        _ => (edges::uuid4().to_string(), Some(now)),
    })
}

/// Records the anchor after its snapshot was taken: a backup that holds it holds all that is visible there.
fn record(conn: &mut Conn, here: Here) -> Result<(), StoreError> {
    if let (anchor, Some(horizon)) = here {
        internal::insert_anchor(conn, &anchor, &horizon, edges::now())?;
        step::reach("pull.anchored");
    }
    Ok(())
}

/// Whose writes need no echo: the caller's, if it has the receipts of everything it pushed.
pub(super) fn own_writes(request: &Request, known: i64) -> Result<Option<ClientId>, PullError> {
    match request.client_push {
        None => Ok(None),
        Some(_) if request.client == ClientId::ANONYMOUS => Ok(None),
        Some(push) if push < known => Err(PullError::Forked { known }),
        Some(push) if push > known => Err(PullError::Behind {
            expected: known + 1,
        }),
        Some(_) => Ok(Some(request.client)),
    }
}

/// Puts a resumed pass where it can go on. It stands at a row that its table can have, as the client has the table
/// or not; one begun by an earlier version, which brought whole tables in the order of the feed, begins its table again.
fn place(
    pass: &mut Pass,
    tables: &[Arc<TableInfo>],
    covered: &HashSet<i64>,
) -> Result<(), PullError> {
    let table = tables
        .iter()
        .find(|table| table.id == pass.table)
        .ok_or(PullError::Expired)?;
    let is_covered = covered.contains(&table.id);
    let stands = match &pass.last {
        None => true,
        Some(Last::Change(_, id)) if is_covered => {
            pass.graves || RowKey::from_id(&table.spec, id).is_ok()
        }
        Some(Last::Change(..)) => {
            pass.last = None;
            true
        }
        Some(Last::Row(id)) => !is_covered && RowKey::from_id(&table.spec, id).is_ok(),
    };
    if stands {
        Ok(())
    } else {
        Err(PullError::Expired)
    }
}
