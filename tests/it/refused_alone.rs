//! What the database says of one edit, in whatever words: it is that edit's refusal, and nobody else's failure.

use colsync_tests::edits::{insert, update};
use colsync_tests::tables::{TableDef, id};
use colsync_tests::{Backend, Server, ago, on_both, row_path};
use serde_json::json;

on_both![
    what_an_index_or_a_trigger_says_of_a_value_refuses_its_edit_alone,
    words_of_a_failing_database_are_a_refusal_where_it_does_not_fail,
    a_table_that_is_not_as_it_was_refuses_nobodys_edit,
];

/// An index that reads what a text holds, and a trigger that reads it and says what it likes.
const NOTES: TableDef = TableDef {
    name: "notes",
    sqlite: "CREATE TABLE notes (id UUID PRIMARY KEY NOT NULL, data TEXT, word TEXT);
             CREATE INDEX notes_kind ON notes (json_extract(data, '$.kind'));
             CREATE TRIGGER notes_new BEFORE INSERT ON notes WHEN NEW.word LIKE 'say %' BEGIN
                 SELECT CASE NEW.word WHEN 'say closed' THEN RAISE(ABORT, 'permission denied: the list is closed')
                     WHEN 'say missing' THEN RAISE(ABORT, 'no such table: of five') END;
             END;",
    postgres: r#"CREATE TABLE notes (id uuid PRIMARY KEY, data text, word text);
               CREATE FUNCTION notes_check() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF NEW.data NOT LIKE '{%' THEN PERFORM NEW.data::int4range; END IF;
                   IF NEW.word = 'say closed' THEN RAISE 'permission denied: the list is closed'; END IF;
                   IF NEW.word = 'say missing' THEN RAISE 'a column or relation of five does not exist'; END IF;
                   IF NEW.word LIKE 'quote %' THEN RAISE 'not a word: "%"', NEW.word; END IF;
                   RETURN NEW; END $$;
               CREATE TRIGGER notes_check BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION notes_check();"#,
};

const GOOD: &str = r#"{"kind":"x"}"#;

fn what_an_index_or_a_trigger_says_of_a_value_refuses_its_edit_alone(backend: Backend) {
    let server = Server::on(backend).table(NOTES).start();
    let note =
        |number: u64, data: &str| insert("notes", &id(number), &ago(60), &json!({ "data": data }));
    let mut ana = server.client("ana");
    let receipts = ana.push(&[
        note(1, GOOD),
        note(2, "not JSON, nor a range"),
        note(3, GOOD),
        update(
            "notes",
            &id(1),
            1,
            &ago(30),
            &json!({ "data": "(nor this" }),
        ),
    ]);
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt["code"].as_str().unwrap_or("ok"))
        .collect();
    assert_eq!(told, ["ok", "invalid_value", "ok", "invalid_value"]);
    let detail = receipts[1]["detail"].as_str().unwrap();
    assert!(detail.starts_with("malformed "), "{detail}");
    let bare = json!({ "data": "neither" });
    let refused = ana.patch(&row_path("notes", &id(1)), &bare);
    let _ = refused.problem(422, "invalid_value");
    assert_eq!(ana.row("notes", &id(1))["data"], GOOD);
    let ids = server.column("SELECT CAST(id AS TEXT) FROM notes ORDER BY id");
    assert_eq!(ids, [Some(id(1)), Some(id(3))]);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

fn words_of_a_failing_database_are_a_refusal_where_it_does_not_fail(backend: Backend) {
    let server = Server::on(backend).table(NOTES).start();
    let note = |number: u64, word: &str| {
        let row = json!({ "data": GOOD, "word": word });
        insert("notes", &id(number), &ago(60), &row)
    };
    let mut words = vec!["say closed", "say missing"];
    if backend == Backend::Postgres {
        // What a client sent is not what the database says.
        words.extend(["quote deadlock detected", "quote disk full: no space left"]);
    }
    let mut ana = server.client("ana");
    for (number, word) in (1..).zip(words) {
        let receipts = ana.push(&[note(number, word), note(100 + number, "x")]);
        assert_eq!(receipts[0]["code"], "invalid_value", "{word}");
        assert_eq!(receipts[1]["status"], "ok", "{word}");
    }
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

fn a_table_that_is_not_as_it_was_refuses_nobodys_edit(backend: Backend) {
    let server = Server::on(backend).table(NOTES).start();
    let ana = server.client("ana");
    let edits = [insert("notes", &id(1), &ago(60), &json!({ "data": GOOD }))];
    server.sql("ALTER TABLE notes RENAME TO away");
    let _ = ana.push_numbered(1, &edits).problem(500, "internal");
    server.sql("ALTER TABLE away RENAME TO notes");
    let receipts = ana.push_numbered(1, &edits).expect(200).json();
    assert_eq!(receipts["receipts"][0]["status"], "ok");
    assert_eq!(ana.row("notes", &id(1))["data"], GOOD);
}

/// SQLite says of every write what it says of the trigger.
#[test]
fn a_trigger_that_lost_its_table_refuses_nobodys_edit() {
    let heard = "CREATE TABLE heard (id UUID)";
    let trigger = "CREATE TRIGGER notes_heard AFTER INSERT ON notes BEGIN INSERT INTO heard VALUES (NEW.id); END";
    let server = Server::on(Backend::Sqlite).table(NOTES);
    let server = server.before(&format!("{heard}; {trigger};")).start();
    let ana = server.client("ana");
    let edits = [insert("notes", &id(1), &ago(60), &json!({ "data": GOOD }))];
    server.sql("DROP TABLE heard");
    let _ = ana.push_numbered(1, &edits).problem(500, "internal");
    server.sql(heard);
    let receipts = ana.push_numbered(1, &edits).expect(200).json();
    assert_eq!(receipts["receipts"][0]["status"], "ok");
    assert_eq!(
        server.value("SELECT count(*) FROM heard").as_deref(),
        Some("1")
    );
}
