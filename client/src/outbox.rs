//! The outbox: what the app's edits come to, the push they leave in, and how receipts settle them.
//!
//! `history` reads the log row by row, `edit` makes a row's edit of it, `freeze` makes a push of edits,
//! `settle` applies its receipts. Nothing here waits for the network.

pub(crate) mod edit;
pub(crate) mod freeze;
pub(crate) mod history;
pub(crate) mod letters;
pub(crate) mod settle;
