//! Foreign keys that SQLite checks at COMMIT only. A broken one says there neither which it is nor by which row: where
//! edits are written one by one, each row is asked for its own.
//!
//! PostgreSQL checks them at once when it is told to ([`Conn::constraints_now`]).

use colsync_shared::Value;
use colsync_shared::schema_wire::ForeignKeyWire;
use colsync_shared::sql::quote;

use super::conn::Conn;
use super::error::{ConstraintKind, StoreError};
use super::model::{StoredRow, TableInfo};
use super::sqlite;
use super::statement::{Bind, Statement};

/// A foreign key that is checked late.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    /// The table that it is of.
    pub(crate) child: String,
    pub(crate) key: ForeignKeyWire,
}

impl Late {
    /// Whether it is of this table, or into it.
    pub(super) fn is_about(&self, table: &str) -> bool {
        self.child == table || self.key.table == table
    }
}

impl Conn {
    /// Makes sure that a row which was `before` and is `after` now points to rows that are there, and that none points to
    /// what it was.
    ///
    /// # Errors
    /// [`StoreError::Constraint`] if a foreign key that is checked late is broken.
    pub(crate) fn keys_hold(
        &mut self,
        table: &TableInfo,
        before: Option<&StoredRow>,
        after: Option<&StoredRow>,
    ) -> Result<(), StoreError> {
        for Late { child, key } in &table.late {
            let mut holds = true;
            if *child == table.spec.name {
                let is = pointer(table, after, &key.columns)?;
                if is.is_some() && is != pointer(table, before, &key.columns)? {
                    holds &= self.has(&key.table, &key.references, is)?;
                }
            }
            if key.table == table.spec.name {
                let was = pointer(table, before, &key.references)?;
                if was.is_some() && was != pointer(table, after, &key.references)? {
                    holds &= !self.has(child, &key.columns, was.clone())?
                        || self.has(&key.table, &key.references, was)?;
                }
            }
            if !holds {
                return Err(StoreError::Constraint {
                    kind: ConstraintKind::ForeignKey,
                    name: Some(format!("{child} ({})", key.columns.join(", "))),
                    column: None,
                });
            }
        }
        Ok(())
    }

    /// Whether a row of `table` has these values in these columns.
    fn has(
        &mut self,
        table: &str,
        columns: &[String],
        values: Option<Vec<Bind>>,
    ) -> Result<bool, StoreError> {
        let equal = columns.iter().map(|name| format!("{} = :?", quote(name)));
        let equal: Vec<String> = equal.collect();
        let sql = format!(
            "SELECT 1 FROM {} WHERE {} LIMIT 1",
            quote(table),
            equal.join(" AND ")
        );
        let found = self.load(Statement::new(sql, values.unwrap_or_default()))?;
        Ok(!found.is_empty())
    }
}

/// What the row has in these columns; nothing where it has NULL in one, which points nowhere.
fn pointer(
    table: &TableInfo,
    row: Option<&StoredRow>,
    columns: &[String],
) -> Result<Option<Vec<Bind>>, StoreError> {
    let Some(row) = row else { return Ok(None) };
    let mut binds = Vec::with_capacity(columns.len());
    for name in columns {
        let at = table.spec.position(name);
        let column = at.and_then(|at| Some((table.spec.columns.get(at)?, row.values.get(at)?)));
        match column {
            // A column that is not synced stays as it is.
            None | Some((_, Value::Null)) => return Ok(None),
            Some((column, value)) => binds.push(sqlite::values::bind(name, &column.ty, value)?),
        }
    }
    Ok(Some(binds))
}
