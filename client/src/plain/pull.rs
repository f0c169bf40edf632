//! Finding what others changed: the API's lists beside what is known, and the feed that comes of it.

use std::collections::HashSet;

use colsync_shared::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Plain;
use super::api::{Api, Listed};
use super::description::TableDescription;
use super::item::{self, Item};
use super::known::{Known, Open, TableState};
use super::lines::{Lines, TableFeed};
use super::look::{Finding, look};
use super::mapped::{Mapped, Seen};
use super::template::{Place, Template};
use super::times::later;
use crate::error::Error;
use crate::remote::{Pull, Trouble};

/// More pages than any list has.
const MOST_PAGES: u64 = 100_000;

/// Where a client's pulls have come.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cursor {
    incarnation: String,
    position: i64,
    /// One that is not among them comes in full.
    tables: Vec<String>,
}

/// Asks the API for what changed, and gives the feed from `cursor` on.
pub(super) fn pull(
    plain: &mut Plain,
    tables: &[&str],
    cursor: Option<&str>,
) -> Result<Pull, Trouble> {
    let cursor: Option<Cursor> = cursor
        .map(|text| serde_json::from_str(text).map_err(|_unknown| Trouble::Expired))
        .transpose()?;
    if let Some(cursor) = &cursor
        && (cursor.incarnation != plain.known.incarnation()
            || cursor.position > plain.known.position())
    {
        return Err(Trouble::Expired);
    }
    let now = plain.now();
    let mut feeds = Vec::new();
    for mapped in &plain.tables {
        let name = mapped.spec.name.as_str();
        if !tables.contains(&name) {
            continue;
        }
        let mut listing = Listing {
            api: &plain.api,
            known: &mut plain.known,
            mapped,
            now,
        };
        listing.find()?;
        let known_to = cursor.as_ref();
        let known_to = known_to.filter(|cursor| cursor.tables.iter().any(|table| table == name));
        feeds.push(TableFeed {
            name: name.to_owned(),
            columns: mapped.spec.columns.iter().map(|c| c.name.clone()).collect(),
            after: known_to.map(|cursor| cursor.position),
        });
    }
    let next = Cursor {
        incarnation: plain.known.incarnation().to_owned(),
        position: plain.known.position(),
        tables: tables.iter().map(|&name| name.to_owned()).collect(),
    };
    let checkpoint =
        serde_json::to_string(&next).map_err(|broken| Trouble::Nonsense(broken.to_string()))?;
    let lines = Lines::new(&plain.path, feeds, next.position, checkpoint)?;
    Ok(Pull::new(Box::new(lines)))
}

/// One table's list, while it is read.
struct Listing<'a> {
    api: &'a Api,
    known: &'a mut Known,
    mapped: &'a Mapped,
    now: Time,
}

/// What a list came to.
struct Read {
    /// The ids that it told.
    ids: HashSet<String>,
    /// Its ETag, if it came in one piece.
    etag: Option<String>,
    /// The latest time that its first page told.
    first: Option<Json>,
    /// The latest time that it told.
    latest: Option<Json>,
    /// How often was asked for a page.
    requests: u64,
}

impl Listing<'_> {
    fn how(&self) -> &TableDescription {
        &self.mapped.how
    }

    fn name(&self) -> &str {
        &self.mapped.spec.name
    }

    /// Finds what changed, and keeps it.
    fn find(&mut self) -> Result<(), Trouble> {
        let name = self.name().to_owned();
        let mut state = self.known.table(&name)?;
        let shape = self.mapped.shape();
        if state.shape != shape {
            // Columns that were not read before are in no change.
            state = TableState {
                shape,
                ..TableState::default()
            };
        }
        let changes = self.how().changes.clone();
        let since = state.since.clone();
        match (changes, since) {
            (Some(changes), Some(since)) if state.pulls + 1 < self.how().whole_every => {
                let since = match since {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                let Some(read) = self.read(&changes, &[(Place::Since, &since)], None)? else {
                    return Ok(());
                };
                // What it told was other than the whole list.
                state.etag = self.known.table(&name)?.etag;
                state.has_told(read.first, read.latest);
                state.pulls += 1;
            }
            _ => {
                let list = self.how().list.clone();
                let Some(read) = self.read(&list, &[], state.etag.as_deref())? else {
                    return Ok(());
                };
                let etag = read.etag.clone();
                self.remove_others(&read)?;
                state.etag = etag;
                state.has_told(read.first, read.latest);
                state.pulls = 0;
            }
        }
        self.known
            .write(|open| open.keep_table(&name, &state))
            .map_err(Trouble::from)
    }

    /// Reads a list to its end; `None` if it is the one of `etag`.
    fn read(
        &mut self,
        template: &Template,
        values: &[(Place, &str)],
        etag: Option<&str>,
    ) -> Result<Option<Read>, Trouble> {
        let mut read = Read {
            ids: HashSet::new(),
            etag: None,
            first: None,
            latest: None,
            requests: 0,
        };
        let numbered = template.has(Place::Page) || template.has(Place::Offset);
        let limit = self.how().limit;
        let mut rows_before = 0_u64;
        let mut link: Option<String> = None;
        let mut last: Vec<String> = Vec::new();
        loop {
            let page = (self.how().first_page + read.requests).to_string();
            let (offset, size) = (rows_before.to_string(), limit.to_string());
            let mut filled = values.to_vec();
            filled.extend([
                (Place::Page, page.as_str()),
                (Place::Offset, offset.as_str()),
                (Place::Limit, size.as_str()),
            ]);
            let url = match link.take() {
                Some(url) => url,
                None => self.api.url(&template.fill(&filled)),
            };
            // Only a list of one piece has an ETag that says anything of all of it.
            let condition = etag.filter(|_| !numbered && self.how().next.is_none());
            let answer = self.api.list(&url, condition, self.how().next.as_deref());
            read.requests += 1;
            let may_be_beyond = numbered && read.requests > 1;
            let (body, new_etag, next) = match answer {
                // There is no such page.
                Err(Trouble::Refused { .. }) if may_be_beyond => break,
                answer => match answer? {
                    Listed::Unchanged => return Ok(None),
                    Listed::Page { body, etag, next } => (body, etag, next),
                },
            };
            let told = body.pointer(&self.how().rows);
            if may_be_beyond && (body.is_null() || told.is_some_and(Json::is_null)) {
                break;
            }
            let rows = self.rows(&body)?;
            rows_before += rows.len() as u64;
            let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
            for row in &rows {
                read.latest = later(read.latest.take(), row.raw_at.clone());
            }
            if read.requests == 1 {
                read.first = read.latest.clone();
            }
            self.note(&rows)?;
            if next.as_deref() == Some(url.as_str())
                || (numbered && !ids.is_empty() && ids == last)
                || read.requests >= MOST_PAGES
            {
                let name = self.name();
                return Err(Trouble::Nonsense(format!("the list of {name} has no end")));
            }
            let is_empty = ids.is_empty();
            let gone: HashSet<&String> = rows
                .iter()
                .filter(|row| row.deleted)
                .map(|row| &row.id)
                .collect();
            read.ids
                .extend(ids.iter().filter(|id| !gone.contains(id)).cloned());
            last = ids;
            match next {
                Some(next) => link = Some(next),
                None if numbered && !is_empty => {}
                None => {
                    if read.requests == 1 && !numbered {
                        read.etag = new_etag;
                    }
                    break;
                }
            }
        }
        Ok(Some(read))
    }

    /// The rows in a list's answer.
    fn rows(&self, body: &Json) -> Result<Vec<Seen>, Trouble> {
        let name = self.name();
        let rows = body.pointer(&self.how().rows).and_then(Json::as_array);
        let rows = rows.ok_or_else(|| {
            let at = &self.how().rows;
            Trouble::Nonsense(format!("the list of {name} has no array at {at:?}"))
        })?;
        let seen = rows.iter().map(|row| {
            self.mapped.read(row).ok_or_else(|| {
                let id = &self.how().id;
                Trouble::Nonsense(format!("a row of {name} without a key in {id:?}"))
            })
        });
        seen.collect()
    }

    fn note(&mut self, rows: &[Seen]) -> Result<(), Trouble> {
        let (mapped, now) = (self.mapped, self.now);
        self.known
            .write(|open| {
                for row in rows {
                    note(open, mapped, &row.id, Some(row), now)?;
                }
                Ok(())
            })
            .map_err(Trouble::from)
    }

    /// Rows that the whole list did not tell are gone. Pages shift while they are read, and may have hidden one:
    /// then each is asked for by itself.
    fn remove_others(&mut self, read: &Read) -> Result<(), Trouble> {
        let mut missing = self.known.alive(&self.mapped.spec.name)?;
        missing.retain(|id| !read.ids.contains(id));
        for id in missing {
            let still = if read.requests > 1 {
                match item::ask(self.api, self.mapped, &id)? {
                    Item::Row(row) => row.map(|row| row.1),
                    Item::Never(_) => None,
                }
            } else {
                None
            };
            let (mapped, now) = (self.mapped, self.now);
            self.known
                .write(|open| note(open, mapped, &id, still.as_ref(), now))?;
        }
        Ok(())
    }
}

/// Keeps a row as it was found, if that is another than was known. `seen` is `None` where there is no such row.
pub(super) fn note(
    open: &mut Open<'_>,
    mapped: &Mapped,
    id: &str,
    seen: Option<&Seen>,
    now: Time,
) -> Result<(), Error> {
    let table = &mapped.spec.name;
    let known = open.row(table, id)?;
    let finding = Finding {
        first_version: open.first_version(),
        position: open.next_position(),
        now,
    };
    let Some(row) = look(known.as_ref(), seen, mapped, finding) else {
        return Ok(());
    };
    open.moved();
    open.keep(table, id, &row)
}
