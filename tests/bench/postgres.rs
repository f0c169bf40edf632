//! A PostgreSQL of the benchmark's own that is durable, unlike the one of the tests.
//!
//! It ends with the process, however that ends, by the same watchdog as the tests' cluster.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
$AS_USER "$PGCTL" -D "$FOLDER/data" -m immediate stop >/dev/null 2>&1
rm -rf "$FOLDER"
"#;

/// Durable; and no checkpoint but those between two rounds, which would meet one side only.
const SETTINGS: &str = "-c fsync=on -c synchronous_commit=on -c full_page_writes=on \
    -c shared_buffers=256MB -c max_wal_size=8GB -c checkpoint_timeout=1h -c max_connections=100 \
    -c listen_addresses=127.0.0.1";

/// A running PostgreSQL.
pub(crate) struct Cluster {
    bin: PathBuf,
    port: u16,
    /// Holds the pipe that keeps the cluster alive.
    _watchdog: Child,
}

impl Cluster {
    /// The one of this process.
    pub(crate) fn shared() -> &'static Cluster {
        CLUSTER.get_or_init(Cluster::start)
    }

    fn start() -> Cluster {
        let bin = binaries();
        let folder = tempfile::Builder::new()
            .prefix("colsync-bench-pg-")
            .tempdir()
            .unwrap()
            .keep();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder));
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .env("FOLDER", &folder)
            .env("PGCTL", bin.join("pg_ctl"))
            .env("AS_USER", if is_root() { AS_POSTGRES } else { "" })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh");
        let data = folder.join("data");
        let locale = ["--encoding=UTF8", "--locale=C"];
        run(as_user(&bin.join("initdb"))
            .args(["--username=postgres", "--auth=trust"])
            .args(locale)
            .arg("-D")
            .arg(&data));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let sockets = folder.display();
        let settings = format!("{SETTINGS} -c port={port} -c unix_socket_directories={sockets}");
        run(as_user(&bin.join("pg_ctl"))
            .args(["-w", "-o", &settings, "-D"])
            .arg(&data)
            .arg("-l")
            .arg(data.join("server.log"))
            .arg("start"));
        Cluster {
            bin,
            port,
            _watchdog: watchdog,
        }
    }

    /// A new database; gives its URL.
    pub(crate) fn database(&self) -> String {
        let name = format!("bench_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let url = |name: &str| format!("postgres://postgres@127.0.0.1:{}/{name}", self.port);
        let mut conn = PgConnection::establish(&url("postgres")).unwrap();
        conn.batch_execute(&format!("CREATE DATABASE {name}"))
            .unwrap();
        url(&name)
    }

    /// `pgbench`, of the same version.
    pub(crate) fn pgbench(&self) -> Command {
        Command::new(self.bin.join("pgbench"))
    }
}

const AS_POSTGRES: &str = "runuser -u postgres --";

/// The folder of PostgreSQL's own programs, of the newest version that has them all.
fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists() && bin.join("pgbench").exists())
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest = versions.pop().map(|(_, bin)| bin);
    newest
        .or_else(|| std::env::split_paths(&path).find(|folder| folder.join("pgbench").exists()))
        .expect("PostgreSQL's initdb and pgbench are neither under /usr/lib/postgresql nor in PATH")
}

/// PostgreSQL refuses to run as root.
fn as_user(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut words = AS_POSTGRES.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The output goes nowhere: a pipe would stay open for as long as the daemon does.
#[track_caller]
fn run(command: &mut Command) {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
