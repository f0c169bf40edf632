//! Hostile input: bad requests against every call, on both databases, plain and packed.
//!
//! A corpus of bad requests as data, the shapes of connections that no library makes, and what schemathesis makes of
//! `/openapi.json`; in the long form also many thousands of valid requests with something broken in them. None may
//! bring a 5xx, a panic or a hang, change the database, or be answered otherwise on one database than on the other, or
//! packed than plain.

mod corpus;
mod document;
mod exchange;
mod judge;
mod mutations;
mod schemathesis;
mod shapes;
mod subject;

use colsync_tests::Backend;

use self::judge::Tally;
use self::subject::Subject;
use crate::Options;
use crate::report::Outcome;

/// Fewer would mean that the corpus is not what it was.
const LEAST_CASES: u64 = 400;

/// Requests that the long form breaks.
const MUTATIONS: u64 = 20_000;

/// Runs the suite on both databases at once, as they are compared; on one alone if that was asked for.
pub(crate) fn run(options: &Options) -> Vec<Outcome> {
    let mut outcome = Outcome::new("hostile", options.seed);
    let subjects: Vec<Subject> = options
        .backends
        .iter()
        .map(|on| Subject::start(*on))
        .collect();
    let document = document::Document::read(&subjects[0]);
    let cases = corpus::all();
    let mut tally = Tally::default();
    let before: Vec<String> = subjects.iter().map(Subject::dump).collect();
    judge::corpus(&subjects, &cases, &document, &mut tally);
    eprintln!("hostile: {} requests of the corpus", tally.requests);
    let shapes = shapes::all();
    judge::shapes(&subjects, &shapes, &mut tally);
    for (subject, before) in subjects.iter().zip(&before) {
        subject.is_unchanged(before, "the corpus and the shapes", &mut tally);
    }
    let of_corpus = tally.requests;
    let mut mutated = 0;
    if options.long {
        mutated = mutations::run(&subjects, options.seed, MUTATIONS, &document, &mut tally);
    }
    let examples = schemathesis::run(&subjects, options, &mut tally);
    for subject in &subjects {
        subject.has_not_panicked(&mut tally);
    }
    let backends: Vec<&str> = options.backends.iter().map(|on| name(*on)).collect();
    outcome.size("on", backends);
    outcome.size("cases", cases.len() + shapes.len());
    outcome.size("mutations", mutated);
    outcome.fault("bad requests", tally.requests, LEAST_CASES);
    outcome.fault("cases", (cases.len() + shapes.len()) as u64, LEAST_CASES);
    outcome.fault("calls", tally.calls.len() as u64, document.calls());
    outcome.fault(
        "cases of schemathesis",
        examples,
        document.calls() * subjects.len() as u64,
    );
    outcome.figure("requests", tally.requests);
    outcome.figure("requests_of_the_corpus", of_corpus);
    tally.tell(&mut outcome);
    for subject in &subjects {
        let peak = subject.server.peak_memory().unwrap_or(0) / 1024;
        outcome.figure(&format!("peak_mib_{}", name(subject.on)), peak);
    }
    vec![outcome]
}

fn name(on: Backend) -> &'static str {
    match on {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    }
}
