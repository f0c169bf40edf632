//! Edits that the database refuses: what their receipts say, and what the ledger keeps of them.
//!
//! Must not know how edits are merged or written; the transaction asks here what a refusal comes to.

use std::sync::Arc;

use colsync_shared::receipt::{Rejection, Status};
use colsync_shared::{Edit, Op, Receipt, Time};
use serde_json::{Map, Value as Json};

use super::commit::commit;
use super::draft::Draft;
use super::patch::representation;
use super::rowstate;
use super::submission::{Answer, Item, Refusal, Submission};
use crate::edges;
use crate::store::conn::Conn;
use crate::store::error::{ConstraintKind, StoreError};
use crate::store::ledger::NewConflict;
use crate::store::model::{Schema, StoredRow, TableInfo};

/// What the ledger calls a constraint that the database does not tell.
const UNTOLD: &str = "unknown";

/// What it keeps as lost of a hard delete, which has no columns; of a delete it is nothing.
pub(super) const HARD_DELETE: &str = "hard_delete";

/// Why the database refuses an edit's row.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// For the receipt.
    pub(super) rejection: Rejection,
    /// Whether another edit may mend it: a row that a foreign key points to may still come.
    pub(super) waits: bool,
    /// The broken constraint, for the ledger; `None` where a value is refused, not the row that it makes.
    constraint: Option<Constraint>,
}

#[derive(Debug, Clone)]
struct Constraint {
    name: String,
    column: Option<String>,
}

impl Refused {
    /// What `failure` says of the edit at hand; failures that are not about it go on. `last_try` says that a
    /// race which is lost again is the edit's own doing.
    pub(super) fn of(failure: StoreError, last_try: bool) -> Result<Refused, StoreError> {
        match failure {
            StoreError::Constraint { kind, name, column } => {
                Ok(Refused::by_constraint(kind, name, column))
            }
            StoreError::Refused(detail) => Ok(Refused {
                rejection: Rejection::new("invalid_value", detail),
                waits: false,
                constraint: None,
            }),
            StoreError::Raced if last_try => {
                let detail = "the database did not make the row, and there is none with its key";
                Ok(Refused {
                    rejection: Rejection::new("constraint_violation", detail),
                    waits: false,
                    constraint: Some(Constraint {
                        name: UNTOLD.to_owned(),
                        column: None,
                    }),
                })
            }
            failure => Err(failure),
        }
    }

    /// A row, or a transaction, that breaks a constraint.
    fn by_constraint(
        kind: ConstraintKind,
        name: Option<String>,
        column: Option<String>,
    ) -> Refused {
        let what = name.clone().or_else(|| column.clone()).unwrap_or_default();
        let detail = format!(
            "the database refused the row: {} constraint {what}",
            kind.name()
        );
        Refused {
            rejection: Rejection {
                field: column.clone().or_else(|| name.clone()),
                ..Rejection::new("constraint_violation", detail)
            },
            waits: kind == ConstraintKind::ForeignKey,
            constraint: Some(Constraint {
                name: name.unwrap_or_else(|| kind.name().to_owned()),
                column,
            }),
        }
    }

    /// What the ledger keeps of `edit`, beside the row as it stands.
    pub(super) fn entry(
        &self,
        table: &TableInfo,
        edit: &Edit,
        row: Option<&StoredRow>,
        submission: &Submission,
    ) -> Option<NewConflict> {
        let constraint = self.constraint.as_ref()?;
        let spec = &table.spec;
        let sent = edit.columns.iter().filter_map(|sent| {
            let column = spec.columns.get(sent.column)?;
            Some((column.name.clone(), column.ty.encode(&sent.value)))
        });
        let sent = Json::Object(sent.collect::<Map<String, Json>>());
        let newest = row.and_then(|row| {
            let stamps = spec.columns.iter();
            stamps
                .filter_map(|column| rowstate::entry(row, &column.name).stamp)
                .max()
        });
        Some(NewConflict {
            id: edges::uuid7().to_string(),
            table_name: spec.name.clone(),
            row_id: edit
                .key
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            column_name: constraint.column.clone(),
            kind: "constraint".to_owned(),
            policy: constraint.name.clone(),
            base: None,
            kept: row.map(|row| representation(spec, &row.values).to_string()),
            lost: match edit.op {
                Op::Insert | Op::Update | Op::Replace => Some(sent.to_string()),
                Op::HardDelete => Some(Json::from(HARD_DELETE).to_string()),
                Op::Delete => None,
            },
            kept_time: newest.map(|stamp| stamp.time.micros()),
            kept_client: newest.map(|stamp| stamp.client.to_string()),
            lost_time: Some(edit.at.micros()),
            lost_client: Some(submission.client.to_string()),
            skew: submission.skew,
            version: row.map_or(0, |row| row.version),
            state: "decided".to_owned(),
            created_at: submission.arrived.micros(),
        })
    }
}

/// Whether both entries tell of one edit: a client that sends again what was refused makes no second one.
pub(super) fn is_same(one: &NewConflict, other: &NewConflict) -> bool {
    let of = |entry: &NewConflict| {
        (
            entry.kind.clone(),
            entry.table_name.clone(),
            entry.row_id.clone(),
            entry.lost_client.clone(),
            entry.lost.clone(),
        )
    };
    of(one) == of(other)
}

/// Commits one submission by itself. If only its COMMIT is refused, no single edit can be blamed: all are
/// rejected, and their answer is remembered like any other.
pub(super) fn alone(
    conn: &mut Conn,
    schema: &Schema,
    submission: &Submission,
    now: Time,
) -> Result<Answer, StoreError> {
    let first = |answers: Vec<Answer>| answers.into_iter().next().unwrap_or(Err(Refusal::Internal));
    let refused = match commit(conn, schema, &[submission], now) {
        Err(StoreError::Constraint { kind, name, column }) => {
            Refused::by_constraint(kind, name, column)
        }
        done => return done.map(first),
    };
    let items = submission.items.iter().map(|item| Item::Refused {
        item: Box::new(item.clone()),
        refused: refused.clone(),
    });
    let rejected = Submission {
        items: items.collect(),
        ..submission.clone()
    };
    commit(conn, schema, &[&rejected], now).map(first)
}

/// The table that an item writes, where it names one.
pub(super) fn table(item: &Item) -> Option<&Arc<TableInfo>> {
    match item {
        Item::Edit { table, .. } | Item::Patch { table, .. } => Some(table),
        Item::Refused { item, .. } => table(item),
        Item::Rejected(_) | Item::Resolve { .. } => None,
    }
}

/// The table and the id that an item names, for its receipt.
pub(super) fn named(item: &Item) -> (&str, Option<String>) {
    match item {
        Item::Edit { table, edit } => {
            (&table.spec.name, edit.key.as_ref().map(ToString::to_string))
        }
        Item::Patch { table, key, .. } => (&table.spec.name, Some(key.to_string())),
        Item::Rejected(receipt) => (&receipt.table, receipt.id.clone()),
        Item::Refused { item, .. } => named(item),
        Item::Resolve { .. } => ("", None),
    }
}

/// The receipt of an edit in an atomic submission that failed: its own rejection, or `rolled_back`.
pub(super) fn rolled_back((item, draft): (&Item, Draft)) -> Draft {
    if draft.is_rejected() {
        return draft;
    }
    let (table, id) = named(item);
    Draft::Done(Receipt::of(table, id, Status::RolledBack))
}
