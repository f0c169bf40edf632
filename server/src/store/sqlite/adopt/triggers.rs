//! The triggers that capture what other programs write to a synced table of SQLite.
//!
//! Plain SQL, so that every program that writes the file is captured. An AFTER trigger cannot change the
//! row it fires for, so each of these updates the row once more; that update touches colsync's columns
//! only and moves the row on in the feed, by which the triggers know it and leave it alone.

use colsync_shared::ClientId;
use colsync_shared::ColumnType;

use super::super::introspect::{TRIGGER_PREFIX, Unique};
use crate::store::introspected::Introspected;
use crate::store::model::DELETED;
use colsync_shared::sql::{literal, quote};

/// Now, in microseconds; SQLite's clock has milliseconds.
const NOW: &str = "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000 \
     + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)";

const POSITION: &str = "(SELECT txid FROM colsync_feed)";

/// Inside the server's write transaction, a row that a user's own trigger writes has the transaction's
/// position; outside, every row has one of its own.
const MOVE_ON: &str = "UPDATE colsync_feed SET txid = txid + 1 WHERE writer_txid = 0";

const DELETED_MOVED: &str = "(OLD.sync_deleted_at IS NULL) <> (NEW.sync_deleted_at IS NULL)";

/// An update by the server. It is asked first, in a CASE: of the terms of an AND, SQLite asks those first that have
/// no subquery, and would compare every column of every row that the server writes. A position of 0 is that of an
/// adopted row, and no transaction's: while the server writes nothing, `writer_txid` is 0, too.
const IS_SERVERS_UPDATE: &str = "NEW.sync_txid > 0 AND NEW.sync_txid = (SELECT writer_txid FROM colsync_feed) \
     AND (NEW.sync_version > OLD.sync_version OR NEW.sync_txid <> OLD.sync_txid)";

/// An update by one of these triggers, which leaves the user's columns alone. A user's trigger that ran
/// in between may have moved the feed on once more.
const IS_OURS: &str = "NEW.sync_txid > OLD.sync_txid \
     AND NEW.sync_txid <= (SELECT txid FROM colsync_feed)";

/// An insert by the server.
const IS_SERVERS_INSERT: &str =
    "NEW.sync_txid > 0 AND NEW.sync_txid = (SELECT writer_txid FROM colsync_feed)";

/// The table's names and conditions, ready to stand in SQL.
struct Names<'a> {
    quoted: String,
    literal: String,
    /// The key's columns, and whether each is an integer.
    keys: Vec<(String, bool)>,
    /// Columns that are compared: all that take part in sync.
    columns: Vec<&'a str>,
    uniques: &'a [Unique],
}

/// The triggers by name, as SQLite keeps their text.
pub(super) fn all(table: &str, found: &Introspected, uniques: &[Unique]) -> Vec<(String, String)> {
    let names = Names {
        quoted: quote(table),
        literal: literal(table),
        keys: found
            .key_columns()
            .iter()
            .map(|key| (quote(&key.name), matches!(key.ty, ColumnType::Int { .. })))
            .collect(),
        columns: found
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect(),
        uniques,
    };
    let triggers = [
        ("keyinsert", names.guard("INSERT")),
        ("keyupdate", names.guard(&names.update_of_key())),
        ("noteinsert", names.note_insert()),
        ("noteupdate", names.note_update()),
        ("insert", names.insert()),
        ("update", names.update()),
        ("move", names.moved()),
        ("restore", names.restore()),
        ("delete", names.delete()),
    ];
    triggers
        .into_iter()
        .map(|(word, rest)| {
            let name = format!("{TRIGGER_PREFIX}{table}_{word}");
            let sql = format!("CREATE TRIGGER {} {rest}", quote(&name));
            (name, sql)
        })
        .collect()
}

impl Names<'_> {
    /// Before what makes a key: refuses one that is none. SQLite takes NULL into a key that does not say NOT NULL, and a
    /// blob into any; no client could be told of the row.
    fn guard(&self, event: &str) -> String {
        format!(
            "BEFORE {event} ON {table} FOR EACH ROW\nWHEN {unfit}\nBEGIN\n    \
             SELECT RAISE(ABORT, 'colsync: a key is a number or a text, and neither NULL nor a blob');\nEND",
            table = self.quoted,
            unfit = self.unfit("NEW"),
        )
    }

    fn unfit(&self, row: &str) -> String {
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|(key, _)| unfit(&format!("{row}.{key}")))
            .collect();
        parts.join(" OR ")
    }

    fn update_of_key(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|(key, _)| key.as_str()).collect();
        format!("UPDATE OF {}", keys.join(", "))
    }

    /// Before an insert: notes the rows that an OR REPLACE would delete.
    fn note_insert(&self) -> String {
        let exists: Vec<String> = self
            .matches()
            .map(|matches| {
                format!(
                    "EXISTS (SELECT 1 FROM {} AS o WHERE {matches})",
                    self.quoted
                )
            })
            .collect();
        format!(
            "BEFORE INSERT ON {table} FOR EACH ROW\n\
             WHEN NOT ({IS_SERVERS_INSERT}) AND ({exists})\nBEGIN\n{note}END",
            table = self.quoted,
            exists = exists.join(" OR "),
            note = self.note(""),
        )
    }

    /// Before an update of unique columns: notes the other rows that an OR REPLACE would delete.
    fn note_update(&self) -> String {
        let not_itself = format!(" AND NOT ({})", self.same_key("o", "OLD"));
        let exists: Vec<String> = self
            .matches()
            .map(|matches| {
                format!(
                    "EXISTS (SELECT 1 FROM {} AS o WHERE {matches}{not_itself})",
                    self.quoted
                )
            })
            .collect();
        let mut columns: Vec<String> = self.keys.iter().map(|(key, _)| key.clone()).collect();
        for (column, _) in self.uniques.iter().flat_map(|unique| &unique.columns) {
            let column = quote(column);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        format!(
            "BEFORE UPDATE OF {columns} ON {table} FOR EACH ROW\n\
             WHEN NOT ({IS_SERVERS_UPDATE}) AND ({exists})\nBEGIN\n{note}END",
            columns = columns.join(", "),
            table = self.quoted,
            exists = exists.join(" OR "),
            note = self.note(&not_itself),
        )
    }

    fn note(&self, and_not: &str) -> String {
        let selects: Vec<String> = self
            .matches()
            .map(|matches| {
                format!(
                    "SELECT {table}, {id}, o.sync_version, {parts} FROM {quoted} AS o \
                     WHERE {matches}{and_not}",
                    table = self.literal,
                    id = self.id("o"),
                    parts = self.parts("o"),
                    quoted = self.quoted,
                )
            })
            .collect();
        format!(
            "    DELETE FROM colsync_replaced WHERE table_name = {table};\n    \
             INSERT INTO colsync_replaced (table_name, row_id, version, parts)\n        {selects};\n",
            table = self.literal,
            selects = selects.join("\n        UNION "),
        )
    }

    fn insert(&self) -> String {
        format!(
            "AFTER INSERT ON {table} FOR EACH ROW\nWHEN NOT ({IS_SERVERS_INSERT})\nBEGIN\n    \
             {MOVE_ON};\n{born}END",
            table = self.quoted,
            born = self.born(),
        )
    }

    /// The row of key NEW is as newly inserted, and goes on from the version of the row it replaces or
    /// of its tombstone.
    fn born(&self) -> String {
        let client = ClientId::DIRECT_SQL.0.simple();
        let id = self.id("NEW");
        let at_id = format!("table_name = {} AND row_id = {id}", self.literal);
        format!(
            "{buried}    \
             UPDATE {table} SET\n        \
                 sync_version = 1 + max(\n            \
                     coalesce((SELECT version FROM colsync_tombstones WHERE {at_id}), 0),\n            \
                     coalesce((SELECT version FROM colsync_replaced WHERE {at_id}), 0)),\n        \
                 sync_txid = {POSITION},\n        \
                 sync_server_last_updated = {NOW},\n        \
                 sync_client_last_updated = {NOW},\n        \
                 sync_client_id = x'{client}',\n        \
                 sync_stamps = NULL\n    \
             WHERE {same_key};\n    \
             DELETE FROM colsync_tombstones WHERE {at_id};\n    \
             DELETE FROM colsync_replaced WHERE table_name = {name};\n",
            buried = self.bury_replaced(),
            table = self.quoted,
            same_key = self.same_key(&self.quoted, "NEW"),
            name = self.literal,
        )
    }

    /// Tombstones for the noted rows that are gone.
    fn bury_replaced(&self) -> String {
        let keys: Vec<String> = self
            .keys
            .iter()
            .enumerate()
            .map(|(at, (key, _))| format!("o.{key} = json_extract(r.parts, '$[{at}]')"))
            .collect();
        format!(
            "    INSERT INTO colsync_tombstones\n            \
                 (table_name, row_id, version, txid, deleted_at, client)\n        \
                 SELECT r.table_name, r.row_id, r.version + 1, {POSITION}, {NOW}, '{client}'\n        \
                 FROM colsync_replaced AS r\n        \
                 WHERE r.table_name = {name}\n            \
                     AND NOT EXISTS (SELECT 1 FROM {table} AS o WHERE {keys})\n        \
                 ON CONFLICT (table_name, row_id) DO NOTHING;\n",
            client = ClientId::DIRECT_SQL,
            name = self.literal,
            table = self.quoted,
            keys = keys.join(" AND "),
        )
    }

    /// A tombstone for the row OLD, unless its key was none: nobody was told of it.
    fn bury(&self) -> String {
        format!(
            "    {MOVE_ON};\n    \
             INSERT INTO colsync_tombstones\n            \
                 (table_name, row_id, version, txid, deleted_at, client)\n        \
                 SELECT {name}, {id}, OLD.sync_version + 1, {POSITION}, {NOW}, '{client}'\n        \
                 WHERE NOT ({unfit})\n        \
                 ON CONFLICT (table_name, row_id) DO UPDATE SET\n            \
                     version = max(version + 1, excluded.version), txid = excluded.txid,\n            \
                     deleted_at = excluded.deleted_at, client = excluded.client;\n    \
             DELETE FROM colsync_replaced WHERE table_name = {name} AND row_id = {id};\n",
            name = self.literal,
            id = self.id("OLD"),
            unfit = self.unfit("OLD"),
            client = ClientId::DIRECT_SQL,
        )
    }

    fn delete(&self) -> String {
        format!(
            "AFTER DELETE ON {} FOR EACH ROW\nBEGIN\n{}END",
            self.quoted,
            self.bury()
        )
    }

    /// A change of the key: the old row is gone, and the new one newly inserted.
    fn moved(&self) -> String {
        format!(
            "AFTER {update} ON {table} FOR EACH ROW\n\
             WHEN NOT ({IS_SERVERS_UPDATE}) AND {same_key} IS NOT 1\nBEGIN\n{bury}{born}END",
            update = self.update_of_key(),
            table = self.quoted,
            same_key = self.same_key("NEW", "OLD"),
            bury = self.bury(),
            born = self.born(),
        )
    }

    fn update(&self) -> String {
        let buried = if self.uniques.iter().any(|unique| !unique.is_key) {
            self.bury_replaced()
        } else {
            String::new()
        };
        let here = self.quoted.as_str();
        format!(
            "AFTER UPDATE ON {here} FOR EACH ROW\n\
             WHEN CASE WHEN {IS_SERVERS_UPDATE} THEN 0\n    \
             ELSE {same_key} AND ({DELETED_MOVED} OR {changed}) END\nBEGIN\n    \
             {MOVE_ON};\n{buried}    \
             UPDATE {here} SET\n        \
                 sync_version = max(sync_version, OLD.sync_version) + 1,\n        \
                 sync_deleted_at = CASE WHEN {DELETED_MOVED}\n            \
                     THEN sync_deleted_at ELSE OLD.sync_deleted_at END,\n        \
                 sync_server_last_updated = {NOW},\n        \
                 sync_client_last_updated = OLD.sync_client_last_updated,\n        \
                 sync_client_id = OLD.sync_client_id,\n        \
                 sync_stamps = json_patch(\n            \
                     coalesce(CASE WHEN sync_version > OLD.sync_version\n                \
                         THEN sync_stamps ELSE OLD.sync_stamps END,\n                \
                         json_object('', json_array(OLD.sync_version, OLD.sync_txid))),\n            \
                     {entries}),\n        \
                 sync_txid = {POSITION}\n    \
             WHERE {at_key};\n    \
             -- What a user's trigger made of that update: this trigger does not fire inside itself.\n    \
             {MOVE_ON} AND EXISTS (SELECT 1 FROM {here}\n        \
                 WHERE {at_key} AND ({changed_late}));\n    \
             UPDATE {here} SET\n        \
                 sync_version = sync_version + 1,\n        \
                 sync_stamps = json_patch(\n            \
                     coalesce(sync_stamps, json_object('', json_array(sync_version, sync_txid))),\n            \
                     {late_entries}),\n        \
                 sync_txid = {POSITION}\n    \
             WHERE {at_key} AND ({changed_late});\nEND",
            same_key = self.same_key("NEW", "OLD"),
            changed = self.changed("NEW", "OLD"),
            entries = self.entries("NEW", "OLD", "max(sync_version, OLD.sync_version) + 1"),
            at_key = self.same_key(here, "NEW"),
            late_entries = self.entries(here, "NEW", "sync_version + 1"),
            changed_late = self.changed(here, "NEW"),
        )
    }

    /// A program wrote a stale row back, and nothing in it is new: its version and position return. With
    /// recursive triggers this would fire inside itself, so it leaves a token while it works.
    fn restore(&self) -> String {
        format!(
            "AFTER UPDATE OF sync_version, sync_txid ON {table} FOR EACH ROW\n\
             WHEN CASE WHEN NEW.sync_version = OLD.sync_version AND NEW.sync_txid = OLD.sync_txid THEN 0\n    \
             WHEN {IS_SERVERS_UPDATE} THEN 0 WHEN {IS_OURS} THEN 0\n    \
             ELSE {same_key} AND NOT ({DELETED_MOVED} OR {changed})\n    \
             AND NOT EXISTS (SELECT 1 FROM colsync_replaced WHERE table_name = '' AND row_id = '') END\n\
             BEGIN\n    \
             INSERT INTO colsync_replaced (table_name, row_id, version) VALUES ('', '', 0);\n    \
             UPDATE {table} SET\n        \
                 sync_version = OLD.sync_version, sync_deleted_at = OLD.sync_deleted_at,\n        \
                 sync_server_last_updated = OLD.sync_server_last_updated,\n        \
                 sync_client_last_updated = OLD.sync_client_last_updated,\n        \
                 sync_client_id = OLD.sync_client_id, sync_stamps = OLD.sync_stamps,\n        \
                 sync_txid = OLD.sync_txid\n    \
             WHERE {at_key};\n    \
             DELETE FROM colsync_replaced WHERE table_name = '' AND row_id = '';\nEND",
            table = self.quoted,
            same_key = self.same_key("NEW", "OLD"),
            changed = self.changed("NEW", "OLD"),
            at_key = self.same_key(&self.quoted, "NEW"),
        )
    }

    /// Conditions, one for each unique index, true of a row `o` that stands in the way of NEW.
    fn matches(&self) -> impl Iterator<Item = String> + '_ {
        let key = std::iter::once(self.same_key("o", "NEW"));
        let others = self.uniques.iter().filter(|unique| !unique.is_key);
        key.chain(others.map(|unique| {
            let parts: Vec<String> = unique
                .columns
                .iter()
                .map(|(column, collation)| {
                    let (column, collation) = (quote(column), quote(collation));
                    format!("o.{column} = NEW.{column} COLLATE {collation}")
                })
                .collect();
            parts.join(" AND ")
        }))
    }

    fn same_key(&self, one: &str, other: &str) -> String {
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|(key, _)| format!("{one}.{key} = {other}.{key}"))
            .collect();
        format!("({})", parts.join(" AND "))
    }

    /// The key's text form, as `RowKey` writes it.
    fn id(&self, row: &str) -> String {
        if let [(key, is_integer)] = self.keys.as_slice() {
            return if *is_integer {
                format!("CAST({row}.{key} AS TEXT)")
            } else {
                format!("{row}.{key}")
            };
        }
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|(key, _)| {
                format!("replace(replace(CAST({row}.{key} AS TEXT), '%', '%25'), ',', '%2C')")
            })
            .collect();
        parts.join(" || ',' || ")
    }

    fn parts(&self, row: &str) -> String {
        let keys: Vec<String> = self
            .keys
            .iter()
            .map(|(key, _)| format!("{row}.{key}"))
            .collect();
        format!("json_array({})", keys.join(", "))
    }

    fn changed(&self, new: &str, old: &str) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| differs(column, new, old))
            .collect();
        any(&columns)
    }

    /// A JSON object with an entry for every column that differs. The deleted flag is compared only
    /// where both rows are the trigger's.
    fn entries(&self, new: &str, old: &str, version: &str) -> String {
        let mut columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("({}, {})", literal(column), differs(column, new, old)))
            .collect();
        if old == "OLD" {
            columns.push(format!("('{DELETED}', {DELETED_MOVED})"));
        }
        format!(
            "(SELECT json_group_object(column1, json_array({NOW}, '{client}', {version}, {POSITION}))\n                \
             FROM (VALUES {columns}) WHERE column2)",
            client = ClientId::DIRECT_SQL,
            columns = columns.join(",\n                    "),
        )
    }
}

/// Whether a value can be no part of a key.
pub(super) fn unfit(value: &str) -> String {
    format!("typeof({value}) NOT IN ('integer', 'text')")
}

/// Whether a column really differs: also 'abc' from 'ABC' where the column ignores case, and 1 from 1.0.
fn differs(column: &str, new: &str, old: &str) -> String {
    let column = quote(column);
    format!(
        "({new}.{column} IS NOT {old}.{column} COLLATE BINARY \
         OR typeof({new}.{column}) <> typeof({old}.{column}))"
    )
}

/// Whether one of the conditions holds: halved again and again, as SQLite bounds the depth of an
/// expression.
fn any(conditions: &[String]) -> String {
    if conditions.len() <= 8 {
        return conditions.join("\n    OR ");
    }
    let (left, right) = conditions.split_at(conditions.len() / 2);
    format!("({})\n    OR ({})", any(left), any(right))
}
