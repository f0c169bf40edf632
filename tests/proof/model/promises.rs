//! What must hold in every state that can come about.

use stateright::{Model as _, Property};

use super::protocol::Protocol;
use super::state::{CLIENTS, COLUMNS, Memory, State, Value};

pub(super) const NO_EDIT_IS_LOST: &str = "no edit is lost";
pub(super) const UNPUSHED_EDITS_STAY: &str = "an unpushed edit stays in its table";
pub(super) const NOTHING_IS_APPLIED_TWICE: &str = "no edit is applied twice";
pub(super) const THE_CURSOR_SKIPS_NOTHING: &str = "the cursor skips nothing";
pub(super) const VERSIONS_CLAIM_WHAT_WAS_SEEN: &str = "a version claims only what was in view";
pub(super) const SEEN_VALUES_GIVE_WAY: &str =
    "an edit made with the current value in view is applied";
pub(super) const WHO_HAS_EVERYTHING_IS_EQUAL: &str =
    "whoever has everything is equal to the server";
pub(super) const NOBODY_IS_REFUSED: &str = "no honest client is refused";
pub(super) const EVERY_STEP_LEADS_TO_THE_END: &str = "every step comes nearer to the end";
pub(super) const THE_END_IS_DRAINED: &str = "at the end every queue is drained and all are equal";

/// All of them.
pub(super) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NO_EDIT_IS_LOST, |_, state: &State| no_edit_is_lost(state)),
        Property::always(UNPUSHED_EDITS_STAY, |_, state: &State| {
            unpushed_edits_stay(state)
        }),
        Property::always(NOTHING_IS_APPLIED_TWICE, |_, state: &State| {
            !state.database.merged_twice
        }),
        Property::always(THE_CURSOR_SKIPS_NOTHING, |_, state: &State| {
            the_cursor_skips_nothing(state)
        }),
        Property::always(VERSIONS_CLAIM_WHAT_WAS_SEEN, |_, state: &State| {
            versions_claim_what_was_seen(state)
        }),
        Property::always(SEEN_VALUES_GIVE_WAY, |_, state: &State| {
            !state.database.ignored
        }),
        Property::always(WHO_HAS_EVERYTHING_IS_EQUAL, |_, state: &State| {
            (0..CLIENTS).all(|client| !is_through(state, client) || is_equal(state, client))
        }),
        Property::always(NOBODY_IS_REFUSED, |_, state: &State| !state.refused),
        Property::always(EVERY_STEP_LEADS_TO_THE_END, |_, state: &State| {
            !state.in_circles
        }),
        Property::always(THE_END_IS_DRAINED, |protocol: &Protocol, state: &State| {
            let mut steps = Vec::new();
            protocol.actions(state, &mut steps);
            let drained = |client| is_through(state, client) && is_equal(state, client);
            !steps.is_empty() || (0..CLIENTS).all(drained)
        }),
    ]
}

/// Every edit is in its client's table and log, or current, or in the ledger, or replaced by one that had it in view,
/// of which the same holds.
fn no_edit_is_lost(state: &State) -> bool {
    state.all_made().all(|(value, edit)| {
        let client = &state.clients[usize::from(value / 8)];
        let is_logged = client.log.iter().any(|line| line.new == value);
        (is_logged && client.row[edit.column] == value)
            || state.database.cells[edit.column].value == value
            || state.database.ledger & (1 << value) != 0
            || state.all_made().any(|(_, other)| other.over == value)
    })
}

fn unpushed_edits_stay(state: &State) -> bool {
    state.clients.iter().all(|client| {
        client.row.iter().enumerate().all(|(column, value)| {
            let mut lines = client.log.iter().rev();
            let last = lines.find(|line| line.column == column);
            last.is_none_or(|line| line.new == *value)
        })
    })
}

/// What a client has of a column from the server: it is in the table, waits beside it, or is what was edited.
fn has(state: &State, client: usize, column: usize, value: Value) -> bool {
    let client = &state.clients[client];
    client.row[column] == value
        || client.held.columns[column] == Some(value)
        || client
            .first_line(column)
            .is_some_and(|line| line.old == value)
}

/// Whoever is at a position of the feed has what is there.
fn the_cursor_skips_nothing(state: &State) -> bool {
    (0..CLIENTS).all(|client| {
        let cells = state.database.cells.iter().enumerate();
        let cursor = state.clients[client].cursor;
        cells
            .filter(|(_, cell)| cell.position <= cursor)
            .all(|(column, cell)| has(state, client, column, cell.value))
    })
}

/// The version that a client names as its edit's base covers no value that its app had not in view.
fn versions_claim_what_was_seen(state: &State) -> bool {
    (0..CLIENTS).all(|at| {
        let client = &state.clients[at];
        (0..COLUMNS).all(|column| {
            let cell = &state.database.cells[column];
            let seen = match client.first_line(column) {
                Some(line) => {
                    line.old == cell.value || state.had_in_view(client.row[column], cell.value)
                }
                None => client.row[column] == cell.value,
            };
            cell.version > client.base(column) || seen
        })
    })
}

/// Whether a client rests, and has pushed and pulled everything.
fn is_through(state: &State, client: usize) -> bool {
    state.clients[client].memory == Memory::Idle && !state.wants_to_sync(client)
}

fn is_equal(state: &State, client: usize) -> bool {
    let there = state.database.cells.map(|cell| cell.value);
    let client = &state.clients[client];
    client.row == there && client.held.columns == [None; COLUMNS]
}
