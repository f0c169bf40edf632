//! The suites that bugs are judged by.

use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

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
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            By::Unit => 300,
            By::Stories => 1800,
            By::Simulation => 900,
            By::Crashes => 1800,
        })
    }

    /// Whether there is such a suite.
    pub(super) fn exists(self) -> bool {
        match self {
            By::Unit | By::Stories => true,
            By::Simulation | By::Crashes => Suite::from_str(self.name(), true).is_ok(),
        }
    }

    /// The arguments by which `proof` runs it: enough seeds for a bug to show.
    pub(super) fn of_proof(self) -> &'static [&'static str] {
        match self {
            By::Unit | By::Stories => &[],
            By::Simulation => &["simulation", "--seeds", "500", "--seed", "1"],
            By::Crashes => &["crashes", "--seed", "1"],
        }
    }
}
