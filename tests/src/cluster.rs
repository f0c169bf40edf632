//! A PostgreSQL of the process's own: its files in a temporary folder, a free port on 127.0.0.1.
//!
//! It ends with the test's process, however that ends: a watchdog reads from a pipe that nobody writes
//! to, and takes everything down when the pipe closes.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};

use crate::process::said;

static SHARED: OnceLock<Cluster> = OnceLock::new();
static DURABLE: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// Waits for the pipe to close, then stops what `$PGCTL` started and removes the folder `$FOLDER`.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
$AS_USER "$PGCTL" -D "$FOLDER/data" -m immediate stop >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

/// What a cluster is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Stories: many small databases, and nothing that has to survive the machine.
    Tests,
    /// Measurements: durable, and no checkpoint but those between two rounds, which would meet one side only.
    Benchmarks,
}

impl Purpose {
    fn settings(self) -> &'static str {
        match self {
            Purpose::Tests => {
                "-c fsync=off -c full_page_writes=off -c max_connections=400 -c shared_buffers=64MB"
            }
            Purpose::Benchmarks => {
                "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=256MB \
                 -c max_wal_size=8GB -c checkpoint_timeout=1h -c max_connections=200"
            }
        }
    }
}

/// What a cluster of a story's own is to be.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The folder in which its own is made; the system's for temporary files without one.
    pub within: Option<PathBuf>,
    /// Further settings, such as `-c max_connections=20`.
    pub settings: String,
}

/// A running PostgreSQL.
pub struct Cluster {
    settings: String,
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    /// Holds the pipe that keeps the cluster alive.
    watchdog: Child,
}

impl Cluster {
    /// The one that all tests of this process share.
    pub fn shared() -> &'static Cluster {
        SHARED.get_or_init(Cluster::start)
    }

    /// The one of this process whose commits survive the machine, for measurements.
    pub fn durable() -> &'static Cluster {
        DURABLE.get_or_init(|| Cluster::start_for(Purpose::Benchmarks, &Setup::default()))
    }

    /// A cluster of its own, for tests that stop it.
    ///
    /// # Panics
    /// If PostgreSQL is not installed, or does not start: a test that cannot run has failed.
    #[must_use]
    pub fn start() -> Cluster {
        Cluster::start_with(&Setup::default())
    }

    /// The same, as `setup` says.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    #[must_use]
    pub fn start_with(setup: &Setup) -> Cluster {
        Cluster::start_for(Purpose::Tests, setup)
    }

    fn start_for(purpose: Purpose, setup: &Setup) -> Cluster {
        let bin = binaries();
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix("colsync-pg-")
            .tempdir_in(setup.within.as_ref().unwrap_or(&temporary))
            .unwrap()
            .keep();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .env("FOLDER", &folder)
            .env("PGCTL", bin.join("pg_ctl"))
            .env(
                "AS_USER",
                if is_root() {
                    "runuser -u postgres --"
                } else {
                    ""
                },
            )
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh");
        let data = folder.join("data");
        run(as_user(&bin.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg("-D")
            .arg(&data));
        let cluster = Cluster {
            settings: format!("{} {}", purpose.settings(), setup.settings),
            folder,
            bin,
            port: free_port(),
            watchdog,
        };
        cluster.resume();
        cluster
    }

    /// Stops PostgreSQL at once, as a crash would; its data stays.
    pub fn stop(&self) {
        run(self.pg_ctl().args(["-m", "immediate", "-w", "stop"]));
    }

    /// Stops PostgreSQL as an administrator does: open transactions are rolled back.
    pub fn stop_fast(&self) {
        run(self.pg_ctl().args(["-m", "fast", "-w", "stop"]));
    }

    /// Kills PostgreSQL's first process, as a machine out of memory does; the others end when they notice.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill_9(&self) {
        let pid = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        run(Command::new("kill").args(["-KILL", pid.lines().next().unwrap()]));
    }

    /// Starts PostgreSQL on the port that it had.
    pub fn resume(&self) {
        run(&mut self.starting());
    }

    /// The same, unless what is left of the one before is in its way.
    #[must_use]
    pub fn try_resume(&self) -> bool {
        self.starting()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn starting(&self) -> Command {
        let sockets = self.folder.display();
        let settings = format!(
            "{} -c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={sockets}",
            self.settings, self.port
        );
        let log = self.folder.join("data/server.log");
        let mut start = self.pg_ctl();
        start.arg("-o").arg(settings).arg("-l").arg(log);
        start.args(["-w", "-t", "60", "start"]);
        start
    }

    /// A new database; gives its URL.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("colsync_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.maintain(&format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// A copy of the database at `url`, to which nobody is connected; gives its URL.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn database_like(&self, url: &str) -> String {
        let name = format!("colsync_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let like = name_in(url);
        self.maintain(&format!("CREATE DATABASE {name} TEMPLATE {like}"));
        self.url(&name)
    }

    /// Ends whoever is connected to the database at `url`.
    ///
    /// # Panics
    /// If PostgreSQL refuses it.
    pub fn disconnect(&self, url: &str) {
        let name = name_in(url);
        self.maintain(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
    }

    /// Puts a new database in the place of the one at `url`: a copy of the one at `like`, or an empty one.
    ///
    /// # Panics
    /// If PostgreSQL refuses it.
    pub fn replace_database(&self, url: &str, like: Option<&str>) {
        self.drop_database(url);
        let template = like.map(|like| format!(" TEMPLATE {}", name_in(like)));
        self.maintain(&format!(
            "CREATE DATABASE {}{}",
            name_in(url),
            template.unwrap_or_default()
        ));
    }

    /// Removes the database at `url`, and ends whoever is connected to it.
    ///
    /// # Panics
    /// If PostgreSQL refuses it.
    pub fn drop_database(&self, url: &str) {
        self.maintain(&format!("DROP DATABASE {} WITH (FORCE)", name_in(url)));
    }

    /// Runs `sql` beside all test databases, in the database `postgres`.
    ///
    /// # Panics
    /// If PostgreSQL refuses it.
    pub fn maintain(&self, sql: &str) {
        let mut conn = PgConnection::establish(&self.url("postgres")).unwrap();
        conn.batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// `pgbench`, of the same version.
    #[must_use]
    pub fn pgbench(&self) -> Command {
        self.program("pgbench")
    }

    /// Dumps the database at `url`, as far as `options` say, to a file.
    ///
    /// # Panics
    /// If `pg_dump` fails.
    pub fn dump(&self, url: &str, options: &[&str], to: &Path) {
        let mut dump = self.program("pg_dump");
        dump.arg("--format=custom").args(options);
        succeed(dump.arg("--file").arg(to).arg(url));
    }

    /// Restores such a file into the database at `url`.
    ///
    /// # Panics
    /// If `pg_restore` fails.
    pub fn restore(&self, url: &str, options: &[&str], from: &Path) {
        let mut restore = self.program("pg_restore");
        restore.arg("--exit-on-error").args(options);
        succeed(restore.args(["--dbname", url]).arg(from));
    }

    /// Makes a base backup of all databases, in the place of the last one; gives its folder.
    ///
    /// # Panics
    /// If `pg_basebackup` fails.
    #[must_use]
    pub fn base_backup(&self) -> PathBuf {
        let to = self.folder.join("base");
        drop(std::fs::remove_dir_all(&to));
        let mut backup = as_user(&self.bin.join("pg_basebackup"));
        backup.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"]);
        backup.args(["--host=127.0.0.1", "--username=postgres"]);
        backup.arg(format!("--port={}", self.port));
        run(backup.arg("--pgdata").arg(&to));
        to
    }

    /// Goes back to a base backup, with all databases.
    ///
    /// # Panics
    /// If PostgreSQL does not start with it.
    pub fn go_back(&self, base: &Path) {
        self.stop();
        let data = self.folder.join("data");
        std::fs::remove_dir_all(&data).unwrap();
        run(Command::new("cp").arg("-a").arg(base).arg(&data));
        self.resume();
    }

    /// A program of the same version.
    fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    /// Where its data is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn pg_ctl(&self) -> Command {
        let mut command = as_user(&self.bin.join("pg_ctl"));
        command.arg("-D").arg(self.folder.join("data"));
        command
    }
}

/// The name of the database at `url`.
fn name_in(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

fn succeed(command: &mut Command) {
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", said(&told));
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}

/// The folder of PostgreSQL's own programs, the newest if there are several.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let installed = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = installed
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    folders.sort_by_key(|folder| {
        let version = folder
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str());
        version
            .and_then(|version| version.parse::<f64>().ok())
            .unwrap_or(0.0)
            .to_bits()
    });
    folders.pop().or_else(|| std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())).expect(
        "PostgreSQL's initdb is neither under /usr/lib/postgresql nor in PATH; tests/run installs it",
    )
}

/// PostgreSQL refuses to run as root.
fn as_user(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The output goes to a file: a pipe would stay open for as long as the daemon does.
#[track_caller]
fn run(command: &mut Command) {
    let output = tempfile::NamedTempFile::new().unwrap();
    let both = || Stdio::from(output.reopen().unwrap());
    let status = command
        .stdin(Stdio::null())
        .stdout(both())
        .stderr(both())
        .status();
    let status = status.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said =
        || String::from_utf8_lossy(&std::fs::read(output.path()).unwrap_or_default()).into_owned();
    assert!(status.success(), "{command:?}: {status}\n{}", said());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
