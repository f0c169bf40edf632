//! `POST /v1/sync/push`, `/v1/sync/log`, `/v1/sync/rows`: many edits at once, recognised when they come again.
//!
//! The three differ in how one edit is written and in nothing else: each is merged, answered and repeated alike.

use std::borrow::Cow;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::receipt::Rejection;
use colsync_shared::{ClientId, Op, Receipt, RowKey, step, wire};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::App;
use super::exchange::{caller, framed, hash_of, submit};
use super::headers::{self, Caller};
use super::problem::Problem;
use super::write::{document, made_key, media_type};
use crate::store::model::{Schema, TableInfo};
use crate::sync::submission::{Identity, Item};

/// How the edits of a submission are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    /// Columns with value, base and time each.
    Differential,
    /// Actions in the order in which they were done, each with plain values of the columns it changed.
    Log,
    /// Whole rows.
    Rows,
}

impl Method {
    /// The member that lists the edits.
    fn member(self) -> &'static str {
        match self {
            Method::Differential => "edits",
            Method::Log => "entries",
            Method::Rows => "rows",
        }
    }

    /// What one item of the list wants, in the form of an edit of [`Method::Differential`].
    fn edit(self, item: &Map<String, Json>) -> Result<(Op, Cow<'_, Map<String, Json>>), Rejection> {
        match self {
            Method::Differential => Ok((wire::op(item)?, Cow::Borrowed(item))),
            Method::Log => Ok((wire::action(item)?, Cow::Owned(wire::plain(item)?))),
            Method::Rows => {
                let deleted = match item.get("deleted") {
                    None => false,
                    Some(Json::Bool(deleted)) => *deleted,
                    Some(_) => return Err(malformed("deleted", "deleted is true or false")),
                };
                let op = if deleted { Op::Delete } else { Op::Replace };
                Ok((op, Cow::Owned(wire::plain(item)?)))
            }
        }
    }
}

/// `POST /v1/sync/push`
pub(super) async fn push(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(app, request, payload, Method::Differential).await
}

/// `POST /v1/sync/log`
pub(super) async fn log(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(app, request, payload, Method::Log).await
}

/// `POST /v1/sync/rows`
pub(super) async fn rows(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    take(app, request, payload, Method::Rows).await
}

async fn take(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
    method: Method,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    if caller.client == ClientId::ANONYMOUS {
        return Err(
            Problem::bad_request("invalid_header", "a push needs a Client-Id").field("Client-Id"),
        );
    }
    let anchors = headers::client_anchors(&request)?;
    media_type(&request, &["application/json"])?;
    let (_bytes, json) = document(&app, &request, payload).await?;
    let schema = app.store.schema();
    let most = app.config.limits.push_edits;
    let (number, atomic, items) = items(&schema, &json, method, &caller, most)?;
    let hash = hash_of(&json);
    step::reach("push.read");
    let accepted = submit(
        &app,
        &caller,
        anchors,
        Identity::Push { number, hash },
        atomic,
        items,
    )
    .await?;
    step::reach("push.sending");
    Ok(HttpResponse::Ok()
        .insert_header(("Server-Time", caller.arrived.to_string()))
        .json(Pushed {
            push: number,
            receipts: &accepted.receipts,
            schema: &schema.hash,
        }))
}

/// The answer of a push.
#[derive(Serialize)]
struct Pushed<'a> {
    push: i64,
    receipts: &'a [Receipt],
    schema: &'a str,
}

/// What a push's document asks for: its number, whether all or nothing, and its edits.
pub(super) fn items(
    schema: &Schema,
    json: &Json,
    method: Method,
    caller: &Caller,
    most: usize,
) -> Result<(i64, bool, Vec<Item>), Problem> {
    let (number, atomic, edits) = envelope(json, method, most)?;
    let edits = edits.iter().map(|edit| item(schema, edit, method, caller));
    Ok((number, atomic, edits.collect()))
}

/// The members of a push; anything else is no push at all.
fn envelope(json: &Json, method: Method, most: usize) -> Result<(i64, bool, &Vec<Json>), Problem> {
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
    let member = method.member();
    let edits = json.get(member).and_then(Json::as_array);
    let edits = edits.ok_or_else(|| malformed(member, &format!("{member} must be an array")))?;
    if edits.len() > most {
        return Err(Problem::payload_too_large(
            "too_many_edits",
            format!("more than {most} {member}"),
        )
        .field(member));
    }
    Ok((number, atomic, edits))
}

fn item(schema: &Schema, edit: &Json, method: Method, caller: &Caller) -> Item {
    let text = |member: &str| edit.get(member).and_then(Json::as_str).map(str::to_owned);
    decode(schema, edit, method, caller).unwrap_or_else(|rejection| {
        let table = text("table").unwrap_or_default();
        Item::Rejected(Receipt::rejected(&table, text("id"), rejection))
    })
}

fn malformed(field: &str, detail: &str) -> Rejection {
    Rejection::new("malformed_edit", detail).field(field)
}

/// The key of a row that an edit makes without naming it.
fn unnamed(
    table: &TableInfo,
    op: Op,
    body: &Map<String, Json>,
) -> Result<Option<RowKey>, Rejection> {
    let columns = body.get("columns").and_then(Json::as_object);
    let says_it_elsewhere = columns.is_some_and(|columns| {
        let mut keys = table.spec.key_columns().into_iter();
        keys.any(|key| columns.contains_key(&key.name))
    });
    match (op, made_key(table)) {
        (Op::Insert | Op::Replace, Some(made)) if !says_it_elsewhere => Ok(made),
        _ => Err(malformed("id", "only a new row's id may be left out")),
    }
}

fn decode(
    schema: &Schema,
    edit: &Json,
    method: Method,
    caller: &Caller,
) -> Result<Item, Rejection> {
    let edit: &Map<String, Json> = edit
        .as_object()
        .ok_or_else(|| malformed(method.member(), "an edit is an object"))?;
    let name = edit.get("table").and_then(Json::as_str);
    let name = name.ok_or_else(|| malformed("table", "an edit names its table"))?;
    let table = schema.table(name);
    let table =
        table.ok_or_else(|| Rejection::new("unknown_table", "no such table").field("table"))?;
    let named = match edit.get("id") {
        Some(Json::String(id)) => Some(id.clone()),
        Some(Json::Number(id)) => Some(id.to_string()),
        None if made_key(table).is_some() => None,
        _ => return Err(malformed("id", "an edit names its row's id")),
    };
    let named = named
        .map(|id| RowKey::from_id(&table.spec, &id))
        .transpose();
    let named = named
        .map_err(|refused| Rejection::new("invalid_value", format!("id: {refused}")).field("id"))?;
    let (op, body) = method.edit(edit)?;
    let key = match named {
        Some(key) => Some(key),
        None => unnamed(table, op, &body)?,
    };
    if op == Op::HardDelete && !table.spec.hard_delete {
        let detail = format!("the configuration of {name} allows no hard_delete");
        return Err(Rejection::new("hard_delete_not_allowed", detail).field("action"));
    }
    let edit = framed(caller, |frame| {
        wire::edit(&table.spec, key, op, &body, frame)
    })?;
    Ok(Item::Edit {
        table: table.clone(),
        edit,
    })
}
