//! Names of tables and ids of rows, of every shape.

use super::{Case, JSON, MERGE};

const TABLES: &[&str] = &[
    "nothing",
    "THINGS",
    "things%20",
    "%20things",
    "things%00",
    "things%22",
    "things%27%20OR%201=1--",
    "things;DROP%20TABLE%20things",
    "%22things%22",
    "public.things",
    "main.things",
    "sqlite_master",
    "pg_class",
    "pg_catalog.pg_class",
    "colsync_clients",
    "colsync_conflicts",
    "t%C3%A9ings",
    "%F0%9F%92%A3",
    "%FF%FE",
    "%zz",
    "..",
    "%2e%2e",
    "%2F",
    "{table}",
    "*",
    "thing%73s",
];

/// Table and ids. None of them is a row that is there, however it is read.
const IDS: &[(&str, &[&str])] = &[
    (
        "things",
        &[
            "x",
            "%20",
            "%00",
            "%FF",
            "%zz",
            "018f0000-0000-7000-8000",
            "018f0000-0000-7000-8000-00000000000g",
            "018f0000000070008000000000000001,1",
            "%22018f0000-0000-7000-8000-000000000001%22",
            "018f0000-0000-7000-8000-000000000001%20",
            "018f0000-0000-7000-8000-000000000001%00",
            "018f0000-0000-7000-8000-0000000000ff",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "%7B018f0000-0000-7000-8000-0000000000ff%7D",
            "urn:uuid:018f0000-0000-7000-8000-0000000000ff",
            "'%20OR%20'1'='1",
            "1;DROP%20TABLE%20things",
            "%F0%9F%92%A3",
            "%2F%2F",
        ],
    ),
    (
        "tickets",
        &[
            "x",
            "1.5",
            "1e3",
            "0x1",
            "%201",
            "1%20",
            "1,2",
            "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775807",
            "-1",
            "%2B",
            "--1",
            "%D9%A1",
            "NaN",
            "null",
            "true",
        ],
    ),
    (
        "members",
        &[
            "a",
            "a,b,1",
            "a%2Cb",
            ",",
            ",,",
            "a,",
            ",1",
            "a,x",
            "a,1.5",
            "a%25,1",
            "a%25zz,1",
            "a%25FF,1",
            "a,9223372036854775808",
            "a%00,1",
            "%25,1",
        ],
    ),
    (
        "labels",
        &[
            "%00",
            "%FF",
            "a,b",
            "%25FF",
            "%25",
            "%25zz",
            "nothing",
            "%F0%9F%92%A3",
            "q%22'",
        ],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for table in TABLES {
        let why = format!("a table called {table}");
        let rows = format!("/v1/tables/{table}/rows");
        let row = format!("{rows}/018f0000-0000-7000-8000-0000000000ff");
        cases.push(Case::new(&why, "GET", rows.clone()));
        cases.push(Case::new(&why, "POST", rows).body(JSON, r#"{"nothing":1}"#));
        cases.push(Case::new(&why, "PATCH", row.clone()).body(MERGE, r#"{"nothing":1}"#));
        cases.push(Case::new(&why, "DELETE", row.clone()));
        cases.push(Case::new(&why, "GET", row));
        cases.push(Case::new(&why, "GET", format!("/admin/v1/rows/{table}/1")));
        cases.push(Case::new(
            &why,
            "GET",
            format!("/v1/sync/pull?tables={table}"),
        ));
    }
    let long = "9".repeat(8_000);
    for (table, ids) in IDS {
        for id in ids.iter().copied().chain([long.as_str()]) {
            let shown: String = id.chars().take(40).collect();
            let why = format!("a row of {table} called {shown}");
            let row = format!("/v1/tables/{table}/rows/{id}");
            cases.push(Case::new(&why, "GET", row.clone()));
            cases.push(Case::new(&why, "DELETE", row.clone()));
            cases.push(Case::new(&why, "PATCH", row.clone()).body(MERGE, r#"{"nothing":1}"#));
            cases.push(Case::new(&why, "PUT", row).body(JSON, r#"{"nothing":1}"#));
            cases.push(Case::new(
                &why,
                "GET",
                format!("/admin/v1/rows/{table}/{id}"),
            ));
            cases.push(Case::new(
                &why,
                "GET",
                format!("/v1/tables/{table}/rows?after={id}"),
            ));
        }
    }
    cases
}
