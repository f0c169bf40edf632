//! What there is at a moment: two clients' files and memories, the server's database, what is on its way, and what
//! has happened so far, as far as promises speak of it.
//!
//! Must not know how any of it comes about.

/// Clients.
pub(super) const CLIENTS: usize = 2;
/// The row's columns.
pub(super) const COLUMNS: usize = 2;
/// Who made the row.
const MAKER: u8 = 2;

/// What a column holds. Each edit writes a value of its own, so that a value is also the name of its edit: of client
/// `value / 8` the edit number `value % 8`. 0 is what was there.
pub(super) type Value = u8;

/// The value of the edit `number`, from 1, of `client`.
pub(super) fn value(client: usize, number: usize) -> Value {
    (client * 8 + number) as Value
}

/// Who wrote a column and when, in the order of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp {
    pub(super) time: u8,
    pub(super) client: u8,
}

/// One value for each column, where there is one.
pub(super) type Columns = [Option<Value>; COLUMNS];

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) clients: [Client; CLIENTS],
    pub(super) database: Database,
    /// What a server that answers before it commits has not committed.
    pub(super) uncommitted: Option<Box<Database>>,
    /// Pushes on their way to the server, for whose answers nobody waits.
    pub(super) late: Vec<(usize, Push)>,
    /// By how much each client's clock is ahead.
    pub(super) ahead: [u8; CLIENTS],
    pub(super) edits_left: u8,
    pub(super) faults_left: u8,
    /// The edits that each client has made.
    pub(super) made: [Vec<Made>; CLIENTS],
    /// Whether a client was told that it is another, or that the server lacks something of it.
    pub(super) refused: bool,
    /// Whether a step came no nearer to the end.
    pub(super) in_circles: bool,
}

/// An edit that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Made {
    pub(super) column: usize,
    /// The value that its client had in view.
    pub(super) over: Value,
}

/// A client: its file, and what is lost with its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The app's row.
    pub(super) row: [Value; COLUMNS],
    pub(super) log: Vec<Line>,
    /// The row's version, as the server last told it.
    pub(super) version: u8,
    pub(super) held: Held,
    /// The last push that was answered for.
    pub(super) number: u8,
    /// The push without an answer.
    pub(super) frozen: Option<Push>,
    pub(super) cursor: u8,
    pub(super) memory: Memory,
}

/// A line of the log: the app has written a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) seq: u8,
    pub(super) column: usize,
    pub(super) old: Value,
    pub(super) new: Value,
}

/// What waits beside a row with unpushed edits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// The versions that edits were made from, where the row has moved on.
    pub(super) bases: Columns,
    /// What the server has.
    pub(super) columns: Columns,
}

/// Where a sync is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Memory {
    /// There is none.
    Idle,
    /// What was written up to this line goes up.
    Pushing { upto: u8 },
    /// The frozen push is sent.
    Pushed { upto: u8, answer: Option<Answer> },
    /// A pull is asked for.
    Pulling { page: Option<Page> },
    /// It is here, and not written yet.
    Pulled(Page),
}

/// A push, as it is frozen, sent and recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Push {
    pub(super) number: u8,
    /// The version that the client had in view.
    pub(super) base: u8,
    pub(super) columns: [Option<Edited>; COLUMNS],
    /// The last line that it covers; not sent.
    pub(super) upto: u8,
}

/// A column of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Edited {
    pub(super) value: Value,
    pub(super) base: u8,
    pub(super) time: u8,
}

/// The answer to a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Receipt(Receipt),
    Refused,
}

/// What the server made of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Receipt {
    pub(super) version: u8,
    /// What it has that is not as sent: results of columns of the push, and what others have changed.
    pub(super) told: Columns,
}

/// What a pull brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Page {
    pub(super) columns: Columns,
    pub(super) version: u8,
    pub(super) cursor: u8,
}

/// The server's database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Database {
    pub(super) cells: [Cell; COLUMNS],
    pub(super) version: u8,
    /// Of the feed.
    pub(super) position: u8,
    /// The number of each client's last push.
    pub(super) last_push: [u8; CLIENTS],
    /// Each client's pushes with their receipts, from number 1.
    pub(super) receipts: [Vec<(Push, Receipt)>; CLIENTS],
    /// The values that have lost, a bit each.
    pub(super) ledger: u16,
    /// The edits that were merged, a bit each: what a test remembers, not what the server does.
    pub(super) merged: u16,
    /// Whether one was merged again.
    pub(super) merged_twice: bool,
    /// Whether one lost although it was made with the current value in view.
    pub(super) ignored: bool,
}

/// A column in the server's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) value: Value,
    pub(super) stamp: Stamp,
    /// The row's version when it changed.
    pub(super) version: u8,
    /// The feed's position when it changed.
    pub(super) position: u8,
}

impl State {
    /// Everyone has the row, and nobody has written to it.
    pub(super) fn first(ahead: [u8; CLIENTS], edits: u8, faults: u8) -> State {
        let client = Client {
            row: [0; COLUMNS],
            log: Vec::new(),
            version: 1,
            held: Held::default(),
            number: 0,
            frozen: None,
            cursor: 1,
            memory: Memory::Idle,
        };
        let cell = Cell {
            value: 0,
            stamp: Stamp {
                time: 0,
                client: MAKER,
            },
            version: 1,
            position: 1,
        };
        State {
            clients: [client.clone(), client],
            database: Database {
                cells: [cell; COLUMNS],
                version: 1,
                position: 1,
                last_push: [0; CLIENTS],
                receipts: [Vec::new(), Vec::new()],
                ledger: 0,
                merged: 0,
                merged_twice: false,
                ignored: false,
            },
            uncommitted: None,
            late: Vec::new(),
            ahead,
            edits_left: edits,
            faults_left: faults,
            made: [Vec::new(), Vec::new()],
            refused: false,
            in_circles: false,
        }
    }

    /// The edit that wrote `value`; none made what was there.
    pub(super) fn made(&self, value: Value) -> Option<Made> {
        let (client, number) = (usize::from(value / 8), usize::from(value % 8));
        self.made[client].get(number.checked_sub(1)?).copied()
    }

    /// All edits, with their values.
    pub(super) fn all_made(&self) -> impl Iterator<Item = (Value, Made)> {
        let of_clients = self.made.iter().enumerate();
        of_clients.flat_map(|(client, made)| {
            let numbered = made.iter().enumerate();
            numbered.map(move |(at, made)| (value(client, at + 1), *made))
        })
    }

    /// Whether whoever wrote `edit` had `value` in view, then or before.
    pub(super) fn had_in_view(&self, edit: Value, value: Value) -> bool {
        let mut at = edit;
        while let Some(made) = self.made(at) {
            if made.over == value {
                return true;
            }
            at = made.over;
        }
        false
    }

    /// Whether a client has something to sync for: edits, or news. Without, it rests.
    pub(super) fn wants_to_sync(&self, client: usize) -> bool {
        let it = &self.clients[client];
        !it.log.is_empty() || it.frozen.is_some() || it.cursor < self.database.position
    }
}

impl Client {
    /// The first line about a column: its `old` is the Original.
    pub(super) fn first_line(&self, column: usize) -> Option<&Line> {
        self.log.iter().find(|line| line.column == column)
    }

    /// The last line's number.
    pub(super) fn last_seq(&self) -> u8 {
        self.log.last().map_or(0, |line| line.seq)
    }

    /// The version that a column's edit was or would be made from.
    pub(super) fn base(&self, column: usize) -> u8 {
        self.held.bases[column].unwrap_or(self.version)
    }
}
