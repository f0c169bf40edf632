//! What must hold of every answer, counted and told.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use uuid::Uuid;

use super::corpus::Case;
use super::document::Document;
use super::exchange::{Answer, Manner, Reply, exchange};
use super::shapes::Shape;
use super::subject::Subject;
use crate::report::Outcome;

/// Requests under way on each server.
const THREADS: usize = 6;

/// Findings of one kind that are told in full.
const TOLD: usize = 20;

/// What was found.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Calls of the document that were met, with their methods.
    pub(super) calls: BTreeSet<String>,
    /// Answers that said: try again. A busy machine makes them, where a write waits for the disk.
    pub(super) unavailable: u64,
    kinds: [Vec<String>; 6],
}

const KINDS: [&str; 6] = ["5xx", "panics", "hangs", "changed", "differs", "untold"];

impl Tally {
    pub(super) fn failed(&mut self, what: String) {
        self.kinds[0].push(what);
    }

    pub(super) fn panicked(&mut self, what: String) {
        self.kinds[1].push(what);
    }

    pub(super) fn hung(&mut self, what: String) {
        self.kinds[2].push(what);
    }

    pub(super) fn changed(&mut self, what: String) {
        self.kinds[3].push(what);
    }

    pub(super) fn differs(&mut self, what: String) {
        self.kinds[4].push(what);
    }

    pub(super) fn untold(&mut self, what: String) {
        self.kinds[5].push(what);
    }

    /// The figures, and what was found.
    pub(super) fn tell(&self, outcome: &mut Outcome) {
        outcome.figure("503", self.unavailable);
        if self.unavailable > self.requests / 1_000 {
            outcome.found(format!("{} answers were 503", self.unavailable));
        }
        for (kind, found) in KINDS.iter().zip(&self.kinds) {
            outcome.figure(kind, found.len());
            for what in found.iter().take(TOLD) {
                outcome.found(format!("{kind}: {what}"));
            }
        }
    }

    /// Judges one reply by itself.
    pub(super) fn take(&mut self, what: &str, reply: &Reply) {
        self.requests += 1;
        match reply {
            Reply::Hung => self.hung(what.to_owned()),
            Reply::Closed => {}
            Reply::Answers(answers) => {
                for answer in answers {
                    if answer.status == 503 {
                        self.unavailable += 1;
                    } else if answer.status >= 500 {
                        let body = String::from_utf8_lossy(&answer.body);
                        self.failed(format!("{what}: {} {body}", answer.status));
                    }
                }
            }
        }
    }
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// Sends every case in every packing to all servers, and compares.
pub(super) fn corpus(subjects: &[Subject], cases: &[Case], document: &Document, tally: &mut Tally) {
    let mut sendings = Vec::new();
    for case in cases {
        sendings.push((case, Packing::Plain));
        if case.body.is_some() && !case.is_packed() {
            sendings.push((case, Packing::Gzip));
            sendings.push((case, Packing::Zstd));
        }
    }
    let replies = sent(subjects, sendings.len(), |subject, at| {
        let (case, packing) = sendings[at];
        exchange(
            &subject.server.address(),
            &request(case, packing, subject),
            Manner::AtOnce,
            1,
        )
    });
    let mut plain = None;
    for ((case, packing), replies) in sendings.iter().zip(&replies) {
        for (subject, reply) in subjects.iter().zip(replies) {
            let what = format!(
                "{:?} {packing:?} {} {} ({})",
                subject.on,
                case.method,
                shown(&case.path),
                case.why
            );
            tally.take(&what, reply);
            let Reply::Answers(answers) = reply else {
                continue;
            };
            let Some(answer) = answers.first() else {
                continue;
            };
            if answer.status < 400 && answer.code.trim().is_empty() && !case.harmless {
                tally.changed(format!("{what}: {} is no refusal", answer.status));
            }
            if let Some(call) = document.call(&case.method, &case.path) {
                tally.calls.insert(format!("{} {call}", case.method));
                if let Some(untold) = document.untold(&case.method, &call, answer) {
                    tally.untold(format!("{what}: {untold}"));
                }
            }
        }
        let seen: Vec<(u16, &str, &str)> = replies.iter().map(compared).collect();
        let what = format!(
            "{packing:?} {} {} ({})",
            case.method,
            shown(&case.path),
            case.why
        );
        if seen.iter().any(|(status, ..)| *status == 503) {
            continue;
        }
        if seen.windows(2).any(|two| two[0] != two[1]) {
            tally.differs(format!("{what}: {seen:?}"));
        }
        match packing {
            Packing::Plain => plain = seen.first().copied(),
            Packing::Gzip | Packing::Zstd if seen.first().copied() != plain => {
                tally.differs(format!("{what}: {seen:?}, plain {plain:?}"));
            }
            Packing::Gzip | Packing::Zstd => {}
        }
    }
}

/// Sends every shape of a connection to all servers, and compares what came back.
pub(super) fn shapes(subjects: &[Subject], shapes: &[Shape], tally: &mut Tally) {
    let replies = sent(subjects, shapes.len(), |subject, at| {
        let shape = &shapes[at];
        exchange(
            &subject.server.address(),
            &shape.bytes,
            shape.manner,
            shape.answers,
        )
    });
    for (shape, replies) in shapes.iter().zip(&replies) {
        for (subject, reply) in subjects.iter().zip(replies) {
            let what = format!("{:?} {}", subject.on, shape.why);
            tally.take(&what, reply);
            let smuggled =
                matches!(reply, Reply::Answers(answers) if answers.len() > shape.answers);
            if smuggled {
                tally.changed(format!("{what}: more answers than requests: {reply:?}"));
            }
        }
        let seen: Vec<Vec<u16>> = replies.iter().map(statuses).collect();
        if seen.windows(2).any(|two| two[0] != two[1]) {
            tally.differs(format!("{}: {seen:?}", shape.why));
        }
    }
}

fn statuses(reply: &Reply) -> Vec<u16> {
    match reply {
        Reply::Answers(answers) => answers.iter().map(|answer| answer.status).collect(),
        Reply::Closed | Reply::Hung => Vec::new(),
    }
}

/// For each number below `count`, what `send` gives for each subject.
pub(super) fn sent<T: Send>(
    subjects: &[Subject],
    count: usize,
    send: impl Fn(&Subject, usize) -> T + Sync,
) -> Vec<Vec<T>> {
    let columns: Vec<Vec<T>> = std::thread::scope(|scope| {
        let columns: Vec<_> = subjects
            .iter()
            .map(|subject| scope.spawn(|| spread(count, |at| send(subject, at))))
            .collect();
        columns
            .into_iter()
            .map(|column| column.join().unwrap())
            .collect()
    });
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let rows = (0..count).map(|_| columns.iter_mut().filter_map(Iterator::next).collect());
    rows.collect()
}

fn spread<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _thread in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    let result = work(at);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What is the same wherever it is asked.
pub(super) fn compared(reply: &Reply) -> (u16, &str, &str) {
    match reply {
        Reply::Answers(answers) => match answers.first() {
            Some(Answer {
                status,
                code,
                field,
                ..
            }) => (*status, code, field),
            None => (0, "nothing", ""),
        },
        Reply::Closed => (0, "closed", ""),
        Reply::Hung => (0, "hung", ""),
    }
}

/// The bytes of a case. Each sending is a client's first, so that the push it may be is in order.
fn request(case: &Case, packing: Packing, subject: &Subject) -> Vec<u8> {
    let fill = |text: &str| {
        text.replace("{conflict}", &subject.conflict)
            .replace("{cursor}", &subject.cursor)
    };
    let mut head = format!("{} {} HTTP/1.1\r\n", case.method, fill(&case.path)).into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    if !case.names("Host") {
        put("Host", b"localhost");
    }
    if case.path.starts_with("/admin") && !case.names("Authorization") {
        put(
            "Authorization",
            format!("Bearer {}", colsync_tests::ADMIN_TOKEN).as_bytes(),
        );
    }
    if case.path.starts_with("/v1/sync/") && !case.names("Client-Id") {
        put("Client-Id", next_client().to_string().as_bytes());
    }
    for (name, value) in &case.headers {
        put(name, value);
    }
    let Some((media_type, body)) = &case.body else {
        head.extend_from_slice(b"\r\n");
        return head;
    };
    if !case.names("Content-Type") && !media_type.is_empty() {
        put("Content-Type", media_type.as_bytes());
    }
    let body = match packing {
        Packing::Plain => body.clone(),
        Packing::Gzip => {
            put("Content-Encoding", b"gzip");
            gzip(body)
        }
        Packing::Zstd => {
            put("Content-Encoding", b"zstd");
            zstd::encode_all(body.as_slice(), 3).unwrap()
        }
    };
    put("Content-Length", body.len().to_string().as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&body);
    head
}

/// A client that has never called.
pub(super) fn next_client() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uuid::from_u128(
        0x6f1c_1f0a_5b0e_4c36_9a53_0000_0000_0000
            + u128::from(NEXT.fetch_add(1, Ordering::Relaxed)),
    )
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn shown(path: &str) -> String {
    path.chars().take(100).collect()
}
