//! The headers and parameters of the calls.

use serde_json::{Value as Json, json};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat};
use utoipa::openapi::{Required, Type};

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn formatted(format: KnownFormat) -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(format)))
}

fn number(least: u64, most: Option<u64>) -> ObjectBuilder {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least as f64));
    number.maximum(most.map(|most| most as f64))
}

fn parameter(
    place: ParameterIn,
    name: &str,
    schema: impl Into<Object>,
    about: &str,
    example: Json,
) -> Parameter {
    let is_path = matches!(place, ParameterIn::Path);
    let required = if is_path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema.into()))
        .description(Some(about))
        .example(Some(example))
        .build()
}

fn header(name: &str, schema: impl Into<Object>, about: &str, example: &str) -> Parameter {
    parameter(ParameterIn::Header, name, schema, about, json!(example))
}

fn query(
    name: &str,
    schema: impl Into<Object>,
    about: &str,
    example: impl Into<Json>,
) -> Parameter {
    parameter(ParameterIn::Query, name, schema, about, example.into())
}

/// The name of a table, in the path.
pub(super) fn table() -> Parameter {
    let about = "The name of a synced table";
    parameter(
        ParameterIn::Path,
        "table",
        text().min_length(Some(1)),
        about,
        json!("todos"),
    )
}

/// The id of a row, in the path.
pub(super) fn id() -> Parameter {
    let about = "The text of the row's key. Of several columns: each with `%` written `%25` and `,` written `%2C`, \
                 joined by commas. Percent-encoded once more as part of the path";
    let example = json!("0190a000-0000-7000-8000-000000000001");
    parameter(
        ParameterIn::Path,
        "id",
        text().min_length(Some(1)),
        about,
        example,
    )
}

/// The id of an entry of the ledger, in the path.
pub(super) fn conflict() -> Parameter {
    let about = "The id of an entry of the ledger";
    let example = json!("01a20834-e6b2-7187-98dd-7d32969a4f4c");
    parameter(
        ParameterIn::Path,
        "id",
        text().min_length(Some(1)),
        about,
        example,
    )
}

pub(super) fn client_id() -> Parameter {
    header(
        "Client-Id",
        formatted(KnownFormat::Uuid),
        "Which client calls; absent: anonymous. It belongs to the principal that first used it. Ids up to \
         `00000000-0000-0000-0000-0000000000ff` are reserved",
        "6f1c1f0a-5b0e-4c36-9a53-0d6a7a3c1b02",
    )
}

/// The same, where there must be one.
pub(super) fn needed_client_id() -> Parameter {
    let mut needed = client_id();
    needed.required = Required::True;
    needed
}

pub(super) fn client_time() -> Parameter {
    header(
        "Client-Time",
        formatted(KnownFormat::DateTime),
        "The client's clock as it sends. If it differs from the server's by more than the configured bound, every \
         time in the request is shifted by the difference",
        "2026-11-23T11:40:14.385000Z",
    )
}

pub(super) fn client_last_updated() -> Parameter {
    header(
        "Client-Last-Updated",
        formatted(KnownFormat::DateTime),
        "When the edit was made; absent: when the request arrived",
        "2026-11-22T10:01:00Z",
    )
}

pub(super) fn client_push() -> Parameter {
    header(
        "Client-Push",
        number(0, None),
        "The number of the last push whose receipts the client has, 0 if it has none: its own writes are not sent \
         back",
        "1",
    )
}

pub(super) fn client_cursor() -> Parameter {
    header(
        "Client-Cursor",
        text(),
        "The checkpoint that the client is at. If the database does not know the place, base versions of the request \
         mean nothing",
        "eyJhIjoiZjQyMGQ2N2UtMzI5Yi00NWU1LTg2N2EtYTBmMjI0ZmE5ZTc1IiwidCI6WzFdfQ",
    )
}

pub(super) fn idempotency_key() -> Parameter {
    header(
        "Idempotency-Key",
        text()
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$")),
        "The same key with the same method, path and body gets the same receipt and changes nothing",
        "a-key-of-my-own",
    )
}

pub(super) fn if_match() -> Parameter {
    header(
        "If-Match",
        text().pattern(Some("^(\\*|(W/)?\"[0-9]{1,18}\")$")),
        "The base version, by which a conflict is told from an edit that has seen it. Never a 412; `*` is as if it \
         were absent",
        "\"7\"",
    )
}

pub(super) fn if_none_match() -> Parameter {
    header(
        "If-None-Match",
        text().pattern(Some(
            "^(\\*|(W/)?\"[0-9]{1,18}\"(, ?(W/)?\"[0-9]{1,18}\"){0,9})$",
        )),
        "Versions that the reader has",
        "\"7\"",
    )
}

pub(super) fn content_encoding() -> Parameter {
    let known = text().enum_values(Some(["identity", "gzip", "zstd"]));
    header(
        "Content-Encoding",
        known,
        "What the body is packed by",
        "identity",
    )
}

/// `limit` of a page with at most `most` rows.
pub(super) fn limit(most: Option<u64>, about: &str) -> Parameter {
    query("limit", number(1, most), about, 100)
}

pub(super) fn after(about: &str) -> Parameter {
    query(
        "after",
        text(),
        about,
        "0190a000-0000-7000-8000-000000000001",
    )
}

fn flag(name: &str, about: &str) -> Parameter {
    let flag = ObjectBuilder::new().schema_type(Type::Boolean);
    query(name, flag, about, true)
}

pub(super) fn meta() -> Parameter {
    flag(
        "meta",
        "`_sync` in each row: its version and the stamp of each column",
    )
}

pub(super) fn deleted() -> Parameter {
    flag("deleted", "Rows that are deleted softly, too")
}

pub(super) fn cursor() -> Parameter {
    let about = "The last checkpoint; absent: everything";
    let example = "eyJhIjoiNTEwZWQwMzktM2M3Mi00YmZmLTkzMmItODE2ZWQyMmQ3MWM5IiwidCI6WzFdfQ";
    query("cursor", text(), about, example)
}

pub(super) fn tables() -> Parameter {
    query(
        "tables",
        text(),
        "Names, joined by commas; absent: all tables",
        "todos",
    )
}

/// What the ledger's entries are chosen by.
pub(super) fn filters() -> Vec<Parameter> {
    let time = formatted(KnownFormat::DateTime);
    let states = text().enum_values(Some(["open", "decided", "resolved"]));
    let entry = "01a20834-e6b2-7187-98dd-7d32969a4f4c";
    vec![
        query("table", text(), "Of this table", "todos"),
        query(
            "row",
            text(),
            "Of the row of this id",
            "0190a000-0000-7000-8000-000000000001",
        ),
        query(
            "column",
            text(),
            "Of this column, or group of columns",
            "title",
        ),
        query(
            "client",
            formatted(KnownFormat::Uuid),
            "With this client on either side",
            "6f1c1f0a-5b0e-4c36-9a53-0d6a7a3c1b02",
        ),
        query("state", states, "In this state", "open"),
        query(
            "since",
            time,
            "Of this time or later",
            "2026-11-22T10:00:00Z",
        ),
        limit(Some(1_000), "Entries; 100 if absent"),
        query(
            "after",
            formatted(KnownFormat::Uuid),
            "The entries after this one; `next` of the page before",
            entry,
        ),
    ]
}
