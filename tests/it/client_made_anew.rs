//! Rows that an app deletes and makes anew: nothing of their earlier lives comes back, and nothing of others' goes.

use colsync_tests::tables::id;
use colsync_tests::{Backend, on_both};
use serde_json::{Value as Json, json};

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;
use crate::{ledger, one_todo};

on_both![
    a_row_made_anew_has_what_it_was_made_with,
    a_row_made_anew_has_not_seen_what_others_made_of_it,
];

fn anew() -> String {
    format!(
        "INTO todos (id, title, done) VALUES ('{}', 'anew', 0)",
        id(1)
    )
}

fn a_row_made_anew_has_what_it_was_made_with(backend: Backend) {
    let replaced = format!("INSERT OR REPLACE {}", anew());
    let made = format!("INSERT {}", anew());
    let edit = "UPDATE todos SET note = 'new'";
    let delete = "DELETE FROM todos";
    // What the app does between one sync and the next.
    let ways = [
        vec![replaced.clone()],
        vec![format!("{delete}; {made}")],
        vec![format!("{edit}; {delete}; {made}")],
        vec![delete.to_owned(), made.clone()],
        vec![edit.to_owned(), delete.to_owned(), made],
    ];
    for mode in MODES {
        for way in &ways {
            let server = one_todo(backend);
            let device = device(&server);
            for sql in way {
                device.sql(sql);
                sync(&device, mode);
            }
            let row = server.anonymous().row("todos", &id(1));
            let columns = (&row["title"], &row["note"]);
            assert_eq!(columns, (&json!("anew"), &Json::Null), "{mode:?}: {way:?}");
            device.assert_equals(&server.anonymous(), "todos");
            assert!(ledger(&server, "").is_empty(), "{mode:?}: {way:?}");
        }
    }
}

/// The app knows what it deleted, and not what others did with the row before that, or since.
fn a_row_made_anew_has_not_seen_what_others_made_of_it(backend: Backend) {
    for mode in MODES {
        for is_made_anew_by_ben in [true, false] {
            let server = one_todo(backend);
            let device = device(&server);
            let ben = server.client("ben");
            let precious = json!({ "title": "of ben", "note": "precious" });
            if is_made_anew_by_ben {
                device.sql("DELETE FROM todos");
                sync(&device, mode);
                let mut row = precious;
                row["id"] = json!(id(1));
                let _ = ben.post("/v1/tables/todos/rows", &row);
            } else {
                let _ = ben.patch(&crate::todo(1), &precious).expect(200);
                // As SQL does, it takes what is there, and nobody hears of it.
                let _ = server.anonymous().delete(&crate::todo(1)).expect(200);
                device.sql("DELETE FROM todos");
                sync(&device, mode);
            }
            device.sql(&format!("INSERT {}", anew()));
            sync(&device, mode);
            device.assert_equals(&server.anonymous(), "todos");
            let row = server.row_dump();
            let told = ledger(&server, "");
            let told: String = told.iter().map(|entry| entry["lost"].to_string()).collect();
            for value in ["of ben", "precious"] {
                let is_kept = told.contains(value) || row.contains(value);
                assert!(is_kept, "{mode:?} {is_made_anew_by_ben}: {row} {told}");
            }
        }
    }
}
