//! Receipts at rest: kept with a push so that a repeat is answered alike.

use colsync_shared::Receipt;

use crate::store::error::StoreError;

/// Fast, and good enough for text that repeats itself as much as receipts do.
const LEVEL: i32 = 1;

pub(super) fn pack(receipts: &[Receipt]) -> Result<Vec<u8>, StoreError> {
    let json =
        serde_json::to_vec(receipts).map_err(|e| StoreError::Other(format!("receipts: {e}")))?;
    zstd::encode_all(json.as_slice(), LEVEL)
        .map_err(|e| StoreError::Other(format!("receipts: {e}")))
}

pub(super) fn unpack(stored: &[u8]) -> Result<Vec<Receipt>, StoreError> {
    let json = zstd::decode_all(stored)
        .map_err(|e| StoreError::Corrupt(format!("stored receipts: {e}")))?;
    serde_json::from_slice(&json).map_err(|e| StoreError::Corrupt(format!("stored receipts: {e}")))
}
