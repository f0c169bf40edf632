//! A new row that stands in a circle of rows without ids goes up without its pointers, which follow as edits. Where others
//! have such a row already, those edits have seen nothing of it.

use colsync_client::Mode;
use colsync_tests::tables::TableDef;
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::Value as Json;

use super::{PEOPLE, settle};
use crate::client_modes::{MODES, sync};
use crate::client_sync::device;

on_both![
    what_follows_a_row_that_others_have_made_too_is_in_conflict_with_theirs,
    what_cannot_follow_a_row_that_others_have_deleted_is_told,
];

/// Apps choose its keys.
const LABELS: TableDef = TableDef {
    name: "labels",
    sqlite: "CREATE TABLE labels (code TEXT PRIMARY KEY NOT NULL, note TEXT,
             person_id INTEGER REFERENCES people (id));",
    postgres: "CREATE TABLE labels (code text PRIMARY KEY, note text, person_id bigint REFERENCES people (id));",
};

const TABLES: [&str; 2] = ["people", "labels"];

/// Two people who are each other's boss, and a label of one of them.
fn circle(device: &Device, note: &str) {
    device.sql("INSERT INTO people (id, name, boss_id) VALUES (1, 'one', 2), (2, 'two', 1)");
    device.sql(&format!("INSERT INTO labels VALUES ('x', '{note}', 1)"));
}

/// Whom the label points to.
fn named(device: &Device) -> Vec<Option<String>> {
    device.column("SELECT p.name FROM labels AS l JOIN people AS p ON p.id = l.person_id")
}

/// What lost in the ledger's entries of labels.
fn lost(server: &Server) -> Vec<Json> {
    let lost = server.column("SELECT lost FROM colsync_conflicts WHERE table_name = 'labels'");
    let lost = lost.iter().flatten();
    lost.map(|lost| lost.parse().unwrap()).collect()
}

fn what_follows_a_row_that_others_have_made_too_is_in_conflict_with_theirs(backend: Backend) {
    for mode in MODES {
        let server = Server::on(backend).table(PEOPLE).table(LABELS).start();
        let (a, b) = (device(&server), device(&server));
        a.sql("INSERT INTO people (name) VALUES ('theirs')");
        a.sql("INSERT INTO labels VALUES ('x', 'a', 1)");
        a.client().sync().unwrap();
        circle(&b, "b");
        sync(&b, mode);
        settle(&server, &[&a, &b], &TABLES);
        assert_eq!(named(&a), [Some("one".to_owned())], "{mode:?}");
        let lost = lost(&server);
        let is_theirs = |lost: &Json| *lost == 1 || lost["columns"]["person_id"] == 1;
        assert!(lost.iter().any(is_theirs), "{mode:?}: {lost:?}");
    }
}

fn what_cannot_follow_a_row_that_others_have_deleted_is_told(backend: Backend) {
    for mode in MODES {
        let server = Server::on(backend).table(PEOPLE).table(LABELS).start();
        let (a, b) = (device(&server), device(&server));
        circle(&b, "b");
        a.sql("INSERT INTO labels VALUES ('x', 'a', NULL)");
        a.client().sync().unwrap();
        a.sql("DELETE FROM labels");
        a.client().sync().unwrap();
        sync(&b, mode);
        settle(&server, &[&a, &b], &TABLES);
        assert_eq!(named(&a), [], "{mode:?}");
        let one = b.column("SELECT id FROM people WHERE name = 'one'");
        let one: Json = one[0].as_deref().unwrap().parse().unwrap();
        let letters = b.client().dead_letters().unwrap();
        let told = match &letters[..] {
            [letter] => {
                assert_eq!(letter.code, "row_deleted", "{mode:?}");
                letter.edit["columns"]["person_id"]["value"].clone()
            }
            // A log tells all of the row at once, when it can.
            _ => {
                assert_eq!(mode, Mode::TransactionLog, "{letters:#?}");
                let lost = lost(&server).into_iter();
                let mut pointers = lost.map(|lost| lost["columns"]["person_id"].clone());
                pointers.find(|pointer| !pointer.is_null()).unwrap()
            }
        };
        assert_eq!(told, one, "{mode:?}");
    }
}
