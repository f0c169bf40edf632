//! Who judges a bug: the suites, cheapest first, each in a process of its own, with a time limit.
//!
//! A suite has caught a bug if it fails with it, or does not come to an end. So each must pass without any bug, which is
//! looked at first.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use colsync_tests::Backend;
use serde::Deserialize;
use serde_json::Value as Json;

use super::bug::Bug;
use super::copy::Copy;
use crate::Suite;

/// A suite that bugs are judged by, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The tests of the bug's own crate
    Unit,
    /// The stories, `tests/it`
    Stories,
    /// `proof simulation`
    Simulation,
    /// `proof crashes`
    Crashes,
}

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

/// How long a build may take; a busy machine needs its time.
const BUILD: Duration = Duration::from_secs(1800);

impl By {
    pub(super) fn name(self) -> &'static str {
        match self {
            By::Unit => "unit",
            By::Stories => "stories",
            By::Simulation => "simulation",
            By::Crashes => "crashes",
        }
    }

    /// How long it may take.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            By::Unit => 300,
            By::Stories => 1800,
            By::Simulation => 900,
            By::Crashes => 1800,
        })
    }

    /// Whether there is such a suite.
    fn exists(self) -> bool {
        match self {
            By::Unit | By::Stories => true,
            By::Simulation | By::Crashes => Suite::from_str(self.name(), true).is_ok(),
        }
    }

    /// The arguments by which `proof` runs it: enough seeds for a bug to show.
    fn of_proof(self) -> &'static [&'static str] {
        match self {
            By::Unit | By::Stories => &[],
            By::Simulation => &["simulation", "--seeds", "500", "--seed", "1"],
            By::Crashes => &["crashes", "--seed", "1"],
        }
    }
}

/// The suites that were called, in the copy that they judge.
pub(super) struct Judges<'a> {
    copy: &'a Copy,
    all: Vec<By>,
    /// The databases that are tried.
    backends: &'a [Backend],
    /// The stories as they were built without a bug. They are told through doors, so that of a server with a bug
    /// nothing else needs to be built.
    stories: Option<PathBuf>,
}

impl<'a> Judges<'a> {
    /// Calls `by`, or everyone, and sees them pass without a bug.
    ///
    /// # Errors
    /// If one does not.
    pub(super) fn called(
        copy: &'a Copy,
        by: Option<By>,
        backends: &'a [Backend],
        bugs: &[&Bug],
    ) -> Result<Judges<'a>, String> {
        let all = By::value_variants().iter().copied();
        let mut judges = Judges {
            copy,
            all: all
                .filter(|one| by.is_none_or(|by| by == *one) && one.exists())
                .collect(),
            backends,
            stories: None,
        };
        if judges.all.is_empty() {
            return Err("there is no such suite".to_owned());
        }
        if judges.all.contains(&By::Stories) {
            judges.stories = Some(judges.build_stories()?);
        }
        judges.without_a_bug(bugs)?;
        Ok(judges)
    }

    /// Has the suites that `bugs` are judged by first look at the source as it is.
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
            let log = self.log("without_a_bug", by);
            match self.ask(by, &room, &stories, &log) {
                Verdict::Passed => {}
                Verdict::Failed { .. } | Verdict::Unbuilt => {
                    let log = log.display();
                    return Err(format!("{} fails without a bug: {log}", by.name()));
                }
            }
        }
        Ok(())
    }

    /// The suites in the order in which they are asked: those that ought to catch it, then the others.
    fn asked(&self, bug: &Bug) -> Vec<By> {
        let mut asked = self.all.clone();
        asked.sort_by_key(|by| (!bug.suites.contains(by), *by));
        asked
    }

    /// Asks one suite after the other until one has caught the bug that is in the copy now.
    pub(super) fn judge(&self, bug: &Bug) -> Judged {
        for by in self.asked(bug) {
            let log = self.log(&bug.name, by);
            match self.ask(by, bug.room(), &bug.stories, &log) {
                Verdict::Passed => {}
                Verdict::Unbuilt => return Judged::Unbuilt { log },
                Verdict::Failed { how, seeds } => return Judged::Caught { by, how, seeds },
            }
        }
        Judged::Survived
    }

    fn ask(&self, by: By, room: &str, stories: &[String], log: &Path) -> Verdict {
        let mut run = match by {
            By::Unit => {
                let package = format!("colsync-{room}");
                let mut test = vec!["test", "--locked", "-p", &package, "--lib"];
                if room == "shared" {
                    test.extend(["--test", "merge_cases", "--test", "merge_laws"]);
                }
                if !self.build(&[&test[..], &["--no-run"]].concat(), log) {
                    return Verdict::Unbuilt;
                }
                self.cargo(&test)
            }
            By::Stories => match self.telling(room, log) {
                Some(mut told) => {
                    told.args(stories);
                    if let [Backend::Sqlite] = self.backends {
                        told.args(["--skip", "postgres::"]);
                    } else if let [Backend::Postgres] = self.backends {
                        told.args(["--skip", "sqlite::"]);
                    }
                    told
                }
                None => return Verdict::Unbuilt,
            },
            By::Simulation | By::Crashes => {
                let program = ["--locked", "-p", "colsync-tests", "--bin", "proof"];
                if !self.build(&[&["build"], &program[..]].concat(), log) {
                    return Verdict::Unbuilt;
                }
                let mut proof = self.cargo(&[&["run"], &program[..], &["--"]].concat());
                proof.args(by.of_proof());
                match self.backends {
                    [Backend::Sqlite] => drop(proof.args(["--on", "sqlite"])),
                    [Backend::Postgres] => drop(proof.args(["--on", "postgres"])),
                    _ => {}
                }
                proof
            }
        };
        match finish(&mut run, log, by.limit()) {
            Some(status) if status.success() => Verdict::Passed,
            Some(_) => Verdict::of(&std::fs::read_to_string(log).unwrap_or_default()),
            None => Verdict::Failed {
                how: format!("no end after {} s", by.limit().as_secs()),
                seeds: None,
            },
        }
    }

    /// What tells the stories of the source as it is now: a bug of the server's leaves them as they were built.
    fn telling(&self, room: &str, log: &Path) -> Option<Command> {
        let programs = ["build", "--locked", "--workspace"];
        let of_both = ["--bin", "colsync", "--bin", "colsync-client"];
        if !self.build(&[&programs[..], &of_both[..]].concat(), log) {
            return None;
        }
        match &self.stories {
            Some(built) if matches!(room, "server" | "") => {
                let mut told = self.command(built);
                told.current_dir(self.copy.source().join("tests"));
                Some(told)
            }
            Some(_) | None => {
                let test = ["test", "--locked", "-p", "colsync-tests", "--test", "it"];
                self.build(&[&test[..], &["--no-run"]].concat(), log)
                    .then(|| self.cargo(&[&test[..], &["--"]].concat()))
            }
        }
    }

    /// Builds the stories without a bug, and keeps them.
    fn build_stories(&self) -> Result<PathBuf, String> {
        let log = self.log("without_a_bug", By::Stories);
        let test = ["test", "--locked", "-p", "colsync-tests", "--test", "it"];
        let told = ["--no-run", "--message-format", "json"];
        if !self.build(&[&test[..], &told[..]].concat(), &log) {
            return Err(format!("the stories do not build: {}", log.display()));
        }
        let messages = std::fs::read_to_string(&log).unwrap();
        let built = messages.lines().filter_map(|line| {
            let message: Json = serde_json::from_str(line).ok()?;
            let is_it = message["target"]["name"] == "it";
            let program = message["executable"].as_str().filter(|_| is_it)?;
            Some(PathBuf::from(program))
        });
        let built = built.last().ok_or("cargo names no stories")?;
        // In the same folder: by its own place it finds the programs.
        let kept = built.with_file_name("stories-without-a-bug");
        std::fs::copy(&built, &kept).map_err(|reason| reason.to_string())?;
        Ok(kept)
    }

    fn build(&self, arguments: &[&str], log: &Path) -> bool {
        finish(&mut self.cargo(arguments), log, BUILD).is_some_and(|status| status.success())
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(Path::new(&cargo));
        command.args(arguments);
        command
    }

    /// `program` in the copy.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.copy.source())
            .env("CARGO_TARGET_DIR", self.copy.built());
        command
    }

    fn log(&self, bug: &str, by: By) -> PathBuf {
        self.copy.logs().join(format!("{bug}.{}.txt", by.name()))
    }
}

/// What a suite says.
enum Verdict {
    Passed,
    Failed { how: String, seeds: Option<u64> },
    Unbuilt,
}

impl Verdict {
    /// Of a suite that failed: the first thing it names.
    fn of(said: &str) -> Verdict {
        let lines = || said.lines();
        let test = lines().find_map(|line| {
            let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            Some(name.to_owned())
        });
        let report = lines().find_map(|line| {
            let report: Json = serde_json::from_str(line).ok()?;
            report["suite"].is_string().then_some(report)
        });
        let found = report
            .as_ref()
            .and_then(|report| Some(report["found"].as_array()?.first()?.to_string()));
        let panicked = || lines().find(|line| line.contains("panicked at"));
        Verdict::Failed {
            how: test
                .or(found)
                .or_else(|| panicked().map(str::to_owned))
                .unwrap_or_else(|| "failed".to_owned()),
            seeds: report.and_then(|report| report["figures"]["seeds_until_found"].as_u64()),
        }
    }
}

/// Runs `command` to its end, or to the end of `limit`; what it says goes into `log`.
fn finish(command: &mut Command, log: &Path, limit: Duration) -> Option<ExitStatus> {
    let out = File::create(log).unwrap();
    let err = out.try_clone().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .expect("the command starts");
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if began.elapsed() > limit {
            end(&mut child);
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends a process and all that it has started.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    drop(Command::new("kill").args(["-KILL", "--", &group]).status());
    drop(child.wait());
}
