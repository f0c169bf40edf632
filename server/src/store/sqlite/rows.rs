//! Rows of the user's tables in SQLite, inside a transaction that holds the only write lock.

use colsync_shared::RowKey;
use diesel::prelude::*;

use super::values;
use crate::store::conn::Backend;
use crate::store::error::StoreError;
use crate::store::model::{NewRow, RowUpdate, StoredRow, TableInfo};
use crate::store::pg::rows::birth_map;
use crate::store::select::{self, key_binds, key_names, key_places};
use crate::store::statement::{Bind, DynRow, Statement};
use colsync_shared::sql::quote;

type Result<T> = std::result::Result<T, StoreError>;

/// Moves the feed on by one and marks the position as this transaction's, so that the triggers know its
/// writes from others'.
pub(crate) fn take_place(conn: &mut SqliteConnection) -> Result<()> {
    let sql = "UPDATE colsync_feed SET txid = txid + 1, writer_txid = txid + 1";
    Statement::new(sql, Vec::new()).execute(conn)?;
    Ok(())
}

/// Ends what [`take_place`] began: whoever writes next is not the server.
pub(crate) fn leave_place(conn: &mut SqliteConnection) -> Result<()> {
    Statement::new("UPDATE colsync_feed SET writer_txid = 0", Vec::new()).execute(conn)?;
    Ok(())
}

/// Position of the open write transaction in the feed.
pub(crate) fn txid(conn: &mut SqliteConnection) -> Result<i64> {
    position(conn, "SELECT writer_txid FROM colsync_feed")
}

/// The last position that is visible.
pub(crate) fn last_txid(conn: &mut SqliteConnection) -> Result<i64> {
    position(conn, "SELECT txid FROM colsync_feed")
}

fn position(conn: &mut SqliteConnection, sql: &str) -> Result<i64> {
    let rows = Statement::new(sql, Vec::new()).load::<DynRow>(conn)?;
    let txid = rows.first().and_then(|row| row.0.first()?.int());
    txid.ok_or_else(|| StoreError::Corrupt("colsync_feed has no row".to_owned()))
}

pub(crate) fn find(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    keys: &[RowKey],
) -> Result<Vec<StoredRow>> {
    let sql = format!(
        "SELECT {} FROM {} AS t WHERE ({}) = ({})",
        select::list(Backend::Sqlite, table),
        quote(&table.spec.name),
        key_names(table, "t."),
        key_places(Backend::Sqlite, table),
    );
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let statement = Statement::new(sql.clone(), key_binds(Backend::Sqlite, key));
        for row in statement.load::<DynRow>(conn)? {
            found.push(select::stored(Backend::Sqlite, table, row)?);
        }
    }
    Ok(found)
}

pub(crate) fn tombstones(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    keys: &[RowKey],
) -> Result<Vec<(RowKey, i64)>> {
    let sql = "SELECT version FROM colsync_tombstones WHERE table_name = :? AND row_id = :?";
    let mut found = Vec::new();
    for key in keys {
        let binds = vec![
            Bind::Text(table.spec.name.clone()),
            Bind::Text(key.to_string()),
        ];
        let rows = Statement::new(sql, binds).load::<DynRow>(conn)?;
        if let Some(version) = rows.first().and_then(|row| row.0.first()?.int()) {
            found.push((key.clone(), version));
        }
    }
    Ok(found)
}

pub(crate) fn insert(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    rows: &[NewRow],
) -> Result<Vec<StoredRow>> {
    let txid = txid(conn)?;
    let mut made = Vec::with_capacity(rows.len());
    for row in rows {
        made.push(insert_one(conn, table, row, txid)?);
    }
    Ok(made)
}

fn insert_one(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    row: &NewRow,
    txid: i64,
) -> Result<StoredRow> {
    let mut names: Vec<String> = Vec::new();
    let mut binds: Vec<Bind> = Vec::new();
    if let Some(key) = &row.key {
        if row.version > 1 {
            let sql = "DELETE FROM colsync_tombstones WHERE table_name = :? AND row_id = :?";
            let of_key = vec![
                Bind::Text(table.spec.name.clone()),
                Bind::Text(key.to_string()),
            ];
            Statement::new(sql, of_key).execute(conn)?;
        }
        names.extend(
            table
                .spec
                .key_columns()
                .iter()
                .map(|column| quote(&column.name)),
        );
        binds.extend(key_binds(Backend::Sqlite, key));
    }
    // In one order, so that the same columns are the same statement.
    let mut named: Vec<_> = row.values.iter().collect();
    named.sort_unstable_by_key(|(at, _)| *at);
    for (at, value) in named {
        let Some(column) = table.spec.columns.get(*at) else {
            continue;
        };
        names.push(quote(&column.name));
        binds.push(values::bind(&column.name, &column.ty, value)?);
    }
    let stamps = birth_map(table, row, txid).map_or(Bind::Null, Bind::Text);
    for (name, bind) in [
        ("sync_version", Bind::Int(row.version)),
        (
            "sync_server_last_updated",
            Bind::Int(row.server_time.micros()),
        ),
        (
            "sync_client_last_updated",
            Bind::Int(row.default.time.micros()),
        ),
        (
            "sync_client_id",
            Bind::Bytes(row.default.client.0.as_bytes().to_vec()),
        ),
        ("sync_stamps", stamps),
        ("sync_txid", Bind::Int(txid)),
    ] {
        names.push(name.to_owned());
        binds.push(bind);
    }
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO NOTHING RETURNING {}",
        quote(&table.spec.name),
        names.join(", "),
        vec![":?"; names.len()].join(", "),
        key_names(table, ""),
        select::list_of(Backend::Sqlite, table, ""),
    );
    let stored = table
        .kept
        .statement(sql, binds)
        .load::<DynRow>(conn)?
        .into_iter()
        .next();
    select::stored(Backend::Sqlite, table, stored.ok_or(StoreError::Raced)?)
}

pub(crate) fn update(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    rows: &[RowUpdate],
) -> Result<()> {
    for update in rows {
        let row = &update.row;
        let mut set: Vec<String> = Vec::new();
        let mut binds: Vec<Bind> = Vec::new();
        for &at in &update.changed {
            let (Some(column), Some(value)) = (table.spec.columns.get(at), row.values.get(at))
            else {
                continue;
            };
            set.push(format!("{} = :?", quote(&column.name)));
            binds.push(values::bind(&column.name, &column.ty, value)?);
        }
        set.push(
            "sync_version = :?, sync_deleted_at = :?, sync_server_last_updated = :?, sync_stamps = :?, sync_txid = :?"
                .to_owned(),
        );
        binds.extend([
            Bind::Int(row.version),
            row.deleted_at
                .map_or(Bind::Null, |at| Bind::Int(at.micros())),
            Bind::Int(row.server_time.micros()),
            row.stamps.write().map_or(Bind::Null, Bind::Text),
            Bind::Int(row.txid),
        ]);
        binds.extend(key_binds(Backend::Sqlite, &row.key));
        let sql = format!(
            "UPDATE {} SET {} WHERE ({}) = ({})",
            quote(&table.spec.name),
            set.join(", "),
            key_names(table, ""),
            key_places(Backend::Sqlite, table),
        );
        let statement = table.kept.statement(sql, binds);
        if statement.execute(conn)? == 0 {
            // A trigger's RAISE(IGNORE).
            return Err(StoreError::Refused("the row was not written".to_owned()));
        }
    }
    Ok(())
}
