//! Who wrote a column last, and when.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;

/// One installation that writes: it owns its stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub Uuid);

impl ClientId {
    /// A writer that did not say who it is.
    pub const ANONYMOUS: ClientId = ClientId(Uuid::nil());
    /// A program that wrote the table with SQL of its own, past the server.
    pub const DIRECT_SQL: ClientId = ClientId(Uuid::from_u128(1));
    /// An administrator deciding a conflict.
    pub const ADMIN: ClientId = ClientId(Uuid::from_u128(2));

    /// Whether several writers may share this identity, so that nobody may claim it in a request.
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.0.as_u128() <= 0xff
    }

    /// What people read in place of a reserved identity.
    #[must_use]
    pub fn reserved_name(self) -> Option<&'static str> {
        match self {
            Self::ANONYMOUS => Some("anonymous"),
            Self::DIRECT_SQL => Some("direct SQL"),
            Self::ADMIN => Some("administrator"),
            _ => None,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ClientId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(ClientId)
    }
}

/// The last write of a column. Ordered by time, then by client, so that any two differ or are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// ClientLastUpdated: when the client made the edit.
    pub time: Time,
    /// The client that made it.
    pub client: ClientId,
}

impl Stamp {
    /// This stamp, moved just past `seen` if it would not be later: an edit made with a value in view
    /// comes after that value, whatever the clocks say.
    #[must_use]
    pub fn after(self, seen: Option<Stamp>) -> Stamp {
        match seen {
            Some(seen) => Stamp {
                time: self.time.max(seen.time.shifted(1)),
                ..self
            },
            None => self,
        }
    }
}
