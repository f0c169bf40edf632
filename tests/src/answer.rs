//! What the server answered.

use std::fmt;

use serde_json::Value as Json;
use ureq::http::HeaderMap;

/// An HTTP answer, read to its end.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, inflated.
    pub body: Vec<u8>,
}

impl Answer {
    /// This answer, if its status is the one expected.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// This answer, if it is the problem expected, of the right media type.
    #[track_caller]
    #[must_use]
    pub fn problem(self, status: u16, code: &str) -> Answer {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.json()["status"], status);
        self
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's code; empty if the answer is none.
    #[must_use]
    pub fn code(&self) -> String {
        let body: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The version that the ETag names.
    #[track_caller]
    #[must_use]
    pub fn version(&self) -> i64 {
        let tag = self
            .header("etag")
            .unwrap_or_else(|| panic!("no ETag: {self:?}"));
        tag.trim_matches('"').parse().unwrap()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, self.text())
    }
}
