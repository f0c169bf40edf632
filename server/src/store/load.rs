//! The synced tables as the configuration names them and the database has them; and adopting more.

use std::sync::Arc;

use colsync_shared::sql::quote;
use colsync_shared::{Column, ColumnType, Policy, Table, Time};
use sha2::{Digest as _, Sha256};

use super::adopt::AdoptError;
use super::conn::Conn;
use super::error::StoreError;
use super::internal;
use super::introspected::Introspected;
use super::model::{Schema, TableInfo};
use super::statement::Kept;
use super::{pg, pointed, sqlite};
use crate::config::TableConfig;

/// Why the server cannot serve the tables it is configured for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error("tables.{0}: no such table in the database")]
    NoTable(String),
    #[error("tables.{0}: not adopted yet; run `colsync adopt --table {0}`")]
    NotAdopted(String),
    #[error(
        "tables.{0}: its key is not one that colsync can sync; run `colsync adopt --table {0} --dry-run`"
    )]
    Unfit(String),
    #[error("tables.{table}: {problem}; give such rows keys, or delete them")]
    Key { table: String, problem: String },
    #[error("tables.{table}.columns.{column}: no such column")]
    NoColumn { table: String, column: String },
    #[error("tables.{table}.columns.{column}: {reason}")]
    Policy {
        table: String,
        column: String,
        reason: String,
    },
    #[error("tables.{table}.groups.{group}: {reason}")]
    Group {
        table: String,
        group: String,
        reason: String,
    },
}

/// Adds colsync's columns and triggers to `tables`, or says what it would run.
pub(crate) fn adopt_tables(
    conn: &mut Conn,
    tables: &[String],
    now: Time,
    dry_run: bool,
) -> Result<Vec<String>, LoadError> {
    let plan = match conn {
        Conn::Pg(c) => pg::adopt::plan(c, tables, now)?,
        Conn::Sqlite(c) => sqlite::adopt::plan(c, tables, now)?,
    };
    if !dry_run {
        conn.unhurried(|conn| {
            let done = match conn {
                Conn::Pg(c) => pg::adopt::apply(c, &plan),
                Conn::Sqlite(c) => sqlite::adopt::apply(c, &plan),
            };
            done.map_err(StoreError::from)
        })?;
    }
    Ok(plan)
}

/// Reads the schema of the configured tables.
pub(super) fn load(conn: &mut Conn, configured: &[TableConfig]) -> Result<Schema, LoadError> {
    let adopted = internal::adopted_tables(conn)?;
    let mut tables = Vec::with_capacity(configured.len());
    for config in configured {
        let found = match conn {
            Conn::Pg(c) => pg::introspect::table(c, &config.name),
            Conn::Sqlite(c) => sqlite::introspect::table(c, &config.name),
        };
        let found = found.map_err(StoreError::from)?;
        let found = found.ok_or_else(|| LoadError::NoTable(config.name.clone()))?;
        let id = adopted
            .iter()
            .find(|(name, _)| *name == config.name)
            .map(|(_, id)| *id);
        let (Some(id), true) = (id, found.adopted) else {
            return Err(LoadError::NotAdopted(config.name.clone()));
        };
        for problem in &found.problems {
            // What was added since the adoption is left out; what was adopted goes on.
            log::warn!("tables.{}: {problem}", config.name);
        }
        if found.key.is_empty() {
            return Err(LoadError::Unfit(config.name.clone()));
        }
        tables.push(configure(config, found, id)?);
    }
    if tables.iter().any(|table| table.spec.hard_delete) {
        let all = match conn {
            Conn::Pg(c) => pg::introspect::acting(c),
            Conn::Sqlite(c) => sqlite::introspect::acting(c),
        };
        let names: Vec<String> = tables.iter().map(|table| quote(&table.spec.name)).collect();
        let acting = pointed::into_synced(&all.map_err(StoreError::from)?, &names);
        for (table, acting) in tables.iter_mut().zip(acting) {
            table.acting = acting;
        }
    }
    if let Conn::Sqlite(c) = conn {
        let late = sqlite::introspect::late(c).map_err(StoreError::from)?;
        for table in &mut tables {
            let about = late.iter().filter(|key| key.is_about(&table.spec.name));
            table.late = about.cloned().collect();
        }
    }
    let tables = with_synced_foreign_keys(tables);
    let names: Vec<String> = tables.iter().map(|table| table.spec.name.clone()).collect();
    if !names.is_empty() {
        // Columns added since the adoption must be captured, too.
        let now = crate::edges::now();
        adopt_tables(conn, &names, now, false)?;
        // After that, so that the triggers know of such rows when they are mended.
        told_by_their_keys(conn, &names)?;
        conn.note_columns(&tables, now)?;
    }
    let tables = parents_first(tables);
    let hash = hash(&tables);
    let late_uniques = match conn {
        Conn::Pg(c) => pg::introspect::late_uniques(c).map_err(StoreError::from)?,
        Conn::Sqlite(_) => None,
    };
    let others_change = match conn {
        Conn::Pg(c) => pg::introspect::others_change(c),
        Conn::Sqlite(c) => sqlite::introspect::others_change(c),
    };
    Ok(Schema {
        tables,
        hash,
        others_change: others_change.map_err(StoreError::from)?,
        late_uniques,
    })
}

/// Refuses rows whose keys are none: no list or pull that comes to one could be answered. PostgreSQL has no such rows.
fn told_by_their_keys(conn: &mut Conn, tables: &[String]) -> Result<(), LoadError> {
    let Conn::Sqlite(c) = conn else {
        return Ok(());
    };
    for table in tables {
        let Some(found) = sqlite::introspect::table(c, table).map_err(StoreError::from)? else {
            continue;
        };
        let problems = sqlite::adopt::key_problems(c, table, &found).map_err(StoreError::from)?;
        if !problems.is_empty() {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(LoadError::Key {
                table: table.clone(),
                problem: problems.join(", "),
            });
        }
    }
    Ok(())
}

fn configure(config: &TableConfig, found: Introspected, id: i64) -> Result<TableInfo, LoadError> {
    let table = || config.name.clone();
    let mut columns = found.columns;
    for (name, policy) in &config.columns {
        let position = columns.iter().position(|column| column.name == *name);
        let refuse = |reason: &str| LoadError::Policy {
            table: table(),
            column: name.clone(),
            reason: reason.to_owned(),
        };
        let Some(column) = position.and_then(|at| columns.get_mut(at)) else {
            return Err(LoadError::NoColumn {
                table: table(),
                column: name.clone(),
            });
        };
        if let Some(reason) = unfit(*policy, &column.ty) {
            return Err(refuse(reason));
        }
        if position.is_some_and(|at| found.key.contains(&at)) {
            return Err(refuse("a key never changes, so it needs no policy"));
        }
        column.policy = *policy;
    }
    group(config, &mut columns, &found.key)?;
    Ok(TableInfo {
        id,
        spec: Table {
            name: table(),
            columns,
            key: found.key,
            row_policy: config.row_policy,
            edit_after_delete: config.edit_after_delete,
            blind_writes: config.blind_writes,
            hard_delete: config.hard_delete,
        },
        sql_types: found.sql_types,
        has_foreign_triggers: found.has_foreign_triggers,
        resolves_conflicts: found.resolves_conflicts,
        parents: found.parents,
        foreign_keys: found.foreign_keys,
        acting: Vec::new(),
        late: Vec::new(),
        kept: Kept::default(),
    })
}

/// Puts the columns into their groups.
fn group(
    config: &TableConfig,
    columns: &mut [Column],
    table_key: &[usize],
) -> Result<(), LoadError> {
    for (group, members) in &config.groups {
        let refuse = |reason: String| LoadError::Group {
            table: config.name.clone(),
            group: group.clone(),
            reason,
        };
        if columns.iter().any(|column| column.name == *group) {
            // The ledger names either in the same place.
            return Err(refuse("a column has this name".to_owned()));
        }
        for name in members {
            let position = columns.iter().position(|column| column.name == *name);
            if position.is_some_and(|at| table_key.contains(&at)) {
                let reason = format!("{name} is of the key, which never changes");
                return Err(refuse(reason));
            }
            let column = position.and_then(|at| columns.get_mut(at));
            let column = column.ok_or_else(|| refuse(format!("no such column {name}")))?;
            column.group = Some(group.clone());
        }
    }
    Ok(())
}

/// Leaves out the foreign keys that a client could not keep: to what it does not get, or of it.
fn with_synced_foreign_keys(mut tables: Vec<TableInfo>) -> Vec<Arc<TableInfo>> {
    let specs: Vec<Table> = tables.iter().map(|table| table.spec.clone()).collect();
    for table in &mut tables {
        let synced = |spec: &Table, columns: &[String]| {
            columns.iter().all(|name| spec.position(name).is_some())
        };
        let child = &table.spec;
        table.foreign_keys.retain(|key| {
            let parent = specs.iter().find(|spec| spec.name == key.table);
            synced(child, &key.columns)
                && parent.is_some_and(|parent| synced(parent, &key.references))
        });
    }
    tables.into_iter().map(Arc::new).collect()
}

/// Why a policy has no meaning for values of a type; a clause.
fn unfit(policy: Policy, ty: &ColumnType) -> Option<&'static str> {
    match policy {
        Policy::LastWriterWins | Policy::ServerWins | Policy::ClientWins | Policy::Manual => None,
        Policy::Max | Policy::Min => {
            (!ty.is_ordered()).then_some("max and min need values that have an order")
        }
        Policy::Counter => {
            let is_number = matches!(
                ty,
                ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Real { .. }
            );
            (!is_number).then_some("counter needs numbers")
        }
        Policy::Set => {
            let is_list = matches!(ty, ColumnType::Json | ColumnType::Array(_));
            (!is_list).then_some("set needs JSON, or an array")
        }
        Policy::Text => {
            (!matches!(ty, ColumnType::Text { .. })).then_some("text needs a column of text")
        }
        Policy::Json => (*ty != ColumnType::Json).then_some("json needs a column of JSON"),
    }
}

/// Parents before children; tables of a cycle as configured.
fn parents_first(mut waiting: Vec<Arc<TableInfo>>) -> Vec<Arc<TableInfo>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |table: &TableInfo| {
            let others = waiting.iter().filter(|other| other.id != table.id);
            others
                .into_iter()
                .any(|other| table.parents.contains(&other.spec.name))
        };
        let next = waiting.iter().position(|table| !waits(table)).unwrap_or(0);
        ordered.push(waiting.remove(next));
    }
    ordered
}

fn hash(tables: &[Arc<TableInfo>]) -> String {
    let mut hash = Sha256::new();
    for table in tables {
        hash.update(format!(
            "{:?} {:?} {:?}\n",
            table.spec, table.parents, table.foreign_keys
        ));
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
