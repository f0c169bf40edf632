//! What a sync did, while it runs and when it is done.

use serde::Serialize;

/// What one sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Edits that the server has answered for: one a row.
    pub pushed: u64,
    /// Those of them that are current as they were sent.
    pub applied: u64,
    /// Those of which a column lost against another value; see [`crate::Client::conflicts`].
    pub superseded: u64,
    /// Those of which a column was merged with another value.
    pub merged: u64,
    /// Those of which a column waits for an administrator.
    pub held: u64,
    /// Those that were refused; see [`crate::Client::dead_letters`].
    pub rejected: u64,
    /// Rows that the server sent.
    pub pulled: u64,
    /// Rows that it removed here.
    pub removed: u64,
    /// Bytes of request bodies.
    pub sent_bytes: u64,
    /// Bytes of answers' bodies.
    pub received_bytes: u64,
    /// Why edits stay pending, each reason once.
    pub waiting: Vec<String>,
}

/// How far a sync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Progress {
    /// It asks for the server's schema.
    Schema,
    /// It pushes.
    Pushing {
        /// Edits answered for.
        sent: u64,
        /// Lines of the log that are left, which is no less than the edits.
        left: u64,
    },
    /// It pulls.
    Pulling {
        /// Rows that have come.
        rows: u64,
        /// Whether it is a pull from the beginning.
        first: bool,
    },
}
