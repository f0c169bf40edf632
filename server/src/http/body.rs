//! A request's body: read under a deadline, inflated under a bound, parsed under a depth.
//!
//! Works on the raw payload: the framework's own decompression inflates a whole chunk before anyone
//! looks at a limit, and 34 KB of zstd can be 1 GiB. Knows nothing of what the JSON means.

use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use actix_web::error::{BlockingError, PayloadError};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web;
use flate2::read::MultiGzDecoder;
use futures_util::{Stream, StreamExt as _};
use serde_json::Value as Json;

use super::problem::Problem;
use crate::config::Limits;

/// log₂ of the largest window a zstd stream may ask for: the 8 MiB of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The whole body, inflated. Never holds more than twice `limits.body_bytes`.
pub(crate) async fn read(
    payload: web::Payload,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Vec<u8>, Problem> {
    read_stream(payload, headers, limits).await
}

async fn read_stream(
    payload: impl Stream<Item = Result<web::Bytes, PayloadError>>,
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Vec<u8>, Problem> {
    let encoding = content_encoding(headers)?;
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).is_ok_and(|n| n > limits.body_bytes)) {
        return Err(too_large(limits.body_bytes));
    }
    let deadline = Duration::from_secs(limits.request_seconds);
    let body = tokio::time::timeout(deadline, collect(payload, limits.body_bytes))
        .await
        .map_err(|_elapsed| {
            let seconds = limits.request_seconds;
            Problem::timeout(format!("the body did not arrive within {seconds} s"))
        })??;
    if encoding == Encoding::Identity {
        return Ok(body);
    }
    let bound = limits.body_bytes;
    web::block(move || inflate(encoding, &body, bound))
        .await
        .map_err(|cause: BlockingError| Problem::internal(cause))?
}

async fn collect(
    payload: impl Stream<Item = Result<web::Bytes, PayloadError>>,
    bound: usize,
) -> Result<Vec<u8>, Problem> {
    let mut payload = pin!(payload);
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|cause| {
            log::debug!("an upload broke off: {cause}");
            Problem::bad_request("broken_upload", "the body broke off before its end")
        })?;
        if chunk.len() > bound - body.len() {
            return Err(too_large(bound));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn content_encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut named = headers.get_all(header::CONTENT_ENCODING);
    let Some(first) = named.next() else {
        return Ok(Encoding::Identity);
    };
    let name = first.to_str().unwrap_or_default().trim();
    let encoding = match name.to_ascii_lowercase().as_str() {
        "identity" => Some(Encoding::Identity),
        "gzip" | "x-gzip" => Some(Encoding::Gzip),
        "zstd" => Some(Encoding::Zstd),
        _ => None,
    };
    encoding.filter(|_| named.next().is_none()).ok_or_else(|| {
        Problem::unsupported_media_type("unsupported_encoding", "a body is gzip, zstd, or plain")
            .field("Content-Encoding")
            .header(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("gzip, zstd"),
            )
    })
}

/// Inflates, and stops at the first byte beyond `bound`.
pub(super) fn inflate(encoding: Encoding, body: &[u8], bound: usize) -> Result<Vec<u8>, Problem> {
    let most = u64::try_from(bound).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    let read = match encoding {
        Encoding::Identity => body.take(most).read_to_end(&mut out),
        Encoding::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut out),
        Encoding::Zstd => zstd_decoder(body).and_then(|from| from.take(most).read_to_end(&mut out)),
    };
    read.map_err(|cause| {
        let detail = format!("the body is not what its Content-Encoding says: {cause}");
        Problem::bad_request("malformed_encoding", detail).field("Content-Encoding")
    })?;
    if out.len() > bound {
        return Err(too_large(bound));
    }
    Ok(out)
}

fn zstd_decoder(body: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn too_large(bound: usize) -> Problem {
    let detail = format!("a body has at most {bound} bytes, also after decompression");
    Problem::payload_too_large("body_too_large", detail)
}

/// The JSON document that `body` is. Of a member named twice, the last counts.
pub(crate) fn json(body: &[u8], max_depth: usize) -> Result<Json, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let (line, column) = position(body, error.valid_up_to());
        malformed("not UTF-8", line, column)
    })?;
    if let Some(at) = deeper_than(max_depth, body) {
        let (line, column) = position(body, at);
        let detail = format!("arrays and objects nest at most {max_depth} deep");
        return Err(Problem::bad_request("too_deep", detail)
            .with("line", line)
            .with("column", column));
    }
    if let Some((at, name)) = reserved(text) {
        let (line, column) = position(body, at);
        let reason = format!("no member may be called {name}");
        return Err(malformed(&reason, line, column));
    }
    serde_json::from_str(text)
        .map_err(|error| malformed(&error.to_string(), error.line(), error.column()))
}

/// Names by which the parser tells numbers and texts from objects: an object of a member that is called so would be read
/// as what the member says, and one that was stored could not be read again.
const RESERVED: [&str; 2] = [
    "$serde_json::private::Number",
    "$serde_json::private::RawValue",
];

/// Where `text` first has a member of such a name, however it is escaped.
fn reserved(text: &str) -> Option<(usize, &'static str)> {
    if !text.contains("\"$") && !text.contains("\"\\") {
        return None;
    }
    let (mut begun, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, begun) {
            _ if escaped => escaped = false,
            (b'\\', Some(_)) => escaped = true,
            (b'"', None) => begun = Some(at),
            (b'"', Some(from)) => {
                begun = None;
                let string = text.get(from..=at)?;
                let is_name = || text.get(at + 1..)?.trim_start().strip_prefix(':');
                if string.starts_with("\"$") || string.starts_with("\"\\") {
                    let name = serde_json::from_str::<String>(string).ok();
                    let name = RESERVED
                        .into_iter()
                        .find(|known| Some(*known) == name.as_deref());
                    if let (Some(name), Some(_)) = (name, is_name()) {
                        return Some((from, name));
                    }
                }
            }
            _ => {}
        }
    }
    None
}

fn malformed(reason: &str, line: usize, column: usize) -> Problem {
    Problem::bad_request(
        "malformed_json",
        format!("the body is not JSON in UTF-8: {reason}"),
    )
    .with("line", line)
    .with("column", column)
}

/// Where `body` first nests deeper than `max_depth`, brackets inside strings not counted.
fn deeper_than(max_depth: usize, body: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > max_depth {
                    return Some(at);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Line and column of the byte at `at`, both from 1, as serde_json counts them.
fn position(body: &[u8], at: usize) -> (usize, usize) {
    body.iter().take(at).fold((1, 1), |(line, column), byte| {
        if *byte == b'\n' {
            (line + 1, 1)
        } else {
            (line, column + 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError as _;
    use futures_util::stream;
    use std::io::Write as _;

    fn limits(body_bytes: usize) -> Limits {
        Limits {
            body_bytes,
            request_seconds: 1,
            ..Limits::default()
        }
    }

    fn encoded(encoding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_str(encoding).unwrap(),
        );
        headers
    }

    async fn received(headers: &HeaderMap, body: &[u8], most: usize) -> Result<Vec<u8>, Problem> {
        let chunks = body.chunks(1_000);
        let chunks = chunks.map(|chunk| Ok(web::Bytes::copy_from_slice(chunk)));
        read_stream(stream::iter(chunks), headers, &limits(most)).await
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Problem>, status: u16, code: &str) {
        let problem = result.unwrap_err();
        assert_eq!(
            (problem.status_code().as_u16(), problem.code()),
            (status, code)
        );
    }

    #[actix_web::test]
    async fn a_body_arrives_whole_in_every_encoding() {
        let body = b"{\"a\": 1}".repeat(1_000);
        let zstd = zstd::encode_all(body.as_slice(), 3).unwrap();
        let none = HeaderMap::new();
        let most = body.len();
        assert_eq!(received(&none, &body, most).await.unwrap(), body);
        assert_eq!(
            received(&encoded("identity"), &body, most).await.unwrap(),
            body
        );
        assert_eq!(
            received(&encoded("GZIP"), &gzip(&body), most)
                .await
                .unwrap(),
            body
        );
        assert_eq!(received(&encoded("zstd"), &zstd, most).await.unwrap(), body);
        refused(
            received(&none, &body, most - 1).await,
            413,
            "body_too_large",
        );
        refused(
            received(&encoded("gzip"), &gzip(&body), most - 1).await,
            413,
            "body_too_large",
        );
        refused(
            received(&encoded("zstd"), &zstd, most - 1).await,
            413,
            "body_too_large",
        );
    }

    #[actix_web::test]
    async fn a_small_body_that_inflates_to_a_gibibyte_is_refused_at_the_bound() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        for _ in 0..1_024 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let most = Limits::default().body_bytes;
        refused(
            received(&encoded("zstd"), &bomb, most).await,
            413,
            "body_too_large",
        );
    }

    #[actix_web::test]
    async fn a_body_that_is_not_what_it_says_is_refused() {
        let (zip, zstd) = (
            gzip(b"hello hello"),
            zstd::encode_all(&b"hello"[..], 3).unwrap(),
        );
        for (encoding, body) in [
            ("gzip", &zip[..zip.len() - 3]),
            ("gzip", &zip[..5]),
            ("gzip", b"hello"),
            ("gzip", &[zip.as_slice(), b"hello"].concat()),
            ("zstd", &zstd[..zstd.len() - 1]),
            ("zstd", b"hello"),
        ] {
            let result = received(&encoded(encoding), body, 100).await;
            refused(result, 400, "malformed_encoding");
        }
        for encoding in ["br", "gzip, gzip", ""] {
            let result = received(&encoded(encoding), &zip, 100).await;
            refused(result, 415, "unsupported_encoding");
        }
    }

    #[actix_web::test]
    async fn a_body_that_is_announced_too_large_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("101"));
        let never = stream::pending();
        refused(
            read_stream(never, &headers, &limits(100)).await,
            413,
            "body_too_large",
        );
    }

    #[actix_web::test]
    async fn an_upload_that_stalls_or_breaks_is_refused() {
        let headers = HeaderMap::new();
        let stalled = read_stream(stream::pending(), &headers, &limits(100)).await;
        refused(stalled, 408, "request_timeout");
        let broken = stream::iter([
            Ok(web::Bytes::from_static(b"{")),
            Err(PayloadError::Incomplete(None)),
        ]);
        refused(
            read_stream(broken, &headers, &limits(100)).await,
            400,
            "broken_upload",
        );
    }

    #[test]
    fn json_nests_as_deep_as_the_limit_and_no_deeper() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json(nested(64).as_bytes(), 64).is_ok());
        refused(json(nested(65).as_bytes(), 64), 400, "too_deep");
        refused(json("[".repeat(1_000_000).as_bytes(), 64), 400, "too_deep");
        let in_text = format!(r#"{{"a\"[": "{}\\", "b": [{{}}]}}"#, "[".repeat(100));
        assert!(json(in_text.as_bytes(), 3).is_ok());
        refused(json(in_text.as_bytes(), 2), 400, "too_deep");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for body in [
            &b""[..],
            b"{",
            b"{} x",
            b"{\"a\":\xff}",
            b"[NaN]",
            b"\xef\xbb\xbf{}",
            b"[1,]",
            b"]",
        ] {
            refused(json(body, 64), 400, "malformed_json");
        }
        let problem = json(b"{\n  \"a\": \xff}", 64).unwrap_err();
        let problem = format!("{problem:?}");
        assert!(problem.contains("\"line\": Number(2)"), "{problem}");
        assert_eq!(
            json(b"{\"a\":1,\"a\":2}", 64).unwrap(),
            serde_json::json!({"a": 2})
        );
    }
}
