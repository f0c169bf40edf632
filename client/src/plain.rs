//! A server that knows no sync: a plain REST API, made into a [`Remote`] by what is kept of it in the file.
//!
//! Beside the app's tables lies what the API last told of each row, with a version and a stamp for each column.
//! So the client can find what changed, merge with [`colsync_shared::merge`], and write the result back with the
//! API's own calls. Only [`known`] knows SQL, only [`api`] HTTP. See ADR 0014.

mod api;
mod call;
mod description;
mod fates;
mod item;
mod known;
mod landed;
mod lines;
mod look;
mod mapped;
mod patience;
mod pull;
mod push;
mod template;
mod times;

use std::path::{Path, PathBuf};

use colsync_shared::schema_wire::{SchemaWire, TableWire};
use colsync_shared::{ClientId, Time};

use crate::client::Settings;
use crate::edges::Clock;
use crate::error::Error;
use crate::file::File;
use crate::outbox::freeze::{self, Frozen};
use crate::outbox::mode::Mode;
use crate::remote::{Pull, PushAnswer, Remote, Trouble, check_url};
use api::Api;
use description::Description;
use known::Known;
use mapped::Mapped;

/// Edits of one push: each takes two calls, and a sync can be stopped between two pushes.
const MOST_EDITS: usize = 50;

/// A clock is taken to be right up to this difference, µs; `Date` has whole seconds.
const TOLERANCE_US: i64 = 2_000_000;

/// Who wrote what the API tells, as far as anyone knows.
const API: ClientId = ClientId(uuid::Uuid::from_u128(3));

/// An API by its description.
pub(crate) struct Plain {
    description: Description,
    api: Api,
    known: Known,
    path: PathBuf,
    clock: Clock,
    /// The tables of the description that the file tracks, as of the last [`Remote::schema`].
    tables: Vec<Mapped>,
}

/// The API's URL in a description.
///
/// # Errors
/// [`Error::Description`], and [`Error::Url`].
pub(crate) fn url(text: &str) -> Result<String, Error> {
    let description = Description::read(text)?;
    check_url(&description.url)?;
    Ok(description.url)
}

impl Plain {
    /// The API that `text` describes, at `url`, for the file at `path`.
    ///
    /// # Errors
    /// [`Error::Description`]; whatever the file has against it.
    pub(crate) fn new(
        text: &str,
        url: &str,
        path: &Path,
        settings: &Settings,
    ) -> Result<Plain, Error> {
        let description = Description::read(text)?;
        let mut known = Known::open(path)?;
        known.is_of(&description.identity(url))?;
        Ok(Plain {
            api: Api::new(url, &description, settings)?,
            description,
            known,
            path: path.to_owned(),
            clock: settings.clock,
            tables: Vec::new(),
        })
    }

    /// The time by the API's clock, as far as it differs much from this one's.
    fn now(&self) -> Time {
        self.clock.now().shifted(self.skew_us())
    }

    fn skew_us(&self) -> i64 {
        let offset = self.api.offset_us().unwrap_or(0);
        if offset.abs() > TOLERANCE_US {
            offset
        } else {
            0
        }
    }
}

impl Remote for Plain {
    fn schema(&mut self, _client: ClientId) -> Result<SchemaWire, Trouble> {
        let mut file = File::open(&self.path)?;
        let local = crate::capture::refresh(&mut file)?;
        self.tables = mapped::of(&self.description, &local);
        let tables: Vec<TableWire> = self.tables.iter().map(Mapped::to_wire).collect();
        Ok(SchemaWire {
            hash: mapped::hash(&tables)?,
            tables,
        })
    }

    fn knows_its_schema(&self) -> bool {
        true
    }

    fn push(
        &mut self,
        client: ClientId,
        push: &Frozen,
        _position: Option<&str>,
        _compress: bool,
    ) -> Result<PushAnswer, Trouble> {
        let push = freeze::body(&push.body)?;
        let receipts = push::push(self, client, &push)?;
        Ok(PushAnswer {
            push: push.push,
            receipts,
            schema: None,
        })
    }

    /// An API has rows and no history: it gets what they came to.
    fn takes(&self, mode: Mode) -> bool {
        mode == Mode::Differential
    }

    fn most_edits(&self) -> usize {
        MOST_EDITS
    }

    fn pull(
        &mut self,
        _client: ClientId,
        tables: &[&str],
        cursor: Option<&str>,
        _after_push: Option<i64>,
        _limit: u64,
    ) -> Result<Pull, Trouble> {
        pull::pull(self, tables, cursor)
    }

    fn traffic(&self) -> (u64, u64) {
        self.api.traffic()
    }

    fn offset_us(&self) -> Option<i64> {
        self.api.offset_us()
    }
}
