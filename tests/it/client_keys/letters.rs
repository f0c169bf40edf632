//! Refused edits that hold numbers of rows: made again, and given up.

use colsync_tests::tables::TableDef;
use colsync_tests::{Backend, Device, Server, on_both};
use serde_json::json;

use super::{OFFICE, PEOPLE, bosses, invoice, office, person, settle, told};
use crate::client_sync::device;

on_both![
    an_edit_made_again_points_to_whom_it_pointed,
    an_edit_of_a_row_that_is_gone_is_not_made_of_the_next_of_its_number,
    a_row_that_points_to_itself_still_does_when_it_is_made_again,
    what_two_devices_have_given_up_stays_apart,
    whatever_its_number_a_refused_row_keeps_its_children,
];

fn only_letter(device: &Device) -> i64 {
    let letters = device.client().dead_letters().unwrap();
    let [letter] = letters.as_slice() else {
        panic!("{letters:#?}");
    };
    letter.number
}

/// A server with a last row, `boss`, and one whose name nobody else may have; a device that has seen both.
fn with_a_boss(backend: Backend) -> (Server, Device, i64) {
    let server = office(backend);
    let other = server.client("other");
    for name in ["minor", "boss"] {
        other.create_ago(9, "people", &json!({ "name": name }));
    }
    let a = device(&server);
    let boss = a.value("SELECT id FROM people WHERE name = 'boss'");
    (server, a, boss.unwrap().parse().unwrap())
}

/// The row is deleted, and SQLite gives its number to a newcomer of the device.
fn a_newcomer_takes_the_number(server: &Server, a: &Device, boss: i64) {
    let path = format!("/v1/tables/people/rows/{boss}");
    let _ = server.client("other").delete(&path).expect(200);
    a.client().sync().unwrap();
    person(a, "newcomer", "");
    let newcomer = a.value("SELECT id FROM people WHERE name = 'newcomer'");
    assert_eq!(newcomer, Some(boss.to_string()));
}

fn an_edit_made_again_points_to_whom_it_pointed(backend: Backend) {
    for newcomer_is_sent in [false, true] {
        let (server, a, boss) = with_a_boss(backend);
        a.sql(&format!(
            "UPDATE people SET boss_id = {boss}, name = 'nobody' WHERE name = 'minor'"
        ));
        a.client().sync().unwrap();
        let letter = only_letter(&a);
        // Deleted rows of the server's stay in its table, so it takes what points to them.
        a_newcomer_takes_the_number(&server, &a, boss);
        if newcomer_is_sent {
            a.client().sync().unwrap();
        }
        a.client().retry_dead_letter(letter).unwrap();
        a.sql("UPDATE people SET name = 'major' WHERE name = 'nobody'");
        settle(&server, &[&a], &OFFICE);
        assert_eq!(bosses(&a), ["major ?", "newcomer -"]);
        let points_to = server.value("SELECT boss_id FROM people WHERE name = 'major'");
        assert_eq!(points_to, Some(boss.to_string()));
    }
}

fn an_edit_of_a_row_that_is_gone_is_not_made_of_the_next_of_its_number(backend: Backend) {
    let (server, a, boss) = with_a_boss(backend);
    a.sql(&format!(
        "UPDATE people SET name = 'nobody' WHERE id = {boss}"
    ));
    a.client().sync().unwrap();
    let letter = only_letter(&a);
    a_newcomer_takes_the_number(&server, &a, boss);
    a.client().retry_dead_letter(letter).unwrap();
    a.sql("UPDATE people SET name = 'made again' WHERE name = 'nobody'");
    settle(&server, &[&a], &OFFICE);
    assert_eq!(bosses(&a), ["made again -", "minor -", "newcomer -"]);
}

fn a_row_that_points_to_itself_still_does_when_it_is_made_again(backend: Backend) {
    let server = office(backend);
    let a = device(&server);
    a.sql("INSERT INTO people (id, name, boss_id) VALUES (50, 'nobody', 50)");
    a.client().sync().unwrap();
    person(&a, "newcomer", "");
    a.client().retry_dead_letter(only_letter(&a)).unwrap();
    a.sql("UPDATE people SET name = 'self' WHERE name = 'nobody'");
    let b = device(&server);
    settle(&server, &[&a, &b], &OFFICE);
    assert_eq!(bosses(&b), ["newcomer -", "self self"]);
}

/// A table of a database that checks no foreign keys.
const LOOSE: TableDef = TableDef {
    name: "entries",
    sqlite: "CREATE TABLE entries (person_id INTEGER NOT NULL, track INTEGER NOT NULL, note TEXT,
             PRIMARY KEY (person_id, track));",
    postgres: "CREATE TABLE entries (person_id integer NOT NULL, track integer NOT NULL, note text,
               PRIMARY KEY (person_id, track));",
};

fn what_two_devices_have_given_up_stays_apart(backend: Backend) {
    let server = Server::on(backend).table(PEOPLE).table(LOOSE).start();
    let devices = [Device::new(&server), Device::new(&server)];
    for (number, device) in devices.iter().enumerate() {
        device.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, boss_id INTEGER)");
        device.sql(
            "CREATE TABLE entries (person_id INTEGER NOT NULL REFERENCES people (id), track INTEGER NOT NULL, \
             note TEXT, PRIMARY KEY (person_id, track))",
        );
        for table in ["people", "entries"] {
            device.client().track(table).unwrap();
        }
        person(device, "nobody", "");
        device.sql(&format!(
            "INSERT INTO entries (person_id, track, note) SELECT id, 1, 'of {number}' FROM people"
        ));
        device.client().sync().unwrap();
        let letter = only_letter(device);
        device.client().discard_dead_letter(letter).unwrap();
    }
    settle(&server, &[&devices[0], &devices[1]], &["people", "entries"]);
    let notes = devices[0].column("SELECT note FROM entries ORDER BY 1");
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    assert_eq!(notes, ["of 0", "of 1"]);
}

/// Apps choose numbers below 0, and servers such as are beyond 2^52.
fn whatever_its_number_a_refused_row_keeps_its_children(backend: Backend) {
    for (first, next) in [
        (10, "min(0, min(id)) - 1"),
        (7_000_000_000_000_000_001_i64, "max(id) + 1"),
    ] {
        let server = office(backend);
        server.sql(&format!(
            "INSERT INTO people (id, name) VALUES ({first}, 'first')"
        ));
        let (a, b) = (device(&server), device(&server));
        let newcomer = |name: &str| {
            a.sql(&format!(
                "INSERT INTO people (id, name) SELECT {next}, '{name}' FROM people"
            ));
        };
        newcomer("nobody");
        invoice(&a, "of nobody", "nobody");
        a.client().sync().unwrap();
        newcomer("good");
        a.client().sync().unwrap();
        let nobodys = ["of nobody/1 of nobody ?", "of nobody/2 of nobody ?"];
        assert_eq!(told(&a), nobodys, "{next}");
        a.client().retry_dead_letter(only_letter(&a)).unwrap();
        // Refused once more.
        a.client().sync().unwrap();
        newcomer("better");
        a.client().sync().unwrap();
        assert_eq!(told(&a), nobodys, "{next}");
        a.client().retry_dead_letter(only_letter(&a)).unwrap();
        a.sql("UPDATE people SET name = 'fixed' WHERE name = 'nobody'");
        settle(&server, &[&a, &b], &OFFICE);
        let expected = ["of nobody/1 of nobody fixed", "of nobody/2 of nobody fixed"];
        assert_eq!(told(&b), expected, "{next}");
    }
}
