//! Reads and writes of colsync's own tables, in diesel's typed DSL.

use colsync_shared::{ClientId, Time};
use diesel::prelude::*;

use super::conn::{Conn, on_backend};
use super::error::StoreError;
use super::horizon::Horizon;
use super::schema::{
    colsync_anchors, colsync_clients, colsync_pushes, colsync_requests, colsync_tables,
};

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

/// What a repeat is answered with.
#[derive(Debug, Clone, Queryable)]
pub(crate) struct Remembered {
    pub(crate) hash: String,
    pub(crate) receipts: Vec<u8>,
}

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

pub(crate) fn anchor(conn: &mut Conn, id: &str) -> Result<Option<Horizon>> {
    use colsync_anchors::dsl;
    let found: Option<String> = on_backend!(conn, c => dsl::colsync_anchors
        .find(id)
        .select(dsl::horizon)
        .first(c)
        .optional())?;
    found.map(|text| horizon(&text)).transpose()
}

/// Those of `ids` that the database knows.
pub(crate) fn known_anchors(conn: &mut Conn, ids: &[String]) -> Result<Vec<String>> {
    use colsync_anchors::dsl;
    Ok(on_backend!(conn, c => dsl::colsync_anchors
        .filter(dsl::id.eq_any(ids))
        .select(dsl::id)
        .load(c))?)
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

/// Reads an anchor's horizon.
pub(super) fn horizon(text: &str) -> Result<Horizon> {
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
