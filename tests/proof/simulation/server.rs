//! The server of a simulation: its process, its database, and the reference beside it.

mod check;
mod decision;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use colsync_server::config::{Config, Overrides};
use colsync_server::simulation::{self, Node, Piece};
use colsync_shared::Time;
use colsync_shared::simulation::set_now;
use serde_json::Value as Json;

use super::clock::{self, Clock};
use super::crash;
use super::database::{Columns, Database, Seedling};
use super::kin::Kind;
use super::plan::{Perils, Table};
use super::reference::{Expected, Reference, Row};
use super::tables::adopted;
use super::wire::{Answer, Sent};
use super::world::BEGINNING;

pub(super) use check::plain;
use write::Write;

pub(super) struct Server {
    node: Option<Node>,
    /// Answers that are not at their end; they go with the node.
    open: HashMap<u64, simulation::Answer>,
    answers: u64,
    config: Config,
    perils: Perils,
    pub(super) database: Database,
    clock: Clock,
    pub(super) reference: Reference,
    pub(super) backup: Option<Backup>,
    /// What each row was read as, by the line that the database had of it.
    read: HashMap<(Table, String), ((Table, String), Row)>,
    /// Rows that were not read so before, to be looked at.
    pub(super) changed: Vec<(Table, Columns)>,
    /// Entries of the ledger that were looked at, by their place in their table.
    looked_at: i64,
    pub(super) deaths: u64,
    /// How many refusals for want of a database are no failure, after it has failed over.
    pub(super) excused: u8,
    pub(super) pushes: u64,
    pub(super) conflicts: u64,
    pub(super) repeats: u64,
    /// What became of values that are not simply one side's.
    pub(super) events: BTreeMap<&'static str, u64>,
}

/// A copy of the database.
#[derive(Clone)]
pub(super) struct Backup {
    copy: PathBuf,
    /// As it was.
    reference: Reference,
    /// How much was written then.
    pub(super) written: usize,
    /// When that was, µs.
    pub(super) at: i64,
}

/// What administrators say to be let in.
pub(super) const ADMIN_TOKEN: &str = "the-administrators-own-token";

/// The server's configuration for the database at `url`.
pub(super) fn configuration(url: &str, perils: &Perils, is_young: bool) -> Config {
    let tables = Table::ALL.iter();
    let tables = tables.map(|table| table.configuration(perils, is_young));
    let kin = Kind::ALL.iter().filter(|_| perils.kin);
    let tables: String = tables
        .chain(kin.map(|kind| kind.configuration(perils)))
        .collect();
    let text = format!(
        "database_url = '{url}'\nadmin_token = '{ADMIN_TOKEN}'\n{tables}[limits]\npage_rows = 3\n\
         [database]\nconnections = 3\n"
    );
    Config::parse(&text, &Overrides::default()).unwrap()
}

impl Server {
    /// On a copy of `seedling`; if that is a file, it is made at `path`.
    pub(super) fn new(seedling: &Seedling, path: PathBuf, perils: &Perils) -> Server {
        let clock = Clock::default();
        let mut database = seedling.copy(path, &clock);
        if perils.bases {
            database.copy_files();
        }
        let mut server = Server {
            node: None,
            open: HashMap::new(),
            answers: 0,
            config: configuration(&database.url(), perils, perils.grows),
            perils: *perils,
            database,
            clock,
            reference: Reference::of_adopted(adopted(perils.grows), BEGINNING),
            backup: None,
            read: HashMap::new(),
            changed: Vec::new(),
            looked_at: 0,
            deaths: 0,
            excused: 0,
            pushes: 0,
            conflicts: 0,
            repeats: 0,
            events: BTreeMap::new(),
        };
        server.start();
        server
    }

    pub(super) fn start(&mut self) {
        // Its connections are new, and it knows no client yet.
        self.excused = 0;
        let node = Node::open(self.config.clone());
        self.node = Some(node.unwrap_or_else(|failure| panic!("the server: {failure}")));
    }

    pub(super) fn stop(&mut self) {
        // What a reader holds back would be waited for.
        self.open.clear();
        if let Some(node) = self.node.take() {
            node.close();
        }
    }

    /// Its tables get the columns that they lack, if they are young, and it is configured for them; whether they were.
    pub(super) fn grow(&mut self) -> bool {
        if !self.database.is_young() {
            return false;
        }
        self.stop();
        self.database.grow();
        self.config = configuration(&self.database.url(), &self.perils, false);
        self.start();
        true
    }

    pub(super) fn set_clock(&self, now: i64) {
        self.clock.store(now, Ordering::SeqCst);
        set_now(Time::from_micros(now));
    }

    pub(super) fn now(&self) -> i64 {
        clock::now(&self.clock)
    }

    pub(super) fn keep_house(&mut self) {
        self.node.as_ref().unwrap().keep_house().unwrap();
        self.reference.forget();
    }

    /// Has a request answered, and holds the answer and the database against the reference; what is to be read of a
    /// pull is made by [`Server::go_on`]. None if the server died of it, or has lost its database.
    ///
    /// # Errors
    /// If they differ.
    pub(super) fn answer(
        &mut self,
        sent: &Sent,
        accept: &mut dyn FnMut(&Json),
    ) -> Result<Option<Answer>, String> {
        if crash::server_died() {
            // Within an answer that nobody reads any more.
            self.died(None, None)?;
        }
        let write = self.write_of(sent);
        let may_die = write.is_some() && crash::is_awaited();
        let names_others = write.as_ref().is_some_and(Write::names_others);
        let may_be_refused = self.excused > 0;
        let before = (may_die || names_others || may_be_refused).then(|| self.reference.clone());
        let expected = write.as_ref().map(|write| match write {
            Write::Push(request) => self.reference.push(request),
            Write::Alone(request) => {
                let (receipt, ledger) = self.reference.alone(request);
                Expected::Receipts(vec![receipt], ledger)
            }
            Write::Decision(id, request) => self.reference.decide(id, request),
        });
        let node = self.node.as_ref().unwrap();
        let call = || {
            let line = (sent.method.as_str(), sent.path.as_str());
            let mut rest = node.call(line, &sent.headers, sent.body.clone())?;
            let mut answer = begun(&rest);
            // What writes is answered at once; a pull is made piece by piece.
            while write.is_some() && answer.take(node.piece(&mut rest)) {}
            Ok::<_, actix_web::Error>((answer, rest))
        };
        let answer = catch_unwind(AssertUnwindSafe(call));
        crash::until_written();
        if crash::server_died() {
            // A pull that has begun would wait for whoever reads it.
            drop(answer);
            let asked = write.as_ref().zip(expected.as_ref());
            let is_in = self.died(asked, before)?;
            if let (true, Some((write, expected))) = (is_in, asked) {
                write.accepted(expected).for_each(accept);
            }
            return Ok(None);
        }
        let (mut answer, rest) = match answer {
            Ok(Ok(both)) => both,
            Ok(Err(refused)) => return Err(format!("{sent:?} is answered {refused}")),
            Err(_panic) => return Err(format!("{sent:?} makes the server panic")),
        };
        if answer.status == 503 && may_be_refused {
            self.excused -= 1;
            if let Some(before) = before {
                self.reference = before;
            }
            *self.events.entry("refused after a failover").or_default() += 1;
            return self.compare().map(|()| None);
        }
        if answer.status >= 500 {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{sent:?} is answered {}: {body}", answer.status));
        }
        if let (Some(write), Some(mut expected)) = (&write, expected) {
            let refused = before.filter(|_| check::has_refused(&answer));
            if let Some(apart) = refused.and_then(|before| self.apart(before, write)) {
                expected = apart;
            }
            let expected = &expected;
            self.check(write, expected, &answer)?;
            write.accepted(expected).for_each(accept);
        } else {
            self.answers += 1;
            answer.rest = Some(self.answers);
            self.open.insert(self.answers, rest);
        }
        Ok(Some(answer))
    }

    /// Makes the next piece of an answer; false at its end. None if the server died of it.
    pub(super) fn go_on(&mut self, answer: &mut Answer) -> Result<Option<bool>, String> {
        let Some(number) = answer.rest else {
            return Ok(Some(false));
        };
        // It goes with the process that was making it.
        let (Some(node), Some(rest)) = (&self.node, self.open.get_mut(&number)) else {
            return Ok(None);
        };
        let piece = catch_unwind(AssertUnwindSafe(|| node.piece(rest)));
        if crash::server_died() {
            return self.died(None, None).map(|_| None);
        }
        let piece = piece.map_err(|_panic| "the server panics within an answer".to_owned())?;
        let goes_on = answer.take(piece);
        if !goes_on {
            self.open.remove(&number);
        }
        Ok(Some(goes_on))
    }

    /// The server died during a request: it holds all of it, or nothing. Whether it holds it.
    fn died(
        &mut self,
        asked: Option<(&Write, &Expected)>,
        before: Option<Reference>,
    ) -> Result<bool, String> {
        self.deaths += 1;
        // What is left of the process goes, too.
        drop(catch_unwind(AssertUnwindSafe(|| self.stop())));
        self.node = None;
        self.start();
        let (Some((write, expected)), Some(before)) = (asked, before) else {
            return Ok(false);
        };
        let mut after = self.compare();
        let is_new = match write {
            Write::Push(request) => {
                let sql = "SELECT client FROM colsync_pushes \
                           WHERE client = :? AND number = CAST(:? AS INTEGER)";
                let number = request.body["push"].to_string();
                !self
                    .database
                    .texts(sql, &[&request.client, &number])
                    .is_empty()
            }
            // One that loses changes nothing but the ledger.
            Write::Alone(_) => {
                let loses = matches!(expected, Expected::Receipts(_, lost) if !lost.is_empty());
                after.is_ok() && (!loses || self.last_entry() > self.looked_at)
            }
            Write::Decision(id, _) => self.resolved().contains(id),
        };
        if is_new {
            if after.is_err() && write.names_others() && self.apart(before, write).is_some() {
                after = self.compare();
            }
            after.map_err(|why| format!("after a death within {}\n{why}", write.request().body))?;
        } else {
            self.reference = before;
            self.compare()
                .map_err(|why| format!("after a death before {}\n{why}", write.request().body))?;
        }
        self.looked_at = self.last_entry();
        Ok(is_new)
    }

    /// The database has refused a row, and the reference knows nothing of some that it was to write with it. What it expects
    /// when each edit of a push is taken by itself.
    fn apart(&mut self, before: Reference, write: &Write) -> Option<Expected> {
        let Write::Push(request) = write else {
            return None;
        };
        self.reference = before;
        self.reference.is_apart = true;
        let expected = self.reference.push(request);
        self.reference.is_apart = false;
        Some(expected)
    }

    fn last_entry(&mut self) -> i64 {
        let sql = "SELECT json_array(coalesce(max(rowid), 0)) FROM colsync_conflicts";
        self.database.lines(sql, &[])[0][0].as_i64().unwrap()
    }

    /// Makes a copy of the database, to go back to.
    pub(super) fn back_up(&mut self, folder: &std::path::Path, written: usize) {
        let copy = self.database.copy(folder);
        self.backup = Some(Backup {
            copy,
            reference: self.reference.clone(),
            written,
            at: self.now(),
        });
    }

    /// Goes back to the copy, if there is one; gives that.
    pub(super) fn restore(&mut self) -> Option<Backup> {
        let backup = self.backup.clone()?;
        let fails_over = self.perils.fails_over && self.database.copies_files();
        if fails_over {
            self.excused = EXCUSED;
        } else {
            self.stop();
        }
        let was_young = self.database.is_young();
        self.database.replace(&backup.copy);
        let is_young = self.database.is_young();
        if is_young && !was_young {
            // What has been done to its tables since is done again, before anybody comes.
            self.stop();
            self.database.grow();
        }
        self.config = configuration(&self.database.url(), &self.perils, was_young);
        self.reference = backup.reference.clone();
        if self.node.is_none() {
            self.start();
        } else {
            *self.events.entry("database failed over").or_default() += 1;
        }
        self.looked_at = self.last_entry();
        Some(backup)
    }
}

/// Connections that break, and clients that the database knows no more, which are noted again by and by.
const EXCUSED: u8 = 50;

fn begun(answer: &simulation::Answer) -> Answer {
    Answer {
        status: answer.status,
        headers: answer.headers.clone(),
        body: Vec::new(),
        cut: false,
        rest: None,
    }
}

impl Answer {
    /// Takes the next piece; false at the end.
    fn take(&mut self, piece: Piece) -> bool {
        match piece {
            Piece::Bytes(bytes) => {
                self.body.extend(bytes);
                return true;
            }
            Piece::End => {}
            Piece::Cut => self.cut = true,
        }
        self.rest = None;
        false
    }
}
