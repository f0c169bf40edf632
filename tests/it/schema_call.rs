//! The schema call: the tables as a client needs to know them to make them anew.

use colsync_tests::tables::{ITEMS, LISTS};
use colsync_tests::{Backend, Server, on_both};
use serde_json::{Value as Json, json};

on_both![
    a_foreign_key_is_told_with_the_columns_it_points_to,
    a_foreign_key_of_several_columns_keeps_their_order,
    a_foreign_key_to_the_table_itself_is_told,
    a_foreign_key_to_a_table_that_is_not_synced_is_left_out,
    a_foreign_key_of_columns_that_are_not_synced_is_left_out,
    the_hash_changes_with_a_foreign_key,
];

/// The member `name` of a table's description.
#[track_caller]
fn told(server: &Server, table: &str, name: &str) -> Json {
    let schema = server.anonymous().get("/v1/schema").expect(200).json();
    let tables = schema["tables"].as_array().unwrap();
    let found = tables.iter().find(|found| found["name"] == table).unwrap();
    found[name].clone()
}

fn hash(server: &Server) -> String {
    let schema = server.anonymous().get("/v1/schema").expect(200).json();
    schema["hash"].as_str().unwrap().to_owned()
}

fn a_foreign_key_is_told_with_the_columns_it_points_to(backend: Backend) {
    let server = Server::on(backend).table(ITEMS_OF_NOBODY).table(LISTS);
    let server = server.table(ITEMS).start();
    assert_eq!(
        told(&server, "items", "foreign_keys"),
        json!([{ "columns": ["list_id"], "table": "lists", "references": ["id"] }])
    );
    assert_eq!(told(&server, "items", "parents"), json!(["lists"]));
    for table in ["lists", "items_of_nobody"] {
        assert_eq!(told(&server, table, "foreign_keys"), json!([]), "{table}");
    }
}

/// Without a foreign key.
const ITEMS_OF_NOBODY: colsync_tests::tables::TableDef = colsync_tests::tables::TableDef {
    name: "items_of_nobody",
    sqlite: "CREATE TABLE items_of_nobody (id UUID PRIMARY KEY NOT NULL, list_id UUID);",
    postgres: "CREATE TABLE items_of_nobody (id uuid PRIMARY KEY, list_id uuid);",
};

fn a_foreign_key_of_several_columns_keeps_their_order(backend: Backend) {
    // Neither the order of the columns in their tables, nor the alphabet's; and once without naming them.
    let members =
        "CREATE TABLE members (team TEXT NOT NULL, \"no. 2\" INTEGER NOT NULL, alias TEXT NOT NULL,
        PRIMARY KEY (team, \"no. 2\"), UNIQUE (\"no. 2\", alias));";
    let shifts = "CREATE TABLE shifts (id INTEGER PRIMARY KEY, a INTEGER, z TEXT,
        nick TEXT, number INTEGER,
        FOREIGN KEY (z, a) REFERENCES members,
        FOREIGN KEY (nick, number) REFERENCES members (alias, \"no. 2\"));";
    let shifts = match backend {
        Backend::Postgres => shifts.to_owned(),
        // Its names differ in more than case, and are told as their own tables spell them.
        Backend::Sqlite => shifts.replace("REFERENCES members", "REFERENCES MEMBERS"),
    };
    let server = Server::on(backend).before(members).before(&shifts);
    let server = server.synced("members").synced("shifts").start();
    assert_eq!(
        told(&server, "shifts", "foreign_keys"),
        json!([
            { "columns": ["nick", "number"], "table": "members", "references": ["alias", "no. 2"] },
            { "columns": ["z", "a"], "table": "members", "references": ["team", "no. 2"] },
        ])
    );
}

fn a_foreign_key_to_the_table_itself_is_told(backend: Backend) {
    let tree = "CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree);";
    let server = Server::on(backend).before(tree).synced("tree").start();
    assert_eq!(
        told(&server, "tree", "foreign_keys"),
        json!([{ "columns": ["parent"], "table": "tree", "references": ["id"] }])
    );
    assert_eq!(told(&server, "tree", "parents"), json!(["tree"]));
}

fn a_foreign_key_to_a_table_that_is_not_synced_is_left_out(backend: Backend) {
    let server = Server::on(backend).before(LISTS.sql(backend)).table(ITEMS);
    let server = server.start();
    assert_eq!(told(&server, "items", "foreign_keys"), json!([]));
    assert_eq!(told(&server, "items", "parents"), json!(["lists"]));
}

fn a_foreign_key_of_columns_that_are_not_synced_is_left_out(backend: Backend) {
    // Generated columns are the database's own.
    let sql = "CREATE TABLE codes (code INTEGER PRIMARY KEY);
        CREATE TABLE uses (id INTEGER PRIMARY KEY, twice INTEGER,
            once INTEGER GENERATED ALWAYS AS (twice / 2) STORED REFERENCES codes (code));";
    let server = Server::on(backend).before(sql);
    let server = server.synced("codes").synced("uses").start();
    assert_eq!(told(&server, "uses", "foreign_keys"), json!([]));
}

fn the_hash_changes_with_a_foreign_key(backend: Backend) {
    let hash_of = |reference: &str| {
        let sql = format!(
            "CREATE TABLE codes (code INTEGER PRIMARY KEY, other INTEGER UNIQUE);
             CREATE TABLE uses (id INTEGER PRIMARY KEY, code INTEGER REFERENCES codes ({reference}));"
        );
        let server = Server::on(backend).before(&sql);
        hash(&server.synced("codes").synced("uses").start())
    };
    assert_ne!(hash_of("code"), hash_of("other"));
    assert_eq!(hash_of("code"), hash_of("code"));
}
