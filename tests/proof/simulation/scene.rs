//! A simulation as it is taken through a plan, whatever its devices sync with: their syncs, call by call, what becomes of
//! each on its way, and how all comes to rest.

use std::io;

use colsync_client::{Error, Report};

use super::cast::Cast;
use super::crash::Death;
use super::device::{Call, Ended, Reply};
use super::plan::{Fault, Moment, Plan, Step, Sync};
use super::suite::caught;
use super::wire::{Answer, Sent};
use super::world::Counts;

/// A simulation.
pub(super) trait Scene: Sized {
    /// Rounds of syncs after which everything must have come to rest.
    const ROUNDS: usize;

    fn cast(&mut self) -> &mut Cast;

    /// Time goes by, for all.
    fn wait(&mut self, micros: i64);

    /// Takes one step.
    ///
    /// # Errors
    /// A promise that it broke.
    fn step(&mut self, step: &Step) -> Result<(), String>;

    /// The other side answers a request; none if it died of it, or could not.
    fn deliver(&mut self, sent: &Sent) -> Result<Option<Answer>, String>;

    /// Makes the next piece of an answer; false at its end. None if the other side died of it.
    fn go_on(&mut self, answer: &mut Answer) -> Result<Option<bool>, String>;

    /// A request sets out, and this becomes of it.
    fn sets_out(&mut self, sent: &Sent, fault: Fault);

    /// A device's sync is over.
    fn has_ended(&mut self, device: usize, ended: &Ended) -> Result<(), String>;

    /// How many refusals the other side is still excused for.
    fn excused(&self) -> u8;

    /// The faults are over: everybody syncs until nothing moves any more.
    ///
    /// # Errors
    /// A promise that was broken.
    fn come_to_rest(&mut self) -> Result<(), String>;

    /// What must hold when everything has come to rest.
    ///
    /// # Errors
    /// A promise that was broken.
    fn check(&mut self) -> Result<(), String>;

    /// Ends it, and tells what was done.
    fn end(self) -> Counts;

    /// Takes it through a plan; what that breaks.
    fn through(&mut self, plan: &Plan) -> Option<String> {
        caught(|| {
            for (number, step) in plan.steps.iter().enumerate() {
                self.step(step)
                    .map_err(|broken| format!("step {number}: {broken}"))?;
            }
            self.come_to_rest()?;
            self.check()
        })
    }

    fn deliver_late(&mut self, which: usize) -> Result<(), String> {
        let late = &mut self.cast().late;
        if late.is_empty() {
            return Ok(());
        }
        let sent = late.remove(which % late.len());
        self.cast().count("request arrived late");
        self.deliver(&sent).map(drop)
    }

    fn deliver_all_late(&mut self) -> Result<(), String> {
        while !self.cast().late.is_empty() {
            self.deliver_late(0)?;
        }
        Ok(())
    }

    /// A client syncs; its report, if it came to an end.
    fn sync(&mut self, sync: &Sync) -> Result<Option<Report>, String> {
        let death = sync.killed.map(|(step, nth)| Death::of_client(step, nth));
        let syncing = self.cast().devices[sync.device].sync(sync, death);
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
            let cast = self.cast();
            let clock = cast.now + cast.devices[sync.device].ahead;
            call.answer(reply, clock);
        }
        let ended = self.cast().devices[sync.device].end(syncing);
        broken?;
        self.has_ended(sync.device, &ended)?;
        match ended {
            Ended::Killed => {
                self.cast().count("client killed");
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
                self.cast().count("meanwhile");
                self.step(step)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, sync: &Sync, number: usize, call: &Call) -> Result<Reply, String> {
        let sent = Sent::of(&call.request);
        let fault = sync.calls.get(number).copied().unwrap_or(Fault::Well);
        self.wait(20_000);
        self.meanwhile(sync, Moment::Before(number))?;
        self.sets_out(&sent, fault);
        let cut = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        match fault {
            Fault::RequestLost => {
                self.cast().count("request lost");
                return Ok(cut());
            }
            Fault::RequestLate => {
                self.cast().count("request late");
                self.cast().late.push(sent);
                return Ok(Err(io::ErrorKind::TimedOut.into()));
            }
            Fault::Gateway => {
                self.cast().count("502");
                return Ok(Ok(Answer::bare(502).arriving(false)));
            }
            Fault::RequestAgain => {
                self.cast().count("request again");
                self.cast().late.push(sent.clone());
            }
            Fault::RequestTwice => {
                self.cast().count("request twice");
                self.deliver(&sent)?;
            }
            Fault::Well | Fault::AnswerLost | Fault::AnswerCut(_) => {}
        }
        let Some(mut answer) = self.deliver(&sent)? else {
            return Ok(cut());
        };
        let mut piece = 0;
        loop {
            match self.go_on(&mut answer)? {
                // What was sent before the other side died has arrived.
                None => {
                    answer.cut = true;
                    break;
                }
                Some(false) => break,
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
                self.cast().count("answer lost");
                cut()
            }
            Fault::AnswerCut(at) => {
                self.cast().count("answer cut");
                let left = answer.body.len() * usize::from(at) / 255;
                answer.body.truncate(left);
                Ok(answer.arriving(true))
            }
            _ => {
                let cut = answer.cut;
                Ok(answer.arriving(cut))
            }
        })
    }

    /// Everybody syncs until nothing moves any more.
    fn settle_down(&mut self) -> Result<(), String> {
        for _ in 0..Self::ROUNDS {
            let mut moved = false;
            for device in 0..self.cast().devices.len() {
                self.wait(1_000_000);
                let excused = self.excused();
                let Some(report) = self.sync(&Sync::without_faults(device))? else {
                    if self.excused() == excused {
                        return Err(format!("device {device} cannot sync"));
                    }
                    moved = true;
                    continue;
                };
                moved |= report.pushed + report.pulled + report.removed > 0;
            }
            if !moved {
                return Ok(());
            }
        }
        Err("nobody comes to rest".to_owned())
    }
}
