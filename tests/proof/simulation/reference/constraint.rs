//! Edits that make a row which the database refuses, and pushes of which nothing is taken if one edit is not.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::{Ledgered, Owns, Receipt, Reference, Request, Row, canonical, key_of};
use crate::simulation::plan::Table;

/// What such an edit's receipt says.
pub(crate) const BROKEN: &str = "constraint_violation";
/// The status, and no code, of an acceptable edit in such a push.
pub(crate) const ROLLED_BACK: &str = "rolled_back";

impl Reference {
    /// Takes the edits of a request: all as one if the database takes what they come to, or else each by itself.
    pub(super) fn edits(
        &mut self,
        request: &Request,
        edits: &[Json],
    ) -> (Vec<Receipt>, Vec<Ledgered>) {
        if self.is_apart {
            return self.one_by_one(request, edits);
        }
        let may_break = edits.iter().any(names_too_much);
        let before = may_break.then(|| (self.rows.clone(), self.gone.clone()));
        match (self.together(request, edits), before) {
            (Some(done), _) => done,
            (None, Some((rows, gone))) => {
                (self.rows, self.gone) = (rows, gone);
                self.one_by_one(request, edits)
            }
            (None, None) => panic!("no edit breaks a constraint, and all together do"),
        }
    }

    /// Takes all of the edits, or none if one is not acceptable. What the database refused is told all the same.
    pub(super) fn all_or_none(
        &mut self,
        request: &Request,
        edits: &[Json],
    ) -> (Vec<Receipt>, Vec<Ledgered>) {
        let (rows, gone) = (self.rows.clone(), self.gone.clone());
        let (mut receipts, mut ledger) = self.edits(request, edits);
        if receipts.iter().any(|receipt| receipt.code.is_some()) {
            (self.rows, self.gone) = (rows, gone);
            let acceptable = receipts.iter_mut().filter(|receipt| receipt.code.is_none());
            acceptable.for_each(|receipt| *receipt = Receipt::rejected(ROLLED_BACK));
            ledger.retain(|entry| entry.kind == "constraint");
        }
        (receipts, ledger)
    }

    /// None if a constraint is broken when they are written: at the end, or where a row that they make is edited on or one
    /// that they edit is removed. What is not taken at its end is not written there.
    fn together(
        &mut self,
        request: &Request,
        edits: &[Json],
    ) -> Option<(Vec<Receipt>, Vec<Ledgered>)> {
        let (mut own, mut ledger, mut receipts) = (Owns::new(), Vec::new(), Vec::new());
        let (mut touched, mut made) = (BTreeSet::new(), BTreeSet::new());
        for edit in edits {
            let key = key_of(edit);
            let is_removed = edit["op"] == "hard_delete" && touched.contains(&key);
            if made.contains(&key) || is_removed {
                if touched.iter().any(|key| self.breaks(key)) {
                    return None;
                }
                made.clear();
            }
            let is_new = !self.rows.contains_key(&key);
            receipts.push(self.edit(request, edit, &mut own, &mut ledger));
            if is_new && self.rows.contains_key(&key) {
                made.insert(key.clone());
            }
            touched.insert(key);
        }
        let is_undone = is_atomic(request) && receipts.iter().any(|it| it.code.is_some());
        let breaks = touched.iter().any(|key| self.breaks(key));
        (!breaks || is_undone).then_some((receipts, ledger))
    }

    fn one_by_one(&mut self, request: &Request, edits: &[Json]) -> (Vec<Receipt>, Vec<Ledgered>) {
        let (mut own, mut ledger) = (Owns::new(), Vec::new());
        let receipts = edits.iter().map(|edit| {
            let key = key_of(edit);
            let row = self.rows.get(&key).cloned();
            let gone = self.gone.get(&key).copied();
            let (own_before, many) = (own.get(&key).cloned(), ledger.len());
            let receipt = self.edit(request, edit, &mut own, &mut ledger);
            if !self.breaks(&key) {
                return receipt;
            }
            self.rows.remove(&key);
            self.rows.extend(row.map(|row| (key.clone(), row)));
            self.gone.extend(gone.map(|version| (key.clone(), version)));
            own.insert(key.clone(), own_before.unwrap_or_default());
            ledger.truncate(many);
            ledger.push(refused(&key, edit));
            Receipt::rejected(BROKEN)
        });
        (receipts.collect(), ledger)
    }

    fn breaks(&self, key: &(Table, String)) -> bool {
        let is_broken = |row: &Row| {
            let bound = key.0.bounded();
            bound.is_some_and(|(name, bound)| row.cells[name].value.as_i64() >= Some(bound))
        };
        self.rows.get(key).is_some_and(is_broken)
    }
}

/// Whether all edits of a request are taken, or none.
pub(super) fn is_atomic(request: &Request) -> bool {
    request.body["atomic"] == json!(true)
}

/// Whether an edit names a value that the database refuses.
fn names_too_much(edit: &Json) -> bool {
    let bound = key_of(edit).0.bounded();
    bound.is_some_and(|(name, bound)| edit["columns"][name]["value"].as_i64() >= Some(bound))
}

/// What the ledger has of an edit that was refused.
fn refused((table, id): &(Table, String), edit: &Json) -> Ledgered {
    let sent = edit["columns"].as_object().into_iter().flatten();
    let sent: Map<String, Json> = sent
        .map(|(name, column)| (name.clone(), column["value"].clone()))
        .collect();
    Ledgered {
        table: table.name(),
        row: id.clone(),
        kind: "constraint",
        column: None,
        kept: None,
        lost: Some(canonical(&Json::Object(sent))),
    }
}
