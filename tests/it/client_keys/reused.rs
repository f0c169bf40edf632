//! SQLite gives the number of a deleted last row to the next row. Whoever knows the one must not be told that it is the
//! other.

use colsync_client::{Client, Mode, Settings};
use colsync_tests::tables::TableDef;
use colsync_tests::{Backend, Device, Fault, Plan, Server, on_both};

use super::{ENTRIES, OFFICE, PEOPLE, TRACKS, bosses, invoice, office, person, settle, told};
use crate::client_modes::{MODES, sync};
use crate::client_sync::device;

on_both![
    a_new_row_under_the_number_of_a_deleted_one_is_another_row,
    it_is_another_row_too_if_a_higher_number_comes_first,
    a_key_of_such_numbers_is_another_row_too,
    what_had_the_deleted_number_in_its_key_does_not_get_the_new_ones,
    what_was_written_to_the_new_row_stays_its_own,
    a_row_that_is_put_back_is_the_row_that_it_was,
    a_number_that_the_app_has_named_is_the_row_that_it_had_deleted,
    a_row_that_is_replaced_is_the_row_that_it_was_whatever_triggers_fire,
    what_sqlite_remembers_of_its_numbers_tells_rows_apart,
    a_new_row_that_points_to_itself_does_in_every_mode,
    what_pointed_to_a_new_row_that_is_gone_does_not_point_to_the_next,
];

/// Its own key is the app's.
const BADGES: TableDef = TableDef {
    name: "badges",
    sqlite:
        "CREATE TABLE badges (code TEXT PRIMARY KEY NOT NULL, note TEXT CHECK (note <> 'nobody'),
             person_id INTEGER REFERENCES people (id));",
    postgres: "CREATE TABLE badges (code text PRIMARY KEY, note text CHECK (note <> 'nobody'),
               person_id bigint REFERENCES people (id));",
};

fn gone(server: &Server, name: &str) -> Option<String> {
    server.value(&format!(
        "SELECT count(*) FROM people WHERE name = '{name}' AND sync_deleted_at IS NOT NULL"
    ))
}

fn a_new_row_under_the_number_of_a_deleted_one_is_another_row(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "old", "");
        settle(&server, &[&a, &b], &OFFICE);
        invoice(&b, "theirs", "old");
        a.sql("DELETE FROM people WHERE name = 'old'");
        person(&a, "new", "");
        invoice(&a, "mine", "new");
        assert_eq!(a.column("SELECT id FROM people"), [Some("1".to_owned())]);
        sync(&a, mode);
        settle(&server, &[&a, &b], &OFFICE);
        let expected = [
            "mine/1 mine new",
            "mine/2 mine new",
            "theirs/1 theirs ?",
            "theirs/2 theirs ?",
        ];
        assert_eq!(told(&a), expected, "{mode:?}");
        assert_eq!(told(&b), expected, "{mode:?}");
        assert_eq!(gone(&server, "old").as_deref(), Some("1"), "{mode:?}");
    }
}

/// A row of an earlier push of the same sync gets the server's number, which is above the one that SQLite gave.
fn it_is_another_row_too_if_a_higher_number_comes_first(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "kept", "");
        person(&a, "old", "");
        settle(&server, &[&a, &b], &OFFICE);
        invoice(&b, "theirs", "old");
        a.sql("INSERT INTO people (id, name) VALUES (-5, 'first')");
        a.sql("DELETE FROM people WHERE name = 'old'");
        person(&a, "new", "");
        let ids = a.column("SELECT id FROM people WHERE name = 'new'");
        assert_eq!(ids, [Some("2".to_owned())]);
        let settings = Settings {
            server: Some(a.url()),
            mode: Some(mode),
            batch: 1,
            ..Settings::default()
        };
        let client = Client::open(a.path(), settings).unwrap();
        client.sync().unwrap();
        settle(&server, &[&a, &b], &OFFICE);
        let expected = ["theirs/1 theirs ?", "theirs/2 theirs ?"];
        assert_eq!(told(&a), expected, "{mode:?}");
        assert_eq!(bosses(&b), ["first -", "kept -", "new -"], "{mode:?}");
        assert_eq!(gone(&server, "old").as_deref(), Some("1"), "{mode:?}");
    }
}

fn a_key_of_such_numbers_is_another_row_too(backend: Backend) {
    for mode in MODES {
        let server = Server::on(backend);
        let server = server.table(PEOPLE).table(TRACKS).table(ENTRIES).start();
        let (a, b) = (device(&server), device(&server));
        let tables = ["people", "tracks", "entries"];
        let entry = |device: &Device, note: &str| {
            device.sql(&format!(
                "INSERT INTO entries (person_id, track_id, note) SELECT p.id, t.id, '{note}' FROM people AS p, tracks AS t"
            ));
        };
        person(&a, "old", "");
        a.sql("INSERT INTO tracks (name) VALUES ('song')");
        entry(&a, "of old");
        settle(&server, &[&a, &b], &tables);
        a.sql("DELETE FROM entries; DELETE FROM people");
        person(&a, "new", "");
        entry(&a, "of new");
        sync(&a, mode);
        settle(&server, &[&a, &b], &tables);
        let entries = "SELECT p.name || ' ' || e.note || ' ' || (e.sync_deleted_at IS NULL)
            FROM entries AS e JOIN people AS p ON p.id = e.person_id ORDER BY e.sync_deleted_at IS NULL";
        let told: Vec<String> = server.column(entries).into_iter().flatten().collect();
        let alive = |is: bool| match (backend, is) {
            (Backend::Sqlite, is) => u8::from(is).to_string(),
            (Backend::Postgres, is) => is.to_string(),
        };
        let expected = [
            format!("old of old {}", alive(false)),
            format!("new of new {}", alive(true)),
        ];
        assert_eq!(told, expected, "{mode:?}");
    }
}

/// Its making is in a push without an answer, and its end is not.
fn what_had_the_deleted_number_in_its_key_does_not_get_the_new_ones(backend: Backend) {
    for mode in MODES {
        let tables = [PEOPLE, TRACKS, ENTRIES];
        let server = Server::on(backend);
        let server = tables.into_iter().fold(server, |s, t| s.table(t)).start();
        let proxy = server.proxy(1);
        let a = Device::behind(&proxy);
        a.client().init(&[]).unwrap();
        a.sql("INSERT INTO people (name) VALUES ('p'); INSERT INTO tracks (name) VALUES ('old')");
        a.client().sync().unwrap();
        a.sql("INSERT INTO entries (person_id, track_id, note) VALUES (1, 1, 'made')");
        proxy.plan(Plan::default().with(Fault::Refuse, 1000));
        assert!(a.client().sync().is_err());
        proxy.faults_off();
        a.sql("DELETE FROM entries; DELETE FROM tracks; INSERT INTO tracks (name) VALUES ('new')");
        assert_eq!(a.value("SELECT id FROM tracks").as_deref(), Some("1"));
        sync(&a, mode);
        settle(&server, &[&a], &["people", "tracks", "entries"]);
        let there = "SELECT count(*) FROM entries WHERE sync_deleted_at IS NULL";
        assert_eq!(server.value(there).as_deref(), Some("0"), "{mode:?}");
    }
}

/// Others edited the row before they heard that it is gone; the app has edited its new one.
fn what_was_written_to_the_new_row_stays_its_own(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "boss", "");
        person(&a, "old", "");
        settle(&server, &[&a, &b], &OFFICE);
        b.sql("UPDATE people SET boss_id = 1 WHERE name = 'old'");
        b.client().sync().unwrap();
        a.sql("DELETE FROM people WHERE name = 'old'");
        person(&a, "draft", "");
        a.sql("UPDATE people SET name = 'new' WHERE name = 'draft'");
        // A third one comes and goes.
        a.sql("DELETE FROM people WHERE name = 'new'");
        person(&a, "new", "");
        a.sql("UPDATE people SET id = 50 WHERE name = 'new'");
        sync(&a, mode);
        settle(&server, &[&a, &b], &OFFICE);
        assert_eq!(bosses(&a), ["boss -", "new -"], "{mode:?}");
        assert_eq!(bosses(&b), ["boss -", "new -"], "{mode:?}");
        assert_eq!(gone(&server, "old").as_deref(), Some("1"), "{mode:?}");
    }
}

fn a_row_that_is_put_back_is_the_row_that_it_was(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "ann", "");
        settle(&server, &[&a, &b], &OFFICE);
        invoice(&b, "theirs", "ann");
        a.sql("DELETE FROM people; INSERT INTO people (id, name) VALUES (1, 'ann')");
        sync(&a, mode);
        settle(&server, &[&a, &b], &OFFICE);
        assert_eq!(told(&a), ["theirs/1 theirs ann", "theirs/2 theirs ann"]);
        assert_eq!(
            server.value("SELECT count(*) FROM people").as_deref(),
            Some("1"),
            "{mode:?}"
        );
    }
}

fn a_number_that_the_app_has_named_is_the_row_that_it_had_deleted(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "ann", "");
        person(&a, "last", "");
        settle(&server, &[&a, &b], &OFFICE);
        invoice(&b, "theirs", "ann");
        // SQLite would have given 3; and a replaced row was never deleted by itself.
        a.sql(
            "DELETE FROM people WHERE id = 1; INSERT INTO people (id, name) VALUES (1, 'anna');
             INSERT OR REPLACE INTO people (id, name) VALUES (2, 'zoe')",
        );
        sync(&a, mode);
        settle(&server, &[&a, &b], &OFFICE);
        assert_eq!(told(&a), ["theirs/1 theirs anna", "theirs/2 theirs anna"]);
        assert_eq!(bosses(&b), ["anna -", "zoe -"], "{mode:?}");
        assert_eq!(
            server.value("SELECT count(*) FROM people").as_deref(),
            Some("2"),
            "{mode:?}"
        );
    }
}

fn a_new_row_that_points_to_itself_does_in_every_mode(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        a.sql("INSERT INTO people (id, name, boss_id) VALUES (7, 'own', 7)");
        sync(&a, mode);
        settle(&server, &[&a, &b], &OFFICE);
        assert_eq!(bosses(&a), ["own own"], "{mode:?}");
        assert_eq!(bosses(&b), ["own own"], "{mode:?}");
    }
}

/// A transaction log tells of what is gone, too: of a badge that pointed to one whom nobody else ever met.
fn what_pointed_to_a_new_row_that_is_gone_does_not_point_to_the_next(backend: Backend) {
    let server = Server::on(backend).table(PEOPLE).table(BADGES).start();
    let (a, b) = (device(&server), device(&server));
    person(&a, "old", "");
    for (code, note) in [("refused", "nobody"), ("kept", "fine")] {
        a.sql(&format!(
            "INSERT INTO badges (code, note, person_id) SELECT '{code}', '{note}', id FROM people"
        ));
    }
    a.sql("DELETE FROM badges WHERE code = 'refused'; UPDATE badges SET person_id = NULL; DELETE FROM people");
    person(&a, "new", "");
    assert_eq!(a.column("SELECT id FROM people"), [Some("1".to_owned())]);
    sync(&a, Mode::TransactionLog);
    settle(&server, &[&a, &b], &["people", "badges"]);
    let letters = a.client().dead_letters().unwrap();
    let made = letters.iter().find(|letter| letter.edit["op"] == "insert");
    let columns = &made.unwrap().edit["columns"];
    assert_eq!(columns["note"]["value"], "nobody");
    assert!(columns["person_id"].is_null(), "{columns}");
    let kept = b.column("SELECT code || ' ' || note || ' ' || (person_id IS NULL) FROM badges");
    assert_eq!(kept, [Some("kept fine 1".to_owned())]);
    assert_eq!(bosses(&b), ["new -"]);
}

/// With `recursive_triggers`, what an OR REPLACE deletes is deleted to the app's triggers, and to colsync's.
fn a_row_that_is_replaced_is_the_row_that_it_was_whatever_triggers_fire(backend: Backend) {
    for mode in MODES {
        let server = office(backend);
        let (a, b) = (device(&server), device(&server));
        person(&a, "old", "");
        settle(&server, &[&a, &b], &OFFICE);
        invoice(&b, "theirs", "old");
        a.sql(
            "PRAGMA recursive_triggers = ON;
             INSERT OR REPLACE INTO people (id, name) SELECT id, 'renamed' FROM people;
             PRAGMA recursive_triggers = OFF;",
        );
        let report = sync(&a, mode);
        assert_eq!((report.pushed, report.applied), (1, 1), "{mode:?}");
        settle(&server, &[&a, &b], &OFFICE);
        let expected = ["theirs/1 theirs renamed", "theirs/2 theirs renamed"];
        assert_eq!(told(&a), expected, "{mode:?}");
        assert_eq!(told(&b), expected, "{mode:?}");
    }
}

fn what_sqlite_remembers_of_its_numbers_tells_rows_apart(backend: Backend) {
    let forget = "DELETE FROM sqlite_sequence WHERE name = 'people'";
    let by_number = "INSERT INTO people (id, name) VALUES (1, 'new')";
    let by_sqlite = "INSERT INTO people (name) VALUES ('new')";
    for (key, and, insert, is_another) in [
        ("/* no AUTOINCREMENT */", "", by_sqlite, "1"),
        ("AUTOINCREMENT", forget, by_sqlite, "1"),
        ("AUTOINCREMENT", "", by_number, "0"),
    ] {
        let server = office(backend);
        let a = Device::new(&server);
        a.sql(&format!(
            "CREATE TABLE people (id INTEGER PRIMARY KEY {key}, name TEXT, boss_id INTEGER REFERENCES people (id))"
        ));
        a.client().init(&[]).unwrap();
        person(&a, "old", "");
        a.client().sync().unwrap();
        a.sql(&format!("DELETE FROM people; {and}; {insert}"));
        assert_eq!(a.column("SELECT id FROM people"), [Some("1".to_owned())]);
        a.client().sync().unwrap();
        assert_eq!(
            gone(&server, "old").as_deref(),
            Some(is_another),
            "{key} {and}"
        );
        let alive = "SELECT name FROM people WHERE sync_deleted_at IS NULL";
        assert_eq!(server.column(alive), [Some("new".to_owned())]);
    }
}
