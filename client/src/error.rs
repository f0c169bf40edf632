//! What can go wrong in the client, for the app that calls it.

use std::path::PathBuf;

/// Why a call to the client failed. Nothing is lost by any of them: edits stay in the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// A clause.
        reason: String,
    },
    /// The file was made by a later version of colsync.
    #[error("the file was made by a later version of colsync")]
    LaterFormat,
    /// SQLite failed.
    #[error("SQLite: {0}")]
    Sqlite(#[from] diesel::result::Error),
    /// A trigger left a write to this table out and said nothing, or another row is in the way of one that is not the same
    /// by its bytes.
    #[error("{0} does not take the row")]
    Ignored(String),
    /// Colsync's own tables hold what cannot be read.
    #[error("unreadable: {0}")]
    Corrupt(String),
    /// A table cannot be tracked; each reason is a clause.
    #[error("cannot track {table}: {}", reasons.join("; "))]
    Untrackable {
        /// The table.
        table: String,
        /// Everything that stands against it.
        reasons: Vec<String>,
    },
    /// A table has unpushed edits, and what was asked would drop them.
    #[error("{table} has {edits} unpushed edit(s)")]
    Unpushed {
        /// The table.
        table: String,
        /// Rows with edits.
        edits: i64,
    },
    /// The table is being read anew from the server, and what its rows hold here may not be what they hold there.
    #[error("{0} is being read anew from the server: sync first")]
    StartsOver(String),
    /// What the server has of a row of this table waits until the row's other edits are sent: it is not what the row holds
    /// here.
    #[error("{0}: what the server has of the row waits for its unpushed edits: sync first")]
    RowWaits(String),
    /// No tracked table, row, column, or dead letter of this name.
    #[error("no {what} {name}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Neither the call nor the file names a server.
    #[error("no server is known yet: name one")]
    NoServer,
    /// The server's URL is none.
    #[error("{url}: {reason}")]
    Url {
        /// As it was given, without what stands before an @.
        url: String,
        /// A clause.
        reason: String,
    },
    /// The description of an API that knows no sync is not right.
    #[error("{field}: {reason}")]
    Description {
        /// The member at fault, such as `tables.todos.item`.
        field: String,
        /// A clause.
        reason: String,
    },
    /// The server knows no sync, and tells no schema to make tables from.
    #[error("this server tells no schema: make the tables in the file yourself, then track them")]
    NoSchema,
    /// Another process syncs this file just now.
    #[error("another process is syncing this file")]
    Busy,
    /// The server could not be reached, or was too busy: it is worth trying again.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server does not let this client in (401, 403): nothing is sent until that changes.
    #[error("the server refuses this client ({code}): {detail}")]
    Forbidden {
        /// The server's code.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// The server refused a request as a whole.
    #[error("the server refused ({status} {code}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's code.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// The server's answer is not what the protocol says.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(String),
    /// The worker was told to stop.
    #[error("stopped")]
    Stopped,
    /// A file beside the database, such as the lock, failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
