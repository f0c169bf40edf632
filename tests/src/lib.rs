//! The harness of the tests: real databases, the real binary, and clients that speak HTTP.
//!
//! Everything here goes through a door that a user has: a process, a socket, SQL. Nothing of the server
//! is linked, so a test cannot see more than a user can.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a harness ends the test where something is not as it must be"
)]

pub mod answer;
pub mod between;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod convergence;
pub mod database;
pub mod device;
pub mod disk;
pub mod edits;
pub mod evidence;
pub mod fleet;
pub mod journal;
pub mod memory;
pub mod plain;
pub mod process;
pub mod proxy;
pub mod rows;
pub mod server;
pub mod tables;
pub mod writer;

pub use answer::Answer;
pub use between::{Act, Between};
pub use client::{Client, Pulled, row_path};
pub use clock::{ago, time};
pub use cluster::Cluster;
pub use database::Backend;
pub use device::Device;
pub use journal::Journal;
pub use plain::Plain;
pub use proxy::{Counts, Fault, Plan, Proxy};
pub use server::{ADMIN_TOKEN, Server, ServerBuilder};
pub use writer::Writer;

/// Makes two tests of each story, a function of the [`Backend`]: `sqlite::…` and `postgres::…`.
///
/// A story that is left out of the list is dead code, and the compiler says so.
#[macro_export]
macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $story() { super::$story($crate::Backend::Sqlite) })*
        }
        mod postgres {
            $(#[test] fn $story() { super::$story($crate::Backend::Postgres) })*
        }
    };
}
