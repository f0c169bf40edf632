//! Edits as they come over the wire, made into typed edits.
//!
//! One edit that cannot be read is a [`Rejection`] for its own receipt; it says nothing of the others.

use serde_json::{Map, Value as Json};

use crate::receipt::Rejection;
use crate::schema::{Column, RESERVED_PREFIX};
use crate::types::ValueError;
use crate::{ColumnEdit, Edit, Op, RowKey, Table, Time};

/// What decoding needs from the request around an edit.
pub struct Frame<'a> {
    /// Makes a client's time one of the server's clock.
    pub adjust: &'a dyn Fn(Time) -> Time,
    /// The time of an edit that names none.
    pub default_at: Time,
}

/// Reads the operation of one edit of a push.
///
/// # Errors
/// `malformed_edit` if `op` is none of insert, update, delete.
pub fn op(edit: &Map<String, Json>) -> Result<Op, Rejection> {
    match edit.get("op").and_then(Json::as_str) {
        Some("insert") => Ok(Op::Insert),
        Some("update") => Ok(Op::Update),
        Some("delete") => Ok(Op::Delete),
        _ => Err(malformed("op", "op must be insert, update or delete")),
    }
}

/// Reads the action of one entry of a transaction log.
///
/// # Errors
/// `malformed_edit` if `action` is none of insert, update, delete, hard_delete.
pub fn action(entry: &Map<String, Json>) -> Result<Op, Rejection> {
    match entry.get("action").and_then(Json::as_str) {
        Some("insert") => Ok(Op::Insert),
        Some("update") => Ok(Op::Update),
        Some("delete") => Ok(Op::Delete),
        Some("hard_delete") => Ok(Op::HardDelete),
        _ => Err(malformed(
            "action",
            "action must be insert, update, delete or hard_delete",
        )),
    }
}

/// The edit that an entry of a transaction log, or a whole row, stands for: its columns are plain values, with
/// the bases of some of them beside it.
///
/// # Errors
/// `malformed_edit` if `columns` or `base` is no object.
pub fn plain(body: &Map<String, Json>) -> Result<Map<String, Json>, Rejection> {
    let mut edit = body.clone();
    let base = match edit.remove("base") {
        None => Map::new(),
        Some(Json::Object(base)) => base,
        Some(_) => return Err(malformed("base", "base must be an object")),
    };
    let columns = match edit.remove("columns") {
        None => return Ok(edit),
        Some(Json::Object(columns)) => columns,
        Some(_) => return Err(malformed("columns", "columns must be an object")),
    };
    let columns = columns.into_iter().map(|(name, value)| {
        let mut column = Map::from_iter([("value".to_owned(), value)]);
        if let Some(base) = base.get(&name) {
            column.insert("base".to_owned(), base.clone());
        }
        (name, Json::Object(column))
    });
    let columns = Json::Object(columns.collect());
    edit.insert("columns".to_owned(), columns);
    Ok(edit)
}

/// Reads the members `base_version`, `at`, `columns` and `unseen` of an edit of the row `key`.
///
/// # Errors
/// A rejection that names the column or member at fault.
pub fn edit(
    table: &Table,
    key: Option<RowKey>,
    op: Op,
    body: &Map<String, Json>,
    frame: &Frame<'_>,
) -> Result<Edit, Rejection> {
    let base_version = version(body, "base_version")?;
    let at = time(body, frame)?;
    let empty = Map::new();
    let named = match body.get("columns") {
        None => &empty,
        Some(Json::Object(columns)) => columns,
        Some(_) => return Err(malformed("columns", "columns must be an object")),
    };
    if matches!(op, Op::Delete | Op::HardDelete) && !named.is_empty() {
        return Err(malformed("columns", "a delete names no columns"));
    }
    let fallback = at.unwrap_or(frame.default_at);
    let mut columns = Vec::with_capacity(named.len());
    for (name, member) in named {
        let Json::Object(member) = member else {
            return Err(malformed(name, "a column is an object with a value"));
        };
        let Some(sent) = member.get("value") else {
            return Err(malformed(name, "a column's edit needs a value"));
        };
        if let Some(position) = writable(table, key.as_ref(), name, sent)? {
            columns.push(ColumnEdit {
                column: position,
                value: value(table, position, sent)?,
                base: member
                    .get("base")
                    .map(|sent| base(table, position, sent))
                    .transpose()?,
                base_version: version(member, "base_version").map_err(|r| r.field(name))?,
                at: time(member, frame)
                    .map_err(|r| r.field(name))?
                    .unwrap_or(fallback),
            });
        }
    }
    let at = at
        .or_else(|| columns.iter().map(|column| column.at).max())
        .unwrap_or(frame.default_at);
    Ok(Edit {
        key,
        op,
        base_version,
        at,
        columns,
        unseen: unseen(table, body)?,
    })
}

/// The columns that an edit's client had not in view.
fn unseen(table: &Table, body: &Map<String, Json>) -> Result<Vec<usize>, Rejection> {
    let names = match body.get("unseen") {
        None => return Ok(Vec::new()),
        Some(Json::Array(names)) => names,
        Some(_) => return Err(malformed("unseen", "unseen must be a list of columns")),
    };
    let positions = names.iter().map(|name| {
        let name = name.as_str();
        let name = name.ok_or_else(|| malformed("unseen", "a column is named by a text"))?;
        table.position(name).ok_or_else(|| {
            let detail = format!("{} has no column {name}", table.name);
            Rejection::new("unknown_column", detail).field("unseen")
        })
    });
    positions.collect()
}

/// Where the column `name` stands, if a client may write `sent` to it; `None` for a key column that
/// is sent as it is.
///
/// # Errors
/// `unknown_column`, `read_only_column` or `key_is_immutable`.
pub fn writable(
    table: &Table,
    key: Option<&RowKey>,
    name: &str,
    sent: &Json,
) -> Result<Option<usize>, Rejection> {
    if name.starts_with(RESERVED_PREFIX) || name == "_sync" {
        return Err(
            Rejection::new("read_only_column", format!("{name} is kept by the server")).field(name),
        );
    }
    let Some(position) = table.position(name) else {
        let detail = format!("{} has no column {name}", table.name);
        return Err(Rejection::new("unknown_column", detail).field(name));
    };
    let Some(part) = table.key.iter().position(|&at| at == position) else {
        return Ok(Some(position));
    };
    let same = match key {
        None => true,
        Some(key) => key.0.get(part).is_some_and(|part| {
            table
                .columns
                .get(position)
                .is_some_and(|c| c.ty.decode(sent).ok() == Some(part.value()))
        }),
    };
    if same {
        Ok(None)
    } else {
        Err(Rejection::new("key_is_immutable", "a row keeps the key it was made with").field(name))
    }
}

/// The typed value of `sent` for the column at `position`. Whether it takes NULL is the database's to say:
/// a trigger may fill it in.
///
/// # Errors
/// `invalid_value`, naming the column.
pub fn value(table: &Table, position: usize, sent: &Json) -> Result<crate::Value, Rejection> {
    let column = column(table, position)?;
    column
        .decode(sent)
        .map_err(|refused| invalid(column, &refused))
}

/// The same of a value edited from, which may have been rounded since it was sent.
fn base(table: &Table, position: usize, sent: &Json) -> Result<crate::Value, Rejection> {
    let column = column(table, position)?;
    column
        .ty
        .decode(sent)
        .map_err(|refused| invalid(column, &refused))
}

fn column(table: &Table, position: usize) -> Result<&Column, Rejection> {
    let column = table.columns.get(position);
    column.ok_or_else(|| Rejection::new("unknown_column", "no such column"))
}

fn invalid(column: &Column, refused: &ValueError) -> Rejection {
    Rejection::new("invalid_value", format!("{}: {refused}", column.name)).field(&column.name)
}

fn version(body: &Map<String, Json>, member: &str) -> Result<Option<i64>, Rejection> {
    match body.get(member) {
        None | Some(Json::Null) => Ok(None),
        Some(version) => match version.as_i64() {
            Some(version) if version >= 0 => Ok(Some(version)),
            _ => Err(malformed(member, "a version is a whole number, 0 or more")),
        },
    }
}

fn time(body: &Map<String, Json>, frame: &Frame<'_>) -> Result<Option<Time>, Rejection> {
    match body.get("at") {
        None | Some(Json::Null) => Ok(None),
        Some(at) => {
            let time = at.as_str().and_then(|text| text.parse().ok());
            let time = time.ok_or_else(|| malformed("at", "at must be an RFC 3339 time"))?;
            Ok(Some((frame.adjust)(time)))
        }
    }
}

fn malformed(field: &str, detail: &str) -> Rejection {
    Rejection::new("malformed_edit", detail).field(field)
}
