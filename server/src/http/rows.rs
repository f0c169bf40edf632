//! Reads of rows by any REST client.

use actix_web::http::header::{ETAG, LAST_MODIFIED};
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::Time;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::App;
use super::exchange::{caller, key, read, table};
use super::headers::NoneMatch;
use super::problem::Problem;
use crate::store::model::{DELETED, StoredRow, TableInfo};
use crate::sync::patch::representation;
use crate::sync::rowstate::entry;

const DEFAULT_PAGE: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<String>,
    after: Option<String>,
    meta: Option<String>,
    deleted: Option<String>,
}

/// `GET /v1/tables/{t}/rows`
pub(super) async fn list(
    app: Data<App>,
    request: HttpRequest,
    path: Path<String>,
    page: Query<Page>,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let table = table(&app, &path.into_inner())?;
    let most = app.config.limits.page_rows;
    let limit = match page.limit.as_deref() {
        None => DEFAULT_PAGE.min(most),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| {
                let detail = format!("limit must be a number from 1 to {most}");
                Problem::bad_request("invalid_parameter", detail).field("limit")
            })?,
    };
    let after = page
        .after
        .as_deref()
        .map(|id| key(&table, id).map_err(|p| p.field("after")))
        .transpose()?;
    let (meta, deleted) = (
        flag(page.meta.as_deref(), "meta")?,
        flag(page.deleted.as_deref(), "deleted")?,
    );
    let rows = {
        let table = table.clone();
        read(&app, move |conn| {
            conn.read_page(&table, after.as_ref(), limit, deleted)
        })
        .await?
    };
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|row| row.key.to_string());
    let rows: Vec<Json> = rows.iter().map(|row| shown(&table, row, meta)).collect();
    let mut answer = json!({ "rows": rows });
    if let (Some(next), Some(members)) = (next, answer.as_object_mut()) {
        members.insert("next".to_owned(), Json::String(next));
    }
    Ok(HttpResponse::Ok()
        .insert_header(("Server-Time", caller.arrived.to_string()))
        .json(answer))
}

/// `GET /v1/tables/{t}/rows/{id}`
pub(super) async fn get(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
    page: Query<Page>,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let (name, id) = path.into_inner();
    let table = table(&app, &name)?;
    let key = key(&table, &id)?;
    let (meta, deleted) = (
        flag(page.meta.as_deref(), "meta")?,
        flag(page.deleted.as_deref(), "deleted")?,
    );
    let row = {
        let table = table.clone();
        read(&app, move |conn| conn.read_row(&table, &key)).await?
    };
    let row = row.filter(|row| deleted || row.deleted_at.is_none());
    let row = row.ok_or_else(|| Problem::not_found("row_not_found", "no such row"))?;
    if NoneMatch::from_request(&request)?.has(row.version) {
        return Ok(
            with_headers(HttpResponse::NotModified(), &row, &table, caller.arrived).finish(),
        );
    }
    Ok(
        with_headers(HttpResponse::Ok(), &row, &table, caller.arrived)
            .json(shown(&table, &row, meta)),
    )
}

fn with_headers(
    mut response: actix_web::HttpResponseBuilder,
    row: &StoredRow,
    table: &TableInfo,
    arrived: Time,
) -> actix_web::HttpResponseBuilder {
    response
        .insert_header((ETAG, format!("\"{}\"", row.version)))
        .insert_header((LAST_MODIFIED, http_date(row.server_time)))
        .insert_header(("Server-Time", arrived.to_string()));
    if let Some(at) = last_client_write(table, row) {
        response.insert_header(("Client-Last-Updated", at.to_string()));
    }
    response
}

/// A row's representation, with `_sync` beside its columns if asked for.
pub(super) fn shown(table: &TableInfo, row: &StoredRow, meta: bool) -> Json {
    let mut shown = representation(&table.spec, &row.values);
    if let (true, Some(members)) = (meta, shown.as_object_mut()) {
        members.insert("_sync".to_owned(), sync_meta(table, row));
    }
    shown
}

fn sync_meta(table: &TableInfo, row: &StoredRow) -> Json {
    let stamp = |name: &str| {
        let entry = entry(row, name);
        json!({
            "at": entry.stamp.map(|stamp| stamp.time),
            "client": entry.stamp.map(|stamp| stamp.client),
            "version": entry.version,
        })
    };
    let named = table
        .spec
        .columns
        .iter()
        .enumerate()
        .filter(|(at, _)| !table.spec.is_key(*at));
    let columns: Map<String, Json> = named
        .map(|(_, c)| (c.name.clone(), stamp(&c.name)))
        .collect();
    json!({
        "id": row.key.to_string(),
        "version": row.version,
        "deleted": row.deleted_at.is_some(),
        "deleted_stamp": row.deleted_at.map(|_| stamp(DELETED)),
        "server_last_updated": row.server_time,
        "columns": columns,
    })
}

fn last_client_write(table: &TableInfo, row: &StoredRow) -> Option<Time> {
    let stamps = table
        .spec
        .columns
        .iter()
        .filter_map(|column| entry(row, &column.name).stamp);
    stamps.map(|stamp| stamp.time).max()
}

fn http_date(at: Time) -> String {
    at.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

pub(super) fn flag(text: Option<&str>, name: &str) -> Result<bool, Problem> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::bad_request(
            "invalid_parameter",
            format!("{name} is true or false"),
        )
        .field(name)),
    }
}
