//! Asking an API for one row, and what it answers.
//!
//! Must not know what the row is asked for.

use colsync_shared::receipt::Rejection;

use super::api::{Api, Told};
use super::mapped::{Mapped, Seen, unwrapped};
use super::template::Place;
use crate::remote::Trouble;

/// What an API says of a row.
pub(super) enum Item {
    /// The row; `None` where there is none.
    Row(Option<Box<(Told, Seen)>>),
    /// It has no row of this key, and never will have one; why.
    Never(Rejection),
}

/// The row's path.
pub(super) fn path(mapped: &Mapped, id: &str) -> String {
    mapped.how.item.fill(&[(Place::Id, id)])
}

/// The row as the API tells it.
///
/// # Errors
/// Whatever the call has; [`Trouble::Nonsense`] if the answer is no row.
pub(super) fn ask(api: &Api, mapped: &Mapped, id: &str) -> Result<Item, Trouble> {
    // Such a path is another's, encoded or not: that of the list, or of what is above it.
    if ["", ".", ".."].contains(&id) {
        let detail = format!("{id:?} cannot stand in a path");
        return Ok(Item::Never(Rejection::new("invalid_id", detail)));
    }
    let Some(told) = api.get(&path(mapped, id))? else {
        return Ok(Item::Row(None));
    };
    match unwrapped(mapped, &told.body).and_then(|row| mapped.read(row)) {
        Some(seen) if seen.id == id => Ok(Item::Row(Some(Box::new((told, seen))))),
        Some(other) => Ok(Item::Never(not_kept(&format!("tells {} for it", other.id)))),
        None => {
            let table = &mapped.spec.name;
            let why = format!("the answer about {table} {id} is not that row");
            Err(Trouble::Nonsense(why))
        }
    }
}

/// The API calls the row otherwise: what it does with the key, a clause.
pub(super) fn not_kept(what: &str) -> Rejection {
    Rejection::new("key_not_kept", format!("the API {what}"))
}
