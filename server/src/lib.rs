//! The server of colsync.
#![allow(dead_code)]
mod store;
