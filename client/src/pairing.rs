//! A tracked table beside the server's: which columns meet, and how a row is called on either side.
//!
//! What has no counterpart stays out of sync, with a reason for people, and is never dropped.

use std::collections::BTreeSet;

use colsync_shared::key::KeyPart;
use colsync_shared::schema_wire::{ForeignKeyWire, SchemaWire, TableWire};
use colsync_shared::sqlite::{self, Stored};
use colsync_shared::{ColumnType, RowKey, Value};
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use crate::table::{LocalTable, RowId};
use crate::values;

/// What stands in place of a policy where a schema says that a column is the file's own: no server has it. Only
/// [`crate::plain`] says so.
pub(crate) const OWN: &str = "own";

/// A tracked table and what the server says of it.
#[derive(Debug, Clone)]
pub(crate) struct Paired {
    /// The app's table.
    pub(crate) local: LocalTable,
    /// The server's name for it; `Err` is why there is no syncing it.
    pub(crate) server: Result<String, String>,
    /// Whether its key is one integer that the server makes.
    pub(crate) makes_key: bool,
    /// What the server says of its foreign keys.
    pub(crate) foreign_keys: Vec<ForeignKeyWire>,
    /// By position in `local.columns`; `None` where the server has no such column.
    pub(crate) columns: Vec<Option<ServerColumn>>,
    /// The server's columns that the app's table lacks, by the server's names.
    pub(crate) lacking: Vec<String>,
    /// The app's columns that are the file's own, by position: what is written to them is never sent, nor waits.
    pub(crate) own: BTreeSet<usize>,
    /// Whether the server removes rows for good when a transaction log says so.
    pub(crate) hard_delete: bool,
}

/// What the server says of a column.
#[derive(Debug, Clone)]
pub(crate) struct ServerColumn {
    /// Its name there.
    pub(crate) name: String,
    /// Its type there.
    pub(crate) ty: ColumnType,
    /// Whether the policy, or the administrator who decides, needs the value edited from.
    pub(crate) needs_base: bool,
    /// Whether its policy makes one of both values current, and no third.
    pub(crate) picks_one: bool,
    /// The group of columns that the server decides it with.
    pub(crate) group: Option<String>,
    /// Whether it takes NULL there.
    pub(crate) nullable: bool,
    /// Whether an insert may leave it out and the server fills it in, where it takes no NULL.
    pub(crate) filled_in: bool,
    /// Whether it has met the app's since the rows were pulled: no value of it is in the app's view yet.
    pub(crate) fresh: bool,
}

impl ServerColumn {
    /// The version that an edit of it is made from, where the app has the rest of its row in view at `version`.
    pub(crate) fn base(&self, version: i64) -> i64 {
        if self.fresh { version.min(0) } else { version }
    }
}

/// Why a row cannot be named to the server; a clause.
pub(crate) type Unnamed = String;

/// Pairs the tracked tables with the server's, if its schema is known.
pub(crate) fn pair(tables: Vec<LocalTable>, schema: Option<&SchemaWire>) -> Vec<Paired> {
    tables
        .into_iter()
        .map(|local| match schema {
            None => unpaired(local, "the server's schema is not known yet".to_owned()),
            Some(schema) => {
                let exact = schema.tables.iter().find(|table| table.name == local.name);
                let found = exact.or_else(|| {
                    let mut tables = schema.tables.iter();
                    tables.find(|table| table.name.eq_ignore_ascii_case(&local.name))
                });
                match found {
                    None => {
                        let reason = format!("the server has no table {}", local.name);
                        unpaired(local, reason)
                    }
                    Some(table) => pair_one(local, table),
                }
            }
        })
        .collect()
}

/// Whether the server lacks a table, or a column of one that is not the file's own.
pub(crate) fn is_lacking(tables: &[Paired]) -> bool {
    let mut tables = tables.iter();
    tables.any(|paired| {
        let lacks = |at: usize| paired.column(at).is_none() && !paired.is_own(at);
        paired.server.is_err() || (0..paired.columns.len()).any(lacks)
    })
}

fn unpaired(local: LocalTable, reason: String) -> Paired {
    let columns = local.columns.iter().map(|_| None).collect();
    Paired {
        local,
        server: Err(reason),
        makes_key: false,
        foreign_keys: Vec::new(),
        columns,
        lacking: Vec::new(),
        own: BTreeSet::new(),
        hard_delete: false,
    }
}

fn pair_one(local: LocalTable, table: &TableWire) -> Paired {
    let (own, told): (Vec<_>, Vec<_>) = table.columns.iter().partition(|c| c.policy == OWN);
    let own = own.into_iter().filter_map(|own| local.position(&own.name));
    let own = own.collect();
    let columns: Vec<Option<ServerColumn>> = local
        .columns
        .iter()
        .map(|column| {
            let mut there = told.iter();
            let found = there.find(|there| there.name.eq_ignore_ascii_case(&column.name))?;
            Some(ServerColumn {
                name: found.name.clone(),
                ty: found.ty.to_type()?,
                needs_base: !matches!(
                    found.policy.as_str(),
                    "last_writer_wins" | "server_wins" | "client_wins" | "max" | "min"
                ),
                picks_one: matches!(found.policy.as_str(), "max" | "min"),
                group: found.group.clone(),
                nullable: found.nullable,
                filled_in: found.has_default && !found.nullable,
                fresh: false,
            })
        })
        .collect();
    let ours: Vec<String> = local
        .key_columns()
        .map(|column| column.name.to_ascii_lowercase())
        .collect();
    let theirs: Vec<String> = table
        .key
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    let named = local
        .key
        .iter()
        .all(|&at| columns.get(at).is_some_and(Option::is_some));
    let server = if ours != theirs {
        Err(format!(
            "the key of {} is ({}) here and ({}) on the server",
            local.name,
            ours.join(", "),
            theirs.join(", ")
        ))
    } else if named {
        Ok(table.name.clone())
    } else {
        Err(format!(
            "the key of {} is of a type not known here",
            local.name
        ))
    };
    let is_met = |name: &String| {
        let mut met = columns.iter().flatten();
        met.any(|column| column.name == *name)
    };
    let lacking = told.iter().map(|column| &column.name);
    let lacking = lacking.filter(|name| !is_met(name)).cloned().collect();
    Paired {
        makes_key: server.is_ok() && makes_key(&local, table),
        foreign_keys: table.foreign_keys.clone(),
        local,
        server,
        columns,
        lacking,
        own,
        hard_delete: table.hard_delete,
    }
}

/// Whether new rows get their key from the server: one integer, and none that is another table's at the same time.
/// The app's column has to be one of integers, too.
fn makes_key(local: &LocalTable, table: &TableWire) -> bool {
    let [key] = table.key.as_slice() else {
        return false;
    };
    let points = |columns: &[String]| columns == std::slice::from_ref(key);
    let is_integer = |declared: &str| declared.to_ascii_uppercase().contains("INT");
    let column = table.column(key);
    column.is_some_and(|column| column.has_default && column.ty.name == "integer")
        && local
            .key_columns()
            .all(|column| is_integer(&column.declared))
        && !table.foreign_keys.iter().any(|link| points(&link.columns))
}

impl Paired {
    /// The server's column for the one at `position`.
    pub(crate) fn column(&self, position: usize) -> Option<&ServerColumn> {
        self.columns.get(position)?.as_ref()
    }

    /// Whether the column at `position` is the file's own.
    pub(crate) fn is_own(&self, position: usize) -> bool {
        self.own.contains(&position)
    }

    /// The columns that are in one group with the one at `position`, itself among them: position and the
    /// server's column. None if it is in no group. Members that the app's table lacks are left out.
    pub(crate) fn group_of(&self, position: usize) -> Vec<(usize, &ServerColumn)> {
        let group = self.column(position).and_then(|there| there.group.as_ref());
        let Some(group) = group else {
            return Vec::new();
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter_map(|(at, there)| Some((at, there.as_ref()?)))
            .filter(|(_, there)| there.group.as_ref() == Some(group))
            .collect()
    }

    /// Whether the app has edited the column at `position`, or one of its group, as `is_edited` says of its names.
    pub(crate) fn touches(&self, position: usize, is_edited: impl Fn(&str) -> bool) -> bool {
        let members = self.group_of(position).into_iter().map(|(at, _)| at);
        members.chain([position]).any(|at| {
            let column = self.local.columns.get(at);
            column.is_some_and(|column| is_edited(&column.name))
        })
    }

    /// Where the server's column `name` stands in the app's table.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.as_ref().is_some_and(|column| column.name == name))
    }

    /// The columns that are edited together with the one at `position`: its group, or itself.
    pub(crate) fn together(&self, position: usize) -> Vec<&ServerColumn> {
        let group: Vec<&ServerColumn> = self
            .group_of(position)
            .into_iter()
            .map(|(_, there)| there)
            .collect();
        if group.is_empty() {
            self.column(position).into_iter().collect()
        } else {
            group
        }
    }

    /// A value of the column at `position` for the wire; as it is where the server has no such column.
    pub(crate) fn wire(&self, position: usize, stored: &Stored) -> Json {
        match self.column(position) {
            Some(column) => values::to_wire(&column.ty, stored.clone()),
            None => values::plain(stored),
        }
    }

    /// A value from the wire for the column at `position`.
    pub(crate) fn stored(&self, position: usize, wire: &Json) -> Stored {
        match (self.column(position), self.local.columns.get(position)) {
            (Some(column), Some(local)) => values::from_wire(&column.ty, &local.declared, wire),
            _ => Stored::Null,
        }
    }

    /// As [`Paired::stored`], of JSON text.
    pub(crate) fn stored_raw(&self, position: usize, raw: &str) -> Stored {
        match (self.column(position), self.local.columns.get(position)) {
            (Some(column), Some(local)) => values::from_raw(&column.ty, &local.declared, raw),
            _ => Stored::Null,
        }
    }

    /// The server's columns of which the app has no value in view, whatever version of a row the file knows: its table lacks
    /// them, or they have not come down yet.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let lacking = self.lacking.iter().cloned();
        lacking.chain(self.fresh()).collect()
    }

    /// The columns that have not come down yet, by the server's names.
    pub(crate) fn fresh(&self) -> Vec<String> {
        let fresh = self.columns.iter().flatten().filter(|there| there.fresh);
        fresh.map(|there| there.name.clone()).collect()
    }

    /// The wire's id of a row.
    ///
    /// # Errors
    /// If the server could not have a row of this key.
    pub(crate) fn wire_id(&self, id: &RowId) -> Result<String, Unnamed> {
        let parts = self.local.parts(id);
        let mut key = Vec::with_capacity(parts.len());
        for (&at, part) in self.local.key.iter().zip(parts) {
            let Some(column) = self.column(at) else {
                return Err("its key is not known to the server".to_owned());
            };
            let refuse = |why: &str| format!("{}: {why}", column.name);
            if matches!(part, Stored::Null) {
                return Err(refuse("the key is NULL"));
            }
            let sent = match (&column.ty, &part) {
                (ty, Stored::Bytes(_)) if !matches!(ty, ColumnType::Bytes | ColumnType::Uuid) => {
                    return Err(refuse("the key holds bytes, which are no text"));
                }
                // A key of several columns is text here.
                (_, Stored::Text(text)) => Json::String(text.clone()),
                (ty, other) => values::to_wire(ty, other.clone()),
            };
            let value = column
                .ty
                .decode(&sent)
                .map_err(|refused| refuse(&refused.to_string()))?;
            if let (ColumnType::Uuid, Value::Text(canonical), Stored::Text(text)) =
                (&column.ty, &value, &part)
                && canonical != text
            {
                return Err(refuse("a UUID is written in lower case, with hyphens"));
            }
            let part = KeyPart::from_value(&value);
            key.push(part.ok_or_else(|| refuse("no key of the server's"))?);
        }
        let wire = RowKey(key).to_string();
        // Two spellings would be two rows here, and one there.
        match self.row_id(&wire) {
            Some(here) if here == *id => Ok(wire),
            Some(_) | None => Err(format!(
                "the key is written otherwise than {wire}, as the server has it"
            )),
        }
    }

    /// The row that the wire calls `id`; `None` if it is no key of this table.
    pub(crate) fn row_id(&self, id: &str) -> Option<RowId> {
        if let [at] = *self.local.key {
            let (there, declared) = (self.column(at)?, &self.local.columns.get(at)?.declared);
            let value = there.ty.decode_text(id).ok()?;
            let stored = values::to_store(&there.ty, declared, value);
            return Some(RowId(values::as_stored_in(declared, stored)));
        }
        let texts: Vec<&str> = id.split(',').collect();
        if texts.len() != self.local.key.len() {
            return None;
        }
        let mut key = Vec::with_capacity(texts.len());
        for (&at, text) in self.local.key.iter().zip(texts) {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            let (there, local) = (self.column(at)?, self.local.columns.get(at)?);
            let value = there.ty.decode_text(&text).ok()?;
            key.push(match KeyPart::from_value(&value)? {
                KeyPart::Int(n) => Stored::Int(n),
                KeyPart::Text(_) if local.is_for_bytes() => {
                    values::to_store(&there.ty, &local.declared, value)
                }
                KeyPart::Text(text) => Stored::Text(text),
            });
        }
        Some(self.local.id_of_parts(&key))
    }

    /// The wire's id, or for people the stored one.
    pub(crate) fn shown_id(&self, id: &RowId) -> String {
        self.wire_id(id)
            .unwrap_or_else(|_unnamed| match values::plain(&id.0) {
                Json::String(text) => text,
                other => other.to_string(),
            })
    }

    /// The row that people or programs call `id`.
    pub(crate) fn shown_row_id(&self, id: &str) -> Option<RowId> {
        if self.server.is_ok() {
            return self.row_id(id);
        }
        let declared = &self.local.key_columns().next()?.declared;
        let ty = sqlite::column_type(declared);
        let stored = match ty {
            Some(ty) => values::from_wire(&ty, declared, &Json::String(id.to_owned())),
            None => Stored::Text(id.to_owned()),
        };
        Some(RowId(if self.local.key.len() == 1 {
            values::as_stored_in(declared, stored)
        } else {
            Stored::Text(id.to_owned())
        }))
    }

    /// Names of the app's columns that meet one of the server's.
    pub(crate) fn met(&self) -> Vec<String> {
        let pairs = self.local.columns.iter().zip(&self.columns);
        pairs
            .filter(|(_, there)| there.is_some())
            .map(|(column, _)| column.name.clone())
            .collect()
    }
}
