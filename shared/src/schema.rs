//! What a synced table is, as the merge and the wire need to know it.

use bigdecimal::BigDecimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::types::ValueError;
use crate::{ColumnType, Value};

/// How a true conflict about one column is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The later stamp wins; the loser goes to the ledger.
    #[default]
    LastWriterWins,
    /// What the server has stays; the edit goes to the ledger.
    ServerWins,
    /// The edit wins; what the server had goes to the ledger.
    ClientWins,
    /// The greater value; nulls lose.
    Max,
    /// The lesser value; nulls lose.
    Min,
    /// What the server has stays until an administrator decides.
    Manual,
    /// What the server has and what the edit added to its Original.
    Counter,
    /// A JSON array as a set: what the server has, with what the edit added and without what it removed.
    Set,
    /// Text, word by word: both sides' changes of the Original; where they overlap, the later writer wins.
    Text,
    /// A JSON document, member by member: both sides' changes of the Original; of a member that both changed
    /// the later writer's.
    Json,
}

impl Policy {
    /// The policy's name in the configuration and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::LastWriterWins => "last_writer_wins",
            Policy::ServerWins => "server_wins",
            Policy::ClientWins => "client_wins",
            Policy::Max => "max",
            Policy::Min => "min",
            Policy::Manual => "manual",
            Policy::Counter => "counter",
            Policy::Set => "set",
            Policy::Text => "text",
            Policy::Json => "json",
        }
    }

    /// Whether it makes one value of both sides' in a conflict, which neither of them had.
    #[must_use]
    pub fn mixes(self) -> bool {
        match self {
            Policy::Counter | Policy::Set | Policy::Text | Policy::Json => true,
            Policy::LastWriterWins
            | Policy::ServerWins
            | Policy::ClientWins
            | Policy::Max
            | Policy::Min
            | Policy::Manual => false,
        }
    }
}

/// How a conflict about a whole row is decided, where whole rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowPolicy {
    /// The row written last wins; the other goes to the ledger.
    #[default]
    LastWriterWins,
    /// The server's row stays; the one sent goes to the ledger.
    ServerWins,
    /// The row sent wins; the server's goes to the ledger.
    ClientWins,
}

impl RowPolicy {
    /// The policy's name in the configuration and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RowPolicy::LastWriterWins => "last_writer_wins",
            RowPolicy::ServerWins => "server_wins",
            RowPolicy::ClientWins => "client_wins",
        }
    }
}

/// What an edit does to a row that someone else deleted meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditAfterDelete {
    /// The row stays deleted; the edit is merged beneath the tombstone.
    #[default]
    KeepDeleted,
    /// An edit with a later stamp than the delete brings the row back.
    Revive,
}

/// What becomes of a value that a bare write replaces without having seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlindWrites {
    /// It is overwritten, as SQL does.
    #[default]
    Trust,
    /// It goes to the ledger when another client wrote it.
    Record,
}

/// A synced table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name in the database and on the wire.
    pub name: String,
    /// Its columns in the database's order, the key's among them, colsync's own not.
    pub columns: Vec<Column>,
    /// Positions of the key's columns in `columns`, in the key's order. Never empty.
    pub key: Vec<usize>,
    /// For whole-row writes.
    pub row_policy: RowPolicy,
    /// For edits of deleted rows.
    pub edit_after_delete: EditAfterDelete,
    /// For bare writes.
    pub blind_writes: BlindWrites,
    /// Whether a client may have rows removed for good.
    pub hard_delete: bool,
}

/// A synced column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the database and on the wire.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Whether the database fills it in when an insert leaves it out.
    pub has_default: bool,
    /// For conflicts.
    pub policy: Policy,
    /// The group of columns that it is stamped and decided with; all of them have one policy.
    pub group: Option<String>,
    /// Digits after the point that the database keeps, where the type does not say: of a time fewer than six, of a
    /// decimal fewer than none. What has more it would round.
    pub digits: Option<i32>,
}

impl Column {
    /// As [`ColumnType::decode`].
    ///
    /// # Errors
    /// As there; also if the column would round the value.
    pub fn decode(&self, json: &Json) -> Result<Value, ValueError> {
        let value = self.ty.decode(json)?;
        match self.digits {
            Some(digits) if !keeps(&self.ty, &value, digits) => {
                Err(ValueError::new(if digits < 0 {
                    format!("finer than the 10^{} that the column keeps", -digits)
                } else {
                    format!("more than {digits} digits after the point")
                }))
            }
            _ => Ok(value),
        }
    }
}

/// Whether `digits` after the point are all that the value, or each of an array's, has.
fn keeps(ty: &ColumnType, value: &Value, digits: i32) -> bool {
    match (ty, value) {
        (ColumnType::Array(of), Value::Json(Json::Array(items))) => items.iter().all(|item| {
            if item.is_array() {
                return keeps(ty, &Value::Json(item.clone()), digits);
            }
            of.decode(item).is_ok_and(|value| keeps(of, &value, digits))
        }),
        (_, Value::Decimal(number)) => {
            let number = number.normalized();
            number == BigDecimal::default() || number.fractional_digit_count() <= i64::from(digits)
        }
        (_, Value::Text(time)) => {
            let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
            let fraction = fraction.trim_end_matches('Z').trim_end_matches('0');
            usize::try_from(digits).is_ok_and(|digits| fraction.len() <= digits)
        }
        _ => true,
    }
}

impl Table {
    /// The key's columns, in the key's order.
    #[must_use]
    pub fn key_columns(&self) -> Vec<&Column> {
        self.key
            .iter()
            .filter_map(|&at| self.columns.get(at))
            .collect()
    }

    /// Where the column called `name` stands.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The groups and the names of their columns, in the order of the columns.
    #[must_use]
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for column in &self.columns {
            let Some(group) = column.group.as_deref() else {
                continue;
            };
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, members)) => members.push(&column.name),
                None => groups.push((group, vec![&column.name])),
            }
        }
        groups
    }

    /// Positions of the columns that are in one group with the one at `position`, itself among them; none
    /// if it is in no group.
    #[must_use]
    pub fn group_of(&self, position: usize) -> Vec<usize> {
        let group = self.columns.get(position).and_then(|c| c.group.as_ref());
        let Some(group) = group else {
            return Vec::new();
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| column.group.as_ref() == Some(group))
            .map(|(at, _)| at)
            .collect()
    }

    /// Whether the column at `position` is part of the key.
    #[must_use]
    pub fn is_key(&self, position: usize) -> bool {
        self.key.contains(&position)
    }
}

/// Prefix of colsync's own columns, which no client may name.
pub const RESERVED_PREFIX: &str = "sync_";
