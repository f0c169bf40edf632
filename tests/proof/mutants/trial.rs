//! How a suite is run in the copy: built, and then told to look, each in a process of its own with a time limit.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use colsync_tests::Backend;
use serde_json::Value as Json;

use super::by::By;
use super::copy::Copy;

/// How long a build may take; a busy machine needs its time.
const BUILD: Duration = Duration::from_secs(1800);

/// What builds the stories.
const STORIES: [&str; 6] = ["test", "--locked", "-p", "colsync-tests", "--test", "it"];
/// What of this program is built.
const PROOF: [&str; 5] = ["--locked", "-p", "colsync-tests", "--bin", "proof"];

/// Where suites are run.
pub(super) struct Trials<'a> {
    copy: &'a Copy,
    /// The databases that are tried.
    backends: &'a [Backend],
    /// The stories as they were built without a bug. They are told through doors, so that of a server with a bug
    /// nothing else needs to be built.
    stories: Option<PathBuf>,
}

/// What a suite says.
pub(super) enum Verdict {
    Passed,
    Failed { how: String, seeds: Option<u64> },
    Unbuilt,
}

impl<'a> Trials<'a> {
    pub(super) fn new(copy: &'a Copy, backends: &'a [Backend]) -> Trials<'a> {
        Trials {
            copy,
            backends,
            stories: None,
        }
    }

    /// Has a suite look at the source as it is in the copy now. `room` is the crate that the bug is in.
    pub(super) fn hold(&self, by: By, room: &str, stories: &[String], log: &Path) -> Verdict {
        let built = match by {
            By::Unit => self.of_the_crate(room, log),
            By::Stories => self.telling(room, log).map(|mut told| {
                told.args(stories);
                told
            }),
            By::Simulation | By::Crashes => self.of_proof(by, log),
        };
        let Some(mut run) = built else {
            return Verdict::Unbuilt;
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

    /// Where the words of a suite about a bug are kept.
    pub(super) fn log(&self, bug: &str, by: By) -> PathBuf {
        self.copy.logs().join(format!("{bug}.{}.txt", by.name()))
    }

    fn of_the_crate(&self, room: &str, log: &Path) -> Option<Command> {
        let package = format!("colsync-{room}");
        let mut test = vec!["test", "--locked", "-p", &package, "--lib"];
        if room == "shared" {
            test.extend(["--test", "merge_cases", "--test", "merge_laws"]);
        }
        self.build(&[&test[..], &["--no-run"]].concat(), log)?;
        Some(self.cargo(&test))
    }

    fn of_proof(&self, by: By, log: &Path) -> Option<Command> {
        self.build(&[&["build"], &PROOF[..]].concat(), log)?;
        let mut proof = self.cargo(&[&["run"], &PROOF[..], &["--"]].concat());
        proof.args(by.of_proof());
        match (self.backends, by) {
            ([Backend::Postgres], _) => drop(proof.args(["--on", "postgres"])),
            // On both it would take thrice the time; what is PostgreSQL's alone has stories.
            ([Backend::Sqlite], _) | (_, By::Simulation) => drop(proof.args(["--on", "sqlite"])),
            _ => {}
        }
        Some(proof)
    }

    /// What tells the stories of the source as it is now: a bug of the server's leaves them as they were built.
    fn telling(&self, room: &str, log: &Path) -> Option<Command> {
        let programs = ["build", "--locked", "--workspace"];
        let of_both = ["--bin", "colsync", "--bin", "colsync-client"];
        self.build(&[&programs[..], &of_both[..]].concat(), log)?;
        let mut told = match &self.stories {
            Some(built) if matches!(room, "server" | "") => {
                let mut told = self.command(built);
                told.current_dir(self.copy.source().join("tests"));
                told
            }
            Some(_) | None => {
                self.build(&[&STORIES[..], &["--no-run"]].concat(), log)?;
                self.cargo(&[&STORIES[..], &["--"]].concat())
            }
        };
        match self.backends {
            [Backend::Sqlite] => drop(told.args(["--skip", "postgres::"])),
            [Backend::Postgres] => drop(told.args(["--skip", "sqlite::"])),
            _ => {}
        }
        Some(told)
    }

    /// Builds the stories without a bug, and keeps them.
    pub(super) fn keep_the_stories(&mut self) -> Result<(), String> {
        let log = self.log("without_a_bug", By::Stories);
        let told = ["--no-run", "--message-format", "json"];
        self.build(&[&STORIES[..], &told[..]].concat(), &log)
            .ok_or_else(|| format!("the stories do not build: {}", log.display()))?;
        let messages = std::fs::read_to_string(&log).unwrap();
        let mut built = messages.lines().filter_map(|line| {
            let message: Json = serde_json::from_str(line).ok()?;
            let is_it = message["target"]["name"] == "it";
            let program = message["executable"].as_str().filter(|_| is_it)?;
            Some(PathBuf::from(program))
        });
        let built = built.next_back().ok_or("cargo names no stories")?;
        // In the same folder: by its own place it finds the programs.
        let kept = built.with_file_name("stories-without-a-bug");
        std::fs::copy(&built, &kept).map_err(|reason| reason.to_string())?;
        self.stories = Some(kept);
        Ok(())
    }

    /// Builds something; nothing if it does not build.
    fn build(&self, arguments: &[&str], log: &Path) -> Option<()> {
        let status = finish(&mut self.cargo(arguments), log, BUILD)?;
        status.success().then_some(())
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
            .and_then(|report| report["found"].as_array()?.first()?.as_str());
        // A schedule follows, which is in the log.
        let found = found.and_then(|found| Some(found.lines().next()?.to_owned()));
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
