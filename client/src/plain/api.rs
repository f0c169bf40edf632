//! The calls of a plain REST API, over HTTP.
//!
//! The only part of this room that knows HTTP; must not know what an answer is good for. No redirect is followed,
//! and no answer is read beyond a bound.

use std::io::Read as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use chrono::DateTime;
use colsync_shared::Time;
use serde_json::Value as Json;
pub(super) use ureq::http::Method;
use ureq::http::{HeaderMap, Request, Response, Uri};
use ureq::{Agent, Body};

use super::call::Call;
use super::description::Description;
use super::patience::pause;
use crate::client::Settings;
use crate::edges::Clock;
use crate::error::Error;
use crate::remote::{Trouble, agent, check_url};

/// The largest answer that is read, bytes.
const LARGEST_ANSWER: u64 = 64 << 20;
const HALF_SECOND_US: i64 = 500_000;
/// What is kept of a refusal's text, bytes.
const LONGEST_REASON: usize = 500;

/// An API by its URL.
pub(super) struct Api {
    agent: Agent,
    base: String,
    /// Scheme and authority, to which alone requests go.
    origin: String,
    auth: Option<(String, String)>,
    clock: Clock,
    offset_us: AtomicI64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A row's representation.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) body: Json,
    /// A strong ETag, with its quotes.
    pub(super) etag: Option<String>,
}

/// An answer to a request for a list.
#[derive(Debug)]
pub(super) enum Listed {
    /// It is what it was.
    Unchanged,
    /// This is it; null if the answer has no body.
    Page {
        body: Json,
        etag: Option<String>,
        /// Where the header of the next page leads.
        next: Option<String>,
    },
}

/// An answer to a write.
#[derive(Debug)]
pub(super) enum Written {
    /// It is done; the row as it is now, if the answer says.
    Done(Option<Json>),
    /// Someone else was faster: 412.
    Stale,
    /// It was too early, and is not any more: 429. What is there may have changed while this was waited for.
    Later,
    /// There is no such row: 404, 410.
    NoRow(Refusal),
    /// It is there already, or in the way of something: 409.
    Clash(Refusal),
    /// The API would never take it: 400, 405, 413, 422.
    Refused(Refusal),
}

/// What the API said of a refused write.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) detail: String,
}

impl Api {
    /// The API at `url`.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub(super) fn new(
        url: &str,
        description: &Description,
        settings: &Settings,
    ) -> Result<Api, Error> {
        check_url(url)?;
        let refuse = || Error::Url {
            url: String::new(),
            reason: "no URL".to_owned(),
        };
        let parsed: Uri = url.parse().map_err(|_no_url| refuse())?;
        let (scheme, authority) = (parsed.scheme_str(), parsed.authority());
        let origin = match (scheme, authority) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            _ => return Err(refuse()),
        };
        let auth = settings.token.as_ref().map(|token| {
            let scheme = description.auth.scheme.trim();
            let value = format!("{scheme} {token}").trim_start().to_owned();
            (description.auth.header.clone(), value)
        });
        Ok(Api {
            agent: agent(settings.timeout),
            base: url.trim_end_matches('/').to_owned(),
            origin,
            auth,
            clock: settings.clock,
            offset_us: AtomicI64::new(i64::MIN),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// Bytes of bodies sent and received.
    pub(super) fn traffic(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }

    /// The API's clock less this one's, µs, by the second; `None` before the first answer that tells.
    pub(super) fn offset_us(&self) -> Option<i64> {
        Some(self.offset_us.load(Ordering::Relaxed)).filter(|&offset| offset != i64::MIN)
    }

    /// The whole URL of a filled template.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// One row, `None` if there is none. What compresses an answer on its way weakens its ETag, or changes it.
    pub(super) fn get(&self, path: &str) -> Result<Option<Told>, Trouble> {
        let as_it_is = [("Accept-Encoding", "identity")];
        let response = self.read(&self.url(path), &as_it_is)?;
        match response.status().as_u16() {
            200 => {
                let etag = etag(response.headers()).filter(|etag| etag.starts_with('"'));
                let body = self.json(response)?;
                Ok(Some(Told { body, etag }))
            }
            404 | 410 => Ok(None),
            _ => Err(self.trouble(response)),
        }
    }

    /// A list, or a page of it, from a whole URL. `known` is the ETag of the list that is known, `next` the
    /// header that leads to the next page.
    pub(super) fn list(
        &self,
        url: &str,
        known: Option<&str>,
        next: Option<&str>,
    ) -> Result<Listed, Trouble> {
        let condition = known.map(|etag| ("If-None-Match", etag));
        let headers: Vec<(&str, &str)> = condition.into_iter().collect();
        let response = self.read(url, &headers)?;
        match response.status().as_u16() {
            200 => {
                let next = next.and_then(|name| next_page(response.headers(), name));
                let next = next.map(|next| self.resolve(url, &next)).transpose()?;
                let etag = etag(response.headers());
                let body = self.json(response)?;
                Ok(Listed::Page { body, etag, next })
            }
            204 => Ok(Listed::Page {
                body: Json::Null,
                etag: None,
                next: None,
            }),
            304 if known.is_some() => Ok(Listed::Unchanged),
            _ => Err(self.trouble(response)),
        }
    }

    /// Writes a row, for the `calls`th time.
    pub(super) fn write(&self, write: &Call, calls: u32) -> Result<Written, Trouble> {
        let url = self.url(&write.path);
        let condition = write.condition.as_ref();
        let headers: Vec<(&str, &str)> = condition
            .map(|(name, value)| (*name, value.as_str()))
            .into_iter()
            .collect();
        let body = write.body.as_ref().map(|body| (write.content_type, body));
        let response = self.once(write.method.clone(), &url, &headers, body)?;
        Ok(match response.status().as_u16() {
            200..=299 => Written::Done(self.told(response)?),
            412 => Written::Stale,
            404 | 410 => Written::NoRow(self.refusal(response)),
            409 => Written::Clash(self.refusal(response)),
            400 | 405 | 413 | 422 => Written::Refused(self.refusal(response)),
            // After 503 it may have been made.
            429 if self.has_waited(&response, calls) => Written::Later,
            _ => return Err(self.trouble(response)),
        })
    }

    /// Asks until the API has time.
    fn read(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, Trouble> {
        let mut calls = 1;
        loop {
            let response = self.once(Method::GET, url, headers, None)?;
            if !self.has_waited(&response, calls) {
                return Ok(response);
            }
            calls += 1;
        }
    }

    /// Waits if the API asks for it, after the `calls`th call; whether it is to be called again.
    fn has_waited(&self, response: &Response<Body>, calls: u32) -> bool {
        let told = response.headers().get("Retry-After");
        let told = told.map(|told| told.to_str().unwrap_or_default());
        let now = self.clock.now().shifted(self.offset_us().unwrap_or(0));
        let pause = pause(response.status().as_u16(), told, now, calls);
        pause.inspect(|pause| thread::sleep(*pause)).is_some()
    }

    fn once(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &Json)>,
    ) -> Result<Response<Body>, Trouble> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("Accept", "application/json");
        if let Some((name, value)) = &self.auth {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((content_type, _)) = body {
            request = request.header("Content-Type", content_type);
        }
        let unreachable = |error: ureq::Error| Trouble::Unreachable(error.to_string());
        let nonsense = |error: ureq::http::Error| Trouble::Nonsense(error.to_string());
        let sent_at = self.clock.now();
        let answer = match body {
            None => self.agent.run(request.body(()).map_err(nonsense)?),
            Some((_, body)) => {
                let text = body.to_string();
                self.sent.fetch_add(text.len() as u64, Ordering::Relaxed);
                self.agent.run(request.body(text).map_err(nonsense)?)
            }
        };
        let response = answer.map_err(unreachable)?;
        self.note_offset(response.headers(), sent_at);
        Ok(response)
    }

    fn note_offset(&self, headers: &HeaderMap, sent_at: Time) {
        let told = headers.get("Date").and_then(|value| value.to_str().ok());
        if let Some(date) = told.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            // The header leaves out the fraction of a second: half of one, as far as anyone can tell.
            let offset = Time::from(date.to_utc()).since(sent_at) + HALF_SECOND_US;
            self.offset_us.store(offset, Ordering::Relaxed);
        }
    }

    fn bytes(&self, response: Response<Body>, most: u64) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let reader = response.into_body().into_reader();
        let read = reader.take(most).read_to_end(&mut bytes);
        self.received
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        read.map_err(|broken| Trouble::Unreachable(format!("the answer broke off: {broken}")))?;
        Ok(bytes)
    }

    fn json(&self, response: Response<Body>) -> Result<Json, Trouble> {
        let bytes = self.bytes(response, LARGEST_ANSWER)?;
        if bytes.len() as u64 == LARGEST_ANSWER {
            return Err(Trouble::Nonsense("an answer without an end".to_owned()));
        }
        parsed(&bytes)
    }

    /// What the answer to a write says, if it says anything in JSON. One that broke off may have said that the row
    /// is another, and counts as lost.
    fn told(&self, response: Response<Body>) -> Result<Option<Json>, Trouble> {
        let bytes = self.bytes(response, LARGEST_ANSWER)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        match parsed(&bytes) {
            Ok(body) => Ok(Some(body)),
            Err(Trouble::Nonsense(_)) => Ok(None),
            Err(broken) => Err(broken),
        }
    }

    fn refusal(&self, response: Response<Body>) -> Refusal {
        let status = response.status().as_u16();
        let most = LONGEST_REASON as u64;
        let text = self.bytes(response, most).unwrap_or_default();
        Refusal {
            code: format!("http_{status}"),
            detail: match String::from_utf8_lossy(&text).trim() {
                "" => format!("the API answers {status}"),
                text => text.to_owned(),
            },
        }
    }

    fn trouble(&self, response: Response<Body>) -> Trouble {
        let status = response.status().as_u16();
        let Refusal { code, detail } = self.refusal(response);
        match status {
            408 | 425 | 429 | 500..=599 => {
                Trouble::Unreachable(format!("it answers {status}: {detail}"))
            }
            401 | 403 => Trouble::Forbidden { code, detail },
            100..=399 => Trouble::Nonsense(format!("it answers {status}")),
            _ => Trouble::Refused {
                status,
                code,
                detail,
            },
        }
    }

    /// Where a link of the answer from `url` leads.
    fn resolve(&self, url: &str, link: &str) -> Result<String, Trouble> {
        let whole = if link.starts_with('/') {
            format!("{}{link}", self.origin)
        } else if link.starts_with('?') {
            let path = url.split('?').next().unwrap_or(url);
            format!("{path}{link}")
        } else {
            link.to_owned()
        };
        let rest = whole.strip_prefix(&self.origin);
        if rest.is_some_and(|rest| rest.starts_with('/')) {
            Ok(whole)
        } else {
            // The key goes to nobody else.
            Err(Trouble::Nonsense(
                "the next page is at another server".to_owned(),
            ))
        }
    }
}

fn parsed(bytes: &[u8]) -> Result<Json, Trouble> {
    serde_json::from_slice(bytes).map_err(|broken| {
        if broken.is_eof() {
            Trouble::Unreachable("the answer broke off".to_owned())
        } else {
            Trouble::Nonsense(format!("an answer that is no JSON: {broken}"))
        }
    })
}

fn etag(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("ETag")?.to_str().ok()?;
    Some(value.to_owned())
}

/// The link to the next page: in `Link` the one of `rel=next` (RFC 8288), in another header all of it.
fn next_page(headers: &HeaderMap, name: &str) -> Option<String> {
    if !name.eq_ignore_ascii_case("Link") {
        return Some(headers.get(name)?.to_str().ok()?.to_owned());
    }
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut links = texts.flat_map(|text| text.split('<').skip(1));
    links.find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let plain = parameter.replace(['"', ' ', ','], "");
            plain.eq_ignore_ascii_case("rel=next")
        });
        is_next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_link_of_that_relation() {
        let next = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Link", text.parse().unwrap());
            next_page(&headers, "Link")
        };
        let links = r#"<http://a/?p=1>; rel="first", <http://a/?p=3>; rel="next", <http://a/?p=9>; rel=last"#;
        assert_eq!(next(links).as_deref(), Some("http://a/?p=3"));
        assert_eq!(next(r#"<http://a/?p=1>; rel="prev""#), None);
    }
}
