//! Rows of the user's tables in PostgreSQL: locked with one statement, written with one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use colsync_shared::{RowKey, Time, Value};
use diesel::prelude::*;

use super::values::text;
use crate::store::conn::Backend;
use crate::store::error::StoreError;
use crate::store::model::{Entry, NewRow, RowUpdate, Stamps, StoredRow, TableInfo};
use crate::store::select::{self, key_names, sql_type};
use crate::store::statement::{Bind, DynRow, Statement};
use colsync_shared::sql::quote;

type Result<T> = std::result::Result<T, StoreError>;

/// A column of values to be passed as one array, and how its elements are cast.
struct Arrays {
    names: Vec<String>,
    binds: Vec<Bind>,
}

impl Arrays {
    fn new() -> Self {
        Arrays {
            names: Vec::new(),
            binds: Vec::new(),
        }
    }

    /// Adds an array and gives the name of its elements.
    fn add(&mut self, bind: Bind) -> String {
        let name = format!("a{}", self.names.len());
        self.names.push(name.clone());
        self.binds.push(bind);
        format!("v.{name}")
    }

    fn unnest(&self) -> String {
        let places = vec![":?"; self.names.len()].join(", ");
        format!("unnest({places}) AS v({})", self.names.join(", "))
    }
}

/// The open transaction's position in the feed.
pub(crate) const POSITION: &str = "pg_current_xact_id()::text::bigint";

/// Position of the open transaction in the feed.
pub(crate) fn txid(conn: &mut PgConnection) -> Result<i64> {
    let rows = Statement::new(format!("SELECT {POSITION}"), Vec::new()).load::<DynRow>(conn)?;
    let txid = rows.first().and_then(|row| row.0.first()?.int());
    txid.ok_or_else(|| StoreError::Corrupt("no transaction id".to_owned()))
}

/// Text of the current snapshot.
pub(crate) fn snapshot(conn: &mut PgConnection) -> Result<String> {
    let rows =
        Statement::new("SELECT pg_current_snapshot()::text", Vec::new()).load::<DynRow>(conn)?;
    let text = rows
        .first()
        .and_then(|row| Some(row.0.first()?.text()?.to_owned()));
    text.ok_or_else(|| StoreError::Corrupt("no snapshot".to_owned()))
}

/// Reads rows and locks them, in the order of their keys. Keys never change under the lock, so foreign
/// keys that point to the rows need not wait for it. With them comes the position of the open transaction in the
/// feed, if there is any row: asking for it by itself would be one more round trip.
pub(crate) fn lock(
    conn: &mut PgConnection,
    table: &TableInfo,
    keys: &[RowKey],
) -> Result<(Vec<StoredRow>, Option<i64>)> {
    let position = format!(", (SELECT {POSITION})");
    let rows = select(table, keys, &position, "FOR NO KEY UPDATE OF t").load::<DynRow>(conn)?;
    let mut txid = None;
    let rows = rows.into_iter().map(|mut row| {
        txid = row.0.pop().and_then(|cell| cell.int());
        select::stored(Backend::Pg, table, row)
    });
    let rows = rows.collect::<Result<_>>()?;
    Ok((rows, txid))
}

pub(crate) fn find(
    conn: &mut PgConnection,
    table: &TableInfo,
    keys: &[RowKey],
) -> Result<Vec<StoredRow>> {
    load(conn, table, select(table, keys, "", ""))
}

fn select(table: &TableInfo, keys: &[RowKey], more: &str, lock: &str) -> Statement {
    let mut arrays = Arrays::new();
    let matches = key_matches(table, &mut arrays, keys.iter());
    let sql = format!(
        "SELECT {}{more} FROM {} JOIN {} AS t ON {matches} ORDER BY {} {lock}",
        select::list(Backend::Pg, table),
        arrays.unnest(),
        quote(&table.spec.name),
        key_names(table, "t."),
    );
    Statement::new(sql, arrays.binds)
}

/// `t.id = v.a0::uuid AND …`, with the keys' parts added as arrays.
fn key_matches<'a>(
    table: &TableInfo,
    arrays: &mut Arrays,
    keys: impl Iterator<Item = &'a RowKey> + Clone,
) -> String {
    let matches = key_elements(table, arrays, keys)
        .into_iter()
        .zip(table.spec.key_columns());
    let matches = matches.map(|(element, column)| format!("t.{} = {element}", quote(&column.name)));
    matches.collect::<Vec<_>>().join(" AND ")
}

/// The parts of keys as arrays, cast to the types of the key's columns.
fn key_elements<'a>(
    table: &TableInfo,
    arrays: &mut Arrays,
    keys: impl Iterator<Item = &'a RowKey> + Clone,
) -> Vec<String> {
    let elements = table.spec.key.iter().enumerate().map(|(part, &column)| {
        let ty = table.spec.columns.get(column).map(|column| &column.ty);
        let values = keys.clone().map(|key| text(ty?, &key.0.get(part)?.value()));
        let element = arrays.add(Bind::Texts(values.collect()));
        format!("{element}::{}", sql_type(table, column))
    });
    elements.collect()
}

fn load(
    conn: &mut PgConnection,
    table: &TableInfo,
    statement: Statement,
) -> Result<Vec<StoredRow>> {
    let rows = statement.load::<DynRow>(conn)?;
    rows.into_iter()
        .map(|row| select::stored(Backend::Pg, table, row))
        .collect()
}

pub(crate) fn tombstones(
    conn: &mut PgConnection,
    table: &TableInfo,
    keys: &[RowKey],
) -> Result<Vec<(RowKey, i64)>> {
    let ids: Vec<Option<String>> = keys.iter().map(|key| Some(key.to_string())).collect();
    let sql =
        "SELECT row_id, version FROM colsync_tombstones WHERE table_name = :? AND row_id = ANY(:?)";
    let binds = vec![Bind::Text(table.spec.name.clone()), Bind::Texts(ids)];
    let rows = Statement::new(sql, binds).load::<DynRow>(conn)?;
    let found = rows.iter().filter_map(|row| match row.0.as_slice() {
        [id, version] => Some((
            RowKey::from_id(&table.spec, id.text()?).ok()?,
            version.int()?,
        )),
        _ => None,
    });
    Ok(found.collect())
}

/// Inserts rows, those that name the same columns together.
pub(crate) fn insert(
    conn: &mut PgConnection,
    table: &TableInfo,
    rows: &[NewRow],
    txid: i64,
) -> Result<Vec<StoredRow>> {
    let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    let mut made: BTreeMap<usize, StoredRow> = BTreeMap::new();
    for (position, row) in rows.iter().enumerate() {
        if row.key.is_some() {
            let mut columns: Vec<usize> = row.values.iter().map(|(column, _)| *column).collect();
            columns.sort_unstable();
            groups.entry(columns).or_default().push(position);
        } else {
            let mut columns: Vec<usize> = row.values.iter().map(|(column, _)| *column).collect();
            columns.sort_unstable();
            let one = insert_group(conn, table, &columns, &[row], txid)?;
            made.extend(one.into_iter().map(|row| (position, row)));
        }
    }
    for (columns, positions) in groups {
        let some: Vec<&NewRow> = positions
            .iter()
            .filter_map(|&position| rows.get(position))
            .collect();
        let stored = insert_group(conn, table, &columns, &some, txid)?;
        let by_key: HashMap<&RowKey, usize> = positions
            .iter()
            .filter_map(|&position| Some((rows.get(position)?.key.as_ref()?, position)))
            .collect();
        for row in stored {
            if let Some(&position) = by_key.get(&row.key) {
                made.insert(position, row);
            }
        }
    }
    if made.len() == rows.len() {
        forget_tombstones(conn, table, rows)?;
        Ok(made.into_values().collect())
    } else {
        Err(StoreError::Raced)
    }
}

fn insert_group(
    conn: &mut PgConnection,
    table: &TableInfo,
    columns: &[usize],
    rows: &[&NewRow],
    txid: i64,
) -> Result<Vec<StoredRow>> {
    let mut arrays = Arrays::new();
    let mut names: Vec<String> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    let keyed = rows.iter().all(|row| row.key.is_some());
    if keyed {
        names.extend(
            table
                .spec
                .key_columns()
                .iter()
                .map(|column| quote(&column.name)),
        );
        elements.extend(key_elements(
            table,
            &mut arrays,
            rows.iter().filter_map(|row| row.key.as_ref()),
        ));
    }
    for &at in columns {
        let Some(column) = table.spec.columns.get(at) else {
            continue;
        };
        let value = |row: &&NewRow| {
            let named = row.values.iter().find(|(column, _)| *column == at);
            named.and_then(|(_, value)| text(&column.ty, value))
        };
        let element = arrays.add(Bind::Texts(rows.iter().map(value).collect()));
        names.push(quote(&column.name));
        elements.push(format!("{element}::{}", sql_type(table, at)));
    }
    let mut meta = |name: &str, cast: &str, bind: Bind| {
        let element = arrays.add(bind);
        names.push(name.to_owned());
        elements.push(format!("{element}{cast}"));
    };
    let ints =
        |of: &dyn Fn(&NewRow) -> i64| Bind::Ints(rows.iter().map(|row| Some(of(row))).collect());
    let texts = |of: &dyn Fn(&NewRow) -> Option<String>| {
        Bind::Texts(rows.iter().map(|row| of(row)).collect())
    };
    meta("sync_version", "", ints(&|row| row.version));
    let times = |of: &dyn Fn(&NewRow) -> Time| Bind::times(rows.iter().map(|row| Some(of(row))));
    meta(
        "sync_server_last_updated",
        "",
        times(&|row| row.server_time),
    );
    meta(
        "sync_client_last_updated",
        "",
        times(&|row| row.default.time),
    );
    meta(
        "sync_client_id",
        "::uuid",
        texts(&|row| Some(row.default.client.to_string())),
    );
    meta(
        "sync_stamps",
        "::jsonb",
        texts(&|row| birth_map(table, row, txid)),
    );
    meta("sync_txid", "", ints(&|_| txid));
    let conflict = if keyed {
        format!("ON CONFLICT ({}) DO NOTHING", key_names(table, ""))
    } else {
        String::new()
    };
    let sql = format!(
        "INSERT INTO {} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} {conflict} RETURNING {}",
        quote(&table.spec.name),
        names.join(", "),
        elements.join(", "),
        arrays.unnest(),
        select::list(Backend::Pg, table),
    );
    load(conn, table, table.kept.statement(sql, arrays.binds))
}

/// The map of a new row: for columns whose stamp is not the row's default, and for those that the
/// database fills in, which nobody has written.
pub(crate) fn birth_map(table: &TableInfo, row: &NewRow, txid: i64) -> Option<String> {
    let version = row.version;
    let own = row.entries.iter().map(|(at, stamp)| (*at, Some(*stamp)));
    let filled = table
        .spec
        .columns
        .iter()
        .enumerate()
        .filter(|(at, column)| {
            let named = row.values.iter().any(|(named, _)| named == at);
            column.has_default && !named && !table.spec.is_key(*at)
        });
    let entries = own
        .chain(filled.map(|(at, _)| (at, None)))
        .filter_map(|(at, stamp)| {
            let name = table.spec.columns.get(at)?.name.clone();
            Some((
                name,
                Entry {
                    stamp,
                    version,
                    txid,
                },
            ))
        });
    Stamps {
        birth_version: version,
        birth_txid: txid,
        entries: entries.collect(),
    }
    .write()
}

/// A row that is made again is purged no more. While it waited for its key another transaction may have made a row of
/// it and removed that: only now is every tombstone there, and the row has to go on from that one.
fn forget_tombstones(conn: &mut PgConnection, table: &TableInfo, rows: &[NewRow]) -> Result<()> {
    let keyed = rows
        .iter()
        .filter_map(|row| Some((row.key.as_ref()?.to_string(), row.version)));
    let keyed: Vec<(String, i64)> = keyed.collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let ids = keyed.iter().map(|(id, _)| Some(id.clone())).collect();
    let sql = "DELETE FROM colsync_tombstones WHERE table_name = :? AND row_id = ANY(:?) \
               RETURNING row_id, version";
    let binds = vec![Bind::Text(table.spec.name.clone()), Bind::Texts(ids)];
    let found = Statement::new(sql, binds).load::<DynRow>(conn)?;
    let buried = found.iter().filter_map(|row| match row.0.as_slice() {
        [id, version] => Some((id.text()?, version.int()?)),
        _ => None,
    });
    let buried: HashMap<&str, i64> = buried.collect();
    let goes_on = |(id, version): &(String, i64)| {
        let before = buried.get(id.as_str()).copied();
        before.unwrap_or(0) + 1 == *version
    };
    if keyed.iter().all(goes_on) {
        Ok(())
    } else {
        Err(StoreError::Raced)
    }
}

/// Writes locked rows back with one statement. Where rows changed different columns, a mask says which.
pub(crate) fn update(
    conn: &mut PgConnection,
    table: &TableInfo,
    rows: &[RowUpdate<'_>],
) -> Result<()> {
    let sets: BTreeSet<&Vec<usize>> = rows.iter().map(|row| &row.changed).collect();
    let uniform = sets.len() == 1;
    // Never a column that no row changed: there are columns that may not be written (GENERATED ALWAYS).
    let columns: BTreeSet<usize> = sets.into_iter().flatten().copied().collect();
    let columns: Vec<usize> = columns.into_iter().collect();
    let mut arrays = Arrays::new();
    let matches = key_matches(table, &mut arrays, rows.iter().map(|row| &row.row.key));
    let mut set = Vec::with_capacity(columns.len() + 5);
    let mask = if uniform {
        None
    } else {
        Some(arrays.add(masks(&columns, rows)))
    };
    for (position, &at) in columns.iter().enumerate() {
        let Some(column) = table.spec.columns.get(at) else {
            continue;
        };
        let value = |row: &RowUpdate<'_>| {
            let changed = uniform || row.changed.contains(&at);
            row.row
                .values
                .get(at)
                .filter(|_| changed)
                .and_then(|value: &Value| text(&column.ty, value))
        };
        let element = arrays.add(Bind::Texts(rows.iter().map(value).collect()));
        let name = quote(&column.name);
        let new = format!("{element}::{}", sql_type(table, at));
        set.push(match &mask {
            None => format!("{name} = {new}"),
            Some(mask) => {
                format!(
                    "{name} = CASE WHEN substr({mask}, {}, 1) = '1' THEN {new} ELSE t.{name} END",
                    position + 1
                )
            }
        });
    }
    let ints = |of: &dyn Fn(&StoredRow) -> i64| {
        Bind::Ints(rows.iter().map(|row| Some(of(row.row))).collect())
    };
    let texts = |of: &dyn Fn(&StoredRow) -> Option<String>| {
        Bind::Texts(rows.iter().map(|row| of(row.row)).collect())
    };
    let version = arrays.add(ints(&|row| row.version));
    let times =
        |of: &dyn Fn(&StoredRow) -> Option<Time>| Bind::times(rows.iter().map(|row| of(row.row)));
    let deleted = arrays.add(times(&|row| row.deleted_at));
    let server = arrays.add(times(&|row| Some(row.server_time)));
    let stamps = arrays.add(texts(&|row| row.stamps.write()));
    let txid = arrays.add(ints(&|row| row.txid));
    set.push(format!(
        "sync_version = {version}, sync_deleted_at = {deleted}, \
         sync_server_last_updated = {server}, sync_stamps = {stamps}::jsonb, sync_txid = {txid}"
    ));
    let over = arrays.add(Bind::Ints(rows.iter().map(|row| Some(row.over)).collect()));
    let sql = format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {matches} AND t.sync_version = {over}",
        quote(&table.spec.name),
        set.join(", "),
        arrays.unnest()
    );
    let written = table.kept.statement(sql, arrays.binds).execute(conn)?;
    if written == rows.len() {
        Ok(())
    } else {
        Err(StoreError::Refused(format!(
            "{} rows were to be written, {written} were",
            rows.len()
        )))
    }
}

/// For each row a text of 0 and 1, one for each of `columns`.
fn masks(columns: &[usize], rows: &[RowUpdate<'_>]) -> Bind {
    let mask = |row: &RowUpdate<'_>| {
        let flags = columns
            .iter()
            .map(|at| if row.changed.contains(at) { '1' } else { '0' });
        Some(flags.collect())
    };
    Bind::Texts(rows.iter().map(mask).collect())
}
