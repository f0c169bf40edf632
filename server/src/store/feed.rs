//! Pages of rows: by key for whoever lists them, by position in the feed for whoever pulls.

use colsync_shared::RowKey;

use super::adopt::HAS_MOVED;
use super::conn::{Backend, Conn, Grave};
use super::error::StoreError;
use super::horizon::Horizon;
use super::model::{StoredRow, TableInfo};
use super::select::{key_binds, key_names, key_places, list};
use super::statement::{Bind, Statement};
use colsync_shared::sql::quote;

type Result<T> = std::result::Result<T, StoreError>;

/// Conditions joined by AND, with the values they bind.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    binds: Vec<Bind>,
}

impl Conditions {
    fn add(&mut self, sql: impl Into<String>, binds: impl IntoIterator<Item = Bind>) {
        self.sql.push(sql.into());
        self.binds.extend(binds);
    }

    /// What is not visible at `horizon`.
    fn unseen(&mut self, backend: Backend, column: &str, horizon: &Horizon) {
        self.add(format!("{column} >= :?"), [Bind::Int(horizon.xmin)]);
        self.unseen_beyond(backend, column, horizon);
    }

    /// The same where another condition begins behind a position that is not visible. A second lower bound would be one
    /// too many: SQLite takes the first, and would go over all that the pages before have brought.
    fn unseen_beyond(&mut self, backend: Backend, column: &str, horizon: &Horizon) {
        if backend == Backend::Pg && horizon.xmax > horizon.xmin {
            let open = horizon.open.iter().map(|txid| Some(*txid)).collect();
            let sql = format!("({column} >= :? OR {column} = ANY(:?))");
            self.add(sql, [Bind::Int(horizon.xmax), Bind::Ints(open)]);
        }
    }

    fn clause(&self) -> String {
        if self.sql.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.sql.join(" AND "))
        }
    }
}

impl Conn {
    /// A page of rows in the order of their keys, those after `after`.
    pub(crate) fn read_page(
        &mut self,
        table: &TableInfo,
        after: Option<&RowKey>,
        limit: usize,
        deleted: bool,
    ) -> Result<Vec<StoredRow>> {
        let backend = self.backend();
        let keys = key_names(table, "t.");
        let mut only = Conditions::default();
        if !deleted {
            only.add("t.sync_deleted_at IS NULL", []);
        }
        if let Some(after) = after {
            only.add(
                format!("({keys}) > ({})", key_places(backend, table)),
                key_binds(backend, after),
            );
        }
        self.page(table, only, &keys, limit)
    }

    /// Rows whose last change is not visible at `horizon`, in feed order, those after `after`.
    pub(crate) fn feed_page(
        &mut self,
        table: &TableInfo,
        horizon: &Horizon,
        after: Option<(i64, &RowKey)>,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        let backend = self.backend();
        let keys = key_names(table, "t.");
        let mut only = Conditions::default();
        only.add(format!("t.{HAS_MOVED}"), []);
        match after {
            None => only.unseen(backend, "t.sync_txid", horizon),
            Some((txid, key)) => {
                let places = key_places(backend, table);
                let binds = std::iter::once(Bind::Int(txid)).chain(key_binds(backend, key));
                only.add(format!("(t.sync_txid, {keys}) > (:?, {places})"), binds);
                only.unseen_beyond(backend, "t.sync_txid", horizon);
            }
        }
        self.page(table, only, &format!("t.sync_txid, {keys}"), limit)
    }

    fn page(
        &mut self,
        table: &TableInfo,
        only: Conditions,
        order: &str,
        limit: usize,
    ) -> Result<Vec<StoredRow>> {
        let sql = format!(
            "SELECT {} FROM {} AS t {} ORDER BY {order} LIMIT :?",
            list(self.backend(), table),
            quote(&table.spec.name),
            only.clause(),
        );
        let mut binds = only.binds;
        binds.push(Bind::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.load_rows(table, Statement::new(sql, binds))
    }

    /// Purged rows whose purge is not visible at `horizon`, in feed order, those after `after`.
    pub(crate) fn feed_tombstones(
        &mut self,
        table: &TableInfo,
        horizon: &Horizon,
        after: Option<(i64, &str)>,
        limit: usize,
    ) -> Result<Vec<Grave>> {
        let mut only = Conditions::default();
        only.add("table_name = :?", [Bind::Text(table.spec.name.clone())]);
        match after {
            None => only.unseen(self.backend(), "txid", horizon),
            Some((txid, id)) => {
                let binds = [Bind::Int(txid), Bind::Text(id.to_owned())];
                only.add("(txid, row_id) > (:?, :?)", binds);
                only.unseen_beyond(self.backend(), "txid", horizon);
            }
        }
        let sql = format!(
            "SELECT row_id, txid FROM colsync_tombstones {} ORDER BY txid, row_id LIMIT :?",
            only.clause()
        );
        let mut binds = only.binds;
        binds.push(Bind::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let rows = self.load(Statement::new(sql, binds))?;
        let graves = rows.into_iter().filter_map(|row| match row.0.as_slice() {
            [row_id, txid] => Some(Grave {
                row_id: row_id.text()?.to_owned(),
                txid: txid.int()?,
            }),
            _ => None,
        });
        Ok(graves.collect())
    }

    /// Whether any of `tables` has a change that is not visible at `horizon`.
    pub(crate) fn moved_since(&mut self, tables: &[&TableInfo], horizon: &Horizon) -> Result<bool> {
        if tables.is_empty() {
            return Ok(false);
        }
        let (moved, binds) = moved(self.backend(), tables, horizon);
        let rows = self.load(Statement::new(format!("SELECT {moved}"), binds))?;
        Ok(rows.first().and_then(|row| row.0.first()?.int()) != Some(0))
    }
}

/// An expression that is 1 if any of `tables` has a change that is not visible at `horizon`, else 0.
fn moved(backend: Backend, tables: &[&TableInfo], horizon: &Horizon) -> (String, Vec<Bind>) {
    let mut parts = Vec::new();
    let mut binds = Vec::new();
    for table in tables {
        let mut only = Conditions::default();
        only.add(HAS_MOVED, []);
        only.unseen(backend, "sync_txid", horizon);
        // Not an EXISTS: of that PostgreSQL would read a large table to its end to find nothing.
        parts.push(format!(
            "(SELECT 1 FROM {} {} ORDER BY sync_txid LIMIT 1) IS NOT NULL",
            quote(&table.spec.name),
            only.clause()
        ));
        binds.extend(only.binds);
        let mut only = Conditions::default();
        only.add("table_name = :?", [Bind::Text(table.spec.name.clone())]);
        only.unseen(backend, "txid", horizon);
        parts.push(format!(
            "(SELECT 1 FROM colsync_tombstones {} ORDER BY txid LIMIT 1) IS NOT NULL",
            only.clause()
        ));
        binds.extend(only.binds);
    }
    (
        format!("CASE WHEN {} THEN 1 ELSE 0 END", parts.join(" OR ")),
        binds,
    )
}
