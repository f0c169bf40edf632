//! Where answers go: text or one JSON document on stdout, failures on stderr.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::failure::{DONE, Failure};
use super::show::{harmless_json, harmless_lines};

/// How this run answers.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Whether programs read it.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The command's answer: `document` for programs, or what `text` makes of it.
    pub(super) fn answer<T: Serialize + ?Sized>(
        &self,
        document: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let line = if self.json {
            harmless_json(&serde_json::to_string(document).map_err(io::Error::from)?)
        } else {
            text(document)
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        // A line of `watch` is read as it comes, also in a pipe.
        stdout.flush()?;
        Ok(())
    }

    /// Tells a failure; gives the exit code.
    pub(super) fn failure(&self, failure: &Failure) -> ExitCode {
        if failure.is_closed_pipe() {
            return DONE.into();
        }
        let text = failure.detail();
        let line = if self.json {
            let error = json!({ "error": { "code": failure.code(), "detail": text } });
            harmless_json(&error.to_string())
        } else {
            format!("colsync-client: {}", harmless_lines(&text))
        };
        // Nobody is left to tell if stderr is closed.
        drop(writeln!(io::stderr(), "{line}"));
        failure.exit_code().into()
    }
}
