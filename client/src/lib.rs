//! The client of colsync: it keeps any SQLite file in sync with a colsync server.
//!
//! The app knows nothing of it. It reads and writes its own tables with any SQLite library, in any language;
//! triggers of plain SQL note what it writes ([`Client::track`]). A sync pushes those edits, settles them by
//! their receipts, and pulls what others changed.

mod capture;
mod edges;
mod error;
mod file;
mod table;

pub use error::Error;
