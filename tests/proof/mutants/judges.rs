//! Who judges a bug: the suites that ought to catch it, cheapest first, then the others.
//!
//! A suite has caught a bug if it fails with it, or does not come to an end. So each must pass without any bug, which is
//! looked at first.

use std::path::PathBuf;

use clap::ValueEnum as _;
use colsync_tests::Backend;

use super::bug::Bug;
use super::by::By;
use super::copy::Copy;
use super::trial::{Trials, Verdict};

/// What became of a bug.
pub(super) enum Judged {
    Caught {
        by: By,
        /// The test that failed, or what a suite found.
        how: String,
        /// How many seeds it took a suite that has seeds.
        seeds: Option<u64>,
    },
    Survived,
    Unbuilt {
        /// Where the compiler's words are.
        log: PathBuf,
    },
}

/// The suites that were called.
pub(super) struct Judges<'a> {
    all: Vec<By>,
    trials: Trials<'a>,
}

impl<'a> Judges<'a> {
    /// Calls `by`, or everyone, to the copy, and sees them pass without a bug.
    ///
    /// # Errors
    /// If one does not.
    pub(super) fn called(
        copy: &'a Copy,
        by: Option<By>,
        backends: &'a [Backend],
        bugs: &[&Bug],
    ) -> Result<Judges<'a>, String> {
        let wanted = |one: &By| by.is_none_or(|by| by == *one) && one.exists();
        let mut all = By::value_variants().to_vec();
        all.retain(wanted);
        if all.is_empty() {
            return Err("there is no such suite".to_owned());
        }
        let mut trials = Trials::new(copy, backends);
        if all.contains(&By::Stories) {
            trials.keep_the_stories()?;
        }
        let judges = Judges { all, trials };
        judges.without_a_bug(bugs)?;
        Ok(judges)
    }

    /// Has the suites that `bugs` are judged by first look at the source as it is, each once.
    fn without_a_bug(&self, bugs: &[&Bug]) -> Result<(), String> {
        let mut looks: Vec<(By, String, Vec<String>)> = Vec::new();
        for bug in bugs {
            for by in self.asked(bug).into_iter().take(bug.suites.len()) {
                let room = match by {
                    By::Unit => bug.room().to_owned(),
                    By::Stories | By::Simulation | By::Crashes => String::new(),
                };
                match looks.iter_mut().find(|look| look.0 == by && look.1 == room) {
                    Some((_, _, stories)) => stories.extend(bug.stories.iter().cloned()),
                    None => looks.push((by, room, bug.stories.clone())),
                }
            }
        }
        for (by, room, stories) in looks {
            let log = self.trials.log("without_a_bug", by);
            match self.trials.hold(by, &room, &stories, &log) {
                Verdict::Passed => {}
                Verdict::Failed { .. } | Verdict::Unbuilt => {
                    let log = log.display();
                    return Err(format!("{} fails without a bug: {log}", by.name()));
                }
            }
        }
        Ok(())
    }

    /// The suites in the order in which they are asked.
    fn asked(&self, bug: &Bug) -> Vec<By> {
        let mut asked = self.all.clone();
        asked.sort_by_key(|by| (!bug.suites.contains(by), *by));
        asked
    }

    /// Asks one suite after the other until one has caught the bug that is in the copy now.
    pub(super) fn judge(&self, bug: &Bug) -> Judged {
        for by in self.asked(bug) {
            let log = self.trials.log(&bug.name, by);
            match self.trials.hold(by, bug.room(), &bug.stories, &log) {
                Verdict::Passed => {}
                Verdict::Unbuilt => return Judged::Unbuilt { log },
                Verdict::Failed { how, seeds } => return Judged::Caught { by, how, seeds },
            }
        }
        Judged::Survived
    }
}
