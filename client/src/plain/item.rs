//! Asking an API for one row, and what it answers.
//!
//! Must not know what the row is asked for.

use super::api::{Api, Told};
use super::mapped::{Mapped, Seen, unwrapped};
use super::template::Place;
use crate::remote::Trouble;

/// The row's path.
pub(super) fn path(mapped: &Mapped, id: &str) -> String {
    mapped.how.item.fill(&[(Place::Id, id)])
}

/// The row as the API tells it; `None` where there is none.
///
/// # Errors
/// Whatever the call has; [`Trouble::Nonsense`] if the answer is no row, or another than the one of `id`.
pub(super) fn ask(api: &Api, mapped: &Mapped, id: &str) -> Result<Option<(Told, Seen)>, Trouble> {
    let Some(told) = api.get(&path(mapped, id))? else {
        return Ok(None);
    };
    let seen = unwrapped(mapped, &told.body).and_then(|row| mapped.read(row));
    match seen.filter(|seen| seen.id == id) {
        Some(seen) => Ok(Some((told, seen))),
        None => {
            let table = &mapped.spec.name;
            let why = format!("the answer about {table} {id} is not that row");
            Err(Trouble::Nonsense(why))
        }
    }
}
