//! Rows without ids of the server's when something goes wrong: an answer is lost, a row is refused or taken back, the
//! server forgets.

use colsync_tests::tables::TableDef;
use colsync_tests::{Backend, Device, Fault, Plan, Server, on_both};
use serde_json::json;

use super::{INVOICES, LINES, OFFICE, PEOPLE, bosses, invoice, office, person, settle, told};
use crate::client_sync::device;

on_both![
    a_lost_answer_makes_no_row_twice,
    a_refused_row_is_made_again_with_its_children,
    what_pointed_to_a_row_that_was_never_sent_points_to_no_other,
    a_restored_server_gets_the_rows_under_the_ids_that_it_had_given,
    a_restored_server_whose_counters_are_moved_on_gives_no_number_twice,
];

fn a_lost_answer_makes_no_row_twice(backend: Backend) {
    let server = office(backend);
    let a = device(&server);
    let proxy = server.proxy(7);
    let behind = Device::behind(&proxy);
    behind.client().init(&[]).unwrap();
    behind.client().sync().unwrap();
    person(&a, "theirs", "");
    a.client().sync().unwrap();
    person(&behind, "mine", "");
    person(&behind, "minor", "mine");
    invoice(&behind, "of mine", "mine");
    for _ in 0..3 {
        proxy.plan(Plan::default().with(Fault::LoseAnswer, 1000));
        drop(behind.client().sync());
        person(&behind, &format!("late {}", fastrand::u64(..)), "mine");
        proxy.faults_off();
        proxy.plan(Plan::default().with(Fault::LoseAnswer, 500));
        drop(behind.client().sync());
    }
    proxy.faults_off();
    settle(&server, &[&behind, &a], &OFFICE);
    assert_eq!(
        server.value("SELECT count(*) FROM people").as_deref(),
        Some("6")
    );
    assert_eq!(
        told(&a),
        ["of mine/1 of mine mine", "of mine/2 of mine mine"]
    );
    assert_eq!(
        bosses(&a)
            .iter()
            .filter(|line| line.ends_with(" mine"))
            .count(),
        4
    );
}

fn a_refused_row_is_made_again_with_its_children(backend: Backend) {
    let server = office(backend);
    let a = device(&server);
    server
        .client("other")
        .create_ago(9, "people", &json!({ "name": "theirs" }));
    // The app's own table takes what the server refuses.
    person(&a, "nobody", "");
    invoice(&a, "of nobody", "nobody");
    person(&a, "minor", "nobody");
    person(&a, "somebody", "");
    let report = a.client().sync().unwrap();
    assert_eq!(report.rejected, 1, "{report:?}");
    assert!(!report.waiting.is_empty(), "{report:?}");
    // Nothing of it was given to the server's row of the same id.
    assert_eq!(bosses(&a), ["minor ?", "somebody -", "theirs -"]);
    assert_eq!(
        told(&a),
        ["of nobody/1 of nobody ?", "of nobody/2 of nobody ?"]
    );
    assert_eq!(
        server.value("SELECT count(*) FROM invoices").as_deref(),
        Some("0")
    );
    let pending = a.client().pending().unwrap();
    assert!(
        pending.iter().any(|edit| edit.waiting.is_some()),
        "{pending:#?}"
    );
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(
        (letters.len(), letters[0].code.as_str()),
        (1, "constraint_violation")
    );
    // A row made meanwhile gets none of its children either.
    person(&a, "newcomer", "");
    a.client().retry_dead_letter(letters[0].number).unwrap();
    a.sql("UPDATE people SET name = 'anybody' WHERE name = 'nobody'");
    let b = device(&server);
    settle(&server, &[&a, &b], &OFFICE);
    let expected = [
        "anybody -",
        "minor anybody",
        "newcomer -",
        "somebody -",
        "theirs -",
    ];
    assert_eq!(bosses(&b), expected);
    assert_eq!(
        told(&b),
        [
            "of nobody/1 of nobody anybody",
            "of nobody/2 of nobody anybody"
        ]
    );
    assert!(a.client().dead_letters().unwrap().is_empty());
}

fn what_pointed_to_a_row_that_was_never_sent_points_to_no_other(backend: Backend) {
    for has_asked in [true, false] {
        let server = office(backend);
        let a = if has_asked {
            device(&server)
        } else {
            tracked_alone(&server)
        };
        let theirs = [1, 2].map(|n| json!({ "name": format!("theirs {n}") }));
        for row in &theirs {
            server.client("other").create_ago(9, "people", row);
        }
        for name in ["deleted", "undone"] {
            person(&a, name, "");
            invoice(&a, name, name);
        }
        let undone = a
            .value("SELECT id FROM people WHERE name = 'undone'")
            .unwrap();
        a.client().undo("people", &undone).unwrap();
        let pending = a.client().pending().unwrap();
        assert!(
            pending
                .iter()
                .all(|edit| edit.id != undone || edit.table != "people")
        );
        a.sql("PRAGMA foreign_keys = OFF; DELETE FROM people WHERE name = 'deleted'");
        let report = a.client().sync().unwrap();
        // A foreign key refuses the invoices, and the lines wait for them.
        assert_eq!(report.rejected, 2, "{report:?}");
        assert_eq!(told(&a).len(), 4);
        assert!(
            told(&a).iter().all(|line| line.ends_with(" ? ?")),
            "{:?}",
            told(&a)
        );
        assert_eq!(
            server.value("SELECT count(*) FROM invoices").as_deref(),
            Some("0")
        );
        assert_eq!(bosses(&a), ["theirs 1 -", "theirs 2 -"]);
    }
}

/// A file with the tables, of which the server has not heard, nor it of the server.
fn tracked_alone(server: &Server) -> Device {
    let device = Device::new(server);
    for table in [PEOPLE, INVOICES, LINES] {
        device.sql(table.sqlite);
        device.client().track(table.name).unwrap();
    }
    device
}

fn a_restored_server_gets_the_rows_under_the_ids_that_it_had_given(backend: Backend) {
    let mut server = office(backend);
    let a = device(&server);
    person(&a, "kept", "");
    a.client().sync().unwrap();
    let backup = server.back_up();
    server
        .client("other")
        .create_ago(9, "people", &json!({ "name": "forgotten" }));
    person(&a, "lost", "kept");
    invoice(&a, "of lost", "lost");
    a.client().sync().unwrap();
    let before = (a.dump("invoices"), a.dump("lines"));
    server.go_back(&backup);
    a.sql("UPDATE people SET name = 'found' WHERE name = 'lost'");
    settle(&server, &[&a], &OFFICE);
    assert_eq!(before, (a.dump("invoices"), a.dump("lines")));
    // New rows go around them.
    let b = device(&server);
    person(&b, "new", "");
    person(&b, "newer", "new");
    settle(&server, &[&b, &a], &OFFICE);
    assert_eq!(bosses(&a), ["found kept", "kept -", "new -", "newer new"]);
    assert_eq!(
        told(&a),
        ["of lost/1 of lost found", "of lost/2 of lost found"]
    );
}

/// What README tells operators to do.
fn a_restored_server_whose_counters_are_moved_on_gives_no_number_twice(backend: Backend) {
    let counted = TableDef {
        sqlite: "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, boss_id INTEGER);",
        ..PEOPLE
    };
    let mut server = Server::on(backend).table(counted).start();
    let (a, b) = (device(&server), device(&server));
    person(&a, "kept", "");
    settle(&server, &[&a, &b], &["people"]);
    let backup = server.back_up();
    person(&a, "lost", "kept");
    a.client().sync().unwrap();
    server.terminate();
    server.restore(&backup);
    server.sql(match backend {
        Backend::Sqlite => "UPDATE sqlite_sequence SET seq = seq + 100000 WHERE name = 'people'",
        Backend::Postgres => {
            "SELECT setval(pg_get_serial_sequence('people', 'id'),
                           nextval(pg_get_serial_sequence('people', 'id')) + 100000)"
        }
    });
    server.resume();
    person(&b, "new", "kept");
    settle(&server, &[&b, &a], &["people"]);
    assert_eq!(bosses(&a), ["kept -", "lost kept", "new kept"]);
}
