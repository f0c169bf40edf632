//! `GET /v1/schema`: the synced tables as a client needs to know them.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use super::App;
use super::exchange::caller;
use super::problem::Problem;
use crate::store::model::TableInfo;

pub(super) async fn get(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let schema = app.store.schema();
    let tables: Vec<Json> = schema.tables.iter().map(|table| describe(table)).collect();
    Ok(HttpResponse::Ok()
        .insert_header(("Server-Time", caller.arrived.to_string()))
        .json(json!({ "hash": schema.hash, "tables": tables })))
}

/// A table's description; the schema's hash is made of these.
pub(crate) fn describe(table: &TableInfo) -> Json {
    let spec = &table.spec;
    let columns: Vec<Json> = spec
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.ty.to_wire(),
                "nullable": column.nullable,
                "has_default": column.has_default,
                "policy": column.policy.name(),
            })
        })
        .collect();
    let key: Vec<&str> = spec
        .key_columns()
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    json!({
        "name": spec.name,
        "key": key,
        "columns": columns,
        "parents": table.parents,
        "row_policy": spec.row_policy.name(),
        "edit_after_delete": spec.edit_after_delete,
    })
}
