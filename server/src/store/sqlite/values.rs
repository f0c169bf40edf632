//! Values in SQLite, between the store's cells and what [`colsync_shared::sqlite`] says of them.

use colsync_shared::sqlite::{self, Stored};
use colsync_shared::{ColumnType, Value};

use crate::store::error::StoreError;
use crate::store::statement::{Bind, Cell};

/// The value in a cell of a column declared as `ty`.
pub(crate) fn read(ty: &ColumnType, cell: Cell) -> Value {
    let stored = match cell {
        Cell::Null => Stored::Null,
        Cell::Bool(b) => Stored::Int(i64::from(b)),
        Cell::Int(n) => Stored::Int(n),
        Cell::Real(x) => Stored::Real(x),
        Cell::Text(text) => Stored::Text(text),
        Cell::Bytes(bytes) => Stored::Bytes(bytes),
    };
    sqlite::read(ty, stored)
}

/// The value as it is bound for a column declared as `ty`.
///
/// # Errors
/// [`StoreError::Refused`] for a decimal with more digits than SQLite keeps.
pub(crate) fn bind(name: &str, ty: &ColumnType, value: &Value) -> Result<Bind, StoreError> {
    let stored = sqlite::store(ty, value.clone())
        .map_err(|refused| StoreError::Refused(format!("{name}: {refused}")))?;
    Ok(match stored {
        Stored::Null => Bind::Null,
        Stored::Int(n) => Bind::Int(n),
        Stored::Real(x) => Bind::Real(x),
        Stored::Text(text) => Bind::Text(text),
        Stored::Bytes(bytes) => Bind::Bytes(bytes),
    })
}
