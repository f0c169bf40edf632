//! `POST /v1/sync/push`: many edits at once, recognised when they come again.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::receipt::Rejection;
use colsync_shared::{ClientId, Op, Receipt, RowKey, wire};
use serde_json::{Map, Value as Json, json};

use super::App;
use super::exchange::{caller, framed, hash, submit};
use super::headers::Caller;
use super::problem::Problem;
use super::write::{document, media_type};
use crate::store::model::Schema;
use crate::sync::submission::{Identity, Item};

pub(super) async fn push(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    if caller.client == ClientId::ANONYMOUS {
        return Err(
            Problem::bad_request("invalid_header", "a push needs a Client-Id").field("Client-Id"),
        );
    }
    media_type(&request, &["application/json"])?;
    let (_bytes, json) = document(&app, &request, payload).await?;
    let (number, atomic, edits) = envelope(&json, app.config.limits.push_edits)?;
    // Members are sorted, so the same content hashes alike however it was written.
    let hash = hash(&[json.to_string().as_bytes()]);
    let schema = app.store.schema();
    let items = edits
        .iter()
        .map(|edit| item(&schema, edit, &caller))
        .collect();
    let accepted = submit(
        &app,
        &caller,
        Identity::Push { number, hash },
        atomic,
        items,
    )
    .await?;
    Ok(HttpResponse::Ok()
        .insert_header(("Server-Time", caller.arrived.to_string()))
        .json(json!({
            "push": number,
            "receipts": accepted.receipts,
            "schema": schema.hash,
        })))
}

/// The members of a push; anything else is no push at all.
fn envelope(json: &Json, most: usize) -> Result<(i64, bool, &Vec<Json>), Problem> {
    let malformed =
        |field: &str, detail: &str| Problem::bad_request("malformed_push", detail).field(field);
    let number = json
        .get("push")
        .and_then(Json::as_i64)
        .filter(|&number| number > 0);
    let number =
        number.ok_or_else(|| malformed("push", "push must be a number, 1 for a client's first"))?;
    let atomic = match json.get("atomic") {
        None => false,
        Some(atomic) => atomic
            .as_bool()
            .ok_or_else(|| malformed("atomic", "atomic must be true or false"))?,
    };
    let edits = json.get("edits").and_then(Json::as_array);
    let edits = edits.ok_or_else(|| malformed("edits", "edits must be an array"))?;
    if edits.len() > most {
        return Err(Problem::payload_too_large(
            "too_many_edits",
            format!("more than {most} edits"),
        )
        .field("edits"));
    }
    Ok((number, atomic, edits))
}

fn item(schema: &Schema, edit: &Json, caller: &Caller) -> Item {
    let text = |member: &str| edit.get(member).and_then(Json::as_str).map(str::to_owned);
    decode(schema, edit, caller).unwrap_or_else(|rejection| {
        let table = text("table").unwrap_or_default();
        Item::Rejected(Receipt::rejected(&table, text("id"), rejection))
    })
}

fn decode(schema: &Schema, edit: &Json, caller: &Caller) -> Result<Item, Rejection> {
    let malformed =
        |field: &str, detail: &str| Rejection::new("malformed_edit", detail).field(field);
    let edit: &Map<String, Json> = edit
        .as_object()
        .ok_or_else(|| malformed("edits", "an edit is an object"))?;
    let name = edit.get("table").and_then(Json::as_str);
    let name = name.ok_or_else(|| malformed("table", "an edit names its table"))?;
    let table = schema.table(name);
    let table =
        table.ok_or_else(|| Rejection::new("unknown_table", "no such table").field("table"))?;
    let id = match edit.get("id") {
        Some(Json::String(id)) => id.clone(),
        Some(Json::Number(id)) => id.to_string(),
        _ => return Err(malformed("id", "an edit names its row's id")),
    };
    let key = RowKey::from_id(&table.spec, &id)
        .map_err(|refused| Rejection::new("invalid_value", format!("id: {refused}")).field("id"))?;
    let op: Op = wire::op(edit)?;
    let edit = framed(caller, |frame| {
        wire::edit(&table.spec, Some(key), op, edit, frame)
    })?;
    Ok(Item::Edit {
        table: table.clone(),
        edit,
    })
}
