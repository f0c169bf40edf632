//! SQLite: what differs from PostgreSQL in reading, writing, adopting and introspecting tables.

pub(crate) mod adopt;
pub(crate) mod introspect;
pub(crate) mod rows;
pub(crate) mod values;
