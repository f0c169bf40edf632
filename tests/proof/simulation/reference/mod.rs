//! What the server should hold and answer, worked out from DESIGN.md and the ADRs a second time: by whoever reads
//! the requests as they arrive, and shares no code with the merge.
//!
//! Values are JSON as on the wire, clients are text, times are µs.

mod column;
mod constraint;
mod group;
mod row;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::plan::Table;
use super::tables::Given;
pub(super) use column::is_by;
use constraint::is_atomic;
pub(super) use constraint::{BROKEN, ROLLED_BACK};
pub(super) use row::{Ledgered, canonical};

/// What wrote a value last, and when.
pub(super) type Stamp = (i64, String);

/// The writer of what another program writes with SQL.
pub(super) const DIRECT: &str = "00000000-0000-0000-0000-000000000001";
/// Who decides about entries of the ledger.
pub(super) const ADMINISTRATOR: &str = "00000000-0000-0000-0000-000000000002";
/// Whoever does not say who it is.
pub(super) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A column, or a row's deleted flag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) value: Json,
    pub(super) stamp: Option<Stamp>,
    /// The row's version at its last change; 0 of what nobody ever wrote.
    pub(super) version: i64,
}

/// A row, soft-deleted or not.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) version: i64,
    /// The version at which it was made.
    pub(super) birth: i64,
    pub(super) deleted: Cell,
    pub(super) cells: BTreeMap<&'static str, Cell>,
    /// Of the columns of its group, whose versions are the group's, the versions at which they themselves changed: what
    /// only the reference knows.
    since: BTreeMap<&'static str, i64>,
    /// Who made it, and when.
    made: Option<Stamp>,
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        let heads = |row: &Row| (row.version, row.birth);
        heads(self) == heads(other) && self.deleted == other.deleted && self.cells == other.cells
    }
}

/// What earlier edits of a push have made of a row.
#[derive(Debug, Clone, Default)]
struct Own {
    versions: Vec<i64>,
    /// Columns that hold what a policy made of the push's value and another's: the push's client does not know it.
    mixed: BTreeSet<&'static str>,
}

impl Own {
    /// The versions at which a column is known to the push's client.
    fn of(&self, name: &str) -> &[i64] {
        if self.mixed.contains(name) {
            &[]
        } else {
            &self.versions
        }
    }
}

/// The same of each row.
type Owns = HashMap<(Table, String), Own>;

/// All that the server keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct Reference {
    pub(super) rows: BTreeMap<(Table, String), Row>,
    /// Versions of rows that were removed for good.
    pub(super) gone: HashMap<(Table, String), i64>,
    /// Entries of the ledger that were decided, by their ids.
    pub(super) decided: BTreeSet<String>,
    /// Of each client, its pushes: what was sent, and what was answered where that is known.
    pushes: HashMap<String, Vec<Kept>>,
    /// Whether the database refuses an edit of which the reference knows nothing: then each is taken by itself.
    pub(super) is_apart: bool,
}

#[derive(Debug, Clone)]
struct Kept {
    body: Rc<Json>,
    receipts: Option<Json>,
    /// Whether the server may have forgotten it.
    old: bool,
}

/// A request, as far as the merge is concerned.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) client: String,
    /// The client's clock less the server's, µs, where it told.
    pub(super) skew: Option<i64>,
    /// By the server's clock.
    pub(super) arrived: i64,
    pub(super) body: Json,
    /// Whether the client has been where the server's database has not: its base versions mean nothing.
    pub(super) is_lost: bool,
    /// Whether it is an administrator's decision, which stands whatever the policies are.
    pub(super) is_decision: bool,
}

/// What a push should be answered.
#[derive(Debug)]
pub(super) enum Expected {
    /// These receipts, as far as they are known beforehand, and these entries of the ledger.
    Receipts(Vec<Receipt>, Vec<Ledgered>),
    /// What it was answered before.
    Again(Json),
    /// 200, with whatever it was answered before.
    AgainUnknown,
    /// Refused by this status and code.
    Refused(u16, &'static str),
    /// Either of the two above: the server may have forgotten.
    AgainOrForked(Option<Json>),
}

/// What an edit should be answered.
#[derive(Debug, PartialEq)]
pub(super) struct Receipt {
    pub(super) code: Option<&'static str>,
    pub(super) version: Option<i64>,
    pub(super) created: bool,
    pub(super) deleted: bool,
    /// Of each column of the edit what became of it, and the value that stands.
    pub(super) columns: BTreeMap<String, (&'static str, Json)>,
    /// All that has to be told beside, by name.
    pub(super) changed: BTreeMap<String, Json>,
}

/// What the clock allows: more is shifted.
const BOUND: i64 = 2_000_000;

impl Request {
    /// A time of the request by the server's clock.
    fn adjusted(&self, at: i64) -> i64 {
        let skew = self.skew.unwrap_or(0);
        let shift = if skew.abs() > BOUND { skew } else { 0 };
        (at - shift).min(self.arrived)
    }

    fn time(&self, of: &Json) -> Option<i64> {
        of.as_str().map(|text| self.adjusted(micros(text)))
    }
}

/// The µs of an RFC 3339 time.
pub(super) fn micros(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
        .timestamp_micros()
}

impl Reference {
    /// Of rows that were there before colsync: they count as written with SQL when they were adopted.
    pub(super) fn of_adopted(rows: Vec<Given>, adopted_at: i64) -> Reference {
        let stamp = || Some((adopted_at, DIRECT.to_owned()));
        let mut reference = Reference::default();
        for (table, id, values) in rows {
            let cells = table.columns().iter().map(|column| {
                let given = values.iter().find(|(name, _)| *name == column.name);
                let value = given.map_or(Json::Null, |(_, value)| value.clone());
                let cell = Cell {
                    version: i64::from(!value.is_null()),
                    stamp: if value.is_null() { None } else { stamp() },
                    value,
                };
                (column.name, cell)
            });
            let deleted = Cell {
                value: json!(false),
                stamp: stamp(),
                version: 1,
            };
            let row = Row::of(table, (1, 1), deleted, cells.collect());
            reference.rows.insert((table, id), row);
        }
        reference
    }

    /// A row by its table's name and its id.
    pub(super) fn row(&self, table: &str, id: &str) -> Option<&Row> {
        self.rows.get(&(Table::of_name(table)?, id.to_owned()))
    }

    /// Whether there is no such row any more as an edit names.
    pub(super) fn has_removed(&self, edit: &Json) -> bool {
        self.gone.contains_key(&key_of(edit))
    }

    /// Takes a push, and says what it should be answered.
    pub(super) fn push(&mut self, request: &Request) -> Expected {
        let number = request.body["push"].as_u64().unwrap() as usize;
        let known = self.pushes.entry(request.client.clone()).or_default();
        if number > known.len() + 1 {
            return Expected::Refused(409, "push_out_of_order");
        }
        if let Some(kept) = known.get(number - 1) {
            return match (*kept.body == request.body, &kept.receipts) {
                (false, _) => Expected::Refused(409, "client_forked"),
                (true, receipts) if kept.old && number < known.len() => {
                    Expected::AgainOrForked(receipts.clone())
                }
                (true, Some(receipts)) => Expected::Again(receipts.clone()),
                (true, None) => Expected::AgainUnknown,
            };
        }
        known.push(Kept {
            body: Rc::new(request.body.clone()),
            receipts: None,
            old: false,
        });
        let mut edits = request.body["edits"].as_array().unwrap().clone();
        edits.retain(is_known);
        if request.is_lost {
            edits.iter_mut().for_each(forget_bases);
        }
        let (mut receipts, ledger) = if is_atomic(request) {
            self.all_or_none(request, &edits)
        } else {
            self.edits(request, &edits)
        };
        for (edit, receipt) in edits.iter().zip(&mut receipts) {
            if receipt.created {
                self.tell_end(edit, receipt);
            }
        }
        Expected::Receipts(receipts, ledger)
    }

    /// Notes what a push was answered.
    pub(super) fn answered(&mut self, request: &Request, receipts: &Json) {
        let number = request.body["push"].as_u64().unwrap() as usize;
        let kept = self.pushes.get_mut(&request.client);
        if let Some(kept) = kept.and_then(|pushes| pushes.get_mut(number - 1)) {
            kept.receipts = Some(receipts.clone());
        }
    }

    /// Takes a single edit that is no push's.
    pub(super) fn alone(&mut self, request: &Request) -> (Receipt, Vec<Ledgered>) {
        let (mut receipts, mut ledger) = self.edits(request, std::slice::from_ref(&request.body));
        let receipt = receipts.remove(0);
        if request.is_decision && receipt.code.is_some() {
            // Its entry is there.
            ledger.clear();
        }
        (receipt, ledger)
    }

    /// Takes an administrator's decision about the entry of this id.
    pub(super) fn decide(&mut self, id: &str, request: &Request) -> Expected {
        if self.decided.contains(id) {
            return Expected::Refused(409, "already_resolved");
        }
        if request.body.is_null() {
            self.decided.insert(id.to_owned());
            return Expected::Receipts(Vec::new(), Vec::new());
        }
        let (receipt, ledger) = self.alone(request);
        if receipt.code.is_none() {
            self.decided.insert(id.to_owned());
        }
        Expected::Receipts(vec![receipt], ledger)
    }

    /// The server has kept house: what it was sent so far, it may have forgotten.
    pub(super) fn forget(&mut self) {
        let pushes = self.pushes.values_mut().flatten();
        pushes.for_each(|kept| kept.old = true);
    }

    fn edit(
        &mut self,
        request: &Request,
        edit: &Json,
        own: &mut Owns,
        ledger: &mut Vec<Ledgered>,
    ) -> Receipt {
        let key = key_of(edit);
        let own = own.entry(key.clone()).or_default();
        let Some(row) = self.rows.get_mut(&key) else {
            if edit["op"] != "insert" && edit["op"] != "replace" {
                let code = if self.gone.contains_key(&key) {
                    "row_gone"
                } else {
                    "row_not_found"
                };
                return Receipt::rejected(code);
            }
            let version = self.gone.remove(&key).map_or(1, |version| version + 1);
            let (row, receipt) = row::made(request, key.0, edit, version);
            own.versions.push(version);
            self.rows.insert(key, row);
            return receipt;
        };
        let before = row.version;
        let receipt = row::merged(request, (&key.0, &key.1), row, edit, own, ledger);
        if edit["op"] == "hard_delete" && receipt.deleted {
            self.rows.remove(&key);
            self.gone.insert(key, before + 1);
        }
        receipt
    }

    /// The receipt of an edit that made its row tells what the whole push made of it.
    fn tell_end(&self, edit: &Json, receipt: &mut Receipt) {
        let key = key_of(edit);
        let Some(row) = self.rows.get(&key) else {
            // A later edit has removed it: there are no columns to tell of.
            receipt.version = self.gone.get(&key).copied();
            receipt.deleted = true;
            receipt.columns.clear();
            receipt.changed.clear();
            return;
        };
        receipt.version = Some(row.version);
        receipt.deleted = row.deleted.value == json!(true);
        for (name, cell) in &row.cells {
            match receipt.columns.get_mut(*name) {
                Some((_, value)) => value.clone_from(&cell.value),
                None => drop(
                    receipt
                        .changed
                        .insert((*name).to_owned(), cell.value.clone()),
                ),
            }
        }
    }

    /// Another program changes columns of a row; those that have the value already are not changed.
    pub(super) fn direct_update(
        &mut self,
        key: &(Table, String),
        values: &[(&'static str, Json)],
        now: i64,
    ) {
        let Some(row) = self.rows.get_mut(key) else {
            return;
        };
        let next = row.version + 1;
        for (name, value) in values {
            let cell = row.cells.get_mut(name).unwrap();
            if cell.value != *value {
                *cell = Cell {
                    value: value.clone(),
                    stamp: Some((now, DIRECT.to_owned())),
                    version: next,
                };
                row.version = next;
                row.since.insert(name, next);
            }
        }
    }

    /// Another program makes a row that is not there.
    pub(super) fn direct_insert(
        &mut self,
        key: &(Table, String),
        values: &[(&'static str, Json)],
        now: i64,
    ) {
        let version = self.gone.remove(key).map_or(1, |version| version + 1);
        let stamp = Some((now, DIRECT.to_owned()));
        let written = |value: Json| Cell {
            stamp: stamp.clone().filter(|_| !value.is_null()),
            version: if value.is_null() { 0 } else { version },
            value,
        };
        let cells = key.0.columns().iter().map(|column| {
            let given = values.iter().find(|(name, _)| *name == column.name);
            (
                column.name,
                written(given.map_or(Json::Null, |(_, value)| value.clone())),
            )
        });
        let deleted = Cell {
            value: json!(false),
            stamp: stamp.clone(),
            version,
        };
        let row = Row::of(key.0, (version, version), deleted, cells.collect());
        self.rows.insert(key.clone(), row);
    }

    /// Another program removes a row.
    pub(super) fn direct_delete(&mut self, key: &(Table, String)) {
        if let Some(row) = self.rows.remove(key) {
            self.gone.insert(key.clone(), row.version + 1);
        }
    }
}

/// Base versions of a lost history are beyond every version of this one.
fn forget_bases(edit: &mut Json) {
    let columns = edit["columns"].as_object_mut().into_iter().flatten();
    let columns: Vec<&mut Json> = columns.map(|(_, column)| column).collect();
    for column in columns {
        if column["base_version"].is_i64() {
            column["base_version"] = json!(i64::MAX);
        }
    }
    if edit["base_version"].is_i64() {
        edit["base_version"] = json!(i64::MAX);
    }
}

/// Whether an edit, or its receipt, is about a table that the reference knows.
pub(super) fn is_known(told: &Json) -> bool {
    told["table"]
        .as_str()
        .is_some_and(|name| Table::of_name(name).is_some())
}

/// The row that an edit names.
fn key_of(edit: &Json) -> (Table, String) {
    let table = Table::of_name(edit["table"].as_str().unwrap()).unwrap();
    (table, edit["id"].as_str().unwrap().to_owned())
}

impl Receipt {
    fn rejected(code: &'static str) -> Receipt {
        Receipt {
            code: Some(code),
            version: None,
            created: false,
            deleted: false,
            columns: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }
}
