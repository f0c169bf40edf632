//! Values and columns that a row does not take.

use colsync_tests::tables::id;

use super::cases::{Case, PLAIN, ROWS, case, patch};
use crate::todo;

pub(super) fn of_values() -> Vec<Case> {
    let refused = |column| (422, "invalid_value", column);
    vec![
        patch(
            "an unknown column",
            r#"{"nothing":1}"#,
            (422, "unknown_column", "nothing"),
        ),
        patch(
            "another case",
            r#"{"Title":"x"}"#,
            (422, "unknown_column", "Title"),
        ),
        patch(
            "a column of colsync",
            r#"{"sync_version":9}"#,
            (422, "read_only_column", "sync_version"),
        ),
        patch(
            "one that is none",
            r#"{"sync_anything":9}"#,
            (422, "read_only_column", "sync_anything"),
        ),
        patch(
            "the metadata",
            r#"{"_sync":{}}"#,
            (422, "read_only_column", "_sync"),
        ),
        patch(
            "another key",
            format!("{{\"id\":\"{}\"}}", id(2)),
            (422, "key_is_immutable", "id"),
        ),
        patch("no key", r#"{"id":null}"#, (422, "key_is_immutable", "id")),
        patch("a number for text", r#"{"title":5}"#, refused("title")),
        patch("an object for text", r#"{"title":{}}"#, refused("title")),
        patch(
            "a string for a truth value",
            r#"{"done":"yes"}"#,
            refused("done"),
        ),
        patch(
            "a number for a truth value",
            r#"{"done":1}"#,
            refused("done"),
        ),
        patch(
            "a fraction for an integer",
            r#"{"priority":1.5}"#,
            refused("priority"),
        ),
        patch(
            "a word for an integer",
            r#"{"priority":"x"}"#,
            refused("priority"),
        ),
        patch(
            "more than 64 bits",
            r#"{"priority":9223372036854775808}"#,
            refused("priority"),
        ),
        patch(
            "far more than 64 bits",
            r#"{"priority":1e400}"#,
            refused("priority"),
        ),
        patch("NUL", r#"{"title":"a\u0000b"}"#, refused("title")),
        patch(
            "NUL in a document",
            r#"{"data":["\u0000"]}"#,
            refused("data"),
        ),
        patch(
            "NUL in a member's name",
            r#"{"data":[{"\u0000":1}]}"#,
            refused("data"),
        ),
        patch(
            "a number out of range",
            r#"{"data":[1e999]}"#,
            refused("data"),
        ),
        patch(
            "a number of many zeros before its first digit",
            r#"{"data":[1e-9000000000000000000]}"#,
            refused("data"),
        ),
        patch(
            "a number of a billion zeros",
            r#"{"data":{"a":-1e-999999999}}"#,
            refused("data"),
        ),
        patch(
            "nothing, with an exponent",
            r#"{"data":0e-9000000000000000000}"#,
            refused("data"),
        ),
        patch(
            "a number of many digits",
            format!(r#"{{"data":0.{}1}}"#, "0".repeat(20_000)),
            refused("data"),
        ),
        patch(
            "one good and one bad column",
            r#"{"note":"x","title":5}"#,
            refused("title"),
        ),
        patch(
            "NULL where there must be a value",
            r#"{"done":null}"#,
            (409, "constraint_violation", ""),
        ),
        case(
            "POST: a bad id",
            ("POST", ROWS),
            PLAIN,
            r#"{"id":"x"}"#,
            refused("id"),
        ),
        case(
            "POST: an unknown column",
            ("POST", ROWS),
            PLAIN,
            r#"{"nothing":1}"#,
            (422, "unknown_column", "nothing"),
        ),
        case(
            "POST: a column of colsync",
            ("POST", ROWS),
            PLAIN,
            r#"{"sync_txid":1}"#,
            (422, "read_only_column", "sync_txid"),
        ),
        case(
            "POST: an array",
            ("POST", ROWS),
            PLAIN,
            "[]",
            (400, "malformed_edit", ""),
        ),
        case(
            "POST: no key",
            ("POST", "/v1/tables/labels/rows"),
            PLAIN,
            "{}",
            refused("code"),
        ),
        case(
            "POST: half a key",
            ("POST", "/v1/tables/labels/rows"),
            PLAIN,
            r#"{"code":null}"#,
            refused("code"),
        ),
        case(
            "PUT: another key",
            ("PUT", &todo(1)),
            PLAIN,
            format!("{{\"id\":\"{}\"}}", id(2)),
            (422, "key_is_immutable", "id"),
        ),
        case(
            "PUT: an unknown column",
            ("PUT", &todo(1)),
            PLAIN,
            r#"{"nothing":1}"#,
            (422, "unknown_column", "nothing"),
        ),
        case(
            "PUT: a wrong type",
            ("PUT", &todo(1)),
            PLAIN,
            r#"{"title":1,"done":true}"#,
            refused("title"),
        ),
        case(
            "DELETE: a bad id",
            ("DELETE", "/v1/tables/todos/rows/x"),
            "",
            "",
            (400, "invalid_value", "id"),
        ),
    ]
}
