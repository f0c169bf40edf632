//! Foreign keys that act when a row is removed: they would take rows with it, or what these hold, and nobody who wrote
//! that would hear of it. A row that is pointed to by one stays.
//!
//! Must not know why a row is to be removed.

use std::collections::BTreeSet;

use colsync_shared::RowKey;
use colsync_shared::sql::quote;

use super::conn::{Backend, Conn};
use super::error::{ConstraintKind, StoreError};
use super::model::TableInfo;
use super::select;
use super::statement::Statement;

/// A foreign key with `ON DELETE CASCADE`, `SET NULL` or `SET DEFAULT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acting {
    /// The table that it is of, as SQL names it; not every one is synced.
    pub(crate) child: String,
    /// Its columns, and those that they point to.
    pub(crate) columns: Vec<String>,
    /// The table that it points to, as SQL names it.
    pub(crate) parent: String,
    pub(crate) references: Vec<String>,
}

/// Of `all` foreign keys that act, those into each of the `synced` tables that would reach a synced one: its child is, or a
/// child of that, and so on.
pub(super) fn into_synced(all: &[Acting], synced: &[String]) -> Vec<Vec<Acting>> {
    let mut reached: BTreeSet<&str> = synced.iter().map(String::as_str).collect();
    loop {
        let before = reached.len();
        // Who takes along rows that take along synced ones.
        let next = all.iter().filter(|key| reached.contains(&*key.child));
        let parents: Vec<&str> = next.map(|key| &*key.parent).collect();
        reached.extend(parents);
        if reached.len() == before {
            break;
        }
    }
    let into = |parent: &String| {
        let keys = all.iter().filter(|key| key.parent == *parent);
        let keys = keys.filter(|key| reached.contains(&*key.child));
        keys.cloned().collect()
    };
    synced.iter().map(into).collect()
}

impl Conn {
    /// Makes sure that no other row goes, or changes, with the row.
    ///
    /// # Errors
    /// [`StoreError::Constraint`] if one points to it by a foreign key that acts.
    pub(super) fn stands_alone(
        &mut self,
        table: &TableInfo,
        key: &RowKey,
    ) -> Result<(), StoreError> {
        if table.acting.is_empty() {
            return Ok(());
        }
        let backend = self.backend();
        let name = quote(&table.spec.name);
        let of_key = format!(
            "({}) = ({})",
            select::key_names(table, "p."),
            select::key_places(backend, table)
        );
        if backend == Backend::Pg {
            // From here on no other transaction makes a row that points to it.
            let lock = format!("SELECT 1 FROM {name} AS p WHERE {of_key} FOR UPDATE");
            self.load(Statement::new(lock, select::key_binds(backend, key)))?;
        }
        for acting in &table.acting {
            let pairs = acting.columns.iter().zip(&acting.references);
            let pairs = pairs.map(|(from, to)| format!("c.{} = p.{}", quote(from), quote(to)));
            let mut on: Vec<String> = pairs.collect();
            if acting.child == acting.parent {
                let (own, other) = (
                    select::key_names(table, "c."),
                    select::key_names(table, "p."),
                );
                on.push(format!("NOT (({own}) = ({other}))"));
            }
            let sql = format!(
                "SELECT 1 FROM {name} AS p JOIN {} AS c ON {} WHERE {of_key} LIMIT 1",
                acting.child,
                on.join(" AND "),
            );
            let found = self.load(Statement::new(sql, select::key_binds(backend, key)))?;
            if !found.is_empty() {
                let child = acting.child.replace('"', "");
                return Err(StoreError::Constraint {
                    kind: ConstraintKind::ForeignKey,
                    name: Some(format!("{child} ({})", acting.columns.join(", "))),
                    column: None,
                });
            }
        }
        Ok(())
    }
}
