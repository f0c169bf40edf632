//! Doors for the fuzzer: what a pull's bytes go through before any file, with what must hold of it.
//!
//! Each function panics where colsync does not do what it promises; whatever else the bytes are is fine. Only there
//! with the feature `fuzzing`.

use std::io::Cursor;

use colsync_shared::ColumnType;
use serde_json::Value as Json;

use crate::inbox::line::{Line, What};
use crate::inbox::page::Page;
use crate::remote::Pull;

/// The stream of a pull. The lines of rows that were read are the page's, in their order; a value is the same
/// whether it is decoded in place or as a document, and is encoded and decoded again to itself.
pub fn pulled(bytes: &[u8]) {
    let mut stream = Pull::new(Box::new(Cursor::new(bytes.to_vec())));
    let mut page = Page::default();
    let mut lines = 0;
    while let Ok(true) = page.add(|text| stream.read_line(text)) {
        lines += 1;
        if page.is_full() {
            break;
        }
    }
    let Ok(changes) = page.changes() else {
        return;
    };
    assert!(changes.len() <= lines, "{} of {lines}", changes.len());
    for change in changes {
        let What::Columns { columns, .. } = &change.what else {
            continue;
        };
        // A value that nests too deep, or whose text is no whole character, is refused by one of the two ways at least.
        let Ok(documents) = columns.documents() else {
            continue;
        };
        for (place, name) in columns.names().enumerate() {
            let (Some(raw), Some(document)) = (columns.get(name, place), documents.get(name))
            else {
                panic!("{name} has no value")
            };
            let is_there_once = columns.names().filter(|&other| other == name).count() == 1;
            if is_there_once {
                is_decoded_alike(raw, document);
            }
        }
    }
}

/// A line that is read can be read again from what it said.
pub fn line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(Line::Checkpoint { cursor, complete }) = Line::read(text) {
        let again = serde_json::json!({ "checkpoint": cursor, "complete": complete }).to_string();
        let again = Line::read(&again);
        assert!(
            matches!(again, Ok(Line::Checkpoint { cursor: c, complete: d }) if c == cursor && d == complete)
        );
    }
}

fn is_decoded_alike(raw: &str, document: &Json) {
    let text = || ColumnType::Text { max_length: None };
    let types = [
        ColumnType::Bool,
        ColumnType::Int { bits: 16 },
        ColumnType::Int { bits: 64 },
        ColumnType::Real { bits: 32 },
        ColumnType::Real { bits: 64 },
        ColumnType::Decimal {
            precision: Some(10),
            scale: Some(2),
        },
        ColumnType::Decimal {
            precision: None,
            scale: None,
        },
        text(),
        ColumnType::Uuid,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::DateTime,
        ColumnType::Timestamp,
        ColumnType::Bytes,
        ColumnType::Json,
        ColumnType::Array(Box::new(text())),
        ColumnType::Array(Box::new(ColumnType::Int { bits: 32 })),
    ];
    for ty in types {
        let in_place = ty.decode_raw(raw).ok();
        assert_eq!(in_place, ty.decode(document).ok(), "{ty:?}: {raw}");
        let Some(value) = in_place else { continue };
        assert_eq!(
            ty.decode(&ty.encode(&value)).ok().as_ref(),
            Some(&value),
            "{ty:?}: {raw}"
        );
        let mut written = Vec::new();
        ty.encode_raw(&value, &mut written);
        let again = std::str::from_utf8(&written)
            .ok()
            .and_then(|raw| ty.decode_raw(raw).ok());
        assert_eq!(again, Some(value), "{ty:?}: {raw}");
    }
}
