//! Many clients and the server in one process, with virtual time and a virtual network, on real SQLite in
//! memory; the server on PostgreSQL, too.
//!
//! A seed gives a plan: edits, deletes, direct SQL, syncs, and all that goes wrong. Every write is held against a
//! reference of the server that shares no code with it; at the end everything must come to rest, alike on all sides,
//! with every value accounted for. What fails is cut to the shortest plan that still does.

mod cast;
mod clock;
mod crash;
mod database;
mod device;
mod faults;
mod ground;
mod journal;
mod kin;
mod plain;
mod plan;
mod reference;
mod scene;
mod server;
mod shrink;
mod suite;
mod tables;
mod wire;
mod world;

pub(crate) use suite::{Subject, part, run, run_plain};
