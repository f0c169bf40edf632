//! The calls about single rows, and the schema.

use utoipa::openapi::path::HttpMethod;

use super::call::{Call, ETAG, JSON};
use super::{parameters as with, problems};

const ROWS: &str = "/v1/tables/{table}/rows";
const ROW: &str = "/v1/tables/{table}/rows/{id}";

const ROW_HEADERS: &[(&str, &str)] = &[
    ETAG,
    ("Last-Modified", "When the server last wrote the row"),
    (
        "Client-Last-Updated",
        "The latest time among its columns' stamps",
    ),
];

pub(super) fn calls() -> Vec<Call> {
    vec![schema(), list(), post(), get(), patch(), put(), delete()]
}

fn schema() -> Call {
    let about = "The synced tables as a client needs to know them";
    Call::v1(HttpMethod::Get, "/v1/schema", "rows", "schema", about).json(
        "200",
        "Tables, parents first",
        "Schema",
    )
}

fn list() -> Call {
    Call::v1(
        HttpMethod::Get,
        ROWS,
        "rows",
        "list_rows",
        "A page of rows, in the order of the key",
    )
    .parameters([
        with::table(),
        with::limit(None, "Rows, at most the server's page; 100 if absent"),
        with::after("The rows after the one of this id; `next` of the page before"),
        with::meta(),
        with::deleted(),
    ])
    .problems(problems::TABLE)
    .problems(problems::PARAMETERS)
    .problems(&[(400, "invalid_value")])
    .json("200", "Rows", "Page")
}

fn post() -> Call {
    let about = "Makes a row. If there is one of its key, the columns are merged into it";
    write(Call::v1(
        HttpMethod::Post,
        ROWS,
        "rows",
        "create_row",
        about,
    ))
    .parameters([with::table()])
    .problems(problems::TABLE)
    .problems(problems::MEDIA_TYPE)
    .body(&[(JSON, "Row")])
    .json_with(
        "201",
        "The row was made",
        "Receipt",
        &[ETAG, ("Location", "The row's path")],
    )
    .json_with("200", "It was there", "Receipt", &[ETAG])
}

fn get() -> Call {
    Call::v1(HttpMethod::Get, ROW, "rows", "read_row", "A row")
        .parameters([
            with::table(),
            with::id(),
            with::meta(),
            with::deleted(),
            with::if_none_match(),
        ])
        .problems(problems::ROW)
        .problems(problems::PARAMETERS)
        .problems(&[(404, "row_not_found")])
        .json_with("200", "The row", "Row", ROW_HEADERS)
        .answer("304", "The reader has it", None, ROW_HEADERS)
}

fn patch() -> Call {
    let about = "Changes columns of a row. The answer is a receipt, conflict or not";
    write(Call::v1(HttpMethod::Patch, ROW, "rows", "patch_row", about))
        .parameters([with::table(), with::id(), with::if_match()])
        .problems(problems::ROW)
        .problems(problems::MEDIA_TYPE)
        .problems(&[
            (400, "malformed_patch"),
            (404, "row_not_found"),
            (409, "patch_test_failed"),
            (413, "too_many_operations"),
        ])
        .body(&[
            ("application/merge-patch+json", "Row"),
            (JSON, "Row"),
            ("application/json-patch+json", "JsonPatch"),
            ("application/vnd.colsync.edit+json", "RowEdit"),
        ])
        .json_with("200", "The receipt", "Receipt", &[ETAG])
}

fn put() -> Call {
    let about = "Writes a whole row, and makes it if there is none. Columns left out are NULL";
    write(Call::v1(HttpMethod::Put, ROW, "rows", "replace_row", about))
        .parameters([with::table(), with::id(), with::if_match()])
        .problems(problems::ROW)
        .problems(problems::MEDIA_TYPE)
        .body(&[(JSON, "Row")])
        .json_with("200", "The receipt", "Receipt", &[ETAG])
        .json_with(
            "201",
            "The row was made",
            "Receipt",
            &[ETAG, ("Location", "The row's path")],
        )
}

fn delete() -> Call {
    write(Call::v1(
        HttpMethod::Delete,
        ROW,
        "rows",
        "delete_row",
        "Deletes a row, softly",
    ))
    .parameters([with::table(), with::id(), with::if_match()])
    .problems(problems::ROW)
    .problems(&[(404, "row_not_found")])
    .json_with("200", "The receipt", "Receipt", &[ETAG])
}

/// A write of one row.
fn write(call: Call) -> Call {
    call.parameters([with::client_last_updated(), with::idempotency_key()])
        .problems(problems::WRITE)
}
