//! Values that a column does not take, and times that are none, by every way to write.

use colsync_tests::tables::id;
use serde_json::{Value as Json, json};

use super::{Case, EDIT, merge, push};
use crate::hostile::subject::thing;

/// Column, and values as JSON text: numbers as no writer would make them stay as they are.
const VALUES: &[(&str, &[&str])] = &[
    ("title", &["5", "true", "[]", "{}", r#""a\u0000b""#]),
    ("short", &[r#""123456""#, r#""ääääää""#, r#""\u0000""#]),
    ("done", &["0", "1", r#""true""#, r#""yes""#, "[]"]),
    // SQLite's small integers are as wide as all of its.
    ("small", &["1.5", r#""x""#, "99999999999999999999", r#""""#]),
    (
        "number",
        &[
            "9223372036854775808",
            "-9223372036854775809",
            r#""9223372036854775808""#,
            "1.5",
            "1e400",
            "1e-400",
            "123456789012345678901234567890123456789012345678901234567890",
            r#""""#,
            r#"" 1""#,
            r#""0x10""#,
            r#""١""#,
            "true",
        ],
    ),
    (
        "ratio",
        &[
            "1e309",
            "-1e309",
            r#""NaN""#,
            r#""Infinity""#,
            r#""1.5""#,
            "[]",
            "1e99999999999999999999",
        ],
    ),
    (
        "price",
        &[
            r#""1.005""#,
            r#""123456789.00""#,
            r#""NaN""#,
            r#""1e100""#,
            r#""1e-100""#,
            r#""1e999999999999999999999""#,
            "1e2147483648",
            "1e-2147483649",
            "1e-9000000000000000000",
            r#""""#,
            r#"".""#,
            r#""1,5""#,
            r#""--1""#,
            "{}",
        ],
    ),
    (
        "ref",
        &[
            r#""x""#,
            "7",
            r#""018f0000-0000-7000-8000""#,
            r#""018f0000-0000-7000-8000-00000000000g""#,
            r#""{}""#,
        ],
    ),
    (
        "day",
        &[
            r#""2026-02-30""#,
            r#""2026-13-01""#,
            r#""0000-01-01""#,
            r#""10000-01-01""#,
            r#""-0001-01-01""#,
            r#""2026-1""#,
            r#""infinity""#,
            r#""today""#,
            "20260101",
        ],
    ),
    (
        "moment",
        &[
            r#""24:00:01""#,
            r#""10:60:00""#,
            r#""23:59:61""#,
            r#""10""#,
            r#""10:00:00.1234567""#,
            r#""now""#,
        ],
    ),
    (
        "local",
        &[
            r#""2026-11-22T10:00:00Z""#,
            r#""0000-01-01T00:00:00""#,
            r#""10000-01-01T00:00:00""#,
            r#""infinity""#,
        ],
    ),
    (
        "at",
        &[
            r#""2026-06-30T23:59:60Z""#,
            r#""10000-01-01T00:00:00Z""#,
            "0",
            r#""-infinity""#,
        ],
    ),
    (
        "blob",
        &[
            r#""AA=""#,
            r#""AAA""#,
            r#""****""#,
            r#""AA==AA==""#,
            r#""\\x00""#,
            "[1,2]",
        ],
    ),
    (
        "data",
        &[
            r#""\u0000""#,
            r#"["\u0000"]"#,
            r#"{"\u0000":1}"#,
            "[1e999]",
            "[1e99999999999999999999]",
            // Eight bytes that are zeros without end, written out.
            "[1e-9000000000000000000]",
            r#"{"a":{"b":-1e-999999999}}"#,
            "0e-9000000000000000000",
            "[1e-99999999999999999999]",
        ],
    ),
    ("stock", &[r#""x""#, "9223372036854775808", "1.5", "[]"]),
    (
        "id",
        &[
            "null",
            "7",
            r#""x""#,
            r#""018f0000-0000-7000-8000-0000000000ff""#,
        ],
    ),
    ("sync_version", &["1", "null"]),
    ("sync_txid", &["9"]),
    ("sync_stamps", &["{}"]),
    ("sync_client_id", &[r#""x""#]),
    ("_sync", &["{}"]),
    ("nothing", &["1"]),
    ("Title", &["\"x\""]),
    ("", &["1"]),
    ("title\\u0000", &["1"]),
    ("\\\"; DROP TABLE things; --", &["1"]),
    ("tіtle", &["\"x\""]),
    ("constructor", &["1"]),
    ("rowid", &["1"]),
    ("ctid", &["1"]),
    ("xmin", &["1"]),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (column, values) in VALUES {
        for value in *values {
            let why = format!("{column}: {value}");
            cases.push(merge(&why, format!("{{\"{column}\":{value}}}")));
            let edit = format!("{{\"columns\":{{\"{column}\":{{\"value\":{value}}}}}}}");
            cases.push(Case::new(&why, "PATCH", thing()).body(EDIT, edit));
            let pushed = format!(
                "{{\"push\":1,\"edits\":[{{\"table\":\"things\",\"id\":\"{}\",\"op\":\"update\",\
                 \"columns\":{{\"{column}\":{{\"value\":{value}}}}}}}]}}",
                id(1)
            );
            cases.push(Case::new(&why, "POST", "/v1/sync/push").body("application/json", pushed));
        }
    }
    cases
}

const TIMES: &[&str] = &[
    "",
    "now",
    "0",
    "1795341600",
    "2026-11-22",
    "2026-11-22T10:00:00",
    "2026-11-22 10:00:00",
    "2026-11-22T10:00:00+2",
    "2026-11-22T10:00:00+24:00",
    "2026-11-22T10:00:00+99:99",
    "2026-11-22T10:00Z",
    "2026-11-22T24:00:00Z",
    "2026-11-22T10:60:00Z",
    "2026-06-30T23:59:60Z",
    "2026-06-30T23:59:61Z",
    "2026-02-30T10:00:00Z",
    "2026-13-01T10:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "-0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "+10000-01-01T00:00:00Z",
    "2026-11-22T10:00:00.Z",
    "2026-11-22T10:00:00,5Z",
    "2026-11-22T10:00:00.99999999999999999999999999999999Z",
    "2026-11-22T10:00:00Z[Europe/Berlin]",
    "Sun, 22 Nov 2026 10:00:00 GMT",
    "infinity",
];

/// Times, in headers and bodies; beside a column that is none, as some of them are read.
pub(super) fn times() -> Vec<Case> {
    let mut cases = Vec::new();
    for time in TIMES {
        let why = format!("the time {time:?}");
        for header in ["Client-Time", "Client-Last-Updated"] {
            let bad = merge(format!("{header}: {why}"), r#"{"nothing":1}"#);
            cases.push(bad.header(header, *time));
        }
        let edit = json!({ "at": time, "columns": { "nothing": { "value": 1, "at": time } } });
        cases.push(Case::new(&why, "PATCH", thing()).body(EDIT, edit.to_string()));
        let edit = json!({ "table": "things", "id": id(1), "op": "update", "at": time,
                           "columns": { "nothing": { "value": 1 } } });
        cases.push(push(&why, "push", &json!({ "push": 1, "edits": [edit] })));
        cases.push(Case::new(
            &why,
            "GET",
            format!("/admin/v1/conflicts?since={}", encoded(time)),
        ));
    }
    for at in [json!(7), json!(true), json!([]), json!({})] {
        let edit = json!({ "at": at, "columns": { "nothing": { "value": Json::Null } } });
        cases.push(
            Case::new("a time that is no text", "PATCH", thing()).body(EDIT, edit.to_string()),
        );
    }
    cases
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
