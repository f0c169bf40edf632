//! The tests are tested: bugs, seeded one at a time into a copy of the source, and which suite catches each.
//!
//! The bugs are data, `mutants/bugs.toml`. In the short form the list is only checked: that each bug's text is still
//! where it says, once. In the long form each is built and judged; one that no suite catches is a failure, and so is
//! one that does not build.

mod bug;
mod by;
mod copy;
mod judges;
mod trial;

use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::Options;
use crate::report::Outcome;
use bug::Bug;
pub(crate) use by::By;
use copy::Copy;
use judges::{Judged, Judges};

/// Fewer bugs than this prove little.
const AT_LEAST: u64 = 24;

/// Which bugs, and who is to catch them.
pub(crate) struct Wanted {
    /// Only this suite; without one, the cheapest that can.
    pub(crate) by: Option<By>,
    /// Only these bugs, by name.
    pub(crate) only: Vec<String>,
}

/// Checks the list, and in the long form, or if a choice is made, seeds the bugs.
pub(crate) fn run(options: &Options) -> Outcome {
    let wanted = &options.mutants;
    let began = Instant::now();
    let mut outcome = Outcome::new("mutants", options.seed);
    let all = bug::list();
    outcome.size("bugs", all.len());
    let rotten: Vec<String> = all.iter().filter_map(Bug::rotten).collect();
    let is_sound = rotten.is_empty();
    for reason in rotten {
        outcome.found(reason);
    }
    outcome.fault("bugs_in_the_list", all.len() as u64, AT_LEAST);
    let is_chosen = wanted.by.is_some() || !wanted.only.is_empty();
    if is_sound && (options.long || is_chosen) {
        let of_choice = |bug: &&Bug| wanted.only.is_empty() || wanted.only.contains(&bug.name);
        let chosen: Vec<&Bug> = all.iter().filter(of_choice).collect();
        seed(&chosen, options, &mut outcome);
    }
    outcome.figure("seconds", began.elapsed().as_secs());
    outcome
}

/// Seeds each of `bugs` and tells, a line of JSON each, who caught it.
fn seed(bugs: &[&Bug], options: &Options, outcome: &mut Outcome) {
    let copy = Copy::of_the_source();
    let judges = match Judges::called(&copy, options.mutants.by, &options.backends, bugs) {
        Ok(judges) => judges,
        Err(reason) => return outcome.found(reason),
    };
    let (mut caught, mut counts) = (0, serde_json::Map::new());
    for bug in bugs {
        let began = Instant::now();
        let judged = copy.with(bug, || judges.judge(bug));
        let line = told(bug, &judged, began.elapsed().as_secs());
        println!("{line}");
        match judged {
            Judged::Caught { by, .. } => {
                caught += 1;
                let count = counts.entry(by.name()).or_insert(json!(0));
                *count = json!(count.as_u64().unwrap_or(0) + 1);
            }
            Judged::Survived => outcome.found(format!("{} survives", bug.name)),
            Judged::Unbuilt { log } => {
                outcome.found(format!("{} does not build: {}", bug.name, log.display()));
            }
        }
    }
    outcome.size("seeded", bugs.len());
    outcome.fault("bugs_caught", caught, bugs.len() as u64);
    outcome.figure("caught_by", Json::Object(counts));
}

/// What became of a bug, a line of JSON.
fn told(bug: &Bug, judged: &Judged, seconds: u64) -> Json {
    let mut line = json!({ "mutant": bug.name, "file": bug.file, "seconds": seconds });
    match judged {
        Judged::Caught { by, how, seeds } => {
            line["caught_by"] = json!(by.name());
            line["how"] = json!(how);
            line["seeds"] = json!(seeds);
        }
        Judged::Survived => line["caught_by"] = Json::Null,
        Judged::Unbuilt { log } => line["unbuilt"] = json!(log),
    }
    line
}
