//! Starting and stopping: what the commands of the command line do.

use std::io;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Actix, HttpServer};
use tokio::signal::unix::{SignalKind, signal};

use crate::asker::Asker;
use crate::auth::Owners;
use crate::config::{Config, TableConfig};
use crate::http::{self, App, problem};
use crate::metrics::Metrics;
use crate::store::conn::Conn;
use crate::store::{LoadError, Store, adopt_tables};
use crate::{edges, queue, retention};

/// Connections actix keeps alive while nothing is sent on them.
const KEEP_ALIVE_SECONDS: u64 = 75;

/// Why a command failed; for people at a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The tables cannot be served or adopted.
    #[error("{0}")]
    Tables(String),
    /// The address cannot be listened to, or the server cannot run.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A metric that cannot be registered.
    #[error("{0}")]
    Metrics(#[from] prometheus::Error),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Failure::Tables(error.to_string())
    }
}

impl From<crate::store::error::StoreError> for Failure {
    fn from(error: crate::store::error::StoreError) -> Self {
        Failure::Tables(error.to_string())
    }
}

/// Serves until a signal says stop, then answers what it has accepted. `ready` is told the address.
///
/// # Errors
/// If the database or the address is not to be had, or a configured table is not ready to be served.
pub fn serve(config: Config, ready: impl FnOnce(&str)) -> Result<(), Failure> {
    let store = Arc::new(Store::open(&config.database, &config.tables)?);
    let metrics = Arc::new(Metrics::new(edges::now())?);
    let writers = usize::try_from(config.database.writers).unwrap_or(1);
    let (queue, writers) = queue::open(&store, &metrics, config.limits.queue_submissions, writers);
    if config.auth.is_none() {
        log::warn!(
            "no authentication is configured: answering on loopback only, to everyone there"
        );
    }
    if config.tables.is_empty() {
        log::warn!("no table is configured, so none is reachable");
    }
    let housekeeper = retention::start(store.clone(), config.retention_days);
    let listen = config.listen;
    let head_deadline = std::time::Duration::from_secs(config.limits.request_seconds);
    let app = Data::new(App {
        config,
        asker: Asker::new(store.clone()),
        store,
        queue,
        metrics,
        owners: Owners::default(),
    });
    let factory_app = app.clone();
    let done = actix_web::rt::System::new().block_on(async move {
        // From here on a signal means a clean stop; whoever reads the address may send one at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = HttpServer::new(move || application(factory_app.clone()))
            .client_request_timeout(head_deadline)
            .keep_alive(std::time::Duration::from_secs(KEEP_ALIVE_SECONDS))
            // An answer in chunks would wait for acknowledgements that its reader delays.
            .tcp_nodelay(true)
            .disable_signals()
            .bind(listen)?;
        if let Some(address) = server.addrs().first() {
            ready(&address.to_string());
        }
        let server = server.run();
        let running = server.handle();
        actix_web::rt::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            running.stop(true).await;
        });
        server.await
    });
    // The queue closes with its last holder; then the writers finish what was accepted.
    drop(app);
    writers.join();
    housekeeper.stop();
    Ok(done?)
}

/// All that answers a request, one for each of actix's threads.
pub(crate) fn application(
    app: Data<App>,
) -> Actix<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    Actix::new()
        .app_data(app)
        .wrap(http::compress())
        .wrap(from_fn(problem::only_problems))
        .wrap(http::answer_headers())
        .wrap(from_fn(http::measured))
        .configure(http::routes)
}

/// Adds colsync's columns and triggers to `tables`; gives back the SQL.
///
/// # Errors
/// If a table cannot be synced, naming every reason.
pub fn adopt(config: &Config, tables: &[String], dry_run: bool) -> Result<Vec<String>, Failure> {
    let mut conn = Conn::open(&config.database.url)?;
    conn.migrate()?;
    Ok(adopt_tables(&mut conn, tables, edges::now(), dry_run)?)
}

/// Compares the configuration with the database; gives back a line a table.
///
/// # Errors
/// If a configured table is not ready to be served.
pub fn check(config: &Config) -> Result<Vec<String>, Failure> {
    let store = Store::open(&config.database, &config.tables)?;
    let schema = store.schema();
    let lines = schema.tables.iter().map(|table| {
        let spec = &table.spec;
        let key: Vec<&str> = spec
            .key_columns()
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let groups: String = spec
            .groups()
            .iter()
            .map(|(name, members)| format!(", group {name} ({})", members.join(", ")))
            .collect();
        format!(
            "{}: {} columns, key {}{groups}: ready",
            spec.name,
            spec.columns.len(),
            key.join(", ")
        )
    });
    Ok(lines.collect())
}

/// Makes an SQLite database with a small `todos` table and adopts it.
///
/// # Errors
/// If the database cannot be made.
pub fn make_example(config: &Config) -> Result<TableConfig, Failure> {
    let mut conn = Conn::open(&config.database.url)?;
    conn.migrate()?;
    conn.batch(EXAMPLE)?;
    adopt_tables(&mut conn, &["todos".to_owned()], edges::now(), false)?;
    Ok(TableConfig {
        name: "todos".to_owned(),
        row_policy: Default::default(),
        edit_after_delete: Default::default(),
        blind_writes: Default::default(),
        hard_delete: false,
        columns: Vec::new(),
        groups: Vec::new(),
    })
}

const EXAMPLE: &str = "CREATE TABLE todos (\
     id UUID PRIMARY KEY NOT NULL, title TEXT NOT NULL, done BOOLEAN NOT NULL DEFAULT 0, notes TEXT, \
     tags JSON, priority INTEGER)";
