//! REST APIs that know no sync, made by others: json-server and Kinto, each a process of the test's own.
//!
//! They are installed once, into the build's folder, from the registries of their languages. One that cannot be
//! installed fails its test.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;
use ureq::Agent;

use crate::client::Client;
use crate::device::until;
use crate::process;

/// A small REST API over a file of JSON: weak ETags, no `If-Match`, pages by number.
const JSON_SERVER: &str = "0.17.4";

/// A store of JSON documents: `If-Match`, the changes since a time, pages by a header.
const KINTO: &str = "26.5.0";

/// Asks an API what its document says of it.
const SCHEMATHESIS: &str = "4.32.5";

const KINTO_SETTINGS: &str = "
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = PORT

[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.bucket_create_principals = system.Everyone
kinto.bucket_write_principals = system.Everyone
kinto.paginate_by = 3
kinto.experimental_collection_schema_validation = true
";

/// A running API.
pub struct Plain {
    command: fn(&Path, u16) -> Command,
    /// What it answers as soon as it answers.
    home: &'static str,
    folder: TempDir,
    port: u16,
    address: Arc<Mutex<String>>,
    running: Option<(Child, Child)>,
}

impl Plain {
    /// A json-server with these collections.
    ///
    /// # Panics
    /// If it cannot be installed, or does not start.
    #[track_caller]
    #[must_use]
    pub fn json_server(collections: &Json) -> Plain {
        json_server_program();
        let folder = TempDir::with_prefix("colsync-json-server-").unwrap();
        fs::write(folder.path().join("db.json"), collections.to_string()).unwrap();
        Plain::start(folder, "/", |folder, port| {
            let mut command = process::plain(Path::new("node"), folder);
            command.arg(json_server_program());
            command.args([
                "--quiet",
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
            ]);
            command.arg("db.json");
            command
        })
    }

    /// A Kinto with a bucket `app` and in it an empty collection of this name, whose records meet `schema`, a JSON
    /// schema.
    ///
    /// # Panics
    /// If it cannot be installed, or does not start.
    #[track_caller]
    #[must_use]
    pub fn kinto(collection: &str, schema: &Json) -> Plain {
        kinto_program();
        let folder = TempDir::with_prefix("colsync-kinto-").unwrap();
        let plain = Plain::start(folder, "/v1/", |folder, port| {
            let settings = KINTO_SETTINGS.replace("PORT", &port.to_string());
            fs::write(folder.join("kinto.ini"), settings).unwrap();
            let mut command = process::plain(kinto_program(), folder);
            command.args(["start", "--ini", "kinto.ini"]);
            command
        });
        let empty = serde_json::json!({});
        let http = plain.http();
        drop(http.put("/v1/buckets/app", &empty).expect(201));
        let path = format!("/v1/buckets/app/collections/{collection}");
        let described = serde_json::json!({ "data": { "schema": schema } });
        drop(http.put(&path, &described).expect(201));
        plain
    }

    #[track_caller]
    fn start(folder: TempDir, home: &'static str, command: fn(&Path, u16) -> Command) -> Plain {
        // Below those that the system gives to connections: one that waits for the API would take its port.
        let port = std::iter::repeat_with(|| fastrand::u16(10_000..30_000))
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let mut plain = Plain {
            command,
            home,
            folder,
            port,
            address: Arc::new(Mutex::new(format!("127.0.0.1:{port}"))),
            running: None,
        };
        plain.resume();
        plain
    }

    /// Starts it again, where it was.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn resume(&mut self) {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false);
        let agent = Agent::new_with_config(config.build());
        let home = format!("{}{}", self.url(), self.home);
        until("the API answers", || {
            let ended = self.running.as_mut().is_none_or(|(child, _)| {
                // Its port was another's for a moment.
                child.try_wait().unwrap().is_some()
            });
            if ended {
                self.stop();
                self.spawn();
            }
            let answer = agent.get(&home).call();
            answer.is_ok_and(|answer| answer.status() == 200)
        });
    }

    #[track_caller]
    fn spawn(&mut self) {
        let said = File::create(self.folder.path().join("said.txt")).unwrap();
        let mut command = (self.command)(self.folder.path(), self.port);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let watchdog = process::watchdog(child.id());
        self.running = Some((child, watchdog));
    }

    /// Ends it, at once.
    pub fn stop(&mut self) {
        for mut child in self.running.take().into_iter().flat_map(|(a, b)| [a, b]) {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    /// Another user of it.
    #[must_use]
    pub fn http(&self) -> Client {
        Client::new(self.address.clone(), None)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let said = fs::read_to_string(self.folder.path().join("said.txt"));
            eprintln!("the API said:\n{}", said.unwrap_or_default());
        }
    }
}

fn json_server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let package = format!("json-server@{JSON_SERVER}");
        let folder = installed(&package, |folder| {
            run(Command::new("npm")
                .args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--no-save",
                    "--prefix",
                ])
                .arg(folder)
                .arg(&package));
        });
        folder.join("node_modules/json-server/lib/cli/bin.js")
    })
}

fn kinto_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM
        .get_or_init(|| of_python(&format!("kinto=={KINTO}"), &["setuptools<81"]).join("bin/kinto"))
}

/// The program `schemathesis`, which asks an API what its OpenAPI document says of it.
///
/// # Panics
/// If it cannot be installed.
pub fn schemathesis() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        of_python(&format!("schemathesis=={SCHEMATHESIS}"), &[]).join("bin/schemathesis")
    })
}

/// The folder of a package of PyPI, in an environment of its own with what else it needs.
fn of_python(package: &str, more: &[&str]) -> PathBuf {
    installed(package, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                package,
            ])
            .args(more));
    })
}

/// The folder that `install` has filled, in this run or in one before. Several processes may come here at once.
fn installed(package: &str, install: impl Fn(&Path)) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().find(|folder| folder.ends_with("target"));
    let base = target.unwrap_or_else(|| test.parent().unwrap());
    let base = base.join("plain");
    fs::create_dir_all(&base).unwrap();
    let folder = base.join(package);
    let done = base.join(format!("{package}.installed"));
    let lock = File::create(base.join(format!("{package}.lock"))).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        install(&folder);
        File::create(done).unwrap();
    }
    folder
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = process::said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
}
