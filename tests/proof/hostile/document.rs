//! What `/openapi.json` says of the answers to a call, to hold every answer to it.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::exchange::Answer;
use super::subject::Subject;

/// The document.
pub(super) struct Document(Json);

impl Document {
    pub(super) fn read(subject: &Subject) -> Document {
        Document(
            subject
                .server
                .anonymous()
                .get("/openapi.json")
                .expect(200)
                .json(),
        )
    }

    /// How many calls it tells.
    pub(super) fn calls(&self) -> u64 {
        let paths = self.0["paths"].as_object().unwrap().values();
        let calls: usize = paths.map(|item| item.as_object().unwrap().len()).sum();
        calls as u64
    }

    /// The documented path of a call; `None` where there is none.
    pub(super) fn call(&self, method: &str, path: &str) -> Option<String> {
        let path = path.split('?').next().unwrap_or_default();
        let steps: Vec<&str> = path.split('/').collect();
        let paths = self.0["paths"].as_object().unwrap();
        let found = paths.keys().find(|known| {
            let known: Vec<&str> = known.split('/').collect();
            known.len() == steps.len()
                && known.iter().zip(&steps).all(|(known, step)| {
                    known == step || (known.starts_with('{') && !step.is_empty())
                })
        })?;
        let is_there = paths[found].get(method.to_lowercase()).is_some();
        // Methods are told by their case, too.
        (is_there && method == method.to_uppercase()).then(|| found.clone())
    }

    /// What of `answer` the document does not tell of this call.
    pub(super) fn untold(&self, method: &str, call: &str, answer: &Answer) -> Option<String> {
        let told = &self.0["paths"][call][method.to_lowercase()]["responses"];
        // What is no HTTP is answered before it is known which call it is.
        if [400, 408].contains(&answer.status) && answer.body.is_empty() {
            return None;
        }
        let status = answer.status.to_string();
        let Some(told) = told.get(&status) else {
            return Some(format!("status {status}"));
        };
        if answer.status < 400 {
            return None;
        }
        if answer.media_type != "application/problem+json" {
            return Some(format!("media type {:?} of {status}", answer.media_type));
        }
        let schema = &told["content"]["application/problem+json"]["schema"]["allOf"];
        let parts = schema.as_array().into_iter().flatten();
        let codes: BTreeSet<&str> = parts
            .filter_map(|part| part["properties"]["code"]["enum"].as_array())
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        (!codes.contains(answer.code.as_str())).then(|| format!("{status} {}", answer.code))
    }
}
