//! HTTP/1.1 messages as bytes: where one ends, and how to make a shorter one. Nothing of what they mean.

use std::io::{BufRead, Error, ErrorKind, Read as _, Result, Write as _};

/// The longest line of a head or of a chunk's size; a longer one is no HTTP.
const LINE: u64 = 64 * 1024;

/// A request or an answer, byte for byte.
pub(super) struct Message {
    /// Up to and with the empty line.
    pub(super) head: Vec<u8>,
    /// As it was framed.
    pub(super) body: Vec<u8>,
}

/// The head of an answer, and whether a body follows, which depends on what was asked.
pub(super) struct Asked {
    /// The request's method was HEAD.
    pub(super) only_head: bool,
}

impl Message {
    /// Reads a whole request; an error if it breaks off.
    pub(super) fn request(from: &mut impl BufRead) -> Result<Message> {
        let head = read_head(from)?;
        let body = if is_chunked(&head) {
            read_chunked(from)?
        } else {
            read_exactly(from, length(&head)?.unwrap_or_default())?
        };
        Ok(Message { head, body })
    }

    /// Reads the body of an answer whose head has been read.
    pub(super) fn answer(head: Vec<u8>, asked: &Asked, from: &mut impl BufRead) -> Result<Message> {
        let body = if asked.only_head || matches!(status(&head), 100..=199 | 204 | 304) {
            Vec::new()
        } else if is_chunked(&head) {
            read_chunked(from)?
        } else if let Some(length) = length(&head)? {
            read_exactly(from, length)?
        } else {
            let mut all = Vec::new();
            from.read_to_end(&mut all)?;
            all
        };
        Ok(Message { head, body })
    }

    /// All of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.body[..]].concat()
    }

    /// The method and path of a request.
    pub(super) fn starts_with(&self, start: &str) -> bool {
        self.head.starts_with(start.as_bytes())
    }

    /// Whether the connection ends with this message.
    pub(super) fn closes(&self) -> bool {
        header(&self.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The same answer, well-formed, with a body that ends early. `at` chooses where among so many bytes
    /// and tells whether to stop at the end of a line. None if the answer is no stream of lines.
    pub(super) fn shortened(&self, mut at: impl FnMut(usize) -> (usize, bool)) -> Option<Vec<u8>> {
        let lines = header(&self.head, "content-type").as_deref() == Some("application/x-ndjson");
        if status(&self.head) != 200 || !lines {
            return None;
        }
        let chunked = is_chunked(&self.head);
        let body = match chunked {
            true => unchunked(&self.body).ok()?,
            false => self.body.clone(),
        };
        let coding = header(&self.head, "content-encoding");
        let plain = decoded(&body, coding.as_deref())?;
        if plain.is_empty() {
            return None;
        }
        let (mut end, whole_lines) = at(plain.len());
        if whole_lines {
            let newline = plain[..end].iter().rposition(|byte| *byte == b'\n');
            end = newline.map_or(0, |newline| newline + 1);
        }
        let body = encoded(&plain[..end], coding.as_deref())?;
        if !chunked {
            return Some([&with_length(&self.head, body.len())[..], &body[..]].concat());
        }
        let mut short = self.head.clone();
        for part in body.chunks(body.len().div_ceil(2).max(1)) {
            short.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            short.extend_from_slice(part);
            short.extend_from_slice(b"\r\n");
        }
        short.extend_from_slice(b"0\r\n\r\n");
        Some(short)
    }
}

/// Whether an answer goes on for as long as someone listens.
pub(super) fn is_endless(head: &[u8]) -> bool {
    header(head, "content-type").is_some_and(|value| value.starts_with("text/event-stream"))
}

/// Reads a head, with the empty line.
pub(super) fn read_head(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let line = read_line(from)?;
        head.extend_from_slice(&line);
        if line == b"\r\n" {
            return Ok(head);
        }
    }
}

fn read_line(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line)?;
    match line.ends_with(b"\n") {
        true => Ok(line),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads chunks to the last one and the empty line after it, as they are.
fn read_chunked(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let line = read_line(from)?;
        let size = chunk_size(&line)?;
        raw.extend_from_slice(&line);
        if size == 0 {
            break;
        }
        raw.extend_from_slice(&read_exactly(from, size + 2)?);
    }
    loop {
        let line = read_line(from)?;
        raw.extend_from_slice(&line);
        if line == b"\r\n" {
            return Ok(raw);
        }
    }
}

fn unchunked(mut raw: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        let size = chunk_size(&read_line(&mut raw)?)?;
        if size == 0 {
            return Ok(plain);
        }
        plain.extend_from_slice(&read_exactly(&mut raw, size)?);
        read_line(&mut raw)?;
    }
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let line = String::from_utf8_lossy(line);
    let digits = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(|e| Error::new(ErrorKind::InvalidData, e))
}

fn status(head: &[u8]) -> u16 {
    let head = String::from_utf8_lossy(head);
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_default()
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// The head of a body of this length.
fn with_length(head: &[u8], length: usize) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let lines = head.split_inclusive("\r\n");
    let lines = lines.map(|line| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
            format!("{name}: {length}\r\n")
        }
        _ => line.to_owned(),
    });
    lines.collect::<String>().into_bytes()
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn length(head: &[u8]) -> Result<Option<u64>> {
    let length = header(head, "content-length").map(|value| value.parse());
    length
        .transpose()
        .map_err(|e| Error::new(ErrorKind::InvalidData, e))
}

fn decoded(bytes: &[u8], coding: Option<&str>) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        None => plain.extend_from_slice(bytes),
        Some("gzip") => drop(
            flate2::read::GzDecoder::new(bytes)
                .read_to_end(&mut plain)
                .ok()?,
        ),
        Some("zstd") => plain = zstd::decode_all(bytes).ok()?,
        Some(_) => return None,
    }
    Some(plain)
}

fn encoded(plain: &[u8], coding: Option<&str>) -> Option<Vec<u8>> {
    match coding {
        None => Some(plain.to_vec()),
        Some("gzip") => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        Some("zstd") => zstd::encode_all(plain, 1).ok(),
        Some(_) => None,
    }
}
