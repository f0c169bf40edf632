//! The ways in which a file's edits are told to the server.

use serde::{Deserialize, Serialize};

/// How edits go up. What comes down, the receipts and the ledger are the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// For each row, the columns that differ from their Original.
    #[default]
    Differential,
    /// Every edit that the app made, in order, with its time. Where the server allows it, a deleted row is
    /// removed from its table there.
    TransactionLog,
    /// Every row that differs from its Original, whole; the server decides about it as one.
    WholeRow,
}

impl Mode {
    /// Its name, as the program takes it and the file keeps it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Differential => "differential",
            Mode::TransactionLog => "transaction_log",
            Mode::WholeRow => "whole_row",
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Mode> {
        [Mode::Differential, Mode::TransactionLog, Mode::WholeRow]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    /// The last part of the path of the call that takes pushes of this kind.
    pub(crate) fn call(self) -> &'static str {
        match self {
            Mode::Differential => "push",
            Mode::TransactionLog => "log",
            Mode::WholeRow => "rows",
        }
    }
}
