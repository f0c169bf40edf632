//! The server of a simulation: its process, its database, and the reference beside it.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use colsync_server::config::{Config, Overrides};
use colsync_server::simulation::{Answer, Node};
use colsync_shared::Time;
use colsync_shared::simulation::set_now;
use serde_json::{Value as Json, json};

use super::clock::Clock;
use super::crash;
use super::file::File;
use super::plan::Table;
use super::reference::{Expected, Ledgered, NOBODY, Receipt, Reference, Request, micros};

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Server {
    node: Option<Node>,
    config: Config,
    pub(super) file: File,
    clock: Clock,
    pub(super) reference: Reference,
    /// A copy of the database, the reference as it was, and how much was written then.
    pub(super) backup: Option<(PathBuf, Reference, usize)>,
    /// Entries of the ledger that were looked at, by their place in their table.
    looked_at: i64,
    pub(super) deaths: u64,
    pub(super) pushes: u64,
    pub(super) conflicts: u64,
    pub(super) repeats: u64,
}

/// The server's configuration for the database at `path`.
pub(super) fn configuration(path: &std::path::Path) -> Config {
    let tables: String = Table::ALL
        .iter()
        .map(|table| table.configuration())
        .collect();
    let text = format!(
        "database_url = 'sqlite://{}'\n{tables}[limits]\npage_rows = 3\n",
        path.display()
    );
    Config::parse(&text, &Overrides::default()).unwrap()
}

impl Server {
    pub(super) fn new(path: PathBuf) -> Server {
        let clock = Clock::default();
        let mut server = Server {
            node: None,
            config: configuration(&path),
            file: File::open(path, &clock),
            clock,
            reference: Reference::default(),
            backup: None,
            looked_at: 0,
            deaths: 0,
            pushes: 0,
            conflicts: 0,
            repeats: 0,
        };
        server.start();
        server
    }

    pub(super) fn start(&mut self) {
        let node = Node::open(self.config.clone());
        self.node = Some(node.unwrap_or_else(|failure| panic!("the server: {failure}")));
    }

    pub(super) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.close();
        }
    }

    pub(super) fn set_clock(&self, now: i64) {
        self.clock.store(now, Ordering::SeqCst);
        set_now(Time::from_micros(now));
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(super) fn keep_house(&mut self) {
        self.node.as_ref().unwrap().keep_house().unwrap();
        self.reference.forget();
    }

    /// Has a request answered, and holds the answer and the database against the reference. `between` is called
    /// between two pieces of a body. None if the server died of it.
    ///
    /// # Errors
    /// If they differ.
    pub(super) fn answer(
        &mut self,
        sent: &Sent,
        accept: &mut dyn FnMut(&Json),
    ) -> Result<Option<Answer>, String> {
        let write = self.write_of(sent);
        let before = write.as_ref().map(|_| self.reference.clone());
        let expected = write.as_ref().map(|write| match write {
            Write::Push(request) => self.reference.push(request),
            Write::Alone(request) => {
                let (receipt, ledger) = self.reference.alone(request);
                Expected::Receipts(vec![receipt], ledger)
            }
        });
        let node = self.node.as_ref().unwrap();
        let call = || {
            node.call(
                (&sent.method, &sent.path),
                &sent.headers,
                sent.body.clone(),
                || {},
            )
        };
        let answer = catch_unwind(AssertUnwindSafe(call));
        if crash::server_died() {
            return self.died(write.as_ref(), before, accept).map(|()| None);
        }
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(refused)) => return Err(format!("{sent:?} is answered {refused}")),
            Err(_panic) => return Err(format!("{sent:?} makes the server panic")),
        };
        if answer.status >= 500 {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{sent:?} is answered {}: {body}", answer.status));
        }
        if let (Some(write), Some(expected)) = (&write, &expected) {
            self.check(write, expected, &answer)?;
            if matches!(expected, Expected::Receipts(..)) {
                accept(&write.request().body);
            }
        }
        Ok(Some(answer))
    }

    /// What a request asks the merge for, if anything.
    fn write_of(&self, sent: &Sent) -> Option<Write> {
        let header = |name: &str| {
            let found = sent
                .headers
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        let now = self.now();
        let request = |body: Json| Request {
            client: header("Client-Id").unwrap_or(NOBODY).to_owned(),
            skew: header("Client-Time").map(|told| micros(told) - now),
            arrived: now,
            body,
        };
        if sent.path.starts_with("/v1/sync/push") {
            let plain = match header("Content-Encoding") {
                Some(_zstd) => zstd::decode_all(sent.body.as_slice()).unwrap(),
                None => sent.body.clone(),
            };
            return Some(Write::Push(request(
                serde_json::from_slice(&plain).unwrap(),
            )));
        }
        let mut parts = sent.path.strip_prefix("/v1/tables/")?.split("/rows/");
        let (table, id) = (parts.next()?, parts.next()?);
        let based = header("If-Match").and_then(|tag| tag.trim_matches('"').parse::<i64>().ok());
        let mut edit = json!({ "table": table, "id": id, "base_version": based });
        match sent.method.as_str() {
            "PATCH" => {
                let columns: serde_json::Map<String, Json> =
                    serde_json::from_slice(&sent.body).unwrap();
                let columns = columns
                    .into_iter()
                    .map(|(name, value)| (name, json!({ "value": value })));
                edit["op"] = json!("update");
                edit["columns"] = Json::Object(columns.collect());
            }
            "DELETE" => edit["op"] = json!("delete"),
            _ => return None,
        }
        Some(Write::Alone(request(edit)))
    }

    fn check(&mut self, write: &Write, expected: &Expected, answer: &Answer) -> Result<(), String> {
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
                    Write::Alone(_),
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
                    let told_receipts = receipts.as_array().cloned().unwrap_or_default();
                    if told_receipts.len() != expected.len() {
                        return unlike("a receipt for each edit");
                    }
                    for (told, expected) in told_receipts.iter().zip(expected) {
                        differs(told, expected).or_else(|why| unlike(&why))?;
                    }
                    if let Write::Push(request) = write {
                        self.reference.answered(request, &receipts);
                    }
                }
            }
        }
        let ledger = match expected {
            Expected::Receipts(_, ledger) => ledger.as_slice(),
            _ => &[],
        };
        self.ledger(ledger).or_else(|why| unlike(&why))?;
        self.compare().map_err(|why| format!("{}\n{why}", told()))
    }

    /// The entries that the ledger has gained are those expected.
    fn ledger(&mut self, expected: &[Ledgered]) -> Result<(), String> {
        let sql = format!(
            "SELECT json_array(rowid, table_name, row_id, column_name, lost) AS line \
             FROM colsync_conflicts WHERE rowid > {} ORDER BY rowid",
            self.looked_at
        );
        let mut found = Vec::new();
        for line in self.file.lines(&sql) {
            self.looked_at = line[0].as_i64().unwrap();
            self.conflicts += 1;
            let text = |at: usize| line[at].as_str().map(str::to_owned);
            let column = text(3);
            found.push(Ledgered {
                table: Table::of_name(line[1].as_str().unwrap()).unwrap().name(),
                row: text(2).unwrap(),
                lost: column.is_some().then(|| text(4).unwrap_or_default()),
                column,
            });
        }
        let mut expected = expected.to_vec();
        expected.sort();
        found.sort();
        if found == expected {
            return Ok(());
        }
        Err(format!(
            "in the ledger {expected:?}\nbut it gained {found:?}"
        ))
    }

    /// The database holds what the reference has.
    pub(super) fn compare(&mut self) -> Result<(), String> {
        let latest = self.now() + 1_000;
        let mut there = BTreeMap::new();
        for table in Table::ALL {
            for (id, row) in stored(&mut self.file, table) {
                there.insert((table, id), row);
            }
        }
        for (key, row) in &there {
            let stamps = row.cells.values().filter_map(|cell| cell.stamp.as_ref());
            if let Some((time, _)) = stamps.max_by_key(|(time, _)| *time)
                && *time > latest
            {
                return Err(format!("{key:?} has a stamp from the future: {row:?}"));
            }
        }
        if there == self.reference.rows {
            return Ok(());
        }
        let differ = |key: &&(Table, String)| there.get(*key) != self.reference.rows.get(*key);
        let keys: HashSet<_> = there.keys().chain(self.reference.rows.keys()).collect();
        let rows = keys.into_iter().filter(|key| differ(&key)).map(|key| {
            let (is, should) = (there.get(key), self.reference.rows.get(key));
            format!("{key:?}\n  is {is:?}\n  should be {should:?}")
        });
        Err(rows.collect::<Vec<_>>().join("\n"))
    }

    /// The server died during a request: it holds all of it, or nothing.
    fn died(
        &mut self,
        write: Option<&Write>,
        before: Option<Reference>,
        accept: &mut dyn FnMut(&Json),
    ) -> Result<(), String> {
        self.deaths += 1;
        // What is left of the process goes, too.
        drop(catch_unwind(AssertUnwindSafe(|| self.stop())));
        self.node = None;
        self.start();
        let (Some(write), Some(before)) = (write, before) else {
            return Ok(());
        };
        let after = self.compare();
        let is_new = match write {
            Write::Push(request) => {
                let sql = format!(
                    "SELECT json_array(count(*)) AS line FROM colsync_pushes \
                     WHERE client = '{}' AND number = {}",
                    request.client, request.body["push"]
                );
                self.file.lines(&sql)[0][0] == json!(1)
            }
            Write::Alone(_) => after.is_ok(),
        };
        if is_new {
            after.map_err(|why| format!("after a death within {}\n{why}", write.request().body))?;
            accept(&write.request().body);
        } else {
            self.reference = before;
            self.compare()
                .map_err(|why| format!("after a death before {}\n{why}", write.request().body))?;
        }
        self.looked_at = self.last_entry();
        Ok(())
    }

    fn last_entry(&mut self) -> i64 {
        let sql = "SELECT json_array(coalesce(max(rowid), 0)) AS line FROM colsync_conflicts";
        self.file.lines(sql)[0][0].as_i64().unwrap()
    }

    /// Makes a copy of the database, to go back to.
    pub(super) fn back_up(&mut self, folder: &std::path::Path, written: usize) {
        let copy = self.file.copy(folder);
        self.backup = Some((copy, self.reference.clone(), written));
    }

    /// Goes back to the copy; gives how much was written when it was made.
    pub(super) fn restore(&mut self) -> Option<usize> {
        let (copy, reference, written) = self.backup.clone()?;
        self.stop();
        self.file.replace(&copy);
        self.reference = reference;
        self.start();
        self.looked_at = self.last_entry();
        Some(written)
    }
}

/// A request that writes.
enum Write {
    Push(Request),
    Alone(Request),
}

impl Write {
    fn request(&self) -> &Request {
        match self {
            Write::Push(request) | Write::Alone(request) => request,
        }
    }
}

/// An answer's body as JSON; null if it is none.
pub(super) fn plain(answer: &Answer) -> Json {
    let encoding = answer
        .headers
        .iter()
        .find(|(name, _)| name == "content-encoding");
    let bytes = match encoding {
        Some((_, zstd)) if zstd == b"zstd" => zstd::decode_all(answer.body.as_slice()).unwrap(),
        Some(_) | None => answer.body.clone(),
    };
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Whether a receipt is what it should be.
fn differs(told: &Json, expected: &Receipt) -> Result<(), String> {
    let flag = |name: &str| told[name].as_bool().unwrap_or(false);
    if let Some(code) = expected.code {
        return if told["code"] == code {
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
    for (name, value) in &expected.changed {
        if changed.get(name) != Some(value) {
            return Err(format!("that {name} = {value} is told"));
        }
    }
    Ok(())
}

/// The rows of a table with their metadata, as the database has them.
fn stored(file: &mut File, table: Table) -> BTreeMap<String, super::reference::Row> {
    use super::reference::{Cell, Row};
    let values = file.rows(table, "true");
    let sql = format!(
        "SELECT json_array(id, sync_version, sync_deleted_at, sync_client_last_updated, \
         lower(hex(sync_client_id)), json(sync_stamps)) AS line FROM {}",
        table.name()
    );
    let lines = file.lines(&sql);
    let rows = lines.into_iter().map(|line| {
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
        let cells = values[&id].iter();
        let cells = cells.map(|(name, value)| (*name, cell(name, value.clone(), true)));
        let row = Row {
            version,
            birth,
            deleted: cell("sync_deleted_at", json!(!line[2].is_null()), false),
            cells: cells.collect(),
        };
        (id, row)
    });
    rows.collect()
}
