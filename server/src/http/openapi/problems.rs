//! Every problem that leaves over HTTP, by status and code, with when it does.

/// Status and code of a problem.
pub(super) type Code = (u16, &'static str);

/// All of them.
pub(super) const PROBLEMS: &[(u16, &str, &str)] = &[
    (400, "bad_request", "anything else that cannot be read"),
    (400, "broken_upload", "the body broke off"),
    (400, "invalid_header", "a header cannot be read"),
    (
        400,
        "invalid_parameter",
        "a parameter or decision cannot be read",
    ),
    (400, "invalid_value", "the id is no key of the table"),
    (400, "malformed_cursor", "the cursor is none"),
    (400, "malformed_edit", "the body is no edit"),
    (
        400,
        "malformed_encoding",
        "the body is not what its Content-Encoding says",
    ),
    (400, "malformed_json", "the body is not JSON in UTF-8"),
    (
        400,
        "malformed_patch",
        "the body is no JSON Patch, or a path leads nowhere",
    ),
    (400, "malformed_push", "the body is no push"),
    (400, "too_deep", "the body nests too deep"),
    (401, "unauthorized", "no key, or an unknown one"),
    (
        403,
        "client_of_another_principal",
        "the Client-Id belongs to someone else",
    ),
    (
        403,
        "foreign_origin",
        "without authentication, Host or Origin is not this machine",
    ),
    (404, "conflict_not_found", "no such conflict"),
    (404, "not_found", "there is nothing at this path"),
    (404, "row_not_found", "no such row"),
    (404, "unknown_table", "no such table"),
    (
        405,
        "method_not_allowed",
        "this method is not for this path",
    ),
    (
        406,
        "not_acceptable",
        "Accept-Encoding refuses gzip, zstd and plain alike",
    ),
    (408, "request_timeout", "the body did not arrive in time"),
    (409, "already_resolved", "the conflict has its decision"),
    (
        409,
        "client_forked",
        "the push number had other content, or the server has later pushes of this client",
    ),
    (409, "constraint_violation", "the database refuses the row"),
    (409, "patch_test_failed", "a test of the JSON Patch failed"),
    (409, "push_out_of_order", "the push number leaves a gap"),
    (
        410,
        "cursor_expired",
        "the cursor's position is not in this database's history, or too old",
    ),
    (410, "row_gone", "the row was hard-deleted"),
    (
        413,
        "body_too_large",
        "the body is too large, packed or inflated",
    ),
    (413, "too_many_edits", "the push has too many edits"),
    (
        413,
        "too_many_operations",
        "the JSON Patch has too many operations",
    ),
    (
        415,
        "unsupported_encoding",
        "a body is gzip, zstd, or plain",
    ),
    (
        415,
        "unsupported_media_type",
        "the body's media type is not one of those here",
    ),
    (
        422,
        "idempotency_key_reused",
        "the key was used with other content",
    ),
    (
        422,
        "invalid_value",
        "a value is not of its column's type, or the database cannot hold it",
    ),
    (
        422,
        "key_is_immutable",
        "the key's column has another value",
    ),
    (422, "read_only_column", "the column is colsync's own"),
    (422, "unknown_column", "the table has no such column"),
    (
        500,
        "internal",
        "a fault of the server's, which its log tells",
    ),
    (503, "database_unavailable", "try again"),
    (503, "queue_full", "try again"),
];

/// Codes of edits that are refused within a push, in the order of their names.
pub(super) const REJECTIONS: &[&str] = &[
    "constraint_violation",
    "hard_delete_not_allowed",
    "invalid_value",
    "key_is_immutable",
    "malformed_edit",
    "read_only_column",
    "row_gone",
    "row_not_found",
    "unknown_column",
    "unknown_table",
];

/// When the problem `code` is the answer.
pub(super) fn when((status, code): Code) -> &'static str {
    let known = PROBLEMS
        .iter()
        .find(|known| (known.0, known.1) == (status, code));
    known.map_or("", |known| known.2)
}

/// Any call's.
pub(super) const ANY: &[Code] = &[(406, "not_acceptable"), (500, "internal")];

/// Those of all under `/v1`.
pub(super) const CALLER: &[Code] = &[
    (400, "invalid_header"),
    (401, "unauthorized"),
    (403, "client_of_another_principal"),
    (403, "foreign_origin"),
    (503, "database_unavailable"),
];

/// Those of all under `/admin/v1`. Without a configured token there is nothing there.
pub(super) const ADMIN: &[Code] = &[
    (401, "unauthorized"),
    (404, "not_found"),
    (503, "database_unavailable"),
];

/// Of a table's name in the path.
pub(super) const TABLE: &[Code] = &[(404, "not_found"), (404, "unknown_table")];

/// Of a table's name and a row's id in the path.
pub(super) const ROW: &[Code] = &[
    (400, "invalid_value"),
    (404, "not_found"),
    (404, "unknown_table"),
];

/// Of parameters.
pub(super) const PARAMETERS: &[Code] = &[(400, "bad_request"), (400, "invalid_parameter")];

/// Of a body of JSON.
pub(super) const BODY: &[Code] = &[
    (400, "broken_upload"),
    (400, "malformed_encoding"),
    (400, "malformed_json"),
    (400, "too_deep"),
    (408, "request_timeout"),
    (413, "body_too_large"),
    (415, "unsupported_encoding"),
];

/// Of a body whose media type is looked at.
pub(super) const MEDIA_TYPE: &[Code] = &[(415, "unsupported_media_type")];

/// Of a row that is written.
pub(super) const WRITE: &[Code] = &[
    (400, "malformed_edit"),
    (409, "constraint_violation"),
    (410, "row_gone"),
    (422, "idempotency_key_reused"),
    (422, "invalid_value"),
    (422, "key_is_immutable"),
    (422, "read_only_column"),
    (422, "unknown_column"),
    (503, "queue_full"),
];

/// Of a push of any kind.
pub(super) const PUSH: &[Code] = &[
    (400, "malformed_push"),
    (409, "client_forked"),
    (409, "push_out_of_order"),
    (413, "too_many_edits"),
    (503, "queue_full"),
];
