//! Valid requests with something broken in them by a seed: bytes flipped, or JSON changed by its structure.

use std::sync::Mutex;

use colsync_tests::tables::id;
use fastrand::Rng;
use serde_json::{Value as Json, json};

use super::corpus::{Case, EDIT, JSON, MERGE, PATCH};
use super::document::Document;
use super::exchange::{Manner, Reply, exchange};
use super::judge::{Tally, compared, next_client, sent};
use super::subject::{Subject, thing};

/// Requests between two looks at the databases.
const BATCH: u64 = 500;

/// Sends `count` requests; gives how many there were.
pub(super) fn run(
    subjects: &[Subject],
    seed: u64,
    count: u64,
    document: &Document,
    tally: &mut Tally,
) -> u64 {
    let mut done = 0;
    while done < count {
        let cases: Vec<Vec<u8>> = (done..done + BATCH)
            .map(|number| request(&mut Rng::with_seed(seed.wrapping_add(number))))
            .collect();
        batch(subjects, &cases, seed.wrapping_add(done), document, tally);
        done += BATCH;
        eprintln!("hostile: {done} of {count} broken requests");
    }
    done
}

/// What is accepted may change the row of its own; what is refused, and the rows of others, may not.
fn batch(
    subjects: &[Subject],
    cases: &[Vec<u8>],
    seed: u64,
    document: &Document,
    tally: &mut Tally,
) {
    let before: Vec<String> = subjects.iter().map(others).collect();
    let accepted = Mutex::new(0_u64);
    let replies = sent(subjects, cases.len(), |subject, at| {
        let reply = exchange(&subject.server.address(), &cases[at], Manner::HalfClosed, 1);
        if compared(&reply).0 < 300 {
            *accepted.lock().unwrap() += 1;
        }
        reply
    });
    for (at, replies) in replies.iter().enumerate() {
        let first = String::from_utf8_lossy(&cases[at])
            .chars()
            .take(300)
            .collect::<String>();
        for (subject, reply) in subjects.iter().zip(replies) {
            let what = format!(
                "seed {} on {:?}: {first}",
                seed.wrapping_add(at as u64),
                subject.on
            );
            tally.take(&what, reply);
            let line = first.split("\r\n").next().unwrap_or_default();
            let mut words = line.split(' ');
            if let (Some(method), Some(path), Reply::Answers(answers)) =
                (words.next(), words.next(), reply)
                && let (Some(call), Some(answer)) = (document.call(method, path), answers.first())
                && !answer.media_type.is_empty()
                && let Some(untold) = document.untold(method, &call, answer)
            {
                tally.untold(format!("{what}: {untold}"));
            }
        }
        // Rows that were accepted race with each other, so what is compared is what needs no row.
        let seen: Vec<(u16, &str, &str)> = replies.iter().map(compared).collect();
        let by_row = |status: u16| [200, 201, 404, 409, 410].contains(&status);
        if seen.iter().any(|(status, ..)| *status == 503) {
            continue;
        }
        let differ = seen.windows(2).any(|two| two[0].0 != two[1].0);
        if differ && !seen.iter().all(|(status, ..)| by_row(*status)) {
            tally.differs(format!(
                "seed {}: {seen:?}: {}",
                seed.wrapping_add(at as u64),
                String::from_utf8_lossy(&cases[at])
            ));
        }
    }
    for (subject, before) in subjects.iter().zip(before) {
        let after = others(subject);
        if after != before {
            tally.changed(format!(
                "{:?}: seeds from {seed}: {before} became {after}",
                subject.on
            ));
        }
    }
}

/// The rows that no request of a batch names.
fn others(subject: &Subject) -> String {
    let rows = subject.server.column(&format!(
        "SELECT id || ' ' || sync_version || ' ' || title FROM things WHERE CAST(id AS TEXT) = '{}'",
        id(1)
    ));
    let labels = subject
        .server
        .column("SELECT code || meaning || sync_version FROM labels WHERE code LIKE 'q%'");
    format!("{rows:?} {labels:?}")
}

/// A request that was valid.
fn request(rng: &mut Rng) -> Vec<u8> {
    let case = valid(rng);
    let (media_type, body) = case.body.unwrap_or_default();
    let mut json: Json = serde_json::from_slice(&body).unwrap_or_default();
    let by_structure = !body.is_empty() && rng.bool();
    if by_structure {
        for _change in 0..rng.usize(1..4) {
            change(rng, &mut json);
        }
    }
    let mut body = if body.is_empty() {
        body
    } else {
        json.to_string().into_bytes()
    };
    if !by_structure && !body.is_empty() {
        flip(rng, &mut body);
    }
    let mut head = format!("{} {} HTTP/1.1\r\n", case.method, case.path).into_bytes();
    if body.is_empty() {
        // Only what is read can be broken here, or the request would name another row.
        let at = head.len() - 11;
        if case.method == "GET" && rng.bool() {
            let start = at.saturating_sub(rng.usize(1..12));
            flip(rng, &mut head[start..at].to_vec());
            head[start] = *b"%&=?/.~ +{\x7f\xff".get(rng.usize(..12)).unwrap();
        }
    }
    let mut headers = format!("Host: localhost\r\nClient-Id: {}\r\n", next_client());
    if !media_type.is_empty() {
        headers.push_str(&format!("Content-Type: {media_type}\r\n"));
    }
    for (name, values) in [
        (
            "Client-Time",
            ["2026-11-22T10:00:00Z", "x", "9999-12-31T23:59:59Z"],
        ),
        ("If-Match", ["\"1\"", "*", "\"x"]),
        ("Idempotency-Key", ["k", "\u{e4}", ""]),
        ("Client-Push", ["0", "1", "-"]),
        ("Accept-Encoding", ["gzip", "zstd", "identity"]),
    ] {
        if rng.u8(..) < 40 {
            headers.push_str(&format!("{name}: {}\r\n", values[rng.usize(..3)]));
        }
    }
    let packed = match rng.u8(..8) {
        0 => Some(("gzip", super::judge::gzip(&body))),
        1 => Some(("zstd", zstd::encode_all(body.as_slice(), 1).unwrap())),
        _ => None,
    };
    if let Some((encoding, mut bytes)) = packed {
        headers.push_str(&format!("Content-Encoding: {encoding}\r\n"));
        if rng.bool() && !bytes.is_empty() {
            flip(rng, &mut bytes);
        }
        body = bytes;
    }
    if !body.is_empty() {
        headers.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.extend_from_slice(headers.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&body);
    head
}

/// Requests about a row of their own.
fn valid(rng: &mut Rng) -> Case {
    let own = id(1_000 + rng.u64(..200_000));
    let path = format!("/v1/tables/things/rows/{own}");
    // Columns that both databases type alike: SQLite knows neither small integers nor times with a zone.
    let row = json!({ "title": "x", "short": "ab", "done": true, "number": "9007199254740993", "ratio": 0.5,
                      "price": "12.50", "day": "2026-11-22", "moment": "10:00:00", "local": "2026-11-22T10:00:00",
                      "blob": "AAE=", "data": { "a": [1, { "b": null }] }, "tags": ["a", "b"],
                      "stock": 3 });
    let columns: Json = row
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                json!({ "value": value, "base": value, "at": "2026-11-22T10:00:00Z" }),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut whole = row.clone();
    whole["id"] = json!(own);
    match rng.u8(..10) {
        0 => Case::new("", "POST", "/v1/tables/things/rows").body(JSON, whole.to_string()),
        1 => Case::new("", "PUT", path).body(JSON, row.to_string()),
        2 => Case::new("", "PATCH", path).body(MERGE, row.to_string()),
        3 => Case::new("", "PATCH", path).body(EDIT, json!({ "base_version": 1, "columns": columns }).to_string()),
        4 => Case::new("", "PATCH", path).body(
            PATCH,
            json!([{ "op": "add", "path": "/data/x", "value": [1] }, { "op": "copy", "from": "/title", "path": "/short" },
                   { "op": "test", "path": "/done", "value": true }, { "op": "remove", "path": "/tags/0" }])
            .to_string(),
        ),
        5 => Case::new("", "POST", "/v1/sync/push").body(
            JSON,
            json!({ "push": 1, "atomic": false, "edits": [
                { "table": "things", "id": own, "op": "insert", "columns": columns },
                { "table": "members", "id": "own,7", "op": "insert", "columns": { "role": { "value": "x" } } },
                { "table": "things", "id": own, "op": "delete", "base_version": 1, "at": "2026-11-22T10:00:00Z" }] })
            .to_string(),
        ),
        6 => Case::new("", "POST", "/v1/sync/log").body(
            JSON,
            json!({ "push": 1, "entries": [
                { "table": "things", "id": own, "action": "insert", "columns": row },
                { "table": "things", "id": own, "action": "update", "columns": { "stock": 4 }, "base": { "stock": 3 } }] })
            .to_string(),
        ),
        7 => Case::new("", "POST", "/v1/sync/rows").body(
            JSON,
            json!({ "push": 1, "rows": [{ "table": "things", "id": own, "base_version": 0, "columns": row }] }).to_string(),
        ),
        8 => Case::new("", "GET", format!("{}?meta=true&deleted=true", thing())),
        _ => Case::new("", "GET", "/v1/sync/pull?tables=labels,members&limit=5"),
    }
}

fn flip(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _flip in 0..rng.usize(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.usize(..bytes.len());
        match rng.u8(..5) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = rng.u8(..),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *b"\"\\{}[],:0\0-e".get(rng.usize(..12)).unwrap()),
            _ => bytes.truncate(at),
        }
    }
}

/// Changes one place of `json`.
fn change(rng: &mut Rng, json: &mut Json) {
    let size = count(json);
    let target = rng.usize(..size);
    let odd = odd(rng);
    let mut seen = 0;
    visit(json, &mut |place| {
        if seen == target {
            *place = odd.clone();
        }
        seen += 1;
    });
}

fn count(json: &Json) -> usize {
    1 + match json {
        Json::Array(elements) => elements.iter().map(count).sum(),
        Json::Object(members) => members.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

fn visit(json: &mut Json, act: &mut impl FnMut(&mut Json)) {
    match json {
        Json::Array(elements) => elements.iter_mut().for_each(|element| visit(element, act)),
        Json::Object(members) => members.values_mut().for_each(|member| visit(member, act)),
        _ => {}
    }
    act(json);
}

/// A value that few expect. The ids of rows that stay as they are, are not among them.
///
/// A number of more than 15 digits stands in an array only: SQLite keeps no more of a document that is nothing else.
fn odd(rng: &mut Rng) -> Json {
    let number = [
        "1e400",
        "-0",
        "1e-7",
        "[123456789012345678901234567890]",
        "0.1000",
        "9223372036854775807",
        "-9223372036854775808",
    ];
    match rng.u8(..16) {
        0 => Json::Null,
        1 => json!(rng.bool()),
        2 => json!([]),
        3 => json!({}),
        4 => json!(""),
        5 => json!("\0"),
        6 => json!("\u{1f4a3}\u{202e}"),
        7 => json!("x".repeat(rng.usize(..3_000))),
        8 => serde_json::from_str(number[rng.usize(..number.len())]).unwrap(),
        9 => json!(rng.i64(..)),
        10 => json!(f64::from(rng.i32(..)) / 64.0),
        11 => json!({ "value": "x", "base": 1 }),
        12 => json!(["a", "a", null, 1]),
        13 => json!("2026-11-22T10:00:00Z"),
        14 => (0..rng.usize(1..40)).fold(json!(1), |inner, _| json!([inner])),
        _ => json!("members"),
    }
}
