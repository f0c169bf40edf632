//! The engine: one sync after another, by hand or in the background.
//!
//! `session` is one sync, `push` and `pull` its halves, `mend` what follows from a lost history, `lock` keeps it the
//! only one on its file, `worker`
//! runs it when there is reason to, `report` says what came of it.

pub(crate) mod lock;
mod mend;
mod pull;
mod push;
pub(crate) mod report;
pub(crate) mod session;
pub(crate) mod worker;
