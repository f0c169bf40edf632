//! Reads SQLite's schema: what a table of the main database looks like.
//!
//! Must not write anything.

use colsync_shared::schema_wire::ForeignKeyWire;
use colsync_shared::sql::quote;
use colsync_shared::sqlite::column_type;
use colsync_shared::{Column, ColumnType, Policy};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection};

use crate::store::adopt::{Problem, is_internal};
use crate::store::introspected::{Introspected, METADATA};
use crate::store::late::Late;
use crate::store::pointed::Acting;
use crate::store::statement::{Bind, Cell, DynRow, Statement};

/// How colsync's triggers are called.
pub(super) const TRIGGER_PREFIX: &str = "colsync_";

/// Triggers compare every column in one expression, and SQLite bounds its depth.
const MOST_COLUMNS: usize = 500;

const KIND: &str = "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = :?";

const COLUMNS: &str = "
    SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden
    FROM pragma_table_xinfo(:?) ORDER BY cid";

/// Every column of every unique index, in the index's order; name is NULL for an expression.
const INDEXES: &str = "
    SELECT i.name, i.origin, i.partial, c.name, c.coll
    FROM pragma_index_list(:?) AS i, pragma_index_xinfo(i.name) AS c
    WHERE i.\"unique\" AND c.key
    ORDER BY i.seq, c.seqno";

const PARENTS: &str = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(:?) ORDER BY 1";

/// Every column of every foreign key, in the key's order; names as their tables spell them. A foreign key
/// that names no columns means its parent's key. The last is NULL if it points to nothing.
const FOREIGN_KEYS: &str = "
    SELECT f.id, p.name, f.\"from\", c.name
    FROM pragma_foreign_key_list(:?) AS f
    JOIN sqlite_master AS p ON p.type = 'table' AND p.name = f.\"table\" COLLATE NOCASE
    LEFT JOIN pragma_table_xinfo(p.name) AS c
        ON CASE WHEN f.\"to\" IS NULL THEN c.pk = f.seq + 1 ELSE c.name = f.\"to\" COLLATE NOCASE END
    WHERE :? = 0 OR f.on_delete NOT IN ('NO ACTION', 'RESTRICT')
    ORDER BY f.id, f.seq";

/// Tables that have a foreign key which acts when a row is deleted.
const ACTING: &str = "
    SELECT DISTINCT m.name FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f
    WHERE m.type = 'table' AND f.on_delete NOT IN ('NO ACTION', 'RESTRICT') ORDER BY m.name";

/// Tables whose foreign keys may be checked at COMMIT only: their list does not tell.
const LATE: &str = "
    SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%DEFERRED%' ORDER BY name";

const FOREIGN_TRIGGERS: &str = "
    SELECT count(*) FROM sqlite_master
    WHERE type = 'trigger' AND tbl_name = :? COLLATE NOCASE AND substr(name, 1, length(:?)) <> :?";

const OTHERS_CHANGE: &str = "
    SELECT EXISTS (
            SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, length(:?)) <> :?
        ) OR EXISTS (
            SELECT 1 FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f
            WHERE m.type = 'table' AND (f.on_update NOT IN ('NO ACTION', 'RESTRICT')
                OR f.on_delete NOT IN ('NO ACTION', 'RESTRICT'))
        )";

const DECLARATION: &str = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :?";

/// A unique index of plain columns over all rows.
pub(super) struct Unique {
    pub(super) is_key: bool,
    /// Each with the collation that the index compares it by.
    pub(super) columns: Vec<(String, String)>,
}

/// What the table of this name looks like; None if there is none.
pub(crate) fn table(conn: &mut SqliteConnection, name: &str) -> QueryResult<Option<Introspected>> {
    let named = || vec![Bind::Text(name.to_owned())];
    let kind: Vec<DynRow> = Statement::new(KIND, named()).load(conn)?;
    let Some(kind) = kind.first().and_then(|row| row.0.first()?.text()) else {
        return Ok(None);
    };
    let mut found = Introspected::empty();
    if is_internal(name) || name.to_ascii_lowercase().starts_with("sqlite_") {
        found.problems.push(Problem::Internal);
    }
    found.problems.extend(match kind {
        "table" => None,
        "view" => Some(Problem::Kind("a view")),
        "virtual" => Some(Problem::Kind("a virtual table")),
        _ => Some(Problem::Kind("a part of a virtual table")),
    });
    let is_table = kind == "table";

    let uniques = uniques(conn, name)?;
    let key_index = uniques.iter().find(|unique| unique.is_key);
    let columns: Vec<DynRow> = Statement::new(COLUMNS, named()).load(conn)?;
    let mut key: Vec<(i64, usize)> = Vec::new();
    let mut has_key = false;
    for row in &columns {
        let [
            Cell::Text(column),
            Cell::Text(declared),
            Cell::Int(not_null),
            Cell::Int(has_default),
            Cell::Int(key_position),
            Cell::Int(hidden),
        ] = row.0.as_slice()
        else {
            return Err(diesel::result::Error::DeserializationError(
                format!("an unreadable column of {name} in pragma_table_xinfo").into(),
            ));
        };
        let is_key = *key_position > 0;
        has_key |= is_key;
        if METADATA.contains(&column.as_str()) {
            found.metadata.push(column.clone());
            continue;
        }
        if *hidden != 0 {
            // A generated column, which cannot be part of a key.
            continue;
        }
        let ty = column_type(declared);
        let collation = key_index
            .and_then(|index| index.columns.iter().find(|(part, _)| part == column))
            .map_or("BINARY", |(_, collation)| collation);
        if is_table {
            let problem = problem(column, declared, ty.as_ref(), is_key, collation);
            found.problems.extend(problem);
        }
        let Some(ty) = ty.filter(|_| !column.is_empty()) else {
            continue;
        };
        if is_key {
            key.push((*key_position, found.columns.len()));
        }
        // INTEGER PRIMARY KEY is the rowid itself, and then there is no index for the key.
        let is_rowid = is_key && key_index.is_none();
        found.sql_types.push(declared.clone());
        found.columns.push(Column {
            name: column.clone(),
            ty,
            nullable: *not_null == 0 && !is_key,
            has_default: *has_default != 0 || is_rowid,
            policy: Policy::default(),
            group: None,
            digits: None,
        });
    }
    key.sort_unstable();
    found.key = key.into_iter().map(|(_, at)| at).collect();
    if is_table && !has_key {
        found.problems.push(Problem::NoKey);
    }
    if found.columns.len() > MOST_COLUMNS {
        let problem = Problem::TooManyColumns(found.columns.len(), MOST_COLUMNS);
        found.problems.push(problem);
    }
    found.adopted = found.metadata.len() == METADATA.len();

    let prefix = || Bind::Text(TRIGGER_PREFIX.to_owned());
    let binds = vec![Bind::Text(name.to_owned()), prefix(), prefix()];
    let foreign: Vec<DynRow> = Statement::new(FOREIGN_TRIGGERS, binds).load(conn)?;
    found.has_foreign_triggers = foreign.iter().any(|row| row.0 != [Cell::Int(0)]);
    let declaration: Vec<DynRow> = Statement::new(DECLARATION, named()).load(conn)?;
    let declaration = declaration.first().and_then(|row| row.0.first()?.text());
    found.resolves_conflicts = declaration.is_some_and(resolves_conflicts);
    let parents: Vec<DynRow> = Statement::new(PARENTS, named()).load(conn)?;
    found.parents = parents
        .iter()
        .filter_map(|row| row.0.first()?.text().map(str::to_owned))
        .collect();
    found.foreign_keys = foreign_keys(conn, name, false)?;
    Ok(Some(found))
}

/// Whether there are other triggers than colsync's, on whatever table, or foreign keys that act.
pub(crate) fn others_change(conn: &mut SqliteConnection) -> QueryResult<bool> {
    let binds = vec![Bind::Text(TRIGGER_PREFIX.to_owned()); 2];
    let rows: Vec<DynRow> = Statement::once(OTHERS_CHANGE, binds).load(conn)?;
    Ok(rows.iter().any(|row| row.0 != [Cell::Int(0)]))
}

/// Whether a table's declaration says ON CONFLICT anywhere; no pragma tells.
fn resolves_conflicts(declaration: &str) -> bool {
    let mut before = "";
    declaration
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .any(|word| {
            let is_clause =
                before.eq_ignore_ascii_case("on") && word.eq_ignore_ascii_case("conflict");
            before = word;
            is_clause
        })
}

/// The foreign keys that delete rows, or change them, when the row that they point to is deleted.
pub(crate) fn acting(conn: &mut SqliteConnection) -> QueryResult<Vec<Acting>> {
    let rows: Vec<DynRow> = Statement::new(ACTING, Vec::new()).load(conn)?;
    let mut all = Vec::new();
    for table in rows.iter().filter_map(|row| row.0.first()?.text()) {
        let keys = foreign_keys(conn, table, true)?.into_iter();
        all.extend(keys.map(|key| Acting {
            child: quote(table),
            columns: key.columns,
            parent: quote(&key.table),
            references: key.references,
        }));
    }
    Ok(all)
}

/// The foreign keys that may be checked at COMMIT only.
pub(crate) fn late(conn: &mut SqliteConnection) -> QueryResult<Vec<Late>> {
    let rows: Vec<DynRow> = Statement::once(LATE, Vec::new()).load(conn)?;
    let mut all = Vec::new();
    for child in rows.iter().filter_map(|row| row.0.first()?.text()) {
        let keys = foreign_keys(conn, child, false)?.into_iter();
        all.extend(keys.map(|key| Late {
            child: child.to_owned(),
            key,
        }));
    }
    Ok(all)
}

/// A table's foreign keys, or those that act when a row is deleted.
fn foreign_keys(
    conn: &mut SqliteConnection,
    table: &str,
    acting: bool,
) -> QueryResult<Vec<ForeignKeyWire>> {
    let binds = vec![Bind::Text(table.to_owned()), Bind::Int(i64::from(acting))];
    let rows: Vec<DynRow> = Statement::new(FOREIGN_KEYS, binds).load(conn)?;
    let mut keys: Vec<(i64, ForeignKeyWire)> = Vec::new();
    for row in &rows {
        let [
            Cell::Int(id),
            Cell::Text(parent),
            Cell::Text(column),
            reference,
        ] = row.0.as_slice()
        else {
            continue;
        };
        if keys.last().is_none_or(|(last, _)| last != id) {
            let key = ForeignKeyWire {
                columns: Vec::new(),
                table: parent.clone(),
                references: Vec::new(),
            };
            keys.push((*id, key));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.columns.push(column.clone());
            key.references.extend(reference.text().map(str::to_owned));
        }
    }
    let mut keys: Vec<ForeignKeyWire> = keys.into_iter().map(|(_, key)| key).collect();
    // SQLite takes a foreign key to columns that do not exist, and refuses the rows.
    keys.retain(|key| key.columns.len() == key.references.len());
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// The unique indexes that an `OR REPLACE` makes room in, the key's among them unless it is the rowid.
/// Partial indexes and those of expressions are left out.
pub(super) fn uniques(conn: &mut SqliteConnection, table: &str) -> QueryResult<Vec<Unique>> {
    let rows: Vec<DynRow> =
        Statement::new(INDEXES, vec![Bind::Text(table.to_owned())]).load(conn)?;
    let mut uniques: Vec<(String, Option<Unique>)> = Vec::new();
    for row in &rows {
        let [
            Cell::Text(index),
            Cell::Text(origin),
            Cell::Int(partial),
            column,
            collation,
        ] = row.0.as_slice()
        else {
            continue;
        };
        if uniques.last().is_none_or(|(last, _)| last != index) {
            let unique = (*partial == 0).then(|| Unique {
                is_key: origin == "pk",
                columns: Vec::new(),
            });
            uniques.push((index.clone(), unique));
        }
        let Some((_, unique)) = uniques.last_mut() else {
            continue;
        };
        match (column.text(), collation.text()) {
            (Some(column), Some(collation)) => {
                if let Some(unique) = unique {
                    let part = (column.to_owned(), collation.to_owned());
                    unique.columns.push(part);
                }
            }
            _ => *unique = None,
        }
    }
    Ok(uniques
        .into_iter()
        .filter_map(|(_, unique)| unique)
        .collect())
}

fn problem(
    column: &str,
    declared: &str,
    ty: Option<&ColumnType>,
    is_key: bool,
    collation: &str,
) -> Option<Problem> {
    let column = column.to_owned();
    if column
        .to_ascii_lowercase()
        .starts_with(colsync_shared::schema::RESERVED_PREFIX)
    {
        return Some(Problem::Reserved(column));
    }
    if column.is_empty() {
        // In `sync_stamps` the empty name is the row's birth.
        return Some(Problem::Unnamed);
    }
    let Some(ty) = ty else {
        return Some(match declared.trim() {
            "" => Problem::Undeclared(column),
            ty => Problem::ColumnType {
                column,
                ty: ty.to_owned(),
            },
        });
    };
    if !is_key {
        return None;
    }
    if !matches!(
        ty,
        ColumnType::Uuid | ColumnType::Text { .. } | ColumnType::Int { .. }
    ) {
        return Some(Problem::KeyType {
            column,
            ty: declared.to_owned(),
        });
    }
    if !collation.eq_ignore_ascii_case("BINARY") {
        return Some(Problem::KeyCollation {
            column,
            collation: collation.to_owned(),
        });
    }
    None
}
