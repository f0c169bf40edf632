//! Pushing to an API: each edit is merged with the row as it is there now, and the result is written back.
//!
//! Fetch, find what others changed, merge, note what is about to be written, write, note the answer. Whatever cuts
//! that short, the next try begins by fetching.

use std::collections::BTreeMap;

use colsync_shared::merge::Own;
use colsync_shared::merge::row;
use colsync_shared::receipt::Rejection;
use colsync_shared::wire::{self, Frame};
use colsync_shared::{ClientId, Edit, Op, Receipt, RowKey, Time};
use serde_json::Value as Json;

use super::api::{Api, Refusal, Told, Written};
use super::call::Caller;
use super::description::Setting;
use super::item::{self, Item};
use super::known::{Kept, Known, WriteAt};
use super::landed::{Begun, Replaced};
use super::look::{Finding, KnownRow, look, unknown};
use super::mapped::{Mapped, Seen, unwrapped};
use super::pull::note;
use super::times::{Form, Telling};
use super::{Plain, fates};
use crate::outbox::body::Body;
use crate::outbox::edit::WireEdit;
use crate::remote::Trouble;

/// How often an edit is merged anew as others were faster, in one sync.
const MOST_TRIES: u32 = 5;

/// How often the answer is 412 while the row is told to be what it was, until it is taken for a refusal: who tells rows
/// from a copy that is behind gets some syncs' time.
const MOST_STALE: u32 = 20;

/// Makes each edit of `push` at the API, in their order; gives their receipts.
pub(super) fn push(
    plain: &mut Plain,
    client: ClientId,
    push: &Body,
) -> Result<Vec<Receipt>, Trouble> {
    let edits = push.edits.as_deref().unwrap_or_default();
    let mut receipts = Vec::with_capacity(edits.len());
    for (number, edit) in (0..).zip(edits) {
        let text =
            serde_json::to_string(edit).map_err(|broken| Trouble::Nonsense(broken.to_string()))?;
        let at = WriteAt {
            push: push.push,
            number,
            edit: &text,
        };
        receipts.push(one(plain, client, edit, &at)?);
    }
    Ok(receipts)
}

fn one(
    plain: &mut Plain,
    client: ClientId,
    wire: &WireEdit,
    at: &WriteAt<'_>,
) -> Result<Receipt, Trouble> {
    let reject = |rejection| Receipt::rejected(&wire.table, wire.id.clone(), rejection);
    let Some(id) = wire.id.as_deref() else {
        let detail = "an API's rows get their keys from the client";
        return Ok(reject(Rejection::new("malformed_edit", detail)));
    };
    let begun = match plain.known.kept::<Begun>(at)? {
        Kept::Done(receipt) => return Ok(*receipt),
        Kept::Begun(begun) => Some(begun),
        Kept::New => None,
    };
    let table = plain.tables.iter().find(|t| t.spec.name == wire.table);
    let Some(mapped) = table.cloned() else {
        let detail = format!("no table {} is described", wire.table);
        return Ok(reject(Rejection::new("unknown_table", detail)));
    };
    // The skew is known from an answer, and the first call of a sync may be this one's.
    let mut work = Work {
        plain,
        id,
        mapped: &mapped,
        client,
        wire,
        at,
        doubtful: Vec::new(),
        stale: None,
    };
    let item = match work.fetch() {
        // No row could have this key.
        Err(Trouble::Refused {
            status: 400 | 414 | 422,
            code,
            detail,
        }) => return work.refused(Refusal { code, detail }),
        item => item?,
    };
    match decode(&mapped, id, wire, work.plain.skew_us(), work.plain.now()) {
        Ok(edit) => work.run(&edit, begun, item),
        Err(rejection) => Ok(reject(rejection)),
    }
}

/// The typed edit; its times by the API's clock, and none in the future.
fn decode(
    mapped: &Mapped,
    id: &str,
    wire: &WireEdit,
    skew_us: i64,
    now: Time,
) -> Result<Edit, Rejection> {
    let malformed = |detail: String| Rejection::new("malformed_edit", detail);
    let body = serde_json::to_value(wire).map_err(|broken| malformed(broken.to_string()))?;
    let Json::Object(body) = body else {
        return Err(malformed("an edit is an object".to_owned()));
    };
    let key = RowKey::from_id(&mapped.spec, id)
        .map_err(|refused| Rejection::new("invalid_id", refused.to_string()))?;
    let frame = Frame {
        adjust: &|time| time.shifted(skew_us).min(now),
        default_at: now,
    };
    wire::edit(&mapped.spec, Some(key), wire.op, &body, &frame)
}

/// One edit on its way to the API.
struct Work<'a> {
    plain: &'a mut Plain,
    id: &'a str,
    mapped: &'a Mapped,
    client: ClientId,
    wire: &'a WireEdit,
    at: &'a WriteAt<'a>,
    /// What an earlier try may have replaced, if it has arrived.
    doubtful: Vec<Replaced>,
    /// How often 412 was the answer, and about which row.
    stale: Option<(Row, u32)>,
}

/// A row's values, or that there is none.
type Row = Option<BTreeMap<String, Json>>;

/// What a try came to.
enum Tried {
    Done(Receipt),
    /// Fetch and merge again; why, if the API said so, and what was tried.
    Again(Option<Refusal>, Box<Begun>),
}

impl Work<'_> {
    fn api(&self) -> &Api {
        &self.plain.api
    }

    fn known(&mut self) -> &mut Known {
        &mut self.plain.known
    }

    fn fetch(&self) -> Result<Item, Trouble> {
        item::ask(self.api(), self.mapped, self.id)
    }

    fn run(
        &mut self,
        edit: &Edit,
        mut begun: Option<Box<Begun>>,
        mut item: Item,
    ) -> Result<Receipt, Trouble> {
        let mut refusal = None;
        for again in 0..MOST_TRIES {
            if again > 0 {
                item = self.fetch()?;
            }
            let (told, seen) = match &mut item {
                Item::Row(row) => row.take().map(|row| *row).unzip(),
                Item::Never(why) => {
                    let begun = begun.as_ref();
                    let doubtful = begun.map(|begun| begun.doubtful(self.mapped, None));
                    self.doubtful = doubtful.unwrap_or_default();
                    return self.rejected(why.clone());
                }
            };
            if let Some(begun) = begun.take() {
                // Whoever was told that another was faster has not written what is there.
                if again == 0 && begun.answered {
                    return self.answered(edit, *begun, seen.as_ref());
                }
                if again == 0 && begun.has_landed(self.mapped, seen.as_ref()) {
                    return self.finish(edit, &begun, seen.as_ref());
                }
                self.doubtful = begun.doubtful(self.mapped, seen.as_ref());
                self.stale = Some((begun.before, begun.stale));
            }
            match self.attempt(edit, told.as_ref(), seen.as_ref(), again + 1)? {
                Tried::Done(receipt) => return Ok(receipt),
                Tried::Again(why, tried) => {
                    begun = Some(tried);
                    // The same refusal of the row as it is now is meant.
                    if refusal.is_some() && why.is_some() {
                        refusal = why;
                        break;
                    }
                    refusal = why;
                }
            }
        }
        match refusal {
            Some(refusal) => self.refused(refusal),
            None => Err(Trouble::Unreachable(format!(
                "{} {} changes faster than it can be merged",
                self.wire.table, self.id
            ))),
        }
    }

    /// Merges the edit with the row as it was fetched, and writes the result back, for the `tries`th time.
    fn attempt(
        &mut self,
        edit: &Edit,
        told: Option<&Told>,
        seen: Option<&Seen>,
        tries: u32,
    ) -> Result<Tried, Trouble> {
        let (mapped, now, id) = (self.mapped, self.plain.now(), self.id.to_owned());
        let table = &mapped.spec.name;
        self.known()
            .write(|open| note(open, mapped, &id, seen, now))?;
        let known = self.known().row(table, &id)?;
        let first_version = self.plain.known.first_version();
        let known = match (known, edit.op) {
            (Some(known), _) => known,
            (None, Op::Insert | Op::Replace) => unknown(first_version),
            (None, Op::Update | Op::Delete | Op::HardDelete) => {
                let rejection = Rejection::new("row_not_found", "the API has no such row");
                let receipt = Receipt::rejected(&self.wire.table, Some(id), rejection);
                return Ok(Tried::Done(receipt));
            }
        };
        let merge = row::merge(
            &known.for_merge(mapped),
            edit,
            self.client,
            &mapped.spec,
            &Own::default(),
        );
        let after = known.written(mapped, &merge.row);
        let mut replaced = self.doubtful.clone();
        let new = fates::replaced(mapped, &merge, self.client).into_iter();
        replaced.extend(new.filter(|one| !self.doubtful.contains(one)));
        let before = (!known.deleted).then(|| known.body.clone());
        let stale = self.stale.take().filter(|(of, _)| *of == before);
        let mut begun = Begun {
            before,
            outcomes: fates::outcomes(mapped, &merge),
            replaced,
            created: known.deleted && !after.deleted,
            after,
            answered: false,
            stale: stale.map_or(0, |(_, often)| often),
        };
        let caller = Caller {
            mapped,
            path: item::path(mapped, &id),
            times: self.times(seen)?,
        };
        let Some(call) = caller.call(&known, &merge, &begun, edit, told) else {
            return self.finish(edit, &begun, seen).map(Tried::Done);
        };
        let at = self.at;
        self.known().write(|open| open.begin(at, &begun))?;
        let written = match self.api().write(&call, tries) {
            Err(Trouble::Forbidden { code, detail })
                if item::is_about_a_row(self.api(), mapped, &code) =>
            {
                Written::Refused(Refusal { code, detail })
            }
            written => written?,
        };
        Ok(match written {
            Written::Done(answer) => Tried::Done(self.written(edit, begun, answer.as_ref())?),
            Written::Stale => {
                begun.stale += 1;
                if begun.stale >= MOST_STALE {
                    return self.always_stale().map(Tried::Done);
                }
                Tried::Again(None, Box::new(begun))
            }
            Written::Later => Tried::Again(None, Box::new(begun)),
            Written::NoRow(refusal) | Written::Clash(refusal) => {
                Tried::Again(Some(refusal), Box::new(begun))
            }
            Written::Refused(refusal) => Tried::Done(self.refused(refusal)?),
        })
    }

    /// The API says that it has done the write, and perhaps what the row is now. An answer to a delete may be the row
    /// that it was: it is always asked for.
    fn written(
        &mut self,
        edit: &Edit,
        mut begun: Begun,
        answer: Option<&Json>,
    ) -> Result<Receipt, Trouble> {
        let mapped = self.mapped;
        let answer = answer.filter(|_| !begun.after.deleted);
        let told = answer.and_then(|body| unwrapped(mapped, body));
        let row = told.and_then(|told| mapped.read(told));
        if let Some(other) = row
            .as_ref()
            .filter(|row| row.id != self.id && begun.created)
        {
            return self.other_id(&format!("gave the row the key {}", other.id));
        }
        let is_whole = told.is_some_and(|told| mapped.tells_all(told, &begun.after.body));
        // Many an API answers with the row as it was.
        let row = row.filter(|row| begun.has_landed(mapped, Some(row)));
        if let Some(row) = row.filter(|row| row.id == self.id && is_whole) {
            return self.answered(edit, begun, Some(&row));
        }
        begun.answered = true;
        let at = self.at;
        self.known().write(|open| open.begin(at, &begun))?;
        match self.fetch()? {
            Item::Row(row) => self.answered(edit, begun, row.map(|row| row.1).as_ref()),
            Item::Never(why) => {
                self.doubtful = begun.doubtful(mapped, None);
                self.rejected(why)
            }
        }
    }

    /// The API has done the write, and this is the row after it.
    fn answered(
        &mut self,
        edit: &Edit,
        mut begun: Begun,
        row: Option<&Seen>,
    ) -> Result<Receipt, Trouble> {
        match row {
            Some(row) if !row.deleted && begun.after.deleted => {
                self.doubtful = begun.doubtful(self.mapped, Some(row));
                return self.not_deleted();
            }
            _ if begun.after.deleted => {}
            Some(row) if !row.deleted => begun.is_answered_with(self.mapped, row),
            None if begun.created => {
                return self.other_id("has made a row, and has none of this key");
            }
            Some(_) | None => begun.is_gone(),
        }
        self.finish(edit, &begun, row)
    }

    /// Keeps the row as it is now, and the receipt. `seen` is the row as the API told it last.
    fn finish(
        &mut self,
        edit: &Edit,
        begun: &Begun,
        seen: Option<&Seen>,
    ) -> Result<Receipt, Trouble> {
        let (mapped, wire, at, id) = (self.mapped, self.wire, self.at, self.id);
        let now = self.plain.now();
        let finding = Finding {
            first_version: self.plain.known.first_version(),
            // The receipt tells it.
            position: 0,
            now,
        };
        // What the API made of it, and what others wrote beside it.
        let told = seen.and_then(|_| look(Some(&begun.after), seen, mapped, finding));
        let row: &KnownRow = told.as_ref().unwrap_or(&begun.after);
        let receipt = fates::receipt(mapped, id, edit, begun, row);
        let conflicts = fates::conflicts(&begun.replaced);
        let local = self.plain.clock.now();
        self.known().write(|open| {
            open.keep(&mapped.spec.name, id, row)?;
            open.tell(wire, conflicts, local)?;
            open.done(at, &receipt)
        })?;
        Ok(receipt)
    }

    /// How the time of a change is told, if writers have to.
    fn times(&mut self, seen: Option<&Seen>) -> Result<Option<Telling>, Trouble> {
        let form = match self.mapped.how.writes_updated_at {
            None => return Ok(None),
            Some(Setting::In(form)) => form,
            Some(Setting::AsTold) => {
                let here = seen.and_then(|seen| seen.raw_at.clone());
                let name = &self.mapped.spec.name;
                let told = match here {
                    Some(told) => Some(told),
                    None => self.plain.known.table(name)?.since,
                };
                let form = told.as_ref().and_then(Form::of);
                form.unwrap_or(Form::Rfc3339)
            }
        };
        Ok(Some(Telling {
            form,
            before: seen.and_then(|seen| seen.at),
            now: self.plain.now(),
        }))
    }

    /// The API says that somebody was faster, and tells the row as it was before.
    fn always_stale(&mut self) -> Result<Receipt, Trouble> {
        let detail = "the API keeps answering 412 to the row as it tells it".to_owned();
        self.rejected(Rejection::new("http_412", detail))
    }

    fn refused(&mut self, refusal: Refusal) -> Result<Receipt, Trouble> {
        let rejection = Rejection::new(&refusal.code, refusal.detail);
        self.rejected(rejection)
    }

    /// The API says that it has deleted the row, and tells it still.
    fn not_deleted(&mut self) -> Result<Receipt, Trouble> {
        let detail = "the API says that it has deleted the row, and has it still".to_owned();
        self.rejected(Rejection::new("delete_not_done", detail))
    }

    /// The API made the row under a key of its own.
    fn other_id(&mut self, what: &str) -> Result<Receipt, Trouble> {
        self.rejected(item::not_kept(what))
    }

    fn rejected(&mut self, rejection: Rejection) -> Result<Receipt, Trouble> {
        let at = self.at;
        let id = Some(self.id.to_owned());
        let receipt = Receipt::rejected(&self.wire.table, id, rejection);
        let (wire, conflicts) = (self.wire, fates::conflicts(&self.doubtful));
        let local = self.plain.clock.now();
        self.known().write(|open| {
            open.tell(wire, conflicts, local)?;
            open.done(at, &receipt)
        })?;
        Ok(receipt)
    }
}
