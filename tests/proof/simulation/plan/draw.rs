//! A plan is drawn from its seed: what happens how often.

use fastrand::Rng;

use super::{
    Based, Direct, Fault, Load, Loaded, Loading, Moment, Perils, Plan, Step, Sync, Table, Way,
};
use crate::simulation::kin::{Act, Kind, What};

const DAY: i64 = 86_400_000_000;

impl Plan {
    /// The plan of `seed`, of so many steps.
    pub(crate) fn draw(seed: u64, steps: usize) -> Plan {
        Plan::draw_with(seed, steps, |perils| perils)
    }

    /// The same with others of its perils.
    pub(crate) fn draw_with(seed: u64, steps: usize, of: fn(Perils) -> Perils) -> Plan {
        let mut random = Rng::with_seed(seed);
        let restores = random.u8(..4) == 0;
        let files = random.u8(..4) == 0;
        let perils = Perils {
            network: random.u8(..8) > 0,
            crashes: random.bool(),
            clocks: random.u8(..3) > 0,
            files,
            restores,
            purges: random.u8(..4) == 0,
            whole_rows: random.u8(..4) == 0,
            kin: random.u8(..3) == 0,
            unchecked: random.bool(),
            hard_deletes: random.u8(..3) == 0,
            grouped: random.bool(),
            grows: random.u8(..3) == 0,
            tracks: random.u8(..4) == 0,
            holds: random.u8(..3) == 0,
            // Often enough for one of sixty plans to have it: the suite fails where none does.
            bases: random.u8(..4) > 0,
            fails_over: random.u8(..4) > 0,
        };
        let perils = of(perils);
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
        if self.perils.holds && self.random.u8(..16) == 0 {
            return Step::LetGo {
                which: place,
                commits: self.random.u8(..4) > 0,
            };
        }
        match self.random.u8(..100) {
            // What the app does with its tables waits for the end of a sync.
            0..1 if self.perils.grows => Step::Grow {
                device: (may_sync && self.random.u8(..3) > 0).then_some(device),
            },
            1..2 if self.perils.tracks && may_sync => Step::Track { device },
            0..3 => Step::Wait(self.wait()),
            3..6 => Step::Decide {
                which: place,
                how: self.random.u8(..),
            },
            6..8 => Step::Load(self.load()),
            8..14 => Step::Insert {
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
            direct @ 47..54 => {
                let direct = self.direct(direct, table);
                if self.perils.holds && self.random.bool() {
                    Step::Hold(direct)
                } else {
                    Step::Direct(direct)
                }
            }
            54..58 => Step::Patch {
                table,
                place,
                columns,
                based: self.based(),
            },
            58..59 => Step::RestDelete { table, place },
            59..62 if self.perils.whole_rows => Step::Put {
                table,
                place,
                columns: self.random.u8(..),
                based: self.based(),
            },
            59..86 if may_sync => Step::Sync(self.sync()),
            86..88 if self.perils.clocks => Step::Clock {
                device,
                ahead: self.ahead(),
            },
            90..92 if self.perils.network => Step::Deliver(place),
            88..89 if self.perils.crashes => Step::Restart,
            89..90 if self.perils.crashes && may_sync => Step::Kill {
                step: self.random.usize(..64),
                nth: self.random.u8(1..4),
            },
            92..100 => self.rare(device, may_sync),
            _ => Step::Wait(self.random.i64(0..2_000_000)),
        }
    }

    fn direct(&mut self, which: u8, table: Table) -> Direct {
        match which {
            47..49 => Direct::Insert {
                table,
                row: self.random.u8(..24),
                columns: self.random.u8(..),
            },
            49..53 => Direct::Update {
                table,
                place: self.random.u8(..),
                columns: self.columns(),
            },
            _ => Direct::Delete {
                table,
                place: self.random.u8(..),
            },
        }
    }

    fn load(&mut self) -> Load {
        let edits = (0..self.random.usize(1..5)).map(|_| Loaded {
            table: self.table(),
            row: self.random.u8(..24),
            columns: self.columns(),
            what: match self.random.u8(..10) {
                0..2 => Loading::Make,
                2..8 => Loading::Change,
                8 => Loading::Delete,
                _ => Loading::Remove,
            },
            based: self.based(),
            ago: self.ago(),
        });
        Load {
            edits: edits.collect(),
            atomic: self.random.bool(),
            as_log: self.random.bool(),
            again: self.perils.network && self.random.u8(..4) == 0,
        }
    }

    fn based(&mut self) -> Based {
        match self.random.u8(..5) {
            0 | 1 => None,
            2 | 3 => Some(0),
            _ => Some(self.random.u8(1..4)),
        }
    }

    fn ago(&mut self) -> i64 {
        if self.random.bool() {
            return 0;
        }
        self.random.i64(0..DAY / 24)
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
        let (restores, files) = match (self.perils.restores, self.perils.files) {
            (true, true) => {
                let of_files = self.random.bool();
                (!of_files, of_files)
            }
            one => one,
        };
        match self.random.u8(..4) {
            0 if restores => Step::Backup,
            1 if restores && self.random.bool() => Step::Restore,
            0 if files && may_sync => Step::Keep { device },
            1 if files && may_sync => Step::PutBack { device },
            2 if files && may_sync && to != device => Step::Clone { from: device, to },
            3 if self.perils.purges => Step::Housekeeping,
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
