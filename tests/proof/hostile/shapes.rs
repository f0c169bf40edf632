//! Shapes of connections that no library makes: broken heads, chunks that end early, two lengths, slow senders,
//! halves that close, and several requests in one breath.

use super::exchange::Manner;
use super::judge::next_client;
use super::subject::thing;

/// What is sent over one connection, and how.
pub(super) struct Shape {
    pub(super) why: String,
    pub(super) bytes: Vec<u8>,
    pub(super) manner: Manner,
    /// The most answers that may come: more would be a request that was smuggled in.
    pub(super) answers: usize,
}

fn shape(why: &str, bytes: impl Into<Vec<u8>>, manner: Manner) -> Shape {
    Shape {
        why: why.to_owned(),
        bytes: bytes.into(),
        manner,
        answers: 1,
    }
}

/// A PATCH of a column that is none, up to its own headers.
fn head() -> String {
    format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/merge-patch+json\r\n",
        thing()
    )
}

const BODY: &str = r#"{"nothing":1}"#;

/// A request that must never be answered: it is inside the body of another.
fn smuggled() -> String {
    format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\n\r\n", thing())
}

pub(super) fn all() -> Vec<Shape> {
    [
        broken_heads(),
        lengths(),
        chunks(),
        slow(),
        halves(),
        pipelines(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn broken_heads() -> Vec<Shape> {
    let get = |rest: &str| format!("GET /v1/schema HTTP/1.1\r\n{rest}\r\n");
    let many = "X: x\r\n".repeat(10_000);
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    let heads: Vec<(&str, Vec<u8>)> = vec![
        ("nothing but ends of lines", b"\r\n\r\n\r\n\r\n\r\nx\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"GET /v1/schema\r\n\r\n".to_vec()),
        ("HTTP/3.0", b"GET /v1/schema HTTP/3.0\r\n\r\n".to_vec()),
        ("HTTP/1.999", b"GET /v1/schema HTTP/1.999\r\n\r\n".to_vec()),
        ("no path", b"GET HTTP/1.1\r\n\r\n".to_vec()),
        ("a blank in the path", b"GET /v1/ schema HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("NUL in the path", b"GET /v1/\0schema HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("bytes in the path", b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a method with a NUL", b"GE\0T /v1/schema HTTP/1.1\r\n\r\n".to_vec()),
        ("a method without an end", vec![b'G'; 200_000]),
        ("a path without an end", [b"GET /".as_slice(), &vec![b'x'; 200_000]].concat()),
        ("a header without a colon", get("Host localhost\r\n").into_bytes()),
        ("a header without a name", get(": x\r\n").into_bytes()),
        ("a blank before the colon", get("Host : localhost\r\n").into_bytes()),
        ("a folded header", get("Host: localhost\r\nX: a\r\n b\r\n").into_bytes()),
        ("NUL in a header", get("Host: localhost\r\nX: a\0b\r\n").into_bytes()),
        ("a bare return in a header", get("Host: localhost\r\nX: a\rb: c\r\n").into_bytes()),
        ("bare ends of lines", b"GET /v1/nothing HTTP/1.1\nHost: localhost\n\n".to_vec()),
        ("a header of a megabyte", get(&long).into_bytes()),
        ("ten thousand headers", get(&many).into_bytes()),
        ("an absolute path", b"GET http://example.org/v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("an expectation that nobody meets", get("Host: example.org\r\nExpect: 999-nothing\r\n").into_bytes()),
        ("an upgrade to what is not there", get("Host: example.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n").into_bytes()),
        ("an upgrade to HTTP/2", get("Host: example.org\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n").into_bytes()),
        ("two hosts", get("Host: localhost\r\nHost: example.org\r\n").into_bytes()),
    ];
    heads
        .into_iter()
        .map(|(why, bytes)| shape(why, bytes, Manner::HalfClosed))
        .collect()
}

fn lengths() -> Vec<Shape> {
    let with = |why: &str, headers: &str, body: &str| {
        shape(
            why,
            format!("{}{headers}\r\n\r\n{body}", head()),
            Manner::HalfClosed,
        )
    };
    let inside = smuggled();
    let zero = format!("0\r\n\r\n{inside}");
    let both = format!(
        "Content-Length: {}\r\nTransfer-Encoding: chunked",
        zero.len()
    );
    let other = format!(
        "Transfer-Encoding: chunked\r\nContent-Length: {}",
        zero.len()
    );
    vec![
        with("a length below zero", "Content-Length: -1", BODY),
        with("a length with a plus", "Content-Length: +13", BODY),
        with("a length in words", "Content-Length: many", BODY),
        with("a hexadecimal length", "Content-Length: 0x0d", BODY),
        with(
            "a length beyond counting",
            "Content-Length: 99999999999999999999999999",
            BODY,
        ),
        with(
            "a length of exabytes",
            "Content-Length: 9223372036854775807",
            BODY,
        ),
        with(
            "two lengths",
            "Content-Length: 13\r\nContent-Length: 14",
            BODY,
        ),
        with("a list of lengths", "Content-Length: 13, 13", BODY),
        with("a length that is too long", "Content-Length: 100", BODY),
        with("an empty length", "Content-Length: ", BODY),
        with("a length and chunks", &both, &zero),
        with("chunks and a length", &other, &zero),
        with(
            "chunks twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            &zero,
        ),
        with(
            "chunks, then what nobody knows",
            "Transfer-Encoding: chunked, nothing",
            &zero,
        ),
        with(
            "what nobody knows, then chunks",
            "Transfer-Encoding: nothing, chunked",
            &zero,
        ),
        with(
            "chunks by another name",
            "Transfer-Encoding: xchunked",
            &zero,
        ),
        with(
            "a blank before the colon",
            "Transfer-Encoding : chunked",
            &zero,
        ),
        with(
            "a tab before chunked",
            "Transfer-Encoding:\tchunked\r\nContent-Length: 5",
            &zero,
        ),
        with(
            "a folded encoding",
            "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5",
            &zero,
        ),
        with(
            "identity and a length",
            "Transfer-Encoding: identity\r\nContent-Length: 13",
            BODY,
        ),
        with(
            "gzip as a transfer",
            "Transfer-Encoding: gzip, chunked",
            &zero,
        ),
        // What comes after its head is another request then, and none that can be read.
        Shape {
            answers: 2,
            ..with("no length at all", "X: x", BODY)
        },
    ]
}

fn chunks() -> Vec<Shape> {
    let with = |why: &str, body: &str| {
        let bytes = format!("{}Transfer-Encoding: chunked\r\n\r\n{body}", head());
        shape(why, bytes, Manner::HalfClosed)
    };
    let digits = "0".repeat(70_000);
    let extension = format!("d;x={}\r\n{BODY}\r\n0\r\n\r\n", "x".repeat(70_000));
    let single: String = BODY.chars().map(|one| format!("1\r\n{one}\r\n")).collect();
    let trailers = format!("d\r\n{BODY}\r\n0\r\n{}\r\n", "X: x\r\n".repeat(20_000));
    vec![
        with("a chunk cut off", "d\r\n{\"no"),
        with("no last chunk", &format!("d\r\n{BODY}\r\n")),
        with("half a last chunk", &format!("d\r\n{BODY}\r\n0\r\n")),
        with("a size that is none", &format!("zz\r\n{BODY}\r\n0\r\n\r\n")),
        with("a size below zero", &format!("-d\r\n{BODY}\r\n0\r\n\r\n")),
        with("a size with a sign", &format!("+d\r\n{BODY}\r\n0\r\n\r\n")),
        with("a size in 0x", &format!("0xd\r\n{BODY}\r\n0\r\n\r\n")),
        with("a size beyond counting", "fffffffffffffffff\r\nx"),
        with("a size of exabytes", "7fffffffffffffff\r\nx"),
        with("a size without an end", &digits),
        with("a long extension", &extension),
        with(
            "a chunk longer than it says",
            &format!("2\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        with(
            "a chunk shorter than it says",
            &format!("ff\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        with("chunks without ends of lines", &format!("d{BODY}0")),
        with("bare ends of lines", &format!("d\n{BODY}\n0\n\n")),
        with("one byte a chunk", &format!("{single}0\r\n\r\n")),
        with("thousands of trailers", &trailers),
        with("a blank in the size", &format!("d \r\n{BODY}\r\n0\r\n\r\n")),
        with("nothing but a last chunk", "0\r\n\r\n"),
        with(
            "too much in chunks",
            &format!(
                "{}0\r\n\r\n",
                format!("1000\r\n{}\r\n", " ".repeat(4096)).repeat(20)
            ),
        ),
    ]
}

/// The configured deadline is what ends these.
fn slow() -> Vec<Shape> {
    let body = format!("{}Content-Length: 100\r\n\r\n{{", head());
    let chunked = format!("{}Transfer-Encoding: chunked\r\n\r\n5\r\n{{", head());
    let push = format!(
        "POST /v1/sync/push HTTP/1.1\r\nHost: localhost\r\nClient-Id: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n",
        next_client()
    );
    let packed = format!(
        "{}Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f",
        head()
    );
    vec![
        shape("no head at all", "", Manner::Stalled),
        shape(
            "half a head",
            "GET /v1/schema HTTP/1.1\r\nHost:",
            Manner::Stalled,
        ),
        shape("a head without its end", head(), Manner::Stalled),
        shape("half a body", body.clone(), Manner::Stalled),
        shape("half a chunk", chunked.clone(), Manner::Stalled),
        shape("a push that never comes", push, Manner::Stalled),
        shape("half of what is packed", packed, Manner::Stalled),
        shape(
            "a head byte by byte",
            format!("{}\r\n", head()),
            Manner::Dripping,
        ),
        shape(
            "a body byte by byte",
            format!("{body}{}", " ".repeat(99)),
            Manner::Dripping,
        ),
        shape(
            "chunks byte by byte",
            format!("{chunked}{}", "1\r\n \r\n".repeat(100)),
            Manner::Dripping,
        ),
    ]
}

fn halves() -> Vec<Shape> {
    let whole = format!("{}Content-Length: {}\r\n\r\n{BODY}", head(), BODY.len());
    let half = format!("{}Content-Length: 100\r\n\r\n{BODY}", head());
    let mut shapes = vec![
        shape("all, and a closed half", whole.clone(), Manner::HalfClosed),
        shape(
            "half a body, and a closed half",
            half.clone(),
            Manner::HalfClosed,
        ),
        shape(
            "half a head, and a closed half",
            "GET /v1/sch",
            Manner::HalfClosed,
        ),
        shape("nothing, and a closed half", "", Manner::HalfClosed),
    ];
    for (why, bytes) in [
        ("gone after all", whole),
        ("gone after half", half),
        (
            "gone from a pull",
            "GET /v1/sync/pull HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "gone from the document",
            "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20),
        ),
    ] {
        shapes.push(shape(why, bytes, Manner::GoneAway));
    }
    shapes
}

fn pipelines() -> Vec<Shape> {
    let good = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bad = format!("{}Content-Length: {}\r\n\r\n{BODY}", head(), BODY.len());
    let nowhere = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let large = format!("{}Content-Length: 65537\r\n\r\n{}", head(), smuggled());
    let foreign = format!(
        "PATCH {} HTTP/1.1\r\nHost: example.org\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        thing(),
        smuggled().len(),
        smuggled()
    );
    let wrong = format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}",
        thing(),
        smuggled().len(),
        smuggled()
    );
    let several = |why: &str, bytes: String, answers: usize| Shape {
        why: why.to_owned(),
        bytes: bytes.into_bytes(),
        manner: Manner::HalfClosed,
        answers,
    };
    vec![
        several("three that are refused", bad.repeat(3), 3),
        several(
            "good and bad in turns",
            format!("{good}{bad}{good}{nowhere}{good}"),
            5,
        ),
        several("a hundred at once", nowhere.repeat(100), 100),
        several(
            "rubbish after one that is good",
            format!("{good}\0\0\0\r\n\r\n"),
            2,
        ),
        several("a request in a body that is too large", large, 1),
        several("a request in a body of a stranger's", foreign, 1),
        several("a request in a body of the wrong type", wrong, 1),
        several(
            "a request after a wrong method with a body",
            format!(
                "DELETE /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
                smuggled().len(),
                smuggled()
            ),
            1,
        ),
    ]
}
