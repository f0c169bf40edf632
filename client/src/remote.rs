//! The server as the client sees it: three calls, and what their failures mean.
//!
//! Knows no file and no SQL. What is to be done about a failure is the engine's. [`Http`] is a colsync server;
//! [`crate::plain`] makes one of an API that knows no sync.

mod http;

use std::io::{BufRead as _, BufReader, Read};

use colsync_shared::ClientId;
use colsync_shared::receipt::Receipt;
use colsync_shared::schema_wire::SchemaWire;
use serde::Deserialize;

pub(crate) use http::{Http, agent, check_url};

use crate::error::Error;
use crate::outbox::freeze::Frozen;
use crate::outbox::mode::Mode;

/// The longest line of a pull, bytes: a row of four times the server's largest request.
const LONGEST_LINE: u64 = 64 << 20;

/// What a sync asks of whatever is at the other end.
pub(crate) trait Remote {
    /// Its tables.
    fn schema(&mut self, client: ClientId) -> Result<SchemaWire, Trouble>;

    /// Whether [`Remote::schema`] asks nobody, so that it is asked at every sync.
    fn knows_its_schema(&self) -> bool {
        false
    }

    /// Sends a push. One that was sent before gets the same receipts. `position` is the cursor that its base versions
    /// were known at, or something else where they are of a history that was lost; `None` of a file that has never
    /// pulled.
    fn push(
        &mut self,
        client: ClientId,
        push: &Frozen,
        position: Option<&str>,
        compress: bool,
    ) -> Result<PushAnswer, Trouble>;

    /// Whether it understands pushes of this mode.
    fn takes(&self, mode: Mode) -> bool {
        match mode {
            Mode::Differential | Mode::TransactionLog | Mode::WholeRow => true,
        }
    }

    /// The most edits that it takes in one push.
    fn most_edits(&self) -> usize {
        usize::MAX
    }

    /// What changed in `tables` since `cursor`, without an echo of pushes up to `after_push`.
    fn pull(
        &mut self,
        client: ClientId,
        tables: &[&str],
        cursor: Option<&str>,
        after_push: Option<i64>,
        limit: u64,
    ) -> Result<Pull, Trouble>;

    /// Bytes of bodies sent and received.
    fn traffic(&self) -> (u64, u64);

    /// Its clock less this one's, µs; `None` before the first answer.
    fn offset_us(&self) -> Option<i64>;
}

/// Why a call did not give what it should, by what is to be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Try again later: the network, or a server too busy (408, 425, 429, 5xx).
    #[error("{0}")]
    Unreachable(String),
    /// Pause until someone changes the key or the server's mind (401, 403).
    #[error("{code}: {detail}")]
    Forbidden { code: String, detail: String },
    /// The file is a copy of another one that has pushed since (409).
    #[error("the server knows a later push of this client")]
    Forked,
    /// The server lacks pushes that it has answered for (409).
    #[error("the server expects push {expected}")]
    OutOfOrder { expected: i64 },
    /// The cursor is of no use any more (410).
    #[error("the cursor has expired")]
    Expired,
    /// The server has no such table any more (404).
    #[error("{detail}")]
    UnknownTable { detail: String },
    /// The push is more than the server takes at once, or no push for it (400, 413, 422).
    #[error("{status} {code}: {detail}")]
    BadPush {
        status: u16,
        code: String,
        detail: String,
    },
    /// Anything else that is no success.
    #[error("{status} {code}: {detail}")]
    Refused {
        status: u16,
        code: String,
        detail: String,
    },
    /// An answer that the protocol does not know.
    #[error("{0}")]
    Nonsense(String),
    /// What is kept here of the server cannot be read or written.
    #[error(transparent)]
    Here(#[from] Error),
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable(why) => Error::Unreachable(why),
            Trouble::Forbidden { code, detail } => Error::Forbidden { code, detail },
            Trouble::Forked => refused(409, "client_forked", trouble),
            Trouble::OutOfOrder { .. } => refused(409, "push_out_of_order", trouble),
            Trouble::Expired => refused(410, "cursor_expired", trouble),
            Trouble::UnknownTable { .. } => refused(404, "unknown_table", trouble),
            Trouble::BadPush {
                status,
                code,
                detail,
            }
            | Trouble::Refused {
                status,
                code,
                detail,
            } => Error::Refused {
                status,
                code,
                detail,
            },
            Trouble::Nonsense(why) => Error::Nonsense(why),
            Trouble::Here(failure) => failure,
        }
    }
}

fn refused(status: u16, code: &str, trouble: Trouble) -> Error {
    Error::Refused {
        status,
        code: code.to_owned(),
        detail: trouble.to_string(),
    }
}

/// The server's answer to a push.
#[derive(Debug, Deserialize)]
pub(crate) struct PushAnswer {
    pub(crate) push: i64,
    pub(crate) receipts: Vec<Receipt>,
    #[serde(default)]
    pub(crate) schema: Option<String>,
}

/// A pull's stream, line by line.
pub(crate) struct Pull {
    reader: BufReader<Box<dyn Read + Send>>,
}

impl Pull {
    pub(crate) fn new(body: Box<dyn Read + Send>) -> Self {
        Pull {
            reader: BufReader::with_capacity(64 << 10, body),
        }
    }

    /// Adds the next line to `text`, with its end; false at the end of the stream.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`] if the stream broke off, [`Trouble::Nonsense`] if it is none. What there was of the
    /// line is not left in `text`.
    pub(crate) fn read_line(&mut self, text: &mut Vec<u8>) -> Result<bool, Trouble> {
        let before = text.len();
        let mut bounded = (&mut self.reader).take(LONGEST_LINE);
        let read = bounded
            .read_until(b'\n', text)
            .map_err(|broken| Trouble::Unreachable(format!("the answer broke off: {broken}")));
        match read {
            Ok(0) => Ok(false),
            Ok(_) if text.ends_with(b"\n") => Ok(true),
            broken => {
                text.truncate(before);
                Err(if broken? as u64 == LONGEST_LINE {
                    Trouble::Nonsense("a line of a pull without an end".to_owned())
                } else {
                    Trouble::Unreachable("the answer broke off within a line".to_owned())
                })
            }
        }
    }
}
