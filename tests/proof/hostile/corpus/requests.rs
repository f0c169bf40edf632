//! Headers, parameters and methods.

use colsync_tests::tables::id;

use super::{Case, JSON, merge};
use crate::hostile::subject::thing;

/// Header and values. Each is sent with a body that is refused, too.
const HEADERS: &[(&str, &[&[u8]])] = &[
    (
        "Client-Id",
        &[
            b"",
            b"x",
            b"7",
            b"00000000-0000-0000-0000-000000000001",
            b"00000000-0000-0000-0000-0000000000ff",
            b"6f1c1f0a-5b0e-4c36-9a53-0d6a7a3c1b0",
            b"6f1c1f0a-5b0e-4c36-9a53-0d6a7a3c1b02 x",
            b"'; --",
            b"\xff\xfe",
            b"caf\xc3\xa9",
        ],
    ),
    (
        "Client-Push",
        &[
            b"",
            b"x",
            b"-1",
            b"1.5",
            b"+1",
            b"9223372036854775808",
            b" 1 2",
            b"1e3",
        ],
    ),
    (
        "If-Match",
        &[
            b"",
            b"7",
            b"\"",
            b"\"7",
            b"\"x\"",
            b"\"-7\"",
            b"\"7\", \"8\"",
            b"\"9223372036854775808\"",
            b"W/7",
            b"**",
            b"\"7\"\"8\"",
            b"\"\xff\"",
        ],
    ),
    (
        "If-None-Match",
        &[
            b"",
            b"7",
            b"\"7\",",
            b"\"7\" \"8\"",
            b"\"\xff\"",
            b"w/\"7\"",
        ],
    ),
    ("Idempotency-Key", &[b"", b"a b", b"\xc3\xa9", b"\x7f"]),
    (
        "Content-Encoding",
        &[
            b"",
            b"br",
            b"deflate",
            b"compress",
            b"gzip, gzip",
            b"gzip;q=1",
            b"zstd,",
            b"\xff",
            b"identity, gzip",
            b"gzip",
            b"zstd",
            b"x-gzip",
        ],
    ),
    (
        "Accept-Encoding",
        &[
            b"identity;q=0",
            b"*;q=0",
            b"br, *;q=0",
            b"\xff",
            b"gzip;q=x",
            b";;;,,,",
        ],
    ),
    (
        "Host",
        &[
            b"",
            b"example.org",
            b"localhost.example.org",
            b"127.0.0.1.example.org",
            b"[::1",
            b"\xff",
            b"evil@localhost.org",
        ],
    ),
    (
        "Origin",
        &[
            b"null",
            b"https://example.org",
            b"file://",
            b"http://localhost.example.org",
            b"\xff",
        ],
    ),
    (
        "Authorization",
        &[
            b"",
            b"Bearer",
            b"Bearer ",
            b"Basic YTpi",
            b"bearer x y",
            b"Bearer \xff",
            b"Bearer nobody",
        ],
    ),
    (
        "Content-Type",
        &[
            b"\xff",
            b"application/json\xff",
            b"application/merge-patch+json/x",
        ],
    ),
];

pub(super) fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let longest = vec![b'x'; 100 << 10];
    for (name, values) in HEADERS {
        for value in values
            .iter()
            .copied()
            .chain([longest.as_slice(), &longest[..8_000]])
        {
            let shown: String = String::from_utf8_lossy(value).chars().take(40).collect();
            let why = format!("{name}: {shown}");
            cases.push(merge(&why, r#"{"nothing":1}"#).header(name, value));
            cases.push(Case::new(&why, "GET", thing()).header(name, value));
            cases.push(Case::new(&why, "GET", "/v1/sync/pull").header(name, value));
            if *name != "Client-Id" {
                let push = Case::new(&why, "POST", "/v1/sync/push").header(name, value);
                cases.push(push.body(JSON, r#"{"push":0,"edits":[]}"#));
            }
            cases.push(Case::new(&why, "GET", "/admin/v1/tables").header(name, value));
        }
        let twice = merge(format!("{name} twice"), r#"{"nothing":1}"#);
        let value = values.last().copied().unwrap_or_default();
        cases.push(twice.header(name, value).header(name, value));
    }
    for (path, methods) in CALLS.iter().filter(|(_, methods)| methods.contains(&"GET")) {
        for (name, value) in [
            ("Accept-Encoding", "identity;q=0"),
            ("Accept-Encoding", "br;q=1, *;q=0"),
            ("Host", "example.org"),
            ("Range", "bytes=0-,5-1,-"),
            ("Expect", "999-nothing"),
            ("Transfer-Encoding", "nothing"),
            ("Content-Length", "-1"),
            ("Authorization", "Basic eDp4"),
        ] {
            cases
                .push(Case::new(format!("{name}: {value}"), methods[0], *path).header(name, value));
        }
    }
    for table in ["things", "labels"] {
        let row = format!("/v1/tables/{table}/rows/{}", id(9));
        let bad = Case::new("a reused header", "DELETE", row)
            .header("Client-Time", "x")
            .header("Client-Time", "y");
        cases.push(bad);
    }
    cases
}

const PARAMETERS: &[(&str, &[&str])] = &[
    (
        "/v1/tables/things/rows",
        &[
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=51",
            "limit=1e3",
            "limit=18446744073709551616",
            "limit=1&limit=2",
            "after=",
            "after=x",
            "after=%00",
            "after=%FF",
            "meta=maybe",
            "meta=",
            "meta=TRUE",
            "deleted=1",
            "deleted=%FF",
            "meta=true&meta=false",
            "%FF=1",
            "%00",
            "&&&",
            "=",
            "limit",
            "limit=%zz",
            "[]",
        ],
    ),
    (
        "/v1/tables/members/rows",
        &[
            "after=a",
            "after=a,x",
            "after=,",
            "after=a,1,2",
            "after=%25FF,1",
        ],
    ),
    (
        "/v1/sync/pull",
        &[
            "cursor=x",
            "cursor=%00",
            "cursor=%FF",
            "cursor==",
            "cursor={cursor}x",
            "cursor=x{cursor}",
            "cursor=e30",
            "cursor=bnVsbA",
            "cursor=W10",
            "cursor=eyJ0IjpbXX0",
            "cursor=eyJ0IjpbOTk5XX0",
            "cursor=eyJ0IjpbMSwxLDFdfQ",
            "cursor=eyJhIjoiIiwidCI6W119",
            "cursor=eyJhIjoieCIsInQiOlsxXX0",
            "cursor=eyJhIjoxLCJ0IjpbMV19",
            "cursor=eyJ0IjpbOTIyMzM3MjAzNjg1NDc3NTgwOF19",
            "cursor=eyJ0IjpbMV0sIngiOjF9",
            "cursor=eyJ0IjpbMV0sInAiOnsibyI6IngiLCJ0IjpbMV0sIm4iOjEsImciOmZhbHNlfX0",
            "cursor=eyJ0IjpbMV0sInAiOnsibyI6IngiLCJ0IjpbXSwibiI6OTksImciOnRydWUsImwiOlstMSwieCJdfX0",
            "tables=nothing",
            "tables=,",
            "tables=things,",
            "tables=things,things",
            "tables=%00",
            "tables=%FF",
            "tables=things%20",
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=18446744073709551616",
            "cursor={cursor}&tables=labels",
            "cursor={cursor}&cursor={cursor}",
        ],
    ),
    (
        "/admin/v1/conflicts",
        &[
            "limit=0",
            "limit=1001",
            "limit=x",
            "limit=-1",
            "limit=9223372036854775808",
            "after=x",
            "after=",
            "client=x",
            "client=",
            "state=x",
            "state=",
            "state=OPEN",
            "since=x",
            "since=2026",
            "table=%FF",
            "row=%00",
            "column=%FF",
            "table=%27%20OR%201=1",
            "row=%27;--",
            "state=open&state=open",
            "since=0000-01-01T00:00:00Z",
            "table=%00",
        ],
    ),
    ("/healthz", &["%FF", "x=%00"]),
    ("/openapi.json", &["%FF"]),
];

pub(super) fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, queries) in PARAMETERS {
        for query in *queries {
            cases.push(Case::new(
                format!("?{query}"),
                "GET",
                format!("{path}?{query}"),
            ));
        }
        let long = format!(
            "{path}?after={}&cursor={}",
            "x".repeat(10_000),
            "A".repeat(10_000)
        );
        cases.push(Case::new("a long query", "GET", long));
    }
    for row in [thing(), "/v1/tables/members/rows/a%252Cb,1".to_owned()] {
        for query in [
            "meta=x",
            "deleted=x",
            "meta=%FF",
            "deleted=true&deleted=true",
        ] {
            cases.push(Case::new(
                format!("?{query}"),
                "GET",
                format!("{row}?{query}"),
            ));
        }
    }
    for path in [
        "/v2/schema",
        "/v1",
        "/v1/",
        "/v1/schema/",
        "//v1/schema",
        "/V1/schema",
        "/v1/tables",
        "/v1/tables/things",
        "/v1/sync",
        "/v1/sync/live",
        "/admin",
        "/admin/v1",
        "/admin/v1/",
        "/admin/v1/nothing",
        "/v1/tables//rows",
        "/v1/tables/things/rows/",
        "/v1/tables/things/rows/x/y",
        "/v1/../admin/v1/tables",
        "/v1/%2e%2e/admin/v1/tables",
        "/favicon.ico",
        "/.git/config",
        "/docs/..%2f..%2fetc/passwd",
        "/docs/../../etc/passwd",
        "/docs/nothing.js",
        "/docs/%00",
        "/docs/%FF",
        "/metrics/x",
        "*",
    ] {
        cases.push(Case::new("a path that is none", "GET", path));
    }
    cases
}

const CALLS: &[(&str, &[&str])] = &[
    ("/v1/schema", &["GET"]),
    ("/v1/tables/things/rows", &["GET", "POST"]),
    (
        "/v1/tables/things/rows/x",
        &["GET", "PATCH", "PUT", "DELETE"],
    ),
    ("/v1/sync/push", &["POST"]),
    ("/v1/sync/log", &["POST"]),
    ("/v1/sync/rows", &["POST"]),
    ("/v1/sync/pull", &["GET"]),
    ("/admin/v1/conflicts", &["GET"]),
    ("/admin/v1/conflicts/{conflict}", &["GET"]),
    ("/admin/v1/conflicts/{conflict}/resolve", &["POST"]),
    ("/admin/v1/rows/things/x", &["GET"]),
    ("/admin/v1/clients", &["GET"]),
    ("/admin/v1/tables", &["GET"]),
    ("/healthz", &["GET"]),
    ("/readyz", &["GET"]),
    ("/metrics", &["GET"]),
    ("/openapi.json", &["GET"]),
    ("/docs", &["GET"]),
    ("/docs/", &["GET"]),
];

pub(super) fn methods() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, known) in CALLS {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get",
            "Patch", "X",
        ] {
            if !known.contains(&method) {
                cases.push(Case::new("a method that is not for it", method, *path));
                let with_body = Case::new("the same with a body", method, *path);
                cases.push(with_body.body(JSON, r#"{"nothing":1}"#));
            }
        }
    }
    for (path, _) in CALLS.iter().filter(|(path, _)| path.starts_with("/admin")) {
        for token in ["", "Bearer x", "Basic x"] {
            let method = if path.ends_with("/resolve") {
                "POST"
            } else {
                "GET"
            };
            let case = Case::new(format!("the token {token:?}"), method, *path);
            cases.push(
                case.header("Authorization", token)
                    .body(JSON, r#"{"decision":"take_lost"}"#),
            );
        }
    }
    cases
}
