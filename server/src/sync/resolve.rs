//! An administrator's decision, made into an ordinary edit of the row it is about.

use std::collections::HashMap;
use std::sync::Arc;

use colsync_shared::receipt::Rejection;
use colsync_shared::schema::EditAfterDelete;
use colsync_shared::{ColumnEdit, Edit, Op, Policy, RowKey, Table, Time, wire};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::refusal::HARD_DELETE;
use super::submission::{Decision, Item, Submission};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::ledger::{self, ConflictRow};
use crate::store::model::{Schema, TableInfo};

/// A ledger row under its lock, with the row it is about.
#[derive(Debug, Clone)]
pub(super) struct Resolution {
    conflict: ConflictRow,
    table: Option<Arc<TableInfo>>,
    /// `None` too where the database was to make the key of a row that it refused.
    key: Option<RowKey>,
}

/// What a decision writes.
pub(super) struct Written {
    /// For the ledger: the value decided, if one was.
    pub(super) value: Option<String>,
    /// The edit, and the policies to merge it by: an administrator's word stands.
    pub(super) edit: Option<(Arc<TableInfo>, Table, Edit)>,
}

/// Locks the ledger rows that the batch decides.
pub(super) fn load(
    conn: &mut Conn,
    schema: &Schema,
    batch: &[&Submission],
) -> Result<HashMap<Uuid, Resolution>, StoreError> {
    let mut found = HashMap::new();
    let items = batch.iter().flat_map(|submission| &submission.items);
    for item in items {
        let Item::Resolve { conflict: id, .. } = item else {
            continue;
        };
        if let Some(conflict) = ledger::conflict_for_update(conn, *id)? {
            let table = schema.table(&conflict.table_name).cloned();
            let key = table
                .as_ref()
                .and_then(|table| RowKey::from_id(&table.spec, &conflict.row_id).ok());
            let resolution = Resolution {
                conflict,
                table,
                key,
            };
            found.insert(*id, resolution);
        }
    }
    Ok(found)
}

impl Resolution {
    pub(super) fn target(&self) -> Option<(&Arc<TableInfo>, &RowKey)> {
        Some((self.table.as_ref()?, self.key.as_ref()?))
    }

    /// The same conflict after its decision.
    pub(super) fn closed(mut self) -> Self {
        "resolved".clone_into(&mut self.conflict.state);
        self
    }

    /// What `decision` writes into the row, now at `version`.
    ///
    /// # Errors
    /// `already_resolved`; `unknown_table` or `unknown_column` where the schema has moved on; and what
    /// the value's column refuses.
    pub(super) fn edit(
        &self,
        decision: &Decision,
        version: Option<i64>,
        now: Time,
    ) -> Result<Written, Rejection> {
        if self.conflict.state == "resolved" {
            return Err(Rejection::new(
                "already_resolved",
                "this conflict has its decision",
            ));
        }
        let value = match decision {
            Decision::Keep => {
                return Ok(Written {
                    value: None,
                    edit: None,
                });
            }
            Decision::TakeLost => parse(self.conflict.lost.as_deref()),
            Decision::Value(value) => value.clone(),
        };
        let gone = || {
            let name = &self.conflict.table_name;
            let detail = format!("{name} is not a synced table any more");
            Rejection::new("unknown_table", detail)
        };
        let table = self.table.clone().ok_or_else(gone)?;
        let mut policies = table.spec.clone();
        for column in &mut policies.columns {
            column.policy = Policy::ClientWins;
            if ["column", "blind"].contains(&self.conflict.kind.as_str()) {
                // It was in no group when it was in conflict, and is decided as it was.
                column.group = None;
            }
        }
        let kept = parse(self.conflict.kept.as_deref());
        let spec = &table.spec;
        let edit = if self.conflict.kind == "constraint" {
            self.of_refused(spec, &value, &kept, version, now)?
        } else {
            let key = self.key.clone().ok_or_else(gone)?;
            match &self.conflict.column_name {
                Some(_) if self.conflict.kind == "group" => {
                    of_group(spec, key, &value, &kept, now)?
                }
                Some(column) => {
                    let base = Map::from_iter([(column.clone(), kept)]);
                    let sent = Map::from_iter([(column.clone(), value.clone())]);
                    let columns = columns(spec, Some(&key), &sent, &base, now)?;
                    update(key, columns, now)
                }
                None => self.of_row(spec, key, &value, &kept, version, now)?,
            }
        };
        policies.edit_after_delete = match edit.op {
            Op::Delete | Op::HardDelete => EditAfterDelete::KeepDeleted,
            Op::Insert | Op::Update | Op::Replace => EditAfterDelete::Revive,
        };
        Ok(Written {
            value: Some(value.to_string()),
            edit: Some((table, policies, edit)),
        })
    }

    /// The row's version that the entry shows. What came later is replaced unseen, and gets an entry of its own.
    fn in_view(&self) -> i64 {
        self.conflict.version
    }

    /// The edit that the database refused, made again: its columns by name, of the row as it is now or of one
    /// to be made. A delete was sent without columns, a hard delete too.
    fn of_refused(
        &self,
        table: &Table,
        value: &Json,
        kept: &Json,
        version: Option<i64>,
        now: Time,
    ) -> Result<Edit, Rejection> {
        let lost = parse(self.conflict.lost.as_deref());
        let removes = lost == HARD_DELETE && *value == lost;
        if removes && !table.hard_delete {
            let detail = format!("the configuration of {} allows no hard_delete", table.name);
            return Err(Rejection::new("hard_delete_not_allowed", detail));
        }
        let is_delete = removes || (value.is_null() && self.conflict.lost.is_none());
        let sent = match value {
            Json::Object(sent) => sent.clone(),
            _ if is_delete => Map::new(),
            _ => {
                let detail = "the value is an object of columns";
                return Err(Rejection::new("invalid_value", detail).field("value"));
            }
        };
        let empty = Map::new();
        let kept = kept.as_object().unwrap_or(&empty);
        let sent = with_groups(table, sent, kept);
        Ok(Edit {
            unseen: Vec::new(),
            columns: columns(table, self.key.as_ref(), &sent, kept, now)?,
            key: self.key.clone(),
            op: match (is_delete, version) {
                (true, _) if removes => Op::HardDelete,
                (true, _) => Op::Delete,
                (false, Some(_)) => Op::Update,
                (false, None) => Op::Insert,
            },
            base_version: is_delete.then(|| self.in_view()),
            at: now,
        })
    }

    /// A decision about a row as a whole, which has this version if it is in its table: `{"deleted": true}`, or a row that is
    /// there with these columns.
    fn of_row(
        &self,
        table: &Table,
        key: RowKey,
        value: &Json,
        kept: &Json,
        version: Option<i64>,
        now: Time,
    ) -> Result<Edit, Rejection> {
        let deleted = value.get("deleted").and_then(Json::as_bool);
        let deleted = deleted.ok_or_else(|| {
            Rejection::new(
                "invalid_value",
                "a row's value is {\"deleted\": …, \"columns\": {…}}",
            )
            .field("value")
        })?;
        if deleted {
            return Ok(Edit {
                unseen: Vec::new(),
                key: Some(key),
                op: Op::Delete,
                base_version: Some(self.in_view()),
                at: now,
                columns: Vec::new(),
            });
        }
        let empty = Map::new();
        let member = |side: &Json| side.get("columns").and_then(Json::as_object).cloned();
        let sent = member(value).unwrap_or_default();
        let base = member(kept).unwrap_or(empty);
        let mut columns = columns(table, Some(&key), &sent, &base, now)?;
        if self.conflict.kind == "deleted" && version.is_some() {
            // The columns were merged beneath the tombstone: bringing the row back brings them back too,
            // and whatever was written there since. Of a row that is gone for good there are only these.
            columns.clear();
        }
        Ok(Edit {
            unseen: Vec::new(),
            key: Some(key),
            op: Op::Insert,
            base_version: Some(self.in_view()),
            at: now,
            columns,
        })
    }
}

/// `sent` with what it leaves out of a group, as the administrator saw it: the group is written as one.
fn with_groups(
    table: &Table,
    mut sent: Map<String, Json>,
    kept: &Map<String, Json>,
) -> Map<String, Json> {
    let named = sent.keys().filter_map(|name| table.position(name));
    let group = named.flat_map(|at| table.group_of(at));
    let members: Vec<usize> = group.collect();
    for column in members.into_iter().filter_map(|at| table.columns.get(at)) {
        if let Some(value) = kept.get(&column.name) {
            sent.entry(column.name.clone())
                .or_insert_with(|| value.clone());
        }
    }
    sent
}

/// A decision about a group: its columns by name. What it leaves out is as the administrator saw it, so that
/// the group is written as one.
fn of_group(
    table: &Table,
    key: RowKey,
    value: &Json,
    kept: &Json,
    now: Time,
) -> Result<Edit, Rejection> {
    let invalid = |detail: String| Rejection::new("invalid_value", detail);
    let (Json::Object(named), Json::Object(kept)) = (value, kept) else {
        let detail = "a group's value is an object of its columns".to_owned();
        return Err(invalid(detail).field("value"));
    };
    if let Some(other) = named.keys().find(|name| !kept.contains_key(*name)) {
        return Err(invalid(format!("{other} is not in the group")).field(other));
    }
    let mut sent = kept.clone();
    sent.extend(named.clone());
    let columns = columns(table, Some(&key), &sent, kept, now)?;
    Ok(update(key, columns, now))
}

fn update(key: RowKey, columns: Vec<ColumnEdit>, now: Time) -> Edit {
    Edit {
        unseen: Vec::new(),
        key: Some(key),
        op: Op::Update,
        base_version: None,
        at: now,
        columns,
    }
}

fn columns(
    table: &Table,
    key: Option<&RowKey>,
    sent: &Map<String, Json>,
    base: &Map<String, Json>,
    at: Time,
) -> Result<Vec<ColumnEdit>, Rejection> {
    let mut columns = Vec::with_capacity(sent.len());
    for (name, value) in sent {
        let Some(column) = wire::writable(table, key, name, value)? else {
            continue;
        };
        let value = wire::value(table, column, value)?;
        // An edit with the kept value in view; if the row has moved on, what is replaced is recorded.
        let base = base
            .get(name)
            .and_then(|base| wire::value(table, column, base).ok());
        columns.push(ColumnEdit {
            column,
            value,
            base,
            base_version: Some(0),
            at,
        });
    }
    Ok(columns)
}

fn parse(stored: Option<&str>) -> Json {
    stored
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Json::Null)
}
