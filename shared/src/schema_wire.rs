//! The answer to `GET /v1/schema`: what the server says of its tables, for both sides.
//!
//! Reading is lenient where writing is exact: a later server may know members, types and policies that this
//! client has never heard of, and its tables must still sync. Must not know a database.

use serde::{Deserialize, Serialize};

use crate::types::TypeWire;

/// The synced tables, parents first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaWire {
    /// Changes with anything that is said here.
    pub hash: String,
    /// Parents before children, otherwise as configured.
    pub tables: Vec<TableWire>,
}

/// A synced table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableWire {
    /// Its name.
    pub name: String,
    /// The names of the key's columns, in the key's order. Never empty.
    pub key: Vec<String>,
    /// The synced columns in the database's order, the key's among them.
    pub columns: Vec<ColumnWire>,
    /// The tables that its foreign keys point to, synced or not, itself perhaps among them.
    #[serde(default)]
    pub parents: Vec<String>,
    /// Its foreign keys, as far as both ends are synced.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKeyWire>,
    /// How conflicts about whole rows are decided; a name of [`crate::RowPolicy`], or a later one.
    pub row_policy: String,
    /// What an edit does to a deleted row; a name of [`crate::schema::EditAfterDelete`], or a later one.
    pub edit_after_delete: String,
    /// Whether a client may have rows removed for good, by the transaction log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard_delete: bool,
}

/// A synced column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnWire {
    /// Its name.
    pub name: String,
    /// Its type; [`TypeWire::to_type`] says whether it is known here.
    #[serde(rename = "type")]
    pub ty: TypeWire,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Whether the server fills it in when an insert leaves it out.
    pub has_default: bool,
    /// How conflicts are decided; a name of [`crate::Policy`], or a later one.
    pub policy: String,
    /// The group of columns that it is stamped and decided with, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A foreign key. What the server does on a delete is not said: a client never cascades by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForeignKeyWire {
    /// The columns that point.
    pub columns: Vec<String>,
    /// The table they point to.
    pub table: String,
    /// The columns they point to, as many as `columns` and in their order.
    pub references: Vec<String>,
}

impl SchemaWire {
    /// The table called `name`.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableWire> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl TableWire {
    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnWire> {
        self.columns.iter().find(|column| column.name == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::ColumnType;

    fn items() -> Json {
        json!({
            "name": "items",
            "key": ["id"],
            "columns": [
                { "name": "id", "type": { "name": "uuid" }, "nullable": false, "has_default": false,
                  "policy": "last_writer_wins" },
                { "name": "tags", "type": { "name": "array", "of": { "name": "text", "max_length": 9 } },
                  "nullable": true, "has_default": true, "policy": "manual", "group": "labels" },
            ],
            "parents": ["lists", "users"],
            "foreign_keys": [{ "columns": ["list_id"], "table": "lists", "references": ["id"] }],
            "row_policy": "server_wins",
            "edit_after_delete": "revive",
        })
    }

    #[test]
    fn what_is_read_is_written_again_as_it_was() {
        let text = json!({ "hash": "cd90fe12698a547c", "tables": [items()] });
        let schema: SchemaWire = serde_json::from_value(text.clone()).unwrap();
        let ty = ColumnType::Array(Box::new(ColumnType::Text {
            max_length: Some(9),
        }));
        let tags = schema.table("items").and_then(|table| table.column("tags"));
        assert_eq!(tags.and_then(|column| column.ty.to_type()), Some(ty));
        assert_eq!(serde_json::to_value(&schema).unwrap(), text);
    }

    #[test]
    fn what_a_later_server_says_can_be_read_and_what_an_earlier_one_leaves_out() {
        let mut later = items();
        later["partitions"] = json!(3);
        later["row_policy"] = json!("by_vote");
        later["columns"][1]["policy"] = json!("by_vote");
        later["columns"][1]["type"] = json!({ "name": "polygon", "corners": 4 });
        later["columns"][1]["unit"] = json!("m");
        later.as_object_mut().unwrap().remove("foreign_keys");
        let table: TableWire = serde_json::from_value(later).unwrap();
        assert_eq!(
            (table.row_policy.as_str(), &table.foreign_keys),
            ("by_vote", &vec![])
        );
        let tags = table.column("tags").unwrap();
        assert_eq!((tags.policy.as_str(), tags.ty.to_type()), ("by_vote", None));
    }
}
