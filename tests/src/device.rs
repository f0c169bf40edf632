//! A device: an app's SQLite file, and the three doors to it: plain SQL, the SDK, the program.
//!
//! The plain door uses connections that are not colsync's, as the app does. Dereferences to it.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;
use crate::database::Database;
use crate::plain::Plain;
use crate::process;
use crate::proxy::Proxy;
use crate::rows;
use crate::server::Server;
use crate::tables::TableDef;

/// Longer than anything takes that a story waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a device syncs with.
enum Remote {
    /// A colsync server, where it answers.
    Server(Arc<Mutex<String>>),
    /// An API that knows no sync, by the file that describes it.
    Api(PathBuf),
}

/// An app's file in a folder of its own, and the server it syncs with.
pub struct Device {
    database: Database,
    path: PathBuf,
    server: Remote,
    folder: TempDir,
}

impl Device {
    /// A device without tables that syncs with `server`.
    #[must_use]
    pub fn new(server: &Server) -> Device {
        Device::with(&std::env::temp_dir(), |_| {
            Remote::Server(server.shared_address())
        })
    }

    /// The same with its file in a folder of its own within `folder`.
    #[must_use]
    pub fn within(folder: &Path, server: &Server) -> Device {
        Device::with(folder, |_| Remote::Server(server.shared_address()))
    }

    /// A device without tables that reaches the server through `proxy`.
    #[must_use]
    pub fn behind(proxy: &Proxy) -> Device {
        Device::with(&std::env::temp_dir(), |_| {
            Remote::Server(proxy.shared_address())
        })
    }

    /// A device without tables that syncs with `api`; `tables` is its description without the URL.
    #[must_use]
    pub fn of_api(api: &Plain, tables: &str) -> Device {
        Device::of_api_at(&api.url(), tables)
    }

    /// The same at another URL, which leads there.
    #[must_use]
    pub fn of_api_at(url: &str, tables: &str) -> Device {
        Device::with(&std::env::temp_dir(), |folder| {
            let path = folder.join("api.toml");
            std::fs::write(&path, format!("url = \"{url}\"\n{tables}")).unwrap();
            Remote::Api(path)
        })
    }

    fn with(within: &Path, server: impl FnOnce(&Path) -> Remote) -> Device {
        // What the SDK warns of is told if the test fails.
        let logger = env_logger::builder().is_test(true).try_init();
        drop(logger);
        let folder = TempDir::with_prefix_in("colsync-device-", within).unwrap();
        let server = server(folder.path());
        let path = folder.path().join("app.db");
        let database = Database::Sqlite(path.clone());
        Device {
            database,
            path,
            server,
            folder,
        }
    }

    /// The same device with the table `def`, made by the app and tracked.
    #[must_use]
    #[track_caller]
    pub fn tracking(self, def: TableDef) -> Device {
        self.sql(def.sqlite);
        self.client().track(def.name).unwrap();
        self
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The server's URL, as of now.
    ///
    /// # Panics
    /// If it is an API that knows no sync.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.server {
            Remote::Server(address) => format!("http://{}", address.lock().unwrap()),
            Remote::Api(_) => panic!("the API has its own URL"),
        }
    }

    /// The SDK on this file.
    ///
    /// # Panics
    /// If the file cannot be opened.
    #[track_caller]
    #[must_use]
    pub fn client(&self) -> colsync_client::Client {
        let mut settings = colsync_client::Settings::default();
        match &self.server {
            Remote::Server(_) => settings.server = Some(self.url()),
            Remote::Api(path) => settings.remote = Some(std::fs::read_to_string(path).unwrap()),
        }
        colsync_client::Client::open(&self.path, settings).unwrap()
    }

    /// `colsync-client` on this file with further arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::plain(process::client_binary(), self.folder.path());
        let (call, further) = arguments.split_first().unwrap();
        command.arg(call).arg("--file").arg(&self.path);
        match &self.server {
            Remote::Server(_) => command.args(["--server", &self.url()]),
            Remote::Api(path) => command.arg("--remote").arg(path),
        };
        command.args(further);
        command
    }

    /// Runs `colsync-client` to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `colsync-client` and lets it run.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments), self.folder.path())
    }

    /// Every row of `table`, as SQL writes its values, sorted: to compare devices with each other.
    #[must_use]
    #[track_caller]
    pub fn dump(&self, table: &str) -> Vec<String> {
        let columns = self.column(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let quoted = columns.into_iter().flatten();
        let quoted: Vec<String> = quoted
            .map(|name| format!("quote(\"{}\")", name.replace('"', "\"\"")))
            .collect();
        let rows = self.column(&format!(
            "SELECT {} FROM \"{table}\"",
            quoted.join(" || ', ' || ")
        ));
        let mut rows: Vec<String> = rows.into_iter().flatten().collect();
        rows.sort();
        rows
    }

    /// Ends the test unless `table` holds here what it holds on the server.
    #[track_caller]
    pub fn assert_equals(&self, server: &Client, table: &str) {
        let (there, here) = (
            rows::on_server(server, table),
            rows::in_file(&self.database, server, table),
        );
        let only = |these: &[String], those: &[String]| {
            let these = these.iter().filter(|line| !those.contains(line)).take(10);
            these.cloned().collect::<Vec<_>>()
        };
        assert!(
            there == here,
            "{table}: {} rows on the server, {} here\nonly there: {:#?}\nonly here: {:#?}",
            there.len(),
            here.len(),
            only(&there, &here),
            only(&here, &there)
        );
    }
}

impl Deref for Device {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// A program that runs beside the test, and ends with it at the latest.
pub struct Running {
    child: Child,
    watchdog: Child,
    said: PathBuf,
}

impl Running {
    fn start(mut command: Command, folder: &Path) -> Running {
        let said = folder.join("said.txt");
        let out = File::create(&said).unwrap();
        let err = out.try_clone().unwrap();
        let child = command.stdout(out).stderr(err).spawn().unwrap();
        let watchdog = process::watchdog(child.id());
        Running {
            child,
            watchdog,
            said,
        }
    }

    /// What it has written so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// Whether it has ended, and how.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills it, as a power cut does, and waits until it is gone.
    pub fn kill_9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to stop, as a service manager does, and waits until it has.
    ///
    /// # Panics
    /// If it takes too long.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        until("the program ends", || self.ended().is_some());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_9();
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        if std::thread::panicking() {
            eprintln!("the program said:\n{}", self.said());
        }
    }
}

/// Waits until `is_so`.
///
/// # Panics
/// If that takes longer than a minute.
#[track_caller]
pub fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_or(what, is_so, String::new);
}

/// Waits until `is_so`; `tell` says how things stand if that never comes.
///
/// # Panics
/// If that takes longer than a minute.
#[track_caller]
pub fn until_or(what: &str, mut is_so: impl FnMut() -> bool, tell: impl FnOnce() -> String) {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > PATIENCE {
            panic!("not in time: {what}\n{}", tell());
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
