//! What happens to edits between the door and the database: the merge under the rows' locks, receipts,
//! the ledger, and the feed of changes.
//!
//! Knows rows and edits; knows neither HTTP nor SQL.

mod archive;
pub(crate) mod commit;
pub(crate) mod cursor;
mod draft;
pub(crate) mod feed;
pub(crate) mod idle;
mod line;
pub(crate) mod patch;
mod refusal;
mod repeat;
mod resolve;
pub(crate) mod rowstate;
pub(crate) mod submission;
mod workspace;
