//! Values that the app's file keeps in another form than the wire.

use colsync_tests::tables::id;
use colsync_tests::{Backend, Device, Server, process};

use crate::client_modes::{MODES, sync};
use crate::client_sync::device;
use crate::todos;

/// A server whose rows have arrays, which PostgreSQL alone knows.
fn arrays() -> Server {
    let table = "CREATE TABLE arrays (id uuid PRIMARY KEY, tags text[], grid bigint[][]);";
    Server::on(Backend::Postgres)
        .before(table)
        .synced("arrays")
        .start()
}

fn tags(device: &Device, number: u64) -> Option<String> {
    device.value(&format!(
        "SELECT tags FROM arrays WHERE id = '{}'",
        id(number)
    ))
}

#[test]
fn an_array_that_the_app_writes_as_text_is_an_array_everywhere() {
    let server = arrays();
    for (number, mode) in (0..).zip(MODES) {
        let (a, b) = (device(&server), device(&server));
        a.sql(&format!(
            r#"INSERT INTO arrays VALUES ('{}', '["a,b", null, "\"{{}}"]', '[[1, 2], [-3, null]]')"#,
            id(number)
        ));
        let report = sync(&a, mode);
        assert_eq!((report.applied, report.rejected), (1, 0), "{mode:?}");
        b.client().sync().unwrap();
        assert_eq!(
            tags(&b, number).as_deref(),
            Some(r#"["a,b",null,"\"{}"]"#),
            "{mode:?}"
        );
        // Either device goes on from there.
        for (device, value) in [(&b, r#"["c"]"#), (&a, "[]")] {
            device.client().sync().unwrap();
            let id = id(number);
            device.sql(&format!(
                "UPDATE arrays SET tags = '{value}' WHERE id = '{id}'"
            ));
            assert_eq!(sync(device, mode).applied, 1, "{mode:?}");
        }
        b.client().sync().unwrap();
        for device in [&a, &b] {
            assert_eq!(tags(device, number).as_deref(), Some("[]"));
            device.assert_equals(&server.anonymous(), "arrays");
        }
    }
}

#[test]
fn what_is_no_array_is_refused_as_it_was_written() {
    let server = arrays();
    let a = device(&server);
    for (number, value) in (0..).zip(["a, b", "{a,b}", r#"{"a": 1}"#, "7"]) {
        let id = id(number);
        a.sql(&format!(
            "INSERT INTO arrays VALUES ('{id}', '{value}', NULL)"
        ));
        assert_eq!(a.client().sync().unwrap().rejected, 1, "{value}");
        let letters = a.client().dead_letters().unwrap();
        let letter = letters.last().unwrap();
        assert_eq!(letter.code, "invalid_value", "{value}");
        assert_eq!(letter.field.as_deref(), Some("tags"), "{value}");
        assert_eq!(letter.edit["columns"]["tags"]["value"], value);
    }
}

#[test]
fn a_file_in_utf_16_is_refused_and_left_as_it_is() {
    let server = todos(Backend::Sqlite);
    for encoding in ["UTF-16le", "UTF-16be"] {
        let a = Device::new(&server);
        a.sql(&format!(
            "PRAGMA encoding = '{encoding}'; CREATE TABLE todos (id TEXT PRIMARY KEY NOT NULL, title TEXT)"
        ));
        for _ in 0..2 {
            let told = process::said(&a.run(&["track", "todos"]));
            assert!(told.contains("its encoding is UTF-16"), "{told}");
        }
        let tables = a.value("SELECT count(*) FROM sqlite_master WHERE type = 'table'");
        assert_eq!(tables.as_deref(), Some("1"));
    }
}
