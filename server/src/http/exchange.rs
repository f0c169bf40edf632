//! What the handlers share: the caller's identity, tables by name, reads off actix's threads, and the
//! way from an answer of the queue to one of HTTP.

use std::fmt::Write as _;
use std::io::BufWriter;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, ORIGIN};
use actix_web::web;
use colsync_shared::receipt::{Rejection, Status};
use colsync_shared::wire::Frame;
use colsync_shared::{ClientId, Receipt, RowKey, Time};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::App;
use super::headers::Caller;
use super::problem::Problem;
use crate::auth::Principal;
use crate::edges;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::internal;
use crate::store::model::TableInfo;
use crate::sync::submission::{Accepted, Identity, Item, Refusal, Submission};

/// The caller of `request`, whose `Client-Id` is its own.
pub(super) async fn caller(app: &web::Data<App>, request: &HttpRequest) -> Result<Caller, Problem> {
    if app.config.auth.is_none() {
        local_only(request)?;
    }
    let caller = Caller::from_request(request, &app.config)?;
    let (client, skew, arrived) = (caller.client, caller.skew, caller.arrived);
    let repeats = caller.idempotency_key.is_some();
    let anonymous = client == ClientId::ANONYMOUS;
    if (anonymous && !repeats) || app.owners.knows(client, &caller.principal, skew, arrived) {
        return Ok(caller);
    }
    // Anonymous writers share one row, which their repeatable requests lock; it is nobody's.
    let principal = if anonymous {
        Principal(String::new())
    } else {
        caller.principal.clone()
    };
    let claimed = principal.clone();
    let note = read(app, move |conn| {
        let owner = internal::own_client(conn, client, &claimed.0, arrived)?;
        if owner == claimed.0 {
            internal::client_seen(conn, client, skew, arrived)?;
        }
        Ok(owner)
    });
    if app.owners.owns(&caller.principal, client) {
        // Only news of its clock: the request need not wait for that, nor fail with it.
        app.owners.learn(client, &caller.principal, skew, arrived);
        edges::beside(async move { drop(note.await) }).await;
        return Ok(caller);
    }
    let owner = note.await?;
    if owner != principal.0 {
        let detail = "this Client-Id belongs to another principal";
        return Err(Problem::forbidden("client_of_another_principal", detail).field("Client-Id"));
    }
    app.owners.learn(client, &caller.principal, skew, arrived);
    Ok(caller)
}

/// Without authentication, whoever reaches the address is served; a page of another site in a browser
/// here must not be, whether it asks openly or by a name that it made resolve to this machine.
fn local_only(request: &HttpRequest) -> Result<(), Problem> {
    for name in [HOST, ORIGIN] {
        for value in request.headers().get_all(&name) {
            let text = value.to_str().unwrap_or_default();
            let authority = text
                .rsplit_once("://")
                .map_or(text, |(_, authority)| authority);
            let host = authority
                .rsplit_once(':')
                .filter(|(_, port)| !port.contains(']'));
            let host = host
                .map_or(authority, |(host, _)| host)
                .trim_matches(['[', ']']);
            let local =
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if !local {
                let detail =
                    "without authentication the server answers to this machine's own names only";
                return Err(Problem::forbidden("foreign_origin", detail).field(name.as_str()));
            }
        }
    }
    Ok(())
}

/// The synced table called `name`.
pub(super) fn table(app: &App, name: &str) -> Result<Arc<TableInfo>, Problem> {
    let schema = app.store.schema();
    let table = schema.table(name).cloned();
    table.ok_or_else(|| Problem::not_found("unknown_table", "no such table").field("table"))
}

/// The row key that `id` stands for.
pub(super) fn key(table: &TableInfo, id: &str) -> Result<RowKey, Problem> {
    RowKey::from_id(&table.spec, id).map_err(|refused| {
        Problem::bad_request("invalid_value", format!("id: {refused}")).field("id")
    })
}

/// Runs `work` with a connection of its own, off actix's threads.
pub(super) fn read<T: Send + 'static>(
    app: &web::Data<App>,
    work: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
) -> impl Future<Output = Result<T, Problem>> + 'static {
    let store = app.store.clone();
    async move {
        let done = web::block(move || work(&mut *store.connect()?)).await;
        match done {
            Ok(done) => done.map_err(|failure| failed(&failure)),
            Err(_canceled) => Err(Problem::internal("a blocking task was cancelled")),
        }
    }
}

/// A failure of the database, as the caller may see it.
pub(super) fn failed(failure: &StoreError) -> Problem {
    match failure {
        StoreError::Unavailable(cause) => {
            log::warn!("database unavailable: {cause}");
            Problem::unavailable(
                "database_unavailable",
                "the database is unavailable; try again",
            )
        }
        StoreError::Retry(_) | StoreError::Raced => {
            Problem::unavailable("database_unavailable", "the database is busy; try again")
        }
        failure => Problem::internal(failure.to_string()),
    }
}

/// How a write of `caller` is recognised when it comes again.
pub(super) fn identity(caller: &Caller, request: &HttpRequest, body: &[u8]) -> Identity {
    match &caller.idempotency_key {
        None => Identity::Bare,
        Some(key) => {
            let what = format!("{} {}\n", request.method(), request.uri());
            Identity::Request {
                key: key.clone(),
                hash: hash(&[what.as_bytes(), body]),
            }
        }
    }
}

pub(super) fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// The hash of a document's content: members are sorted, so the same content hashes alike however it was written.
pub(super) fn hash_of(json: &Json) -> String {
    let mut hash = BufWriter::new(Sha256::new());
    // A hash takes all that is written to it.
    let written = serde_json::to_writer(&mut hash, json);
    debug_assert!(written.is_ok());
    hash.into_inner()
        .map_or_else(|_unwritten| String::new(), |hash| hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The time of a bare write: the header's, or the request's arrival.
pub(super) fn written_at(caller: &Caller) -> Time {
    caller
        .last_updated
        .map_or(caller.arrived, |at| caller.adjust(at))
}

/// Runs `decode` with the frame of `caller`'s times.
pub(super) fn framed<T>(caller: &Caller, decode: impl FnOnce(&Frame<'_>) -> T) -> T {
    let adjust = |at: Time| caller.adjust(at);
    decode(&Frame {
        adjust: &adjust,
        default_at: written_at(caller),
    })
}

/// Submits one item and gives back its receipt, a rejection as the problem it is.
pub(super) async fn submit_one(
    app: &web::Data<App>,
    caller: &Caller,
    identity: Identity,
    item: Item,
) -> Result<Receipt, Problem> {
    let accepted = submit(app, caller, Vec::new(), identity, false, vec![item]).await?;
    let receipt = accepted.receipts.into_iter().next();
    let receipt = receipt.ok_or_else(|| Problem::internal("an answer without a receipt"))?;
    match (receipt.status, &receipt.rejection) {
        (Status::Ok, _) => Ok(receipt),
        (Status::Rejected | Status::RolledBack, Some(rejection)) => Err(rejected(rejection)),
        (Status::Rejected | Status::RolledBack, None) => {
            Err(Problem::internal("rejected without a reason"))
        }
    }
}

/// Submits edits of a client that has been at these anchors.
pub(super) async fn submit(
    app: &web::Data<App>,
    caller: &Caller,
    anchors: Vec<String>,
    identity: Identity,
    atomic: bool,
    items: Vec<Item>,
) -> Result<Accepted, Problem> {
    let submission = Submission {
        anchors,
        client: caller.client,
        skew: caller.skew,
        arrived: caller.arrived,
        identity,
        atomic,
        items,
    };
    app.queue
        .submit(submission)
        .await
        .map_err(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Forked { .. } => Problem::conflict("client_forked", detail),
        Refusal::OutOfOrder { expected } => {
            Problem::conflict("push_out_of_order", detail).with("expected", *expected)
        }
        Refusal::KeyReused => {
            Problem::unprocessable("idempotency_key_reused", detail).field("Idempotency-Key")
        }
        Refusal::Busy => Problem::unavailable("queue_full", detail),
        Refusal::Unavailable => Problem::unavailable("database_unavailable", detail),
        Refusal::Internal => Problem::internal("logged where it happened"),
    }
}

/// The problem that a rejection is where one request is one edit.
pub(super) fn rejected(rejection: &Rejection) -> Problem {
    let detail = rejection.detail.clone();
    let problem = match rejection.code.as_str() {
        "unknown_table" => Problem::not_found("unknown_table", detail),
        "row_not_found" => Problem::not_found("row_not_found", detail),
        "conflict_not_found" => Problem::not_found("conflict_not_found", detail),
        "row_gone" => Problem::gone("row_gone", detail),
        "already_resolved" => Problem::conflict("already_resolved", detail),
        "constraint_violation" => Problem::conflict("constraint_violation", detail),
        "patch_test_failed" => Problem::conflict("patch_test_failed", detail),
        "malformed_patch" => Problem::bad_request("malformed_patch", detail),
        "malformed_edit" => Problem::bad_request("malformed_edit", detail),
        "too_deep" => Problem::bad_request("too_deep", detail),
        "too_many_operations" => Problem::payload_too_large("too_many_operations", detail),
        "unknown_column" => Problem::unprocessable("unknown_column", detail),
        "read_only_column" => Problem::unprocessable("read_only_column", detail),
        "key_is_immutable" => Problem::unprocessable("key_is_immutable", detail),
        _ => Problem::unprocessable("invalid_value", detail),
    };
    let problem = match rejection.conflict {
        Some(conflict) => problem.with("conflict", conflict.to_string()),
        None => problem,
    };
    match &rejection.field {
        Some(field) => problem.field(field.clone()),
        None => problem,
    }
}
