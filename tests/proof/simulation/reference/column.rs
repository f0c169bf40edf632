//! One column of an edit: the table of DESIGN.md, section 4.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Cell, NOBODY, Stamp};
use crate::simulation::tables::Rule;

/// An edit of one column.
pub(super) struct Wanted<'a> {
    pub(super) value: &'a Json,
    pub(super) base: Option<&'a Json>,
    pub(super) base_version: Option<i64>,
    pub(super) stamp: Stamp,
}

/// What becomes of it.
pub(super) struct Became {
    pub(super) outcome: &'static str,
    pub(super) cell: Cell,
    /// The value that lost.
    pub(super) lost: Option<Json>,
    /// Whether that was replaced by a bare write, and both sides' writers did not meet.
    pub(super) is_blind: bool,
}

impl Became {
    /// Of which nothing is lost.
    pub(super) fn of(outcome: &'static str, cell: Cell) -> Became {
        Became {
            outcome,
            cell,
            lost: None,
            is_blind: false,
        }
    }
}

/// What was in the edit's view, of a row at `row_version` of which earlier edits of the push made the versions `own`.
/// Nothing is known where the base is of another history, or there is none.
pub(super) fn saw(
    version: i64,
    base_version: Option<i64>,
    row_version: i64,
    own: &[i64],
) -> Option<bool> {
    if version == 0 || own.contains(&version) {
        return Some(true);
    }
    match base_version {
        Some(base) if base <= row_version => Some(version <= base),
        _ => None,
    }
}

/// Merges an edit into a column, of a table that may record what bare writes replace.
pub(super) fn merge(
    (rule, records): (Rule, bool),
    current: &Cell,
    edit: &Wanted<'_>,
    row_version: i64,
    own: &[i64],
) -> Became {
    let told = saw(current.version, edit.base_version, row_version, own);
    let is_base = edit.base == Some(&current.value);
    let mixed_since =
        own.contains(&current.version) && edit.base.is_some_and(|base| *base != current.value);
    let in_view = is_base || (told == Some(true) && !mixed_since);
    let next = row_version + 1;
    let unseen_count = rule == Rule::Count && !in_view && edit.base.is_some();
    if *edit.value == current.value && !unseen_count {
        let stamp = match &current.stamp {
            Some(stamp) if *stamp >= edit.stamp => stamp.clone(),
            _ => edit.stamp.clone(),
        };
        let cell = Cell {
            stamp: Some(stamp),
            ..current.clone()
        };
        return Became::of("unchanged", cell);
    }
    let applied = |stamp: Stamp, lost: Option<Json>| {
        let cell = Cell {
            value: edit.value.clone(),
            stamp: Some(stamp),
            version: next,
        };
        Became {
            lost,
            ..Became::of("applied", cell)
        }
    };
    if in_view {
        let after = current
            .stamp
            .as_ref()
            .map_or(i64::MIN, |(time, _)| time + 1);
        return applied((edit.stamp.0.max(after), edit.stamp.1.clone()), None);
    }
    let is_bare = told.is_none() && edit.base_version.is_none() && edit.base.is_none();
    if is_bare
        && current
            .stamp
            .as_ref()
            .is_some_and(|stamp| *stamp <= edit.stamp)
    {
        let is_told = records && !is_by(current.stamp.as_ref(), &edit.stamp.1);
        return Became {
            is_blind: true,
            ..applied(edit.stamp.clone(), is_told.then(|| current.value.clone()))
        };
    }
    let keep = |outcome: &'static str| Became {
        lost: Some(edit.value.clone()),
        ..Became::of(outcome, current.clone())
    };
    let take = || applied(edit.stamp.clone(), Some(current.value.clone()));
    let mix = |value: Json| {
        let time = current
            .stamp
            .as_ref()
            .map_or(edit.stamp.0, |(time, _)| edit.stamp.0.max(*time));
        let cell = if value == current.value {
            current.clone()
        } else {
            Cell {
                value,
                stamp: Some((time, edit.stamp.1.clone())),
                version: next,
            }
        };
        Became::of("merged", cell)
    };
    let later = || match &current.stamp {
        Some(stamp) if *stamp > edit.stamp => keep("superseded"),
        _ => take(),
    };
    match rule {
        Rule::Server => keep("superseded"),
        Rule::Client => take(),
        Rule::Hold => keep("held"),
        Rule::Later => later(),
        Rule::Greatest | Rule::Least => mix(better(rule, &current.value, edit.value)),
        Rule::Count => match edit.base {
            Some(base) => {
                let number = |value: &Json| value.as_i64().unwrap_or(0);
                mix(json!(
                    number(&current.value) + number(edit.value) - number(base)
                ))
            }
            // Both have come to the same: nobody loses.
            None if *edit.value == current.value => mix(current.value.clone()),
            None => later(),
        },
        Rule::Set => match edit.base {
            Some(base) => mix(both(&current.value, base, edit.value)),
            None => later(),
        },
        Rule::Words => match edit
            .base
            .and_then(|base| words(&current.value, base, edit.value))
        {
            Some(value) => mix(value),
            None => later(),
        },
        Rule::Members => match edit.base {
            Some(base) if all_objects([&current.value, base, edit.value]) => {
                let is_later = current
                    .stamp
                    .as_ref()
                    .is_none_or(|stamp| *stamp <= edit.stamp);
                let (value, contested) = members(&current.value, base, edit.value, is_later);
                let lost = if is_later { &current.value } else { edit.value };
                Became {
                    lost: contested.then(|| lost.clone()),
                    ..mix(value)
                }
            }
            Some(_) | None => later(),
        },
    }
}

fn better(rule: Rule, current: &Json, edited: &Json) -> Json {
    let takes = match (edited.as_i64(), current.as_i64()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(edited), Some(current)) if rule == Rule::Greatest => edited > current,
        (Some(edited), Some(current)) => edited < current,
    };
    if takes {
        edited.clone()
    } else {
        current.clone()
    }
}

/// What is current, less what the edit took out, and then what it put in.
fn both(current: &Json, base: &Json, edited: &Json) -> Json {
    let items = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let (now, before, after) = (items(current), items(base), items(edited));
    let mut all = Vec::new();
    for item in now {
        let removed = before.contains(&item) && !after.contains(&item);
        if !removed && !all.contains(&item) {
            all.push(item);
        }
    }
    for item in after {
        if !before.contains(&item) && !all.contains(&item) {
            all.push(item);
        }
    }
    if all.is_empty() && (current.is_null() || edited.is_null()) {
        return Json::Null;
    }
    Json::Array(all)
}

/// The words of which one side alone changed each, of texts of as many words; none if both changed one, or one side
/// has another text altogether.
fn words(current: &Json, base: &Json, edited: &Json) -> Option<Json> {
    let split = |value: &Json| -> Option<Vec<String>> {
        let words = value.as_str()?.split(' ').map(str::to_owned);
        Some(words.collect())
    };
    let (now, before, after) = (split(current)?, split(base)?, split(edited)?);
    let words = now.iter().zip(&before).zip(&after);
    let words = words.map(|((now, before), after)| match () {
        () if now == before || now == after => Some(after.as_str()),
        () if after == before => Some(now.as_str()),
        () => None,
    });
    let words: Option<Vec<&str>> = words.collect();
    Some(json!(words?.join(" ")))
}

fn all_objects(values: [&Json; 3]) -> bool {
    values.into_iter().all(Json::is_object)
}

/// A document of both sides' members, and whether a member was changed by both: then it is the later side's.
fn members(current: &Json, base: &Json, edited: &Json, is_later: bool) -> (Json, bool) {
    let of = |document: &Json| document.as_object().cloned().unwrap_or_default();
    let (now, before, after) = (of(current), of(base), of(edited));
    let mut contested = false;
    let mut both = serde_json::Map::new();
    let names: BTreeSet<&String> = now.keys().chain(after.keys()).collect();
    for name in names {
        let sides = (now.get(name), before.get(name), after.get(name));
        let member = match sides {
            (now, before, after) if now == before || now == after => after.cloned(),
            (now, before, after) if after == before => now.cloned(),
            (Some(now), Some(before), Some(after)) if all_objects([now, before, after]) => {
                let (member, within) = members(now, before, after, is_later);
                contested |= within;
                Some(member)
            }
            (now, _, after) => {
                contested = true;
                if is_later {
                    after.cloned()
                } else {
                    now.cloned()
                }
            }
        };
        if let Some(member) = member {
            both.insert(name.clone(), member);
        }
    }
    (Json::Object(both), contested)
}

/// Whether `stamp` is by `client`, if that is anyone.
pub(crate) fn is_by(stamp: Option<&Stamp>, client: &str) -> bool {
    client != NOBODY && stamp.is_some_and(|(_, by)| by == client)
}
