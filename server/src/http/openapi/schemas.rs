//! The forms of what goes over the wire, for the document alone: nothing is read or written by these types.
//!
//! What they mirror stands in `shared` and in the handlers; stories lay both beside each other.
#![expect(
    dead_code,
    reason = "these types are there to be described, not to be made"
)]

mod ledger;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Any;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{ComponentsBuilder, RefOr};

use super::problems::{PROBLEMS, REJECTIONS};
use ledger::{Clients, ConflictPage, Decision, Resolved, RowHistory, Tables};

/// All schemas, beside what `components` has already.
pub(super) fn register(components: ComponentsBuilder) -> ComponentsBuilder {
    let mut named = Vec::new();
    add::<Problem>(&mut named);
    add::<ServerSchema>(&mut named);
    add::<Page>(&mut named);
    add::<Receipt>(&mut named);
    add::<Push>(&mut named);
    add::<Log>(&mut named);
    add::<WholeRows>(&mut named);
    add::<Pushed>(&mut named);
    add::<RowEdit>(&mut named);
    add::<JsonPatch>(&mut named);
    add::<PullLine>(&mut named);
    add::<ConflictPage>(&mut named);
    add::<Decision>(&mut named);
    add::<Resolved>(&mut named);
    add::<RowHistory>(&mut named);
    add::<Clients>(&mut named);
    add::<Tables>(&mut named);
    components.schemas_from_iter(named)
}

/// A schema, and those that it refers to.
fn add<T: ToSchema>(named: &mut Vec<(String, RefOr<Schema>)>) {
    named.push((T::name().into_owned(), T::schema()));
    T::schemas(named);
}

fn one_of(names: impl IntoIterator<Item = &'static str>) -> Schema {
    let text = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
    text.enum_values(Some(names)).build().into()
}

fn problem_codes() -> Schema {
    let mut names: Vec<&str> = PROBLEMS.iter().map(|(_, code, _)| *code).collect();
    names.dedup();
    one_of(names)
}

fn rejection_codes() -> Schema {
    one_of(REJECTIONS.iter().copied())
}

/// An error, RFC 9457. It refuses the whole request.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    /// For programs; it never changes for the same reason
    #[schema(schema_with = problem_codes)]
    code: String,
    /// For people
    detail: String,
    /// The header, parameter, member, column or constraint at fault
    #[schema(required = false)]
    field: String,
    /// Of JSON that cannot be read
    #[schema(required = false)]
    line: u64,
    #[schema(required = false)]
    column: u64,
    /// The next push number
    #[schema(required = false)]
    expected: i64,
    /// The entry of the ledger that keeps the edit
    #[schema(required = false)]
    conflict: String,
    /// Under which the server's log tells more
    #[schema(required = false)]
    incident: String,
}

/// The synced tables.
#[derive(Serialize, ToSchema)]
#[schema(as = Schema)]
struct ServerSchema {
    /// Changes with anything that is said here
    hash: String,
    tables: Vec<Table>,
}

/// A synced table. Parents come before children.
#[derive(Serialize, ToSchema)]
struct Table {
    name: String,
    /// The names of the key's columns
    key: Vec<String>,
    columns: Vec<Column>,
    parents: Vec<String>,
    foreign_keys: Vec<ForeignKey>,
    row_policy: String,
    edit_after_delete: String,
    #[schema(required = false)]
    hard_delete: bool,
}

/// A column.
#[derive(Serialize, ToSchema)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    ty: ColumnType,
    nullable: bool,
    has_default: bool,
    policy: String,
    /// The columns of one group are stamped and decided as one
    #[schema(required = false)]
    group: String,
}

/// A column's type.
#[derive(Serialize, ToSchema)]
struct ColumnType {
    /// `bool`, `integer`, `real`, `decimal`, `text`, `uuid`, `date`, `time`, `datetime`, `timestamp`, `bytes`,
    /// `json`, `enum` or `array`
    name: String,
    #[schema(required = false)]
    bits: u8,
    #[schema(required = false)]
    precision: u32,
    #[schema(required = false)]
    scale: u32,
    #[schema(required = false)]
    max_length: u32,
    #[schema(required = false)]
    labels: Vec<String>,
    /// Of an array's elements
    #[schema(required = false, no_recursion)]
    of: Box<ColumnType>,
}

/// A foreign key of which both ends are synced.
#[derive(Serialize, ToSchema)]
struct ForeignKey {
    columns: Vec<String>,
    table: String,
    references: Vec<String>,
}

/// A row: its columns, with `_sync` among them if `meta=true`.
#[derive(Serialize, ToSchema)]
struct Row {
    #[serde(rename = "_sync")]
    #[schema(required = false)]
    sync: RowMeta,
    #[serde(flatten)]
    columns: BTreeMap<String, Any>,
}

/// What colsync knows of a row.
#[derive(Serialize, ToSchema)]
struct RowMeta {
    id: String,
    version: i64,
    deleted: bool,
    deleted_stamp: Option<Stamp>,
    server_last_updated: String,
    columns: BTreeMap<String, Stamp>,
}

/// Who wrote a column last and when; `null` where that is unknown.
#[derive(Serialize, ToSchema)]
struct Stamp {
    at: Option<String>,
    client: Option<String>,
    version: i64,
}

/// A page of rows.
#[derive(Serialize, ToSchema)]
struct Page {
    rows: Vec<Row>,
    /// The `after` of the next page; absent after a page that is not full
    #[schema(required = false)]
    next: String,
}

/// What became of an edit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Rejected,
    RolledBack,
}

/// What became of a column of an edit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Applied,
    Unchanged,
    Merged,
    Superseded,
    Held,
}

/// The answer to one edit.
#[derive(Serialize, ToSchema)]
struct Receipt {
    table: String,
    #[schema(required = false)]
    id: String,
    #[schema(required = false)]
    version: i64,
    status: Status,
    #[schema(required = false)]
    created: bool,
    #[schema(required = false)]
    deleted: bool,
    #[schema(required = false)]
    unseen: Vec<String>,
    #[schema(required = false)]
    columns: BTreeMap<String, ColumnReceipt>,
    /// Values of all other columns that changed after the edit's base version
    #[schema(required = false)]
    changed: BTreeMap<String, Any>,
    /// Entries of the ledger about the row as a whole
    #[schema(required = false)]
    conflicts: Vec<String>,
    /// Why the edit was rejected
    #[schema(required = false, schema_with = rejection_codes)]
    code: String,
    #[schema(required = false)]
    detail: String,
    #[schema(required = false)]
    field: String,
    #[schema(required = false)]
    conflict: String,
}

/// What became of one column.
#[derive(Serialize, ToSchema)]
struct ColumnReceipt {
    outcome: Outcome,
    /// The resulting value, where it is not the one sent
    #[schema(required = false)]
    value: Any,
    #[schema(required = false)]
    at: String,
    #[schema(required = false)]
    client: String,
    #[schema(required = false)]
    conflict: String,
}

/// A row's id; an integer key may be a number.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

/// Edits, merged in order.
#[derive(Serialize, ToSchema)]
struct Push {
    /// 1 for a client's first, then one more each time
    #[schema(minimum = 1)]
    push: i64,
    /// One rejected edit takes back all others
    #[schema(required = false)]
    atomic: bool,
    #[schema(required = false)]
    schema: String,
    edits: Vec<Edit>,
}

/// An edit of one row.
#[derive(Serialize, ToSchema)]
struct Edit {
    table: String,
    #[schema(required = false)]
    id: Id,
    op: Operation,
    #[schema(minimum = 0)]
    base_version: Option<i64>,
    #[schema(format = DateTime)]
    at: Option<String>,
    #[schema(required = false)]
    columns: BTreeMap<String, ColumnEdit>,
    /// Columns that its maker had not in view, whatever version it names
    #[schema(required = false)]
    unseen: Vec<String>,
}

/// What an edit does to its row.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Insert,
    Update,
    Delete,
}

/// An edit of one column.
#[derive(Serialize, ToSchema)]
struct ColumnEdit {
    value: Any,
    /// The value edited from
    #[schema(required = false)]
    base: Any,
    #[schema(minimum = 0)]
    base_version: Option<i64>,
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// One edit of a push without table, id and operation.
#[derive(Serialize, ToSchema)]
struct RowEdit {
    #[schema(minimum = 0)]
    base_version: Option<i64>,
    #[schema(format = DateTime)]
    at: Option<String>,
    #[schema(required = false)]
    columns: BTreeMap<String, ColumnEdit>,
    #[schema(required = false)]
    unseen: Vec<String>,
}

/// A transaction log: what was done, in order.
#[derive(Serialize, ToSchema)]
struct Log {
    #[schema(minimum = 1)]
    push: i64,
    #[schema(required = false)]
    atomic: bool,
    entries: Vec<Entry>,
}

/// What was done to one row.
#[derive(Serialize, ToSchema)]
struct Entry {
    table: String,
    #[schema(required = false)]
    id: Id,
    action: Action,
    #[schema(format = DateTime)]
    at: Option<String>,
    #[schema(minimum = 0)]
    base_version: Option<i64>,
    #[schema(required = false)]
    columns: BTreeMap<String, Any>,
    #[schema(required = false)]
    base: BTreeMap<String, Any>,
    #[schema(required = false)]
    unseen: Vec<String>,
}

/// What a log's entry does; `hard_delete` needs its table's leave.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    Insert,
    Update,
    Delete,
    HardDelete,
}

/// Whole rows.
#[derive(Serialize, ToSchema)]
struct WholeRows {
    #[schema(minimum = 1)]
    push: i64,
    #[schema(required = false)]
    atomic: bool,
    rows: Vec<WholeRow>,
}

/// A row with all its columns, or one that is deleted.
#[derive(Serialize, ToSchema)]
struct WholeRow {
    table: String,
    #[schema(required = false)]
    id: Id,
    #[schema(format = DateTime)]
    at: Option<String>,
    #[schema(minimum = 0)]
    base_version: Option<i64>,
    #[schema(required = false)]
    columns: BTreeMap<String, Any>,
    #[schema(required = false)]
    deleted: bool,
}

/// The receipts of a push, in the order of its edits.
#[derive(Serialize, ToSchema)]
struct Pushed {
    push: i64,
    receipts: Vec<Receipt>,
    /// The schema's hash
    schema: String,
}

/// RFC 6902, of a row's representation.
#[derive(Serialize, ToSchema)]
struct JsonPatch(Vec<PatchOperation>);

/// An operation of a JSON Patch.
#[derive(Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
enum PatchOperation {
    Add { path: String, value: Any },
    Remove { path: String },
    Replace { path: String, value: Any },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Any },
}

/// A line of a pull: a row's state, a removal, or a checkpoint to resume from.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum PullLine {
    Row {
        table: String,
        id: String,
        version: i64,
        /// The row is new to this cursor: all its columns are here
        #[schema(required = false)]
        full: bool,
        columns: BTreeMap<String, Any>,
    },
    Removed {
        table: String,
        id: String,
        /// `deleted`, `purged` or `out_of_scope`
        removed: String,
    },
    Checkpoint {
        checkpoint: String,
        /// Nothing is left
        complete: bool,
    },
}
