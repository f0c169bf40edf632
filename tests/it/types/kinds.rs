//! The types of both databases, as data.

use colsync_tests::Backend;
use serde_json::{Value as Json, json};

/// A column's type, values sent and how each comes back, and values that it refuses.
pub(super) struct Kind {
    pub(super) declared: &'static str,
    /// As `GET /v1/schema` calls it.
    pub(super) name: &'static str,
    pub(super) there_and_back: Vec<(Json, Json)>,
    /// A literal of SQL, and how it comes out.
    pub(super) sql: (&'static str, Json),
    pub(super) refused: Vec<Json>,
}

fn kind(
    declared: &'static str,
    name: &'static str,
    there_and_back: &[(Json, Json)],
    sql: (&'static str, Json),
    refused: &[Json],
) -> Kind {
    Kind {
        declared,
        name,
        there_and_back: there_and_back.to_vec(),
        sql,
        refused: refused.to_vec(),
    }
}

/// A value that comes back as it was sent.
fn same(value: Json) -> (Json, Json) {
    (value.clone(), value)
}

fn on_sqlite() -> Vec<Kind> {
    let big = || same(json!("9223372036854775807"));
    let small = || same(json!("-9223372036854775808"));
    vec![
        kind(
            "TEXT",
            "text",
            &[same(json!("")), same(json!("ä 🦀 \u{1}'\"\\"))],
            ("'x'", json!("x")),
            &[json!(1), json!("\0")],
        ),
        kind(
            "VARCHAR(3)",
            "text",
            &[same(json!("äöü"))],
            ("'x'", json!("x")),
            &[json!("four")],
        ),
        kind(
            "BOOLEAN",
            "bool",
            &[same(json!(true)), same(json!(false))],
            ("1", json!(true)),
            &[json!(1), json!("true")],
        ),
        kind(
            "INTEGER",
            "integer",
            &[big(), small(), same(json!(0)), (json!("7"), json!(7))],
            ("-1", json!(-1)),
            &[json!(1.5), json!("x")],
        ),
        kind(
            "BIGINT",
            "integer",
            &[same(json!(9_007_199_254_740_991_i64))],
            ("9007199254740993", json!("9007199254740993")),
            &[json!(true)],
        ),
        kind(
            "REAL",
            "real",
            &[same(json!(0.1)), same(json!(-1e300)), same(json!(5e-324))],
            ("2.5", json!(2.5)),
            &[json!("NaN"), json!("1")],
        ),
        kind(
            "DOUBLE",
            "real",
            &[same(json!(1234.5678))],
            ("0.5", json!(0.5)),
            &[json!({})],
        ),
        kind(
            "NUMERIC(10, 2)",
            "decimal",
            &[
                same(json!("0.99")),
                (json!(1.5), json!("1.50")),
                same(json!("-99999999.99")),
            ],
            ("12.5", json!("12.50")),
            &[json!("0.999"), json!("100000000"), json!("NaN")],
        ),
        kind(
            "DATE",
            "date",
            &[same(json!("2024-02-29"))],
            ("'2026-11-22'", json!("2026-11-22")),
            &[json!("2023-02-29"), json!(0)],
        ),
        kind(
            "DATETIME",
            "datetime",
            &[
                same(json!("2026-11-22T10:00:00.120000")),
                (
                    json!("2026-11-22 10:00:00"),
                    json!("2026-11-22T10:00:00.000000"),
                ),
            ],
            ("'2009-01-01 00:00:00'", json!("2009-01-01T00:00:00.000000")),
            &[json!("2026-11-22"), json!("now")],
        ),
        kind(
            "UUID",
            "uuid",
            &[same(json!("018f0000-0000-7000-8000-0000000000ab"))],
            (
                "'018f0000-0000-7000-8000-0000000000ac'",
                json!("018f0000-0000-7000-8000-0000000000ac"),
            ),
            &[json!("x")],
        ),
        kind(
            "BLOB",
            "bytes",
            &[same(json!("AP9/")), same(json!(""))],
            ("x'00ff7f'", json!("AP9/")),
            &[json!("*"), json!("AP9")],
        ),
        kind(
            "JSON",
            "json",
            &[
                same(json!({ "a": [1, null, { "b": "c" }], "d": 1.5 })),
                same(json!([])),
                same(json!("text")),
                same(json!(7)),
            ],
            ("'{\"a\": 1}'", json!({ "a": 1 })),
            &[json!({ "a": "\0" })],
        ),
    ]
}

fn on_postgres() -> Vec<Kind> {
    vec![
        kind(
            "text",
            "text",
            &[same(json!("")), same(json!("ä 🦀 \u{1}'\"\\"))],
            ("'x'", json!("x")),
            &[json!(1), json!("\0")],
        ),
        kind(
            "varchar(3)",
            "text",
            &[same(json!("äöü"))],
            ("'x'", json!("x")),
            &[json!("four")],
        ),
        kind(
            "boolean",
            "bool",
            &[same(json!(true)), same(json!(false))],
            ("true", json!(true)),
            &[json!(1), json!("true")],
        ),
        kind(
            "smallint",
            "integer",
            &[same(json!(-32768)), same(json!(32767))],
            ("1", json!(1)),
            &[json!(32768), json!(1.5)],
        ),
        kind(
            "integer",
            "integer",
            &[same(json!(-2_147_483_648_i64))],
            ("1", json!(1)),
            &[json!(2_147_483_648_i64)],
        ),
        kind(
            "bigint",
            "integer",
            &[
                same(json!("9223372036854775807")),
                same(json!("-9223372036854775808")),
            ],
            ("9007199254740993", json!("9007199254740993")),
            &[json!("9223372036854775808")],
        ),
        kind(
            "real",
            "real",
            &[same(json!(0.1)), same(json!(-1.5))],
            ("2.5", json!(2.5)),
            &[json!(1e39), json!("1")],
        ),
        kind(
            "double precision",
            "real",
            &[same(json!(0.1)), same(json!(-1e300)), same(json!(5e-324))],
            ("'NaN'", json!("NaN")),
            &[json!("NaN")],
        ),
        kind(
            "numeric",
            "decimal",
            &[
                same(json!("0.12345678901234567890123456789")),
                same(json!("12345678901234567890123456789")),
            ],
            ("1.5", json!("1.5")),
            &[json!("NaN"), json!("1e999999999"), json!("x")],
        ),
        kind(
            "numeric(10, 2)",
            "decimal",
            &[same(json!("0.99")), (json!(1.5), json!("1.50"))],
            ("12.5", json!("12.50")),
            &[json!("0.999"), json!("100000000")],
        ),
        kind(
            "date",
            "date",
            &[same(json!("2024-02-29")), same(json!("0001-01-01"))],
            ("'2026-11-22'", json!("2026-11-22")),
            &[json!("2023-02-29")],
        ),
        kind(
            "time",
            "time",
            &[
                same(json!("23:59:59.999999")),
                (json!("10:00:00"), json!("10:00:00.000000")),
            ],
            ("'10:30'", json!("10:30:00.000000")),
            &[json!("24:00:01"), json!("x")],
        ),
        kind(
            "timestamp",
            "datetime",
            &[same(json!("2026-11-22T10:00:00.120000"))],
            ("'2009-01-01 00:00:00'", json!("2009-01-01T00:00:00.000000")),
            &[json!("2026-11-22T10:00:00Z"), json!("x")],
        ),
        kind(
            "timestamptz",
            "timestamp",
            &[(
                json!("2026-11-22T12:00:00.5+02:00"),
                json!("2026-11-22T10:00:00.500000Z"),
            )],
            (
                "'2009-01-01 00:00:00+01'",
                json!("2008-12-31T23:00:00.000000Z"),
            ),
            &[json!("2026-11-22T10:00:00")],
        ),
        kind(
            "time(0)",
            "time",
            &[(json!("10:00:01"), json!("10:00:01.000000"))],
            ("'10:30'", json!("10:30:00.000000")),
            &[json!("10:00:00.5")],
        ),
        kind(
            "timestamp(3)",
            "datetime",
            &[same(json!("2026-11-22T10:00:00.129000"))],
            ("'2009-01-01 00:00:00'", json!("2009-01-01T00:00:00.000000")),
            &[json!("2026-11-22T10:00:00.1234"), json!("x")],
        ),
        kind(
            "timestamptz(3)",
            "timestamp",
            &[(
                json!("2026-11-22T12:00:00.5+02:00"),
                json!("2026-11-22T10:00:00.500000Z"),
            )],
            (
                "'2009-01-01 00:00:00+01'",
                json!("2008-12-31T23:00:00.000000Z"),
            ),
            &[json!("2026-11-22T12:00:00.000001+02:00")],
        ),
        kind(
            "timestamp(1)[]",
            "array",
            &[same(json!([["2026-11-22T10:00:00.100000"], [null]]))],
            ("'{}'", json!([])),
            &[
                json!(["2026-11-22T10:00:00.120000"]),
                json!([["2026-11-22T10:00:00.120000"]]),
            ],
        ),
        kind(
            "numeric(3, -2)",
            "decimal",
            &[
                same(json!("12300")),
                same(json!("0")),
                same(json!("-99900")),
            ],
            ("500", json!("500")),
            &[json!("12345"), json!("10"), json!("100000"), json!("0.5")],
        ),
        kind(
            "uuid",
            "uuid",
            &[(
                json!("018F0000-0000-7000-8000-0000000000AB"),
                json!("018f0000-0000-7000-8000-0000000000ab"),
            )],
            (
                "'018f0000-0000-7000-8000-0000000000ac'",
                json!("018f0000-0000-7000-8000-0000000000ac"),
            ),
            &[json!("x")],
        ),
        kind(
            "json",
            "json",
            &[
                same(json!({ "a": [1, null, { "b": "c" }] })),
                same(json!("text")),
            ],
            ("'{\"a\": 1}'", json!({ "a": 1 })),
            &[json!(["\0"])],
        ),
        kind(
            "jsonb",
            "json",
            &[
                same(json!({ "a": [1.5, true] })),
                same(json!([])),
                same(json!(7)),
            ],
            ("'[1]'", json!([1])),
            &[json!({ "\0": 1 })],
        ),
        kind(
            "bytea",
            "bytes",
            &[same(json!("AP9/")), same(json!(""))],
            ("'\\x00ff7f'", json!("AP9/")),
            &[json!("*")],
        ),
        kind(
            "mood",
            "enum",
            &[same(json!("sad")), same(json!("very happy"))],
            ("'sad'", json!("sad")),
            &[json!("angry"), json!(1)],
        ),
        kind(
            "integer[]",
            "array",
            &[
                same(json!([1, null, -3])),
                same(json!([])),
                same(json!([[1, 2], [3, 4]])),
            ],
            ("'{5,NULL}'", json!([5, null])),
            &[
                json!([[1], [2, 3]]),
                json!(["x"]),
                json!(7),
                json!([2_147_483_648_i64]),
            ],
        ),
        kind(
            "text[]",
            "array",
            &[same(json!(["a,b", "{\"}", "", "NULL", "\\"]))],
            ("ARRAY['x', NULL]", json!(["x", null])),
            &[json!([1])],
        ),
        kind(
            "numeric(10, 2)[]",
            "array",
            &[(json!([1.5, "2.25"]), json!(["1.50", "2.25"]))],
            ("'{0.5}'", json!(["0.50"])),
            &[json!(["0.999"])],
        ),
        kind(
            "uuid[]",
            "array",
            &[same(json!(["018f0000-0000-7000-8000-0000000000ab"]))],
            ("'{}'", json!([])),
            &[json!(["x"])],
        ),
        kind(
            "timestamptz[]",
            "array",
            &[same(json!(["2026-11-22T10:00:00.000000Z"]))],
            (
                "ARRAY['2009-01-01 00:00:00+01'::timestamptz]",
                json!(["2008-12-31T23:00:00.000000Z"]),
            ),
            &[json!(["x"])],
        ),
        kind(
            "mood[]",
            "array",
            &[same(json!(["sad", "very happy"]))],
            ("ARRAY['sad'::mood]", json!(["sad"])),
            &[json!(["angry"])],
        ),
        kind(
            "jsonb[]",
            "array",
            &[same(json!([{ "a": 1 }, [2], "x"]))],
            ("ARRAY['{\"a\": 1}'::jsonb]", json!([{ "a": 1 }])),
            &[json!({})],
        ),
    ]
}

pub(super) fn kinds(backend: Backend) -> Vec<Kind> {
    match backend {
        Backend::Sqlite => on_sqlite(),
        Backend::Postgres => on_postgres(),
    }
}
