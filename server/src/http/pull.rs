//! `GET /v1/sync/pull`: the feed as NDJSON, streamed chunk by chunk.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, VARY};
use actix_web::web::{self, Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::{ClientId, Time, step};
use serde::Deserialize;

use super::App;
use super::chunks;
use super::exchange::{caller, failed, read};
use super::headers::client_push;
use super::packed::Packed;
use super::problem::Problem;
use crate::asker::Heard;
use crate::edges;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::internal;
use crate::store::model::TableInfo;
use crate::sync::cursor::Cursor;
use crate::sync::feed::{Chunk, Pull, PullError, Request};
use crate::sync::idle;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    cursor: Option<String>,
    tables: Option<String>,
    limit: Option<String>,
}

pub(super) async fn pull(
    app: Data<App>,
    request: HttpRequest,
    parameters: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    let caller = caller(&app, &request).await?;
    let cursor = match parameters.cursor.as_deref() {
        None | Some("") => None,
        Some(text) => Some(Cursor::decode(text).ok_or_else(|| {
            Problem::bad_request("malformed_cursor", "not a cursor that this server gave")
                .field("cursor")
        })?),
    };
    let limit = limit(parameters.limit.as_deref())?;
    let wanted = Request {
        cursor,
        tables: tables(&app, parameters.tables.as_deref())?,
        client: caller.client,
        client_push: client_push(&request)?,
    };
    step::reach("pull.read");
    let packed = Packed::wanted(&request)
        .map_err(|broken| Problem::internal(format!("no zstd to be had: {broken}")))?;
    let mut answer = HttpResponse::Ok();
    if let Some(encoding) = packed.encoding() {
        answer.insert_header((CONTENT_ENCODING, encoding));
        answer.insert_header((VARY, "accept-encoding"));
    }
    answer
        .content_type("application/x-ndjson")
        .insert_header(("Server-Time", caller.arrived.to_string()));
    let client = caller.client;
    let wanted = match idle::anchor(&wanted) {
        None => wanted,
        Some(_) => match app.asker.ask(wanted).await {
            Ok(Heard::Perhaps(wanted)) => wanted,
            Ok(Heard::Nothing(chunk, anchor)) => {
                noted(&app, client, anchor).await;
                return Ok(answer.body(whole(chunk, packed).map_err(|e| refused_pull(&e))?));
            }
            Err(refused) => return Err(refused_pull(&refused)),
        },
    };
    let page = app.config.limits.page_rows;
    let begun = web::block({
        let app = app.clone();
        move || begin(&app, wanted, page.min(limit), packed)
    })
    .await
    .map_err(|_canceled| Problem::internal("a blocking task was cancelled"))?;
    let (pull, first, packed) = match begun.map_err(|refused| refused_pull(&refused))? {
        Begun::Whole(lines) => return Ok(answer.body(lines)),
        Begun::Part(pull, first, packed) => (pull, first, packed),
    };
    let (sender, stream) = chunks::channel();
    tokio::task::spawn_blocking(move || {
        let reader = Reader { packed, sender };
        stream_rest(&app, (*pull, first), client, page, limit, reader);
    });
    Ok(answer.streaming(stream))
}

/// What the first look gave.
enum Begun {
    /// All of the answer.
    Whole(Bytes),
    /// Its first chunk, and how it goes on.
    Part(Box<Pull>, Chunk, Packed),
}

/// Whoever takes the chunks.
struct Reader {
    packed: Packed,
    sender: chunks::Sender,
}

impl Reader {
    /// Waits until there is room for the chunk; whether more is wanted.
    fn take(&mut self, chunk: Vec<u8>, is_last: bool) -> bool {
        let packed = self.packed.pack(chunk, is_last);
        let goes_on = packed.is_ok() && !is_last;
        let packed = packed.map_err(|broken| unpacked(&broken));
        self.sender.send(packed) && goes_on
    }
}

fn begin(app: &App, wanted: Request, limit: usize, packed: Packed) -> Result<Begun, PullError> {
    let client = wanted.client;
    let mut conn = app.store.connect()?;
    let (pull, chunk) = Pull::begin(&mut conn, app.store.schema(), wanted, limit)?;
    if !chunk.complete {
        return Ok(Begun::Part(Box::new(pull), chunk, packed));
    }
    note(app, &mut conn, client, pull.leads_to());
    whole(chunk, packed).map(Begun::Whole)
}

/// The answer that is this chunk alone.
fn whole(chunk: Chunk, mut packed: Packed) -> Result<Bytes, PullError> {
    step::reach("pull.last_chunk");
    packed
        .pack(chunk.lines, true)
        .map_err(|broken| unpacked(&broken).into())
}

fn unpacked(broken: &std::io::Error) -> StoreError {
    StoreError::Other(format!("compressing a pull: {broken}"))
}

/// Notes that the client has been given everything up to `anchor`. The answer does not depend on that.
fn note(app: &App, conn: &mut Conn, client: ClientId, anchor: &str) {
    let now = edges::now();
    if is_to_be_noted(app, client, anchor, now)
        && let Err(failure) = internal::client_pulled(conn, client, anchor, now)
    {
        log::warn!("a pull of {client} was not noted: {failure}");
    }
}

/// The same, off actix's threads.
async fn noted(app: &Data<App>, client: ClientId, anchor: String) {
    let now = edges::now();
    if is_to_be_noted(app, client, &anchor, now) {
        let done = read(app, move |conn| {
            internal::client_pulled(conn, client, &anchor, now)
        });
        if done.await.is_err() {
            log::warn!("a pull of {client} was not noted");
        }
    }
}

fn is_to_be_noted(app: &App, client: ClientId, anchor: &str, now: Time) -> bool {
    client != ClientId::ANONYMOUS && app.owners.is_to_be_noted(client, anchor, now)
}

/// Sends the chunks as the reader takes them; holds no connection while it waits. A failure ends the
/// answer before its last checkpoint, and the client resumes from the one it has.
fn stream_rest(
    app: &App,
    (mut pull, first): (Pull, Chunk),
    client: ClientId,
    page: usize,
    limit: usize,
    mut reader: Reader,
) {
    let mut sent = first.rows;
    let mut chunk = first;
    loop {
        let complete = chunk.complete;
        if complete {
            step::reach("pull.last_chunk");
            match app.store.connect() {
                Ok(mut conn) => note(app, &mut conn, client, pull.leads_to()),
                Err(failure) => log::warn!("a pull of {client} was not noted: {failure}"),
            }
        }
        if !reader.take(chunk.lines, complete || sent >= limit) {
            return;
        }
        step::reach("pull.between_chunks");
        let next = app
            .store
            .connect()
            .and_then(|mut conn| pull.next(&mut conn, page.min(limit - sent)));
        match next {
            Ok(next) => {
                sent += next.rows;
                chunk = next;
            }
            Err(failure) => {
                log::warn!("a pull of {client} was cut: {failure}");
                reader.sender.send(Err(failure));
                return;
            }
        }
    }
}

fn limit(text: Option<&str>) -> Result<usize, Problem> {
    match text {
        None => Ok(usize::MAX),
        Some(text) => text.parse().ok().filter(|&limit| limit > 0).ok_or_else(|| {
            Problem::bad_request("invalid_parameter", "limit must be a number above 0")
                .field("limit")
        }),
    }
}

/// The tables asked for, in feed order; all of them if none is named.
fn tables(app: &App, names: Option<&str>) -> Result<Vec<Arc<TableInfo>>, Problem> {
    let schema = app.store.schema();
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Ok(schema.tables.clone());
    };
    let names: Vec<&str> = names.split(',').collect();
    if let Some(unknown) = names.iter().find(|name| schema.table(name).is_none()) {
        return Err(
            Problem::not_found("unknown_table", format!("no table {unknown}")).field("tables"),
        );
    }
    Ok(schema
        .tables
        .iter()
        .filter(|table| names.contains(&table.spec.name.as_str()))
        .cloned()
        .collect())
}

fn refused_pull(refused: &PullError) -> Problem {
    let detail = refused.to_string();
    match refused {
        PullError::Expired => Problem::gone("cursor_expired", detail),
        PullError::Forked { .. } => Problem::conflict("client_forked", detail),
        PullError::Behind { expected } => {
            Problem::conflict("push_out_of_order", detail).with("expected", *expected)
        }
        PullError::Store(failure) => failed(failure),
    }
}
