//! What a request says about itself in its headers: who calls, from which client, by which clock.
//!
//! Each header is checked strictly and named when it is at fault. Whether a client belongs to its
//! caller is the database's business, not this file's.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use colsync_shared::{ClientId, Time};

use super::problem::Problem;
use crate::auth::{self, AuthError, Principal};
use crate::config::Config;
use crate::edges;
use crate::sync::cursor::Cursor;

const CLIENT_ID: &str = "Client-Id";
const CLIENT_TIME: &str = "Client-Time";
const CLIENT_LAST_UPDATED: &str = "Client-Last-Updated";
const CLIENT_PUSH: &str = "Client-Push";
const CLIENT_CURSOR: &str = "Client-Cursor";
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";
const AUTHORIZATION: &str = "Authorization";

/// Who makes a request, and when by which clock.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// [`ClientId::ANONYMOUS`] if the request does not say.
    pub(crate) client: ClientId,
    /// When the request's head arrived, by the server's clock.
    pub(crate) arrived: Time,
    /// The client's clock less the server's, in µs; `None` if the request does not say.
    pub(crate) skew: Option<i64>,
    /// µs to add to every time of the request; 0 while the skew is within its bound.
    pub(crate) shift: i64,
    /// ClientLastUpdated of a bare write, as it was sent.
    pub(crate) last_updated: Option<Time>,
    pub(crate) idempotency_key: Option<String>,
    /// The version that `If-Match` names.
    pub(crate) base_version: Option<i64>,
}

impl Caller {
    /// Reads the headers of `request`. To be called before its body is read: a slow upload is no skew.
    pub(crate) fn from_request(request: &HttpRequest, config: &Config) -> Result<Self, Problem> {
        Caller::from_headers(request.headers(), config, edges::now())
    }

    fn from_headers(headers: &HeaderMap, config: &Config, arrived: Time) -> Result<Self, Problem> {
        let principal = auth::authenticate(config, authorization(headers))?;
        let skew = time(headers, CLIENT_TIME)?.map(|at| at.since(arrived));
        let beyond = |skew: &i64| skew.unsigned_abs() > config.clock_skew.unsigned_abs();
        Ok(Caller {
            principal,
            client: client(headers)?,
            arrived,
            skew,
            shift: skew.filter(beyond).map_or(0, i64::saturating_neg),
            last_updated: time(headers, CLIENT_LAST_UPDATED)?,
            idempotency_key: idempotency_key(headers)?,
            base_version: if_match(headers)?,
        })
    }

    /// An administrator, whose edits are the server's own.
    pub(crate) fn administrator(arrived: Time) -> Caller {
        Caller {
            principal: Principal("administrator".to_owned()),
            client: ClientId::ADMIN,
            arrived,
            skew: None,
            shift: 0,
            last_updated: None,
            idempotency_key: None,
            base_version: None,
        }
    }

    /// A time of the request by the server's clock, and never in the future.
    pub(crate) fn adjust(&self, at: Time) -> Time {
        at.shifted(self.shift).min(self.arrived)
    }
}

/// Lets the administrator through and nobody else.
pub(crate) fn administrator(request: &HttpRequest, config: &Config) -> Result<(), Problem> {
    Ok(auth::admin(config, authorization(request.headers()))?)
}

/// The last push that a pull's client knows of: its own writes up to that one are not echoed.
pub(crate) fn client_push(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(text) = single(request.headers(), CLIENT_PUSH)? else {
        return Ok(None);
    };
    number(text)
        .map(Some)
        .ok_or_else(|| malformed(CLIENT_PUSH, "is no push number"))
}

/// The anchors of the cursor that a push's client is at. One that cannot be read was not made by this server's
/// database: an anchor that none has stands for it.
pub(super) fn client_anchors(request: &HttpRequest) -> Result<Vec<String>, Problem> {
    let Some(text) = single(request.headers(), CLIENT_CURSOR)? else {
        return Ok(Vec::new());
    };
    Ok(match Cursor::decode(text) {
        Some(cursor) => cursor.anchors().collect(),
        None => vec![String::new()],
    })
}

/// The versions that a reader has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoneMatch {
    /// It has none.
    Absent,
    /// `*`: whatever there is.
    Any,
    /// These; tags that colsync never made are left out.
    Versions(Vec<i64>),
}

impl NoneMatch {
    /// Reads `If-None-Match`, a list of tags or `*`.
    pub(crate) fn from_request(request: &HttpRequest) -> Result<Self, Problem> {
        match single(request.headers(), IF_NONE_MATCH)? {
            None => Ok(NoneMatch::Absent),
            Some("*") => Ok(NoneMatch::Any),
            Some(list) => tags(list)
                .map(|tags| NoneMatch::Versions(tags.into_iter().filter_map(number).collect()))
                .ok_or_else(|| malformed(IF_NONE_MATCH, "is no list of tags such as \"7\"")),
        }
    }

    /// Whether the reader has `version`, so that 304 is the answer.
    pub(crate) fn has(&self, version: i64) -> bool {
        match self {
            NoneMatch::Absent => false,
            NoneMatch::Any => true,
            NoneMatch::Versions(versions) => versions.contains(&version),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Malformed | AuthError::Unknown => {
                Problem::unauthorized(error.to_string()).field(AUTHORIZATION)
            }
            AuthError::NotConfigured => Problem::not_found("not_found", error.to_string()),
        }
    }
}

/// The header's text; two of them, or bytes that are no text, count as one that is malformed.
fn authorization(headers: &HeaderMap) -> Option<&str> {
    match single(headers, AUTHORIZATION) {
        Ok(text) => text,
        Err(_malformed) => Some(""),
    }
}

fn client(headers: &HeaderMap) -> Result<ClientId, Problem> {
    let Some(text) = single(headers, CLIENT_ID)? else {
        return Ok(ClientId::ANONYMOUS);
    };
    let client: ClientId = text
        .parse()
        .map_err(|_not_a_uuid| malformed(CLIENT_ID, "is no UUID"))?;
    if client.is_reserved() {
        return Err(malformed(
            CLIENT_ID,
            "is reserved; leave it out to be anonymous",
        ));
    }
    Ok(client)
}

fn time(headers: &HeaderMap, name: &'static str) -> Result<Option<Time>, Problem> {
    single(headers, name)?
        .map(|text| {
            text.parse()
                .map_err(|error: colsync_shared::time::TimeError| {
                    malformed(name, &format!("is {error}"))
                })
        })
        .transpose()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = single(headers, IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "is not 1 to 255 visible ASCII characters";
        return Err(malformed(IDEMPOTENCY_KEY, reason));
    }
    Ok(Some(key.to_owned()))
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let tag = match single(headers, IF_MATCH)? {
        None | Some("*") => return Ok(None),
        Some(text) => tags(text),
    };
    match tag.as_deref() {
        Some([version]) => number(version).map(Some),
        Some(_) | None => None,
    }
    .ok_or_else(|| malformed(IF_MATCH, "is not one version such as \"7\", nor *"))
}

/// The opaque parts of a list of tags (RFC 9110, 8.8.3), weak or not; `None` if it is no such list.
fn tags(mut list: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    loop {
        let tag = list.trim_start_matches([' ', '\t']);
        let tag = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?;
        let (opaque, rest) = tag.split_once('"')?;
        found.push(opaque);
        let rest = rest.trim_matches([' ', '\t']);
        if rest.is_empty() {
            return Some(found);
        }
        list = rest.strip_prefix(',')?;
    }
}

/// A whole number as colsync writes it: digits and nothing else.
fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// The text of a header that may be there once.
fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(name, "is there more than once"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_bytes| malformed(name, "is not visible ASCII"))
}

fn malformed(name: &'static str, reason: &str) -> Problem {
    Problem::bad_request("invalid_header", format!("{name} {reason}")).field(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use actix_web::ResponseError as _;
    use actix_web::test::TestRequest;

    const ARRIVED: &str = "2026-11-22T10:00:00Z";

    fn request(headers: &[(&str, &str)]) -> HttpRequest {
        let request = TestRequest::default();
        let append = |request: TestRequest, header: &(&str, &str)| request.append_header(*header);
        headers.iter().fold(request, append).to_http_request()
    }

    fn caller(headers: &[(&str, &str)]) -> Result<Caller, Problem> {
        let config = Config::parse("", &Overrides::default()).unwrap();
        Caller::from_headers(
            request(headers).headers(),
            &config,
            ARRIVED.parse().unwrap(),
        )
    }

    #[test]
    fn a_request_need_not_say_anything() {
        let caller = caller(&[]).unwrap();
        assert_eq!(caller.client, ClientId::ANONYMOUS);
        assert_eq!(
            (caller.skew, caller.shift, caller.base_version),
            (None, 0, None)
        );
        assert_eq!((caller.last_updated, caller.idempotency_key), (None, None));
    }

    #[test]
    fn a_invalid_header_is_named() {
        for (name, value) in [
            ("Client-Id", "me"),
            ("Client-Id", "00000000-0000-0000-0000-000000000001"),
            ("Client-Time", "now"),
            ("Client-Last-Updated", "2026-11-22"),
            ("Idempotency-Key", ""),
            ("Idempotency-Key", "a b"),
            ("If-Match", "7"),
            ("If-Match", "\"7\", \"8\""),
            ("If-Match", "\"-7\""),
            ("If-Match", "\"7"),
            ("If-Match", "\"9223372036854775808\""),
        ] {
            let problem = caller(&[(name, value)]).unwrap_err();
            assert_eq!(problem.status_code(), 400, "{name}: {value}");
            assert!(problem.to_string().contains(name), "{problem}");
        }
        let twice = [("Client-Time", ARRIVED), ("Client-Time", ARRIVED)];
        assert!(caller(&twice).is_err());
        assert!(caller(&[("Idempotency-Key", &"k".repeat(256))]).is_err());
    }

    #[test]
    fn if_match_names_the_base_version() {
        for (value, version) in [("\"7\"", Some(7)), ("W/\"7\"", Some(7)), ("*", None)] {
            let caller = caller(&[("If-Match", value)]).unwrap();
            assert_eq!(caller.base_version, version, "{value}");
        }
    }

    #[test]
    fn times_shift_only_if_the_clocks_differ_by_more_than_the_bound() {
        for (client, edited, adjusted, why) in [
            (
                "2026-11-22T10:00:01Z",
                "2026-11-22T09:59:00Z",
                "2026-11-22T09:59:00Z",
                "within 2 s",
            ),
            (
                "2026-11-22T12:00:00Z",
                "2026-11-22T11:59:00Z",
                "2026-11-22T09:59:00Z",
                "two hours fast",
            ),
            (
                "2026-11-22T08:00:00Z",
                "2026-11-22T07:59:00Z",
                "2026-11-22T09:59:00Z",
                "two hours slow",
            ),
            (
                "2026-11-22T10:00:01Z",
                "2026-11-22T10:00:01Z",
                ARRIVED,
                "a future is clamped to now",
            ),
        ] {
            let caller = caller(&[("Client-Time", client)]).unwrap();
            let (edited, adjusted): (Time, Time) =
                (edited.parse().unwrap(), adjusted.parse().unwrap());
            assert_eq!(caller.adjust(edited), adjusted, "{why}");
            assert_eq!(
                caller.skew,
                Some(client.parse::<Time>().unwrap().since(caller.arrived))
            );
        }
    }

    #[test]
    fn who_calls_is_asked_before_anything_else() {
        let hash = "ab".repeat(32);
        let auth = format!("[auth]\napi_keys = [{{ principal = 'a', sha256 = '{hash}' }}]");
        let config = Config::parse(&auth, &Overrides::default()).unwrap();
        let twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer a")];
        for headers in [
            &[("Client-Id", "me")][..],
            &[("Client-Id", "me"), ("Authorization", "Bearer nobody")],
            &twice,
        ] {
            let request = request(headers);
            let problem = Caller::from_request(&request, &config).unwrap_err();
            assert_eq!(problem.status_code(), 401);
            let response = problem.error_response();
            assert!(response.headers().contains_key("WWW-Authenticate"));
        }
        let problem = administrator(&request(&[]), &config).unwrap_err();
        assert_eq!(problem.status_code(), 404, "no token is configured");
    }

    #[test]
    fn if_none_match_lists_what_the_reader_has() {
        let read =
            |value: &str| NoneMatch::from_request(&request(&[("If-None-Match", value)])).unwrap();
        assert!(read("\"6\", W/\"7\" ,\"a,b\"").has(7));
        assert!(!read("\"6\"").has(7));
        assert!(read("*").has(7));
        let absent = NoneMatch::from_request(&request(&[])).unwrap();
        assert!(!absent.has(7));
        for bad in ["7", "\"7\" \"8\"", "", "\"7\","] {
            let request = request(&[("If-None-Match", bad)]);
            assert!(NoneMatch::from_request(&request).is_err(), "{bad}");
        }
    }
}
