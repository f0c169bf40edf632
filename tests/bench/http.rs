//! As little of HTTP/1.1 as costs as little as possible: one kept-alive connection.

use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How an answer's body ends.
enum Extent {
    Length(usize),
    Chunked,
}

/// A connection kept alive, of one client.
pub(crate) struct Connection {
    stream: TcpStream,
    headers: String,
    output: Vec<u8>,
    input: Vec<u8>,
    /// What of `input` has been read.
    at: usize,
    body: Vec<u8>,
}

impl Connection {
    /// Connects the client `id` to `address`.
    pub(crate) async fn open(address: &str, id: &str) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection {
            stream,
            headers: format!("Host: {address}\r\nClient-Id: {id}\r\n"),
            output: Vec::new(),
            input: Vec::new(),
            at: 0,
            body: Vec::new(),
        }
    }

    /// Sends a body and gives the answer's.
    ///
    /// # Panics
    /// If the answer is not a 200.
    pub(crate) async fn send(
        &mut self,
        request_line: &str,
        media_type: &str,
        body: &[u8],
    ) -> &[u8] {
        self.output.clear();
        write!(
            self.output,
            "{request_line} HTTP/1.1\r\n{}Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.headers,
            body.len()
        )
        .unwrap();
        self.output.extend_from_slice(body);
        self.answer().await
    }

    /// Asks for `target`, with further header lines, and gives the answer's body.
    ///
    /// # Panics
    /// If the answer is not a 200.
    pub(crate) async fn get(&mut self, target: &str, headers: &str) -> &[u8] {
        self.ask(target, headers);
        self.answer().await
    }

    /// As [`Connection::get`], and hands the body over piece by piece, so that it may be of any length.
    pub(crate) async fn get_pieces(
        &mut self,
        target: &str,
        headers: &str,
        take: impl FnMut(&[u8]),
    ) {
        self.ask(target, headers);
        self.exchange(take).await;
    }

    fn ask(&mut self, target: &str, headers: &str) {
        self.output.clear();
        write!(
            self.output,
            "GET {target} HTTP/1.1\r\n{}{headers}\r\n",
            self.headers
        )
        .unwrap();
    }

    async fn answer(&mut self) -> &[u8] {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        self.exchange(|piece| body.extend_from_slice(piece)).await;
        self.body = body;
        &self.body
    }

    /// Sends what is in `output`, and hands over the answer's body.
    async fn exchange(&mut self, mut take: impl FnMut(&[u8])) {
        self.stream.write_all(&self.output).await.unwrap();
        self.input.clear();
        self.at = 0;
        match self.head().await {
            Extent::Length(length) => self.pieces(length, &mut take).await,
            Extent::Chunked => loop {
                let size = self.line().await;
                let size = usize::from_str_radix(&size, 16).unwrap();
                self.pieces(size, &mut take).await;
                assert_eq!(self.line().await, "", "the end of a chunk");
                if size == 0 {
                    break;
                }
            },
        }
        assert_eq!(self.at, self.input.len(), "more than an answer");
    }

    /// Reads the answer's head.
    async fn head(&mut self) -> Extent {
        let status = self.line().await;
        let mut extent = None;
        loop {
            let line = self.line().await;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            if name.eq_ignore_ascii_case("content-length") {
                extent = Some(Extent::Length(value.trim().parse().unwrap()));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                extent = Some(Extent::Chunked);
            }
        }
        if !status.starts_with("HTTP/1.1 200 ") {
            let request = String::from_utf8_lossy(&self.output[..self.output.len().min(200)]);
            let more = String::from_utf8_lossy(&self.input[self.at..]);
            panic!("{request}: {status}: {more}");
        }
        extent.unwrap_or_else(|| panic!("{status}: an answer without a length"))
    }

    /// The next line, without its end.
    async fn line(&mut self) -> String {
        loop {
            let left = &self.input[self.at..];
            if let Some(end) = left.windows(2).position(|window| window == b"\r\n") {
                let line = std::str::from_utf8(&left[..end]).unwrap().to_owned();
                self.at += end + 2;
                return line;
            }
            self.read().await;
        }
    }

    /// Hands over the next `left` bytes.
    async fn pieces(&mut self, mut left: usize, take: &mut impl FnMut(&[u8])) {
        while left > 0 {
            if self.at == self.input.len() {
                self.input.clear();
                self.at = 0;
                self.read().await;
            }
            let end = self.input.len().min(self.at + left);
            take(&self.input[self.at..end]);
            left -= end - self.at;
            self.at = end;
        }
    }

    async fn read(&mut self) {
        self.input.reserve(64 * 1024);
        let read = self.stream.read_buf(&mut self.input).await.unwrap();
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&self.input));
    }
}
