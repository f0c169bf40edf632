//! Stories about the schema: what can be tracked, and what becomes of capture as the app migrates.

use super::{Story, app, rows};
use crate::capture::{lines, refresh, track, untrack};
use crate::error::Error;
use crate::file::File;
use diesel::connection::SimpleConnection as _;

const NOTES: &str = "
    CREATE TABLE notes (id TEXT PRIMARY KEY NOT NULL, title TEXT, n INT);
    INSERT INTO notes VALUES ('a', 'one', 1), ('b', 'two', 2), ('c', NULL, NULL);";

fn notes() -> Story {
    Story::new(NOTES, &["notes"])
}

/// Runs `sql` as the app, without a check: the tables' columns may be others than at the start.
fn migrate(story: &Story, sql: &str) {
    app(&story.path, "").batch_execute(sql).unwrap();
}

fn names(file: &mut File) -> Vec<String> {
    let tables = refresh(file).unwrap();
    tables.into_iter().map(|table| table.name).collect()
}

#[track_caller]
fn refused(sql: &str, table: &str, expect: &str) {
    let mut story = Story::new(sql, &[]);
    match track(&mut story.file, table) {
        Err(Error::Untrackable { reasons, .. }) => assert_eq!(reasons, [expect]),
        other => panic!("{other:?}"),
    }
    assert!(refresh(&mut story.file).unwrap().is_empty());
    assert_eq!(
        story
            .file
            .int(
                "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
                &[]
            )
            .unwrap(),
        0
    );
}

#[test]
fn only_ordinary_tables_with_a_key_are_tracked() {
    refused("", "nothing", "there is no such table");
    refused("CREATE VIEW v AS SELECT 1 AS id", "v", "it is a view");
    refused("CREATE TABLE t (a, b)", "t", "it has no primary key");
    refused(
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "f",
        "it is a virtual table",
    );
    refused(
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "f_data",
        "it is a part of a virtual table",
    );
    refused("", "colsync_meta", "it belongs to colsync or SQLite itself");
    refused("", "COLSYNC_LOG", "it belongs to colsync or SQLite itself");
    refused(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, \"\" TEXT)",
        "t",
        "it has a column with an empty name",
    );
}

#[test]
fn rows_that_are_there_count_as_inserted() {
    let mut story = Story::new(NOTES, &[]);
    let tracked = track(&mut story.file, "NOTES").unwrap();
    assert_eq!(
        (tracked.table.as_str(), tracked.columns, tracked.existing),
        ("notes", 3, 3)
    );
    assert_eq!(
        story.told(0),
        ["inserted 'a'", "inserted 'b'", "inserted 'c'"]
    );
    assert_eq!(track(&mut story.file, "notes").unwrap().existing, 0);
    assert_eq!(story.last(), 3);
    assert_eq!(lines::after(&mut story.file, 1, 1).unwrap()[0].seq, 2);
}

#[test]
fn tracking_again_mends_lost_triggers() {
    let mut story = notes();
    migrate(
        &story,
        "DROP TRIGGER colsync_1_column_1; DROP TRIGGER colsync_1_insert",
    );
    track(&mut story.file, "notes").unwrap();
    assert_eq!(
        story.app("UPDATE notes SET title = 'x' WHERE n = 1; INSERT INTO notes (id) VALUES ('d')"),
        ["changed 'a' title 'one' 'x'", "inserted 'd'"]
    );
}

#[test]
fn untracking_leaves_no_trace() {
    let mut story = notes();
    story.app("UPDATE notes SET n = 3");
    story
        .file
        .batch("INSERT INTO colsync_held VALUES (1, 'a', '{}', NULL); INSERT INTO colsync_seen VALUES (1, 'a');
            INSERT INTO colsync_versions VALUES (1, 'a', 2)")
        .unwrap();
    match untrack(&mut story.file, "notes", false) {
        Err(Error::Unpushed { table, edits }) => assert_eq!((table.as_str(), edits), ("notes", 3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(refresh(&mut story.file).unwrap().len(), 1);
    untrack(&mut story.file, "Notes", true).unwrap();
    assert!(refresh(&mut story.file).unwrap().is_empty());
    for nothing in [
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
        "SELECT count(*) FROM colsync_log",
        "SELECT count(*) FROM colsync_held",
        "SELECT count(*) FROM colsync_seen",
        "SELECT count(*) FROM colsync_versions",
        "SELECT count(*) FROM colsync_tables",
    ] {
        assert_eq!(story.file.int(nothing, &[]).unwrap(), 0, "{nothing}");
    }
    migrate(
        &story,
        "UPDATE notes SET n = 4; ALTER TABLE notes DROP COLUMN n",
    );
    assert!(matches!(
        untrack(&mut story.file, "notes", true),
        Err(Error::Unknown { .. })
    ));
}

#[test]
fn the_number_of_a_table_with_an_unanswered_push_is_not_given_away() {
    let mut story = notes();
    story
        .file
        .batch("INSERT INTO colsync_sent VALUES (0, 1, 'a', 1)")
        .unwrap();
    untrack(&mut story.file, "notes", true).unwrap();
    track(&mut story.file, "notes").unwrap();
    assert_eq!(refresh(&mut story.file).unwrap()[0].number, 2);
}

#[test]
fn an_unchanged_schema_is_not_written_to() {
    let mut story = notes();
    let before = story.file.int("PRAGMA data_version", &[]).unwrap();
    let mut other = File::open(&story.path).unwrap();
    assert_eq!(names(&mut other), ["notes"]);
    assert_eq!(names(&mut other), ["notes"]);
    assert_eq!(story.file.int("PRAGMA data_version", &[]).unwrap(), before);
}

#[test]
fn a_new_column_is_captured_with_what_was_written_before_it_was_noticed() {
    let mut story = notes();
    migrate(
        &story,
        "ALTER TABLE notes ADD COLUMN done TEXT NOT NULL DEFAULT 0; ALTER TABLE notes ADD COLUMN more REAL;
         ALTER TABLE notes ADD COLUMN word DEFAULT wordy; ALTER TABLE notes ADD COLUMN g AS (n + 1);
         UPDATE notes SET done = 'yes', word = 'wordy' WHERE id = 'a'; UPDATE notes SET more = 1 WHERE id = 'b'",
    );
    assert_eq!(story.last(), 0);
    assert_eq!(refresh(&mut story.file).unwrap()[0].columns.len(), 6);
    assert_eq!(
        story.told(0),
        ["changed 'a' done '0' 'yes'", "changed 'b' more NULL 1.0"]
    );
    story.begin();
    assert_eq!(
        story
            .app("UPDATE notes SET word = 'x', done = 'no' WHERE id = 'a'")
            .len(),
        2
    );
}

#[test]
fn a_renamed_column_keeps_its_lines() {
    let mut story = notes();
    story.app("UPDATE notes SET title = 'x', n = 5 WHERE id = 'a'");
    migrate(
        &story,
        "ALTER TABLE notes RENAME COLUMN title TO t2; ALTER TABLE notes RENAME COLUMN n TO title;
         ALTER TABLE notes RENAME COLUMN t2 TO n; ALTER TABLE notes RENAME COLUMN id TO \"the id\"",
    );
    // Before it is noticed, the triggers still write under the old name.
    migrate(&story, "UPDATE notes SET n = 'y' WHERE \"the id\" = 'b'");
    assert_eq!(
        refresh(&mut story.file).unwrap()[0].columns[2].name,
        "title"
    );
    let mut lines = story.told(0);
    lines.sort();
    assert_eq!(
        lines,
        [
            "changed 'a' n 'one' 'x'",
            "changed 'a' title 1 5",
            "changed 'b' n 'two' 'y'"
        ]
    );
    migrate(&story, "UPDATE notes SET title = 6 WHERE title = 5");
    assert!(story.told(0).contains(&"changed 'a' title 5 6".to_owned()));
}

#[test]
fn a_renamed_table_stays_tracked() {
    let mut story = notes();
    migrate(
        &story,
        "ALTER TABLE notes RENAME TO \"my notes\"; UPDATE \"my notes\" SET n = 8 WHERE n = 1",
    );
    assert_eq!(names(&mut story.file), ["my notes"]);
    migrate(
        &story,
        "UPDATE \"my notes\" SET n = 9 WHERE n = 8; REPLACE INTO \"my notes\" VALUES ('b', 'x', 1)",
    );
    assert_eq!(
        story.told(0)[..2],
        ["changed 'a' n 1 8", "changed 'a' n 8 9"]
    );
}

#[test]
fn tables_that_exchange_their_names_stay_themselves() {
    let mut story = Story::new(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x); CREATE TABLE b (id INTEGER PRIMARY KEY, y);",
        &["a", "b"],
    );
    migrate(
        &story,
        "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b",
    );
    let tables = refresh(&mut story.file).unwrap();
    assert_eq!((tables[0].number, tables[0].name.as_str()), (1, "b"));
    assert_eq!((tables[1].number, tables[1].name.as_str()), (2, "a"));
    migrate(&story, "DROP TABLE b; ALTER TABLE a RENAME TO b");
    let tables = refresh(&mut story.file).unwrap();
    assert_eq!(tables.len(), 1);
    assert_eq!((tables[0].number, tables[0].name.as_str()), (2, "b"));
}

#[test]
fn a_table_that_was_rebuilt_is_captured_again() {
    let mut story = notes();
    migrate(
        &story,
        "CREATE TABLE new_notes (id TEXT PRIMARY KEY NOT NULL, title TEXT, extra INT DEFAULT 1);
         INSERT INTO new_notes (id, title) SELECT id, title FROM notes;
         DROP TABLE notes; ALTER TABLE new_notes RENAME TO notes",
    );
    assert_eq!(names(&mut story.file), ["notes"]);
    story.begin();
    story.app("UPDATE notes SET extra = 5; DELETE FROM notes WHERE id = 'a'");
}

#[test]
fn a_dropped_table_is_left_out_and_its_lines_stay() {
    let mut story = notes();
    story.app("UPDATE notes SET n = 5 WHERE id = 'a'");
    migrate(&story, "DROP TABLE notes");
    assert!(names(&mut story.file).is_empty());
    assert_eq!(story.last(), 1);
    untrack(&mut story.file, "notes", true).unwrap();
    assert_eq!(story.last(), 0);
}

#[test]
fn triggers_that_the_app_makes_later_fire_after_ours_once_they_are_noticed() {
    let mut story = notes();
    migrate(
        &story,
        "CREATE TRIGGER made AFTER INSERT ON notes BEGIN UPDATE notes SET n = 1 WHERE id = NEW.id; END",
    );
    story.begin();
    assert_eq!(
        story.app("INSERT INTO notes (id) VALUES ('d')"),
        ["inserted 'd'", "changed 'd' n NULL 1"]
    );
}

#[test]
fn a_trigger_that_leads_to_tracked_tables_echoes() {
    let story = Story::new(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, x); CREATE TABLE b (id INTEGER PRIMARY KEY, y);
         CREATE TABLE audit (what); CREATE TABLE other (id); CREATE VIRTUAL TABLE found USING fts5(x);
         CREATE TRIGGER touches AFTER UPDATE OF x ON a BEGIN UPDATE OR IGNORE [B] SET y = 1; END;
         CREATE TRIGGER audits AFTER UPDATE ON a BEGIN INSERT INTO audit VALUES ('UPDATE b'); END;
         CREATE TRIGGER finds AFTER INSERT ON a BEGIN INSERT INTO found VALUES (NEW.x); END;
         CREATE TRIGGER leads AFTER INSERT ON a BEGIN INSERT INTO other VALUES (1); END;
         CREATE TRIGGER follows AFTER INSERT ON other BEGIN DELETE FROM b; END;",
        &["a", "b"],
    );
    let names: Vec<&str> = story.tables[0]
        .echoing
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["touches", "leads"]);
    assert!(
        story.tables[0].echoing[0]
            .1
            .starts_with("CREATE TRIGGER touches")
    );
    assert!(story.tables[1].echoing.is_empty());
}

#[test]
fn vacuum_changes_nothing() {
    let mut story = notes();
    migrate(&story, "DELETE FROM notes WHERE id = 'a'");
    migrate(&story, "VACUUM");
    story.app("UPDATE notes SET n = 7; INSERT INTO notes (id) VALUES ('a')");
    assert_eq!(names(&mut story.file), ["notes"]);
    story.app("UPDATE notes SET n = 8");
    let tables = story.tables.clone();
    assert_eq!(rows(&mut story.file, &tables[0]).len(), 3);
}

#[test]
fn an_app_with_functions_of_its_own_in_a_trigger_can_be_tracked() {
    let mut story = Story::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x);
         CREATE TRIGGER own AFTER INSERT ON t BEGIN SELECT only_the_app_knows(NEW.x); END;",
        &["t"],
    );
    story.app("UPDATE t SET x = 1");
}
