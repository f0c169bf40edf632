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
    let told = match api.get(&path(mapped, id)) {
        // Of rows that they have not, some say no more than that.
        Err(Trouble::Forbidden { code, .. }) if is_about_a_row(api, mapped, &code) => None,
        told => told?,
    };
    let Some(told) = told else {
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

/// Whether it is one row that the API forbids, by this code, and not all: it tells the table's list. Asked anew each time, as a
/// limit of calls may be told so, too.
pub(super) fn is_about_a_row(api: &Api, mapped: &Mapped, code: &str) -> bool {
    let how = &mapped.how;
    let (page, limit) = (how.first_page.to_string(), how.limit.to_string());
    let list = how.list.fill(&[
        (Place::Page, &page),
        (Place::Offset, "0"),
        (Place::Limit, &limit),
    ]);
    code == "http_403" && api.list(&api.url(&list), None, None).is_ok()
}

/// The API calls the row otherwise: what it does with the key, a clause.
pub(super) fn not_kept(what: &str) -> Rejection {
    Rejection::new("key_not_kept", format!("the API {what}"))
}
