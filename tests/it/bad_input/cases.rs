//! The bad input itself: what is sent, and how it is to be refused.

use colsync_tests::tables::id;
use serde_json::{Value as Json, json};

use crate::todo;

pub(super) const MERGE: &str = "application/merge-patch+json";
const OPERATIONS: &str = "application/json-patch+json";
const EDIT: &str = "application/vnd.colsync.edit+json";
pub(super) const PLAIN: &str = "application/json";

pub(super) const ROWS: &str = "/v1/tables/todos/rows";
const PUSH: &str = "/v1/sync/push";

/// What is sent, and what comes back: status, code and the field named (empty: any or none).
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) media_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) expect: (u16, &'static str, &'static str),
}

pub(super) fn case(
    name: &'static str,
    (method, path): (&'static str, &str),
    media_type: &'static str,
    body: impl Into<Vec<u8>>,
    expect: (u16, &'static str, &'static str),
) -> Case {
    Case {
        name,
        method,
        path: path.to_owned(),
        media_type,
        body: body.into(),
        headers: &[],
        expect,
    }
}

pub(super) fn patch(
    name: &'static str,
    body: impl Into<Vec<u8>>,
    expect: (u16, &'static str, &'static str),
) -> Case {
    case(name, ("PATCH", &todo(1)), MERGE, body, expect)
}

pub(super) fn operations(
    name: &'static str,
    body: Json,
    expect: (u16, &'static str, &'static str),
) -> Case {
    case(
        name,
        ("PATCH", &todo(1)),
        OPERATIONS,
        body.to_string(),
        expect,
    )
}

pub(super) fn edit(
    name: &'static str,
    body: Json,
    expect: (u16, &'static str, &'static str),
) -> Case {
    case(name, ("PATCH", &todo(1)), EDIT, body.to_string(), expect)
}

pub(super) fn get(
    name: &'static str,
    path: &str,
    expect: (u16, &'static str, &'static str),
) -> Case {
    case(name, ("GET", path), "", "", expect)
}

pub(super) fn headers(
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    expect: (u16, &'static str, &'static str),
) -> Case {
    Case {
        headers,
        ..patch(name, r#"{"title":"x"}"#, expect)
    }
}

pub(super) fn nested(depth: usize) -> String {
    format!(
        "{{\"data\":{}{}}}",
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    )
}

pub(super) fn of_bodies() -> Vec<Case> {
    let mut cases = vec![
        patch("half a document", "{", (400, "malformed_json", "")),
        patch("nothing", "", (400, "malformed_json", "")),
        patch("two documents", "{} {}", (400, "malformed_json", "")),
        patch(
            "no UTF-8",
            b"{\"title\":\"\xff\"}".as_slice(),
            (400, "malformed_json", ""),
        ),
        patch(
            "half a surrogate pair",
            r#"{"title":"\ud800"}"#,
            (400, "malformed_json", ""),
        ),
        patch("NaN", r#"{"priority":NaN}"#, (400, "malformed_json", "")),
        patch("an array", "[]", (400, "malformed_edit", "")),
        patch("a string", "\"x\"", (400, "malformed_edit", "")),
        patch("null", "null", (400, "malformed_edit", "")),
        patch(
            "a number in the parser's own words",
            r#"{"data":{"$serde_json::private::Number":"7"}}"#,
            (400, "malformed_json", ""),
        ),
        patch(
            "the same, escaped, and not the first member",
            r#"{"data":{"a":1,"\u0024serde_json::private::Number" :"7"}}"#,
            (400, "malformed_json", ""),
        ),
        patch(
            "a document in the parser's own words, within a string",
            r#"{"data":[{"$serde_json::private::RawValue":"[[1]]"}]}"#,
            (400, "malformed_json", ""),
        ),
        patch("too deep", nested(65), (400, "too_deep", "")),
        patch("much too deep", "[".repeat(60_000), (400, "too_deep", "")),
        patch(
            "too large",
            format!("{{\"title\":\"{}\"}}", "x".repeat(70_000)),
            (413, "body_too_large", ""),
        ),
    ];
    for (name, path, method) in [
        ("POST", ROWS, "POST"),
        ("push", PUSH, "POST"),
        ("PUT", &todo(1), "PUT"),
    ] {
        cases.extend([
            case(
                name,
                (method, path),
                PLAIN,
                "{",
                (400, "malformed_json", ""),
            ),
            case(
                name,
                (method, path),
                PLAIN,
                nested(65),
                (400, "too_deep", ""),
            ),
            case(
                name,
                (method, path),
                PLAIN,
                "x".repeat(70_000),
                (413, "body_too_large", ""),
            ),
            case(
                name,
                (method, path),
                "text/plain",
                "{}",
                (415, "unsupported_media_type", "Content-Type"),
            ),
            case(
                name,
                (method, path),
                MERGE,
                "{}",
                (415, "unsupported_media_type", "Content-Type"),
            ),
        ]);
    }
    cases.push(case(
        "XML",
        ("PATCH", &todo(1)),
        "application/xml",
        "<x/>",
        (415, "unsupported_media_type", "Content-Type"),
    ));
    cases
}

pub(super) fn of_patches() -> Vec<Case> {
    let add = |path: &str, value: Json| json!([{ "op": "add", "path": path, "value": value }]);
    let too_many: Vec<Json> = (0..6)
        .map(|n| json!({ "op": "add", "path": "/priority", "value": n }))
        .collect();
    vec![
        operations("no array", json!({}), (400, "malformed_patch", "")),
        operations("no operation", json!([1]), (400, "malformed_patch", "")),
        operations(
            "an unknown operation",
            json!([{ "op": "increment", "path": "/priority" }]),
            (400, "malformed_patch", ""),
        ),
        operations(
            "no value",
            json!([{ "op": "add", "path": "/title" }]),
            (400, "malformed_patch", ""),
        ),
        operations(
            "no pointer",
            add("title", json!("x")),
            (400, "malformed_patch", ""),
        ),
        operations(
            "the whole row",
            add("", json!({})),
            (400, "malformed_patch", ""),
        ),
        operations(
            "a path that leads nowhere",
            add("/title/x", json!(1)),
            (400, "malformed_patch", ""),
        ),
        operations(
            "removal of nothing",
            json!([{ "op": "remove", "path": "/data/x" }]),
            (400, "malformed_patch", ""),
        ),
        operations(
            "too many",
            Json::Array(too_many),
            (413, "too_many_operations", ""),
        ),
        operations(
            "an unknown column",
            add("/nothing", json!(1)),
            (422, "unknown_column", "nothing"),
        ),
        operations(
            "a column of colsync",
            add("/sync_version", json!(1)),
            (422, "read_only_column", "sync_version"),
        ),
        operations(
            "another key",
            add("/id", json!(id(2))),
            (422, "key_is_immutable", "id"),
        ),
        operations(
            "a wrong type",
            add("/title", json!(1)),
            (422, "invalid_value", "title"),
        ),
        edit(
            "no object of columns",
            json!({ "columns": [] }),
            (400, "malformed_edit", "columns"),
        ),
        edit(
            "no column object",
            json!({ "columns": { "title": "x" } }),
            (400, "malformed_edit", "title"),
        ),
        edit(
            "no value",
            json!({ "columns": { "title": { "base": "old" } } }),
            (400, "malformed_edit", "title"),
        ),
        edit(
            "a bad version",
            json!({ "base_version": "1", "columns": {} }),
            (400, "malformed_edit", "base_version"),
        ),
        edit(
            "a bad time",
            json!({ "at": 17, "columns": {} }),
            (400, "malformed_edit", "at"),
        ),
        edit(
            "a bad column's time",
            json!({ "columns": { "title": { "value": "x", "at": "x" } } }),
            (400, "malformed_edit", "title"),
        ),
        edit(
            "a bad base",
            json!({ "columns": { "title": { "value": "x", "base": 1 } } }),
            (422, "invalid_value", "title"),
        ),
        edit(
            "an unknown column",
            json!({ "columns": { "nothing": { "value": 1 } } }),
            (422, "unknown_column", "nothing"),
        ),
    ]
}

pub(super) fn of_requests() -> Vec<Case> {
    let push =
        |name, body: Json, expect| case(name, ("POST", PUSH), PLAIN, body.to_string(), expect);
    let edits: Vec<Json> = vec![json!({}); 11];
    vec![
        headers(
            "an unquoted tag",
            &[("If-Match", "1")],
            (400, "invalid_header", "If-Match"),
        ),
        headers(
            "a tag that is no version",
            &[("If-Match", "\"x\"")],
            (400, "invalid_header", "If-Match"),
        ),
        headers(
            "an empty key",
            &[("Idempotency-Key", "")],
            (400, "invalid_header", "Idempotency-Key"),
        ),
        headers(
            "a key with a blank",
            &[("Idempotency-Key", "a b")],
            (400, "invalid_header", "Idempotency-Key"),
        ),
        headers(
            "a time that is none",
            &[("Client-Last-Updated", "x")],
            (400, "invalid_header", "Client-Last-Updated"),
        ),
        headers(
            "an unknown encoding",
            &[("Content-Encoding", "br")],
            (415, "unsupported_encoding", "Content-Encoding"),
        ),
        headers(
            "two encodings",
            &[("Content-Encoding", "gzip, zstd")],
            (415, "unsupported_encoding", "Content-Encoding"),
        ),
        headers(
            "not gzip at all",
            &[("Content-Encoding", "gzip")],
            (400, "malformed_encoding", "Content-Encoding"),
        ),
        headers(
            "not zstd at all",
            &[("Content-Encoding", "zstd")],
            (400, "malformed_encoding", "Content-Encoding"),
        ),
        push("no push", json!([]), (400, "malformed_push", "push")),
        push(
            "no number",
            json!({ "edits": [] }),
            (400, "malformed_push", "push"),
        ),
        push(
            "a word for a number",
            json!({ "push": "1", "edits": [] }),
            (400, "malformed_push", "push"),
        ),
        push(
            "a number below one",
            json!({ "push": 0, "edits": [] }),
            (400, "malformed_push", "push"),
        ),
        push(
            "no edits",
            json!({ "push": 1 }),
            (400, "malformed_push", "edits"),
        ),
        push(
            "edits that are no array",
            json!({ "push": 1, "edits": {} }),
            (400, "malformed_push", "edits"),
        ),
        push(
            "atomic that is no truth value",
            json!({ "push": 1, "edits": [], "atomic": 1 }),
            (400, "malformed_push", "atomic"),
        ),
        push(
            "too many edits",
            json!({ "push": 1, "edits": edits }),
            (413, "too_many_edits", "edits"),
        ),
        case(
            "a log without entries",
            ("POST", "/v1/sync/log"),
            PLAIN,
            json!({ "push": 1, "edits": [] }).to_string(),
            (400, "malformed_push", "entries"),
        ),
        case(
            "rows that are no array",
            ("POST", "/v1/sync/rows"),
            PLAIN,
            json!({ "push": 1, "rows": {} }).to_string(),
            (400, "malformed_push", "rows"),
        ),
        case(
            "too many entries",
            ("POST", "/v1/sync/log"),
            PLAIN,
            json!({ "push": 1, "entries": vec![json!({}); 11] }).to_string(),
            (413, "too_many_edits", "entries"),
        ),
        get(
            "an id that is none",
            "/v1/tables/todos/rows/x",
            (400, "invalid_value", "id"),
        ),
        get(
            "an id of too many parts",
            "/v1/tables/todos/rows/a,b",
            (400, "invalid_value", "id"),
        ),
        get(
            "NUL in an id",
            "/v1/tables/labels/rows/%00",
            (400, "invalid_value", "id"),
        ),
        get(
            "a limit of none",
            "/v1/tables/todos/rows?limit=0",
            (400, "invalid_parameter", "limit"),
        ),
        get(
            "a limit that is none",
            "/v1/tables/todos/rows?limit=x",
            (400, "invalid_parameter", "limit"),
        ),
        get(
            "a limit beyond the bound",
            "/v1/tables/todos/rows?limit=1000000",
            (400, "invalid_parameter", "limit"),
        ),
        get(
            "after no key",
            "/v1/tables/todos/rows?after=x",
            (400, "invalid_value", "after"),
        ),
        get(
            "maybe meta",
            "/v1/tables/todos/rows?meta=maybe",
            (400, "invalid_parameter", "meta"),
        ),
        get(
            "maybe deleted",
            &format!("{}?deleted=1", todo(1)),
            (400, "invalid_parameter", "deleted"),
        ),
        get(
            "NUL in a table's name",
            "/v1/tables/todos%00/rows",
            (404, "unknown_table", "table"),
        ),
    ]
}
