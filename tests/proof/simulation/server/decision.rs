//! What an administrator's decision comes to.

use serde_json::{Map, Value as Json, json};

use super::Server;
use crate::simulation::plan::Table;

impl Server {
    /// The edit that a decision about an entry of the ledger comes to; null where it writes nothing.
    pub(super) fn decided(&mut self, id: &str, decision: &Json) -> Json {
        let sql = "SELECT json_array(table_name, row_id, kind, column_name, version, json(kept), json(lost)) \
                   FROM colsync_conflicts WHERE id = :?";
        let entry = self.database.lines(sql, &[id]).remove(0);
        let (table, row) = (entry[0].as_str().unwrap(), entry[1].as_str().unwrap());
        let (kind, kept) = (entry[2].as_str().unwrap(), &entry[5]);
        let value = match decision["decision"].as_str().unwrap() {
            "keep" => return Json::Null,
            "take_lost" => &entry[6],
            _ => &decision["value"],
        };
        let mut edit = json!({ "table": table, "id": row });
        match kind {
            "column" | "blind" => {
                let name = entry[3].as_str().unwrap();
                edit["op"] = json!("update");
                edit["columns"] = over(&json!({ name: value }), &json!({ name: kept }));
            }
            "group" => {
                edit["op"] = json!("update");
                edit["columns"] = over(&with_group(table, value, kept), kept);
            }
            "constraint" => {
                let is_there = self.reference.row(table, row).is_some();
                edit["op"] = json!(if is_there { "update" } else { "insert" });
                edit["columns"] = over(&with_group(table, value, kept), kept);
            }
            _ if value["deleted"] == json!(true) => {
                edit["op"] = json!("delete");
                edit["base_version"] = entry[4].clone();
            }
            _ => {
                edit["op"] = json!("insert");
                edit["base_version"] = entry[4].clone();
                edit["columns"] = match kind {
                    "row" => over(&value["columns"], &kept["columns"]),
                    // They were merged beneath the tombstone, if the row is still there.
                    _ if self.reference.row(table, row).is_some() => json!({}),
                    _ => over(&value["columns"], &json!({})),
                };
            }
        }
        edit
    }
}

/// Values as columns of an edit: made with what was kept in view, and nothing else.
fn over(values: &Json, kept: &Json) -> Json {
    let values = values.as_object().into_iter().flatten();
    let columns = values.map(|(name, value)| {
        let mut column = json!({ "value": value, "base_version": 0 });
        if let Some(kept) = kept.get(name) {
            column["base"] = kept.clone();
        }
        (name.clone(), column)
    });
    Json::Object(columns.collect())
}

/// Values with what they leave out of their table's group, as that was kept.
fn with_group(table: &str, values: &Json, kept: &Json) -> Json {
    let (_, members) = Table::of_name(table).unwrap().group();
    let mut values: Map<String, Json> = values.as_object().unwrap().clone();
    if members.iter().any(|name| values.contains_key(*name)) {
        let kept = members
            .iter()
            .filter_map(|name| Some((*name, kept.get(*name)?)));
        for (name, kept) in kept {
            values.entry(name).or_insert_with(|| kept.clone());
        }
    }
    Json::Object(values)
}
