//! Keys that the database makes, and makes again after the row that had one was removed for good.

use super::conn::Conn;
use super::error::StoreError;
use super::model::{NewRow, RowUpdate, StoredRow, TableInfo};
use super::statement::{Bind, Statement};

impl Conn {
    /// The rows just `made`, those with a purged row's key as its successors: a row never stands both in its table
    /// and among the tombstones, and its versions go on where the purged one's ended.
    pub(super) fn unburied(
        &mut self,
        table: &TableInfo,
        mut made: Vec<StoredRow>,
        rows: &[NewRow],
    ) -> Result<Vec<StoredRow>, StoreError> {
        for (row, new) in made.iter_mut().zip(rows) {
            if new.key.is_some() {
                continue;
            }
            let buried = self.tombstones(table, std::slice::from_ref(&row.key))?;
            let Some((_, version)) = buried.first() else {
                continue;
            };
            let over = row.version;
            // Beyond both: by that the write is known for the server's.
            row.version = version + over;
            row.stamps.birth_version = row.version;
            for entry in row.stamps.entries.values_mut() {
                entry.version = row.version;
            }
            self.write_back(table, &[RowUpdate::of_metadata(row, over)])?;
            let sql = "DELETE FROM colsync_tombstones WHERE table_name = :? AND row_id = :?";
            let of_key = [&table.spec.name, &row.key.to_string()];
            let binds = of_key.map(|text| Bind::Text(text.clone()));
            self.execute(Statement::new(sql, binds.to_vec()))?;
        }
        Ok(made)
    }
}
