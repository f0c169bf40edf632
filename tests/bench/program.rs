//! The client's program, run once on a file that is made already.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use colsync_tests::{memory, process};
use serde_json::Value as Json;
use tempfile::NamedTempFile;

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What it did and had.
pub(crate) struct Synced {
    pub(crate) took: Duration,
    /// The most memory, in MiB.
    pub(crate) peak: f64,
    /// What it said.
    pub(crate) report: Json,
}

/// Syncs the file at `path`.
pub(crate) fn sync(path: &Path) -> Synced {
    let said = NamedTempFile::new().unwrap();
    let mut command = Command::new(process::client_binary());
    command
        .env_clear()
        .args(["--json", "sync", "--file"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(File::create(said.path()).unwrap());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(memory::peak(child.id()).unwrap_or_default());
        std::thread::sleep(LOOK);
    };
    let took = started.elapsed();
    let said = std::fs::read_to_string(said.path()).unwrap();
    assert!(status.success(), "{status}: {said}");
    Synced {
        took,
        peak,
        report: serde_json::from_str(&said).unwrap(),
    }
}
