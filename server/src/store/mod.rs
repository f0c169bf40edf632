//! The only room that knows diesel and SQL: connections, the user's tables, colsync's own tables.
//!
//! Everything above asks for rows, merged writes, ledger entries and pages of the feed in words of
//! `shared`. Nothing here knows HTTP, and nothing here decides a conflict.

pub(crate) mod adopt;
mod buried;
pub(crate) mod conn;
pub(crate) mod error;
pub(crate) mod facts;
mod feed;
pub(crate) mod horizon;
pub(crate) mod internal;
pub(crate) mod introspected;
mod judged;
pub(crate) mod late;
pub(crate) mod ledger;
mod load;
pub(crate) mod model;
mod pg;
pub(crate) mod pointed;
mod purge;
mod renamed;
mod rows;
mod schema;
mod select;
mod settle;
mod sqlite;
mod stamps;
pub(crate) mod statement;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conn::Manager;
use error::StoreError;
use model::Schema;

use crate::config::{Database, TableConfig};

/// A connection on loan from the pool.
pub(crate) type Pooled = r2d2::PooledConnection<Manager>;

/// How long a request waits for a connection before it is told to come again.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// The database, and what is known of its tables.
pub(crate) struct Store {
    pool: r2d2::Pool<Manager>,
    schema: RwLock<Arc<Schema>>,
}

impl Store {
    /// Opens the database, brings colsync's own tables up to date and reads the synced tables' schema.
    ///
    /// # Errors
    /// If the database cannot be reached, or a configured table is not there or not adopted.
    pub(crate) fn open(database: &Database, tables: &[TableConfig]) -> Result<Store, LoadError> {
        let manager = Manager {
            url: database.url.clone(),
        };
        let pool = r2d2::Pool::builder()
            .max_size(database.connections + database.writers)
            .min_idle(Some(1))
            .connection_timeout(CONNECTION_WAIT)
            .error_handler(Box::new(Quiet))
            .build_unchecked(manager);
        let store = Store {
            pool,
            schema: RwLock::default(),
        };
        let mut conn = store.connect()?;
        conn.migrate()?;
        conn.settle_in()?;
        let schema = load::load(&mut conn, tables)?;
        *store.schema.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(schema);
        drop(conn);
        Ok(store)
    }

    /// A connection of one's own, for as long as it is held.
    pub(crate) fn connect(&self) -> Result<Pooled, StoreError> {
        self.pool
            .get()
            .map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// A connection for the commit queue.
    pub(crate) fn connect_to_write(&self) -> Result<Pooled, StoreError> {
        let mut conn = self.connect()?;
        conn.prepare_to_write()?;
        Ok(conn)
    }

    /// The synced tables.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        self.schema
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

pub(crate) use load::{LoadError, adopt_tables};

/// The pool's own complaints: whoever waits for the connection logs the failure.
#[derive(Debug)]
struct Quiet;

impl r2d2::HandleError<StoreError> for Quiet {
    fn handle_error(&self, error: StoreError) {
        log::debug!("connecting: {error}");
    }
}
