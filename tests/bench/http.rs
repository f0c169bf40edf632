//! As little of HTTP/1.1 as costs as little as possible: one kept-alive connection, answers with a length.

use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection kept alive, of one client.
pub(crate) struct Connection {
    stream: TcpStream,
    headers: String,
    output: Vec<u8>,
    input: Vec<u8>,
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
        }
    }

    /// Sends a request and gives the answer's body.
    ///
    /// # Panics
    /// If the answer is not a 200 with a length.
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
        self.stream.write_all(&self.output).await.unwrap();
        self.input.clear();
        let mut whole = None;
        while whole.is_none_or(|(_, end)| self.input.len() < end) {
            let read = self.stream.read_buf(&mut self.input).await.unwrap();
            assert!(read > 0, "closed: {}", String::from_utf8_lossy(&self.input));
            whole = whole.or_else(|| extent(&self.input));
        }
        let (start, end) = whole.unwrap();
        assert!(
            self.input.starts_with(b"HTTP/1.1 200 "),
            "{request_line}: {}",
            String::from_utf8_lossy(&self.input)
        );
        &self.input[start..end]
    }
}

/// Where the body of the answer that begins with `input` starts and ends, once its head is there.
fn extent(input: &[u8]) -> Option<(usize, usize)> {
    let head = input.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&input[..head]).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let length = length.unwrap_or_else(|| panic!("an answer without a length: {text}"));
    Some((head + 4, head + 4 + length))
}
