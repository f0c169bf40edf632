//! What schemathesis makes of `/openapi.json`: requests that the document allows, and some that it does not, with every
//! answer held to what the document says.
//!
//! It is installed once, into the build's folder, from PyPI.

use std::process::Command;

use colsync_tests::plain;
use colsync_tests::tables::id;

use super::judge::Tally;
use super::subject::Subject;
use crate::Options;

/// Cases that are made for each call.
const FEW: u32 = 5;
const MANY: u32 = 40;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// Runs it against all servers at once; gives how many cases it made.
pub(super) fn run(subjects: &[Subject], options: &Options, tally: &mut Tally) -> u64 {
    let said: Vec<(bool, String)> = std::thread::scope(|scope| {
        let running: Vec<_> = subjects
            .iter()
            .map(|subject| scope.spawn(|| tried(subject, options)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut made = 0;
    for (subject, (clean, said)) in subjects.iter().zip(said) {
        made += cases(&said);
        if !clean {
            tally.untold(format!(
                "schemathesis on {:?}: {}",
                subject.on,
                failures(&said)
            ));
        }
    }
    made
}

/// An error of its own, which its makers call flaky, says nothing of the server: once more, then.
fn tried(subject: &Subject, options: &Options) -> (bool, String) {
    let (clean, said) = against(subject, options);
    if clean || said.contains("= FAILURES =") {
        return (clean, said);
    }
    eprintln!("hostile: schemathesis failed by itself, once more");
    against(subject, options)
}

/// Whether all was as the document says, and what it said.
fn against(subject: &Subject, options: &Options) -> (bool, String) {
    let folder = tempfile::TempDir::with_prefix("colsync-schemathesis-").unwrap();
    let settings = SETTINGS
        .replace("ROW", &id(1))
        .replace("CONFLICT", &subject.conflict);
    std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
    let (examples, phases) = if options.long {
        (MANY, "examples,coverage,fuzzing")
    } else {
        (FEW, "examples,fuzzing")
    };
    let mut command = Command::new(plain::schemathesis());
    command
        .current_dir(folder.path())
        .arg("run")
        .arg(format!("http://{}/openapi.json", subject.server.address()))
        .args(["--checks", CHECKS, "--phases", phases, "--no-color"])
        .args(["--max-examples", &examples.to_string(), "--workers", "1"])
        .args(["--seed", &(options.seed % (1 << 32)).to_string()])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", colsync_tests::ADMIN_TOKEN),
        ]);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.success(), said)
}

/// What it cannot know of the rows that are there.
const SETTINGS: &str = r#"
[parameters]
"path.table" = ["things", "members", "tickets", "labels", "nothing"]
"path.id" = ["ROW", "1", "a%2Cb,1", "x"]

[[operations]]
include-path = "/admin/v1/conflicts/{id}"
[operations.parameters]
"path.id" = "CONFLICT"

[[operations]]
include-path = "/admin/v1/conflicts/{id}/resolve"
[operations.parameters]
"path.id" = "CONFLICT"
"#;

fn failures(said: &str) -> String {
    let from = said
        .find("= FAILURES =")
        .or_else(|| said.find("= ERRORS ="));
    said[from.unwrap_or(0)..].chars().take(6_000).collect()
}

/// The number in its line `97 generated, 97 passed`.
fn cases(said: &str) -> u64 {
    let line = said.lines().find(|line| line.contains(" generated, "));
    let number = line.and_then(|line| line.trim().split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
