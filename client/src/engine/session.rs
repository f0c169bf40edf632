//! One sync: push, settle, pull, apply. Each step is one transaction of the file, so that whatever happens
//! between two of them, the next sync goes on from there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use colsync_shared::schema_wire::SchemaWire;
use colsync_shared::sqlite::Stored;
use colsync_shared::{ClientId, step};

use super::lock::SyncLock;
use super::report::{Progress, Report};
use crate::capture;
use crate::client::Settings;
use crate::edges;
use crate::error::Error;
use crate::file::{File, Meta, text};
use crate::inbox::{fresh, resync, versions};
use crate::keys;
use crate::outbox::mode::Mode;
use crate::outbox::{freeze, history};
use crate::pairing::{self, Paired, pair};
use crate::plain::{self, Plain};
use crate::remote::{Http, Remote};

/// What a sync works with.
pub(crate) struct Session<'a> {
    pub(super) file: File,
    pub(super) remote: Box<dyn Remote>,
    pub(super) settings: &'a Settings,
    pub(super) client: ClientId,
    pub(super) mode: Mode,
    pub(super) tables: Vec<Paired>,
    pub(super) schema: Option<SchemaWire>,
    pub(super) report: Report,
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
    stop: &'a AtomicBool,
}

/// Syncs the file once.
///
/// # Errors
/// As the file and the server have it; what was done until then stays done, and is gone on from.
pub(crate) fn run(
    mut file: File,
    settings: &Settings,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &AtomicBool,
) -> Result<Report, Error> {
    let _lock = SyncLock::take(file.path())?;
    let remote = remote(&mut file, settings)?;
    let client = identity(&mut file)?;
    let mode = mode(&mut file, settings)?;
    let mode = if remote.takes(mode) {
        mode
    } else {
        Mode::default()
    };
    let mut session = Session {
        file,
        remote,
        settings,
        client,
        mode,
        tables: Vec::new(),
        schema: None,
        report: Report::default(),
        progress,
        stop,
    };
    let done = session.sync();
    session.note(&done)?;
    done.map(|()| session.report)
}

/// What the file syncs with: a colsync server, or an API that knows no sync if it was ever told of one.
fn remote(file: &mut File, settings: &Settings) -> Result<Box<dyn Remote>, Error> {
    let url = server(file, settings)?;
    Ok(match file.meta(Meta::Remote)? {
        Some(text) => Box::new(Plain::new(&text, &url, file.path(), settings)?),
        None => Box::new(Http::new(&url, settings)?),
    })
}

/// The server's URL: as named now, else as the file has it. What is named is kept, and with it the
/// description of an API that knows no sync.
pub(crate) fn server(file: &mut File, settings: &Settings) -> Result<String, Error> {
    let mut named = settings.server.clone();
    if let Some(text) = &settings.remote {
        let described = plain::url(text)?;
        named = named.or(Some(described));
        if file.meta(Meta::Remote)?.as_ref() != Some(text) {
            file.write(|file| file.set_meta(Meta::Remote, Some(text)))?;
        }
    }
    let kept = file.meta(Meta::Server)?;
    match (&named, kept) {
        (Some(named), kept) => {
            if kept.as_ref() != Some(named) {
                crate::remote::check_url(named)?;
                file.write(|file| file.set_meta(Meta::Server, Some(named)))?;
            }
            Ok(named.clone())
        }
        (None, Some(kept)) => Ok(kept),
        (None, None) => Err(Error::NoServer),
    }
}

/// How edits go up: as named now, else as the file has it. What is named is kept.
fn mode(file: &mut File, settings: &Settings) -> Result<Mode, Error> {
    let kept = file.meta(Meta::Mode)?;
    let kept = kept.as_deref().and_then(Mode::from_name);
    match settings.mode {
        Some(named) if kept != Some(named) => {
            file.write(|file| file.set_meta(Meta::Mode, Some(named.name())))?;
            Ok(named)
        }
        Some(named) => Ok(named),
        None => Ok(kept.unwrap_or_default()),
    }
}

/// This installation's id; a new file gets one.
pub(crate) fn identity(file: &mut File) -> Result<ClientId, Error> {
    let read = |file: &mut File| -> Result<Option<ClientId>, Error> {
        let kept = file.meta(Meta::ClientId)?;
        kept.map(|text| {
            text.parse()
                .map_err(|_no_uuid| Error::Corrupt("client_id in colsync_meta".to_owned()))
        })
        .transpose()
    };
    if let Some(known) = read(file)? {
        return Ok(known);
    }
    file.write(|file| match read(file)? {
        Some(known) => Ok(known),
        None => {
            let new = edges::client_id();
            file.set_meta(Meta::ClientId, Some(&new.to_string()))?;
            Ok(new)
        }
    })
}

/// The server's schema as it was last told.
pub(crate) fn known_schema(file: &mut File) -> Result<Option<SchemaWire>, Error> {
    let kept = file.meta(Meta::Schema)?;
    kept.map(|json| {
        serde_json::from_str(&json)
            .map_err(|_unreadable| Error::Corrupt("schema in colsync_meta".to_owned()))
    })
    .transpose()
}

impl Session<'_> {
    fn sync(&mut self) -> Result<(), Error> {
        history::index_if_long(&mut self.file)?;
        self.schema = known_schema(&mut self.file)?;
        let mut has_asked = self.schema.is_none() || self.remote.knows_its_schema();
        if has_asked {
            self.fetch_schema()?;
        }
        self.pair()?;
        if !has_asked && pairing::is_lacking(&self.tables) {
            // The server may have it by now, and a file that pushes nothing would not hear of that.
            has_asked = true;
            if self.fetch_schema()? {
                self.pair()?;
            }
        }
        if history::is_indexed(&mut self.file)? {
            self.tell_apart()?;
        }
        self.replay()?;
        self.push()?;
        if !has_asked && !self.report.waiting.is_empty() && self.fetch_schema()? {
            self.pair()?;
            self.push()?;
        }
        if self.pull()? {
            // The server has columns that its schema, as it was known here, had not.
            self.fetch_schema()?;
            self.pair()?;
            self.pull()?;
        }
        history::index_if_long(&mut self.file)
    }

    /// Of a long log; in a short one it is done whenever numbers of the server's come.
    fn tell_apart(&mut self) -> Result<(), Error> {
        let tables = &self.tables;
        self.file.write(|file| {
            let links = keys::Links::read(file, tables)?;
            keys::tell_all_apart(file, tables, &links)
        })
    }

    /// Asks for the server's schema; whether it is another than before.
    pub(super) fn fetch_schema(&mut self) -> Result<bool, Error> {
        (self.progress)(Progress::Schema);
        let schema = self.remote.schema(self.client)?;
        let is_new = self
            .schema
            .as_ref()
            .is_none_or(|known| known.hash != schema.hash);
        if is_new || self.file.meta(Meta::Schema)?.is_none() {
            let json = serde_json::to_string(&schema)
                .map_err(|broken| Error::Nonsense(format!("a schema: {broken}")))?;
            self.file
                .write(|file| file.set_meta(Meta::Schema, Some(&json)))?;
            self.schema = Some(schema);
        }
        Ok(is_new)
    }

    /// Pairs the tracked tables with the server's. A table of which more columns meet than before is to be
    /// pulled from its beginning, once.
    pub(super) fn pair(&mut self) -> Result<(), Error> {
        let tables = capture::refresh(&mut self.file)?;
        self.tables = pair(tables, self.schema.as_ref());
        let mut brought = covered(&mut self.file)?;
        brought.append(&mut pulling(&mut self.file)?);
        for paired in &self.tables {
            let Ok(server) = &paired.server else {
                continue;
            };
            let number = Stored::Int(paired.local.number);
            let row = self.file.first(
                "SELECT met FROM colsync_tables WHERE number = :?",
                std::slice::from_ref(&number),
            )?;
            let before: Option<Vec<String>> = row
                .as_ref()
                .and_then(|row| text(row.first()?))
                .and_then(|json| serde_json::from_str(json).ok());
            let met = paired.met();
            if before.as_ref() == Some(&met) {
                continue;
            }
            let more: Vec<String> = match &before {
                None => Vec::new(),
                Some(before) => {
                    let more = met.iter().filter(|name| !before.contains(name));
                    more.cloned().collect()
                }
            };
            let json = serde_json::to_string(&met)
                .map_err(|broken| Error::Corrupt(format!("names of columns: {broken}")))?;
            // Where the first pull is under way, rows of it may have come already.
            let begin = match &before {
                None => brought.contains(server),
                Some(_) => !more.is_empty(),
            };
            self.file.write(|file| {
                file.execute(
                    "UPDATE colsync_tables SET met = :? WHERE number = :?",
                    &[Stored::Text(json), number],
                )?;
                match before {
                    None => fresh::forget(file, std::iter::once(paired.local.number))?,
                    Some(_) if more.is_empty() => {}
                    Some(_) => {
                        fresh::note(file, paired.local.number, &more)?;
                        versions::forget_gone(file, paired)?;
                    }
                }
                if begin {
                    resync::mark(file, paired.local.number)?;
                }
                Ok(())
            })?;
        }
        fresh::mark(&mut self.file, &mut self.tables)
    }

    /// Takes a new identity: the file is a copy of one that has pushed since, or the server has forgotten
    /// what it answered for. What is not settled stays pending.
    pub(super) fn renew(&mut self) -> Result<(), Error> {
        let new = edges::client_id();
        log::warn!("{} goes on as client {new}", self.client);
        self.file.write(|file| {
            freeze::thaw(file)?;
            file.execute("DELETE FROM colsync_pushes", &[])?;
            file.set_meta(Meta::ClientId, Some(&new.to_string()))?;
            file.set_meta(Meta::Replay, None)?;
            file.set_meta(Meta::Push, None)?;
            file.set_meta(Meta::LocalId, None)?;
            step::reach("identity.before_commit");
            Ok(())
        })?;
        step::reach("identity.renewed");
        self.client = new;
        Ok(())
    }

    /// # Errors
    /// [`Error::Stopped`] if the sync is to end.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Keeps what the file's status tells.
    fn note(&mut self, done: &Result<(), Error>) -> Result<(), Error> {
        (self.report.sent_bytes, self.report.received_bytes) = self.remote.traffic();
        let offset = self.remote.offset_us().map(|offset| offset.to_string());
        let now = self.settings.clock.now().micros() / 1000;
        self.file.write(|file| {
            if offset.is_some() {
                file.set_meta(Meta::OffsetUs, offset.as_deref())?;
            }
            match done {
                Ok(()) => {
                    file.set_meta(Meta::SyncedAt, Some(&now.to_string()))?;
                    file.set_meta(Meta::LastError, None)
                }
                Err(Error::Stopped) => Ok(()),
                Err(failure) => file.set_meta(Meta::LastError, Some(&failure.to_string())),
            }
        })
    }
}

/// The tables of which everything has come up to the cursor, by the server's names.
pub(super) fn covered(file: &mut File) -> Result<BTreeSet<String>, Error> {
    if file.meta(Meta::Cursor)?.is_none() {
        return Ok(BTreeSet::new());
    }
    file.meta_json(Meta::CursorTables)
}

/// The tables of the pull that goes on from the cursor, by the server's names; none where that is complete.
pub(super) fn pulling(file: &mut File) -> Result<BTreeSet<String>, Error> {
    file.meta_json(Meta::Pulling)
}
