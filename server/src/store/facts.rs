//! What many pulls want to know at once, asked by one statement: anchors, pushes, and where the feed of each table ends.

use std::collections::HashMap;
use std::sync::Arc;

use colsync_shared::sql::quote;

use super::adopt::HAS_MOVED;
use super::conn::{Backend, Conn};
use super::error::StoreError;
use super::horizon::Horizon;
use super::model::TableInfo;
use super::statement::{Bind, DynRow, Statement};

/// What the database said at one moment.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    horizons: HashMap<String, Horizon>,
    pushes: HashMap<String, i64>,
    /// The last position of each table by its identity; a table that nothing has happened to has none.
    ends: HashMap<i64, i64>,
}

impl Facts {
    /// The horizon of `anchor`, if the database knows it.
    pub(crate) fn horizon(&self, anchor: &str) -> Option<&Horizon> {
        self.horizons.get(anchor)
    }

    /// The number of the last push of `client`.
    pub(crate) fn last_push(&self, client: &str) -> i64 {
        self.pushes.get(client).copied().unwrap_or(0)
    }

    /// Whether the table of this identity has a change that is not visible at `horizon`; `None` where its last position does not tell, as
    /// transactions were open.
    pub(crate) fn has_moved(&self, table: i64, horizon: &Horizon) -> Option<bool> {
        match self.ends.get(&table) {
            Some(&end) if end >= horizon.xmax => Some(true),
            Some(&end) if end >= horizon.xmin => None,
            Some(_) | None => Some(false),
        }
    }
}

/// What of [`Facts`] a row of the answer tells.
const ANCHOR: i64 = 0;
const CLIENT: i64 = 1;
const END: i64 = 2;

impl Conn {
    /// What there is to know of these tables, anchors and clients.
    pub(crate) fn facts(
        &mut self,
        tables: &[Arc<TableInfo>],
        anchors: Vec<String>,
        clients: Vec<String>,
    ) -> Result<Facts, StoreError> {
        let backend = self.backend();
        let (among, anchors) = among(backend, anchors);
        let (_, clients) = self::among(backend, clients);
        let mut parts = vec![
            format!("SELECT {ANCHOR}, id, NULL, horizon FROM colsync_anchors WHERE id {among}"),
            format!("SELECT {CLIENT}, id, last_push, NULL FROM colsync_clients WHERE id {among}"),
        ];
        let mut binds = vec![anchors, clients];
        for table in tables {
            let id = table.id;
            // Not max(): in this form both databases take the index's last entry.
            parts.push(format!(
                "SELECT {END}, '{id}', (SELECT sync_txid FROM {} WHERE {HAS_MOVED} \
                 ORDER BY sync_txid DESC LIMIT 1), NULL",
                quote(&table.spec.name)
            ));
            parts.push(format!(
                "SELECT {END}, '{id}', (SELECT txid FROM colsync_tombstones WHERE table_name = :? \
                 ORDER BY txid DESC LIMIT 1), NULL"
            ));
            binds.push(Bind::Text(table.spec.name.clone()));
        }
        let sql = parts.join(" UNION ALL ");
        // Clients choose the tables, and so the text.
        let statement = match tables.first() {
            Some(table) => table.kept.statement(sql, binds),
            None => Statement::new(sql, binds),
        };
        let mut facts = Facts::default();
        for row in self.load(statement)? {
            facts.learn(&row)?;
        }
        Ok(facts)
    }
}

impl Facts {
    fn learn(&mut self, row: &DynRow) -> Result<(), StoreError> {
        let [kind, id, number, text] = row.0.as_slice() else {
            return Err(StoreError::Corrupt("facts of another width".to_owned()));
        };
        let id = id.text().unwrap_or_default();
        match (kind.int(), number.int(), text.text()) {
            (Some(ANCHOR), _, Some(horizon)) => {
                let horizon = super::internal::horizon(horizon)?;
                self.horizons.insert(id.to_owned(), horizon);
            }
            (Some(CLIENT), Some(push), _) => {
                self.pushes.insert(id.to_owned(), push);
            }
            (Some(END), Some(position), _) => {
                if let Ok(table) = id.parse() {
                    let end = self.ends.entry(table).or_insert(position);
                    *end = position.max(*end);
                }
            }
            // A table without an entry, or without a tombstone.
            _ => {}
        }
        Ok(())
    }
}

/// The condition that a text is one of `texts`, whose own text is the same however many they are.
fn among(backend: Backend, texts: Vec<String>) -> (&'static str, Bind) {
    match backend {
        Backend::Pg => {
            let texts = texts.into_iter().map(Some);
            ("= ANY(:?)", Bind::Texts(texts.collect()))
        }
        Backend::Sqlite => {
            let texts = serde_json::Value::from(texts);
            (
                "IN (SELECT value FROM json_each(:?))",
                Bind::Text(texts.to_string()),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_between_open_transactions_tells_nothing() {
        let horizon: Horizon = "100:121:100,110".parse().unwrap();
        let moved = |end: Option<i64>| {
            let ends = end.map(|end| (7, end)).into_iter().collect();
            let facts = Facts {
                ends,
                ..Facts::default()
            };
            facts.has_moved(7, &horizon)
        };
        assert_eq!(moved(None), Some(false));
        assert_eq!(moved(Some(99)), Some(false));
        assert_eq!(moved(Some(100)), None);
        assert_eq!(moved(Some(120)), None);
        assert_eq!(moved(Some(121)), Some(true));
    }
}
