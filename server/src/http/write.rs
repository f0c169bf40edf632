//! Writes of single rows: POST, PATCH in three media types, PUT and DELETE.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::key::KeyPart;
use colsync_shared::receipt::Rejection;
use colsync_shared::{ColumnEdit, ColumnType, Edit, Op, Receipt, RowKey, wire};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value as Json};

use super::exchange::{caller, framed, identity, key, rejected, submit_one, table, written_at};
use super::headers::Caller;
use super::problem::Problem;
use super::{App, body};
use crate::config::Limits;
use crate::edges;
use crate::store::model::TableInfo;
use crate::sync::submission::{Bounds, Item, Patch};

/// What a path's segment need not encode (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const EDIT: &str = "application/vnd.colsync.edit+json";
pub(super) const JSON: &str = "application/json";

/// `POST /v1/tables/{t}/rows`
pub(super) async fn post(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let table = table(&app, &path.into_inner())?;
    media_type(&request, &[JSON])?;
    let (bytes, json) = document(&app, &request, payload).await?;
    let mut members = object(json)?;
    let keys = table.spec.key_columns();
    members.retain(|name, sent| !sent.is_null() || keys.iter().all(|column| column.name != *name));
    let key = named_key(&table, &members)?;
    let edit = bare_edit(&table, key, Op::Insert, &members, &caller, None)?;
    let item = Item::Edit {
        table: table.clone(),
        edit,
    };
    written(&app, &request, &caller, &table, &bytes, item).await
}

/// `PATCH /v1/tables/{t}/rows/{id}`
pub(super) async fn patch(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let (name, id) = path.into_inner();
    let table = table(&app, &name)?;
    let key = key(&table, &id)?;
    let kind = media_type(&request, &[MERGE_PATCH, JSON, JSON_PATCH, EDIT])?;
    let (bytes, json) = document(&app, &request, payload).await?;
    let item = patch_item(&table, key, kind, json, &caller, &app.config.limits)?;
    written(&app, &request, &caller, &table, &bytes, item).await
}

/// The item that a PATCH's document of media type `kind` is.
pub(super) fn patch_item(
    table: &Arc<TableInfo>,
    key: RowKey,
    kind: &str,
    json: Json,
    caller: &Caller,
    limits: &Limits,
) -> Result<Item, Problem> {
    if kind == JSON_PATCH {
        let bounds = Bounds {
            depth: limits.json_depth,
            bytes: limits.body_bytes,
        };
        return Ok(Item::Patch {
            table: table.clone(),
            key,
            patch: Patch::Operations(operations(json, limits.patch_operations)?, bounds),
            base_version: caller.base_version,
            at: written_at(caller),
        });
    }
    let members = object(json)?;
    let edit = if kind == EDIT {
        let edit = framed(caller, |frame| {
            wire::edit(&table.spec, Some(key), Op::Update, &members, frame)
        });
        let mut edit = edit.map_err(|refused| rejected(&refused))?;
        edit.base_version = edit.base_version.or(caller.base_version);
        edit
    } else if reaches_into_a_document(table, &members) {
        return Ok(Item::Patch {
            table: table.clone(),
            key,
            patch: Patch::Merge(members),
            base_version: caller.base_version,
            at: written_at(caller),
        });
    } else {
        let version = caller.base_version;
        bare_edit(table, Some(key), Op::Update, &members, caller, version)?
    };
    Ok(Item::Edit {
        table: table.clone(),
        edit,
    })
}

/// Whether what a merge patch makes of the row depends on a document in it.
fn reaches_into_a_document(table: &TableInfo, members: &Map<String, Json>) -> bool {
    let columns = &table.spec.columns;
    members.iter().any(|(name, member)| {
        let column = table.spec.position(name).and_then(|at| columns.get(at));
        member.is_object() && column.is_some_and(|column| column.ty == ColumnType::Json)
    })
}

/// `PUT /v1/tables/{t}/rows/{id}`: the whole row; columns left out are NULL.
pub(super) async fn put(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let (name, id) = path.into_inner();
    let table = table(&app, &name)?;
    let key = key(&table, &id)?;
    media_type(&request, &[JSON])?;
    let (bytes, json) = document(&app, &request, payload).await?;
    let mut members = object(json)?;
    for (at, column) in table.spec.columns.iter().enumerate() {
        if !table.spec.is_key(at) {
            members.entry(column.name.clone()).or_insert(Json::Null);
        }
    }
    let edit = bare_edit(
        &table,
        Some(key),
        Op::Replace,
        &members,
        &caller,
        caller.base_version,
    )?;
    let item = Item::Edit {
        table: table.clone(),
        edit,
    };
    written(&app, &request, &caller, &table, &bytes, item).await
}

/// `DELETE /v1/tables/{t}/rows/{id}`
pub(super) async fn delete(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let (name, id) = path.into_inner();
    let table = table(&app, &name)?;
    let edit = Edit {
        unseen: Vec::new(),
        key: Some(key(&table, &id)?),
        op: Op::Delete,
        base_version: caller.base_version,
        at: written_at(&caller),
        columns: Vec::new(),
    };
    let item = Item::Edit {
        table: table.clone(),
        edit,
    };
    written(&app, &request, &caller, &table, b"", item).await
}

/// The body as bytes and as JSON.
pub(super) async fn document(
    app: &Data<App>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(Vec<u8>, Json), Problem> {
    let bytes = body::read(payload, request.headers(), &app.config.limits).await?;
    let json = body::json(&bytes, app.config.limits.json_depth)?;
    Ok((bytes, json))
}

pub(super) fn object(json: Json) -> Result<Map<String, Json>, Problem> {
    match json {
        Json::Object(members) => Ok(members),
        _ => Err(Problem::bad_request(
            "malformed_edit",
            "the body must be a JSON object",
        )),
    }
}

/// Which of `known` the request's body is. It must say so: a browser sends a body without a media type
/// for any page that asks it to.
pub(super) fn media_type(
    request: &HttpRequest,
    known: &[&'static str],
) -> Result<&'static str, Problem> {
    let sent = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let sent = sent.unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    let found = known
        .iter()
        .find(|kind| kind.eq_ignore_ascii_case(essence))
        .copied();
    found.ok_or_else(|| {
        Problem::unsupported_media_type(
            "unsupported_media_type",
            format!("send one of {}", known.join(", ")),
        )
        .field("Content-Type")
    })
}

fn operations(json: Json, most: usize) -> Result<json_patch::Patch, Problem> {
    let Json::Array(operations) = &json else {
        return Err(Problem::bad_request(
            "malformed_patch",
            "a JSON Patch is an array of operations",
        ));
    };
    if operations.len() > most {
        let detail = format!("more than {most} operations");
        return Err(Problem::payload_too_large("too_many_operations", detail));
    }
    serde_json::from_value(json).map_err(|refused| {
        Problem::bad_request("malformed_patch", format!("not a JSON Patch: {refused}"))
    })
}

/// The key in a new row's members, or one that is made.
fn named_key(
    table: &Arc<TableInfo>,
    members: &Map<String, Json>,
) -> Result<Option<RowKey>, Problem> {
    let columns = table.spec.key_columns();
    let mut parts = Vec::with_capacity(columns.len());
    for column in &columns {
        match members.get(&column.name) {
            Some(sent) if !sent.is_null() => {
                let value = column.ty.decode(sent).map_err(|refused| {
                    Problem::unprocessable("invalid_value", format!("{}: {refused}", column.name))
                        .field(&column.name)
                })?;
                parts.extend(KeyPart::from_value(&value));
            }
            _ => match made_key(table) {
                Some(made) => return Ok(made),
                None => {
                    let detail = format!("a new row needs its key column {}", column.name);
                    return Err(Problem::unprocessable("invalid_value", detail).field(&column.name));
                }
            },
        }
    }
    Ok(Some(RowKey(parts)))
}

/// The key of a new row that names none: a UUID made here, or the inner `None`, one that the database makes.
/// The outer `None` if it has to be named.
#[expect(
    clippy::option_option,
    reason = "an edit's own key is an Option already"
)]
pub(super) fn made_key(table: &TableInfo) -> Option<Option<RowKey>> {
    match table.spec.key_columns().as_slice() {
        [only] if only.ty == ColumnType::Uuid => {
            let made = KeyPart::Text(edges::uuid7().to_string());
            Some(Some(RowKey(vec![made])))
        }
        [only] if only.has_default => Some(None),
        _ => None,
    }
}

/// An edit of plain members, as MERGE PATCH, POST and PUT send them.
fn bare_edit(
    table: &TableInfo,
    key: Option<RowKey>,
    op: Op,
    members: &Map<String, Json>,
    caller: &Caller,
    base_version: Option<i64>,
) -> Result<Edit, Problem> {
    let at = written_at(caller);
    let decode = || -> Result<Vec<ColumnEdit>, Rejection> {
        let mut columns = Vec::with_capacity(members.len());
        for (name, sent) in members {
            if let Some(column) = wire::writable(&table.spec, key.as_ref(), name, sent)? {
                let value = wire::value(&table.spec, column, sent)?;
                columns.push(ColumnEdit {
                    column,
                    value,
                    base: None,
                    base_version: None,
                    at,
                });
            }
        }
        Ok(columns)
    };
    let columns = decode().map_err(|refused| rejected(&refused))?;
    Ok(Edit {
        unseen: Vec::new(),
        key,
        op,
        base_version,
        at,
        columns,
    })
}

/// Commits `item`, the edit that `body` asks for, and answers with its receipt.
async fn written(
    app: &Data<App>,
    request: &HttpRequest,
    caller: &Caller,
    table: &TableInfo,
    body: &[u8],
    item: Item,
) -> Result<HttpResponse, Problem> {
    let receipt = submit_one(app, caller, identity(caller, request, body), item).await?;
    Ok(answer(table, &receipt, caller))
}

/// The receipt, with the row's version as ETag.
fn answer(table: &TableInfo, receipt: &Receipt, caller: &Caller) -> HttpResponse {
    let mut response = if receipt.created {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    if let Some(version) = receipt.version {
        response.insert_header((ETAG, format!("\"{version}\"")));
    }
    if let (true, Some(id)) = (receipt.created, &receipt.id) {
        let encode = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
        let name = encode(&table.spec.name);
        response.insert_header((LOCATION, format!("/v1/tables/{name}/rows/{}", encode(id))));
    }
    response.insert_header(("Server-Time", caller.arrived.to_string()));
    response.json(receipt)
}
