//! Ids that are given and taken in any order: what points to a row still does, and every row is called as told.

use std::collections::BTreeMap;

use colsync_shared::receipt::{Receipt, Status};
use colsync_shared::schema_wire::{ColumnWire, ForeignKeyWire, SchemaWire, TableWire};
use colsync_shared::sqlite::Stored;
use colsync_shared::{ColumnType, Op, Time};
use proptest::prelude::*;

use super::learn::{Learnt, learn, note};
use super::way::for_receipts;
use super::{Links, Locals};
use crate::capture::{refresh, track};
use crate::error::Error;
use crate::file::{File, text};
use crate::outbox::edit::WireEdit;
use crate::outbox::fold::fold;
use crate::pairing::{Paired, pair};
use crate::table::{RowId, RowRef};

/// A tree, its leaves' marks under a key of two of its keys, and a table that colsync does not know.
const TABLES: &str = "
    CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT UNIQUE, up INTEGER REFERENCES nodes);
    CREATE TABLE marks (a INTEGER NOT NULL REFERENCES nodes (id), b INTEGER NOT NULL REFERENCES nodes (id),
        text TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE notes (about INTEGER REFERENCES nodes (id), text TEXT);";

fn column(name: &str, has_default: bool, ty: &ColumnType) -> ColumnWire {
    ColumnWire {
        name: name.to_owned(),
        ty: ty.to_wire(),
        nullable: !has_default,
        has_default,
        policy: "last_writer_wins".to_owned(),
        group: None,
    }
}

fn table(name: &str, key: &[&str], columns: Vec<ColumnWire>, links: &[&str]) -> TableWire {
    let link = |column: &&str| ForeignKeyWire {
        columns: vec![(*column).to_owned()],
        table: "nodes".to_owned(),
        references: vec!["id".to_owned()],
    };
    TableWire {
        name: name.to_owned(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        columns,
        parents: vec![],
        foreign_keys: links.iter().map(link).collect(),
        row_policy: "last_writer_wins".to_owned(),
        edit_after_delete: "keep_deleted".to_owned(),
        hard_delete: false,
    }
}

fn schema() -> SchemaWire {
    let int = ColumnType::Int { bits: 64 };
    let any = ColumnType::Text { max_length: None };
    let nodes = vec![
        column("id", true, &int),
        column("name", false, &any),
        column("up", false, &int),
    ];
    let marks = vec![
        column("a", false, &int),
        column("b", false, &int),
        column("text", false, &any),
    ];
    SchemaWire {
        hash: "1".to_owned(),
        tables: vec![
            table("nodes", &["id"], nodes, &["up"]),
            table("marks", &["a", "b"], marks, &["a", "b"]),
        ],
    }
}

fn file() -> (File, Vec<Paired>) {
    let mut file = File::open(std::path::Path::new(":memory:")).unwrap();
    file.batch(TABLES).unwrap();
    track(&mut file, "nodes").unwrap();
    track(&mut file, "marks").unwrap();
    let tables = pair(refresh(&mut file).unwrap(), Some(&schema()));
    (file, tables)
}

/// What the file says of its rows by their names, which stay.
fn told(file: &mut File) -> Vec<String> {
    let sql = "
        SELECT n.name || ' under ' || coalesce(u.name, '-') FROM nodes AS n LEFT JOIN nodes AS u ON u.id = n.up
        UNION ALL SELECT m.text || ' ' || coalesce(x.name, '?') || ' ' || coalesce(y.name, '?')
        FROM marks AS m LEFT JOIN nodes AS x ON x.id = m.a LEFT JOIN nodes AS y ON y.id = m.b
        UNION ALL SELECT t.text || ' ' || coalesce(x.name, '?') FROM notes AS t LEFT JOIN nodes AS x ON x.id = t.about
        ORDER BY 1";
    let rows = file.load(sql, &[]).unwrap();
    let texts = rows.iter().map(|row| text(&row[0]).unwrap().to_owned());
    texts.collect()
}

fn row(id: i64) -> RowRef {
    RowRef {
        table: 1,
        id: RowId(Stored::Int(id)),
    }
}

/// Lets the server make the rows of these local ids under those ids of its own.
fn settle(file: &mut File, tables: &[Paired], made: &[(i64, i64)]) -> Result<(), Error> {
    let (mut edits, mut receipts) = (Vec::new(), Vec::new());
    for (position, (local, servers)) in (0..).zip(made) {
        edits.push(WireEdit {
            table: "nodes".to_owned(),
            id: None,
            op: Op::Insert,
            base_version: None,
            at: Time::from_micros(0),
            columns: BTreeMap::new(),
        });
        receipts.push(Receipt::of("nodes", Some(servers.to_string()), Status::Ok));
        file.execute(
            "INSERT INTO colsync_sent (position, table_number, row_id, upto) VALUES (:?, 1, :?, 0)",
            &[Stored::Int(position), Stored::Int(*local)],
        )?;
    }
    let rows = fold(edits, receipts);
    file.write(|file| {
        let links = Links::read(file, tables)?;
        let sent = crate::outbox::freeze::sent(file)?;
        for_receipts(file, tables, &links, &sent, &rows)?;
        let sent = crate::outbox::freeze::sent(file)?;
        let mut learnt = Learnt::new();
        for ((row, _), made) in sent.iter().zip(&rows) {
            note(&mut learnt, &tables[0], row, &made.receipt)?;
        }
        file.uncaptured(|file| learn(file, tables, &links, &learnt))
    })
}

/// A permutation of 1 to 8, how many of its beginning the first push makes, and the parents of the rows.
fn cases() -> impl Strategy<Value = (Vec<i64>, usize, Vec<i64>, i64)> {
    let order = Just((1..=8).collect::<Vec<i64>>()).prop_shuffle();
    (
        order,
        1..=8_usize,
        proptest::collection::vec(1..=8_i64, 8),
        0..4_i64,
    )
}

proptest! {
    #[test]
    fn rows_keep_their_relatives_however_ids_change_places((order, first, ups, beyond) in cases()) {
        let (mut file, tables) = file();
        for id in 1..=8 {
            let up = ups[usize::try_from(id).unwrap() - 1];
            file.batch(&format!(
                "INSERT INTO nodes VALUES ({id}, 'n{id}', {up});
                 INSERT INTO marks VALUES ({id}, {up}, 'm{id}'); UPDATE marks SET text = text || '!' WHERE a = {id};
                 INSERT INTO notes VALUES ({id}, 't{id}')"
            )).unwrap();
        }
        let before = told(&mut file);
        let lines = file.int("SELECT count(*) FROM colsync_log", &[]).unwrap();
        // The server makes them in some order, from 1 on or a little later, in two pushes.
        let made: Vec<(i64, i64)> = order.iter().copied().zip(1 + beyond..).collect();
        settle(&mut file, &tables, &made[..first]).unwrap();
        prop_assert_eq!(&told(&mut file), &before);
        // The rows of the first push are the server's now; others may have had to move.
        for (local, servers) in &made[..first] {
            let sql = "SELECT name FROM nodes WHERE id = :?";
            let name = file.first(sql, &[Stored::Int(*servers)]).unwrap().unwrap();
            prop_assert_eq!(text(&name[0]).unwrap(), format!("n{local}"));
            // What points to rows without an id is still to be told.
            file.batch(&format!(
                "DELETE FROM colsync_log WHERE table_number = 1 AND row_id = {servers};
                 INSERT INTO colsync_log (op, table_number, row_id, column_name, old, new, at_ms)
                 SELECT 0, 1, id, 'up', NULL, up, 0 FROM nodes WHERE id = {servers}"
            ))
            .unwrap();
        }
        file.batch("DELETE FROM colsync_sent").unwrap();
        let mut rest = Vec::new();
        for (local, servers) in &made[first..] {
            let sql = "SELECT id FROM nodes WHERE name = :?";
            let now = file.int(sql, &[Stored::Text(format!("n{local}"))]).unwrap();
            let links = Links::read(&mut file, &tables).unwrap();
            let mut locals = Locals::read(&mut file, &tables, &links).unwrap();
            prop_assert_eq!(locals.standing(&mut file, 1, now).unwrap(), super::locals::Standing::Local);
            rest.push((now, *servers));
        }
        settle(&mut file, &tables, &rest).unwrap();
        prop_assert_eq!(&told(&mut file), &before);
        // The log names the rows as the tables do, and no line is lost.
        let strays = "SELECT count(*) FROM colsync_log WHERE table_number = 2
            AND row_id NOT IN (SELECT a || ',' || b FROM marks)";
        prop_assert_eq!(file.int(strays, &[]).unwrap(), 0);
        let left = file.int("SELECT count(*) FROM colsync_log WHERE table_number = 2", &[]).unwrap();
        prop_assert_eq!(left, lines - 8);
        for id in 1 + beyond..=8 + beyond {
            let row = row(id);
            let there = crate::outbox::history::row_now(&mut file, &tables[0].local, &row).unwrap();
            prop_assert!(there.is_some(), "{}", id);
        }
    }
}

#[test]
fn a_table_that_refuses_numbers_below_0_gets_high_ones() {
    let (mut file, tables) = file();
    file.batch(
        "DROP TABLE notes; ALTER TABLE nodes ADD COLUMN plus INTEGER CHECK (id > 0);
         INSERT INTO nodes (id, name) VALUES (1, 'a'), (2, 'b'); UPDATE nodes SET up = 1 WHERE id = 2",
    )
    .unwrap();
    let before = told_nodes(&mut file);
    settle(&mut file, &tables, &[(2, 1)]).unwrap();
    assert_eq!(told_nodes(&mut file), before);
    let sql = "SELECT id FROM nodes WHERE name = 'a'";
    assert!(file.int(sql, &[]).unwrap() > super::shift::BEYOND);
}

fn told_nodes(file: &mut File) -> Vec<String> {
    let sql = "SELECT n.name || ' under ' || coalesce(u.name, '-') FROM nodes AS n
        LEFT JOIN nodes AS u ON u.id = n.up ORDER BY 1";
    let rows = file.load(sql, &[]).unwrap();
    rows.iter()
        .map(|row| text(&row[0]).unwrap().to_owned())
        .collect()
}
