//! The outbox: what the app's edits come to, the push they leave in, and how receipts settle them.
//!
//! `history` reads the log row by row, `edit` makes a row's edit of it, `entries` all of its edits, `freeze`
//! makes a push of them, whose `body` is written in one of the modes, `fold` puts the receipts of a row
//! together, `settle` applies them. Nothing here waits for the network.

pub(crate) mod body;
pub(crate) mod edit;
mod entries;
pub(crate) mod fold;
pub(crate) mod freeze;
pub(crate) mod history;
pub(crate) mod letters;
pub(crate) mod mode;
pub(crate) mod settle;
