//! A small disk: a file system in memory of a fixed size, in a folder of its own, that can be filled and emptied.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cluster::is_root;

/// Waits for the pipe to close, then unmounts the folder `$FOLDER` and removes it.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
$AS_ROOT umount -l "$FOLDER" && rmdir "$FOLDER"
"#;

/// How whoever is not root becomes it.
const AS_ROOT: &str = "sudo -n";

/// A disk, for as long as it lives.
pub struct Disk {
    folder: PathBuf,
    /// Holds the pipe that keeps it mounted.
    watchdog: Child,
}

impl Disk {
    /// A disk of `mib` MiB.
    ///
    /// # Errors
    /// If this machine does not let us mount one: whoever runs this must be root or let in by `sudo` without a
    /// question, and may not be in a container that forbids it.
    pub fn new(mib: u64) -> Result<Disk, String> {
        let folder = tempfile::Builder::new().prefix("colsync-disk-").tempdir();
        let folder = folder.map_err(|failure| failure.to_string())?.keep();
        // PostgreSQL runs as a user of its own.
        let mut mount = if is_root() {
            Command::new("mount")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(AS_ROOT.split(' ').skip(1)).arg("mount");
            sudo
        };
        let mounted = mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mib}m,mode=1777"))
            .arg("colsync-tests")
            .arg(&folder)
            .output()
            .map_err(|failure| format!("mount: {failure}"))?;
        if !mounted.status.success() {
            drop(std::fs::remove_dir(&folder));
            let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
            return Err(format!("no file system of its own is to be had: {said}"));
        }
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .env("FOLDER", &folder)
            .env("AS_ROOT", if is_root() { "" } else { AS_ROOT })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|failure| format!("sh: {failure}"))?;
        Ok(Disk { folder, watchdog })
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fills it but for so many bytes, up to a page.
    ///
    /// # Panics
    /// If it fails otherwise than for want of space.
    pub fn fill(&self, but: u64) {
        let mut file = File::create(self.ballast()).unwrap();
        let mut length: u64 = 0;
        for size in [1 << 20, 4096] {
            let bytes = vec![b'x'; size];
            loop {
                match file.write(&bytes) {
                    Ok(0) => break,
                    Ok(written) => length += written as u64,
                    Err(full) if full.kind() == ErrorKind::StorageFull => break,
                    Err(failure) => panic!("{failure}"),
                }
            }
        }
        file.set_len(length.saturating_sub(but)).unwrap();
    }

    /// Gives the space back.
    pub fn empty(&self) {
        drop(std::fs::remove_file(self.ballast()));
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}
