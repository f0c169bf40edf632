//! The second half of a sync: what others have changed comes down, page by page, each with its place in the
//! feed in one transaction.

use std::collections::BTreeSet;

use colsync_shared::step;

use super::report::Progress;
use super::session::{Session, covered, pulling};
use crate::error::Error;
use crate::file::Meta;
use crate::inbox::apply::{self, Applied};
use crate::inbox::page::Page;
use crate::inbox::pending::PendingRows;
use crate::inbox::{fresh, resync, write};
use crate::remote::{Pull, Trouble};

/// Rows asked for at once: a slow connection gets through with them before it times out.
const ROWS: u64 = 200_000;

/// Broken streams in a row, without a checkpoint between them, before the sync gives up.
const MOST_CUTS: usize = 3;

impl Session<'_> {
    /// Pulls until everything is here; whether the server's schema is not what it was.
    pub(super) fn pull(&mut self) -> Result<bool, Error> {
        self.file.wait_for_disk(false)?;
        let done = self.pull_all();
        self.file.wait_for_disk(true)?;
        done
    }

    fn pull_all(&mut self) -> Result<bool, Error> {
        if self.names().is_empty() {
            return Ok(false);
        }
        let mut stale = false;
        if !self.marked()?.is_empty() {
            stale |= self.pull_once()?.unknown_columns;
        }
        let is_first = self.file.meta(Meta::Cursor)?.is_none();
        stale |= self.pull_once()?.unknown_columns;
        if is_first {
            // What changed while all of it came, and a cursor that needs not look back to the beginning.
            stale |= self.pull_once()?.unknown_columns;
        }
        if self.file.meta(Meta::LacksRows)?.is_some() {
            log::warn!("the file lacks rows that it had: pulling all of them again");
            self.file.write(|file| {
                file.set_meta(Meta::LacksRows, None)?;
                resync::begin(file)
            })?;
            stale |= self.pull_once()?.unknown_columns;
        }
        Ok(stale)
    }

    /// Paired tables that are to come whole once more, while the cursor covers them, by the server's names.
    fn marked(&mut self) -> Result<BTreeSet<String>, Error> {
        let marked = resync::marked(&mut self.file)?;
        let tables = self.tables.iter();
        let tables = tables.filter(|paired| marked.contains(&paired.local.number));
        Ok(tables
            .filter_map(|paired| paired.server.clone().ok())
            .collect())
    }

    /// The tables of the next pull, by the server's names. A cursor brings every row of the tables that are new to it: it
    /// comes to cover no marked table by a pull of the others alone. Where there are no others, all starts over.
    fn wanted(&mut self) -> Result<Vec<String>, Error> {
        let mut names = self.names();
        let marked = self.marked()?;
        if marked.is_empty() {
            return Ok(names);
        }
        let covered = covered(&mut self.file)?;
        if names
            .iter()
            .all(|name| marked.contains(name) || !covered.contains(name))
        {
            let begin = match self.file.meta(Meta::Cursor)? {
                Some(_) => resync::begin,
                None => resync::unmark,
            };
            self.file.write(begin)?;
        } else {
            names.retain(|name| !marked.contains(name));
        }
        Ok(names)
    }

    /// A pull of the tables of which there is a checkpoint goes on; any other begins. Of tables that the cursor does not
    /// cover, it brings every row that there is. Rows that are here already, pushed before it or left of a pull that did
    /// not go on, may have been deleted since.
    fn begin_or_go_on(&mut self, names: &[String]) -> Result<(), Error> {
        let under_way = pulling(&mut self.file)?;
        if !under_way.is_empty() && under_way == names.iter().cloned().collect() {
            return Ok(());
        }
        let covered = covered(&mut self.file)?;
        let (mut pulled, mut new) = (BTreeSet::new(), Vec::new());
        for paired in &self.tables {
            let Ok(name) = &paired.server else {
                continue;
            };
            if !names.contains(name) {
                continue;
            }
            pulled.insert(paired.local.number);
            if !covered.contains(name) && write::has_rows(&mut self.file, paired)? {
                new.push(paired.local.number);
            }
        }
        if new.is_empty() && resync::under_way(&mut self.file)?.is_subset(&pulled) {
            return Ok(());
        }
        self.file
            .write(|file| resync::begin_with(file, &pulled, &new))
    }

    /// Pulls until nothing is left.
    fn pull_once(&mut self) -> Result<Applied, Error> {
        let mut pending = PendingRows::default();
        let mut total = Applied::default();
        let mut cuts = 0;
        let mut restarts = 0;
        loop {
            self.go_on()?;
            let names = self.wanted()?;
            if names.is_empty() {
                return Ok(total);
            }
            self.begin_or_go_on(&names)?;
            step::reach("page.asked");
            let trouble = match self.open(&names) {
                Ok(mut stream) => {
                    let mut progress = false;
                    let done =
                        self.stream(&names, &mut stream, &mut pending, &mut total, &mut progress);
                    if progress {
                        cuts = 0;
                    }
                    match done {
                        Ok(true) => {
                            fresh::mark(&mut self.file, &mut self.tables)?;
                            return Ok(total);
                        }
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
                    self.file.write(resync::begin)?;
                    step::reach("resync.begun");
                }
                Trouble::Forked | Trouble::OutOfOrder { .. } if restarts < 2 => {
                    restarts += 1;
                    self.mend(&trouble)?;
                }
                // The others come without it.
                Trouble::UnknownTable { .. } if restarts < 2 => {
                    restarts += 1;
                    if !self.fetch_schema()? {
                        return Err(trouble.into());
                    }
                    self.pair()?;
                }
                other => return Err(other.into()),
            }
        }
    }

    fn open(&mut self, names: &[String]) -> Result<Pull, Trouble> {
        let broken = |failure: Error| Trouble::Nonsense(failure.to_string());
        let cursor = self.file.meta(Meta::Cursor).map_err(broken)?;
        let push = self.file.meta_int(Meta::Push).map_err(broken)?.unwrap_or(0);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.remote
            .pull(self.client, &names, cursor.as_deref(), Some(push), ROWS)
    }

    fn names(&self) -> Vec<String> {
        let tables = self.tables.iter();
        tables
            .filter_map(|table| table.server.clone().ok())
            .collect()
    }

    /// Applies a stream; whether it brought everything.
    fn stream(
        &mut self,
        names: &[String],
        stream: &mut Pull,
        pending: &mut PendingRows,
        total: &mut Applied,
        progress: &mut bool,
    ) -> Result<bool, Broken> {
        let resync = resync::under_way(&mut self.file)?;
        let first = !resync.is_empty() || self.file.meta(Meta::Cursor)?.is_none();
        self.tell_pulling(first);
        let mut page = Page::default();
        let mut complete = false;
        loop {
            match page.add(|text| stream.read_line(text)) {
                Ok(true) if !page.is_full() => continue,
                Ok(true) => {}
                ended => {
                    if page.checkpoint.is_some() {
                        page.cut();
                        *progress = true;
                        self.take_page(names, pending, &mut page, &resync, total)?;
                    }
                    return ended.map(|_end| complete).map_err(Broken::There);
                }
            }
            *progress |= page.checkpoint.is_some();
            complete = self.take_page(names, pending, &mut page, &resync, total)?;
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
        names: &[String],
        pending: &mut PendingRows,
        page: &mut Page,
        resync: &BTreeSet<i64>,
        total: &mut Applied,
    ) -> Result<bool, Error> {
        self.go_on()?;
        let page = std::mem::take(page);
        step::reach("page.read");
        let applied = self.write_page(names, pending, &page, resync)?;
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
        names: &[String],
        pending: &mut PendingRows,
        page: &Page,
        resync: &BTreeSet<i64>,
    ) -> Result<Applied, Error> {
        let tables = &self.tables;
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
            if let Some(cursor) = checkpoint {
                file.set_meta(Meta::Cursor, Some(cursor))?;
                if complete {
                    file.set_meta(Meta::Pulling, None)?;
                    file.set_meta_json(Meta::CursorTables, names)?;
                    resync::unmark(file)?;
                    let pulled = tables.iter().filter(|paired| {
                        let name = paired.server.as_ref();
                        name.is_ok_and(|name| names.contains(name))
                    });
                    fresh::forget(file, pulled.map(|paired| paired.local.number))?;
                } else {
                    file.set_meta_json(Meta::Pulling, names)?;
                }
            }
            step::reach("page.before_commit");
            Ok(applied)
        })
    }
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
