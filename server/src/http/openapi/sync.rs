//! The calls of clients that sync: pushes of three kinds, and the pull.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{ContentBuilder, Type};

use super::call::{Call, JSON, SERVER_TIME};
use super::{parameters as with, problems};

pub(super) fn calls() -> Vec<Call> {
    vec![
        push(
            "/v1/sync/push",
            "push",
            "Push",
            "Edits, column by column. A repeat gets the same receipts and changes nothing",
        ),
        push(
            "/v1/sync/log",
            "push_log",
            "Log",
            "A transaction log. Each entry is merged as an edit",
        ),
        push(
            "/v1/sync/rows",
            "push_rows",
            "WholeRows",
            "Whole rows. In a conflict the table's row policy decides",
        ),
        pull(),
    ]
}

fn push(path: &'static str, id: &str, body: &str, about: &str) -> Call {
    Call::v1(HttpMethod::Post, path, "sync", id, about)
        .parameters([
            with::needed_client_id(),
            with::client_last_updated(),
            with::client_cursor(),
        ])
        .problems(problems::PUSH)
        .problems(problems::MEDIA_TYPE)
        .body(&[(JSON, body)])
        .json("200", "One receipt for each edit, in their order", "Pushed")
}

fn pull() -> Call {
    let lines = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Lines of JSON, each a `PullLine`"));
    let lines = ContentBuilder::new().schema(Some(Schema::Object(lines.build())));
    let about = "The changes since a cursor, as lines of JSON. The last checkpoint says whether anything is left";
    Call::v1(HttpMethod::Get, "/v1/sync/pull", "sync", "pull", about)
        .parameters([
            with::cursor(),
            with::tables(),
            with::limit(None, "About how many rows; absent: all"),
            with::client_push(),
        ])
        .problems(problems::PARAMETERS)
        .problems(&[
            (400, "malformed_cursor"),
            (404, "unknown_table"),
            (409, "client_forked"),
            (409, "push_out_of_order"),
            (410, "cursor_expired"),
        ])
        .answer(
            "200",
            "Rows, removals and checkpoints, one a line",
            Some(("application/x-ndjson", lines.build())),
            &[SERVER_TIME],
        )
}
