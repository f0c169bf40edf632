//! What colsync's server and clients share: the words, the values, edits and receipts, and the merge.
//!
//! Nothing here knows a framework, a database or a clock. Times, identities and policies arrive as
//! arguments, so the same call with the same arguments gives the same answer on every side.

pub mod edit;
pub mod key;
pub mod merge;
pub mod receipt;
pub mod schema;
pub mod schema_wire;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod sql;
pub mod sqlite;
pub mod stamp;
pub mod step;
pub mod time;
pub mod types;
pub mod value;
pub mod wire;

pub use edit::{ColumnEdit, Edit, Op};
pub use key::RowKey;
pub use receipt::Receipt;
pub use schema::{Column, Policy, RowPolicy, Table};
pub use stamp::{ClientId, Stamp};
pub use time::Time;
pub use types::ColumnType;
pub use value::Value;
