//! The inbox: what a pull brings, and how it gets into the app's tables.
//!
//! `line` reads the stream, `page` collects what is written in one transaction, `apply` writes it, `held` keeps what a row cannot
//! take yet, `fresh` which columns have not come down yet, `versions` the server's version of each row, `resync` starts
//! over. Nothing here waits for the network, and nothing overwrites an edit that the server has not seen.

pub(crate) mod apply;
pub(crate) mod fresh;
pub(crate) mod held;
pub(crate) mod line;
pub(crate) mod page;
pub(crate) mod pending;
pub(crate) mod resync;
pub(crate) mod versions;
pub(crate) mod write;
