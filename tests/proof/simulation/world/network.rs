//! A client's sync, call by call, and what becomes of each on its way.

use std::io;

use colsync_client::{Error, Report};

use super::World;
use crate::simulation::crash::Death;
use crate::simulation::device::{Call, Ended, Reply, reply};
use crate::simulation::journal::group_of;
use crate::simulation::plan::{Fault, Moment, Sync};
use crate::simulation::server::{Answer, Sent, plain};

impl World {
    /// The server answers a request; none if it died of it, or has lost its database.
    pub(super) fn deliver(&mut self, sent: &Sent) -> Result<Option<Answer>, String> {
        self.let_go_for(sent)?;
        let deaths = self.server.deaths;
        let journal = &mut self.journal;
        let answer = self.server.answer(sent, &mut |body| journal.accept(body));
        let answer = answer.and_then(|answer| self.mixed().map(|()| answer));
        if self.trace.is_some() {
            let told = match &answer {
                Ok(Some(answer)) => format!("{} {}", answer.status, plain(answer)),
                Ok(None) => "the server dies, or has lost its database".to_owned(),
                Err(why) => why.clone(),
            };
            self.tell(|| format!("  {}\n    {told}", sent.told()));
        }
        let answer = answer?;
        if self.has_kin && sent.method == "POST" {
            self.kin.note(&mut self.server.database);
        }
        if self.server.deaths > deaths {
            self.count("server killed");
        }
        Ok(answer)
    }

    /// The database is as the reference has it, and holds no mixtures.
    pub(super) fn compare(&mut self) -> Result<(), String> {
        self.server.compare()?;
        self.mixed()
    }

    /// Whether a row that changed holds a mixture.
    fn mixed(&mut self) -> Result<(), String> {
        for (table, row) in self.server.changed.drain(..) {
            let group = group_of(table, &row);
            if self.journal.is_mixture(table, &group) {
                return Err(format!("the server has a mixture {group}"));
            }
        }
        Ok(())
    }

    pub(super) fn deliver_late(&mut self, which: usize) -> Result<(), String> {
        if self.late.is_empty() {
            return Ok(());
        }
        let sent = self.late.remove(which % self.late.len());
        self.count("request arrived late");
        self.deliver(&sent).map(drop)
    }

    /// A client syncs; its report, if it came to an end.
    pub(super) fn sync(&mut self, sync: &Sync) -> Result<Option<Report>, String> {
        let death = sync.killed.map(|(step, nth)| Death::of_client(step, nth));
        let syncing = self.devices[sync.device].sync(sync, death);
        let mut number = 0;
        let mut broken = Ok(());
        while let Some(call) = syncing.call() {
            let reply = match broken {
                Ok(()) => self.call(sync, number, &call),
                Err(_) => Ok(Err(io::ErrorKind::ConnectionRefused.into())),
            };
            number += 1;
            let reply = reply.unwrap_or_else(|why| {
                broken = Err(why);
                Err(io::ErrorKind::ConnectionRefused.into())
            });
            let clock = self.now + self.devices[sync.device].ahead;
            call.answer(reply, clock);
        }
        let ended = self.devices[sync.device].end(syncing);
        broken?;
        if let Some(group) = self.devices[sync.device].mixture(&self.journal) {
            return Err(format!("device {} has a mixture {group}", sync.device));
        }
        match ended {
            Ended::Killed => {
                self.count("client killed");
                Ok(None)
            }
            Ended::Well(report) => Ok(Some(report)),
            Ended::Badly(failure @ (Error::Unreachable(_) | Error::Nonsense(_))) => {
                log::debug!("{failure}");
                Ok(None)
            }
            Ended::Badly(failure) => Err(format!("device {}: {failure:?}", sync.device)),
        }
    }

    fn meanwhile(&mut self, sync: &Sync, now: Moment) -> Result<(), String> {
        for (moment, step) in &sync.meanwhile {
            if *moment == now {
                self.count("meanwhile");
                self.step(step)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, sync: &Sync, number: usize, call: &Call) -> Result<Reply, String> {
        let sent = Sent::of(&call.request);
        let fault = sync.calls.get(number).copied().unwrap_or(Fault::Well);
        match sent.path.as_str() {
            "/v1/sync/log" => self.count("log pushed"),
            "/v1/sync/rows" => self.count("whole rows pushed"),
            _ => {}
        }
        self.wait(20_000);
        self.meanwhile(sync, Moment::Before(number))?;
        let cut = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        match fault {
            Fault::RequestLost => {
                self.count("request lost");
                return Ok(cut());
            }
            Fault::RequestLate => {
                self.count("request late");
                self.late.push(sent);
                return Ok(Err(io::ErrorKind::TimedOut.into()));
            }
            Fault::Gateway => {
                self.count("502");
                return Ok(Ok(reply(502, &[], Vec::new(), false)));
            }
            Fault::RequestAgain => {
                self.count("request again");
                self.late.push(sent.clone());
            }
            Fault::RequestTwice => {
                self.count("request twice");
                self.deliver(&sent)?;
            }
            Fault::Well | Fault::AnswerLost | Fault::AnswerCut(_) => {}
        }
        let Some(mut answer) = self.deliver(&sent)? else {
            return Ok(cut());
        };
        let mut piece = 0;
        loop {
            match self.server.go_on(&mut answer)? {
                // What was sent before the server died has arrived.
                None => {
                    self.count("server killed");
                    answer.cut = true;
                    break;
                }
                Some(false) => {
                    self.tell(|| format!("    {}", lines(&answer)));
                    break;
                }
                Some(true) => {
                    self.meanwhile(sync, Moment::Piece(number, piece))?;
                    piece += 1;
                }
            }
        }
        self.wait(20_000);
        self.meanwhile(sync, Moment::After(number))?;
        Ok(match fault {
            Fault::AnswerLost => {
                self.count("answer lost");
                cut()
            }
            Fault::AnswerCut(at) => {
                self.count("answer cut");
                let mut body = answer.body;
                body.truncate(body.len() * usize::from(at) / 255);
                Ok(reply(answer.status, &answer.headers, body, true))
            }
            _ => Ok(reply(
                answer.status,
                &answer.headers,
                answer.body,
                answer.cut,
            )),
        })
    }
}

/// The lines of a pull.
fn lines(answer: &Answer) -> String {
    let plain = zstd::decode_all(answer.body.as_slice()).unwrap_or_else(|_| answer.body.clone());
    String::from_utf8_lossy(&plain).replace('\n', "\n    ")
}
