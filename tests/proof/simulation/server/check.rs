//! Holds an answer, the ledger and the database against the reference.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value as Json, json};

use super::{Server, Write};
use crate::simulation::database::by_name;
use crate::simulation::plan::Table;
use crate::simulation::reference::{
    BROKEN, Cell, Expected, Ledgered, NOBODY, ROLLED_BACK, Receipt, Row, canonical, is_known,
};
use crate::simulation::wire::Answer;

impl Server {
    pub(super) fn check(
        &mut self,
        write: &Write,
        expected: &Expected,
        answer: &Answer,
    ) -> Result<(), String> {
        let body = plain(answer);
        let told = || {
            format!(
                "{}\nis answered {} {body}",
                write.request().body,
                answer.status
            )
        };
        let unlike = |what: &str| Err(format!("{}\nexpected {what}", told()));
        let receipts = match write {
            Write::Push(_) => body["receipts"].clone(),
            Write::Alone(_) => Json::Array(vec![body.clone()]),
            Write::Decision(_, request) if request.body.is_null() => json!([]),
            Write::Decision(..) => Json::Array(vec![body["receipt"].clone()]),
        };
        let forked = answer.status == 409 && body["code"] == "client_forked";
        match expected {
            Expected::Refused(status, code) => {
                if (answer.status, &body["code"]) != (*status, &json!(code)) {
                    return unlike(code);
                }
            }
            Expected::Again(kept) | Expected::AgainOrForked(Some(kept)) => {
                let may_fork = matches!(expected, Expected::AgainOrForked(_));
                if receipts != *kept && !(may_fork && forked) {
                    return unlike(&format!("as before {kept}"));
                }
                self.repeats += 1;
            }
            Expected::AgainUnknown | Expected::AgainOrForked(None) => {
                let may_fork = matches!(expected, Expected::AgainOrForked(_));
                if answer.status != 200 && !(may_fork && forked) {
                    return unlike("what it was answered");
                }
                self.repeats += 1;
                if answer.status == 200 {
                    self.reference.answered(write.request(), &receipts);
                }
            }
            Expected::Receipts(expected, _) => {
                self.pushes += 1;
                if let (
                    Write::Alone(_) | Write::Decision(..),
                    [
                        Receipt {
                            code: Some(code), ..
                        },
                    ],
                ) = (write, expected.as_slice())
                {
                    if body["code"] != *code {
                        return unlike(code);
                    }
                } else {
                    if answer.status != 200 {
                        return unlike("200");
                    }
                    let mut told_receipts = receipts.as_array().cloned().unwrap_or_default();
                    told_receipts.retain(is_known);
                    if told_receipts.len() != expected.len() {
                        return unlike("a receipt for each edit");
                    }
                    let is_young = self.database.is_young();
                    for (told, expected) in told_receipts.iter().zip(expected) {
                        differs(told, expected, is_young).or_else(|why| unlike(&why))?;
                    }
                    if let Write::Push(request) = write {
                        self.reference.answered(request, &receipts);
                    }
                }
            }
        }
        let ledger = match expected {
            Expected::Receipts(receipts, ledger) => {
                self.count(receipts, ledger);
                let removed = write
                    .accepted(expected)
                    .filter(|edit| edit["op"] == "hard_delete");
                let removed = removed
                    .filter(|edit| self.reference.has_removed(edit))
                    .count();
                *self.events.entry("row removed for good").or_default() += removed as u64;
                ledger.as_slice()
            }
            _ => &[],
        };
        self.ledger(ledger).or_else(|why| unlike(&why))?;
        if let Write::Decision(..) = write
            && self.resolved() != self.reference.decided
        {
            return unlike("that this is decided and nothing else is");
        }
        self.compare().map_err(|why| format!("{}\n{why}", told()))
    }

    /// Counts how the policies came to decide that make one value of two.
    fn count(&mut self, receipts: &[Receipt], ledger: &[Ledgered]) {
        let columns = receipts.iter().flat_map(|receipt| &receipt.columns);
        let merged = columns.filter(|(_, (outcome, _))| *outcome == "merged");
        let merged = merged.filter_map(|(name, _)| match name.as_str() {
            "story" => Some("texts merged"),
            "facts" => Some("documents merged"),
            _ => None,
        });
        let entries = ledger.iter().filter_map(|entry| entry.column.as_deref());
        let lost = entries.filter_map(|name| match name {
            "story" => Some("texts in conflict"),
            "facts" => Some("documents in conflict"),
            _ => None,
        });
        let groups = ledger.iter().filter(|entry| entry.kind == "group");
        let groups = groups.map(|_| "groups in conflict");
        let halves = receipts.iter().filter(|receipt| {
            let is_half = |table: Table| {
                let (_, [one, other]) = table.group();
                receipt.columns.contains_key(one) != receipt.columns.contains_key(other)
            };
            Table::ALL.into_iter().any(is_half)
        });
        let halves = halves.map(|_| "groups edited in part");
        let rows = ledger.iter().filter(|entry| entry.kind == "row");
        let rows = rows.map(|_| "whole rows in conflict");
        let refused = receipts.iter().filter_map(|receipt| receipt.code);
        let refused = refused.filter(|code| *code == BROKEN);
        let refused = refused.map(|_| "refused by a constraint");
        let blind = ledger.iter().filter(|entry| entry.kind == "blind");
        let blind = blind.map(|_| "blind write recorded");
        let is_undone = |receipt: &Receipt| receipt.code == Some(ROLLED_BACK);
        let undone = receipts.iter().any(is_undone);
        let undone = undone.then_some("push rolled back");
        for event in merged
            .chain(blind)
            .chain(undone)
            .chain(lost)
            .chain(groups)
            .chain(halves)
            .chain(rows)
            .chain(refused)
        {
            *self.events.entry(event).or_default() += 1;
        }
    }

    /// The entries that the ledger has gained are those expected.
    fn ledger(&mut self, expected: &[Ledgered]) -> Result<(), String> {
        let sql = "SELECT json_array(rowid, table_name, row_id, column_name, json(lost), kind, json(kept)) \
                   FROM colsync_conflicts WHERE rowid > CAST(:? AS INTEGER) ORDER BY rowid";
        let since = self.looked_at.to_string();
        let mut found = Vec::new();
        for line in self.database.lines(sql, &[&since]) {
            self.looked_at = line[0].as_i64().unwrap();
            self.conflicts += 1;
            let Some(table) = line[1].as_str().and_then(Table::of_name) else {
                continue;
            };
            let text = |at: usize| line[at].as_str().map(str::to_owned);
            let column = text(3);
            let kind = kind(&text(5).unwrap());
            let is_told = column.is_some() || kind == "constraint";
            found.push(Ledgered {
                table: table.name(),
                row: text(2).unwrap(),
                kind,
                kept: column.is_some().then(|| canonical(&line[6])),
                lost: is_told.then(|| canonical(&line[4])),
                column,
            });
        }
        let mut expected = expected.to_vec();
        // What is refused again is there already.
        expected.retain(|entry| {
            entry.kind != "constraint" || found.contains(entry) || !self.has_refused(entry)
        });
        expected.sort();
        found.sort();
        if found == expected {
            return Ok(());
        }
        Err(format!(
            "in the ledger {expected:?}\nbut it gained {found:?}"
        ))
    }

    /// Whether the ledger has an edit that a constraint refused, and that waits for a decision.
    fn has_refused(&mut self, entry: &Ledgered) -> bool {
        let sql = "SELECT lost FROM colsync_conflicts \
                   WHERE kind = 'constraint' AND state <> 'resolved' AND table_name = :? AND row_id = :?";
        let known = self.database.lines(sql, &[entry.table, &entry.row]);
        known
            .iter()
            .any(|lost| entry.lost.as_ref() == Some(&canonical(lost)))
    }

    /// Reads all rows. Of one that is word for word as it was, what was read before is still right.
    fn stored(&mut self) {
        let mut before = std::mem::take(&mut self.read);
        for table in Table::ALL {
            let values = self.database.columns(table);
            let sql = format!(
                "SELECT json_array(id, sync_version, sync_deleted_at, {}, \
                 lower(hex(sync_client_id)), json(sync_stamps){values}) FROM {}",
                self.database.micros("sync_client_last_updated"),
                table.name()
            );
            for line in self.database.texts(&sql, &[]) {
                let line = (table, line);
                let row = before.remove(&line);
                let row = row.unwrap_or_else(|| {
                    let (key, row) = row_of(table, &line.1);
                    let cells = row.cells.iter();
                    let values = cells.map(|(name, cell)| (*name, cell.value.clone()));
                    self.changed.push((table, values.collect()));
                    (key, row)
                });
                self.read.insert(line, row);
            }
        }
    }

    /// The database holds what the reference has.
    pub(crate) fn compare(&mut self) -> Result<(), String> {
        let latest = self.now() + 1_000;
        self.stored();
        let there: BTreeMap<&(Table, String), &Row> =
            self.read.values().map(|(key, row)| (key, row)).collect();
        for (key, row) in &there {
            let stamps = row.cells.values().filter_map(|cell| cell.stamp.as_ref());
            if let Some((time, _)) = stamps.max_by_key(|(time, _)| *time)
                && *time > latest
            {
                return Err(format!("{key:?} has a stamp from the future: {row:?}"));
            }
        }
        let should = &self.reference.rows;
        if there.iter().map(|(key, row)| (*key, *row)).eq(should) {
            return Ok(());
        }
        let differ = |key: &&(Table, String)| there.get(*key).copied() != should.get(*key);
        let keys: HashSet<_> = there.keys().copied().chain(should.keys()).collect();
        let rows = keys.into_iter().filter(|key| differ(key)).map(|key| {
            let (is, should) = (there.get(key), self.reference.rows.get(key));
            format!("{key:?}\n  is {is:?}\n  should be {should:?}")
        });
        Err(rows.collect::<Vec<_>>().join("\n"))
    }
}

/// Whether the database has refused a row: then each edit was taken by itself.
pub(super) fn has_refused(answer: &Answer) -> bool {
    let body = plain(answer);
    let mut receipts = body["receipts"].as_array().into_iter().flatten();
    receipts.any(|receipt| receipt["code"] == BROKEN)
}

/// An answer's body as JSON; null if it is none.
pub(crate) fn plain(answer: &Answer) -> Json {
    let encoding = answer
        .headers
        .iter()
        .find(|(name, _)| name == "content-encoding");
    let bytes = match encoding {
        Some((_, zstd)) if zstd == b"zstd" => {
            zstd::decode_all(answer.body.as_slice()).unwrap_or_default()
        }
        Some(_) | None => answer.body.clone(),
    };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// What an entry of the ledger is about.
fn kind(text: &str) -> &'static str {
    let known = ["column", "group", "blind", "deleted", "row", "constraint"];
    let known = known.into_iter().find(|kind| *kind == text);
    known.unwrap_or_else(|| panic!("an entry about a {text}"))
}

/// Whether a receipt is what it should be, of a table that may be young.
fn differs(told: &Json, expected: &Receipt, is_young: bool) -> Result<(), String> {
    let flag = |name: &str| told[name].as_bool().unwrap_or(false);
    if let Some(code) = expected.code {
        let told = if code == ROLLED_BACK {
            &told["status"]
        } else {
            &told["code"]
        };
        return if *told == code {
            Ok(())
        } else {
            Err(code.to_owned())
        };
    }
    let heads = (told["version"].as_i64(), flag("created"), flag("deleted"));
    if told["status"] != "ok" || heads != (expected.version, expected.created, expected.deleted) {
        return Err(format!("{expected:?}"));
    }
    let columns = told["columns"].as_object().cloned().unwrap_or_default();
    if columns.len() != expected.columns.len() {
        return Err(format!("{:?}", expected.columns));
    }
    for (name, (outcome, value)) in &expected.columns {
        let column = &columns[name];
        let is_told = column.get("value").is_none_or(|told| told == value);
        if column["outcome"] != *outcome || !is_told {
            return Err(format!("{name} {outcome} {value}"));
        }
    }
    let changed = told["changed"].as_object().cloned().unwrap_or_default();
    let table = Table::of_name(told["table"].as_str().unwrap_or_default());
    let is_there = |name: &str| !is_young || table.is_none_or(|table| !table.gets_later(name));
    for (name, value) in expected.changed.iter().filter(|(name, _)| is_there(name)) {
        if changed.get(name) != Some(value) {
            return Err(format!("that {name} = {value} is told"));
        }
    }
    Ok(())
}

/// A row with its metadata, of a line that the database has of it.
fn row_of(table: Table, line: &str) -> ((Table, String), Row) {
    let Json::Array(mut line) = serde_json::from_str(line).unwrap() else {
        panic!("{line}");
    };
    let values = by_name(table, line.split_off(6).into_iter());
    let id = line[0].as_str().unwrap().to_owned();
    let version = line[1].as_i64().unwrap();
    let stamps = line[5].as_object().cloned().unwrap_or_default();
    let birth = stamps
        .get("")
        .map_or(version, |birth| birth[0].as_i64().unwrap());
    let client = uuid::Uuid::parse_str(line[4].as_str().unwrap_or_default());
    let client = client.map_or(NOBODY.to_owned(), |uuid| uuid.to_string());
    let default = line[3].as_i64().map(|time| (time, client));
    let cell = |name: &str, value: Json, may_be_nobodys: bool| match stamps.get(name) {
        // An edit has named it, and nobody has written it.
        Some(entry) if value.is_null() && entry[0].is_null() => Cell {
            value,
            stamp: None,
            version: 0,
        },
        Some(entry) => {
            let time = entry[0].as_i64();
            let by = entry[1].as_str().unwrap_or(NOBODY).to_owned();
            Cell {
                value,
                stamp: time.map(|time| (time, by)),
                version: entry[2].as_i64().unwrap(),
            }
        }
        None if may_be_nobodys && value.is_null() => Cell {
            value,
            stamp: None,
            version: 0,
        },
        None => Cell {
            value,
            stamp: default.clone(),
            version: birth,
        },
    };
    let cells = values.into_iter();
    let cells = cells.map(|(name, value)| (name, cell(name, value, true)));
    let deleted = cell("sync_deleted_at", json!(!line[2].is_null()), false);
    let row = Row::of(table, (version, birth), deleted, cells.collect());
    ((table, id), row)
}
