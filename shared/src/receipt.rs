//! The server's answer to one edit: one outcome per column.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{ClientId, Time};

/// What became of one column of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The edited value is current.
    Applied,
    /// It was current already.
    Unchanged,
    /// It was merged into what was current.
    Merged,
    /// Another value won; the edited one is in the ledger.
    Superseded,
    /// It waits in the ledger for an administrator.
    Held,
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Merged, column by column.
    Ok,
    /// Not accepted; `code` says why.
    Rejected,
    /// Acceptable, but taken back with the rest of an atomic push.
    RolledBack,
}

/// The receipt of one edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The edit's table, as it was sent.
    pub table: String,
    /// The row's id; the server's where it made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The row's version after the edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What became of the edit.
    pub status: Status,
    /// Whether the edit made the row.
    #[serde(default, skip_serializing_if = "is_false")]
    pub created: bool,
    /// Whether the row is deleted now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// The columns that were edited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnReceipt>,
    /// Values of all other columns that changed after the edit's base version: with them the reader
    /// may use `version` as its next base version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, Json>,
    /// Ledger entries about the row as a whole (kinds `deleted` and `row`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Uuid>,
    /// Why the edit was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub rejection: Option<Rejection>,
}

/// The receipt of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnReceipt {
    /// What became of it.
    pub outcome: Outcome,
    /// The resulting value, where it is not the value sent.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub value: Option<Json>,
    /// Time of the resulting stamp; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Client of the resulting stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// The ledger entry, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Uuid>,
}

/// Why an edit was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// A stable code, such as `row_not_found`.
    pub code: String,
    /// A sentence for people.
    pub detail: String,
    /// The column, constraint or member at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The ledger entry that keeps the edit, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Uuid>,
}

impl Rejection {
    /// A rejection without a field.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Rejection {
            code: code.to_owned(),
            detail: detail.into(),
            field: None,
            conflict: None,
        }
    }

    /// The same rejection, naming the field at fault.
    #[must_use]
    pub fn field(self, field: impl Into<String>) -> Self {
        Rejection {
            field: Some(field.into()),
            ..self
        }
    }
}

impl Receipt {
    /// The receipt of an edit that was not accepted.
    #[must_use]
    pub fn rejected(table: &str, id: Option<String>, rejection: Rejection) -> Self {
        Receipt {
            rejection: Some(rejection),
            ..Receipt::of(table, id, Status::Rejected)
        }
    }

    /// An empty receipt.
    #[must_use]
    pub fn of(table: &str, id: Option<String>, status: Status) -> Self {
        Receipt {
            table: table.to_owned(),
            id,
            version: None,
            status,
            created: false,
            deleted: false,
            columns: BTreeMap::new(),
            changed: BTreeMap::new(),
            conflicts: Vec::new(),
            rejection: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A member that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}
