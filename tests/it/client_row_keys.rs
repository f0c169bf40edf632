//! What apps write into keys. A row that the server could not call by the same name stays in the file, pending, and says
//! why; nothing is made of it that the app did not write.

use colsync_tests::tables::{TableDef, id};
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;

on_both![
    a_key_that_is_no_text_waits_and_says_why,
    numbers_in_a_key_without_types_are_told_as_numbers,
    a_key_of_several_columns_may_be_of_uuids_as_bytes,
    another_spelling_of_a_key_waits,
];

pub const LABELS: TableDef = TableDef {
    name: "labels",
    sqlite: "CREATE TABLE labels (code TEXT PRIMARY KEY NOT NULL, meaning TEXT);",
    postgres: "CREATE TABLE labels (code text PRIMARY KEY, meaning text);",
};

const CREW: TableDef = TableDef {
    name: "crew",
    sqlite: "CREATE TABLE crew (team TEXT NOT NULL, who TEXT NOT NULL, role TEXT, PRIMARY KEY (team, who));",
    postgres: "CREATE TABLE crew (team text, who text, role text, PRIMARY KEY (team, who));",
};

const SEATS: TableDef = TableDef {
    name: "seats",
    sqlite: "CREATE TABLE seats (line INTEGER NOT NULL, number INTEGER NOT NULL, guest TEXT, PRIMARY KEY (line, number));",
    postgres: "CREATE TABLE seats (line bigint, number bigint, guest text, PRIMARY KEY (line, number));",
};

const TIES: TableDef = TableDef {
    name: "ties",
    sqlite: "CREATE TABLE ties (a UUID NOT NULL, b UUID NOT NULL, note TEXT, PRIMARY KEY (a, b));",
    postgres: "CREATE TABLE ties (a uuid, b uuid, note text, PRIMARY KEY (a, b));",
};

const CODES: TableDef = TableDef {
    name: "codes",
    sqlite: "CREATE TABLE codes (code INT PRIMARY KEY NOT NULL, meaning TEXT);",
    postgres: "CREATE TABLE codes (code bigint PRIMARY KEY, meaning text);",
};

/// A device with a table of the app's own making.
fn with(server: &Server, table: &str, sql: &str) -> Device {
    let device = Device::new(server);
    device.sql(sql);
    device.client().track(table).unwrap();
    device
}

fn count(device: &Device, table: &str) -> Option<String> {
    device.value(&format!("SELECT count(*) FROM {table}"))
}

fn a_key_that_is_no_text_waits_and_says_why(backend: Backend) {
    for mode in MODES {
        let server = Server::on(backend).table(LABELS).table(CREW).start();
        let a = device(&server);
        a.sql("CREATE TABLE later (code TEXT PRIMARY KEY NOT NULL, t TEXT)");
        a.client().track("later").unwrap();
        a.sql(
            "INSERT INTO labels VALUES (CAST(x'66fc72' AS TEXT), 'fur'), (x'616263', 'abc'), ('abc', 'fine');
             INSERT INTO crew VALUES ('a', x'626f62', 'boss'), ('a', 'bob', 'fine');
             INSERT INTO later VALUES (CAST(x'66fc72' AS TEXT), 'fur');",
        );
        for pushed in [2, 0] {
            let report = sync(&a, mode);
            assert_eq!((report.pushed, report.rejected), (pushed, 0), "{mode:?}");
            assert_eq!(
                report.waiting,
                [
                    "labels: code: the key holds bytes, which are no text",
                    "crew: who: the key holds bytes, which are no text",
                    "the server has no table later",
                ]
            );
            assert_eq!(a.client().status().unwrap().pending, 4);
            a.sql("UPDATE labels SET meaning = meaning || '!' WHERE meaning <> 'fine'");
        }
        let counts = ["labels", "crew", "later"].map(|table| count(&a, table));
        assert_eq!(counts, ["3", "2", "1"].map(|n| Some(n.to_owned())));
        for (table, column) in [("labels", "meaning"), ("crew", "role")] {
            let told = server.column(&format!("SELECT {column} FROM {table}"));
            assert_eq!(told, [Some("fine".to_owned())], "{mode:?}");
        }
        // As a text it can be told.
        a.sql("UPDATE labels SET code = 'fur' WHERE meaning LIKE 'fur%'; DELETE FROM labels WHERE code = x'616263';");
        let _ = sync(&a, mode);
        assert_eq!(server.anonymous().row("labels", "fur")["meaning"], "fur!!");
        assert_eq!(count(&a, "labels").as_deref(), Some("2"));
    }
}

fn numbers_in_a_key_without_types_are_told_as_numbers(backend: Backend) {
    for declared in [
        "line, number",
        "line BLOB, number BLOB",
        "line ANY NOT NULL, number ANY NOT NULL",
    ] {
        let strict = if declared.contains("ANY") {
            "STRICT"
        } else {
            ""
        };
        let sql = format!(
            "CREATE TABLE seats ({declared}, guest TEXT, PRIMARY KEY (line, number)) {strict}"
        );
        for mode in MODES {
            let server = Server::on(backend).table(SEATS).start();
            let there = json!({ "line": 3, "number": 4, "guest": "pulled" });
            server.client("maker").create_ago(60, "seats", &there);
            let a = with(&server, "seats", &sql);
            a.sql("INSERT INTO seats VALUES (1, 2, 'mine')");
            let report = sync(&a, mode);
            assert_eq!(
                (report.pushed, report.rejected),
                (1, 0),
                "{declared} {mode:?}"
            );
            a.sql("UPDATE seats SET guest = guest || '!'");
            let b = with(&server, "seats", &sql);
            for device in [&a, &b, &a] {
                sync(device, mode);
                assert!(device.client().pending().unwrap().is_empty());
            }
            for device in [&a, &b] {
                assert_eq!(device.dump("seats"), ["1, 2, 'mine!'", "3, 4, 'pulled!'"]);
            }
            let guests = server
                .column("SELECT guest FROM seats WHERE sync_deleted_at IS NULL ORDER BY line");
            assert_eq!(
                guests,
                ["mine!", "pulled!"].map(|guest| Some(guest.to_owned()))
            );
        }
    }
}

fn a_key_of_several_columns_may_be_of_uuids_as_bytes(backend: Backend) {
    let sql = "CREATE TABLE ties (a BLOB NOT NULL, b BLOB NOT NULL, note TEXT, PRIMARY KEY (a, b))";
    let server = Server::on(backend).table(TIES).start();
    let there = json!({ "a": id(1), "b": id(2), "note": "pulled" });
    server.client("maker").create_ago(60, "ties", &there);
    let (a, b) = (with(&server, "ties", sql), with(&server, "ties", sql));
    a.client().sync().unwrap();
    let bytes = |number| format!("x'{}'", id(number).replace('-', ""));
    a.sql(&format!(
        "INSERT INTO ties VALUES ({}, {}, 'mine')",
        bytes(2),
        bytes(1)
    ));
    a.sql(&format!(
        "UPDATE ties SET note = 'edited' WHERE a = {}",
        bytes(1)
    ));
    for device in [&a, &b, &a] {
        device.client().sync().unwrap();
    }
    assert_eq!(a.dump("ties"), b.dump("ties"));
    let notes = "SELECT note FROM ties ORDER BY a";
    let expected = ["edited", "mine"].map(|note| Some(note.to_owned()));
    assert_eq!(b.column(notes), expected);
    assert_eq!(server.column(notes), expected);
    a.sql(&format!("DELETE FROM ties WHERE a = {}", bytes(2)));
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    assert_eq!(b.column(notes), [Some("edited".to_owned())]);
}

fn another_spelling_of_a_key_waits(backend: Backend) {
    let server = Server::on(backend).table(CODES).start();
    let a = with(
        &server,
        "codes",
        "CREATE TABLE codes (code TEXT PRIMARY KEY NOT NULL, meaning TEXT)",
    );
    a.sql("INSERT INTO codes VALUES ('7', 'seven'), ('07', 'James')");
    let report = a.client().sync().unwrap();
    assert_eq!(report.pushed, 1);
    assert_eq!(
        report.waiting,
        ["codes: the key is written otherwise than 7, as the server has it"]
    );
    let _ = a.client().sync().unwrap();
    assert_eq!(
        server.column("SELECT meaning FROM codes"),
        [Some("seven".to_owned())]
    );
    assert_eq!(a.dump("codes"), ["'07', 'James'", "'7', 'seven'"]);
    assert_eq!(a.client().status().unwrap().pending, 1);
}
