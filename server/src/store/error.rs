//! What can go wrong between `sync` and the database, by what is to be done about it.

use diesel::result::{DatabaseErrorKind, Error};

/// A failure of the database, or of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// It cannot be reached, or is short of something; later may be better.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Another transaction was in the way; the same again may succeed.
    #[error("in the way of another transaction: {0}")]
    Retry(String),
    /// A row breaks a constraint.
    #[error("{} constraint {} is broken", kind.name(), name.as_deref().unwrap_or("without a name"))]
    Constraint {
        kind: ConstraintKind,
        name: Option<String>,
        column: Option<String>,
    },
    /// A row is refused for another reason: a value out of range, a trigger's exception.
    #[error("refused: {0}")]
    Refused(String),
    /// Perhaps a row is refused, perhaps the database fails: its message may be either. `Conn::judged` tells.
    #[error("{0}")]
    Unclear(String),
    /// An insert found its key already there.
    #[error("another transaction made the row first")]
    Raced,
    /// The tables are not as they were when the server loaded them.
    #[error("the schema has changed: {0}")]
    SchemaChanged(String),
    /// Stored data that cannot be read.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Which constraint a row breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConstraintKind {
    Unique,
    ForeignKey,
    NotNull,
    Check,
    Other,
}

impl ConstraintKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ConstraintKind::Unique => "unique",
            ConstraintKind::ForeignKey => "foreign key",
            ConstraintKind::NotNull => "not null",
            ConstraintKind::Check => "check",
            ConstraintKind::Other => "other",
        }
    }
}

/// Messages of both databases for what diesel gives no kind to.
const RETRY: &[&str] = &[
    "deadlock detected",
    "could not serialize",
    "lock timeout",
    "database is locked",
    "database table is locked",
];
const UNAVAILABLE: &[&str] = &[
    "server closed the connection",
    "terminating connection",
    "no connection to the server",
    "connection refused",
    "could not connect",
    "connection to server",
    "the database system is",
    "too many clients",
    "remaining connection slots",
    "no space left",
    "could not extend",
    "could not write to file",
    "database or disk is full",
    "disk i/o error",
    "unable to open database",
    "out of memory",
    "statement timeout",
    "due to user request",
    "out of shared memory",
];
const SCHEMA: &[&str] = &["cached plan must not change result type"];
const OURS: &[&str] = &[
    "attempt to write a readonly database",
    "read-only transaction",
    "current transaction is aborted",
    "prepared statement",
    "cache lookup failed",
    "database disk image is malformed",
    "malformed database schema",
];
/// What the database says of a statement of ours, or of the table, and of a value, too: `malformed JSON` is what an
/// index over a document says of one, and anything may be what a trigger raises.
const UNCLEAR: &[&str] = &[
    "permission denied",
    "syntax error",
    "malformed",
    "no such column",
    "no such table",
    "has no column named",
    "does not exist",
];

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::DatabaseError(kind, info) => {
                let message = info.message();
                let constraint = |kind| {
                    let (name, column) = match (info.constraint_name(), info.column_name()) {
                        (None, None) => sqlite_names(message),
                        (name, column) => (name.map(str::to_owned), column.map(str::to_owned)),
                    };
                    StoreError::Constraint { kind, name, column }
                };
                match kind {
                    DatabaseErrorKind::UniqueViolation => constraint(ConstraintKind::Unique),
                    DatabaseErrorKind::ForeignKeyViolation => {
                        constraint(ConstraintKind::ForeignKey)
                    }
                    DatabaseErrorKind::NotNullViolation => constraint(ConstraintKind::NotNull),
                    DatabaseErrorKind::CheckViolation => constraint(ConstraintKind::Check),
                    DatabaseErrorKind::RestrictViolation
                    | DatabaseErrorKind::ExclusionViolation => constraint(ConstraintKind::Other),
                    DatabaseErrorKind::SerializationFailure => {
                        StoreError::Retry(message.to_owned())
                    }
                    DatabaseErrorKind::ClosedConnection => {
                        StoreError::Unavailable(message.to_owned())
                    }
                    DatabaseErrorKind::ReadOnlyTransaction => StoreError::Other(message.to_owned()),
                    _ => by_message(message),
                }
            }
            Error::BrokenTransactionManager => {
                StoreError::Unavailable("broken transaction".to_owned())
            }
            Error::DeserializationError(cause) => StoreError::Corrupt(cause.to_string()),
            other => StoreError::Other(other.to_string()),
        }
    }
}

/// diesel passes on neither SQLSTATE nor SQLite's code, so the message must tell. What is not known here
/// is taken for the database's judgement of a row (a value out of range, an exception of a trigger), so
/// that it ends in that row's receipt and does not keep everyone else waiting.
fn by_message(message: &str) -> StoreError {
    let text = message.to_lowercase();
    let text = text.lines().next().unwrap_or_default();
    // What is quoted may be a value that a client sent.
    let own = text.split('"').next().unwrap_or_default();
    let is = |known: &[&str]| known.iter().any(|part| own.contains(part));
    if is(RETRY) {
        StoreError::Retry(message.to_owned())
    } else if is(UNAVAILABLE) {
        StoreError::Unavailable(message.to_owned())
    } else if is(SCHEMA) {
        StoreError::SchemaChanged(message.to_owned())
    } else if is(OURS) {
        StoreError::Other(message.to_owned())
    } else if UNCLEAR.iter().any(|part| text.contains(part)) {
        StoreError::Unclear(message.lines().next().unwrap_or_default().to_owned())
    } else {
        StoreError::Refused(message.lines().next().unwrap_or_default().to_owned())
    }
}

/// SQLite names columns in its message: `UNIQUE constraint failed: todos.title`.
fn sqlite_names(message: &str) -> (Option<String>, Option<String>) {
    let Some((_, what)) = message.split_once("constraint failed: ") else {
        return (None, None);
    };
    let what = what.split(',').next().unwrap_or(what).trim();
    match what.rsplit_once('.') {
        Some((_, column)) => (None, Some(column.to_owned())),
        None => (Some(what.to_owned()), None),
    }
}
