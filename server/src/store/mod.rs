//! The only room that knows diesel and SQL: connections, the user's tables, colsync's own tables.
//!
//! Everything above asks for rows, merged writes, ledger entries and pages of the feed in words of
//! `shared`. Nothing here knows HTTP, and nothing here decides a conflict.

pub(crate) mod model;
pub(crate) mod statement;
