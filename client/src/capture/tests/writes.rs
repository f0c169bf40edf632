//! A story for each thing that SQL can do to the rows of a tracked table.

use super::{Story, app};
use crate::file::{IS_THE_APPS, text};
use diesel::connection::SimpleConnection as _;

const NOTES: &str = "
    CREATE TABLE notes (id TEXT PRIMARY KEY, title TEXT COLLATE NOCASE UNIQUE, n, body BLOB);
    INSERT INTO notes VALUES ('a', 'one', 1, x'00'), ('b', 'two', 2, NULL), ('c', NULL, NULL, 'x');";

fn notes() -> Story {
    Story::new(NOTES, &["notes"])
}

#[track_caller]
fn check(sql: &str, expect: &[&str]) {
    assert_eq!(notes().app(sql), expect, "{sql}");
}

#[test]
fn a_changed_column_is_one_line() {
    check(
        "UPDATE notes SET n = 5, title = 'one' WHERE id = 'a'",
        &["changed 'a' n 1 5"],
    );
}

#[test]
fn what_is_only_almost_the_same_is_a_change() {
    check("UPDATE notes SET n = n", &[]);
    check(
        "UPDATE notes SET n = 1.0 WHERE n = 1",
        &["changed 'a' n 1 1.0"],
    );
    check(
        "UPDATE notes SET n = '1' WHERE n = 1",
        &["changed 'a' n 1 '1'"],
    );
    check(
        "UPDATE notes SET n = NULL WHERE n = 1",
        &["changed 'a' n 1 NULL"],
    );
    check(
        "UPDATE notes SET n = 0 WHERE id = 'c'",
        &["changed 'c' n NULL 0"],
    );
    check(
        "UPDATE notes SET title = 'ONE' WHERE title = 'one'",
        &["changed 'a' title 'one' 'ONE'"],
    );
    check(
        "UPDATE notes SET body = x'78' WHERE id = 'c'",
        &["changed 'c' body 'x' x[120]"],
    );
    check(
        "UPDATE notes SET body = x'0000' WHERE id = 'a'",
        &["changed 'a' body x[0] x[0, 0]"],
    );
}

#[test]
fn an_insert_is_one_line_and_a_delete_one_more_than_it_has_columns() {
    check(
        "INSERT INTO notes (id) VALUES ('d'), ('e')",
        &["inserted 'd'", "inserted 'e'"],
    );
    check(
        "DELETE FROM notes WHERE id = 'a'",
        &[
            "deleted 'a'",
            "deleted 'a' title 'one' NULL",
            "deleted 'a' n 1 NULL",
            "deleted 'a' body x[0] NULL",
        ],
    );
    notes().app("DELETE FROM notes; INSERT INTO notes (id, n) VALUES ('a', 7)");
}

#[test]
fn a_row_that_an_insert_replaces_is_noted() {
    let by_key = notes().app("INSERT OR REPLACE INTO notes (id, n) VALUES ('a', 9)");
    assert_eq!(by_key.len(), 5);
    assert!(by_key.contains(&"may be replaced 'a' title 'one' NULL".to_owned()));
    assert_eq!(by_key[4], "inserted 'a'");

    let by_title = notes().app("REPLACE INTO notes (id, title) VALUES ('d', 'ONE')");
    assert!(by_title.contains(&"may be replaced 'a' n 1 NULL".to_owned()));

    let by_both = notes().app("REPLACE INTO notes (id, title) VALUES ('a', 'Two'), ('b', 'two')");
    assert!(by_both.contains(&"may be replaced 'b' n 2 NULL".to_owned()));
}

#[test]
fn a_row_that_an_update_replaces_is_noted() {
    let by_key = notes().app("UPDATE OR REPLACE notes SET id = 'b' WHERE id = 'a'");
    assert!(by_key.contains(&"may be replaced 'b' n 2 NULL".to_owned()));
    assert!(by_key.contains(&"deleted 'a' n 1 NULL".to_owned()));
    assert!(by_key.contains(&"inserted 'b'".to_owned()));

    let by_title = notes().app("UPDATE OR REPLACE notes SET title = 'TWO' WHERE id = 'a'");
    assert!(by_title.contains(&"may be replaced 'b' n 2 NULL".to_owned()));
    assert!(by_title.contains(&"changed 'a' title 'one' 'TWO'".to_owned()));
    notes().app("UPDATE OR REPLACE notes SET id = 'x', title = 'y'");
}

#[test]
fn a_replacement_is_noted_by_every_kind_of_index() {
    let schema = "
        CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT, \"on\" INT,
            slot TEXT NOT NULL DEFAULT s1 UNIQUE, column1 INT, low TEXT AS (lower(name)));
        CREATE UNIQUE INDEX active ON users (email) WHERE users.\"on\" AND column1 IS NULL;
        CREATE UNIQUE INDEX expressed ON users (trim(name) COLLATE NOCASE DESC, abs(\"on\"));
        CREATE UNIQUE INDEX generated ON users (low, column1);
        INSERT INTO users VALUES
            (1, 'e', 'Ann', 1, 's1', NULL), (2, 'f', 'Bob', 1, 's2', 4), (3, 'f', 'Zoe', 1, 's3', NULL);";
    for sql in [
        "REPLACE INTO users VALUES (9, 'e', 'x', 1, 's9', NULL)",
        "REPLACE INTO users VALUES (9, 'x', ' aNN ', -1, 's9', 5)",
        "REPLACE INTO users VALUES (9, 'x', 'bob', 7, 's9', 4)",
        "REPLACE INTO users (slot) VALUES ('s2')",
        // The default takes the place of the NULL, and is in another row's way.
        "REPLACE INTO users (id, slot) VALUES (9, NULL)",
        "UPDATE OR REPLACE users SET slot = NULL WHERE id = 2",
        "UPDATE OR REPLACE users SET email = 'f', id = 3 WHERE id = 1",
        "UPDATE OR REPLACE users SET column1 = NULL, email = 'e' WHERE id = 2",
        "UPDATE users SET \"on\" = 0 WHERE id = 1; INSERT INTO users VALUES (9, 'e', 'x', 1, 's9', NULL);
         UPDATE OR REPLACE users SET \"on\" = 1 WHERE id = 1",
        "UPDATE OR REPLACE users SET name = 'aNN' WHERE id = 2",
        "UPDATE OR REPLACE users SET name = 'BOB', column1 = 4, \"on\" = 3 WHERE id = 1",
        "UPDATE OR REPLACE users SET rowid = 2 WHERE id = 1",
        "UPDATE users SET _rowid_ = 20, name = 'n' WHERE id = 1",
        "UPDATE OR REPLACE users SET id = id + 1",
    ] {
        let mut story = Story::new(schema, &["users"]);
        let lines = story.app(sql);
        let is_key_change = sql.contains("20");
        let noted = lines.iter().any(|line| line.starts_with("may be replaced"));
        assert!(noted || is_key_change, "{sql}: {lines:?}");
    }
}

#[test]
fn lookups_for_replaced_rows_go_through_the_indexes() {
    let mut story = Story::new(
        "CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, name TEXT, live INT NOT NULL DEFAULT 1);
         CREATE UNIQUE INDEX a ON users (email COLLATE NOCASE) WHERE live;
         CREATE UNIQUE INDEX b ON users (lower(name), live);",
        &["users"],
    );
    for word in ["may_insert", "may_update"] {
        let sql = story.file.load(
            &format!("SELECT sql FROM sqlite_master WHERE name = 'colsync_1_{word}'"),
            &[],
        );
        let sql = text(&sql.unwrap()[0][0]).unwrap().to_owned();
        let (_, condition) = sql.split_once("WHEN (").unwrap();
        let (condition, _) = condition
            .split_once(&format!(") AND {IS_THE_APPS}"))
            .unwrap();
        let condition = condition.replace("NEW.", "n.").replace("OLD.", "n.");
        let plan = format!("EXPLAIN QUERY PLAN SELECT {condition} FROM users AS n");
        let plan = format!("{:?}", story.file.load(&plan, &[]).unwrap());
        assert!(!plan.contains("SCAN users"), "{plan}");
        for index in ["sqlite_autoindex_users_1", "INDEX a ", "INDEX b "] {
            assert!(plan.contains(index), "{index}: {plan}");
        }
    }
}

#[test]
fn upserts_and_ignored_inserts_tell_no_more_than_what_changed() {
    let upsert = "INSERT INTO notes (id, n) VALUES ('a', 5), ('d', 6)
        ON CONFLICT (id) DO UPDATE SET n = excluded.n";
    let lines = notes().app(upsert);
    assert!(lines.contains(&"changed 'a' n 1 5".to_owned()));
    assert!(lines.contains(&"inserted 'd'".to_owned()));
    assert!(!lines.contains(&"inserted 'a'".to_owned()));
    for sql in [
        "INSERT INTO notes (id, n) VALUES ('a', 5) ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO notes (id, title) VALUES ('d', 'ONE'), ('e', 'e')",
        "UPDATE OR IGNORE notes SET id = 'b'",
        "INSERT INTO notes (id, title) VALUES ('d', 'ONE') ON CONFLICT (title) DO UPDATE SET id = 'z'",
    ] {
        notes().app(sql);
    }
}

#[test]
fn a_changed_key_is_a_delete_and_an_insert() {
    check(
        "UPDATE notes SET id = 'd', n = 3 WHERE id = 'b'",
        &[
            "changed 'b' n 2 3",
            "inserted 'd'",
            "deleted 'b'",
            "deleted 'b' title 'two' NULL",
            "deleted 'b' n 2 NULL",
            "deleted 'b' body NULL NULL",
        ],
    );
    let swap = "UPDATE notes SET id = 'x' WHERE id = 'a'; UPDATE notes SET id = 'a' WHERE id = 'b';
        UPDATE notes SET id = 'b' WHERE id = 'x'";
    notes().app(swap);
    let mut folded = Story::new(
        "CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, v); INSERT INTO t VALUES ('abc', 1)",
        &["t"],
    );
    let lines = folded.app("UPDATE t SET id = 'ABC'");
    assert!(lines.contains(&"inserted 'ABC'".to_owned()));
    assert!(lines.contains(&"deleted 'abc' v 1 NULL".to_owned()));
    folded.app("REPLACE INTO t VALUES ('aBc', 2)");
}

#[test]
fn a_row_without_a_key_is_none_until_it_has_one() {
    check("INSERT INTO notes (id, n) VALUES (NULL, 1), (NULL, 2)", &[]);
    check(
        "INSERT INTO notes (id, n) VALUES (NULL, 1); UPDATE notes SET n = 3 WHERE id IS NULL;
         UPDATE notes SET id = 'd' WHERE id IS NULL",
        &["inserted 'd'"],
    );
    let lines = notes().app("UPDATE notes SET id = NULL WHERE id = 'a'; DELETE FROM notes");
    assert_eq!(lines.len(), 12);
}

#[test]
fn what_is_rolled_back_is_not_noted() {
    check("BEGIN; UPDATE notes SET n = 9; ROLLBACK", &[]);
    check(
        "BEGIN; SAVEPOINT s; DELETE FROM notes; ROLLBACK TO s; UPDATE notes SET n = 9 WHERE n = 1;
         RELEASE s; COMMIT",
        &["changed 'a' n 1 9"],
    );
}

#[test]
fn cascades_are_captured() {
    let schema = "
        CREATE TABLE parents (id INTEGER PRIMARY KEY, v);
        CREATE TABLE children (id INTEGER PRIMARY KEY, parent INT
            REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE,
            other INT REFERENCES parents ON DELETE SET NULL,
            self INT REFERENCES children ON DELETE CASCADE);
        INSERT INTO parents VALUES (1, 'a'), (2, 'b');
        INSERT INTO children VALUES (1, 1, 2, NULL), (2, 2, 1, NULL), (3, NULL, NULL, 1);";
    for (sql, expect) in [
        ("DELETE FROM parents WHERE id = 1", "deleted 3 self 1 NULL"),
        ("DELETE FROM parents WHERE id = 1", "changed 2 other 1 NULL"),
        ("UPDATE parents SET id = 7 WHERE id = 2 AND false OR id = 2 AND (SELECT 1 FROM (SELECT 1))
          AND NOT EXISTS (SELECT 1 FROM children WHERE other = 9)", "changed 2 parent 2 7"),
        ("REPLACE INTO parents VALUES (1, 'c')", "deleted 1 parent 1 NULL"),
    ] {
        let mut story = Story::new(schema, &["parents", "children"]);
        if sql.starts_with("UPDATE") {
            story.app("UPDATE children SET other = NULL");
        }
        let lines = story.app(sql);
        assert!(lines.contains(&expect.to_owned()), "{sql}: {lines:?}");
    }
}

#[test]
fn the_apps_own_triggers_are_captured_in_the_order_of_what_they_do() {
    let mut story = Story::new(
        "CREATE TABLE t (id TEXT PRIMARY KEY, v INT, touched INT NOT NULL DEFAULT 0);
         CREATE TABLE log (n INTEGER PRIMARY KEY, what);
         INSERT INTO t VALUES ('a', 1, 0);
         CREATE TRIGGER touch AFTER UPDATE OF v ON t BEGIN
             UPDATE t SET touched = touched + 1, v = v + 1 WHERE id = NEW.id; END;
         CREATE TRIGGER made AFTER INSERT ON t BEGIN
             UPDATE t SET touched = 100 WHERE id = NEW.id; INSERT INTO log (what) VALUES (NEW.id); END;
         CREATE TRIGGER gone AFTER DELETE ON t BEGIN
             INSERT INTO t (id) VALUES (OLD.id || '-'); END;",
        &["t", "log"],
    );
    assert_eq!(
        story.app("UPDATE t SET v = 5"),
        [
            "changed 'a' v 1 5",
            "changed 'a' touched 0 1",
            "changed 'a' v 5 6"
        ]
    );
    assert_eq!(
        story.app("INSERT INTO t (id) VALUES ('b')"),
        ["inserted 'b'", "changed 'b' touched 0 100", "inserted 1"]
    );
    story.app("DELETE FROM t; INSERT INTO t (id) VALUES ('a')");
}

#[test]
fn recursive_triggers_do_no_harm() {
    let mut story = notes();
    let mut app = app(&story.path, "PRAGMA recursive_triggers = ON");
    for sql in [
        "REPLACE INTO notes (id, title) VALUES ('a', 'two')",
        "UPDATE OR REPLACE notes SET id = 'c'",
        "DELETE FROM notes",
    ] {
        app.batch_execute(sql).unwrap();
        story.check(sql);
    }
}

#[test]
fn composite_keys_are_named_as_on_the_wire() {
    let mut story = Story::new(
        "CREATE TABLE t (b TEXT, v, a INTEGER, w, PRIMARY KEY (a, b)) WITHOUT ROWID;
         INSERT INTO t VALUES ('x,y', 1, 1, 2), ('50%', 1, 2, 2), ('', 1, 2, 2);",
        &["t"],
    );
    let lines = story.app("UPDATE t SET v = 2 WHERE a < 2 OR b <> ''");
    assert_eq!(
        lines,
        ["changed '1,x%2Cy' v 1 2", "changed '2,50%25' v 1 2"]
    );
    story.app("UPDATE t SET a = 3 - a WHERE b <> ''");
    story.app("REPLACE INTO t VALUES ('', 2, 2, 3), ('z', 1, 1, 1)");
    story.app("UPDATE OR REPLACE t SET b = '', w = 8");
    story.app("DELETE FROM t");
}

#[test]
fn names_may_be_anything() {
    let mut story = Story::new(
        r#"CREATE TABLE "select" ("group" TEXT PRIMARY KEY NOT NULL, "a""b'c" TEXT UNIQUE, "" || '' AS "x:?");"#
            .replace(r#""" || '' AS "x:?""#, r#""x:?" INT"#)
            .as_str(),
        &["SELECT"],
    );
    story.app(r#"INSERT INTO "select" VALUES ('k', 'v', 1), ('l', 'w', 2)"#);
    story.begin();
    let lines = story.app(r#"UPDATE "select" SET "a""b'c" = 'z', "x:?" = 3 WHERE "group" = 'k'"#);
    assert!(lines.contains(&"changed 'k' a\"b'c 'v' 'z'".to_owned()));
    assert!(lines.contains(&"changed 'k' x:? 1 3".to_owned()));
    story.app(r#"REPLACE INTO "select" VALUES ('m', 'w', 1)"#);
    for name in ["new", "old", "o", "colsyn", "column1"] {
        let sql = format!(
            "CREATE TABLE \"{name}\" (\"new\" TEXT, \"old\" INT, id TEXT PRIMARY KEY, column2 INT);
             CREATE UNIQUE INDEX i ON \"{name}\" (lower(\"new\"), abs(\"old\")) WHERE column2;
             INSERT INTO \"{name}\" VALUES ('n', 1, 'a', 1), ('m', 1, 'b', 1);"
        );
        let mut story = Story::new(&sql, &[name]);
        story.app(&format!("REPLACE INTO \"{name}\" VALUES ('N', -1, 'c', 1)"));
        story.app(&format!(
            "UPDATE OR REPLACE \"{name}\" SET \"new\" = 'M', column2 = 2, id = 'z'"
        ));
        story.app(&format!("DELETE FROM \"{name}\""));
    }
}

#[test]
fn strict_tables_and_generated_columns_are_captured() {
    let mut story = Story::new(
        "CREATE TABLE t (g TEXT AS (upper(v)) STORED, id INTEGER PRIMARY KEY, h TEXT AS (v || r), v TEXT,
             r REAL, x ANY, UNIQUE (g)) STRICT;
         INSERT INTO t (id, v, r, x) VALUES (1, 'a', 1, 1), (2, 'b', 2, 2);",
        &["t"],
    );
    assert_eq!(story.tables[0].columns.len(), 4);
    assert_eq!(
        story.app("UPDATE t SET x = 1.0, r = 1, v = 'a' WHERE id = 1"),
        ["changed 1 x 1 1.0"]
    );
    let lines = story.app("UPDATE OR REPLACE t SET v = 'A' WHERE id = 2");
    assert!(
        lines.contains(&"may be replaced 1 v 'a' NULL".to_owned()),
        "{lines:?}"
    );
    story.app("REPLACE INTO t (v) VALUES ('a')");
}

#[test]
fn a_table_that_is_all_key_is_captured() {
    let mut story = Story::new(
        "CREATE TABLE tags (item INT, tag TEXT, PRIMARY KEY (item, tag)) WITHOUT ROWID;
         INSERT INTO tags VALUES (1, 'a'), (1, 'b')",
        &["tags"],
    );
    story.app("UPDATE OR REPLACE tags SET tag = 'a'");
    story.app("DELETE FROM tags; INSERT INTO tags VALUES (2, 'b')");
}

#[test]
fn triggers_look_away_while_rows_are_applied() {
    let mut story = notes();
    story
        .file
        .write(|file| {
            file.uncaptured(|file| {
                file.batch(
                    "REPLACE INTO notes (id, title) VALUES ('a', 'two'); UPDATE notes SET n = 7, id = id || 'q';
                     DELETE FROM notes; INSERT INTO notes (id) VALUES ('x')",
                )
            })
        })
        .unwrap();
    assert_eq!(story.last(), 0);
}
