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
    /// A settled push takes the cursor to where the feed was.
    ReceiptMovesTheCursor,
    /// A push is frozen in memory.
    FrozenInMemory,
    /// A push without an answer gets a new number.
    NewNumberAtARetry,
    /// A pull writes over unpushed edits.
    PullOverUnpushedEdits,
    /// A pull moves the base of unpushed edits.
    PullMovesTheBase,
    /// The cursor is written before the page is.
    CursorBeforeThePage,
    /// The server keeps neither number nor receipts.
    NoReceiptsStored,
    /// The server keeps the number, and no receipts.
    NumberWithoutReceipts,
    /// The server answers and then commits.
    AnswerBeforeCommit,
    /// The cursor is where the feed is when the page has come.
    CursorOfALaterMoment,
    /// A pull leaves out the columns of a row that its reader wrote last.
    EchoByRow,
    /// What loses is forgotten.
    NoLedger,
    /// The clock decides first.
    ClockFirst,
    /// The server takes every edit for one made with the current value in view.
    EverythingCountsAsSeen,
}

/// Every wrong protocol, with the promise that it breaks.
pub(super) const ALL: [(Wrong, &str); 18] = [
    (Wrong::SettlesWhatWasNotSent, promise::NO_EDIT_IS_LOST),
    (Wrong::ReceiptOverLaterEdits, promise::UNPUSHED_EDITS_STAY),
    (
        Wrong::VersionWithoutChanged,
        promise::VERSIONS_CLAIM_WHAT_WAS_SEEN,
    ),
    (Wrong::HeldComesBack, promise::WHO_HAS_EVERYTHING_IS_EQUAL),
    (
        Wrong::ReceiptMovesTheCursor,
        promise::THE_CURSOR_SKIPS_NOTHING,
    ),
    (Wrong::FrozenInMemory, promise::NOBODY_IS_REFUSED),
    (Wrong::NewNumberAtARetry, promise::NOTHING_IS_APPLIED_TWICE),
    (Wrong::PullOverUnpushedEdits, promise::UNPUSHED_EDITS_STAY),
    (Wrong::PullMovesTheBase, promise::NO_EDIT_IS_LOST),
    (
        Wrong::CursorBeforeThePage,
        promise::THE_CURSOR_SKIPS_NOTHING,
    ),
    (Wrong::NoReceiptsStored, promise::NOTHING_IS_APPLIED_TWICE),
    (Wrong::NumberWithoutReceipts, promise::NOBODY_IS_REFUSED),
    (Wrong::AnswerBeforeCommit, promise::NO_EDIT_IS_LOST),
    (
        Wrong::CursorOfALaterMoment,
        promise::THE_CURSOR_SKIPS_NOTHING,
    ),
    (Wrong::EchoByRow, promise::THE_CURSOR_SKIPS_NOTHING),
    (Wrong::NoLedger, promise::NO_EDIT_IS_LOST),
    (Wrong::ClockFirst, promise::SEEN_VALUES_GIVE_WAY),
    (Wrong::EverythingCountsAsSeen, promise::NO_EDIT_IS_LOST),
];
