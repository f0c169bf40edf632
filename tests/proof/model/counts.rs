//! How often what happened, over all steps of all states: a model in which nothing goes wrong proves nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lost,
    Repeated,
    ClientCrashed,
    ServerCrashed,
    /// A push came after its client had given up, and after it had been merged.
    LateRepeat,
    /// A client's repeat was answered by the receipt that was kept.
    RepeatAnswered,
    /// A value lost, and is in the ledger.
    ConflictDecided,
    /// The app wrote while its client synced.
    WrittenDuringASync,
    /// A receipt was settled while there were later edits.
    SettledBesideEdits,
    /// A page was written beside unpushed edits.
    PulledBesideEdits,
}

/// All kinds, with their names.
pub(super) const KINDS: [(Kind, &str); 10] = [
    (Kind::Lost, "messages_lost"),
    (Kind::Repeated, "pushes_repeated_by_the_network"),
    (Kind::ClientCrashed, "crashes_of_clients"),
    (Kind::ServerCrashed, "crashes_of_the_server"),
    (Kind::LateRepeat, "pushes_come_late_and_again"),
    (Kind::RepeatAnswered, "repeats_answered_as_before"),
    (Kind::ConflictDecided, "conflicts_decided"),
    (Kind::WrittenDuringASync, "edits_during_a_sync"),
    (
        Kind::SettledBesideEdits,
        "receipts_settled_beside_later_edits",
    ),
    (Kind::PulledBesideEdits, "pages_written_beside_edits"),
];

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; KINDS.len()]);

impl Counts {
    pub(super) fn note(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }
}
