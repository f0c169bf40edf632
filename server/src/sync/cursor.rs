//! The cursor: an opaque position in the feed of changes.
//!
//! It names an anchor, a random mark that the database recorded together with what was visible then. A
//! database restored to an earlier state does not hold the anchors recorded since, so a cursor made by
//! them cannot be taken for one of the restored history.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a client hands back to go on where it left off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// Everything visible at this anchor has been delivered; `None` before a first sync is complete.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) anchor: Option<String>,
    /// Identities of the tables for which that holds.
    #[serde(rename = "t")]
    pub(crate) tables: Vec<i64>,
    /// The anchor to compare columns with, where it is not `anchor`: what was visible when the client
    /// last got everything in one snapshot. Empty: it never has.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<String>,
    /// An anchor at which all that was delivered is visible, where that is neither `anchor` nor where the pass leads: the
    /// pull was read in pieces, and rows changed between them.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<String>,
    /// How far a pull got that was not complete.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub(crate) pass: Option<Pass>,
}

/// A pull under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pass {
    /// The anchor that the cursor will name once the pass is complete.
    #[serde(rename = "o")]
    pub(crate) to: String,
    /// The tables it goes through, in order.
    #[serde(rename = "t")]
    pub(crate) tables: Vec<i64>,
    /// The table it is in.
    #[serde(rename = "n")]
    pub(crate) table: i64,
    /// Whether it has come to the table's tombstones.
    #[serde(rename = "g")]
    pub(crate) graves: bool,
    /// The last row delivered of that table.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Last>,
}

/// Where a pull stands in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Last {
    /// In a table whose changes it brings: a row's position in the feed and its id.
    Change(i64, String),
    /// In a table that it brings whole: a row's id.
    Row(String),
}

impl Last {
    fn id(&self) -> &str {
        match self {
            Last::Change(_, id) | Last::Row(id) => id,
        }
    }
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        // Integers, strings and lists always serialize.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The anchors that a database must know for the cursor to be one of its own history.
    pub(crate) fn anchors(self) -> impl Iterator<Item = String> {
        let named = self.anchor.into_iter().chain(self.pass.map(|pass| pass.to));
        let floor = self.floor.filter(|floor| !floor.is_empty());
        named.chain(floor).chain(self.seen)
    }

    /// Reads a cursor that [`Cursor::encode`] wrote; `None` for anything else. What it names goes into questions that
    /// are asked for many at once, which a text that a database refuses would spoil.
    pub(crate) fn decode(text: &str) -> Option<Cursor> {
        let cursor: Cursor = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        cursor.names_only_what_we_name().then_some(cursor)
    }

    fn names_only_what_we_name(&self) -> bool {
        let pass = self.pass.as_ref();
        let floor = self.floor.as_ref().filter(|floor| !floor.is_empty());
        let to = pass.map(|pass| &pass.to);
        let anchors = [self.anchor.as_ref(), floor, self.seen.as_ref(), to];
        let last = pass.and_then(|pass| pass.last.as_ref());
        let mut anchors = anchors.into_iter().flatten();
        anchors.all(|anchor| Uuid::try_parse(anchor).is_ok())
            && last.is_none_or(|last| !last.id().contains('\0'))
    }
}
