//! A colsync server: the calls, over HTTP.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colsync_shared::schema_wire::SchemaWire;
use colsync_shared::{ClientId, Time};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::{Pull, PushAnswer, Remote, Trouble};
use crate::client::Settings;
use crate::edges::Clock;
use crate::error::Error;
use crate::outbox::freeze::Frozen;

/// The largest answer that is read as a whole, bytes.
const LARGEST_ANSWER: u64 = 256 << 20;

/// A server by its URL.
pub(crate) struct Http {
    agent: Agent,
    base: String,
    token: Option<String>,
    clock: Clock,
    /// The server's clock less this one's, µs, as the last answer told; `i64::MIN` before the first.
    offset_us: AtomicI64,
    sent: AtomicU64,
    received: Arc<AtomicU64>,
}

/// A refusal as the server writes it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    expected: Option<i64>,
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Http {
    /// The server at `url`.
    ///
    /// # Errors
    /// [`Error::Url`] if that is no URL of HTTP.
    pub(crate) fn new(url: &str, settings: &Settings) -> Result<Http, Error> {
        check_url(url)?;
        Ok(Http {
            agent: agent(settings.timeout),
            base: url.trim_end_matches('/').to_owned(),
            token: settings.token.clone(),
            clock: settings.clock,
            offset_us: AtomicI64::new(i64::MIN),
            sent: AtomicU64::new(0),
            received: Arc::default(),
        })
    }
}

impl Remote for Http {
    fn traffic(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }

    fn offset_us(&self) -> Option<i64> {
        Some(self.offset_us.load(Ordering::Relaxed)).filter(|&offset| offset != i64::MIN)
    }

    /// `GET /v1/schema`.
    fn schema(&mut self, client: ClientId) -> Result<SchemaWire, Trouble> {
        let response = self.get("/v1/schema", client, &[])?;
        self.json(response)
    }

    /// `POST /v1/sync/push`, or the call of another mode.
    fn push(
        &mut self,
        client: ClientId,
        push: &Frozen,
        position: Option<&str>,
        compress: bool,
    ) -> Result<PushAnswer, Trouble> {
        let url = format!("{}/v1/sync/{}", self.base, push.mode.call());
        let body = push.body.as_slice();
        let sent_at = self.clock.now();
        let mut request = self
            .agent
            .post(&url)
            .header("Client-Id", client.to_string())
            .header("Client-Time", sent_at.to_string())
            .header("Accept-Encoding", "zstd")
            .header("Content-Type", "application/json");
        if let Some(cursor) = position {
            request = request.header("Client-Cursor", cursor);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let started = Instant::now();
        let plain;
        let bytes = if compress {
            request = request.header("Content-Encoding", "zstd");
            body
        } else {
            plain = zstd::stream::decode_all(body)
                .map_err(|broken| Trouble::Nonsense(format!("a kept push: {broken}")))?;
            &plain
        };
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let response = request.send(bytes).map_err(unreachable)?;
        self.note_offset(response.headers(), sent_at, started.elapsed());
        self.json(self.success(response, true)?)
    }

    /// `GET /v1/sync/pull`.
    fn pull(
        &mut self,
        client: ClientId,
        tables: &[&str],
        cursor: Option<&str>,
        after_push: Option<i64>,
        limit: u64,
    ) -> Result<Pull, Trouble> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let names: Vec<String> = tables.iter().map(|name| encode(name)).collect();
        let mut path = format!("/v1/sync/pull?limit={limit}&tables={}", names.join("%2C"));
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encode(cursor)));
        }
        let mut headers = Vec::new();
        if let Some(number) = after_push {
            headers.push(("Client-Push", number.to_string()));
        }
        let response = self.get(&path, client, &headers)?;
        Ok(Pull::new(self.body(response)?))
    }
}

impl Http {
    fn get(
        &self,
        path: &str,
        client: ClientId,
        headers: &[(&str, String)],
    ) -> Result<Response<Body>, Trouble> {
        let sent_at = self.clock.now();
        let mut request = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("Client-Id", client.to_string())
            .header("Client-Time", sent_at.to_string())
            .header("Accept-Encoding", "zstd");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let started = Instant::now();
        let response = request.call().map_err(unreachable)?;
        self.note_offset(response.headers(), sent_at, started.elapsed());
        self.success(response, false)
    }

    /// The request's head arrived at `Server-Time`, half of the round trip after it left, as far as anyone
    /// can tell.
    fn note_offset(&self, headers: &HeaderMap, sent_at: Time, round_trip: Duration) {
        let told = headers.get("Server-Time").and_then(|v| v.to_str().ok());
        if let Some(server) = told.and_then(|text| text.parse::<Time>().ok()) {
            let half = i64::try_from(round_trip.as_micros() / 2).unwrap_or(i64::MAX);
            let offset = server.since(sent_at.shifted(half));
            self.offset_us.store(offset, Ordering::Relaxed);
        }
    }

    fn body(&self, response: Response<Body>) -> Result<Box<dyn Read + Send>, Trouble> {
        let encoding = response
            .headers()
            .get("Content-Encoding")
            .and_then(|value| value.to_str().ok())
            .map(str::to_ascii_lowercase);
        let counted = Counted {
            inner: response.into_body().into_reader(),
            count: self.received.clone(),
        };
        match encoding.as_deref() {
            None | Some("identity") => Ok(Box::new(counted)),
            Some("zstd") => {
                let decoder = zstd::stream::read::Decoder::new(counted)
                    .map_err(|broken| Trouble::Nonsense(broken.to_string()))?;
                Ok(Box::new(decoder))
            }
            Some(other) => Err(Trouble::Nonsense(format!("an answer in {other}"))),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, response: Response<Body>) -> Result<T, Trouble> {
        let mut bytes = Vec::new();
        self.body(response)?
            .take(LARGEST_ANSWER)
            .read_to_end(&mut bytes)
            .map_err(|broken| Trouble::Unreachable(format!("the answer broke off: {broken}")))?;
        serde_json::from_slice(&bytes).map_err(|broken| {
            if broken.is_eof() {
                Trouble::Unreachable("the answer broke off".to_owned())
            } else {
                Trouble::Nonsense(broken.to_string())
            }
        })
    }

    /// The answer, if it is a success.
    fn success(&self, response: Response<Body>, is_push: bool) -> Result<Response<Body>, Trouble> {
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let is_problem = response
            .headers()
            .get("Content-Type")
            .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
        let problem: Problem = match is_problem.then(|| self.json(response)) {
            // What it says is not all here, and may be what this client is to do.
            Some(Err(broken @ Trouble::Unreachable(_))) => return Err(broken),
            Some(Ok(problem)) => problem,
            Some(Err(_)) | None => Problem::default(),
        };
        let Problem {
            code,
            detail,
            expected,
        } = problem;
        Err(match (status, code.as_str()) {
            (408 | 425 | 429 | 500..=599, _) => Trouble::Unreachable(match detail.as_str() {
                "" => format!("it answers {status}"),
                detail => format!("it answers {status}: {detail}"),
            }),
            // A success without a body, or an answer from elsewhere: nothing that could be settled by.
            (100..=399, _) => Trouble::Nonsense(format!("it answers {status}")),
            (401 | 403, _) => Trouble::Forbidden { code, detail },
            (404, "unknown_table") => Trouble::UnknownTable { detail },
            (409, "client_forked") => Trouble::Forked,
            (409, "push_out_of_order") => match expected {
                Some(expected) => Trouble::OutOfOrder { expected },
                None => Trouble::Nonsense("push_out_of_order without a number".to_owned()),
            },
            (410, "cursor_expired") => Trouble::Expired,
            (400, "malformed_cursor") => Trouble::Expired,
            (413, _) if is_push => Trouble::BadPush {
                status,
                code,
                detail,
            },
            // Only what the server itself says: a proxy's 400 is no judgement of the edits.
            (400 | 422, _) if is_push && !code.is_empty() && code != "invalid_header" => {
                Trouble::BadPush {
                    status,
                    code,
                    detail,
                }
            }
            (_, _) => Trouble::Refused {
                status,
                code,
                detail,
            },
        })
    }
}

/// How every server is spoken to: its statuses are answers, and nobody is followed elsewhere.
pub(crate) fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder();
    #[cfg(feature = "simulation")]
    let config = config.middleware(crate::simulation::Instead);
    let config = config
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(timeout))
        .timeout_send_body(Some(timeout * 10))
        .timeout_recv_response(Some(timeout * 4))
        .timeout_recv_body(Some(timeout * 40))
        .user_agent(concat!("colsync-client/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::new_with_config(config)
}

/// # Errors
/// [`Error::Url`] if `url` is no URL of HTTP.
pub(crate) fn check_url(url: &str) -> Result<(), Error> {
    // What stands before an @ may be a password.
    let shown = url.rsplit_once('@').map_or(url, |(_, after)| after);
    let refuse = |reason: &str| Error::Url {
        url: shown.to_owned(),
        reason: reason.to_owned(),
    };
    let parsed: ureq::http::Uri = url.parse().map_err(|_no_url| refuse("no URL"))?;
    match (parsed.scheme_str(), parsed.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            Err(refuse("a key is given apart from the URL"))
        }
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => Err(refuse("it must begin with http:// or https://")),
    }
}

fn unreachable(error: ureq::Error) -> Trouble {
    Trouble::Unreachable(error.to_string())
}
