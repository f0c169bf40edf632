//! What a simulation injects: what goes wrong or needs a decision, as it is counted.

/// Of clients and their network.
pub(super) const OF_CLIENTS: &[&str] = &[
    "request lost",
    "request late",
    "request arrived late",
    "request twice",
    "request again",
    "answer lost",
    "answer cut",
    "502",
    "client killed",
    "clock set",
    "file put back",
    "file cloned",
    "refused edit retried",
    "edit undone",
];

/// Of the server.
pub(super) const OF_SERVER: &[&str] = &[
    "server killed",
    "server restarted",
    "database put back",
    "house kept",
    "direct write",
    "bare write",
    "blind write recorded",
    "push of a program",
    "push rolled back",
    "log pushed",
    "row removed for good",
    "whole rows pushed",
    "whole row put",
    "whole rows in conflict",
    "texts merged",
    "texts in conflict",
    "documents merged",
    "documents in conflict",
    "groups in conflict",
    "groups edited in part",
    "refused by a constraint",
    "decision: kept",
    "decision: promoted",
    "decision: another value",
    "decision over a change",
    "decision repeated",
    "related row written",
    "related row written there",
    "related row asked for",
    "related row undone",
    "related row removed for good",
    "refused related edit retried",
    "refused related edit given up",
    "key changed",
    "column added",
    "column added there",
    "table taken or left",
    "unique value written",
];

/// What only a database has that several can write to at once, beside those.
pub(super) const OF_POSTGRES: &[&str] = &[
    "transaction left open",
    "transaction rolled back",
    "database failed over",
    "refused after a failover",
];

/// Of an API that knows no sync.
pub(super) const OF_PLAIN: &[&str] = &[
    "written there",
    "deleted there",
    "stale write",
    "refused write",
    "written over unseen",
    "part written",
    "part undone",
    "part gone with its note",
    "refused part retried",
];

/// Of these the short form has a few, and may have none.
pub(super) const RARE: &[&str] = &[
    "related row removed for good",
    "refused related edit retried",
    "refused related edit given up",
    "written over unseen",
    "part gone with its note",
];
