//! What a handler hands to the commit queue, and what it gets back.

use std::sync::Arc;

use colsync_shared::receipt::Rejection;
use colsync_shared::{ClientId, Edit, Receipt, RowKey, Time};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::refusal::Refused;
use crate::store::model::TableInfo;

/// The edits of one request, accepted or refused as the request says.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    /// Who made the edits.
    pub(crate) client: ClientId,
    /// How far the client's clock is from the server's, µs, if it said.
    pub(crate) skew: Option<i64>,
    /// When the request's head arrived.
    pub(crate) arrived: Time,
    /// How a repeat is recognised.
    pub(crate) identity: Identity,
    /// Anchors that the client has been at. If the database lacks one, the edits' base versions are of a history that
    /// was lost.
    pub(crate) anchors: Vec<String>,
    /// Whether one rejected edit takes back all others.
    pub(crate) atomic: bool,
    /// The edits, in order.
    pub(crate) items: Vec<Item>,
}

/// How a repeat of a submission is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// It is not.
    Bare,
    /// By the client's push number and a hash of the content.
    Push { number: i64, hash: String },
    /// By the `Idempotency-Key` header and a hash of the content.
    Request { key: String, hash: String },
}

/// One edit of a submission.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An edit that names its values.
    Edit { table: Arc<TableInfo>, edit: Edit },
    /// A patch whose values depend on the row under its lock.
    Patch {
        table: Arc<TableInfo>,
        key: RowKey,
        patch: Patch,
        base_version: Option<i64>,
        at: Time,
    },
    /// An administrator's decision of a conflict.
    Resolve { conflict: Uuid, decision: Decision },
    /// An item that only the COMMIT of its submission refused: it is told so, and merged no more.
    Refused { item: Box<Item>, refused: Refused },
    /// An edit that could not be read.
    Rejected(Receipt),
}

/// A patch document of a row's representation.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// RFC 7396.
    Merge(Map<String, Json>),
    /// RFC 6902.
    Operations(json_patch::Patch, Bounds),
}

/// What operations may make of a row: a few of them that copy what they copied make more than any body holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Depth of nested arrays and objects, the row's own among them.
    pub(crate) depth: usize,
    /// Bytes of JSON that all operations together copy and move.
    pub(crate) bytes: usize,
}

/// What an administrator decides about a conflict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// What stands stays.
    Keep,
    /// What lost is written as a new edit.
    TakeLost,
    /// Another value is written as a new edit.
    Value(Json),
}

impl Decision {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Decision::Keep => "keep",
            Decision::TakeLost => "take_lost",
            Decision::Value(_) => "value",
        }
    }
}

/// The receipts of a submission that was committed, or of the one that it repeats.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) receipts: Vec<Receipt>,
}

/// Why a submission as a whole was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The push's number stands for other content.
    #[error(
        "push {number} of this client had other content; a copied or restored client needs a new Client-Id"
    )]
    Forked { number: i64 },
    /// The push's number is not the next one.
    #[error("the next push of this client is {expected}")]
    OutOfOrder { expected: i64 },
    /// The request's idempotency key stands for other content.
    #[error("this Idempotency-Key was used with other content")]
    KeyReused,
    /// The queue is full, or the server is stopping.
    #[error("the server is busy; try again")]
    Busy,
    /// The database cannot be reached.
    #[error("the database is unavailable; try again")]
    Unavailable,
    /// Something that should not happen; logged where it happened.
    #[error("internal error")]
    Internal,
}

/// What a submission is answered with, once it is durable.
pub(crate) type Answer = Result<Accepted, Refusal>;

impl Submission {
    /// The same of a client that has seen another history: its base versions mean nothing here. A version beyond the
    /// row's tells just that (ADR 0004).
    pub(crate) fn of_another_history(&self) -> Submission {
        let mut lost = self.clone();
        for item in &mut lost.items {
            if let Item::Edit { edit, .. } = item {
                edit.base_version = edit.base_version.map(|_lost| i64::MAX);
                for column in &mut edit.columns {
                    column.base_version = column.base_version.map(|_lost| i64::MAX);
                }
            }
        }
        lost
    }
}

impl Item {
    /// The conflict that it decides, if it is a decision.
    pub(crate) fn decides(&self) -> Option<Uuid> {
        match self {
            Item::Resolve { conflict, .. } => Some(*conflict),
            Item::Edit { .. } | Item::Patch { .. } | Item::Refused { .. } | Item::Rejected(_) => {
                None
            }
        }
    }

    /// The rows that the item will touch, as far as it knows them.
    pub(crate) fn target(&self) -> Option<(&Arc<TableInfo>, &RowKey)> {
        match self {
            Item::Edit { table, edit } => edit.key.as_ref().map(|key| (table, key)),
            Item::Patch { table, key, .. } => Some((table, key)),
            Item::Refused { item, .. } => item.target(),
            Item::Resolve { .. } | Item::Rejected(_) => None,
        }
    }
}

/// A rejection for an edit whose row is not there.
pub(crate) fn no_row(purged: bool) -> Rejection {
    if purged {
        Rejection::new("row_gone", "the row was purged")
    } else {
        Rejection::new("row_not_found", "no such row")
    }
}
