//! The list of bugs: what is replaced by what, which promise that breaks, and who ought to notice.

use std::path::PathBuf;

use serde::Deserialize;

use super::by::By;

/// The list, as it was when this was built.
const LIST: &str = include_str!("bugs.toml");

/// A bug, as a change of the source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bug {
    /// A sentence's worth of snake_case.
    pub(super) name: String,
    /// The file, from the root of the workspace.
    pub(super) file: String,
    /// What stands there, exactly and once.
    pub(super) text: String,
    /// What is to stand there instead.
    pub(super) instead: String,
    /// Which promise it breaks: why somebody has to notice.
    #[expect(dead_code, reason = "told to whoever reads the list")]
    pub(super) breaks: String,
    /// The suites that ought to catch it. They are asked before any other.
    pub(super) suites: Vec<By>,
    /// Which of the stories are told, as parts of their names; all, if there are none.
    #[serde(default)]
    pub(super) stories: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    bug: Vec<Bug>,
}

/// All bugs.
pub(super) fn list() -> Vec<Bug> {
    let list: List = toml::from_str(LIST).expect("bugs.toml");
    list.bug
}

/// The root of the workspace.
pub(super) fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

impl Bug {
    /// Why the bug cannot be seeded any more, if it cannot.
    pub(super) fn rotten(&self) -> Option<String> {
        let name = &self.name;
        if self.suites.is_empty() {
            return Some(format!("{name}: no suite ought to catch it"));
        }
        if self.text == self.instead {
            return Some(format!("{name}: changes nothing"));
        }
        match std::fs::read_to_string(root().join(&self.file)) {
            Err(reason) => Some(format!("{name}: {}: {reason}", self.file)),
            Ok(source) => match source.matches(&self.text).count() {
                1 => None,
                times => Some(format!(
                    "{name}: its text is {times} times in {}, not once",
                    self.file
                )),
            },
        }
    }

    /// The crate that the bug is in, by its folder.
    pub(super) fn room(&self) -> &str {
        self.file.split('/').next().unwrap_or_default()
    }

    /// `source` with the bug in it.
    pub(super) fn seeded(&self, source: &str) -> String {
        source.replacen(&self.text, &self.instead, 1)
    }
}
