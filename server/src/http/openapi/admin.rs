//! The administrators' calls.

use utoipa::openapi::path::HttpMethod;

use super::call::{Call, JSON};
use super::{parameters as with, problems};

pub(super) fn calls() -> Vec<Call> {
    vec![
        conflicts(),
        conflict(),
        resolve(),
        row(),
        clients(),
        tables(),
    ]
}

fn conflicts() -> Call {
    let about = "The ledger, newest first";
    Call::admin(
        HttpMethod::Get,
        "/admin/v1/conflicts",
        "list_conflicts",
        about,
    )
    .parameters(with::filters())
    .problems(problems::PARAMETERS)
    .json("200", "A page", "ConflictPage")
}

fn conflict() -> Call {
    let about = "An entry of the ledger";
    Call::admin(
        HttpMethod::Get,
        "/admin/v1/conflicts/{id}",
        "read_conflict",
        about,
    )
    .parameters([with::conflict()])
    .problems(&[(404, "conflict_not_found")])
    .json("200", "The entry", "Conflict")
}

fn resolve() -> Call {
    let about =
        "Decides a conflict. What is written is an ordinary edit that flows to every client";
    Call::admin(
        HttpMethod::Post,
        "/admin/v1/conflicts/{id}/resolve",
        "resolve_conflict",
        about,
    )
    .parameters([with::conflict()])
    .problems(problems::WRITE)
    .problems(&[
        (400, "invalid_parameter"),
        (404, "conflict_not_found"),
        (404, "row_not_found"),
        (404, "unknown_table"),
        (409, "already_resolved"),
    ])
    .body(&[(JSON, "Decision")])
    .json(
        "200",
        "The entry, decided, and the receipt of the edit",
        "Resolved",
    )
}

fn row() -> Call {
    let about = "A row with each column's stamp, and the conflicts that it went through";
    Call::admin(
        HttpMethod::Get,
        "/admin/v1/rows/{table}/{id}",
        "read_row_history",
        about,
    )
    .parameters([with::table(), with::id()])
    .problems(problems::ROW)
    .problems(&[(404, "row_not_found")])
    .json("200", "The row, deleted or not", "RowHistory")
}

fn clients() -> Call {
    Call::admin(
        HttpMethod::Get,
        "/admin/v1/clients",
        "list_clients",
        "All clients",
    )
    .json("200", "Clients", "Clients")
}

fn tables() -> Call {
    let about = "The synced tables, with how many rows they have";
    Call::admin(HttpMethod::Get, "/admin/v1/tables", "list_tables", about)
        .json("200", "Tables", "Tables")
}
