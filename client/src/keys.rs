//! Local ids: rows that the app makes in tables whose integer key the server makes are called by a number of
//! this file's until the server has told theirs.
//!
//! In the file, a number that is the local id of a row means that row, wherever the app wrote it. `links` knows
//! which columns point to such tables, `locals` which numbers are local ids, `stance` what can be sent before
//! they are replaced, `way` keeps them apart from the server's numbers, `reused` from those of rows that the app
//! deleted before, `learn` replaces them (`batch` does both for a push), and `shift` is the one place that renames
//! rows. Must not know the network. See ADR 0016.

mod batch;
mod learn;
mod links;
mod locals;
mod reused;
mod shift;
mod stance;
mod way;

#[cfg(test)]
mod tests;

pub(crate) use batch::{Batch, Missing, News};
pub(crate) use learn::{abandon, keep_left_out, put_back};
pub(crate) use links::Links;
pub(crate) use locals::Locals;
pub(crate) use reused::{tell_all_apart, tell_apart};
pub(crate) use shift::fresh;
pub(crate) use stance::{Stance, stance};
pub(crate) use way::{Moved, for_letter, for_page};

use colsync_shared::sqlite::Stored;

/// The integer in a stored key; None if it is none.
fn number(stored: &Stored) -> Option<i64> {
    match stored {
        Stored::Int(n) => Some(*n),
        Stored::Text(text) => text.parse().ok(),
        Stored::Null | Stored::Real(_) | Stored::Bytes(_) => None,
    }
}
