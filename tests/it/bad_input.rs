//! Bad input, as data: each is refused by a problem that names what is at fault, and changes nothing.

use std::io::Write as _;

use colsync_tests::tables::{LABELS, TODOS, id};
use colsync_tests::{Backend, Server, on_both};
use serde_json::json;

use self::cases::{MERGE, nested, of_bodies, of_patches, of_requests};
use self::values::of_values;
use crate::{ledger, make_todo, todo};

mod cases;
mod values;

on_both![
    bad_input_is_refused_by_name_and_changes_nothing,
    bodies_that_are_packed_are_read_and_bombs_are_not,
    a_body_that_is_too_slow_is_given_up,
    what_is_no_http_harms_nobody,
    documents_up_to_the_bound_are_taken,
    a_document_whose_numbers_would_fill_the_memory_is_refused,
    names_in_a_request_are_never_sql,
    a_wrong_method_is_told_which_would_do,
    an_answer_that_nobody_would_take_is_a_problem_too,
];

const LIMITS: &str =
    "[limits]\nbody_bytes = 65536\npush_edits = 10\npatch_operations = 5\nrequest_seconds = 1";

#[track_caller]
fn bounded(backend: Backend) -> Server {
    let server = Server::on(backend)
        .table(TODOS)
        .table(LABELS)
        .section(LIMITS)
        .start();
    make_todo(&server, 1);
    server
}

fn bad_input_is_refused_by_name_and_changes_nothing(backend: Backend) {
    let server = bounded(backend);
    let ana = server.client("ana");
    let before = server.dump();
    for case in [of_bodies(), of_values(), of_patches(), of_requests()]
        .into_iter()
        .flatten()
    {
        let mut request = ana.request(case.method, &case.path);
        if !case.media_type.is_empty() {
            request = request.body(case.media_type, case.body);
        }
        for (name, value) in case.headers {
            request = request.header(name, value);
        }
        let answer = request.send();
        let (status, code, field) = case.expect;
        let told = (answer.status, answer.code());
        assert_eq!(
            told,
            (status, code.to_owned()),
            "{} {} {}: {answer:?}",
            case.method,
            case.path,
            case.name
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{}",
            case.name
        );
        if !field.is_empty() {
            assert_eq!(
                answer.json()["field"],
                field,
                "{} {} {}: {answer:?}",
                case.method,
                case.path,
                case.name
            );
        }
    }
    // The one that the database refused is in the ledger; nothing else is anywhere.
    let kept = ledger(&server, "");
    assert_eq!((kept.len(), &kept[0]["kind"]), (1, &json!("constraint")));
    server.sql("DELETE FROM colsync_conflicts");
    assert_eq!(server.dump(), before);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
    let _ = ana.patch(&todo(1), &json!({ "title": "good" })).expect(200);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bodies_that_are_packed_are_read_and_bombs_are_not(backend: Backend) {
    let server = bounded(backend);
    let ana = server.client("ana");
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 19).unwrap();
    for (encoding, body) in [
        ("gzip", gzip(br#"{"title":"gzip"}"#)),
        ("zstd", zstd(br#"{"title":"zstd"}"#)),
    ] {
        let patch = ana
            .request("PATCH", &todo(1))
            .header("Content-Encoding", encoding)
            .body(MERGE, body);
        let _ = patch.send().expect(200);
        assert_eq!(ana.row("todos", &id(1))["title"], encoding);
    }
    let before = server.dump();
    let zeros = vec![b' '; 256 << 20];
    for (encoding, body) in [("gzip", gzip(&zeros[..32 << 20])), ("zstd", zstd(&zeros))] {
        assert!(body.len() < 65_536, "{encoding}: a bomb is small");
        let patch = ana
            .request("PATCH", &todo(1))
            .header("Content-Encoding", encoding)
            .body(MERGE, body);
        let _ = patch.send().problem(413, "body_too_large");
    }
    assert_eq!(server.dump(), before);
}

fn a_body_that_is_too_slow_is_given_up(backend: Backend) {
    let server = bounded(backend);
    let before = server.dump();
    let ana = server.client("ana");
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {MERGE}\r\nContent-Length: 100\r\n\r\n{{",
        todo(1)
    );
    let answer = ana.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
    let answer = ana.raw(b"PATCH /v1/tables HTTP/1.1\r\nHost:");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(server.dump(), before);
}

fn what_is_no_http_harms_nobody(backend: Backend) {
    let server = bounded(backend);
    let before = server.dump();
    let ana = server.client("ana");
    let long = format!(
        "GET /v1/schema HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "GET /v1/schema HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: x\r\n".repeat(10_000)
    );
    let target = format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\n", todo(1));
    let chunked = format!(
        "{target}Content-Type: {MERGE}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"
    );
    let lengths = format!("{target}Content-Type: {MERGE}\r\nContent-Length: -1\r\n\r\n{{}}");
    let mixed = format!(
        "{target}Content-Type: {MERGE}\r\nContent-Length: 2\r\nContent-Length: 20\r\n\r\n{{}}"
    );
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /v1/tables/todos/rows/%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/tables/%zz/rows HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/tables/todos/rows?limit=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        chunked.as_bytes(),
        lengths.as_bytes(),
        mixed.as_bytes(),
    ] {
        let answer = ana.raw(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown}: {answer}"
        );
    }
    assert_eq!(server.dump(), before);
    let _ = ana.patch(&todo(1), &json!({ "title": "good" })).expect(200);
}

fn documents_up_to_the_bound_are_taken(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    make_todo(&server, 1);
    let ana = server.client("ana");
    let _ = ana
        .request("PATCH", &todo(1))
        .body(MERGE, nested(64))
        .send()
        .expect(200);
    let depth = ana.row("todos", &id(1))["data"]
        .to_string()
        .matches('[')
        .count();
    assert_eq!(depth, 63);
    let long = "ä".repeat(2 << 20);
    let _ = ana.patch(&todo(1), &json!({ "title": long })).expect(200);
    assert_eq!(ana.row("todos", &id(1))["title"], long);
    let pulled = server.client("reader").pull();
    assert_eq!(pulled.row(&id(1))["columns"]["title"], long);
}

fn a_document_whose_numbers_would_fill_the_memory_is_refused(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    make_todo(&server, 1);
    let before = server.dump();
    let ana = server.client("ana");
    let many = |count: usize| format!("{{\"data\":[{}1]}}", "1e308,".repeat(count));
    let patch = |body: String| ana.request("PATCH", &todo(1)).body(MERGE, body).send();
    let refused = patch(many(60_000)).problem(422, "invalid_value");
    assert_eq!(refused.json()["field"], "data");
    assert_eq!(server.dump(), before);
    let _ = patch(many(100)).expect(200);
    let digits = ana.row("todos", &id(1))["data"][99].to_string();
    assert_eq!(digits, format!("1{}", "0".repeat(308)));
}

fn names_in_a_request_are_never_sql(backend: Backend) {
    let table = match backend {
        Backend::Sqlite => {
            r#"CREATE TABLE "or""der; --" ("select" TEXT PRIMARY KEY NOT NULL, "a ""b"" 'c'" TEXT, "Ü" TEXT);"#
        }
        Backend::Postgres => {
            r#"CREATE TABLE "or""der; --" ("select" text PRIMARY KEY, "a ""b"" 'c'" text, "Ü" text);"#
        }
    };
    let server = Server::on(backend)
        .before(table)
        .synced("or\"der; --")
        .start();
    let ana = server.client("ana");
    let mut reader = crate::reader(&server);
    let rows = "/v1/tables/or%22der%3B%20--/rows";
    let evil = "'; DROP TABLE \"or\"\"der; --\"; --";
    let _ = ana
        .post(
            rows,
            &json!({ "select": "1", "a \"b\" 'c'": evil, "Ü": "ü" }),
        )
        .expect(201);
    let _ = ana
        .patch(
            &format!("{rows}/1"),
            &json!({ "a \"b\" 'c'": format!("{evil} again") }),
        )
        .expect(200);
    let pulled = reader.pull();
    assert_eq!(
        pulled.row("1")["columns"]["a \"b\" 'c'"],
        format!("{evil} again")
    );
    server.sql(r#"UPDATE "or""der; --" SET "Ü" = 'direct'"#);
    assert_eq!(reader.pull().row("1")["columns"], json!({ "Ü": "direct" }));
    let _ = ana.delete(&format!("{rows}/1")).expect(200);
    server.sql(r#"DELETE FROM "or""der; --""#);
    assert_eq!(reader.pull().row("1")["id"], "1");
}

fn a_wrong_method_is_told_which_would_do(backend: Backend) {
    let server = bounded(backend);
    let admin = server.admin();
    for (method, path, allow) in [
        ("POST", "/v1/schema", "GET"),
        ("GET", "/v1/sync/push", "POST"),
        ("DELETE", "/admin/v1/conflicts", "GET"),
        ("GET", "/admin/v1/conflicts/x/resolve", "POST"),
        ("PUT", "/admin/v1/tables", "GET"),
        ("POST", "/healthz", "GET"),
        ("PATCH", "/metrics", "GET"),
    ] {
        let answer = admin.request(method, path).send();
        let answer = answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

fn an_answer_that_nobody_would_take_is_a_problem_too(backend: Backend) {
    let server = bounded(backend);
    let before = server.dump();
    let ana = server.client("ana");
    let refused = ana
        .request("PATCH", &todo(1))
        .header("Accept-Encoding", "br, identity;q=0")
        .merge_patch(&json!({ "title": "x" }))
        .send()
        .problem(406, "not_acceptable");
    assert_eq!(refused.json()["field"], "accept-encoding");
    assert_eq!(server.dump(), before);
}
