//! What happens in a simulation, as data: drawn from a seed, run step by step, and cut shorter where it finds
//! something.
//!
//! A step that has no meaning where it stands (an edit of a row that is not there any more) does nothing, so that any
//! part of a plan is a plan.

mod draw;

use super::kin::Act;

/// What one simulation is made of.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) devices: usize,
    pub(super) perils: Perils,
    pub(super) steps: Vec<Step>,
}

/// Which kinds of faults a plan has. An edit that only a lost copy of a file had, and that only a lost database had
/// accepted, is gone, and nobody could keep it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Perils {
    /// Requests and answers are lost, cut, late, doubled.
    pub(super) network: bool,
    /// Clients and the server are killed.
    pub(super) crashes: bool,
    /// Clocks are wrong by up to a day, and jump.
    pub(super) clocks: bool,
    /// Clients' files are copied, and put back.
    pub(super) files: bool,
    /// The server's database is put back.
    pub(super) restores: bool,
    /// Backups of a PostgreSQL are base backups, not dumps: of all its files, its counter of transactions among them.
    pub(super) bases: bool,
    /// Such a one is put back while the server goes on, as where a replica takes over that lacks the last transactions.
    pub(super) fails_over: bool,
    /// Months go by, and the server forgets.
    pub(super) purges: bool,
    /// Clients and programs write whole rows, too. One that wins replaces what others have counted.
    pub(super) whole_rows: bool,
    /// There are rows that point to each other, too, under keys that the server makes.
    pub(super) kin: bool,
    /// Where the server's database is put back, it does not check what they point to.
    pub(super) unchecked: bool,
    /// A delete that a log tells of removes its row for good.
    pub(super) hard_deletes: bool,
    /// What such a row points to is stamped and decided as one.
    pub(super) grouped: bool,
    /// Tables lack columns, which the server and each app add some time.
    pub(super) grows: bool,
    /// Programs leave transactions open while others commit.
    pub(super) holds: bool,
    /// Apps begin without the tasks, take them some time, and leave them again.
    pub(super) tracks: bool,
}

impl Perils {
    /// Whether the server may have a row no more, tombstone and all.
    pub(super) fn forgets_rows(&self) -> bool {
        self.restores || self.hard_deletes
    }
}

/// A table of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Table {
    /// Deleted rows stay deleted.
    Notes,
    /// A later edit revives its row.
    Tasks,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Time goes by, µs.
    Wait(i64),
    /// An app makes a row; `row` is its id, which two may choose alike.
    Insert {
        device: usize,
        table: Table,
        row: u8,
        columns: u8,
    },
    /// An app changes columns of the row at a place of its table.
    Update {
        device: usize,
        table: Table,
        place: u8,
        columns: u8,
    },
    /// An app puts a new row in the place of the one at a place of its table, with `INSERT OR REPLACE`.
    Replace {
        device: usize,
        table: Table,
        place: u8,
        columns: u8,
    },
    /// A user takes back what was done to the row at a place of its table, if anything was.
    Undo {
        device: usize,
        table: Table,
        place: u8,
    },
    /// A user has one of the refused edits made again.
    Retry { device: usize, which: u8 },
    /// An app deletes the row at a place of its table.
    Delete {
        device: usize,
        table: Table,
        place: u8,
    },
    /// Another program writes with SQL at the server.
    Direct(Direct),
    /// The same, in a transaction that it leaves open.
    Hold(Direct),
    /// One of these comes to its end.
    LetGo { which: u8, commits: bool },
    /// A program sends a bare PATCH, which may name a version that it saw.
    Patch {
        table: Table,
        place: u8,
        columns: u8,
        based: Based,
    },
    /// A program sends a bare PUT of a whole row, which may name a version; columns that it leaves out are NULL then.
    Put {
        table: Table,
        place: u8,
        columns: u8,
        based: Based,
    },
    /// A program sends a bare DELETE.
    RestDelete { table: Table, place: u8 },
    /// A program sends a push, or a log, that it has written itself.
    Load(Load),
    /// Somebody does something to rows that point to each other.
    Kin(Act),
    /// An administrator decides about an entry of the ledger, in one of some ways.
    Decide { which: u8, how: u8 },
    /// A client syncs.
    Sync(Sync),
    /// A client's clock is set, to so many µs before or after the true time.
    Clock { device: usize, ahead: i64 },
    /// The server is stopped and started.
    Restart,
    /// The server dies at a step of its work, at its next chance.
    Kill { step: usize, nth: u8 },
    /// A request that was late, or came twice, arrives.
    Deliver(u8),
    /// A copy of the server's database is made.
    Backup,
    /// The last copy is put back.
    Restore,
    /// A copy of a client's file is made.
    Keep { device: usize },
    /// A client's file is put back.
    PutBack { device: usize },
    /// A client's file is replaced by a copy of another's.
    Clone { from: usize, to: usize },
    /// The server forgets what is older than its retention.
    Housekeeping,
    /// The tables of a client, or of the server, get the columns that they lack.
    Grow { device: Option<usize> },
    /// An app takes the tasks, or leaves them if it has them and nothing of them waits.
    Track { device: usize },
}

/// What a program does with SQL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direct {
    /// Makes a row, of this id.
    Insert { table: Table, row: u8, columns: u8 },
    /// Changes the row at a place of its table.
    Update {
        table: Table,
        place: u8,
        columns: u8,
    },
    /// Deletes it.
    Delete { table: Table, place: u8 },
}

/// What a program names as the version that it saw: none, or the one so many before the one that the row has.
pub(super) type Based = Option<u8>;

/// What a program sends.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) edits: Vec<Loaded>,
    /// Whether all of them are to be taken, or none.
    pub(super) atomic: bool,
    /// Whether it is a log.
    pub(super) as_log: bool,
    /// Whether it arrives once more later.
    pub(super) again: bool,
}

/// One edit of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loaded {
    pub(super) table: Table,
    /// The row's id, and columns to change.
    pub(super) row: u8,
    pub(super) columns: u8,
    pub(super) what: Loading,
    pub(super) based: Based,
    /// How long ago it was made, µs.
    pub(super) ago: i64,
}

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loading {
    Make,
    Change,
    Delete,
    /// For good, where a log tells of it.
    Remove,
}

/// A client's sync, and what goes wrong in it.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    pub(super) device: usize,
    /// The most edits of a push.
    pub(super) batch: usize,
    /// Whether pushes are compressed.
    pub(super) compress: bool,
    /// Whether the app has just started, and opens its file anew.
    pub(super) opens: bool,
    /// What becomes of each of its calls; those beyond go well.
    pub(super) calls: Vec<Fault>,
    /// How pushes are written.
    pub(super) way: Way,
    /// What happens meanwhile.
    pub(super) meanwhile: Vec<(Moment, Step)>,
    /// The client dies where this step of its work is reached for the nth time.
    pub(super) killed: Option<(usize, u8)>,
}

impl Sync {
    /// One in which nothing goes wrong.
    pub(super) fn without_faults(device: usize) -> Sync {
        Sync {
            device,
            batch: 1_000,
            compress: true,
            opens: false,
            way: Way::Columns,
            calls: Vec::new(),
            meanwhile: Vec::new(),
            killed: None,
        }
    }
}

/// What a push tells of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The columns that differ.
    Columns,
    /// All that was done to it.
    Log,
    /// The whole row.
    Rows,
}

/// A moment of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the call of this number arrives.
    Before(usize),
    /// Between two pieces of that call's answer.
    Piece(usize, usize),
    /// After it was answered, and before the answer arrives.
    After(usize),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Well,
    /// The request never arrives.
    RequestLost,
    /// The request arrives later, when nobody waits for its answer any more.
    RequestLate,
    /// It arrives twice at once.
    RequestTwice,
    /// It arrives again later.
    RequestAgain,
    /// The answer never arrives.
    AnswerLost,
    /// The answer is cut after so many 255ths of its bytes.
    AnswerCut(u8),
    /// Something between them answers 502.
    Gateway,
}
