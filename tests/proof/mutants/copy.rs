//! A copy of the tracked source, in which bugs are seeded, with a folder for what is built of it. Both stay, so that
//! the next run builds only what is new.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::bug::{Bug, root};

/// The copy.
pub(super) struct Copy {
    folder: PathBuf,
}

impl Copy {
    /// Makes the copy the same as the source, as far as git tracks it. What is the same already is left alone:
    /// cargo goes by times.
    pub(super) fn of_the_source() -> Copy {
        let copy = Copy {
            folder: root().join("target/mutants"),
        };
        let tracked = tracked();
        for name in &tracked {
            let (from, to) = (root().join(name), copy.source().join(name));
            let here = std::fs::read(&from).unwrap();
            if std::fs::read(&to).is_ok_and(|there| there == here) {
                continue;
            }
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(&to, here).unwrap();
        }
        remove_others(&copy.source(), &copy.source(), &tracked);
        std::fs::create_dir_all(copy.logs()).unwrap();
        copy
    }

    /// The copied source.
    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// What is built of it.
    pub(super) fn built(&self) -> PathBuf {
        self.folder.join("built")
    }

    /// What the suites said, a file a bug and suite.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Does `work` while the bug is in the copy.
    pub(super) fn with<T>(&self, bug: &Bug, work: impl FnOnce() -> T) -> T {
        let path = self.source().join(&bug.file);
        let sound = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, bug.seeded(&sound)).unwrap();
        let done = work();
        std::fs::write(&path, sound).unwrap();
        done
    }
}

/// The files that git tracks, from the root of the workspace, those of the work at hand among them.
fn tracked() -> BTreeSet<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git");
    assert!(listed.status.success(), "{listed:?}");
    let names = String::from_utf8(listed.stdout).unwrap();
    let names = names.split_terminator('\0').map(PathBuf::from);
    names.filter(|name| root().join(name).is_file()).collect()
}

/// Removes from the copy what is not in the source any more.
fn remove_others(copy: &Path, folder: &Path, tracked: &BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_others(copy, &path, tracked);
        } else if !tracked.contains(path.strip_prefix(copy).unwrap()) {
            std::fs::remove_file(&path).unwrap();
        }
    }
}
