//! Rows of the user's tables in SQLite, inside a transaction that holds the only write lock.

use std::collections::BTreeMap;

use colsync_shared::{RowKey, Value};
use diesel::prelude::*;

use super::values;
use crate::store::conn::Backend;
use crate::store::error::StoreError;
use crate::store::model::{NewRow, RowUpdate, StoredRow, TableInfo};
use crate::store::pg::rows::birth_map;
use crate::store::select::{self, key_binds, key_names};
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
    let parts = table.spec.key.len();
    let list = select::list(Backend::Sqlite, table);
    let mut found = Vec::with_capacity(keys.len());
    for some in portions(keys, parts) {
        // The keys are the outer loop, whatever SQLite thinks of the table's size.
        let sql = format!(
            "SELECT {list} FROM (VALUES {}) AS colsync_keys CROSS JOIN {} AS t ON ({}) = ({})",
            places(some.len(), parts),
            quote(&table.spec.name),
            key_names(table, "t."),
            elements("colsync_keys", 0, parts).join(", "),
        );
        let binds = some.iter().flat_map(|key| key_binds(Backend::Sqlite, key));
        for row in Statement::new(sql, binds.collect()).load::<DynRow>(conn)? {
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
    txid: i64,
) -> Result<Vec<StoredRow>> {
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
        "INSERT {}INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO NOTHING RETURNING {}",
        or_abort(table),
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

/// What keeps a table's own ON CONFLICT from deleting rows that nobody named, or from leaving out the one that is
/// written. Where it has none nothing is said: it would count for the statements of the table's triggers, too.
fn or_abort(table: &TableInfo) -> &'static str {
    if table.resolves_conflicts {
        "OR ABORT "
    } else {
        ""
    }
}

/// Writes locked rows back, those that changed the same columns together.
pub(crate) fn update(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    rows: &[RowUpdate<'_>],
) -> Result<()> {
    let mut alike: BTreeMap<&[usize], Vec<&RowUpdate<'_>>> = BTreeMap::new();
    for row in rows {
        alike.entry(&row.changed).or_default().push(row);
    }
    for (changed, rows) in alike {
        // One by one where a trigger of the first may write the second.
        let width = if table.has_foreign_triggers {
            BINDS
        } else {
            changed.len() + WRITTEN.len() + table.spec.key.len() + 1
        };
        for some in portions(&rows, width) {
            update_some(conn, table, changed, some)?;
        }
    }
    Ok(())
}

/// What of colsync's own an update writes, in the order of its values.
const WRITTEN: [&str; 5] = [
    "sync_version",
    "sync_deleted_at",
    "sync_server_last_updated",
    "sync_stamps",
    "sync_txid",
];

fn update_some(
    conn: &mut SqliteConnection,
    table: &TableInfo,
    changed: &[usize],
    rows: &[&RowUpdate<'_>],
) -> Result<()> {
    let columns = || {
        changed
            .iter()
            .filter_map(|&at| Some((at, table.spec.columns.get(at)?)))
    };
    let names = columns().map(|(_, column)| quote(&column.name));
    let names: Vec<String> = names.chain(WRITTEN.map(str::to_owned)).collect();
    // The key, and the version that is written over.
    let (written, parts) = (names.len(), table.spec.key.len() + 1);
    let mut binds = Vec::with_capacity(rows.len() * (written + parts));
    for RowUpdate { row, over, .. } in rows {
        for (at, column) in columns() {
            let value = row.values.get(at).unwrap_or(&Value::Null);
            binds.push(values::bind(&column.name, &column.ty, value)?);
        }
        binds.extend([
            Bind::Int(row.version),
            row.deleted_at
                .map_or(Bind::Null, |at| Bind::Int(at.micros())),
            Bind::Int(row.server_time.micros()),
            row.stamps.write().map_or(Bind::Null, Bind::Text),
            Bind::Int(row.txid),
        ]);
        binds.extend(key_binds(Backend::Sqlite, &row.key));
        binds.push(Bind::Int(*over));
    }
    let name = quote(&table.spec.name);
    let values = elements("colsync_values", 0, written).into_iter();
    let set = names.into_iter().zip(values);
    let set: Vec<String> = set
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let sql = format!(
        "UPDATE {}{name} SET {} FROM (VALUES {}) AS colsync_values WHERE ({}) = ({})",
        or_abort(table),
        set.join(", "),
        places(rows.len(), written + parts),
        key_names(table, &format!("{name}.")) + &format!(", {name}.sync_version"),
        elements("colsync_values", written, parts).join(", "),
    );
    if table.kept.statement(sql, binds).execute(conn)? == rows.len() {
        Ok(())
    } else {
        // A trigger's RAISE(IGNORE), or another version than the one that it was to go over.
        Err(StoreError::Refused("the row was not written".to_owned()))
    }
}

/// Rows of one statement. One of many costs little more than one of a single row, and the numbers are few, so
/// that all of them stay prepared.
const TOGETHER: [usize; 3] = [64, 8, 1];

/// Values that one statement binds at the most, of the 32,766 that SQLite allows.
const BINDS: usize = 16_384;

/// Cuts `rows` into portions of one statement each, whose rows have `width` values.
pub(crate) fn portions<T>(rows: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let fits = |&&many: &&usize| many <= left.len() && (many == 1 || many * width <= BINDS);
        let many = *TOGETHER.iter().find(fits)?;
        let (some, rest) = left.split_at_checked(many)?;
        left = rest;
        Some(some)
    })
}

/// Places of `rows` rows of `width` values: `(:?, :?), (:?, :?)`.
pub(crate) fn places(rows: usize, width: usize) -> String {
    let row = format!("({})", vec![":?"; width].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// SQLite's names for `count` of the values of a VALUES clause, those after the first `skipped`.
fn elements(alias: &str, skipped: usize, count: usize) -> Vec<String> {
    (skipped..skipped + count)
        .map(|at| format!("{alias}.column{}", at + 1))
        .collect()
}
