//! What the API answers.

use percent_encoding::percent_decode_str;

use super::World;
use crate::simulation::wire::{Answer, Sent};

impl World {
    /// The API answers a request.
    pub(super) fn answer_to(&mut self, sent: &Sent) -> Answer {
        let answer = self.api.answer(sent);
        if sent.method != "GET" {
            match answer.status {
                200..300 => {
                    let body = serde_json::from_slice(&sent.body).unwrap_or_default();
                    self.cast.journal.accept(&body);
                    self.cast.count("pushes");
                }
                412 => self.cast.count("stale write"),
                _ => self.cast.count("refused write"),
            }
        }
        self.cast.tell(|| {
            let body = String::from_utf8_lossy(&answer.body);
            format!("  {}\n    {} {body}", sent.told(), answer.status)
        });
        answer
    }

    /// Whether a write has arrived, its client cannot always tell: if others write the row, too, it may count again.
    pub(super) fn doubt(&mut self, sent: &Sent) {
        if sent.method == "GET" {
            return;
        }
        let told = percent_decode_str(&sent.told())
            .decode_utf8_lossy()
            .into_owned();
        let named = self.cast.journal.counts().map(|(id, _)| id.clone());
        let named: Vec<String> = named.filter(|id| told.contains(id)).collect();
        named.iter().for_each(|id| self.cast.journal.lose_count(id));
    }
}
