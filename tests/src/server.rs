//! A story's server: its database, its configuration, its process, and ways to break them.

mod backup;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::client::Client;
use crate::cluster::{Cluster, Setup};
use crate::database::{Backend, ClusterRef, Database};
use crate::process::{self, Process};
use crate::proxy::Proxy;
use crate::tables::TableDef;

pub use backup::Backup;

/// The administrator's token of every test server.
pub const ADMIN_TOKEN: &str = "an-administrators-token";

/// What a server is to be.
pub struct ServerBuilder {
    backend: Backend,
    own_cluster: Option<Setup>,
    within: Option<PathBuf>,
    tables: Vec<TableSetup>,
    before: String,
    top: String,
    sections: String,
    admin: bool,
}

struct TableSetup {
    name: String,
    settings: String,
    policies: String,
}

impl ServerBuilder {
    /// Makes the table `def` and syncs it.
    #[must_use]
    pub fn table(mut self, def: TableDef) -> Self {
        self.before.push_str(def.sql(self.backend));
        self.synced(def.name)
    }

    /// Syncs a table that [`ServerBuilder::before`] makes.
    #[must_use]
    pub fn synced(mut self, name: &str) -> Self {
        let name = name.to_owned();
        self.tables.push(TableSetup {
            name,
            settings: String::new(),
            policies: String::new(),
        });
        self
    }

    /// Runs `sql` before the tables are adopted.
    #[must_use]
    pub fn before(mut self, sql: &str) -> Self {
        self.before.push_str(sql);
        self
    }

    /// Gives a column of the table named last a policy.
    #[must_use]
    pub fn policy(mut self, column: &str, policy: &str) -> Self {
        let table = self.tables.last_mut().expect("a table first");
        table.policies.push_str(&format!("{column} = '{policy}'\n"));
        self
    }

    /// Adds a line of TOML to the table named last.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        let table = self.tables.last_mut().expect("a table first");
        table.settings.push_str(&format!("{line}\n"));
        self
    }

    /// Adds sections to the configuration, such as `[limits]`.
    #[must_use]
    pub fn section(mut self, toml: &str) -> Self {
        self.sections.push_str(&format!("{toml}\n"));
        self
    }

    /// Leaves the administrator's token out.
    #[must_use]
    pub fn without_admin(mut self) -> Self {
        self.admin = false;
        self
    }

    /// Gives the server a PostgreSQL of its own, which it may stop.
    #[must_use]
    pub fn own_cluster(self) -> Self {
        self.own_cluster_with(Setup::default())
    }

    /// The same, as `setup` says.
    #[must_use]
    pub fn own_cluster_with(mut self, setup: Setup) -> Self {
        self.own_cluster = Some(setup);
        self
    }

    /// Puts the server's folder, with SQLite's file in it, into this one.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.within = Some(folder.to_owned());
        self
    }

    /// Lets each API key in `keys` (principal, key) in, and nobody else.
    #[must_use]
    pub fn api_keys(self, keys: &[(&str, &str)]) -> Self {
        use sha2::Digest as _;
        let lines = keys.iter().map(|(principal, key)| {
            let hash = sha2::Sha256::digest(key.as_bytes());
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{{ principal = '{principal}', sha256 = '{hex}' }}")
        });
        let lines: Vec<String> = lines.collect();
        self.section(&format!("[auth]\napi_keys = [{}]", lines.join(", ")))
    }

    /// Makes the database and the configuration; adopts nothing, runs nothing.
    #[must_use]
    #[track_caller]
    pub fn prepare(mut self) -> Server {
        let temporary = std::env::temp_dir();
        let within = self.within.as_ref().unwrap_or(&temporary);
        let folder = TempDir::with_prefix_in("colsync-it-", within).unwrap();
        let database = match self.backend {
            Backend::Sqlite => Database::Sqlite(folder.path().join("data.db")),
            Backend::Postgres => {
                let cluster = match &self.own_cluster {
                    Some(setup) => ClusterRef::Own(Box::new(Cluster::start_with(setup))),
                    None => ClusterRef::Shared(Cluster::shared()),
                };
                Database::Postgres {
                    url: cluster.get().database(),
                    cluster,
                }
            }
        };
        if self.admin {
            self.top
                .push_str(&format!("admin_token = '{ADMIN_TOKEN}'\n"));
        }
        let mut config = format!(
            "database_url = '{}'\nlisten = '127.0.0.1:0'\n{}",
            database.url(),
            self.top
        );
        for TableSetup {
            name,
            settings,
            policies,
        } in &self.tables
        {
            config.push_str(&format!(
                "[tables.'{name}']\n{settings}[tables.'{name}'.columns]\n{policies}"
            ));
        }
        config.push_str(&self.sections);
        let file = folder.path().join("test.toml");
        std::fs::write(&file, config).unwrap();
        database.sql(&self.before);
        let tables = self.tables.into_iter().map(|table| table.name).collect();
        let address = Arc::new(Mutex::new(String::new()));
        Server {
            process: None,
            database,
            config: file,
            tables,
            address,
            folder,
        }
    }

    /// Makes the database, adopts the tables and serves them.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.adopt();
        server.resume();
        server
    }
}

/// A server and its database. Dereferences to the database, the SQL door.
pub struct Server {
    // The process goes before its database.
    process: Option<Process>,
    database: Database,
    config: PathBuf,
    tables: Vec<String>,
    address: Arc<Mutex<String>>,
    folder: TempDir,
}

impl Server {
    /// Describes a server on `backend`.
    #[must_use]
    pub fn on(backend: Backend) -> ServerBuilder {
        ServerBuilder {
            backend,
            own_cluster: None,
            within: None,
            tables: Vec::new(),
            before: String::new(),
            top: String::new(),
            sections: String::new(),
            admin: true,
        }
    }

    /// A client of this server, a new one for each name.
    #[must_use]
    pub fn client(&self, name: &str) -> Client {
        Client::new(self.address.clone(), Some(name))
    }

    /// A caller without a `Client-Id`.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(self.address.clone(), None)
    }

    /// The administrator.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.anonymous().token(ADMIN_TOKEN)
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    /// A proxy before it, which follows it when it starts anew.
    #[must_use]
    pub fn proxy(&self, seed: u64) -> Proxy {
        Proxy::start(self.address.clone(), seed)
    }

    pub(crate) fn shared_address(&self) -> Arc<Mutex<String>> {
        self.address.clone()
    }

    /// `colsync` with this server's configuration and further arguments, run to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    fn command(&self) -> Command {
        process::command(self.folder.path(), &self.config)
    }

    /// Adopts the configured tables.
    ///
    /// # Panics
    /// If `colsync adopt` fails.
    #[track_caller]
    pub fn adopt(&self) {
        let mut arguments = vec!["adopt"];
        for table in &self.tables {
            arguments.extend(["--table", table]);
        }
        let output = self.run(&arguments);
        assert!(output.status.success(), "adopt: {}", process::said(&output));
    }

    /// Adds to the configuration; for the next start.
    pub fn configure(&self, toml: &str) {
        let config = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, format!("{config}\n{toml}\n")).unwrap();
    }

    /// Takes a table out of the configuration; for the next start.
    pub fn configure_without(&self, table: &str) {
        let config = std::fs::read_to_string(&self.config).unwrap();
        let mut config: toml::Table = toml::from_str(&config).unwrap();
        let tables = config["tables"].as_table_mut().unwrap();
        tables.remove(table).expect("a table of the configuration");
        std::fs::write(&self.config, config.to_string()).unwrap();
    }

    /// Starts the process.
    #[track_caller]
    pub fn resume(&mut self) {
        self.start(self.command());
    }

    /// Starts the process so that it kills itself when it comes to `step` for the `nth` time.
    #[track_caller]
    pub fn resume_until(&mut self, step: &str, nth: u64) {
        let mut command = self.command();
        command.env("COLSYNC_KILL_AT", format!("{step}:{nth}"));
        self.start(command);
    }

    #[track_caller]
    fn start(&mut self, mut command: Command) {
        command.arg("serve");
        let process = Process::start(command);
        self.address.lock().unwrap().clone_from(&process.address);
        self.process = Some(process);
    }

    /// Asks the process to stop, as a service manager does, and waits until it has.
    ///
    /// # Panics
    /// If it takes too long, fails, or a thread of it has panicked.
    #[track_caller]
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            let status = process.wait();
            let log = process.stderr();
            assert!(!log.contains("panicked"), "{log}");
            assert!(status.success(), "{status}\n{log}");
        }
    }

    /// Kills the process, as a power cut does.
    pub fn kill_9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("KILL");
            process.wait();
        }
    }

    /// Whether the process has ended by itself, and how; it is gone from then on.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.as_mut()?.ended()?;
        self.process = None;
        Some(status)
    }

    /// Asks the process to stop and does not wait.
    pub fn signal_term(&self) {
        if let Some(process) = &self.process {
            process.signal("TERM");
        }
    }

    /// Kills the process and does not wait.
    pub fn signal_kill(&self) {
        if let Some(process) = &self.process {
            process.signal("KILL");
        }
    }

    /// Stops and starts the process; clients follow to the new address.
    #[track_caller]
    pub fn restart(&mut self) {
        self.terminate();
        self.resume();
    }

    /// The number of the process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// What the process has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process
            .as_ref()
            .map(Process::stderr)
            .unwrap_or_default()
    }

    /// Whether its database is PostgreSQL.
    #[must_use]
    pub fn is_on_postgres(&self) -> bool {
        matches!(self.database, Database::Postgres { .. })
    }

    /// The most memory that the process has had, in KiB.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        self.process.as_ref().and_then(Process::peak_memory)
    }

    /// The cluster of a server on PostgreSQL.
    #[track_caller]
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        match &self.database {
            Database::Sqlite(_) => panic!("not on PostgreSQL"),
            Database::Postgres { cluster, .. } => cluster.get(),
        }
    }
}

impl Deref for Server {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.terminate();
        } else if let Some(mut process) = self.process.take() {
            process.signal("KILL");
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
                || process.wait(),
            )));
            eprintln!("the server's log:\n{}", process.stderr());
        }
    }
}
