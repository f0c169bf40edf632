//! The feed as a machine of its own: transactions that take their position when they begin and commit in any order, and
//! a reader that pulls in chunks, each in a snapshot of its own.
//!
//! Two rows of two columns, in chunks of one row, of two, or of more than there are. What a column holds is the position of the transaction that wrote it. A row
//! moves in the feed with each commit, forwards or, where an older transaction commits later, backwards. As
//! ARCHITECTURE.md has it under "The feed": horizons, anchors, the floor that a torn pull leaves.

use stateright::{Model, Property};

const ROWS: usize = 2;
const COLUMNS: usize = 2;
/// What a reader has of a row that it never got.
const NOTHING: u8 = u8::MAX;

pub(super) const CURSORS_SKIP_NOTHING: &str = "what a cursor does not bring, its reader has";
pub(super) const ALL_IS_DELIVERED: &str = "at the end the reader has everything";
pub(super) const NOTHING_COMES_AGAIN: &str = "a pull in one snapshot brings nothing again";
pub(super) const PULLS_END: &str = "every step comes nearer to the end";

/// Feeds that are wrong, each in one thing, with the promise that each breaks, and how many transactions with how many
/// writes show it.
pub(super) const WRONG: [(Wrong, &str, (u8, u8)); 6] = [
    (Wrong::OpenCountsAsSeen, ALL_IS_DELIVERED, (2, 1)),
    (Wrong::NoFloor, ALL_IS_DELIVERED, (2, 2)),
    (Wrong::HorizonOfTheLastChunk, ALL_IS_DELIVERED, (2, 2)),
    (Wrong::PagedByPositionAlone, ALL_IS_DELIVERED, (2, 2)),
    (Wrong::CursorOfTheTargetAtOnce, CURSORS_SKIP_NOTHING, (1, 2)),
    (Wrong::RowsInFull, NOTHING_COMES_AGAIN, (2, 1)),
];

/// Those that only millions of states show.
pub(super) const WRONG_AT_LENGTH: [(Wrong, &str, (u8, u8)); 1] =
    [(Wrong::FloorOfTheLastPull, ALL_IS_DELIVERED, (3, 2))];

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A position below the snapshot's end counts as seen, though its transaction is open.
    OpenCountsAsSeen,
    /// The cursor after a pull of several snapshots is as if it had been one.
    NoFloor,
    /// The floor is where the last pull began, though it was torn, too.
    FloorOfTheLastPull,
    /// The cursor after a pull names the snapshot of its last chunk.
    HorizonOfTheLastChunk,
    /// A chunk begins after the position of the last row, and not after the row.
    PagedByPositionAlone,
    /// The cursor of an unfinished pull names where it leads.
    CursorOfTheTargetAtOnce,
    /// A row that has changed comes with all of its columns.
    RowsInFull,
}

/// The feed, with a bound to transactions and to what each writes.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) transactions: u8,
    pub(super) writes: u8,
    pub(super) wrong: Option<Wrong>,
}

/// What was visible at a moment: positions below `end`, but for those `open`, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Horizon {
    end: u8,
    open: u16,
}

/// A transaction under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Transaction {
    position: u8,
    wrote: Vec<(usize, usize)>,
}

/// What columns are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Floor {
    Anchor,
    Earlier(Horizon),
    Nothing,
}

/// How far a reader is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cursor {
    /// Everything visible there was delivered; of a reader that has nothing yet, there is none.
    anchor: Option<Horizon>,
    floor: Floor,
    /// Where a pull under way leads, and the last row that it has brought.
    pass: Option<(Horizon, (u8, usize))>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// What is committed.
    cells: [[u8; COLUMNS]; ROWS],
    /// Each row's place in the feed.
    places: [u8; ROWS],
    open: Vec<Transaction>,
    next: u8,
    transactions_left: u8,
    /// Rows that are read at once.
    chunk: usize,
    /// The reader's rows.
    has: [[u8; COLUMNS]; ROWS],
    cursor: Cursor,
    again: bool,
    in_circles: bool,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    /// The transaction at this place among the open ones writes to a row, which it then locks, and a column.
    Write(usize, usize, usize),
    Commit(usize),
    /// The reader begins a pull, or gets its next chunk: at once, or after its connection broke.
    Read,
}

impl Horizon {
    fn sees(self, position: u8) -> bool {
        position < self.end && self.open & (1 << position) == 0
    }
}

impl State {
    fn first(transactions: u8, chunk: usize, reader: Option<Horizon>) -> State {
        State {
            cells: [[0; COLUMNS]; ROWS],
            places: [0; ROWS],
            open: Vec::new(),
            next: 1,
            transactions_left: transactions,
            chunk,
            has: [[if reader.is_some() { 0 } else { NOTHING }; COLUMNS]; ROWS],
            cursor: Cursor {
                anchor: reader,
                floor: Floor::Anchor,
                pass: None,
            },
            again: false,
            in_circles: false,
        }
    }

    fn snapshot(&self, wrong: Option<Wrong>) -> Horizon {
        let open = self.open.iter().map(|one| 1 << one.position).sum();
        Horizon {
            end: self.next,
            open: if wrong == Some(Wrong::OpenCountsAsSeen) {
                0
            } else {
                open
            },
        }
    }

    /// Whether the row's last change is not visible at `horizon`.
    fn is_news(&self, row: usize, horizon: Option<Horizon>) -> bool {
        horizon.is_none_or(|horizon| !horizon.sees(self.places[row]))
    }

    fn has_news(&self, horizon: Option<Horizon>) -> bool {
        (0..ROWS).any(|row| self.is_news(row, horizon))
    }

    /// The rows that a pull under way has still to bring, in the order of the feed.
    fn rest(&self, wrong: Option<Wrong>) -> Vec<(u8, usize)> {
        let mut rows: Vec<(u8, usize)> = (0..ROWS)
            .filter(|row| self.is_news(*row, self.cursor.anchor))
            .map(|row| (self.places[row], row))
            .collect();
        rows.sort_unstable();
        if let Some((_, last)) = self.cursor.pass {
            rows.retain(|row| match wrong {
                Some(Wrong::PagedByPositionAlone) => row.0 > last.0,
                Some(_) | None => *row > last,
            });
        }
        rows
    }

    fn is_new(&self, position: u8) -> bool {
        match (self.cursor.floor, self.cursor.anchor) {
            (Floor::Anchor, Some(horizon)) | (Floor::Earlier(horizon), Some(_)) => {
                !horizon.sees(position)
            }
            (Floor::Nothing, _) | (_, None) => true,
        }
    }

    /// Reads a chunk in a snapshot of its own.
    fn read(&mut self, wrong: Option<Wrong>) {
        let now = self.snapshot(wrong);
        let is_torn = self.cursor.pass.is_some();
        let to = self.cursor.pass.map_or(now, |(to, _)| to);
        let mut rest = self.rest(wrong);
        rest.truncate(self.chunk);
        let is_through = rest.len() < self.chunk;
        let in_one_snapshot = is_through && !is_torn && self.cursor.floor == Floor::Anchor;
        for &(_, row) in &rest {
            let comes_again = self.bring(row, wrong);
            self.again |= comes_again && in_one_snapshot;
        }
        let last = rest.last().copied();
        if let (false, Some(last)) = (is_through, last) {
            self.cursor.pass = Some((to, last));
            if wrong == Some(Wrong::CursorOfTheTargetAtOnce) {
                self.cursor.anchor = Some(to);
            }
            return;
        }
        let floor = match (self.cursor.floor, self.cursor.anchor) {
            _ if !is_torn || wrong == Some(Wrong::NoFloor) => Floor::Anchor,
            (Floor::Anchor, Some(anchor)) => Floor::Earlier(anchor),
            (Floor::Earlier(_), Some(anchor)) if wrong == Some(Wrong::FloorOfTheLastPull) => {
                Floor::Earlier(anchor)
            }
            (Floor::Earlier(floor), Some(_)) => Floor::Earlier(floor),
            (_, None) | (Floor::Nothing, _) => Floor::Nothing,
        };
        let names_now = wrong == Some(Wrong::HorizonOfTheLastChunk);
        self.cursor = Cursor {
            anchor: Some(if names_now { now } else { to }),
            floor,
            pass: None,
        };
    }

    /// Brings what is new of a row to the reader; whether it had some of that.
    fn bring(&mut self, row: usize, wrong: Option<Wrong>) -> bool {
        let mut comes_again = false;
        for column in 0..COLUMNS {
            let there = self.cells[row][column];
            if self.is_new(there) || wrong == Some(Wrong::RowsInFull) {
                comes_again |= self.has[row][column] == there;
                self.has[row][column] = there;
            }
        }
        comes_again
    }

    fn commit(&mut self, at: usize) {
        let done = self.open.remove(at);
        for (row, column) in done.wrote {
            self.cells[row][column] = done.position;
            self.places[row] = done.position;
        }
    }

    /// How far the state is from its end: what transactions can still do, and what the reader has still to read.
    fn distance(&self, writes: u8) -> [usize; 2] {
        let steps = usize::from(writes) + 2;
        let open = self.open.iter().map(|one| steps - 1 - one.wrote.len());
        let reading = match self.cursor.pass {
            None => 100 * usize::from(self.has_news(self.cursor.anchor)),
            Some((to, _)) => {
                50 + self.rest(None).len() + 100 * usize::from(self.has_news(Some(to)))
            }
        };
        [
            usize::from(self.transactions_left) * steps + open.sum::<usize>(),
            reading,
        ]
    }
}

impl Model for Feed {
    type State = State;
    type Action = Step;

    /// A reader that has everything, and one that has nothing.
    fn init_states(&self) -> Vec<State> {
        let everything = Horizon { end: 1, open: 0 };
        let readers = [Some(everything), None].into_iter();
        readers
            .flat_map(|reader| {
                (1..=ROWS + 1).map(move |chunk| State::first(self.transactions, chunk, reader))
            })
            .collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.transactions_left > 0 {
            steps.push(Step::Begin);
        }
        for (at, one) in state.open.iter().enumerate() {
            steps.push(Step::Commit(at));
            if one.wrote.len() == usize::from(self.writes) {
                continue;
            }
            for row in 0..ROWS {
                let others = state
                    .open
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != at);
                let is_locked = others
                    .flat_map(|(_, other)| &other.wrote)
                    .any(|(locked, _)| *locked == row);
                if !is_locked {
                    steps.extend((0..COLUMNS).map(|column| Step::Write(at, row, column)));
                }
            }
        }
        if state.cursor.pass.is_some() || state.has_news(state.cursor.anchor) {
            steps.push(Step::Read);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Begin => {
                state.transactions_left -= 1;
                state.open.push(Transaction {
                    position: state.next,
                    wrote: Vec::new(),
                });
                state.next += 1;
            }
            Step::Write(at, row, column) => state.open[at].wrote.push((row, column)),
            Step::Commit(at) => state.commit(at),
            Step::Read => state.read(self.wrong),
        }
        state.in_circles |= state.distance(self.writes) >= last.distance(self.writes);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Feed>> {
        vec![
            Property::always(CURSORS_SKIP_NOTHING, |_, state: &State| {
                skips_nothing(state)
            }),
            Property::always(ALL_IS_DELIVERED, |feed: &Feed, state: &State| {
                let mut steps = Vec::new();
                feed.actions(state, &mut steps);
                !steps.is_empty() || state.has == state.cells
            }),
            Property::always(NOTHING_COMES_AGAIN, |_, state: &State| !state.again),
            Property::always(PULLS_END, |_, state: &State| !state.in_circles),
        ]
    }
}

/// Whoever is between two pulls has every value that the next does not bring.
fn skips_nothing(state: &State) -> bool {
    let cells = |row: usize| state.cells[row].iter().zip(state.has[row]);
    state.cursor.pass.is_some()
        || (0..ROWS).all(|row| {
            let comes = state.is_news(row, state.cursor.anchor);
            cells(row).all(|(there, here)| *there == here || (comes && state.is_new(*there)))
        })
}
