//! The corpus: bad requests, each with why it is bad. A request that may be fine in itself also names a column that
//! is none, so that every one of them must be refused.

mod documents;
mod edits;
mod keys;
mod packed;
mod requests;
mod values;

use serde_json::Value as Json;

use super::subject::thing;

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const PATCH: &str = "application/json-patch+json";
pub(super) const EDIT: &str = "application/vnd.colsync.edit+json";

/// A bad request. `{conflict}` and `{cursor}` in its path are the server's own.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) why: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Media type and bytes.
    pub(super) body: Option<(String, Vec<u8>)>,
    /// Whether it may be answered as if it were good: it only reads.
    pub(super) harmless: bool,
}

impl Case {
    pub(super) fn new(why: impl Into<String>, method: &str, path: impl Into<String>) -> Case {
        Case {
            why: why.into(),
            method: method.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: None,
            harmless: method == "GET",
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Case {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Case {
        self.body = Some((media_type.to_owned(), body.into()));
        self
    }

    pub(super) fn names(&self, header: &str) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(header))
    }

    /// Whether its body is what it is, packed or not.
    pub(super) fn is_packed(&self) -> bool {
        self.names("Content-Encoding")
    }
}

/// A merge patch of the row that is there.
pub(super) fn merge(why: impl Into<String>, body: impl Into<Vec<u8>>) -> Case {
    Case::new(why, "PATCH", thing()).body(MERGE, body)
}

/// A JSON Patch of it.
pub(super) fn operations(why: impl Into<String>, body: &Json) -> Case {
    Case::new(why, "PATCH", thing()).body(PATCH, body.to_string())
}

/// A push of one kind.
pub(super) fn push(why: impl Into<String>, kind: &str, body: &Json) -> Case {
    Case::new(why, "POST", format!("/v1/sync/{kind}")).body(JSON, body.to_string())
}

/// Every call that takes a body: method, path, media type.
pub(super) fn writes() -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("POST", "/v1/tables/things/rows".to_owned(), JSON),
        ("PUT", thing(), JSON),
        ("PATCH", thing(), MERGE),
        ("PATCH", thing(), JSON),
        ("PATCH", thing(), PATCH),
        ("PATCH", thing(), EDIT),
        ("POST", "/v1/sync/push".to_owned(), JSON),
        ("POST", "/v1/sync/log".to_owned(), JSON),
        ("POST", "/v1/sync/rows".to_owned(), JSON),
        (
            "POST",
            "/admin/v1/conflicts/{conflict}/resolve".to_owned(),
            JSON,
        ),
    ]
}

/// All of it.
pub(super) fn all() -> Vec<Case> {
    [
        documents::cases(),
        values::cases(),
        values::times(),
        keys::cases(),
        edits::cases(),
        edits::pointers(),
        edits::decisions(),
        requests::headers(),
        requests::parameters(),
        requests::methods(),
        packed::cases(),
    ]
    .concat()
}
