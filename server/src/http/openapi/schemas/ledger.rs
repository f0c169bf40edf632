//! What the administrators' calls take and answer, for the document alone.
#![expect(
    dead_code,
    reason = "these types are there to be described, not to be made"
)]

use serde::Serialize;
use serde_json::Value as Any;
use utoipa::ToSchema;

use super::{Receipt, Row, Table};

/// An entry of the ledger.
#[derive(Serialize, ToSchema)]
struct Conflict {
    id: String,
    table: String,
    row: String,
    column: Option<String>,
    /// `column`, `group`, `blind`, `deleted`, `row` or `constraint`
    kind: String,
    policy: String,
    state: State,
    version: i64,
    created_at: String,
    /// The clock of the losing request's client less the server's, µs
    skew_us: Option<i64>,
    base: Any,
    kept: Side,
    lost: Side,
    decision: Option<String>,
    decided_at: Option<String>,
    decided_value: Any,
}

/// `open`: held by `manual`. `decided`: by a policy, or a constraint. `resolved`: by an administrator.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    Decided,
    Resolved,
}

/// One side of a conflict.
#[derive(Serialize, ToSchema)]
struct Side {
    value: Any,
    at: Option<String>,
    client: Option<Writer>,
}

/// A client, as it stands beside what it wrote.
#[derive(Serialize, ToSchema)]
struct Writer {
    id: String,
    name: Option<String>,
    principal: Option<String>,
    skew_us: Option<i64>,
}

/// A page of the ledger, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ConflictPage {
    conflicts: Vec<Conflict>,
    next: Option<String>,
}

/// What an administrator decides.
#[derive(Serialize, ToSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub(super) enum Decision {
    /// What stands stays
    Keep {},
    /// The lost value is written
    TakeLost {},
    /// Another value is written
    Value { value: Any },
}

/// A conflict that is decided, and the receipt of what was written.
#[derive(Serialize, ToSchema)]
pub(super) struct Resolved {
    conflict: Conflict,
    receipt: Receipt,
}

/// A row, `null` if it is gone, and the last 1,000 entries of the ledger about it.
#[derive(Serialize, ToSchema)]
pub(super) struct RowHistory {
    row: Option<Row>,
    conflicts: Vec<Conflict>,
}

/// All clients.
#[derive(Serialize, ToSchema)]
pub(super) struct Clients {
    clients: Vec<Client>,
}

/// One installation.
#[derive(Serialize, ToSchema)]
struct Client {
    id: String,
    principal: String,
    name: Option<String>,
    first_seen: String,
    last_seen: String,
    skew_us: Option<i64>,
    last_push: i64,
    pushes: i64,
    conflicts: i64,
    pulled_at: Option<String>,
}

/// The synced tables, with how many rows they have.
#[derive(Serialize, ToSchema)]
pub(super) struct Tables {
    tables: Vec<CountedTable>,
}

/// A table, and its rows.
#[derive(Serialize, ToSchema)]
struct CountedTable {
    #[serde(flatten)]
    table: Table,
    rows: i64,
    deleted: i64,
    tombstones: i64,
}
