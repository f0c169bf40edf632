//! What the API answers.

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use super::World;
use crate::simulation::database::Columns;
use crate::simulation::plain::api::Api;
use crate::simulation::plain::manner::Etags;
use crate::simulation::plain::parts::Resource;
use crate::simulation::wire::{Answer, Sent};

impl World {
    /// The API answers a request.
    pub(super) fn answer_to(&mut self, sent: &Sent) -> Answer {
        let meant = Api::meant(sent);
        let before = meant
            .as_ref()
            .and_then(|(table, id)| self.api.row(*table, id));
        let answer = self.api.answer(sent);
        self.lose_parts();
        if let Some((table, id)) = meant {
            match sent.method.as_str() {
                "GET" => drop(self.shown.insert((table, id), before.unwrap_or_default())),
                _ if self.manner.etags == Etags::Strong => {}
                _ => self.lose_unseen(sent, (table, &id), &before.unwrap_or_default()),
            }
        }
        if sent.method != "GET" {
            match answer.status {
                200..300 => {
                    self.accept(sent);
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

    /// What the API has taken of a write.
    fn accept(&mut self, sent: &Sent) {
        let mut body: Json = serde_json::from_slice(&sent.body).unwrap_or_default();
        if self.manner.ignores && sent.path.starts_with("/notes") {
            let row = match body.get_mut("item") {
                Some(row) => row,
                None => &mut body,
            };
            if let Some(row) = row.as_object_mut() {
                row.remove("body");
            }
        }
        self.cast.journal.accept(&body);
    }

    /// A write without a condition may replace what its writer was not shown, and nobody could help it.
    fn lose_unseen(&mut self, sent: &Sent, (table, id): (Resource, &str), before: &Columns) {
        let after = self.api.row(table, id).unwrap_or_default();
        let shown = self.in_view.get(&sent.told()).unwrap_or(before);
        let unseen = before.iter().filter(|(name, value)| {
            after.get(*name) != Some(*value) && shown.get(*name) != Some(*value)
        });
        let unseen: Vec<Json> = unseen.map(|(_, value)| value.clone()).collect();
        if unseen.is_empty() {
            return;
        }
        unseen.iter().for_each(|value| self.cast.journal.see(value));
        self.cast.journal.lose_count(id);
        self.cast.count("written over unseen");
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
