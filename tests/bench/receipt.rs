//! What is read of a receipt, without a document: the load generator shares the cores.

use serde::Deserialize;

/// Of an edit of the column `quantity`.
#[derive(Deserialize)]
pub(crate) struct Receipt<'a> {
    pub(crate) version: i64,
    #[serde(borrow)]
    pub(crate) columns: Columns<'a>,
}

#[derive(Deserialize)]
pub(crate) struct Columns<'a> {
    #[serde(borrow)]
    pub(crate) quantity: Quantity<'a>,
}

#[derive(Deserialize)]
pub(crate) struct Quantity<'a> {
    pub(crate) outcome: &'a str,
    pub(crate) conflict: Option<&'a str>,
}
