//! One sync at a time on a file, whoever runs it. The lock is the system's and goes with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Held while a sync runs, or while something is done that must not meet one.
pub(crate) struct SyncLock {
    file: File,
}

impl Drop for SyncLock {
    /// Unlocks, and does not only close: a process that this one is just starting has the file open, too, until
    /// it runs its own program.
    fn drop(&mut self) {
        if let Err(failure) = self.file.unlock() {
            log::debug!("unlock: {failure}");
        }
    }
}

impl SyncLock {
    /// Takes the lock of the database at `path`.
    ///
    /// # Errors
    /// [`Error::Busy`] if someone else has it.
    pub(crate) fn take(path: &Path) -> Result<SyncLock, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(SyncLock { file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy),
            Err(TryLockError::Error(failure)) => Err(failure.into()),
        }
    }

    /// Takes the lock of the database at `path`, when it is free.
    pub(crate) fn wait(path: &Path) -> Result<SyncLock, Error> {
        let file = open(path)?;
        file.lock()?;
        Ok(SyncLock { file })
    }
}

fn open(path: &Path) -> Result<File, Error> {
    let mut name = followed(path)?.into_os_string();
    name.push("-colsync-lock");
    let name = PathBuf::from(name);
    Ok(OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(name)?)
}

/// Where the file is that SQLite opens at `path`, whatever links lead there.
fn followed(path: &Path) -> Result<PathBuf, Error> {
    match path.canonicalize() {
        Err(none_yet) if none_yet.kind() == ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
            Ok(folder.join(path.file_name().unwrap_or_default()))
        }
        found => Ok(found?),
    }
}
