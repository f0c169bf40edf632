//! A client without the SDK: the sync calls as bytes, at as little cost as possible.

use std::fmt::Write as _;

use colsync_tests::clock;
use serde::Deserialize;

use crate::http::Connection;

/// A client on a connection of its own.
pub(crate) struct Caller {
    connection: Connection,
    address: String,
    id: String,
    /// The number of its last push.
    push: u64,
    /// Its position in the feed.
    cursor: Option<String>,
    /// Bytes of the last pull, which is not compressed.
    pub(crate) received: u64,
    body: String,
}

/// A line of a pull that is no row.
#[derive(Deserialize)]
struct Checkpoint<'a> {
    checkpoint: &'a str,
    complete: bool,
}

/// How such a line begins.
const CHECKPOINT: &[u8] = b"{\"checkpoint\"";

impl Caller {
    /// Connects the client of this number, which differs from those of all others of the server.
    pub(crate) async fn open(address: &str, number: u64) -> Caller {
        let id = format!("b0000000-0000-4000-8000-{number:012x}");
        Caller {
            connection: Connection::open(address, &id).await,
            address: address.to_owned(),
            id,
            push: 0,
            cursor: None,
            received: 0,
            body: String::new(),
        }
    }

    /// Connects anew: a server does not keep a connection on which nothing is asked for long.
    pub(crate) async fn reconnect(&mut self) {
        self.connection = Connection::open(&self.address, &self.id).await;
    }

    /// Pushes the edits that `write` writes, with commas between them; gives the answer.
    pub(crate) async fn push(&mut self, write: impl FnOnce(&mut String)) -> &[u8] {
        self.write_push(write);
        self.send_push().await
    }

    /// Prepares a push.
    pub(crate) fn write_push(&mut self, write: impl FnOnce(&mut String)) {
        self.push += 1;
        self.body.clear();
        write!(self.body, "{{\"push\":{},\"edits\":[", self.push).unwrap();
        write(&mut self.body);
        self.body.push_str("]}");
    }

    /// Sends the push that is prepared; gives the answer.
    pub(crate) async fn send_push(&mut self) -> &[u8] {
        let line = "POST /v1/sync/push";
        let body = self.body.as_bytes();
        self.connection.send(line, "application/json", body).await
    }

    /// Sets the column `quantity` of these rows of `table`, without a base.
    pub(crate) async fn set_quantities(&mut self, table: &str, rows: &[(String, u64)]) {
        let now = clock::now_with(0);
        let answer = self.push(|body| {
            for (at, (id, value)) in rows.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(
                    body,
                    "{comma}{{\"table\":\"{table}\",\"id\":\"{id}\",\"op\":\"update\",\"at\":\"{now}\",\
                     \"columns\":{{\"quantity\":{{\"value\":{value}}}}}}}"
                )
                .unwrap();
            }
        });
        let answer = std::str::from_utf8(answer.await).unwrap();
        let applied = answer.matches("\"outcome\":\"applied\"").count();
        assert_eq!(applied, rows.len(), "{answer}");
    }

    /// Pulls what has changed since the last time, all at first; how many rows came.
    pub(crate) async fn pull(&mut self) -> u64 {
        let (rows, cursor) = self.look().await;
        self.cursor = Some(cursor);
        rows
    }

    /// The same, and stays where it was.
    pub(crate) async fn look(&mut self) -> (u64, String) {
        let target = match &self.cursor {
            Some(cursor) => format!("/v1/sync/pull?cursor={cursor}"),
            None => "/v1/sync/pull".to_owned(),
        };
        let headers = format!("Client-Push: {}\r\n", self.push);
        let mut lines = Lines::default();
        let take = |piece: &[u8]| lines.take(piece);
        self.connection.get_pieces(&target, &headers, take).await;
        self.received = lines.bytes;
        let last = lines.last.expect("a checkpoint at the end");
        let last: Checkpoint<'_> = serde_json::from_slice(&last).unwrap();
        assert!(last.complete, "a pull that broke off");
        (lines.rows, last.checkpoint.to_owned())
    }
}

/// Counts the lines of a pull.
#[derive(Default)]
struct Lines {
    rows: u64,
    bytes: u64,
    /// A line of which the end has not come.
    broken: Vec<u8>,
    /// The last line, if it is a checkpoint.
    last: Option<Vec<u8>>,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        for line in piece.split_inclusive(|&byte| byte == b'\n') {
            let is_whole = line.ends_with(b"\n");
            if is_whole && self.broken.is_empty() {
                self.line(line);
            } else {
                self.broken.extend_from_slice(line);
                if is_whole {
                    let line = std::mem::take(&mut self.broken);
                    self.line(&line);
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let is_checkpoint = line.starts_with(CHECKPOINT);
        self.last = is_checkpoint.then(|| line.to_vec());
        self.rows += u64::from(!is_checkpoint);
    }
}
