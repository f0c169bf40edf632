//! The description of an API, as the user writes it in TOML, and as it is once it has been checked.
//!
//! Must not know the file's tables: what a column is there, [`super::mapped`] says.

use std::collections::BTreeMap;

use colsync_shared::schema::EditAfterDelete;
use colsync_shared::types::TypeWire;
use colsync_shared::{ColumnType, Policy};
use serde::Deserialize;

use super::template::{Place, Template};
use super::times::Form;
use crate::error::Error;

/// An API.
#[derive(Debug, Clone)]
pub(super) struct Description {
    /// What stands before every template.
    pub(super) url: String,
    /// How the key is sent.
    pub(super) auth: Auth,
    /// In the order of the description: parents first.
    pub(super) tables: Vec<(String, TableDescription)>,
}

/// How the key is sent, if there is one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    /// The header.
    pub(super) header: String,
    /// The word before the key; empty for none.
    pub(super) scheme: String,
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            header: "Authorization".to_owned(),
            scheme: "Bearer".to_owned(),
        }
    }
}

/// How a row that exists is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Update {
    /// `PUT` of the whole row: what was fetched, with the changed fields in it.
    #[default]
    Put,
    /// `PATCH` of `application/merge-patch+json` (RFC 7396).
    MergePatch,
    /// `PATCH` of `application/json`: the fields that are sent replace those of the row.
    Patch,
}

/// One table of an API.
#[derive(Debug, Clone)]
pub(super) struct TableDescription {
    /// All rows, or a page of them.
    pub(super) list: Template,
    /// The rows changed since a time.
    pub(super) changes: Option<Template>,
    /// One row.
    pub(super) item: Template,
    /// Where rows are made by `POST`; else by `PUT` of the row.
    pub(super) create: Option<Template>,
    pub(super) update: Update,
    /// The field that holds the key.
    pub(super) id: String,
    /// Where in a list's answer the array of rows is: a JSON pointer.
    pub(super) rows: String,
    /// The members that lead to the row, where one row is told or sent.
    pub(super) row: Vec<String>,
    pub(super) limit: u64,
    pub(super) first_page: u64,
    /// The header that leads to the next page.
    pub(super) next: Option<String>,
    /// The field that tells when a row changed.
    pub(super) updated_at: Option<String>,
    /// How writers have to set it, if they have to.
    pub(super) writes_updated_at: Option<Setting>,
    /// The field that tells a deleted row.
    pub(super) deleted: Option<String>,
    /// Every so many pulls the whole list is asked for, although there is `changes`.
    pub(super) whole_every: u64,
    pub(super) edit_after_delete: EditAfterDelete,
    /// Columns that stay here.
    pub(super) skip: Vec<String>,
    /// By the names in the file, in lower case.
    pub(super) columns: BTreeMap<String, ColumnDescription>,
}

/// How a time is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// In the form in which the API tells it.
    AsTold,
    In(Form),
}

/// What is said of a column.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnDescription {
    pub(super) field: Option<String>,
    pub(super) ty: Option<ColumnType>,
    pub(super) policy: Policy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: String,
    #[serde(default)]
    auth: Auth,
    tables: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    list: String,
    changes: Option<String>,
    item: String,
    create: Option<String>,
    #[serde(default)]
    update: Update,
    #[serde(default = "id")]
    id: String,
    #[serde(default)]
    rows: String,
    #[serde(default)]
    row: String,
    #[serde(default = "limit")]
    limit: u64,
    #[serde(default = "first_page")]
    first_page: u64,
    next: Option<String>,
    updated_at: Option<String>,
    writes_updated_at: Option<toml::Value>,
    deleted: Option<String>,
    #[serde(default = "whole_every")]
    whole_every: u64,
    #[serde(default)]
    edit_after_delete: EditAfterDelete,
    #[serde(default)]
    skip: Vec<String>,
    #[serde(default)]
    columns: BTreeMap<String, RawColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    field: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    policy: Policy,
}

fn id() -> String {
    "id".to_owned()
}

fn limit() -> u64 {
    100
}

fn first_page() -> u64 {
    1
}

fn whole_every() -> u64 {
    20
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Description {
        field: field.into(),
        reason: reason.into(),
    }
}

/// toml's own text without its picture of the line, which may hold what is not to be shown.
fn syntax(field: &str, error: &toml::de::Error) -> Error {
    wrong(field, error.message())
}

impl Description {
    /// Reads a description.
    ///
    /// # Errors
    /// [`Error::Description`], naming the member at fault.
    pub(super) fn read(text: &str) -> Result<Description, Error> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| syntax("the description of the API", &error))?;
        if raw.tables.is_empty() {
            return Err(wrong("tables", "no table is described"));
        }
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if raw.auth.header.is_empty() || !raw.auth.header.chars().all(is_token) {
            return Err(wrong("auth.header", "no name of a header"));
        }
        let mut tables = Vec::with_capacity(raw.tables.len());
        for (name, value) in raw.tables {
            let at = format!("tables.{name}");
            let raw: RawTable = value.try_into().map_err(|error| syntax(&at, &error))?;
            tables.push((name, table(&at, raw)?));
        }
        Ok(Description {
            url: raw.url.trim_end_matches('/').to_owned(),
            auth: raw.auth,
            tables,
        })
    }

    /// What makes the API, at `url`, the one that it was: what is known of another is of no use.
    pub(super) fn identity(&self, url: &str) -> String {
        let mut identity = url.trim_end_matches('/').to_owned();
        for (name, table) in &self.tables {
            let nothing = |template: &Template| template.fill(&[]);
            identity.push_str(&format!(
                "\n{name} {} {} {} {} {}",
                nothing(&table.list),
                nothing(&table.item),
                table.id,
                table.rows,
                table.row.join("/"),
            ));
        }
        identity
    }
}

fn table(at: &str, raw: RawTable) -> Result<TableDescription, Error> {
    use Place::{Id, Limit, Offset, Page, Since};
    let template = |member: &str, text: &str, allowed: &[Place]| {
        Template::read(text, allowed).map_err(|reason| wrong(format!("{at}.{member}"), reason))
    };
    let list = template("list", &raw.list, &[Page, Offset, Limit])?;
    let changes = raw.changes.as_deref();
    let changes = changes
        .map(|text| template("changes", text, &[Since, Page, Offset, Limit]))
        .transpose()?;
    let item = template("item", &raw.item, &[Id])?;
    let create = raw.create.as_deref();
    let create = create
        .map(|text| template("create", text, &[]))
        .transpose()?;
    let here = |member: &str, reason: &str| Err(wrong(format!("{at}.{member}"), reason));
    if !item.has(Id) {
        return here("item", "{id} is missing");
    }
    if changes.as_ref().is_some_and(|changes| !changes.has(Since)) {
        return here("changes", "{since} is missing");
    }
    if changes.is_some() && raw.updated_at.is_none() {
        return here("updated_at", "changes need the field that tells the time");
    }
    let writes_updated_at = setting(raw.writes_updated_at);
    let writes_updated_at =
        writes_updated_at.map_err(|reason| wrong(format!("{at}.writes_updated_at"), reason))?;
    if writes_updated_at.is_some() && raw.updated_at.is_none() {
        return here("writes_updated_at", "updated_at names no field");
    }
    for template in [Some(&list), changes.as_ref()].into_iter().flatten() {
        if template.has(Page) && template.has(Offset) {
            return here("list", "{page} and {offset} are two ways to page");
        }
    }
    if raw.limit == 0 || raw.whole_every == 0 {
        return here("limit", "limit and whole_every are 1 or more");
    }
    for (member, pointer) in [("rows", &raw.rows), ("row", &raw.row)] {
        if !(pointer.is_empty() || pointer.starts_with('/')) {
            return here(member, "a JSON pointer is empty or begins with /");
        }
    }
    let mut columns = BTreeMap::new();
    for (name, column) in raw.columns {
        let ty = column.r#type.as_deref().map(|ty| {
            named_type(ty).ok_or_else(|| {
                wrong(
                    format!("{at}.columns.{name}.type"),
                    format!("no type {ty}: see the README"),
                )
            })
        });
        let described = ColumnDescription {
            field: column.field,
            ty: ty.transpose()?,
            policy: column.policy,
        };
        columns.insert(name.to_ascii_lowercase(), described);
    }
    let segments = raw.row.split('/').skip(1);
    Ok(TableDescription {
        list,
        changes,
        item,
        create,
        update: raw.update,
        id: raw.id,
        rows: raw.rows,
        row: segments
            .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
            .collect(),
        limit: raw.limit,
        first_page: raw.first_page,
        next: raw.next,
        updated_at: raw.updated_at,
        writes_updated_at,
        deleted: raw.deleted,
        whole_every: raw.whole_every,
        edit_after_delete: raw.edit_after_delete,
        skip: raw.skip,
        columns,
    })
}

/// How times are set, if they are.
fn setting(told: Option<toml::Value>) -> Result<Option<Setting>, &'static str> {
    match told {
        None | Some(toml::Value::Boolean(false)) => Ok(None),
        Some(toml::Value::Boolean(true)) => Ok(Some(Setting::AsTold)),
        Some(form) => match form.try_into() {
            Ok(form) => Ok(Some(Setting::In(form))),
            Err(_no_form) => Err("it is true, false, \"rfc3339\", \"s\", \"ms\" or \"us\""),
        },
    }
}

/// The type of this name, 64 bits wide.
fn named_type(name: &str) -> Option<ColumnType> {
    let bits = matches!(name, "integer" | "real").then_some(64);
    let wire = TypeWire {
        name: name.to_owned(),
        bits,
        precision: None,
        scale: None,
        max_length: None,
        labels: None,
        of: None,
    };
    wire.to_type()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str =
        "url = 'http://a/'\n[tables.todos]\nlist = '/todos'\nitem = '/todos/{id}'\n";

    #[test]
    fn the_least_description_is_enough() {
        let read = Description::read(LEAST).unwrap();
        assert_eq!(read.url, "http://a");
        let (name, table) = &read.tables[0];
        assert_eq!((name.as_str(), table.id.as_str()), ("todos", "id"));
        assert_eq!(table.update, Update::Put);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |line: &str, field: &str| {
            match Description::read(&format!("{LEAST}{line}\n")) {
                Err(Error::Description { field: named, .. }) => assert_eq!(named, field, "{line}"),
                other => panic!("{line}: {other:?}"),
            };
        };
        check("lists = 1", "tables.todos");
        check("changes = '/todos?a={since}'", "tables.todos.updated_at");
        check(
            "changes = '/todos'\nupdated_at = 'u'",
            "tables.todos.changes",
        );
        check("create = '/todos/{id}'", "tables.todos.create");
        check("update = 'post'", "tables.todos");
        check(
            "updated_at = 'u'\nwrites_updated_at = 'days'",
            "tables.todos.writes_updated_at",
        );
        check("rows = 'data'", "tables.todos.rows");
        check("columns.n.type = 'polygon'", "tables.todos.columns.n.type");
        check("columns.n.policy = 'by_vote'", "tables.todos");
        check("[auth]\nheader = 'a b'", "auth.header");
    }

    #[test]
    fn tables_keep_their_order() {
        let text = "url = 'http://a'\n[tables.z]\nlist = '/z'\nitem = '/z/{id}'\n\
                    [tables.a]\nlist = '/a'\nitem = '/a/{id}'\n";
        let read = Description::read(text).unwrap();
        let names: Vec<&str> = read.tables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
    }
}
