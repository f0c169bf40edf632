//! Protocols that are wrong, each in one thing. A model that finds nothing wrong with one of them would not find it in
//! colsync either.

use super::promises as promise;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Settling a push takes all lines from the log, also those of edits made since.
    SettlesWhatWasNotSent,
    /// A receipt is written over what the app has written since.
    ReceiptOverLaterEdits,
    /// A receipt's version is kept without what it tells of others' columns.
    VersionWithoutChanged,
    /// What waited of a column comes back when an edit of it is settled.
    HeldComesBack,
    /// Settling a push takes nothing from the log.
    SettlesNothing,
    /// A push is frozen in memory.
    FrozenInMemory,
    /// A push without an answer gets a new number.
    NewNumberAtARetry,
    /// A push without an answer is not sent again.
    NeverRepeats,
    /// After a lost answer a client pulls, and then repeats its push.
    PullBeforeTheRepeat,
    /// A pull writes over unpushed edits.
    PullOverUnpushedEdits,
    /// A pull moves the base of unpushed edits.
    PullMovesTheBase,
    /// What comes next moves the base of an edit that has one noted.
    NextMovesTheBase,
    /// The cursor is written before the page is.
    CursorBeforeThePage,
    /// The server keeps neither number nor receipts.
    NoReceiptsStored,
    /// The server keeps the number, and no receipts.
    NumberWithoutReceipts,
    /// The server knows a client's last push again, and none before it.
    OnlyTheLastPushIsKnown,
    /// The server answers and then commits.
    AnswerBeforeCommit,
    /// The cursor is where the feed is when the page has come.
    CursorOfALaterMoment,
    /// What loses is forgotten.
    NoLedger,
    /// The clock decides first.
    ClockFirst,
    /// The server takes every edit for one made with the current value in view.
    EverythingCountsAsSeen,
}

/// Every wrong protocol, with the promise that it breaks, and how many edits and faults show it.
pub(super) const ALL: [(Wrong, &str, (u8, u8)); 21] = [
    (
        Wrong::SettlesWhatWasNotSent,
        promise::NO_EDIT_IS_LOST,
        (2, 0),
    ),
    (
        Wrong::ReceiptOverLaterEdits,
        promise::UNPUSHED_EDITS_STAY,
        (3, 0),
    ),
    (
        Wrong::VersionWithoutChanged,
        promise::VERSIONS_CLAIM_WHAT_WAS_SEEN,
        (2, 0),
    ),
    (
        Wrong::HeldComesBack,
        promise::WHO_HAS_EVERYTHING_IS_EQUAL,
        (3, 0),
    ),
    (
        Wrong::SettlesNothing,
        promise::EVERY_STEP_LEADS_TO_THE_END,
        (1, 0),
    ),
    (Wrong::FrozenInMemory, promise::NOBODY_IS_REFUSED, (2, 1)),
    (
        Wrong::NewNumberAtARetry,
        promise::NOTHING_IS_APPLIED_TWICE,
        (1, 1),
    ),
    (Wrong::NeverRepeats, promise::THE_END_IS_DRAINED, (1, 1)),
    (
        Wrong::PullBeforeTheRepeat,
        promise::THE_CURSOR_SKIPS_NOTHING,
        (3, 1),
    ),
    (
        Wrong::PullOverUnpushedEdits,
        promise::UNPUSHED_EDITS_STAY,
        (2, 0),
    ),
    (Wrong::PullMovesTheBase, promise::NO_EDIT_IS_LOST, (2, 0)),
    (Wrong::NextMovesTheBase, promise::NO_EDIT_IS_LOST, (3, 0)),
    (
        Wrong::CursorBeforeThePage,
        promise::THE_CURSOR_SKIPS_NOTHING,
        (1, 0),
    ),
    (
        Wrong::NoReceiptsStored,
        promise::NOTHING_IS_APPLIED_TWICE,
        (1, 1),
    ),
    (
        Wrong::NumberWithoutReceipts,
        promise::NOBODY_IS_REFUSED,
        (1, 1),
    ),
    (
        Wrong::OnlyTheLastPushIsKnown,
        promise::NOTHING_IS_APPLIED_TWICE,
        (2, 1),
    ),
    (Wrong::AnswerBeforeCommit, promise::NO_EDIT_IS_LOST, (1, 1)),
    (
        Wrong::CursorOfALaterMoment,
        promise::THE_CURSOR_SKIPS_NOTHING,
        (2, 0),
    ),
    (Wrong::NoLedger, promise::NO_EDIT_IS_LOST, (2, 0)),
    (Wrong::ClockFirst, promise::SEEN_VALUES_GIVE_WAY, (2, 0)),
    (
        Wrong::EverythingCountsAsSeen,
        promise::NO_EDIT_IS_LOST,
        (2, 0),
    ),
];
