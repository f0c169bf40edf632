//! The real binary, run as a user runs it.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// For a debug build to start on a busy machine, and for one to finish what it has accepted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server if the test is killed: nobody writes to the pipe it reads.
const WATCHDOG: &str = r#"trap '' INT TERM HUP; read -r _; kill -KILL "$1" 2>/dev/null"#;

/// The path of `colsync`, built once a process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("colsync"))
}

/// The path of `colsync-client`, built once a process.
pub fn client_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("colsync-client"))
}

/// Builds a program of the workspace in the profile and folder that the tests were built in.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let deps = test.ancestors().find(|folder| folder.ends_with("deps"));
    let profile = deps
        .and_then(Path::parent)
        .unwrap_or_else(|| test.parent().unwrap());
    let target = profile.parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // All of the workspace takes part in the choice of features, so that nothing is built twice.
    build
        .args(["build", "--workspace", "--bin", name])
        .env("CARGO_TARGET_DIR", target);
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let built = build.status().expect("cargo");
    assert!(built.success(), "{build:?}");
    profile.join(name)
}

/// `colsync` with the configuration `config`, in `folder`, and nothing of the test's own environment.
pub fn command(folder: &Path, config: &Path) -> Command {
    let mut command = plain(binary(), folder);
    command.arg("--config").arg(config);
    command
}

/// A program in `folder` that hears nothing and takes no settings from the test's own environment.
pub(crate) fn plain(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("COLSYNC_")) {
        command.env_remove(name);
    }
    command
        .env("RUST_LOG", "info")
        .env("RUST_BACKTRACE", "1")
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// Kills the process `pid` when the test's own has ended.
pub(crate) fn watchdog(pid: u32) -> Child {
    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", WATCHDOG, "watchdog", &pid.to_string()]);
    watchdog.stdin(Stdio::piped()).spawn().unwrap()
}

/// A server that answers.
pub struct Process {
    child: Child,
    watchdog: Child,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// Where it answers.
    pub address: String,
}

impl Process {
    /// Starts `command` and waits until it says where it answers.
    ///
    /// # Panics
    /// If it ends before, or says nothing in time.
    #[track_caller]
    pub fn start(mut command: Command) -> Process {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let watchdog = watchdog(child.id());
        let stderr = Arc::new(Mutex::new(String::new()));
        let kept = stderr.clone();
        let (said, says) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![
            std::thread::spawn(move || {
                each_line(out, |line| {
                    if let Some((_, address)) = line.split_once("listening on http://") {
                        drop(said.send(address.trim().to_owned()));
                    }
                });
            }),
            std::thread::spawn(move || {
                each_line(err, |line| {
                    let mut kept = kept.lock().unwrap();
                    kept.push_str(line);
                    kept.push('\n');
                });
            }),
        ];
        let mut process = Process {
            child,
            watchdog,
            stderr,
            readers,
            address: String::new(),
        };
        match says.recv_timeout(PATIENCE) {
            Ok(address) => process.address = address,
            Err(nothing) => {
                process.signal("KILL");
                let _ = process.wait();
                panic!(
                    "the server does not answer ({nothing}):\n{}",
                    process.stderr()
                );
            }
        }
        process
    }

    /// What it has logged.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        drop(
            Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .stderr(Stdio::null())
                .status(),
        );
    }

    /// Whether it has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()?;
        Some(self.wait())
    }

    /// The most memory that it has had, in KiB; `None` if it has ended, or Linux does not tell.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// Waits until it has ended, and kills it if that takes too long.
    ///
    /// # Panics
    /// If it had to be killed.
    pub fn wait(&mut self) -> ExitStatus {
        let (ended, ends) = channel::<()>();
        let pid = self.child.id().to_string();
        let guard = std::thread::spawn(move || kill_if_late(&ends, &pid));
        let status = self.child.wait().unwrap();
        drop(ended);
        let killed = guard.join().unwrap();
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        assert!(
            !killed,
            "the server did not end in time:\n{}",
            self.stderr()
        );
        status
    }

    /// Whether nothing has been waited for yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.readers.is_empty()
    }
}

fn kill_if_late(ends: &Receiver<()>, pid: &str) -> bool {
    let late = ends.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    if late {
        drop(Command::new("kill").args(["-KILL", pid]).status());
    }
    late
}

fn each_line(from: impl Read, mut take: impl FnMut(&str)) {
    for line in BufReader::new(from).lines() {
        match line {
            Ok(line) => take(&line),
            Err(_) => return,
        }
    }
}

/// Both outputs of a command that has ended.
#[must_use]
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}
