//! Bodies that are no JSON, too much of it, or of another kind, sent to every call that takes one.

use super::{Case, writes};

/// One more than the server is configured for.
const TOO_LARGE: usize = 65_537;

fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    vec![
        ("nothing", text("")),
        ("blanks", text(" \r\n\t ")),
        ("half a document", text("{\"title\":")),
        ("half a word", text("nul")),
        ("two documents", text("{} {}")),
        ("a comma too many", text("{\"title\":\"x\",}")),
        ("a comment", text("{/* x */}")),
        ("single quotes", text("{'title':'x'}")),
        ("a bare name", text("{title:1}")),
        ("NaN", text("{\"ratio\":NaN}")),
        ("an infinity", text("{\"ratio\":-Infinity}")),
        ("a leading zero", text("{\"number\":01}")),
        ("a plus", text("{\"number\":+1}")),
        ("no digit after the point", text("{\"ratio\":1.}")),
        ("an exponent without digits", text("{\"ratio\":1e}")),
        ("hexadecimal", text("{\"number\":0x10}")),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec()),
        ("no UTF-8", b"{\"title\":\"\xff\"}".to_vec()),
        ("an overlong slash", b"{\"title\":\"\xc0\xaf\"}".to_vec()),
        (
            "a surrogate in UTF-8",
            b"{\"title\":\"\xed\xa0\x80\"}".to_vec(),
        ),
        (
            "beyond Unicode",
            b"{\"title\":\"\xf4\x90\x80\x80\"}".to_vec(),
        ),
        ("a character cut off", b"{\"title\":\"\xe2\x82\"}".to_vec()),
        ("a high surrogate alone", text(r#"{"title":"\ud800"}"#)),
        ("a low surrogate alone", text(r#"{"title":"\udc00x"}"#)),
        (
            "surrogates the wrong way round",
            text(r#"{"title":"\udc00\ud800"}"#),
        ),
        ("an escape that is none", text(r#"{"title":"\x41"}"#)),
        ("a control character", b"{\"title\":\"a\x01\"}".to_vec()),
        ("a raw NUL", b"{\"title\":\"\0\"}".to_vec()),
        ("a string without an end", text("{\"title\":\"x")),
        // What serde_json tells itself by these names is no object.
        (
            "a number in the parser's own words",
            text(r#"{"data":{"$serde_json::private::Number":"7"}}"#),
        ),
        (
            "a document in the parser's own words",
            text(r#"{"data":{"\u0024serde_json::private::RawValue":"[1]"}}"#),
        ),
        ("arrays too deep", nested("[", "]", 65)),
        ("objects too deep", nested("{\"data\":", "}", 65)),
        ("thousands of brackets", "[".repeat(60_000).into_bytes()),
        ("thousands of both", nested("[{\"a\":", "}]", 8_000)),
        ("a byte too many", vec![b' '; TOO_LARGE]),
        (
            "a text too long",
            format!("{{\"title\":\"{}\"}}", "x".repeat(TOO_LARGE)).into_bytes(),
        ),
        ("a number", text("7")),
        ("a string", text("\"x\"")),
        ("a truth value", text("true")),
        ("null", text("null")),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, path, media_type) in writes() {
        for (why, body) in broken() {
            cases.push(Case::new(why, method, path.clone()).body(media_type, body));
        }
        if path.ends_with("/resolve") {
            continue;
        }
        for other in [
            "",
            "text/plain",
            "text/json",
            "application/xml",
            "application/json-seq",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json, text/plain",
            "json",
            ";",
        ] {
            let why = format!("a body of {other:?}");
            cases.push(Case::new(why, method, path.clone()).body(other, "{}"));
        }
    }
    cases
}
