//! A row's edit as a push carries it.

use std::collections::BTreeMap;

use colsync_shared::sqlite::Stored;
use colsync_shared::{ColumnType, Op, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::history::{Changed, History, Net, is_hidden, row_now};
use crate::error::Error;
use crate::file::{File, Row};
use crate::inbox::held::{self, Held, LOST};
use crate::inbox::versions;
use crate::pairing::Paired;

/// One edit of a push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WireEdit {
    pub(crate) table: String,
    /// None of a new row whose key the server makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) op: Op,
    /// The row's version that the app had in view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_version: Option<i64>,
    /// When it was made; also of columns that do not say.
    pub(crate) at: Time,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) columns: BTreeMap<String, WireColumn>,
}

/// One column of an edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WireColumn {
    pub(crate) value: Json,
    /// The Original, where the policy needs it or the base version is lost.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub(crate) base: Option<Json>,
    /// Where it is not the edit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_version: Option<i64>,
    /// Where it is not the edit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Time>,
    /// In a refused edit alone: whether it points to a row of this file's that has no id of the server's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) local: bool,
    /// In a refused edit alone: whether the server lacked the column, so that the value is as the file has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) plain: bool,
}

/// A member that is there, even if it is null.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

/// What becomes of a row's history at a push.
#[derive(Debug)]
pub(crate) enum Draft {
    /// This is sent.
    Edit(WireEdit),
    /// It has come to nothing.
    Nothing,
    /// It stays pending; a clause says why.
    Waits(String),
}

/// Makes the edit of a row.
pub(crate) fn draft(
    file: &mut File,
    paired: &Paired,
    history: &History,
    net: Net,
) -> Result<Draft, Error> {
    let is_hidden =
        matches!(net, Net::Nothing | Net::Delete) && is_hidden(file, &paired.local, history)?;
    let table = match &paired.server {
        Ok(name) => name.clone(),
        Err(reason) => {
            return Ok(match net {
                Net::Nothing if !is_hidden => Draft::Nothing,
                Net::Nothing | Net::Insert(_) | Net::Update(..) | Net::Delete => {
                    Draft::Waits(reason.clone())
                }
            });
        }
    };
    let id = match paired.wire_id(&history.row.id) {
        Ok(id) => (!(paired.makes_key && history.is_local)).then_some(id),
        Err(reason) => return Ok(Draft::Waits(format!("{table}: {reason}"))),
    };
    if is_hidden {
        return Ok(Draft::Waits(not_found(paired)));
    }
    let mut edit = WireEdit {
        table,
        id,
        op: Op::Update,
        base_version: None,
        at: time(history.at_ms),
        columns: BTreeMap::new(),
    };
    match net {
        Net::Nothing => return Ok(Draft::Nothing),
        Net::Insert(row) => {
            let mut values = row.iter().enumerate();
            if let Some(reason) = values.find_map(|(at, value)| no_text(paired, at, value)) {
                return Ok(Draft::Waits(reason));
            }
            edit.base_version = made_over(file, paired, history)?;
            insert(paired, history, &row, &mut edit);
        }
        Net::Update(mut changed) => {
            changed.retain(|column| !paired.is_own(column.position));
            if changed.is_empty() {
                return Ok(Draft::Nothing);
            }
            let mut values = changed.iter();
            let bytes = values.find_map(|c| no_text(paired, c.position, &c.edited));
            if let Some(reason) = bytes {
                return Ok(Draft::Waits(reason));
            }
            let held = held::of(file, &history.row)?;
            let version = versions::of(file, &history.row)?;
            if let Some(reason) = update(paired, &changed, &held, version, &mut edit) {
                return Ok(Draft::Waits(reason));
            }
            let is_grouped = |c: &Changed| !paired.group_of(c.position).is_empty();
            if changed.iter().any(is_grouped)
                && let Some(row) = row_now(file, &paired.local, &history.row)?
            {
                complete(paired, &changed, &held, &row, version, &mut edit);
            }
        }
        Net::Delete => {
            let held = held::of(file, &history.row)?;
            let version = versions::of(file, &history.row)?;
            edit.op = Op::Delete;
            edit.base_version = Some(held.least_base(version));
        }
    }
    Ok(Draft::Edit(edit))
}

/// Why a row that is there, and is not found by its key, cannot be told: nothing of it is known.
pub(crate) fn not_found(paired: &Paired) -> String {
    format!(
        "{}: the key cannot be read as it is stored",
        paired.local.name
    )
}

/// The version of the row that the app deleted before it made this one, if it did: all of that was in its view.
pub(crate) fn made_over(
    file: &mut File,
    paired: &Paired,
    history: &History,
) -> Result<Option<i64>, Error> {
    // An id that the server makes is another row's next time; and what it has lost, it may have anew.
    if history.existed || !history.is_local || paired.makes_key {
        return Ok(None);
    }
    let Some(version) = versions::kept(file, &history.row)? else {
        return Ok(None);
    };
    let held = held::of(file, &history.row)?;
    Ok(Some(held.least_base(version)))
}

/// Why a value cannot be told to the server: bytes, or text that is no UTF-8, where it has text. In base64 they
/// would be another value.
pub(crate) fn no_text(paired: &Paired, position: usize, value: &Stored) -> Option<String> {
    let column = paired.column(position)?;
    let takes_bytes = matches!(column.ty, ColumnType::Bytes | ColumnType::Uuid);
    let is_bytes = matches!(value, Stored::Bytes(_));
    (is_bytes && !takes_bytes).then(|| format!("{} holds bytes, which are no text", column.name))
}

fn insert(paired: &Paired, history: &History, row: &Row, edit: &mut WireEdit) {
    edit.op = Op::Insert;
    edit.at = time(history.inserted_at_ms.unwrap_or(history.at_ms));
    for (position, value) in row.iter().enumerate() {
        let Some(column) = paired.column(position) else {
            continue;
        };
        // NULL is what a column is without being written, but in a row that is made anew; where it takes none, the
        // server fills it in.
        let is_written = !matches!(value, Stored::Null);
        let written_null = history
            .times
            .iter()
            .any(|(name, _)| paired.local.position(name) == Some(position));
        // A group is sent whole.
        let is_grouped = paired.group_of(position).iter().any(|(at, _)| {
            row.get(*at)
                .is_some_and(|value| !matches!(value, Stored::Null))
        });
        let is_anew = edit.base_version.is_some();
        // Of a column that has not come down yet, the app has nothing to leave out.
        let takes_null =
            (written_null || is_grouped || is_anew) && !column.filled_in && !column.fresh;
        if paired.local.is_key(position) || !(is_written || takes_null) {
            continue;
        }
        let name = paired.local.columns.get(position).map(|c| c.name.as_str());
        let at = time(history.written_at(name.unwrap_or_default()));
        edit.columns.insert(
            column.name.clone(),
            WireColumn {
                value: paired.wire(position, value),
                base: None,
                base_version: (is_anew && column.fresh).then_some(0),
                at: (at != edit.at).then_some(at),
                local: false,
                plain: false,
            },
        );
    }
}

/// Fills in the columns of an update; gives the reason if there is none that the server knows.
fn update(
    paired: &Paired,
    changed: &[Changed],
    held: &Held,
    version: i64,
    edit: &mut WireEdit,
) -> Option<String> {
    let known = |column: &&Changed| paired.column(column.position).is_some();
    let Some(first) = changed.iter().find(known) else {
        let names = changed
            .iter()
            .filter_map(|column| paired.local.columns.get(column.position))
            .map(|column| column.name.as_str());
        let names: Vec<&str> = names.collect();
        return Some(format!(
            "the server's {} has no column {}",
            edit.table,
            names.join(", ")
        ));
    };
    edit.at = time(first.at_ms);
    let version = held.row_base.unwrap_or(version);
    let any_lost = version == LOST || held.bases.values().any(|&base| base == LOST);
    if !any_lost {
        edit.base_version = Some(version);
    }
    for column in changed.iter().filter(known) {
        let Some(there) = paired.column(column.position) else {
            continue;
        };
        let base = base_of(paired, column.position, held, version);
        let at = time(column.at_ms);
        let needs_base = there.needs_base || base == LOST;
        edit.columns.insert(
            there.name.clone(),
            WireColumn {
                value: paired.wire(column.position, &column.edited),
                base: needs_base.then(|| paired.wire(column.position, &column.original)),
                base_version: (base != LOST && Some(base) != edit.base_version).then_some(base),
                at: (at != edit.at).then_some(at),
                local: false,
                plain: false,
            },
        );
    }
    None
}

/// The version that the column at `position` was edited from: 0, which is before every version, of one that has not come
/// down yet. Of one in a group, the oldest that any of the group's was.
pub(super) fn base_of(paired: &Paired, position: usize, held: &Held, version: i64) -> i64 {
    let base = noted_base_of(paired, position, held, version);
    let together = paired.together(position).into_iter();
    together.fold(base, |base, there| there.base(base))
}

/// As [`base_of`], where it is told otherwise what has not come down yet.
pub(super) fn noted_base_of(paired: &Paired, position: usize, held: &Held, version: i64) -> i64 {
    let together = paired.together(position).into_iter();
    let bases = together.map(|there| held.bases.get(&there.name).copied().unwrap_or(version));
    bases.min().unwrap_or(version)
}

/// Adds the unchanged columns of each group that the app has edited: the server decides the group as one. What
/// a pull brought of them meanwhile waits beside the row, so they are what the edit was made with.
fn complete(
    paired: &Paired,
    changed: &[Changed],
    held: &Held,
    row: &Row,
    version: i64,
    edit: &mut WireEdit,
) {
    let version = held.row_base.unwrap_or(version);
    for column in changed {
        for (at, there) in paired.group_of(column.position) {
            let Some(value) = row.get(at) else { continue };
            if edit.columns.contains_key(&there.name) || no_text(paired, at, value).is_some() {
                continue;
            }
            let value = paired.wire(at, value);
            let base = base_of(paired, at, held, version);
            let written = time(column.at_ms);
            edit.columns.insert(
                there.name.clone(),
                WireColumn {
                    base: (there.needs_base || base == LOST).then(|| value.clone()),
                    value,
                    base_version: (base != LOST && Some(base) != edit.base_version).then_some(base),
                    at: (written != edit.at).then_some(written),
                    local: false,
                    plain: false,
                },
            );
        }
    }
}

/// A time of the log on the wire.
pub(crate) fn time(at_ms: i64) -> Time {
    Time::from_micros(at_ms.saturating_mul(1000))
}
