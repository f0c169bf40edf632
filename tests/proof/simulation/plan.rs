//! What happens in a simulation, as data: drawn from a seed, run step by step, and cut shorter where it finds
//! something.
//!
//! A step that has no meaning where it stands (an edit of a row that is not there any more) does nothing, so that any
//! part of a plan is a plan.

use fastrand::Rng;

use super::kin::{Act, Kind, What};

/// What one simulation is made of.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) devices: usize,
    pub(super) perils: Perils,
    pub(super) steps: Vec<Step>,
}

/// Which kinds of faults a plan has. Not all go together: an edit that only a lost copy of a file had, and that only a
/// lost database had accepted, is gone, and nobody could keep it.
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
    /// Another program makes a row at the server.
    DirectInsert { table: Table, row: u8, columns: u8 },
    /// Another program changes a row at the server.
    DirectUpdate {
        table: Table,
        place: u8,
        columns: u8,
    },
    /// Another program deletes a row at the server.
    DirectDelete { table: Table, place: u8 },
    /// A program sends a bare PATCH, which may name a version.
    Patch {
        table: Table,
        place: u8,
        columns: u8,
        based: bool,
    },
    /// A program sends a bare PUT of a whole row, which may name a version; columns that it leaves out are NULL then.
    Put {
        table: Table,
        place: u8,
        columns: u8,
        based: bool,
    },
    /// A program sends a bare DELETE.
    RestDelete { table: Table, place: u8 },
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

const DAY: i64 = 86_400_000_000;

impl Plan {
    /// The plan of `seed`, of so many steps.
    pub(super) fn draw(seed: u64, steps: usize) -> Plan {
        let mut random = Rng::with_seed(seed);
        let restores = random.u8(..4) == 0;
        let files = !restores && random.u8(..4) == 0;
        let perils = Perils {
            network: random.u8(..8) > 0,
            crashes: random.bool(),
            clocks: random.u8(..3) > 0,
            files,
            restores,
            purges: !restores && random.u8(..4) == 0,
            whole_rows: random.u8(..4) == 0,
            kin: random.u8(..3) == 0,
            unchecked: random.bool(),
            hard_deletes: random.u8(..3) == 0,
            grouped: random.bool(),
        };
        let devices = random.usize(2..=4);
        let mut draw = Draw {
            random,
            devices,
            perils,
        };
        let steps = (0..steps).map(|_| draw.step(true)).collect();
        Plan {
            seed,
            devices,
            perils,
            steps,
        }
    }
}

struct Draw {
    random: Rng,
    devices: usize,
    perils: Perils,
}

impl Draw {
    fn device(&mut self) -> usize {
        self.random.usize(..self.devices)
    }

    fn table(&mut self) -> Table {
        if self.random.bool() {
            Table::Notes
        } else {
            Table::Tasks
        }
    }

    /// At least one column.
    fn columns(&mut self) -> u8 {
        match self.random.u8(..3) {
            0 => self.random.u8(1..),
            // Texts and documents more often: they are merged only if two changed different parts.
            _ => {
                1 << self
                    .random
                    .u8(..10)
                    .checked_sub(8)
                    .map_or_else(|| self.random.u8(..8), |_| 5)
            }
        }
    }

    fn step(&mut self, may_sync: bool) -> Step {
        let (device, table) = (self.device(), self.table());
        let (place, columns) = (self.random.u8(..), self.columns());
        let row = self.random.u8(..24);
        if self.perils.kin && self.random.u8(..3) == 0 {
            return Step::Kin(self.act(may_sync));
        }
        match self.random.u8(..100) {
            0..3 => Step::Wait(self.wait()),
            3..6 => Step::Decide {
                which: place,
                how: self.random.u8(..),
            },
            6..14 => Step::Insert {
                device,
                table,
                row,
                columns: self.random.u8(..),
            },
            14..16 => Step::Replace {
                device,
                table,
                place,
                columns: self.random.u8(..),
            },
            // Both wait for the end of a sync.
            16..18 if may_sync => Step::Undo {
                device,
                table,
                place,
            },
            18..20 if may_sync => Step::Retry {
                device,
                which: place,
            },
            16..42 => Step::Update {
                device,
                table,
                place,
                columns,
            },
            42..47 => Step::Delete {
                device,
                table,
                place,
            },
            47..49 => Step::DirectInsert {
                table,
                row,
                columns: self.random.u8(..),
            },
            49..53 => Step::DirectUpdate {
                table,
                place,
                columns,
            },
            53..54 => Step::DirectDelete { table, place },
            54..58 => Step::Patch {
                table,
                place,
                columns,
                based: self.random.bool(),
            },
            58..59 => Step::RestDelete { table, place },
            59..62 if self.perils.whole_rows => Step::Put {
                table,
                place,
                columns: self.random.u8(..),
                based: self.random.bool(),
            },
            59..86 if may_sync => Step::Sync(self.sync()),
            86..88 if self.perils.clocks => Step::Clock {
                device,
                ahead: self.ahead(),
            },
            90..92 if self.perils.network => Step::Deliver(place),
            88..89 if self.perils.crashes && may_sync => Step::Restart,
            89..90 if self.perils.crashes && may_sync => Step::Kill {
                step: self.random.usize(..64),
                nth: self.random.u8(1..4),
            },
            92..100 => self.rare(device, may_sync),
            _ => Step::Wait(self.random.i64(0..2_000_000)),
        }
    }

    fn act(&mut self, may_sync: bool) -> Act {
        let kind = *self.random.choice(&Kind::ALL).unwrap_or(&Kind::Pets);
        let by = (self.random.u8(..6) > 0).then(|| self.device());
        let what = match self.random.u8(..16) {
            // They wait for the end of a sync.
            _ if may_sync && by.is_some() && self.random.u8(..16) == 0 => What::Undo,
            _ if may_sync && by.is_some() && self.random.u8(..6) == 0 => What::Retry,
            _ if may_sync && by.is_some() && self.random.u8(..12) == 0 => What::Discard,
            0..6 => What::Make(kind),
            6..8 if matches!(kind, Kind::Owners | Kind::Labels) => What::Tag(kind),
            6..9 => What::Name(kind),
            9..13 => What::Point(kind),
            // What a program does at the server breaks no foreign key.
            _ if by.is_none() && kind.is_numbered() => What::Name(kind),
            13..15 => What::Key(kind),
            _ => What::Delete(kind),
        };
        Act {
            by,
            asks: self.random.bool(),
            what,
            place: self.random.u8(..),
            other: self.random.u8(..),
        }
    }

    fn rare(&mut self, device: usize, may_sync: bool) -> Step {
        let to = self.device();
        match self.random.u8(..4) {
            0 if self.perils.restores && may_sync => Step::Backup,
            1 if self.perils.restores && may_sync && self.random.bool() => Step::Restore,
            0 if self.perils.files && may_sync => Step::Keep { device },
            1 if self.perils.files && may_sync => Step::PutBack { device },
            2 if self.perils.files && may_sync && to != device => Step::Clone { from: device, to },
            3 if self.perils.purges && may_sync => Step::Housekeeping,
            _ => Step::Wait(self.wait()),
        }
    }

    /// Mostly moments; where the server forgets, now and then a few months.
    fn wait(&mut self) -> i64 {
        match self.random.u8(..10) {
            0 if self.perils.purges => self.random.i64(DAY..120 * DAY),
            0..3 => self.random.i64(0..DAY / 24),
            _ => self.random.i64(0..5_000_000),
        }
    }

    fn ahead(&mut self) -> i64 {
        match self.random.u8(..3) {
            0 => 0,
            1 => self.random.i64(-3_000_000..3_000_000),
            _ => self.random.i64(-DAY..DAY),
        }
    }

    fn sync(&mut self) -> Sync {
        let mut calls = Vec::new();
        if self.perils.network && self.random.u8(..3) == 0 {
            let many = self.random.usize(1..6);
            calls = (0..many).map(|_| self.fault()).collect();
        }
        let mut meanwhile = Vec::new();
        while meanwhile.len() < 4 && self.random.u8(..4) == 0 {
            let (call, piece) = (self.random.usize(..4), self.random.usize(..4));
            let moment = match self.random.u8(..4) {
                0 => Moment::Before(call),
                1 => Moment::After(call),
                _ => Moment::Piece(call, piece),
            };
            meanwhile.push((moment, self.step(false)));
        }
        Sync {
            device: self.device(),
            batch: *self.random.choice(&[1, 2, 3, 5, 1_000]).unwrap_or(&1_000),
            compress: self.random.bool(),
            opens: self.random.u8(..6) == 0,
            way: match self.random.u8(..4) {
                0 => Way::Log,
                1 if self.perils.whole_rows => Way::Rows,
                _ => Way::Columns,
            },
            calls,
            meanwhile,
            killed: (self.perils.crashes && self.random.u8(..5) == 0)
                .then(|| (self.random.usize(..64), self.random.u8(1..4))),
        }
    }

    fn fault(&mut self) -> Fault {
        match self.random.u8(..10) {
            0..3 => Fault::Well,
            3 => Fault::RequestLost,
            4 => Fault::RequestLate,
            5 => Fault::RequestTwice,
            6 => Fault::RequestAgain,
            7 => Fault::AnswerLost,
            8 => Fault::AnswerCut(self.random.u8(..)),
            _ => Fault::Gateway,
        }
    }
}
