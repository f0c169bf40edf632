//! `GET /v1/schema`: the synced tables as a client needs to know them.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::schema::EditAfterDelete;
use colsync_shared::schema_wire::{ColumnWire, SchemaWire, TableWire};
use serde_json::{Value as Json, json};

use super::App;
use super::exchange::caller;
use super::problem::Problem;
use crate::store::model::TableInfo;

pub(super) async fn get(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let schema = app.store.schema();
    let answer = SchemaWire {
        hash: schema.hash.clone(),
        tables: schema.tables.iter().map(|table| to_wire(table)).collect(),
    };
    Ok(HttpResponse::Ok()
        .insert_header(("Server-Time", caller.arrived.to_string()))
        .json(answer))
}

/// A table's description.
pub(crate) fn describe(table: &TableInfo) -> Json {
    json!(to_wire(table))
}

fn to_wire(table: &TableInfo) -> TableWire {
    let spec = &table.spec;
    let columns = spec.columns.iter().map(|column| ColumnWire {
        name: column.name.clone(),
        ty: column.ty.to_wire(),
        nullable: column.nullable,
        has_default: column.has_default,
        policy: column.policy.name().to_owned(),
        group: column.group.clone(),
    });
    let key = spec.key_columns().into_iter();
    TableWire {
        name: spec.name.clone(),
        key: key.map(|column| column.name.clone()).collect(),
        columns: columns.collect(),
        parents: table.parents.clone(),
        foreign_keys: table.foreign_keys.clone(),
        row_policy: spec.row_policy.name().to_owned(),
        edit_after_delete: match spec.edit_after_delete {
            EditAfterDelete::KeepDeleted => "keep_deleted",
            EditAfterDelete::Revive => "revive",
        }
        .to_owned(),
        hard_delete: spec.hard_delete,
    }
}
