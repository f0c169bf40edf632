//! Reads and writes of colsync's own tables, in diesel's typed DSL.

use std::collections::HashMap;

use colsync_shared::{ClientId, Time};
use diesel::prelude::*;
use uuid::Uuid;

use super::conn::{Conn, on_backend};
use super::error::StoreError;
use super::horizon::Horizon;
use super::schema::{
    colsync_anchors, colsync_clients, colsync_conflicts, colsync_pushes, colsync_requests,
    colsync_tables,
};

use super::statement::Statement;

type Result<T> = std::result::Result<T, StoreError>;

/// A client as the server knows it.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = colsync_clients)]
pub(crate) struct ClientRow {
    pub(crate) id: String,
    pub(crate) principal: String,
    pub(crate) name: Option<String>,
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    pub(crate) skew: Option<i64>,
    pub(crate) last_push: i64,
    pub(crate) pulled_at: Option<i64>,
    pub(crate) pulled_to: Option<String>,
    pub(crate) pushes: i64,
}

/// A row for the ledger.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = colsync_conflicts)]
pub(crate) struct NewConflict {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) row_id: String,
    pub(crate) column_name: Option<String>,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) base: Option<String>,
    pub(crate) kept: Option<String>,
    pub(crate) lost: Option<String>,
    pub(crate) kept_time: Option<i64>,
    pub(crate) kept_client: Option<String>,
    pub(crate) lost_time: Option<i64>,
    pub(crate) lost_client: Option<String>,
    pub(crate) skew: Option<i64>,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) created_at: i64,
}

/// A row of the ledger.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = colsync_conflicts)]
pub(crate) struct ConflictRow {
    pub(crate) id: String,
    pub(crate) table_name: String,
    pub(crate) row_id: String,
    pub(crate) column_name: Option<String>,
    pub(crate) kind: String,
    pub(crate) policy: String,
    pub(crate) base: Option<String>,
    pub(crate) kept: Option<String>,
    pub(crate) lost: Option<String>,
    pub(crate) kept_time: Option<i64>,
    pub(crate) kept_client: Option<String>,
    pub(crate) lost_time: Option<i64>,
    pub(crate) lost_client: Option<String>,
    pub(crate) skew: Option<i64>,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) created_at: i64,
    pub(crate) decision: Option<String>,
    pub(crate) decided_at: Option<i64>,
    pub(crate) decided_value: Option<String>,
}

/// Which rows of the ledger to list, newest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConflictFilter {
    pub(crate) table: Option<String>,
    pub(crate) row: Option<String>,
    pub(crate) column: Option<String>,
    /// Either side's writer.
    pub(crate) client: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) since: Option<i64>,
    /// Only rows older than this one.
    pub(crate) after: Option<String>,
    pub(crate) limit: i64,
}

/// What a repeat is answered with.
#[derive(Debug, Clone, Queryable)]
pub(crate) struct Remembered {
    pub(crate) hash: String,
    pub(crate) receipts: Vec<u8>,
}

/// Rows of the ledger that one statement inserts: PostgreSQL binds at most 65,535 values.
const CONFLICTS_A_STATEMENT: usize = 2_000;

/// The principal that owns `client`: the one that used it first.
pub(crate) fn own_client(
    conn: &mut Conn,
    client: ClientId,
    principal: &str,
    now: Time,
) -> Result<String> {
    use colsync_clients::dsl;
    let new = ClientRow {
        id: client.to_string(),
        principal: principal.to_owned(),
        name: None,
        first_seen: now.micros(),
        last_seen: now.micros(),
        skew: None,
        last_push: 0,
        pulled_at: None,
        pulled_to: None,
        pushes: 0,
    };
    on_backend!(conn, c => diesel::insert_into(dsl::colsync_clients)
        .values(&new)
        .on_conflict(dsl::id)
        .do_nothing()
        .execute(c))?;
    let owner = on_backend!(conn, c => dsl::colsync_clients
        .find(client.to_string())
        .select(dsl::principal)
        .first::<String>(c))?;
    Ok(owner)
}

pub(crate) fn client(conn: &mut Conn, client: ClientId) -> Result<Option<ClientRow>> {
    use colsync_clients::dsl;
    let found = on_backend!(conn, c => dsl::colsync_clients
        .find(client.to_string())
        .select(ClientRow::as_select())
        .first(c)
        .optional())?;
    Ok(found)
}

pub(crate) fn clients(conn: &mut Conn) -> Result<Vec<ClientRow>> {
    use colsync_clients::dsl;
    let found = on_backend!(conn, c => dsl::colsync_clients
        .select(ClientRow::as_select())
        .order(dsl::last_seen.desc())
        .load(c))?;
    Ok(found)
}

/// Locks `clients`, which must be sorted; those that are not there are left out.
pub(crate) fn lock_clients(conn: &mut Conn, clients: &[ClientId]) -> Result<Vec<ClientRow>> {
    use colsync_clients::dsl;
    let ids: Vec<String> = clients.iter().map(ToString::to_string).collect();
    let find = || {
        dsl::colsync_clients
            .filter(dsl::id.eq_any(ids.clone()))
            .order(dsl::id)
    };
    Ok(match conn {
        Conn::Pg(c) => find().select(ClientRow::as_select()).for_update().load(c)?,
        Conn::Sqlite(c) => find().select(ClientRow::as_select()).load(c)?,
    })
}

pub(crate) fn update_client(conn: &mut Conn, client: &ClientRow) -> Result<()> {
    use colsync_clients::dsl;
    on_backend!(conn, c => diesel::update(dsl::colsync_clients.find(&client.id))
        .set((
            dsl::last_seen.eq(client.last_seen),
            dsl::skew.eq(client.skew),
            dsl::last_push.eq(client.last_push),
            dsl::pushes.eq(client.pushes),
        ))
        .execute(c))?;
    Ok(())
}

/// Notes when `client` was heard of last, and its clock's skew.
pub(crate) fn client_seen(
    conn: &mut Conn,
    client: ClientId,
    skew: Option<i64>,
    now: Time,
) -> Result<()> {
    use colsync_clients::dsl;
    let row = dsl::colsync_clients.find(client.to_string());
    match skew {
        Some(skew) => on_backend!(conn, c => diesel::update(row)
            .set((dsl::last_seen.eq(now.micros()), dsl::skew.eq(skew)))
            .execute(c))?,
        None => {
            on_backend!(conn, c => diesel::update(row).set(dsl::last_seen.eq(now.micros())).execute(c))?
        }
    };
    Ok(())
}

/// Notes that `client` was given everything up to `anchor`.
pub(crate) fn client_pulled(
    conn: &mut Conn,
    client: ClientId,
    anchor: &str,
    now: Time,
) -> Result<()> {
    use colsync_clients::dsl;
    on_backend!(conn, c => diesel::update(dsl::colsync_clients.find(client.to_string()))
        .set((dsl::pulled_at.eq(now.micros()), dsl::pulled_to.eq(anchor), dsl::last_seen.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

pub(crate) fn push(conn: &mut Conn, client: ClientId, number: i64) -> Result<Option<Remembered>> {
    use colsync_pushes::dsl;
    let found = on_backend!(conn, c => dsl::colsync_pushes
        .find((client.to_string(), number))
        .select((dsl::hash, dsl::receipts))
        .first(c)
        .optional())?;
    Ok(found)
}

pub(crate) fn insert_push(
    conn: &mut Conn,
    client: ClientId,
    number: i64,
    hash: &str,
    receipts: &[u8],
    now: Time,
) -> Result<()> {
    use colsync_pushes::dsl;
    on_backend!(conn, c => diesel::insert_into(dsl::colsync_pushes)
        .values((
            dsl::client.eq(client.to_string()),
            dsl::number.eq(number),
            dsl::hash.eq(hash),
            dsl::receipts.eq(receipts),
            dsl::at.eq(now.micros()),
        ))
        .execute(c))?;
    Ok(())
}

pub(crate) fn request(conn: &mut Conn, client: ClientId, key: &str) -> Result<Option<Remembered>> {
    use colsync_requests::dsl;
    let found = on_backend!(conn, c => dsl::colsync_requests
        .find((client.to_string(), key))
        .select((dsl::hash, dsl::receipts))
        .first(c)
        .optional())?;
    Ok(found)
}

pub(crate) fn insert_request(
    conn: &mut Conn,
    client: ClientId,
    key: &str,
    hash: &str,
    receipts: &[u8],
    now: Time,
) -> Result<()> {
    use colsync_requests::dsl;
    on_backend!(conn, c => diesel::insert_into(dsl::colsync_requests)
        .values((
            dsl::client.eq(client.to_string()),
            dsl::idempotency_key.eq(key),
            dsl::hash.eq(hash),
            dsl::receipts.eq(receipts),
            dsl::at.eq(now.micros()),
        ))
        .execute(c))?;
    Ok(())
}

pub(crate) fn insert_conflicts(conn: &mut Conn, conflicts: &[NewConflict]) -> Result<()> {
    use colsync_conflicts::dsl;
    for some in conflicts.chunks(CONFLICTS_A_STATEMENT) {
        on_backend!(conn, c => diesel::insert_into(dsl::colsync_conflicts).values(some).execute(c))?;
    }
    Ok(())
}

/// The id of an open entry of kind `constraint` that tells of the same edit as `entry`.
pub(crate) fn same_refusal(conn: &mut Conn, entry: &NewConflict) -> Result<Option<String>> {
    use colsync_conflicts::dsl;
    let found: Vec<(String, Option<String>)> = on_backend!(conn, c => dsl::colsync_conflicts
        .filter(dsl::table_name.eq(&entry.table_name))
        .filter(dsl::row_id.eq(&entry.row_id))
        .filter(dsl::kind.eq(&entry.kind))
        .filter(dsl::lost_client.eq(&entry.lost_client))
        .filter(dsl::state.ne("resolved"))
        .select((dsl::id, dsl::lost))
        .load(c))?;
    let same = found.into_iter().find(|(_, lost)| *lost == entry.lost);
    Ok(same.map(|(id, _)| id))
}

pub(crate) fn conflict(conn: &mut Conn, id: Uuid) -> Result<Option<ConflictRow>> {
    use colsync_conflicts::dsl;
    let found = on_backend!(conn, c => dsl::colsync_conflicts
        .find(id.to_string())
        .select(ConflictRow::as_select())
        .first(c)
        .optional())?;
    Ok(found)
}

pub(crate) fn conflict_for_update(conn: &mut Conn, id: Uuid) -> Result<Option<ConflictRow>> {
    use colsync_conflicts::dsl;
    match conn {
        Conn::Pg(c) => Ok(dsl::colsync_conflicts
            .find(id.to_string())
            .select(ConflictRow::as_select())
            .for_update()
            .first(c)
            .optional()?),
        Conn::Sqlite(_) => conflict(conn, id),
    }
}

pub(crate) fn conflicts(conn: &mut Conn, filter: &ConflictFilter) -> Result<Vec<ConflictRow>> {
    use colsync_conflicts::dsl;
    let found = on_backend!(conn, c => {
        let mut query = dsl::colsync_conflicts.select(ConflictRow::as_select()).into_boxed();
        if let Some(table) = &filter.table {
            query = query.filter(dsl::table_name.eq(table));
        }
        if let Some(row) = &filter.row {
            query = query.filter(dsl::row_id.eq(row));
        }
        if let Some(column) = &filter.column {
            query = query.filter(dsl::column_name.eq(column));
        }
        if let Some(client) = &filter.client {
            query = query.filter(dsl::kept_client.eq(client).or(dsl::lost_client.eq(client)));
        }
        if let Some(state) = &filter.state {
            query = query.filter(dsl::state.eq(state));
        }
        if let Some(since) = filter.since {
            query = query.filter(dsl::created_at.ge(since));
        }
        if let Some(after) = &filter.after {
            query = query.filter(dsl::id.lt(after));
        }
        query.order(dsl::id.desc()).limit(filter.limit).load(c)
    })?;
    Ok(found)
}

/// How many ledger rows each client is a side of.
pub(crate) fn conflicts_by_client(conn: &mut Conn) -> Result<HashMap<String, i64>> {
    let sql = "SELECT client, count(*) FROM (SELECT kept_client AS client FROM colsync_conflicts \
               UNION ALL SELECT lost_client FROM colsync_conflicts \
               WHERE lost_client IS NOT NULL AND (kept_client IS NULL OR kept_client <> lost_client)) AS sides \
               GROUP BY client";
    let rows = conn.load(Statement::new(sql, Vec::new()))?;
    let counts = rows.iter().filter_map(|row| match row.0.as_slice() {
        [client, count] => Some((client.text()?.to_owned(), count.int()?)),
        _ => None,
    });
    Ok(counts.collect())
}

/// Closes a conflict with its decision.
pub(crate) fn resolve_conflict(
    conn: &mut Conn,
    id: Uuid,
    decision: &str,
    value: Option<String>,
    now: Time,
) -> Result<()> {
    use colsync_conflicts::dsl;
    on_backend!(conn, c => diesel::update(dsl::colsync_conflicts.find(id.to_string()))
        .set((
            dsl::state.eq("resolved"),
            dsl::decision.eq(decision),
            dsl::decided_at.eq(now.micros()),
            dsl::decided_value.eq(value.clone()),
        ))
        .execute(c))?;
    Ok(())
}

pub(crate) fn anchor(conn: &mut Conn, id: &str) -> Result<Option<Horizon>> {
    use colsync_anchors::dsl;
    let found: Option<String> = on_backend!(conn, c => dsl::colsync_anchors
        .find(id)
        .select(dsl::horizon)
        .first(c)
        .optional())?;
    found.map(|text| horizon(&text)).transpose()
}

pub(crate) fn latest_anchor(conn: &mut Conn) -> Result<Option<(String, Horizon)>> {
    use colsync_anchors::dsl;
    let found: Option<(String, String)> = on_backend!(conn, c => dsl::colsync_anchors
        .select((dsl::id, dsl::horizon))
        .order((dsl::recorded_at.desc(), dsl::id.desc()))
        .first(c)
        .optional())?;
    found
        .map(|(id, text)| Ok((id, horizon(&text)?)))
        .transpose()
}

pub(crate) fn insert_anchor(conn: &mut Conn, id: &str, horizon: &Horizon, now: Time) -> Result<()> {
    use colsync_anchors::dsl;
    on_backend!(conn, c => diesel::insert_into(dsl::colsync_anchors)
        .values((dsl::id.eq(id), dsl::horizon.eq(horizon.to_string()), dsl::recorded_at.eq(now.micros())))
        .execute(c))?;
    Ok(())
}

/// Names and identities of the adopted tables.
pub(crate) fn adopted_tables(conn: &mut Conn) -> Result<Vec<(String, i64)>> {
    use colsync_tables::dsl;
    let found = on_backend!(conn, c => dsl::colsync_tables.select((dsl::name, dsl::id)).load(c))?;
    Ok(found)
}

fn horizon(text: &str) -> Result<Horizon> {
    text.parse()
        .map_err(|e| StoreError::Corrupt(format!("an anchor's horizon: {e}")))
}

pub(crate) fn meta(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    use super::schema::colsync_meta::dsl;
    let found = on_backend!(conn, c => dsl::colsync_meta.find(name).select(dsl::value).first(c).optional())?;
    Ok(found)
}

pub(crate) fn set_meta(conn: &mut Conn, name: &str, value: &str) -> Result<()> {
    use super::schema::colsync_meta::dsl;
    on_backend!(conn, c => diesel::insert_into(dsl::colsync_meta)
        .values((dsl::name.eq(name), dsl::value.eq(value)))
        .on_conflict(dsl::name)
        .do_update()
        .set(dsl::value.eq(value))
        .execute(c))?;
    Ok(())
}
