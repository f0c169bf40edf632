//! The client as an app calls it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::capture::{self, Tracked};
use crate::edges::Clock;
use crate::engine::lock::SyncLock;
use crate::engine::report::{Progress, Report};
use crate::engine::session;
use crate::engine::worker::{Pace, Worker};
use crate::error::Error;
use crate::file::{File, Meta};
use crate::init;
use crate::outbox::mode::Mode;
use crate::plain;
use crate::remote::{Http, Remote as _};
use crate::undo;
use crate::view::{self, Conflict, DeadLetter, FileStatus, Pending};

/// How a client reaches its server.
#[derive(Clone)]
pub struct Settings {
    /// The server's URL, such as `https://sync.example.org`. It is kept in the file: later calls may leave
    /// it out.
    pub server: Option<String>,
    /// The description, in TOML, of an API that knows no sync, where the server is one. It is kept in the file:
    /// later calls may leave it out. See `docs/client.md`.
    pub remote: Option<String>,
    /// An API key. It is kept nowhere.
    pub token: Option<String>,
    /// Whether pushes are sent as zstd.
    pub compress: bool,
    /// The most edits in one push.
    pub batch: usize,
    /// How long to wait for a connection; answers get a multiple of it.
    pub timeout: Duration,
    /// The clock that it tells the server.
    pub clock: Clock,
    /// How edits go up; `None`: as the file has it, differentially at first. What is named is kept in the file.
    pub mode: Option<Mode>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            server: None,
            remote: None,
            token: None,
            compress: true,
            batch: 1_000,
            timeout: Duration::from_secs(15),
            clock: Clock::default(),
            mode: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("server", &self.server)
            .field("remote", &self.remote.is_some())
            .field("token", &self.token.as_ref().map(|_secret| "…"))
            .field("compress", &self.compress)
            .field("batch", &self.batch)
            .field("timeout", &self.timeout)
            .field("clock", &self.clock)
            .field("mode", &self.mode)
            .finish()
    }
}

/// An SQLite file that is kept in sync. Cheap to clone; each call opens the file for itself, and any number
/// of programs may read and write it meanwhile.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    settings: Settings,
}

impl Client {
    /// Opens the SQLite file at `path`, and makes it if there is none. Colsync's own tables in it are called
    /// `colsync_…`.
    ///
    /// # Errors
    /// [`Error::File`] if it is no SQLite database, [`Error::LaterFormat`], [`Error::Url`], [`Error::Description`].
    pub fn open(path: impl AsRef<Path>, settings: Settings) -> Result<Client, Error> {
        let mut file = File::open(path.as_ref())?;
        if let Some(url) = &settings.server {
            crate::remote::check_url(url)?;
        }
        if let Some(text) = &settings.remote {
            plain::url(text)?;
        }
        session::identity(&mut file)?;
        Ok(Client {
            inner: Arc::new(Inner {
                path: path.as_ref().to_owned(),
                settings,
            }),
        })
    }

    pub(crate) fn file(&self) -> Result<File, Error> {
        File::open(&self.inner.path)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Captures what is written to `table` from now on, by whatever program. Its present rows are edits that
    /// the server has not seen. Tracking a tracked table mends its triggers.
    ///
    /// # Errors
    /// [`Error::Untrackable`] with every reason.
    pub fn track(&self, table: &str) -> Result<Tracked, Error> {
        capture::track(&mut self.file()?, table)
    }

    /// Captures `table` no more, and forgets what was captured. Its rows stay as they are.
    ///
    /// # Errors
    /// [`Error::Unpushed`] if that would drop edits and `drop_unpushed` is not set; [`Error::Unknown`].
    pub fn untrack(&self, table: &str, drop_unpushed: bool) -> Result<(), Error> {
        let _lock = SyncLock::wait(&self.inner.path)?;
        capture::untrack(&mut self.file()?, table, drop_unpushed)
    }

    /// Names of the tracked tables.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tracked(&self) -> Result<Vec<String>, Error> {
        let tables = capture::refresh(&mut self.file()?)?;
        Ok(tables.into_iter().map(|table| table.name).collect())
    }

    /// Makes the server's `tables` in the file, all of them if none is named, and tracks them. A table that
    /// is there already is only tracked.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a table that the server has not, [`Error::NoSchema`], and whatever stands between it and here.
    pub fn init(&self, tables: &[String]) -> Result<Vec<Tracked>, Error> {
        let mut file = self.file()?;
        let settings = &self.inner.settings;
        let url = session::server(&mut file, settings)?;
        let client = session::identity(&mut file)?;
        if file.meta(Meta::Remote)?.is_some() {
            return Err(Error::NoSchema);
        }
        let mut http = Http::new(&url, settings)?;
        let schema = http.schema(client)?;
        let json = serde_json::to_string(&schema)
            .map_err(|broken| Error::Nonsense(format!("a schema: {broken}")))?;
        file.write(|file| file.set_meta(Meta::Schema, Some(&json)))?;
        init::init(&mut file, &schema, tables)
    }

    /// Syncs once: pushes what the app has written, settles it by the receipts, pulls what others changed.
    /// Blocks until it is done.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when it is worth trying again, [`Error::Forbidden`], [`Error::Busy`], and
    /// others. No edit is lost by any of them.
    pub fn sync(&self) -> Result<Report, Error> {
        self.sync_with(&|_progress| {})
    }

    /// [`Client::sync`], telling how far it is.
    ///
    /// # Errors
    /// As [`Client::sync`].
    pub fn sync_with(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, Error> {
        let never = AtomicBool::new(false);
        session::run(self.file()?, &self.inner.settings, progress, &never)
    }

    /// [`Client::sync`] for async code: it runs on tokio's threads for blocking work.
    ///
    /// # Errors
    /// As [`Client::sync`]; [`Error::Stopped`] if the runtime ends before.
    pub async fn sync_async(&self) -> Result<Report, Error> {
        let client = self.clone();
        tokio::task::spawn_blocking(move || client.sync())
            .await
            .unwrap_or(Err(Error::Stopped))
    }

    /// What the app has written and the server has not answered for: each row's edit, as Original and edited
    /// values.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn pending(&self) -> Result<Vec<Pending>, Error> {
        view::pending(&mut self.file()?)
    }

    /// The row as this client last knew it from the server: its Original. `None` if there was no such row.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a table that is not tracked.
    pub fn original(&self, table: &str, id: &str) -> Result<Option<Map<String, Json>>, Error> {
        view::original(&mut self.file()?, table, id)
    }

    /// Takes back the row's unpushed edits: it is its Original again.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it has none; a constraint of the app's that the Original does not meet.
    pub fn undo(&self, table: &str, id: &str) -> Result<(), Error> {
        let _lock = SyncLock::wait(&self.inner.path)?;
        undo::row(&mut self.file()?, table, id)
    }

    /// Edits of this client that met someone else's: superseded, merged or held. Oldest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        view::conflicts(&mut self.file()?)
    }

    /// Edits that the server refused. Oldest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        view::dead_letters(&mut self.file()?)
    }

    /// Makes the edit again, as if the app had: the next sync sends it.
    ///
    /// # Errors
    /// [`Error::Unknown`]; a constraint of the app's.
    pub fn retry_dead_letter(&self, number: i64) -> Result<(), Error> {
        let _lock = SyncLock::wait(&self.inner.path)?;
        undo::retry(&mut self.file()?, number)
    }

    /// Forgets an edit that the server refused.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn discard_dead_letter(&self, number: i64) -> Result<(), Error> {
        undo::discard(&mut self.file()?, number)
    }

    /// How the file stands.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn status(&self) -> Result<FileStatus, Error> {
        view::status(&mut self.file()?)
    }

    /// Starts a worker that syncs in the background.
    ///
    /// # Errors
    /// If the file cannot be read, or no server is known.
    pub fn start(&self, pace: Pace) -> Result<Worker, Error> {
        Worker::start(self.clone(), pace)
    }
}
