//! The second half of a sync: what others have changed comes down, page by page, each with its place in the
//! feed in one transaction.

use std::collections::BTreeSet;

use colsync_shared::sqlite::Stored;
use colsync_shared::step;

use super::report::Progress;
use super::session::{Session, covered, pulling};
use crate::error::Error;
use crate::file::{File, Meta, text};
use crate::inbox::apply::{self, Applied};
use crate::inbox::page::Page;
use crate::inbox::pending::PendingRows;
use crate::inbox::{fresh, resync, write};
use crate::remote::{Pull, Trouble};

/// Rows asked for at once: a slow connection gets through with them before it times out.
const ROWS: u64 = 200_000;

/// Broken streams in a row, without a checkpoint between them, before the sync gives up.
const MOST_CUTS: usize = 3;

/// What a pull is of.
#[derive(Debug, Clone)]
enum Feed {
    /// All paired tables, from the file's cursor.
    All,
    /// One table from its beginning, by its number here and its name there: its columns here have become more.
    Table(i64, String),
}

impl Session<'_> {
    /// Pulls until everything is here; whether the server's schema is not what it was.
    pub(super) fn pull(&mut self) -> Result<bool, Error> {
        self.file.wait_for_disk(false)?;
        let done = self.pull_all();
        self.file.wait_for_disk(true)?;
        done
    }

    fn pull_all(&mut self) -> Result<bool, Error> {
        let mut stale = false;
        for (number, name) in self.backfills()? {
            stale |= self.pull_feed(&Feed::Table(number, name))?.unknown_columns;
            fresh::mark(&mut self.file, &mut self.tables)?;
        }
        if self.tables.iter().all(|table| table.server.is_err()) {
            return Ok(stale);
        }
        let is_first = self.file.meta(Meta::Cursor)?.is_none();
        stale |= self.pull_feed(&Feed::All)?.unknown_columns;
        if is_first {
            // What changed while all of it came, and a cursor that needs not look back to the beginning.
            stale |= self.pull_feed(&Feed::All)?.unknown_columns;
        }
        if self.file.meta(Meta::LacksRows)?.is_some() {
            log::warn!("the file lacks rows that it had: pulling all of them again");
            self.file.write(|file| {
                file.set_meta(Meta::LacksRows, None)?;
                resync::begin(file)
            })?;
            stale |= self.pull_feed(&Feed::All)?.unknown_columns;
        }
        Ok(stale)
    }

    /// A pull of the tables of which there is a checkpoint goes on; any other begins. Of tables that the cursor does not
    /// cover, it brings every row that there is. Rows that are here already, pushed before it or left of a pull that did
    /// not go on, may have been deleted since.
    fn begin_or_go_on(&mut self) -> Result<(), Error> {
        let under_way = pulling(&mut self.file)?;
        if !under_way.is_empty() && under_way == self.names().into_iter().collect() {
            return Ok(());
        }
        let covered = covered(&mut self.file)?;
        let mut new = Vec::new();
        for paired in &self.tables {
            let is_new = paired
                .server
                .as_ref()
                .is_ok_and(|name| !covered.contains(name));
            if is_new && write::has_rows(&mut self.file, paired)? {
                new.push(paired.local.number);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.file.write(|file| resync::begin_with(file, &new))
    }

    /// Tables that are to be pulled from their beginning.
    fn backfills(&mut self) -> Result<Vec<(i64, String)>, Error> {
        let mut found = Vec::new();
        for paired in &self.tables {
            let needs = self.file.int(
                "SELECT count(*) FROM colsync_tables WHERE number = :? AND backfill IS NOT NULL",
                &[Stored::Int(paired.local.number)],
            )?;
            if let (1, Ok(name)) = (needs, &paired.server) {
                found.push((paired.local.number, name.clone()));
            }
        }
        Ok(found)
    }

    fn pull_feed(&mut self, feed: &Feed) -> Result<Applied, Error> {
        let mut pending = PendingRows::default();
        let mut total = Applied::default();
        let mut cuts = 0;
        let mut restarts = 0;
        loop {
            self.go_on()?;
            if let Feed::All = feed {
                self.begin_or_go_on()?;
            }
            step::reach("page.asked");
            let trouble = match self.open(feed) {
                Ok(mut stream) => {
                    let mut progress = false;
                    let done =
                        self.stream(feed, &mut stream, &mut pending, &mut total, &mut progress);
                    if progress {
                        cuts = 0;
                    }
                    match done {
                        Ok(true) => return Ok(total),
                        Ok(false) if progress => continue,
                        Ok(false) => Trouble::Unreachable("the answer broke off".to_owned()),
                        Err(Broken::Here(failure)) => return Err(failure),
                        Err(Broken::There(trouble)) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Unreachable(_) if cuts < MOST_CUTS && total.rows > 0 => cuts += 1,
                Trouble::Expired if restarts < 2 => {
                    restarts += 1;
                    self.start_over(feed)?;
                }
                Trouble::Forked | Trouble::OutOfOrder { .. } if restarts < 2 => {
                    restarts += 1;
                    self.mend(&trouble)?;
                }
                other => return Err(other.into()),
            }
        }
    }

    fn open(&mut self, feed: &Feed) -> Result<Pull, Trouble> {
        let broken = |failure: Error| Trouble::Nonsense(failure.to_string());
        match feed {
            Feed::All => {
                let cursor = self.file.meta(Meta::Cursor).map_err(broken)?;
                let push = self.file.meta_int(Meta::Push).map_err(broken)?.unwrap_or(0);
                let names = self.names();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.remote
                    .pull(self.client, &names, cursor.as_deref(), Some(push), ROWS)
            }
            Feed::Table(number, name) => {
                let cursor = backfill(&mut self.file, *number).map_err(broken)?;
                self.remote
                    .pull(self.client, &[name], cursor.as_deref(), None, ROWS)
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let tables = self.tables.iter();
        tables
            .filter_map(|table| table.server.clone().ok())
            .collect()
    }

    fn start_over(&mut self, feed: &Feed) -> Result<(), Error> {
        match feed {
            Feed::All => {
                self.file.write(resync::begin_in_another_history)?;
                step::reach("resync.begun");
                Ok(())
            }
            Feed::Table(number, _) => {
                let number = *number;
                self.file.write(|file| set_backfill(file, number, Some("")))
            }
        }
    }

    /// Applies a stream; whether it brought everything.
    fn stream(
        &mut self,
        feed: &Feed,
        stream: &mut Pull,
        pending: &mut PendingRows,
        total: &mut Applied,
        progress: &mut bool,
    ) -> Result<bool, Broken> {
        let resync = match feed {
            Feed::All => resync::under_way(&mut self.file)?,
            Feed::Table(..) => BTreeSet::new(),
        };
        let first = !resync.is_empty() || self.file.meta(Meta::Cursor)?.is_none();
        self.tell_pulling(first);
        let mut page = Page::default();
        let mut complete = false;
        loop {
            match page.add(|text| stream.read_line(text)) {
                Ok(true) if !page.is_full() => continue,
                Ok(true) => {}
                ended => {
                    // What came after the last checkpoint comes again.
                    if page.checkpoint.is_some() {
                        *progress = true;
                        self.take_page(feed, pending, &mut page, &resync, total)?;
                    }
                    return ended.map(|_end| complete).map_err(Broken::There);
                }
            }
            *progress |= page.checkpoint.is_some();
            complete = self.take_page(feed, pending, &mut page, &resync, total)?;
            self.tell_pulling(first);
        }
    }

    fn tell_pulling(&mut self, first: bool) {
        let rows = self.report.pulled;
        (self.progress)(Progress::Pulling { rows, first });
    }

    /// Writes a page and leaves an empty one; whether it was the last.
    fn take_page(
        &mut self,
        feed: &Feed,
        pending: &mut PendingRows,
        page: &mut Page,
        resync: &BTreeSet<i64>,
        total: &mut Applied,
    ) -> Result<bool, Error> {
        self.go_on()?;
        let page = std::mem::take(page);
        step::reach("page.read");
        let applied = self.write_page(feed, pending, &page, resync)?;
        step::reach("page.applied");
        total.rows += applied.rows;
        total.removed += applied.removed;
        total.unknown_columns |= applied.unknown_columns;
        self.report.pulled += applied.rows;
        self.report.removed += applied.removed;
        Ok(page.complete)
    }

    fn write_page(
        &mut self,
        feed: &Feed,
        pending: &mut PendingRows,
        page: &Page,
        resync: &BTreeSet<i64>,
    ) -> Result<Applied, Error> {
        let tables = &self.tables;
        let names = self.names();
        let changes = page.changes()?;
        let (checkpoint, complete) = (page.checkpoint.as_deref(), page.complete);
        self.file.write(|file| {
            let mut applied = apply::page(file, tables, pending, changes, resync)?;
            if complete {
                write::without_echo(file, tables, |file| {
                    file.uncaptured(|file| {
                        if !resync.is_empty() {
                            applied.removed += resync::finish(file, tables, pending)?;
                            step::reach("resync.finished");
                        }
                        apply::release_all(file, tables, pending)
                    })
                })?;
            }
            match (checkpoint, feed) {
                (None, _) => {}
                (Some(cursor), Feed::All) => {
                    file.set_meta(Meta::Cursor, Some(cursor))?;
                    if complete {
                        file.set_meta(Meta::Pulling, None)?;
                        file.set_meta_json(Meta::CursorTables, &names)?;
                    } else {
                        file.set_meta_json(Meta::Pulling, &names)?;
                    }
                }
                (Some(_), Feed::Table(number, _)) if complete => {
                    set_backfill(file, *number, None)?;
                    fresh::forget(file, *number)?;
                }
                (Some(cursor), Feed::Table(number, _)) => {
                    set_backfill(file, *number, Some(cursor))?;
                }
            }
            step::reach("page.before_commit");
            Ok(applied)
        })
    }
}

/// Where the pull of one table is; `None` at its beginning.
fn backfill(file: &mut File, number: i64) -> Result<Option<String>, Error> {
    let row = file.first(
        "SELECT backfill FROM colsync_tables WHERE number = :?",
        &[Stored::Int(number)],
    )?;
    let cursor = row.as_ref().and_then(|row| text(row.first()?));
    Ok(cursor
        .filter(|cursor| !cursor.is_empty())
        .map(str::to_owned))
}

fn set_backfill(file: &mut File, number: i64, cursor: Option<&str>) -> Result<(), Error> {
    let cursor = cursor.map_or(Stored::Null, |cursor| Stored::Text(cursor.to_owned()));
    file.execute(
        "UPDATE colsync_tables SET backfill = :? WHERE number = :?",
        &[cursor, Stored::Int(number)],
    )?;
    Ok(())
}

/// Why a stream was not applied to its end.
enum Broken {
    /// The file failed, or the sync is to end.
    Here(Error),
    /// The stream failed.
    There(Trouble),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Here(error)
    }
}
