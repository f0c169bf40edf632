//! The client of colsync: it keeps any SQLite file in sync with a colsync server.
//!
//! The app knows nothing of it. It reads and writes its own tables with any SQLite library, in any language;
//! triggers of plain SQL note what it writes ([`Client::track`]). A sync pushes those edits, settles them by
//! their receipts, and pulls what others changed ([`Client::sync`]); a [`Worker`] does so by itself.
//!
//! ```no_run
//! use colsync_client::{Client, Pace, Settings};
//!
//! # fn main() -> Result<(), colsync_client::Error> {
//! let server = Some("https://sync.example.org".to_owned());
//! let client = Client::open("app.db", Settings { server, ..Settings::default() })?;
//! client.init(&[])?;
//! let worker = client.start(Pace::default())?;
//! # worker.stop();
//! # Ok(())
//! # }
//! ```

mod capture;
mod client;
mod edges;
mod engine;
mod error;
mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inbox;
mod init;
mod keys;
mod outbox;
mod pairing;
mod plain;
mod remote;
#[cfg(feature = "simulation")]
pub mod simulation;
mod table;
mod undo;
mod values;
mod view;

pub use capture::Tracked;
pub use client::{Client, Settings};
pub use colsync_shared::{Op, Time};
pub use edges::Clock;
pub use engine::report::{Progress, Report};
pub use engine::worker::{Pace, State, Status, Worker};
pub use error::Error;
pub use outbox::mode::Mode;
pub use view::{Conflict, DeadLetter, Diff, FileStatus, Pending, TableStatus};
