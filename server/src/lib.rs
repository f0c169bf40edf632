//! The server of colsync: it merges per-column edits into the tables of an SQLite or PostgreSQL
//! database, and feeds the changes back.
//!
//! `http -> queue -> sync -> store`: each room knows only those to its right.

mod asker;
pub mod auth;
pub mod cli;
pub mod config;
mod edges;
mod http;
mod metrics;
mod queue;
mod retention;
pub mod serve;
#[cfg(feature = "simulation")]
pub mod simulation;
mod store;
mod sync;

#[cfg(feature = "fuzzing")]
pub use http::fuzzing;
