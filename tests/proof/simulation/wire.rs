//! What goes over the simulations' network.

use colsync_client::simulation::Arrived;
use ureq::http;

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer, with as much of its body as there is.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// Whether the other side broke off within it.
    pub(super) cut: bool,
    /// Where more of it comes from, among a server's open answers.
    pub(super) rest: Option<u64>,
}

impl Sent {
    /// A client's request.
    pub(super) fn of(request: &http::Request<Vec<u8>>) -> Sent {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
        Sent {
            method: request.method().to_string(),
            path: request.uri().path_and_query().unwrap().to_string(),
            headers: headers.collect(),
            body: request.body().clone(),
        }
    }

    /// The request for people.
    pub(super) fn told(&self) -> String {
        let is_told = |name: &str| name.starts_with("client-") || name.starts_with("if-");
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| is_told(&name.to_ascii_lowercase()));
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let body = zstd::decode_all(self.body.as_slice()).unwrap_or_else(|_| self.body.clone());
        let body = String::from_utf8_lossy(&body);
        format!(
            "{} {} {} {body}",
            self.method,
            self.path,
            headers.join(", ")
        )
    }
}

impl Answer {
    /// As it arrives, whole or cut.
    pub(super) fn arriving(self, cut: bool) -> http::Response<Arrived> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(name, value.as_slice());
        }
        let bytes = self.body;
        response.body(Arrived { bytes, cut }).unwrap()
    }

    /// One without a body.
    pub(super) fn bare(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: false,
            rest: None,
        }
    }
}
