//! Whose failure it was, where the database's message does not tell: the row's that was written, or the database's.
//!
//! The message may be anything: a trigger raises what its author wrote, and an index over documents says of one that is
//! none what SQLite says of its own file. But a database that fails, or a table that is not as it was, also fails where no
//! row is touched.

use colsync_shared::sql::quote;

use super::conn::Conn;
use super::error::StoreError;
use super::model::TableInfo;
use super::select;
use super::statement::Statement;

impl Conn {
    /// What the failed write of one row of `table` was, of which `message` is all that is known. Needs a transaction that
    /// was rolled back to before it; after a failure of the database it is of no more use.
    pub(crate) fn judged(&mut self, table: &TableInfo, message: String) -> StoreError {
        match self.touches_nothing(table) {
            Ok(()) => StoreError::Refused(message),
            Err(StoreError::Unclear(_)) => StoreError::Other(message),
            Err(failure) => failure,
        }
    }

    /// Every kind of statement that is run about the table's rows, about none of them.
    fn touches_nothing(&mut self, table: &TableInfo) -> Result<(), StoreError> {
        let name = quote(&table.spec.name);
        let list = select::list(self.backend(), table);
        let read = format!("SELECT {list} FROM {name} AS t WHERE 1 = 0");
        self.load(Statement::once(read, Vec::new()))?;
        let mut writes = vec![
            format!("INSERT INTO {name} (sync_version) SELECT 1 WHERE 1 = 0"),
            format!("UPDATE {name} SET sync_version = 1 WHERE 1 = 0"),
        ];
        if table.spec.hard_delete {
            writes.push(format!("DELETE FROM {name} WHERE 1 = 0"));
        }
        for write in writes {
            self.execute(Statement::once(write, Vec::new()))?;
        }
        Ok(())
    }
}
