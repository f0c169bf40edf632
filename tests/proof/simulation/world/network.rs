//! What the server answers, and what of it is looked at.

use super::World;
use crate::simulation::journal::group_of;
use crate::simulation::server::plain;
use crate::simulation::wire::{Answer, Sent};

impl World {
    /// The server answers a request; none if it died of it, or has lost its database.
    pub(super) fn answer_to(&mut self, sent: &Sent) -> Result<Option<Answer>, String> {
        self.let_go_for(sent)?;
        let deaths = self.server.deaths;
        let journal = &mut self.cast.journal;
        let answer = self.server.answer(sent, &mut |body| journal.accept(body));
        let answer = answer.and_then(|answer| self.mixed().map(|()| answer));
        if self.cast.trace.is_some() {
            let told = match &answer {
                Ok(Some(answer)) => format!("{} {}", answer.status, plain(answer)),
                Ok(None) => "the server dies, or has lost its database".to_owned(),
                Err(why) => why.clone(),
            };
            self.cast.tell(|| format!("  {}\n    {told}", sent.told()));
        }
        let answer = answer?;
        if self.has_kin && sent.method == "POST" {
            self.kin.note(&mut self.server.database);
        }
        if self.server.deaths > deaths {
            self.cast.count("server killed");
        }
        Ok(answer)
    }

    /// Makes the next piece of an answer; false at its end. None if the server died of it.
    pub(super) fn next_piece(&mut self, answer: &mut Answer) -> Result<Option<bool>, String> {
        let goes_on = self.server.go_on(answer)?;
        match goes_on {
            None => self.cast.count("server killed"),
            Some(false) => self.cast.tell(|| format!("    {}", lines(answer))),
            Some(true) => {}
        }
        Ok(goes_on)
    }

    /// Counts how a push is written.
    pub(super) fn count_way(&mut self, sent: &Sent) {
        match sent.path.as_str() {
            "/v1/sync/log" => self.cast.count("log pushed"),
            "/v1/sync/rows" => self.cast.count("whole rows pushed"),
            _ => {}
        }
    }

    /// A device's file holds no mixture.
    pub(super) fn has_no_mixture(&mut self, device: usize) -> Result<(), String> {
        match self.cast.devices[device].mixture(&self.cast.journal) {
            Some(group) => Err(format!("device {device} has a mixture {group}")),
            None => Ok(()),
        }
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
            if self.cast.journal.is_mixture(table, &group) {
                return Err(format!("the server has a mixture {group}"));
            }
        }
        Ok(())
    }
}

/// The lines of a pull.
fn lines(answer: &Answer) -> String {
    let plain = zstd::decode_all(answer.body.as_slice()).unwrap_or_else(|_| answer.body.clone());
    String::from_utf8_lossy(&plain).replace('\n', "\n    ")
}
