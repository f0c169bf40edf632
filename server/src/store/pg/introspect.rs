//! Reads PostgreSQL's catalogs: what a table of the current schema looks like.
//!
//! Must not write anything.

use colsync_shared::schema_wire::ForeignKeyWire;
use colsync_shared::{Column, ColumnType, Policy};
use diesel::{PgConnection, QueryResult, RunQueryDsl};

use crate::store::adopt::{Problem, is_internal};
use crate::store::introspected::{Introspected, METADATA};
use crate::store::pointed::Acting;
use crate::store::statement::{Bind, Cell, DynRow, Statement};
use colsync_shared::sql::quote;

/// How colsync's triggers are called; the prefix makes them fire after the user's own.
pub(super) const TRIGGER_PREFIX: &str = "zz_colsync_";

const TABLE: &str = "
    SELECT c.oid::bigint, c.relkind::text,
        EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)),
        EXISTS (
            SELECT FROM pg_trigger t
            WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
                AND NOT starts_with(t.tgname::text, :?)
        ),
        EXISTS (SELECT FROM pg_index k WHERE k.indrelid = c.oid AND k.indisprimary AND NOT k.indimmediate)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relname = :?
        AND c.relkind NOT IN ('i', 'I', 'S', 't', 'c')";

/// Of an array, the type is that of its items.
const COLUMNS: &str = "
    SELECT a.attname::text, a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',
        a.atttypmod::bigint,
        coalesce(array_position(k.indkey::int2[], a.attnum) - array_lower(k.indkey::int2[], 1), -1)::bigint,
        coalesce(item.oid, t.oid) IS DISTINCT FROM t.oid,
        coalesce(item.typname, t.typname)::text,
        coalesce(item.typtype, t.typtype)::text,
        coalesce(itemn.nspname, tn.nspname)::text,
        format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, NULL),
        (
            SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text
            FROM pg_enum e WHERE e.enumtypid = coalesce(item.oid, t.oid)
        ),
        (SELECT co.collname::text FROM pg_collation co
            WHERE co.oid = a.attcollation AND NOT co.collisdeterministic)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace tn ON tn.oid = t.typnamespace
    LEFT JOIN pg_type item ON item.oid = t.typelem AND item.typarray = t.oid
    LEFT JOIN pg_namespace itemn ON itemn.oid = item.typnamespace
    LEFT JOIN pg_index k ON k.indrelid = a.attrelid AND k.indisprimary
    WHERE a.attrelid = :?::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

const PARENTS: &str = "
    SELECT DISTINCT p.relname::text FROM pg_constraint f
    JOIN pg_class p ON p.oid = f.confrelid
    WHERE f.contype = 'f' AND f.conrelid = :?::bigint::oid
    ORDER BY 1";

/// The names of a foreign key's columns, and of those that it points to, as JSON lists.
macro_rules! key_columns {
    () => {
        "
        (SELECT json_agg(a.attname ORDER BY k.position)::text
            FROM unnest(f.conkey) WITH ORDINALITY AS k (number, position)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number),
        (SELECT json_agg(a.attname ORDER BY k.position)::text
            FROM unnest(f.confkey) WITH ORDINALITY AS k (number, position)
            JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number)"
    };
}

/// The foreign keys to tables of the same schema, with the names of their columns as JSON lists.
const FOREIGN_KEYS: &str = concat!(
    "
    SELECT p.relname::text,",
    key_columns!(),
    "
    FROM pg_constraint f
    JOIN pg_class c ON c.oid = f.conrelid
    JOIN pg_class p ON p.oid = f.confrelid AND p.relnamespace = c.relnamespace
    WHERE f.contype = 'f' AND f.conrelid = :?::bigint::oid"
);

/// The foreign keys of all tables that act when a row is deleted: the table, the one that it points to, each with its schema
/// where that is not the current one, and the names of their columns as JSON lists.
const ACTING: &str = concat!(
    "
    SELECT nullif(cn.nspname, current_schema())::text, c.relname::text,
        nullif(pn.nspname, current_schema())::text, p.relname::text,",
    key_columns!(),
    "
    FROM pg_constraint f
    JOIN pg_class c ON c.oid = f.conrelid
    JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = f.confrelid
    JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE f.contype = 'f' AND f.confdeltype IN ('c', 'n', 'd')
    ORDER BY f.oid"
);

const OTHERS_CHANGE: &str = "
    SELECT EXISTS (
            SELECT FROM pg_trigger t WHERE NOT t.tgisinternal AND NOT starts_with(t.tgname::text, :?)
        ) OR EXISTS (
            SELECT FROM pg_constraint f WHERE f.contype = 'f'
                AND (f.confupdtype IN ('c', 'n', 'd') OR f.confdeltype IN ('c', 'n', 'd'))
        )";

/// Whether there are other triggers than colsync's, on whatever table, or foreign keys that act.
pub(crate) fn others_change(conn: &mut PgConnection) -> QueryResult<bool> {
    let binds = vec![Bind::Text(TRIGGER_PREFIX.to_owned())];
    let rows: Vec<DynRow> = Statement::once(OTHERS_CHANGE, binds).load(conn)?;
    Ok(rows.iter().any(|row| row.0 == [Cell::Bool(true)]))
}

const LATE_UNIQUES: &str = "
    SELECT string_agg(format('%I.%I', n.nspname, u.conname), ', ') FROM pg_constraint u
    JOIN pg_namespace n ON n.oid = u.connamespace
    WHERE u.contype IN ('u', 'x') AND u.condeferred";

/// The unique constraints that are checked at COMMIT, as SQL lists them.
pub(crate) fn late_uniques(conn: &mut PgConnection) -> QueryResult<Option<String>> {
    let rows: Vec<DynRow> = Statement::once(LATE_UNIQUES, Vec::new()).load(conn)?;
    let names = rows.first().and_then(|row| row.0.first()?.text());
    Ok(names.map(str::to_owned))
}

/// The foreign keys that delete rows, or change them, when the row that they point to is deleted.
pub(crate) fn acting(conn: &mut PgConnection) -> QueryResult<Vec<Acting>> {
    let rows: Vec<DynRow> = Statement::new(ACTING, Vec::new()).load(conn)?;
    let key = |row: &DynRow| {
        let [child_in, child, parent_in, parent, columns, references] = row.0.as_slice() else {
            return None;
        };
        let name = |schema: &Cell, table: &Cell| {
            let table = quote(table.text()?);
            let schema = schema.text().map(|schema| format!("{}.", quote(schema)));
            Some(schema.unwrap_or_default() + &table)
        };
        Some(Acting {
            child: name(child_in, child)?,
            columns: serde_json::from_str(columns.text()?).ok()?,
            parent: name(parent_in, parent)?,
            references: serde_json::from_str(references.text()?).ok()?,
        })
    };
    Ok(rows.iter().filter_map(key).collect())
}

/// What the table of this name in the current schema looks like; None if there is none.
pub(crate) fn table(conn: &mut PgConnection, name: &str) -> QueryResult<Option<Introspected>> {
    let binds = vec![
        Bind::Text(TRIGGER_PREFIX.to_owned()),
        Bind::Text(name.to_owned()),
    ];
    let rows: Vec<DynRow> = Statement::new(TABLE, binds).load(conn)?;
    let Some(
        [
            Cell::Int(oid),
            Cell::Text(kind),
            inherits,
            foreign,
            deferrable,
        ],
    ) = rows.first().map(|row| row.0.as_slice())
    else {
        return Ok(None);
    };
    let mut found = Introspected::empty();
    found.has_foreign_triggers = *foreign == Cell::Bool(true);
    if is_internal(name) {
        found.problems.push(Problem::Internal);
    }
    found.problems.extend(match kind.as_str() {
        "r" if *inherits == Cell::Bool(true) => Some(Problem::Kind("part of an inheritance tree")),
        "r" => None,
        "p" => Some(Problem::Kind("a partitioned table")),
        "v" => Some(Problem::Kind("a view")),
        "m" => Some(Problem::Kind("a materialized view")),
        "f" => Some(Problem::Kind("a foreign table")),
        _ => Some(Problem::Kind("something else")),
    });

    let columns: Vec<DynRow> = Statement::new(COLUMNS, vec![Bind::Int(*oid)]).load(conn)?;
    let mut key: Vec<(i64, usize)> = Vec::new();
    let mut has_key = false;
    for row in &columns {
        let Some(column) = PgColumn::read(&row.0) else {
            return Err(diesel::result::Error::DeserializationError(
                format!("an unreadable column of {name} in pg_attribute").into(),
            ));
        };
        has_key |= column.key_position.is_some();
        if METADATA.contains(&column.name.as_str()) {
            found.metadata.push(column.name);
            continue;
        }
        found.problems.extend(column.problem());
        if column.is_generated {
            continue;
        }
        let Some(ty) = column.ty() else { continue };
        if let Some(position) = column.key_position {
            key.push((position, found.columns.len()));
        }
        found.sql_types.push(column.sql_type());
        let digits = column.digits();
        found.columns.push(Column {
            name: column.name,
            ty,
            nullable: !column.not_null,
            has_default: column.has_default,
            policy: Policy::default(),
            group: None,
            digits,
        });
    }
    key.sort_unstable();
    found.key = key.into_iter().map(|(_, at)| at).collect();
    // A view has no key either, but that is not its trouble.
    if !has_key && kind == "r" {
        found.problems.push(Problem::NoKey);
    }
    if *deferrable == Cell::Bool(true) {
        found.problems.push(Problem::DeferrableKey);
    }
    found.adopted = found.metadata.len() == METADATA.len();

    let parents: Vec<DynRow> = Statement::new(PARENTS, vec![Bind::Int(*oid)]).load(conn)?;
    found.parents = parents
        .iter()
        .filter_map(|row| row.0.first()?.text().map(str::to_owned))
        .collect();
    found.foreign_keys = foreign_keys(conn, *oid)?;
    Ok(Some(found))
}

fn foreign_keys(conn: &mut PgConnection, oid: i64) -> QueryResult<Vec<ForeignKeyWire>> {
    let rows: Vec<DynRow> = Statement::new(FOREIGN_KEYS, vec![Bind::Int(oid)]).load(conn)?;
    let mut keys: Vec<ForeignKeyWire> = rows.iter().filter_map(foreign_key).collect();
    keys.sort();
    keys.dedup();
    Ok(keys)
}

fn foreign_key(row: &DynRow) -> Option<ForeignKeyWire> {
    let [Cell::Text(table), columns, references] = row.0.as_slice() else {
        return None;
    };
    let names = |cell: &Cell| serde_json::from_str(cell.text()?).ok();
    Some(ForeignKeyWire {
        columns: names(columns)?,
        table: table.clone(),
        references: names(references)?,
    })
}

/// A column as the catalogs describe it.
struct PgColumn {
    name: String,
    not_null: bool,
    has_default: bool,
    is_generated: bool,
    /// Length, precision and scale, packed; −1 if there is none.
    modifier: i64,
    key_position: Option<i64>,
    is_array: bool,
    /// Of an array, the items' type: name, kind and schema.
    type_name: String,
    type_kind: String,
    type_schema: String,
    /// As the user declared it.
    type_text: String,
    /// The same without length, precision and scale.
    bare_type: String,
    labels: Option<String>,
    /// A collation under which texts of different bytes may be equal.
    loose_collation: Option<String>,
}

impl PgColumn {
    fn read(cells: &[Cell]) -> Option<PgColumn> {
        let [
            Cell::Text(name),
            Cell::Bool(not_null),
            Cell::Bool(has_default),
            Cell::Bool(is_generated),
            Cell::Int(modifier),
            Cell::Int(key_position),
            Cell::Bool(is_array),
            Cell::Text(type_name),
            Cell::Text(type_kind),
            Cell::Text(type_schema),
            Cell::Text(type_text),
            Cell::Text(bare_type),
            labels,
            loose_collation,
        ] = cells
        else {
            return None;
        };
        Some(PgColumn {
            name: name.clone(),
            not_null: *not_null,
            has_default: *has_default,
            is_generated: *is_generated,
            modifier: *modifier,
            key_position: (*key_position >= 0).then_some(*key_position),
            is_array: *is_array,
            type_name: type_name.clone(),
            type_kind: type_kind.clone(),
            type_schema: type_schema.clone(),
            type_text: type_text.clone(),
            bare_type: bare_type.clone(),
            labels: labels.text().map(str::to_owned),
            loose_collation: loose_collation.text().map(str::to_owned),
        })
    }

    fn problem(&self) -> Option<Problem> {
        let column = self.name.clone();
        if self
            .name
            .starts_with(colsync_shared::schema::RESERVED_PREFIX)
        {
            return Some(Problem::Reserved(column));
        }
        if self.key_position.is_some() {
            if self.is_generated {
                let ty = "a generated column".to_owned();
                return Some(Problem::KeyType { column, ty });
            }
            let fits = matches!(
                self.ty(),
                Some(ColumnType::Uuid | ColumnType::Text { .. } | ColumnType::Int { .. })
            );
            if !fits {
                let ty = self.type_text.clone();
                return Some(Problem::KeyType { column, ty });
            }
            if let Some(collation) = self.loose_collation.clone() {
                return Some(Problem::KeyCollation { column, collation });
            }
        }
        if self.ty().is_none() && !self.is_generated {
            let ty = self.type_text.clone();
            return Some(Problem::ColumnType { column, ty });
        }
        None
    }

    fn ty(&self) -> Option<ColumnType> {
        let item = if self.type_kind == "e" {
            let labels = self.labels.as_deref().unwrap_or("[]");
            ColumnType::Enum {
                labels: serde_json::from_str(labels).ok()?,
            }
        } else if self.type_schema == "pg_catalog" && self.type_kind == "b" {
            builtin(&self.type_name, self.modifier)?
        } else {
            return None;
        };
        Some(if self.is_array {
            ColumnType::Array(Box::new(item))
        } else {
            item
        })
    }

    /// Digits after the point that it rounds to, where its type does not say.
    fn digits(&self) -> Option<i32> {
        let modifier = i32::try_from(self.modifier)
            .ok()
            .filter(|&modifier| modifier >= 0)?;
        match self.type_name.as_str() {
            "time" | "timestamp" | "timestamptz" => Some(modifier).filter(|&digits| digits < 6),
            "numeric" => Some(numeric_scale(modifier - 4)).filter(|&scale| scale < 0),
            _ => None,
        }
    }

    /// The type to cast to: enums with their schema, which need not be in the search path.
    fn sql_type(&self) -> String {
        if self.type_kind != "e" {
            return self.bare_type.clone();
        }
        let array = if self.is_array { "[]" } else { "" };
        format!(
            "{}.{}{array}",
            quote(&self.type_schema),
            quote(&self.type_name)
        )
    }
}

/// The type called `name` in `pg_catalog`; None if colsync cannot sync it.
fn builtin(name: &str, modifier: i64) -> Option<ColumnType> {
    // The modifier counts the four bytes of a length header that is no longer there.
    let modifier = u32::try_from(modifier - 4).ok();
    Some(match name {
        "bool" => ColumnType::Bool,
        "int2" => ColumnType::Int { bits: 16 },
        "int4" => ColumnType::Int { bits: 32 },
        "int8" => ColumnType::Int { bits: 64 },
        "float4" => ColumnType::Real { bits: 32 },
        "float8" => ColumnType::Real { bits: 64 },
        "numeric" => decimal(modifier),
        "text" => ColumnType::Text { max_length: None },
        "varchar" => ColumnType::Text {
            max_length: modifier,
        },
        "uuid" => ColumnType::Uuid,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "timestamp" => ColumnType::DateTime,
        "timestamptz" => ColumnType::Timestamp,
        "bytea" => ColumnType::Bytes,
        "json" | "jsonb" => ColumnType::Json,
        _ => return None,
    })
}

/// numeric's modifier: precision in the upper half, scale in the lower 11 bits, with a sign.
fn decimal(modifier: Option<u32>) -> ColumnType {
    let Some(modifier) = modifier else {
        return ColumnType::Decimal {
            precision: None,
            scale: None,
        };
    };
    let precision = (modifier >> 16) & 0xffff;
    // numeric(3, -2) holds whole hundreds of up to five digits.
    let scale = numeric_scale(modifier.cast_signed());
    ColumnType::Decimal {
        precision: Some(precision + scale.min(0).unsigned_abs()),
        scale: Some(scale.max(0).unsigned_abs()),
    }
}

fn numeric_scale(modifier: i32) -> i32 {
    let scale = modifier & 0x7ff;
    if scale >= 1024 { scale - 2048 } else { scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_unpacked() {
        let check = |name, modifier, expect| assert_eq!(builtin(name, modifier), Some(expect));
        let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
        check("numeric", -1, decimal(None, None));
        check("numeric", (10 << 16) + 2 + 4, decimal(Some(10), Some(2)));
        check("numeric", (3 << 16) + 2046 + 4, decimal(Some(5), Some(0)));
        let text = |max_length| ColumnType::Text { max_length };
        check("varchar", 44, text(Some(40)));
        check("varchar", -1, text(None));
        assert_eq!(builtin("bpchar", 8), None);
        assert_eq!(builtin("interval", -1), None);
    }
}
