//! A client's sync with the API, call by call, and what becomes of each on its way.

use std::io;

use colsync_client::{Error, Report};
use percent_encoding::percent_decode_str;

use super::World;
use crate::simulation::crash::Death;
use crate::simulation::device::{Call, Ended, Reply, reply};
use crate::simulation::plain::api::Answer;
use crate::simulation::plan::{Fault, Moment, Sync};
use crate::simulation::server::Sent;

impl World {
    pub(super) fn deliver(&mut self, sent: &Sent) -> Answer {
        let answer = self.api.answer(sent);
        if sent.method != "GET" {
            match answer.status {
                200..300 => {
                    let body = serde_json::from_slice(&sent.body).unwrap_or_default();
                    self.journal.accept(&body);
                    self.count("pushes");
                }
                412 => self.count("stale write"),
                _ => self.count("refused write"),
            }
        }
        self.tell(|| {
            let body = String::from_utf8_lossy(&answer.body);
            format!("  {}\n    {} {body}", sent.told(), answer.status)
        });
        answer
    }

    /// Whether a write has arrived, its client cannot always tell: if others write the row, too, it may count again.
    fn doubt(&mut self, sent: &Sent) {
        if sent.method == "GET" {
            return;
        }
        let told = percent_decode_str(&sent.told())
            .decode_utf8_lossy()
            .into_owned();
        let named = self.journal.counts().map(|(id, _)| id.clone());
        let named: Vec<String> = named.filter(|id| told.contains(id)).collect();
        named.iter().for_each(|id| self.journal.lose_count(id));
    }

    pub(super) fn deliver_late(&mut self, which: usize) {
        if !self.late.is_empty() {
            let sent = self.late.remove(which % self.late.len());
            self.count("request arrived late");
            self.deliver(&sent);
        }
    }

    /// A client syncs; its report, if it came to an end.
    pub(super) fn sync(&mut self, sync: &Sync) -> Result<Option<Report>, String> {
        let death = sync.killed.map(|(step, nth)| Death::of_client(step, nth));
        let syncing = self.devices[sync.device].sync(sync, death);
        let mut number = 0;
        let mut broken = Ok(());
        let mut sent = None;
        while let Some(call) = syncing.call() {
            sent = Some(Sent::of(&call.request));
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
        match ended {
            Ended::Killed => {
                self.count("client killed");
                if let Some(sent) = sent {
                    self.doubt(&sent);
                }
                Ok(None)
            }
            Ended::Well(report) => Ok(Some(report)),
            Ended::Badly(Error::Unreachable(_) | Error::Nonsense(_)) => Ok(None),
            Ended::Badly(failure) => Err(format!("device {}: {failure:?}", sync.device)),
        }
    }

    fn meanwhile(&mut self, sync: &Sync, number: usize, is_after: bool) -> Result<(), String> {
        for (moment, step) in &sync.meanwhile {
            let is_now = match *moment {
                Moment::Before(of) | Moment::Piece(of, _) => of == number && !is_after,
                Moment::After(of) => of == number && is_after,
            };
            if is_now {
                self.count("meanwhile");
                self.step(step)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, sync: &Sync, number: usize, call: &Call) -> Result<Reply, String> {
        let sent = Sent::of(&call.request);
        let fault = sync.calls.get(number).copied().unwrap_or(Fault::Well);
        self.wait(20_000);
        self.meanwhile(sync, number, false)?;
        if fault != Fault::Well {
            self.doubt(&sent);
        }
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
                self.deliver(&sent);
            }
            Fault::Well | Fault::AnswerLost | Fault::AnswerCut(_) => {}
        }
        let Answer {
            status,
            headers,
            mut body,
        } = self.deliver(&sent);
        self.wait(20_000);
        self.meanwhile(sync, number, true)?;
        Ok(match fault {
            Fault::AnswerLost => {
                self.count("answer lost");
                cut()
            }
            Fault::AnswerCut(at) => {
                self.count("answer cut");
                body.truncate(body.len() * usize::from(at) / 255);
                Ok(reply(status, &headers, body, true))
            }
            _ => Ok(reply(status, &headers, body, false)),
        })
    }
}
