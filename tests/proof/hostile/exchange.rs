//! One exchange over a socket, byte for byte, so that nothing that a library would refuse to send is left out.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

/// Longer than any answer takes on a busy machine, with the server's own deadline in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// All at once.
    AtOnce,
    /// All, and then no more: the writing half is closed.
    HalfClosed,
    /// All but the end, which never comes.
    Stalled,
    /// In single bytes with a pause between, until the server has enough of it.
    Dripping,
    /// All, and nobody waits for the answer.
    GoneAway,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Answers, in order: of one request there is one.
    Answers(Vec<Answer>),
    /// The connection was closed without an answer.
    Closed,
    /// Neither answer nor end within the deadline.
    Hung,
}

/// An answer, as far as answers are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The problem's code, or the codes of the receipts that were rejected.
    pub(super) code: String,
    /// The problem's field, or the fields of those receipts.
    pub(super) field: String,
    pub(super) media_type: String,
    pub(super) body: Vec<u8>,
}

/// Sends `bytes` to `address`, and reads what comes back until the connection ends or `answers` are there.
pub(super) fn exchange(address: &str, bytes: &[u8], manner: Manner, answers: usize) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    let brief = Duration::from_millis(200);
    stream.set_read_timeout(Some(brief)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let ends = Instant::now() + PATIENCE;
    let mut came = Vec::new();
    match manner {
        Manner::AtOnce | Manner::Stalled | Manner::GoneAway => drop(stream.write_all(bytes)),
        Manner::HalfClosed => {
            drop(stream.write_all(bytes));
            drop(stream.shutdown(Shutdown::Write));
        }
        Manner::Dripping => {
            stream.set_nodelay(true).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            for byte in bytes {
                // The pause is a read that finds nothing.
                let gone = stream.write_all(&[*byte]).is_err();
                let mut some = [0; 1024];
                match stream.read(&mut some) {
                    Ok(0) => break,
                    Ok(read) => {
                        came.extend_from_slice(&some[..read]);
                        break;
                    }
                    Err(_nothing) if gone || Instant::now() > ends => break,
                    Err(_nothing) => {}
                }
            }
            stream.set_read_timeout(Some(brief)).unwrap();
        }
    }
    if manner == Manner::GoneAway {
        return Reply::Closed;
    }
    let mut some = vec![0; 64 << 10];
    loop {
        if let Some(read) = parsed(&came, false).filter(|read| read.len() >= answers) {
            return Reply::Answers(read);
        }
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(read) => came.extend_from_slice(&some[..read]),
            Err(cause)
                if matches!(
                    cause.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                if Instant::now() > ends {
                    return Reply::Hung;
                }
            }
            Err(_reset) => break,
        }
    }
    match parsed(&came, true) {
        Some(read) if !read.is_empty() => Reply::Answers(read),
        _ => Reply::Closed,
    }
}

/// The whole answers in `bytes`; the last one may be cut if the connection has `ended`.
fn parsed(bytes: &[u8], ended: bool) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match one(rest, ended) {
            Some((answer, more)) => {
                answers.push(answer);
                rest = more;
            }
            None => break,
        }
    }
    Some(answers)
}

fn one(bytes: &[u8], ended: bool) -> Option<(Answer, &[u8])> {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
    let rest = &bytes[split + 4..];
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.map(str::to_owned)
    };
    let cut = || ended.then(|| (rest.to_vec(), &[][..]));
    let (body, rest) = if let Some(length) = header("content-length") {
        let length: usize = length.parse().ok()?;
        match rest.split_at_checked(length) {
            Some((body, rest)) => (body.to_vec(), rest),
            None => cut()?,
        }
    } else if header("transfer-encoding").is_some() {
        dechunked(rest).or_else(cut)?
    } else {
        (Vec::new(), rest)
    };
    let body = match header("content-encoding").as_deref() {
        Some("gzip") => inflated(flate2::read::GzDecoder::new(body.as_slice())),
        Some("zstd") => inflated(zstd::stream::read::Decoder::new(body.as_slice()).ok()?),
        _ => body,
    };
    let media_type = header("content-type").unwrap_or_default();
    Some((answer(status, &media_type, &body), rest))
}

/// As much as there is.
fn inflated(mut from: impl std::io::Read) -> Vec<u8> {
    let mut body = Vec::new();
    drop(from.read_to_end(&mut body));
    body
}

fn dechunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        let chunk = bytes.get(end + 2..end + 2 + size)?;
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + size..)?;
        if size == 0 {
            return Some((body, bytes));
        }
    }
}

fn answer(status: u16, media_type: &str, body: &[u8]) -> Answer {
    let told: Json = serde_json::from_slice(body).unwrap_or_default();
    let text = |json: &Json, name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let receipts = told["receipts"].as_array().cloned().unwrap_or_default();
    let each = |name: &str| {
        let all: Vec<String> = receipts.iter().map(|receipt| text(receipt, name)).collect();
        all.join(" ")
    };
    let is_push = !receipts.is_empty();
    Answer {
        status,
        code: if is_push {
            each("code")
        } else {
            text(&told, "code")
        },
        field: if is_push {
            each("field")
        } else {
            text(&told, "field")
        },
        media_type: media_type.to_owned(),
        body: body.to_vec(),
    }
}
