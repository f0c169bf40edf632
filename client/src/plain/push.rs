//! Pushing to an API: each edit is merged with the row as it is there now, and the result is written back.
//!
//! Fetch, find what others changed, merge, note what is about to be written, write, note the answer. Whatever cuts
//! that short, the next try begins by fetching.

use colsync_shared::merge::Own;
use colsync_shared::merge::row::{self, RowMerge};
use colsync_shared::receipt::Rejection;
use colsync_shared::wire::{self, Frame};
use colsync_shared::{ClientId, Edit, Op, Receipt, RowKey, Time};
use serde_json::{Map, Value as Json};

use super::api::{Api, Method, Refusal, Told, Write, Written};
use super::description::Update;
use super::known::{Kept, Known, WriteAt};
use super::landed::Begun;
use super::look::{Finding, KnownRow, look, unknown};
use super::mapped::{Mapped, Seen};
use super::pull::note;
use super::template::Place;
use super::{Plain, fates};
use crate::outbox::body::Body;
use crate::outbox::edit::WireEdit;
use crate::remote::Trouble;

/// How often an edit is merged anew as others were faster.
const MOST_TRIES: usize = 5;

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
    };
    let told = match work.fetch() {
        // No row could have this key.
        Err(Trouble::Refused {
            status: 400 | 414 | 422,
            code,
            detail,
        }) => return work.refused(Refusal { code, detail }),
        told => told?,
    };
    match decode(&mapped, id, wire, work.plain.skew_us(), work.plain.now()) {
        Ok(edit) => work.run(&edit, begun, told),
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

/// The row in an answer about one, which may be wrapped.
///
/// # Errors
/// [`Trouble::Nonsense`] if it is none, or another than the one of `id`.
pub(super) fn row_in(mapped: &Mapped, body: &Json, id: &str) -> Result<Seen, Trouble> {
    let seen = unwrapped(mapped, body).and_then(|row| mapped.read(row));
    seen.filter(|seen| seen.id == id).ok_or_else(|| {
        let table = &mapped.spec.name;
        Trouble::Nonsense(format!("the answer about {table} {id} is not that row"))
    })
}

fn unwrapped<'j>(mapped: &Mapped, body: &'j Json) -> Option<&'j Json> {
    let mut path = mapped.how.row.iter();
    path.try_fold(body, |body, member| body.get(member))
}

/// One edit on its way to the API.
struct Work<'a> {
    plain: &'a mut Plain,
    id: &'a str,
    mapped: &'a Mapped,
    client: ClientId,
    wire: &'a WireEdit,
    at: &'a WriteAt<'a>,
}

/// What a try came to.
enum Tried {
    Done(Receipt),
    /// Fetch and merge again; why, if the API said so.
    Again(Option<Refusal>),
}

impl Work<'_> {
    fn api(&self) -> &Api {
        &self.plain.api
    }

    fn known(&mut self) -> &mut Known {
        &mut self.plain.known
    }

    fn path(&self) -> String {
        let item = &self.mapped.how.item;
        item.fill(&[(Place::Id, self.id)])
    }

    fn fetch(&self) -> Result<Option<Told>, Trouble> {
        self.api().get(&self.path())
    }

    fn run(
        &mut self,
        edit: &Edit,
        mut begun: Option<Box<Begun>>,
        mut told: Option<Told>,
    ) -> Result<Receipt, Trouble> {
        let mut refusal = None;
        for again in 0..MOST_TRIES {
            if again > 0 {
                told = self.fetch()?;
            }
            let seen = match &told {
                Some(told) => Some(row_in(self.mapped, &told.body, self.id)?),
                None => None,
            };
            if let Some(begun) = begun.take()
                && begun.has_landed(self.mapped, seen.as_ref())
            {
                return self.finish(edit, &begun, seen.as_ref());
            }
            match self.attempt(edit, told.as_ref(), seen.as_ref())? {
                Tried::Done(receipt) => return Ok(receipt),
                Tried::Again(why) => {
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

    /// Merges the edit with the row as it was fetched, and writes the result back.
    fn attempt(
        &mut self,
        edit: &Edit,
        told: Option<&Told>,
        seen: Option<&Seen>,
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
        let begun = Begun {
            before: (!known.deleted).then(|| known.body.clone()),
            outcomes: fates::outcomes(mapped, &merge),
            replaced: fates::replaced(mapped, &merge, self.client),
            created: known.deleted && !after.deleted,
            after,
        };
        let plan = self.plan(&known, &merge, &begun, edit, told);
        let Some(plan) = plan else {
            return self.finish(edit, &begun, seen).map(Tried::Done);
        };
        let at = self.at;
        self.known().write(|open| open.begin(at, &begun))?;
        let written = self.api().write(&Write {
            method: plan.method,
            path: &plan.path,
            content_type: plan.content_type,
            body: plan.body.as_ref(),
            condition: plan
                .condition
                .as_ref()
                .map(|(name, value)| (*name, value.as_str())),
        })?;
        Ok(match written {
            Written::Done(answer) => {
                let row = answer.as_ref().and_then(|body| unwrapped(mapped, body));
                let row = row.and_then(|row| mapped.read(row));
                if let Some(other) = row.as_ref().filter(|row| row.id != id && begun.created) {
                    return self.other_id(&other.id).map(Tried::Done);
                }
                // An answer to a delete may be the row that it was.
                let row = row.filter(|row| row.id == id && !begun.after.deleted);
                Tried::Done(self.finish(edit, &begun, row.as_ref())?)
            }
            Written::Stale => Tried::Again(None),
            Written::NoRow(_) if begun.after.deleted => Tried::Again(None),
            Written::NoRow(refusal) | Written::Clash(refusal) => Tried::Again(Some(refusal)),
            Written::Refused(refusal) => Tried::Done(self.refused(refusal)?),
        })
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

    fn refused(&mut self, refusal: Refusal) -> Result<Receipt, Trouble> {
        let rejection = Rejection::new(&refusal.code, refusal.detail);
        self.rejected(rejection)
    }

    /// The API made the row under a key of its own.
    fn other_id(&mut self, id: &str) -> Result<Receipt, Trouble> {
        let detail = format!("the API gave the row the key {id}");
        self.rejected(Rejection::new("key_not_kept", detail))
    }

    fn rejected(&mut self, rejection: Rejection) -> Result<Receipt, Trouble> {
        let at = self.at;
        let id = Some(self.id.to_owned());
        let receipt = Receipt::rejected(&self.wire.table, id, rejection);
        self.known().write(|open| open.done(at, &receipt))?;
        Ok(receipt)
    }

    /// The call that makes the row what it is to become; `None` if it is so already.
    fn plan(
        &self,
        known: &KnownRow,
        merge: &RowMerge,
        begun: &Begun,
        edit: &Edit,
        told: Option<&Told>,
    ) -> Option<Plan> {
        let how = &self.mapped.how;
        let etag = told.and_then(|told| told.etag.clone());
        let if_match = etag.map(|etag| ("If-Match", etag));
        if begun.after.deleted {
            return (!known.deleted).then(|| Plan {
                method: Method::DELETE,
                path: self.path(),
                content_type: "",
                body: None,
                condition: if_match,
            });
        }
        if known.deleted {
            return Some(self.creation(merge, edit));
        }
        let changed = merge.columns.iter().filter(|(_, merged)| merged.changed);
        let values = changed
            .clone()
            .map(|(at, merged)| (*at, merged.cell.value.clone()));
        let times = changed.filter_map(|(_, merged)| merged.cell.stamp);
        let latest = times.map(|stamp| stamp.time).max()?;
        let shown = told.and_then(|told| unwrapped(self.mapped, &told.body)?.as_object());
        let mut fields = self.mapped.fields(values, shown);
        self.tell_time(&mut fields, latest);
        let (method, content_type) = match how.update {
            Update::Put => (Method::PUT, "application/json"),
            Update::Patch => (Method::PATCH, "application/json"),
            Update::MergePatch => (Method::PATCH, "application/merge-patch+json"),
        };
        let sent = match (how.update, shown) {
            (Update::Put, Some(shown)) => {
                let mut whole = shown.clone();
                if let Some(field) = &how.updated_at {
                    whole.remove(field);
                }
                whole.extend(fields);
                whole
            }
            (Update::MergePatch, Some(shown)) => difference(fields, shown),
            _ => fields,
        };
        Some(Plan {
            method,
            path: self.path(),
            content_type,
            body: Some(self.wrapped(sent)),
            condition: if_match,
        })
    }

    fn creation(&self, merge: &RowMerge, edit: &Edit) -> Plan {
        let how = &self.mapped.how;
        let cells = merge.row.cells.iter().enumerate();
        let named = |at: usize| edit.columns.iter().any(|column| column.column == at);
        let values = cells
            .filter(|(at, cell)| !cell.value.is_null() || named(*at))
            .filter(|(at, _)| !self.mapped.spec.is_key(*at))
            .map(|(at, cell)| (at, cell.value.clone()));
        let mut fields = self.mapped.fields(values, None);
        let key = edit.key.as_ref().and_then(|key| key.0.first());
        if let (Some(&at), Some(part)) = (self.mapped.spec.key.first(), key) {
            let id = self.mapped.encode(at, &part.value(), None);
            fields.insert(how.id.clone(), id);
        }
        let times = merge.row.cells.iter().filter_map(|cell| cell.stamp);
        let latest = times.map(|stamp| stamp.time).max();
        self.tell_time(&mut fields, latest.unwrap_or(edit.at));
        let (method, path, condition) = match &how.create {
            Some(create) => (Method::POST, create.fill(&[]), None),
            None => {
                let condition = ("If-None-Match", "*".to_owned());
                (Method::PUT, self.path(), Some(condition))
            }
        };
        Plan {
            method,
            path,
            content_type: "application/json",
            body: Some(self.wrapped(fields)),
            condition,
        }
    }

    fn tell_time(&self, fields: &mut Map<String, Json>, time: Time) {
        if let (true, Some(field)) = (
            self.mapped.how.writes_updated_at,
            &self.mapped.how.updated_at,
        ) {
            fields.insert(field.clone(), Json::String(time.to_string()));
        }
    }

    fn wrapped(&self, fields: Map<String, Json>) -> Json {
        let path = self.mapped.how.row.iter().rev();
        path.fold(Json::Object(fields), |inner, member| {
            Json::Object(Map::from_iter([(member.clone(), inner)]))
        })
    }
}

/// A call that writes.
struct Plan {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Json>,
    condition: Option<(&'static str, String)>,
}

/// The merge patch (RFC 7396) that makes `shown` have these fields: of objects, only the members that differ.
fn difference(fields: Map<String, Json>, shown: &Map<String, Json>) -> Map<String, Json> {
    let patch = fields.into_iter().map(|(name, value)| {
        let value = match (value, shown.get(&name)) {
            (Json::Object(wanted), Some(Json::Object(there))) => {
                let gone: Vec<String> = there
                    .keys()
                    .filter(|member| !wanted.contains_key(*member))
                    .cloned()
                    .collect();
                let differing = wanted
                    .into_iter()
                    .filter(|(member, value)| there.get(member) != Some(value));
                let mut patch = difference(differing.collect(), there);
                patch.extend(gone.into_iter().map(|member| (member, Json::Null)));
                Json::Object(patch)
            }
            (value, _) => value,
        };
        (name, value)
    });
    patch.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_takes_away_members_that_are_gone() {
        let shown = json!({ "doc": { "a": 1, "b": { "c": 1, "d": 2 }, "e": 3 }, "n": 1 });
        let fields = json!({ "doc": { "a": 1, "b": { "c": 1 }, "f": 4 } });
        let (Json::Object(fields), Json::Object(shown)) = (fields, shown) else {
            panic!("objects");
        };
        let patch = Json::Object(difference(fields, &shown));
        assert_eq!(
            patch,
            json!({ "doc": { "b": { "d": null }, "e": null, "f": 4 } })
        );
    }
}
