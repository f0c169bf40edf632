//! A tracked table as it is in the app's file: its columns, its key, and how its rows are named.
//!
//! Must not know what the server thinks of it.

use std::hash::{Hash, Hasher};

use colsync_shared::sql::quote;
use colsync_shared::sqlite::Stored;

/// A tracked table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LocalTable {
    /// Under which the log names it.
    pub(crate) number: i64,
    /// Its name, as the file spells it.
    pub(crate) name: String,
    /// The captured columns in the table's order: all but generated ones.
    pub(crate) columns: Vec<LocalColumn>,
    /// Positions of the key's columns in `columns`, in the key's order. Never empty.
    pub(crate) key: Vec<usize>,
    /// Triggers of the app's own on this table that write to tracked tables, each with its SQL. They are
    /// set aside while the server's rows are applied: what they would do has come from the server.
    pub(crate) echoing: Vec<(String, String)>,
    /// Other triggers of the app's own on this table that end more than the statement that they refuse, each with its SQL
    /// and with what stands in for it while the server's rows are applied: it refuses the row alone.
    pub(crate) ending: Vec<(String, String, String)>,
    /// Whether constraints of it say what is to become of a conflict (`UNIQUE ON CONFLICT REPLACE`).
    pub(crate) resolves: bool,
}

/// A column of a tracked table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LocalColumn {
    /// Its name, as the file spells it.
    pub(crate) name: String,
    /// Its declared type, as written.
    pub(crate) declared: String,
    /// Whether it takes no NULL.
    pub(crate) not_null: bool,
    /// Its default, an SQL expression.
    pub(crate) default: Option<String>,
}

/// A row's id as the log has it: the key's value as it is stored, or the texts of its columns joined.
#[derive(Debug, Clone)]
pub(crate) struct RowId(pub(crate) Stored);

/// A row of a table, by the table's number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RowRef {
    /// The table's number.
    pub(crate) table: i64,
    /// The row's id.
    pub(crate) id: RowId,
}

impl PartialEq for RowId {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Stored::Real(a), Stored::Real(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}

impl Eq for RowId {}

impl Hash for RowId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.0).hash(state);
        match &self.0 {
            Stored::Null => {}
            Stored::Int(n) => n.hash(state),
            Stored::Real(x) => x.to_bits().hash(state),
            Stored::Text(text) => text.hash(state),
            Stored::Bytes(bytes) => bytes.hash(state),
        }
    }
}

impl LocalTable {
    /// Whether triggers of the app's own have to change while the server's rows are applied.
    pub(crate) fn has_to_stand_aside(&self) -> bool {
        !self.echoing.is_empty() || !self.ending.is_empty()
    }

    /// Where the column called `name` stands. SQLite's names differ in more than case.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether the column at `position` is part of the key.
    pub(crate) fn is_key(&self, position: usize) -> bool {
        self.key.contains(&position)
    }

    /// The key's columns, in the key's order.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = &LocalColumn> {
        self.key.iter().filter_map(|&at| self.columns.get(at))
    }

    /// The expression of a row's id, for the row that SQL knows as `alias` (`NEW`, `OLD`, a table's name).
    pub(crate) fn id_expression(&self, alias: &str) -> String {
        let parts: Vec<String> = self
            .key_columns()
            .map(|column| format!("{alias}.{}", quote(&column.name)))
            .collect();
        match parts.as_slice() {
            [only] => only.clone(),
            parts => {
                let columns = self.key_columns().zip(parts);
                let encoded: Vec<String> = columns
                    .map(|(column, part)| column.part_expression(part))
                    .collect();
                encoded.join(" || ',' || ")
            }
        }
    }

    /// The condition that finds the row `id`, and its values. It goes through the key's index, and then
    /// compares bytes: under NOCASE, 'abc' is not the row 'ABC'.
    pub(crate) fn at_id(&self, id: &RowId) -> (String, Vec<Stored>) {
        let mut conditions = Vec::with_capacity(self.key.len());
        let mut binds = Vec::with_capacity(self.key.len() * 2);
        let parts = self.parts(id);
        for (column, part) in self.key_columns().zip(parts) {
            let name = quote(&column.name);
            conditions.push(format!("{name} = :? AND {name} = :? COLLATE BINARY"));
            binds.push(part.clone());
            binds.push(part);
        }
        (conditions.join(" AND "), binds)
    }

    /// The values of the key's columns in `id`. Those of a key of several columns are texts, which SQLite
    /// compares and stores by each column's affinity, but where the id says that they are not.
    pub(crate) fn parts(&self, id: &RowId) -> Vec<Stored> {
        match (&id.0, self.key.len()) {
            (value, 1) => vec![value.clone()],
            (Stored::Text(text), _) => text.split(',').map(part).collect(),
            (other, _) => vec![other.clone()],
        }
    }

    /// The row whose key's columns hold `parts`: several, in the key's order.
    pub(crate) fn id_of_parts(&self, parts: &[Stored]) -> RowId {
        let columns = self.key_columns().zip(parts);
        let texts: Vec<String> = columns
            .map(|(column, part)| column.part_text(part))
            .collect();
        RowId(Stored::Text(texts.join(",")))
    }
}

/// Before the digits of bytes in the id of a key of several columns. Of a text, every `%` is written as `%25`.
const BYTES: &str = "%x";
/// Before a number that its column would not make of a text.
const NUMBER: &str = "%n";

impl LocalColumn {
    /// Whether a number is stored in it as what a text of its digits would be. These are SQLite's own rules,
    /// <https://www.sqlite.org/datatype3.html>, section 3.1; ANY is a type of STRICT tables.
    fn has_affinity(&self) -> bool {
        let declared = self.declared.trim().to_ascii_uppercase();
        let is_one = ["INT", "CHAR", "CLOB", "TEXT"];
        is_one.iter().any(|word| declared.contains(word))
            || !(declared.is_empty() || declared == "ANY" || declared.contains("BLOB"))
    }

    /// Whether it is for bytes.
    pub(crate) fn is_for_bytes(&self) -> bool {
        !self.declared.trim().is_empty() && !self.has_affinity() && !self.is_any()
    }

    fn is_any(&self) -> bool {
        self.declared.trim().eq_ignore_ascii_case("ANY")
    }

    /// As [`LocalColumn::part_text`], of the value that SQL knows as `part`.
    fn part_expression(&self, part: &str) -> String {
        let numbers = if self.has_affinity() {
            String::new()
        } else {
            format!(
                "WHEN 'integer' THEN '{NUMBER}' || {part} WHEN 'real' THEN '{NUMBER}' || {part} "
            )
        };
        format!(
            "CASE typeof({part}) WHEN 'blob' THEN '{BYTES}' || hex({part}) {numbers}\
             ELSE replace(replace(CAST({part} AS TEXT), '%', '%25'), ',', '%2C') END"
        )
    }

    /// How a value of it stands in the id of a key of several columns.
    fn part_text(&self, part: &Stored) -> String {
        match part {
            Stored::Null => String::new(),
            Stored::Int(n) if self.has_affinity() => n.to_string(),
            Stored::Int(n) => format!("{NUMBER}{n}"),
            Stored::Real(x) if self.has_affinity() => x.to_string(),
            Stored::Real(x) => format!("{NUMBER}{x}"),
            Stored::Text(text) => text.replace('%', "%25").replace(',', "%2C"),
            Stored::Bytes(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("{BYTES}{digits}")
            }
        }
    }
}

/// The value of a part of an id.
fn part(written: &str) -> Stored {
    let number = |digits: &str| {
        let whole = digits.parse().map(Stored::Int).ok();
        whole.or_else(|| digits.parse().map(Stored::Real).ok())
    };
    let bytes = written.strip_prefix(BYTES).and_then(bytes);
    bytes
        .map(Stored::Bytes)
        .or_else(|| written.strip_prefix(NUMBER).and_then(number))
        .unwrap_or_else(|| Stored::Text(written.replace("%2C", ",").replace("%25", "%")))
}

/// The bytes that hexadecimal digits tell.
pub(crate) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.len()
        .is_multiple_of(2)
        .then(|| digits.map(byte).collect())?
}
