//! Files whose cursor the server no longer knows: they pull from the beginning, and keep what is theirs.

use colsync_client::Error;
use colsync_tests::edits::update;
use colsync_tests::tables::id;
use colsync_tests::{Backend, Device, Fault, Plan, Proxy, Server, ago, on_both};
use serde_json::json;
use tempfile::TempDir;

use crate::adopted_rows::make_anew;
use crate::client_histories::{converge, insert, the_ledger_has_both};
use crate::client_sync::{device, pulling, sync_while};
use crate::{make_todo, one_todo, todo, todos};

on_both![
    an_expired_cursor_starts_over_and_keeps_unpushed_edits,
    what_is_made_while_a_file_starts_over_stays,
    what_is_deleted_while_a_file_starts_over_goes_also_when_that_is_taken_back,
    what_the_table_would_not_take_of_a_lost_history_goes,
    a_row_that_the_table_would_not_let_go_goes_later,
    a_refused_edit_is_not_made_again_of_a_row_that_is_about_to_go,
    nor_is_one_of_which_the_row_holds_a_part,
    nor_is_one_of_a_row_that_goes_when_its_other_edits_are_sent,
    what_is_edited_while_a_file_starts_over_has_seen_the_lost_history_only,
    what_is_edited_of_a_row_that_only_the_lost_history_had_has_not_seen_its_successor,
    a_table_that_is_made_anew_is_of_another_history,
    so_is_one_that_has_lost_its_versions,
];

/// How many rows wait in the file.
const WAITING: &str = "SELECT count(*) FROM colsync_held";

fn an_expired_cursor_starts_over_and_keeps_unpushed_edits(backend: Backend) {
    let server = one_todo(backend);
    for number in 2..6 {
        make_todo(&server, number);
    }
    let a = device(&server);
    a.sql(&format!(
        "UPDATE todos SET title = 'kept' WHERE id = '{}'",
        id(2)
    ));
    insert(&a, 9, "new");
    // Time passes: rows are purged, and who was away too long cannot hear of it.
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(3)));
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(4)));
    server.sql("DELETE FROM colsync_tombstones; DELETE FROM colsync_anchors;");
    let report = a.client().sync().unwrap();
    assert_eq!(
        (report.pushed, report.rejected, report.removed),
        (2, 0, 2),
        "{report:?}"
    );
    converge(&server, &[&a]);
    assert_eq!(a.dump("todos").len(), 4);
    let title = a.value(&format!("SELECT title FROM todos WHERE id = '{}'", id(2)));
    assert_eq!(title.as_deref(), Some("kept"));
}

fn what_is_made_while_a_file_starts_over_stays(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(1)));
    server.sql("DELETE FROM colsync_tombstones; DELETE FROM colsync_anchors;");
    // The server does not bring it, and it is none of those that are gone there.
    let report = sync_while(&a, pulling, || insert(&a, 2, "meanwhile"));
    assert_eq!(report.removed, 1);
    assert_eq!(a.dump("todos").len(), 1);
    converge(&server, &[&a]);
    assert_eq!(
        server.anonymous().row("todos", &id(2))["title"],
        "meanwhile"
    );
}

fn what_is_deleted_while_a_file_starts_over_goes_also_when_that_is_taken_back(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let a = device(&server);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(1)));
    server.sql("DELETE FROM colsync_tombstones; DELETE FROM colsync_anchors;");
    let delete = format!("DELETE FROM todos WHERE id = '{}'", id(1));
    sync_while(&a, pulling, || a.sql(&delete));
    a.client().undo("todos", &id(1)).unwrap();
    assert_eq!(a.dump("todos").len(), 1);
    converge(&server, &[&a]);
}

fn what_the_table_would_not_take_of_a_lost_history_goes(backend: Backend) {
    let mut server = one_todo(backend);
    let a = device(&server);
    a.sql("CREATE UNIQUE INDEX one_of_each ON todos (title)");
    let backup = server.back_up();
    let row = json!({ "id": id(2), "title": "old" });
    server.client("ben").create_ago(60, "todos", &row);
    a.client().sync().unwrap();
    assert_eq!(a.value(WAITING).as_deref(), Some("1"));
    server.go_back(&backup);
    a.client().sync().unwrap();
    assert_eq!(a.value(WAITING).as_deref(), Some("0"));
    a.sql("UPDATE todos SET title = 'new'");
    converge(&server, &[&a]);
    assert_eq!(a.dump("todos").len(), 1);
}

fn a_row_that_the_table_would_not_let_go_goes_later(backend: Backend) {
    let server = one_todo(backend);
    let a = device(&server);
    a.sql(
        "CREATE TRIGGER not_yet BEFORE DELETE ON todos BEGIN SELECT raise(ABORT, 'it''s not time'); END",
    );
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(1)));
    server.sql("DELETE FROM colsync_tombstones; DELETE FROM colsync_anchors;");
    a.client().sync().unwrap();
    assert_eq!(a.dump("todos").len(), 1);
    assert_eq!(a.value(WAITING).as_deref(), Some("1"));
    a.sql("DROP TRIGGER not_yet");
    converge(&server, &[&a]);
    assert_eq!(a.value(WAITING).as_deref(), Some("0"));
}

/// A server that has lost these edits of its row, which is deleted there, and a client that was refused them since, and
/// has its rows as they were.
fn refused_again(backend: Backend, before: &str, edits: &[&str]) -> (Server, Proxy, Device) {
    let mut server = one_todo(backend);
    let proxy = server.proxy(3);
    let a = Device::behind(&proxy);
    a.client().init(&[]).unwrap();
    a.client().sync().unwrap();
    a.sql(before);
    let backup = server.back_up();
    for set in edits {
        a.sql(&format!("UPDATE todos SET {set} WHERE id = '{}'", id(1)));
        a.client().sync().unwrap();
    }
    server.go_back(&backup);
    server.sql(&format!("DELETE FROM todos WHERE id = '{}'", id(1)));
    // They are sent again and refused. Pushes get through, and no pull does.
    proxy.plan(Plan::default().with(Fault::Truncate, 1000));
    assert!(a.client().sync().is_err());
    proxy.faults_off();
    let letters = a.client().dead_letters().unwrap();
    assert_eq!(letters.len(), edits.len());
    assert!(letters.iter().all(|letter| letter.code == "row_gone"));
    (server, proxy, a)
}

/// The oldest letter is not made again before the next sync, and is then.
fn only_after_a_sync(a: &Device) {
    let oldest = a.client().dead_letters().unwrap().remove(0).number;
    let retried = a.client().retry_dead_letter(oldest);
    assert!(matches!(retried, Err(Error::StartsOver(_))), "{retried:?}");
    a.client().sync().unwrap();
    a.client().retry_dead_letter(oldest).unwrap();
}

/// The row has the refused value still: it was accepted before the server was restored.
fn a_refused_edit_is_not_made_again_of_a_row_that_is_about_to_go(backend: Backend) {
    let (server, _proxy, a) = refused_again(backend, "", &["title = 'kept'"]);
    only_after_a_sync(&a);
    converge(&server, &[&a]);
    assert_eq!(server.anonymous().row("todos", &id(1))["title"], "kept");
}

fn nor_is_one_of_which_the_row_holds_a_part(backend: Backend) {
    let edits = ["title = 'kept', note = 'kept, too'", "title = 'later'"];
    let (server, _proxy, a) = refused_again(backend, "", &edits);
    only_after_a_sync(&a);
    converge(&server, &[&a]);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["note"]),
        (&json!("kept"), &json!("kept, too"))
    );
}

/// The row stays here after the sync, for an edit of a column that the server lacks.
fn nor_is_one_of_a_row_that_goes_when_its_other_edits_are_sent(backend: Backend) {
    let column = "ALTER TABLE todos ADD COLUMN colour TEXT";
    let edits = ["title = 'kept', colour = 'red'"];
    let (mut server, _proxy, a) = refused_again(backend, column, &edits);
    let retry = |at: usize| {
        let letter = a.client().dead_letters().unwrap().remove(at).number;
        a.client().retry_dead_letter(letter)
    };
    a.client().sync().unwrap();
    let retried = retry(0);
    assert!(matches!(retried, Err(Error::RowWaits(_))), "{retried:?}");
    server.sql(column);
    server.restart();
    a.client().sync().unwrap();
    retry(1).unwrap();
    retry(0).unwrap();
    converge(&server, &[&a]);
    let row = server.anonymous().row("todos", &id(1));
    assert_eq!(
        (&row["title"], &row["colour"]),
        (&json!("kept"), &json!("red"))
    );
}

/// The restored server has another value at the version that the edit was made from.
fn what_is_edited_while_a_file_starts_over_has_seen_the_lost_history_only(backend: Backend) {
    let mut server = one_todo(backend);
    let backup = server.back_up();
    let set_title = |server: &Server, writer: &str, title: &str| {
        let edit = update("todos", &id(1), 1, &ago(60), &json!({ "title": title }));
        let receipt = server.client(writer).push_one(edit);
        assert_eq!(receipt["version"], 2, "{receipt}");
    };
    set_title(&server, "ana", "of the lost history");
    let a = device(&server);
    server.go_back(&backup);
    set_title(&server, "ben", "of the new history");
    sync_while(&a, pulling, || a.sql("UPDATE todos SET title = 'of a'"));
    converge(&server, &[&a]);
    the_ledger_has_both(&server, "of the new history", "of a");
}

fn what_is_edited_of_a_row_that_only_the_lost_history_had_has_not_seen_its_successor(
    backend: Backend,
) {
    let mut server = todos(backend);
    let backup = server.back_up();
    make_todo(&server, 1);
    let a = device(&server);
    server.go_back(&backup);
    sync_while(&a, pulling, || a.sql("UPDATE todos SET title = 'of a'"));
    // At version 1, as the lost row was.
    let row = json!({ "id": id(1), "title": "of the new history" });
    server.client("ben").create_ago(60, "todos", &row);
    converge(&server, &[&a]);
    the_ledger_has_both(&server, "of the new history", "of a");
}

/// A server on which row 1 has seen three versions, and a device that knows the last one and edits it while it is away.
fn away(backend: Backend) -> (Server, Device) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    let a = device(&server);
    for title in ["second", "third"] {
        a.sql(&format!(
            "UPDATE todos SET title = '{title}' WHERE id = '{}'",
            id(1)
        ));
        a.client().sync().unwrap();
    }
    a.sql(&format!(
        "UPDATE todos SET title = 'of a' WHERE id = '{}'",
        id(1)
    ));
    (server, a)
}

/// The row's versions began again, and the device knows of a later one than that at which someone else wrote the title.
#[track_caller]
fn nothing_is_taken_for_seen(server: &Server, a: &Device) {
    let ben = server.client("ben");
    for change in [
        json!({ "title": "of ben" }),
        json!({ "note": "new" }),
        json!({ "done": true }),
    ] {
        let _ = ben.patch(&todo(1), &change).expect(200);
    }
    converge(server, &[a]);
    the_ledger_has_both(server, "of ben", "of a");
}

fn a_table_that_is_made_anew_is_of_another_history(backend: Backend) {
    let (mut server, a) = away(backend);
    make_anew(&mut server, backend, 1);
    nothing_is_taken_for_seen(&server, &a);
    assert_eq!(a.dump("todos").len(), 1);
}

/// An operator put the table back from a dump that another program wrote, with some of colsync's columns.
fn so_is_one_that_has_lost_its_versions(backend: Backend) {
    let (mut server, a) = away(backend);
    server.terminate();
    let cascade = match backend {
        Backend::Sqlite => {
            let sql =
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'todos'";
            for name in server.column(sql).into_iter().flatten() {
                server.sql(&format!("DROP TRIGGER {name}"));
            }
            ""
        }
        Backend::Postgres => "CASCADE",
    };
    for name in ["sync_version", "sync_stamps"] {
        server.sql(&format!("ALTER TABLE todos DROP COLUMN {name} {cascade}"));
    }
    server.adopt();
    server.resume();
    nothing_is_taken_for_seen(&server, &a);
}

/// Its triggers, index and identity are as they were; only PostgreSQL can tell that it is another. An SQLite database is
/// put back whole.
#[test]
fn so_is_one_that_was_put_back_from_a_dump_of_its_own() {
    let mut server = one_todo(Backend::Postgres);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("dump");
    server
        .cluster()
        .dump(&server.url(), &["--table=todos"], &path);
    make_todo(&server, 2);
    let (a, b) = (device(&server), device(&server));
    a.sql("UPDATE todos SET title = 'of the lost rows'");
    a.client().sync().unwrap();
    b.client().sync().unwrap();
    server.terminate();
    server.cluster().restore(&server.url(), &["--clean"], &path);
    server.resume();
    let _ = server
        .client("ben")
        .patch(&todo(1), &json!({ "title": "of ben" }))
        .expect(200);
    a.sql(&format!(
        "UPDATE todos SET title = 'of a' WHERE id = '{}'",
        id(1)
    ));
    converge(&server, &[&a, &b]);
    the_ledger_has_both(&server, "of ben", "of a");
    assert_eq!(b.dump("todos").len(), 1);
}
