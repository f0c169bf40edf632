//! A tracked table beside its description: which column is which field, and how values look on either side.
//!
//! A value is what the column's type makes of it, so that `1.50` and `1.5` are no change. What is not of the type
//! is kept as it is.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use colsync_shared::schema::BlindWrites;
use colsync_shared::schema_wire::{ColumnWire, SchemaWire, TableWire};
use colsync_shared::sqlite::column_type;
use colsync_shared::{Column, ColumnType, RowKey, RowPolicy, Table, Time, Value};
use serde_json::{Map, Number, Value as Json};

use super::description::{Description, TableDescription};
use super::times;
use crate::pairing::OWN;
use crate::remote::Trouble;
use crate::table::LocalTable;

/// A table of the API.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    /// For the merge: columns by their names in the file.
    pub(super) spec: Table,
    /// The field of each column.
    pub(super) fields: Vec<String>,
    /// Columns that are the file's own, by their names there.
    own: Vec<String>,
    pub(super) how: TableDescription,
}

/// A row as the API tells it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its id on the wire.
    pub(super) id: String,
    /// In the order of the columns.
    pub(super) values: Vec<Value>,
    /// Whether it is told as deleted.
    pub(super) deleted: bool,
    /// When it was changed, if the API tells.
    pub(super) at: Option<Time>,
    /// The same as the API writes it.
    pub(super) raw_at: Option<Json>,
}

/// The tables that are both described and in the file, in the order of the description. One that cannot be
/// synced is left out, and the log says why.
pub(super) fn of(description: &Description, local: &[LocalTable]) -> Vec<Mapped> {
    let tables = description.tables.iter().filter_map(|(name, how)| {
        let table = local.iter().find(|t| t.name.eq_ignore_ascii_case(name))?;
        let mapped = map(table, how);
        if mapped.is_none() {
            log::warn!(
                "{name} stays out of sync: its key is of several columns, or of no type for one"
            );
        }
        mapped
    });
    tables.collect()
}

fn map(local: &LocalTable, how: &TableDescription) -> Option<Mapped> {
    let [key] = local.key.as_slice() else {
        return None;
    };
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    let mut own = Vec::new();
    let mut key_at = None;
    for (at, column) in local.columns.iter().enumerate() {
        let is_key = at == *key;
        let skipped = how
            .skip
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&column.name));
        if skipped && !is_key {
            own.push(column.name.clone());
            continue;
        }
        let described = how.columns.get(&column.name.to_ascii_lowercase());
        let told = described.and_then(|column| column.ty.clone());
        let Some(ty) = told.or_else(|| column_type(&column.declared)) else {
            continue;
        };
        if is_key {
            key_at = Some(columns.len());
            fields.push(how.id.clone());
        } else {
            let field = described.and_then(|column| column.field.clone());
            fields.push(field.unwrap_or_else(|| column.name.clone()));
        }
        columns.push(Column {
            name: column.name.clone(),
            ty,
            nullable: true,
            has_default: false,
            policy: described.map(|column| column.policy).unwrap_or_default(),
            group: None,
            digits: None,
        });
    }
    let key_type = columns.get(key_at?).map(|column| &column.ty)?;
    if !matches!(
        key_type,
        ColumnType::Int { .. } | ColumnType::Text { .. } | ColumnType::Uuid
    ) {
        return None;
    }
    Some(Mapped {
        spec: Table {
            name: local.name.clone(),
            columns,
            key: vec![key_at?],
            row_policy: RowPolicy::default(),
            edit_after_delete: how.edit_after_delete,
            hard_delete: false,
            // There is no ledger there: what is replaced is noted here.
            blind_writes: BlindWrites::Record,
        },
        fields,
        own,
        how: how.clone(),
    })
}

/// Changes with anything that a schema says.
///
/// # Errors
/// None that is known: a schema can be written as JSON.
pub(super) fn hash(tables: &[TableWire]) -> Result<String, Trouble> {
    let schema = SchemaWire {
        hash: String::new(),
        tables: tables.to_vec(),
    };
    let text =
        serde_json::to_string(&schema).map_err(|broken| Trouble::Nonsense(broken.to_string()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

impl Mapped {
    /// The table as a colsync server would tell it, but for the file's own columns.
    pub(super) fn to_wire(&self) -> TableWire {
        let columns = self.spec.columns.iter().map(|column| ColumnWire {
            name: column.name.clone(),
            ty: column.ty.to_wire(),
            nullable: column.nullable,
            has_default: column.has_default,
            policy: column.policy.name().to_owned(),
            group: None,
        });
        let own = self.own.iter().map(|name| ColumnWire {
            name: name.clone(),
            ty: ColumnType::Json.to_wire(),
            nullable: true,
            has_default: false,
            policy: OWN.to_owned(),
            group: None,
        });
        let key = self.spec.key_columns().into_iter();
        TableWire {
            name: self.spec.name.clone(),
            key: key.map(|column| column.name.clone()).collect(),
            columns: columns.chain(own).collect(),
            parents: Vec::new(),
            foreign_keys: Vec::new(),
            row_policy: self.spec.row_policy.name().to_owned(),
            hard_delete: self.spec.hard_delete,
            edit_after_delete: match self.spec.edit_after_delete {
                colsync_shared::schema::EditAfterDelete::KeepDeleted => "keep_deleted",
                colsync_shared::schema::EditAfterDelete::Revive => "revive",
            }
            .to_owned(),
        }
    }

    /// What the columns are, for noticing that they have become others.
    pub(super) fn shape(&self) -> String {
        let columns = self.spec.columns.iter().zip(&self.fields);
        let columns = columns.map(|(column, field)| format!("{}={field}", column.name));
        columns.collect::<Vec<_>>().join(",")
    }

    /// Reads a row of the API; `None` if it has no id.
    pub(super) fn read(&self, row: &Json) -> Option<Seen> {
        let row = row.as_object()?;
        let values = self.spec.columns.iter().zip(&self.fields).enumerate();
        let values: Vec<Value> = values
            .map(|(at, (column, field))| {
                let told = row.get(field).unwrap_or(&Json::Null);
                // Many an API counts its rows and the app keeps texts.
                match told {
                    Json::Number(n) if self.spec.is_key(at) => {
                        decode(&column.ty, &Json::String(n.to_string()))
                    }
                    other => decode(&column.ty, other),
                }
            })
            .collect();
        let id = RowKey::from_values(&self.spec, &values)?.to_string();
        let raw_at = self
            .how
            .updated_at
            .as_ref()
            .and_then(|field| row.get(field));
        let deleted = self.how.deleted.as_ref().and_then(|field| row.get(field));
        Some(Seen {
            id,
            values,
            deleted: deleted.is_some_and(is_true),
            at: raw_at.and_then(times::read),
            raw_at: raw_at.cloned(),
        })
    }

    /// Whether an answer tells a row that has these values, and not some of its fields alone. Fields of NULL may be
    /// left out.
    pub(super) fn tells_all(&self, told: &Json, values: &BTreeMap<String, Json>) -> bool {
        let mut columns = self.spec.columns.iter().zip(&self.fields);
        columns.all(|(column, field)| {
            let value = values.get(&column.name);
            value.is_none_or(Json::is_null) || told.get(field).is_some()
        })
    }

    /// The value of the column at `at` as the API takes it. Numbers are JSON's, unless the API `shown` has a
    /// string there.
    pub(super) fn encode(&self, at: usize, value: &Value, shown: Option<&Json>) -> Json {
        let Some(column) = self.spec.columns.get(at) else {
            return Json::Null;
        };
        let encoded = column.ty.encode(value);
        match (value, &encoded) {
            (Value::Int(_) | Value::Decimal(_), Json::String(digits))
                if !matches!(shown, Some(Json::String(_))) =>
            {
                serde_json::from_str::<Number>(digits).map_or(encoded, Json::Number)
            }
            _ => encoded,
        }
    }

    /// The fields of the columns in `columns`, as they are sent.
    pub(super) fn fields(
        &self,
        columns: impl Iterator<Item = (usize, Value)>,
        shown: Option<&Map<String, Json>>,
    ) -> Map<String, Json> {
        let fields = columns.filter_map(|(at, value)| {
            let field = self.fields.get(at)?;
            let shown = shown.and_then(|row| row.get(field));
            Some((field.clone(), self.encode(at, &value, shown)))
        });
        fields.collect()
    }
}

/// Whether a field says that the row is deleted: by `true`, a number, or when that was.
fn is_true(told: &Json) -> bool {
    match told {
        Json::Null | Json::Bool(false) => false,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !["", "0", "false"].contains(&text.as_str()),
        Json::Bool(true) | Json::Array(_) | Json::Object(_) => true,
    }
}

/// A told value. What is not of the type stands for itself.
pub(super) fn decode(ty: &ColumnType, told: &Json) -> Value {
    ty.decode(told)
        .unwrap_or_else(|_other| Value::Json(told.clone()))
}

/// The row in an answer, which may be wrapped.
pub(super) fn unwrapped<'j>(mapped: &Mapped, body: &'j Json) -> Option<&'j Json> {
    let mut path = mapped.how.row.iter();
    path.try_fold(body, |body, member| body.get(member))
}
