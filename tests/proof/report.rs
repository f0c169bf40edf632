//! What a suite has to say when it is through: one line of JSON, and whether that is a failure.
//!
//! A suite that injected too few faults has proved nothing, so that is a failure as well.

use serde_json::{Map, Value as Json, json};

/// What a suite did and found.
pub(crate) struct Outcome {
    suite: &'static str,
    seed: u64,
    size: Map<String, Json>,
    faults: Map<String, Json>,
    figures: Map<String, Json>,
    too_few: Vec<String>,
    found: Vec<String>,
}

impl Outcome {
    /// Of a suite that can be run again by `seed`.
    pub(crate) fn new(suite: &'static str, seed: u64) -> Outcome {
        Outcome {
            suite,
            seed,
            size: Map::new(),
            faults: Map::new(),
            figures: Map::new(),
            too_few: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Tells how much was done.
    pub(crate) fn size(&mut self, of: &str, value: impl Into<Json>) {
        self.size.insert(of.to_owned(), value.into());
    }

    /// Tells how often a fault was really injected, and how often at the least it must have been.
    pub(crate) fn fault(&mut self, kind: &str, injected: u64, at_least: u64) {
        self.faults.insert(kind.to_owned(), injected.into());
        if injected < at_least {
            self.too_few
                .push(format!("{kind}: {injected} of at least {at_least}"));
        }
    }

    /// Tells something measured, such as a peak of memory.
    pub(crate) fn figure(&mut self, of: &str, value: impl Into<Json>) {
        self.figures.insert(of.to_owned(), value.into());
    }

    /// Tells that a promise was broken, and how to see it again.
    pub(crate) fn found(&mut self, what: impl Into<String>) {
        self.found.push(what.into());
    }

    /// Whether nothing was broken by enough faults.
    pub(crate) fn is_clean(&self) -> bool {
        self.found.is_empty() && self.too_few.is_empty()
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> String {
        json!({
            "suite": self.suite,
            "seed": self.seed,
            "size": self.size,
            "faults": self.faults,
            "figures": self.figures,
            "too_few_faults": self.too_few,
            "found": self.found,
        })
        .to_string()
    }
}
