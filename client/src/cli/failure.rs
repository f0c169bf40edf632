//! Why a command failed: its code for programs and the program's exit code.

use std::io;
use std::path::PathBuf;

use colsync_client::Error;

use super::show;

/// Exit code: done.
pub(super) const DONE: u8 = 0;
/// Exit code: the file, an unknown name, an answer that makes no sense.
pub(super) const FAILED: u8 = 1;
/// Exit code: the arguments, as clap has it.
const ARGUMENTS: u8 = 2;
/// Exit code: the server cannot be reached.
const UNREACHABLE: u8 = 3;
/// Exit code: the server refuses this client.
const FORBIDDEN: u8 = 4;
/// Exit code: synced, and there are dead letters or edits that wait.
pub(super) const NEEDS_YOU: u8 = 5;
/// Exit code: another process is syncing.
const BUSY: u8 = 6;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The library failed.
    #[error(transparent)]
    Client(#[from] Error),
    /// The arguments are wrong; clap's text.
    #[error("{0}")]
    Arguments(String),
    /// There is no file of this name.
    #[error("{}: no such file", .0.display())]
    NoFile(PathBuf),
    /// The description of the API cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// A clause.
        reason: String,
    },
    /// There is no row of this name that has pending edits, or that existed before them.
    #[error("{table} {id} has no Original: it is not there, or was made here and not pushed yet")]
    NoOriginal {
        /// The row's table.
        table: String,
        /// The row's id.
        id: String,
    },
    /// The worker ended by itself.
    #[error("syncing stopped: {0}")]
    Stopped(String),
    /// Signals cannot be waited for, or stdout cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    /// What is said of it: without a password that was given as part of a URL.
    pub(super) fn detail(&self) -> String {
        match self {
            Failure::Client(Error::Url { url, reason }) => format!("{}: {reason}", show::url(url)),
            Failure::Client(_)
            | Failure::Arguments(_)
            | Failure::NoFile(_)
            | Failure::Unreadable { .. }
            | Failure::NoOriginal { .. }
            | Failure::Stopped(_)
            | Failure::Io(_) => self.to_string(),
        }
    }

    /// A word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Failure::Client(error) => client_code(error),
            Failure::Arguments(_) => "bad_arguments",
            Failure::NoFile(_) | Failure::Unreadable { .. } => "no_file",
            Failure::NoOriginal { .. } => "no_original",
            Failure::Stopped(_) => "stopped",
            Failure::Io(_) => "io",
        }
    }

    /// The exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Client(Error::Unreachable(_)) => UNREACHABLE,
            Failure::Client(Error::Forbidden { .. }) => FORBIDDEN,
            Failure::Client(Error::Busy) => BUSY,
            Failure::Arguments(_) => ARGUMENTS,
            Failure::Client(_)
            | Failure::NoFile(_)
            | Failure::Unreadable { .. }
            | Failure::NoOriginal { .. }
            | Failure::Stopped(_)
            | Failure::Io(_) => FAILED,
        }
    }

    /// Whether whoever read our output has gone away: no failure of ours.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn client_code(error: &Error) -> &'static str {
    match error {
        Error::File { .. } => "file",
        Error::LaterFormat => "later_format",
        Error::Sqlite(_) => "sqlite",
        Error::Corrupt(_) => "corrupt",
        Error::Untrackable { .. } => "untrackable",
        Error::Unpushed { .. } => "unpushed",
        Error::StartsOver(_) => "starts_over",
        Error::RowWaits(_) => "row_waits",
        Error::Unknown { .. } => "unknown",
        Error::NoServer => "no_server",
        Error::Url { .. } => "url",
        Error::Description { .. } => "description",
        Error::NoSchema => "no_schema",
        Error::Busy => "busy",
        Error::Unreachable(_) => "unreachable",
        Error::Forbidden { .. } => "forbidden",
        Error::Refused { .. } => "refused",
        Error::Nonsense(_) => "nonsense",
        Error::Stopped => "stopped",
        Error::Io(_) => "io",
        // The library may come to know more.
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_wrong_url_is_not_said() {
        let failure = Failure::from(Error::Url {
            url: "https://ana:s3cret@host".to_owned(),
            reason: "a key is given apart from the URL".to_owned(),
        });
        assert_eq!(
            failure.detail(),
            "https://host: a key is given apart from the URL"
        );
    }

    #[test]
    fn each_failure_has_the_exit_code_that_help_tells() {
        let text = String::new;
        let check = |failure: Error, expect| {
            assert_eq!(Failure::from(failure).exit_code(), expect);
        };
        check(Error::Unreachable(text()), 3);
        let (code, detail) = (text(), text());
        check(Error::Forbidden { code, detail }, 4);
        check(Error::Busy, 6);
        check(Error::NoServer, 1);
        check(Error::Nonsense(text()), 1);
        let name = text();
        check(Error::Unknown { what: "row", name }, 1);
        assert_eq!(Failure::Arguments(text()).exit_code(), 2);
        assert_eq!(Failure::NoFile(PathBuf::new()).exit_code(), 1);
    }
}
