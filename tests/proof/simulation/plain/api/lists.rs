//! What the API tells of all rows of a table.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value as Json, json};

use super::{Api, Row, strong};
use crate::simulation::plain::manner::{Deletes, Ends, Etags, LAG, PAGE, Pages, Times};
use crate::simulation::plain::parts::Resource;
use crate::simulation::wire::Answer;

impl Api {
    /// The rows that lists are made of.
    fn listed(&mut self, resource: Resource) -> Vec<(String, Row)> {
        let tables = if self.manner.lags {
            let is_fresh = |since: i64| self.now - since <= LAG;
            if !self.behind.as_ref().is_some_and(|(at, _)| is_fresh(*at)) {
                self.behind = Some((self.now, self.tables.clone()));
            }
            &self.behind.as_ref().unwrap().1
        } else {
            &self.tables
        };
        let rows = tables[&resource].iter();
        rows.map(|(id, row)| (id.clone(), row.clone())).collect()
    }

    pub(super) fn list(&mut self, resource: Resource, query: &str, known: Option<&str>) -> Answer {
        let rows = self.listed(resource);
        let last = rows.iter().map(|(_, row)| row.etag).max().unwrap_or(0);
        let tells_all = self.manner.deletes == Deletes::Told;
        let shown = rows.iter().filter(|(_, row)| tells_all || !row.is_deleted);
        let told: Vec<(&String, Json)> = shown.map(|(id, row)| (id, self.told(row))).collect();
        match self.manner.pages {
            Pages::Whole => {
                let last = if self.manner.hashes {
                    hash(&told)
                } else {
                    last
                };
                let weak = format!("W/{}", strong(last));
                if self.manner.etags != Etags::Not
                    && (known == Some(&strong(last)) || known == Some(&weak))
                {
                    return Answer::bare(304);
                }
                self.with_etag(self.page(rows_of(&told)), last)
            }
            Pages::Numbered => {
                let told: Vec<Json> = rows_of(&told).collect();
                self.numbered(query, &told)
            }
            Pages::Linked => {
                let after = parameter(query, "after").unwrap_or_default();
                let rest = told.partition_point(|(id, _)| id.as_str() <= after);
                let rest = &told[rest..];
                let answer = self.page(rows_of(&rest[..PAGE.min(rest.len())]));
                match rest.get(PAGE - 1).filter(|_| rest.len() > PAGE) {
                    None => answer,
                    Some((last, _)) => {
                        let next = format!("/{}?size={PAGE}&after={last}", resource.name());
                        answer.with("Link", format!("<{next}>; rel=\"next\""))
                    }
                }
            }
        }
    }

    pub(super) fn changes(&mut self, resource: Resource, query: &str) -> Answer {
        let since = parameter(query, "since").unwrap();
        let since = match self.manner.times {
            Times::Millis => json!(since.parse::<i64>().unwrap()),
            _ => json!(since),
        };
        let since = self.micros(&since).unwrap();
        let rows = self.listed(resource).into_iter();
        let rows = rows.filter(|(_, row)| row.modified >= since);
        let told = rows.map(|(_, row)| {
            let mut told = self.told(&row);
            told["deleted"] = json!(row.is_deleted);
            told
        });
        let told: Vec<Json> = told.collect();
        match self.manner.pages {
            Pages::Numbered => self.numbered(query, &told),
            Pages::Whole | Pages::Linked => self.page(told.into_iter()),
        }
    }

    /// The page that is asked for, or what comes after the last one.
    fn numbered(&self, query: &str, told: &[Json]) -> Answer {
        let number: usize = parameter(query, "page").unwrap().parse().unwrap();
        let from = ((number - 1) * PAGE).min(told.len());
        if number > 1 && from == told.len() {
            match self.manner.ends {
                Ends::Empty => {}
                Ends::Refused(status) => return Answer::bare(status),
                Ends::Null if self.manner.wraps => {
                    return Answer::of(200, &json!({ "data": null }));
                }
                Ends::Null => return Answer::of(200, &Json::Null),
            }
        }
        self.page(told[from..(from + PAGE).min(told.len())].iter().cloned())
    }

    fn page(&self, rows: impl Iterator<Item = Json>) -> Answer {
        let rows = Json::from_iter(rows);
        if self.manner.wraps {
            return Answer::of(200, &json!({ "data": rows, "many": 1 }));
        }
        Answer::of(200, &rows)
    }
}

/// The same as long as the rows are.
fn hash(told: &[(&String, Json)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (_, row) in told {
        row.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

fn rows_of(told: &[(&String, Json)]) -> impl Iterator<Item = Json> {
    told.iter().map(|(_, row)| row.clone())
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}
