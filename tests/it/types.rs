//! Every type there and back: through PATCH, plain SQL, a pull, and what a column refuses.

use colsync_tests::{Backend, Server, on_both};
use serde_json::{Value as Json, json};

mod kinds;

use self::kinds::{Kind, kinds};

on_both![
    every_type_comes_back_as_it_was_sent,
    what_sql_wrote_is_read_in_the_wires_form,
    a_value_that_a_column_cannot_hold_is_refused,
    equal_values_in_another_form_are_no_change,
    null_is_kept_apart_from_empty,
    a_decimal_that_would_become_an_infinity_or_nothing_is_refused,
];

/// A server with one table that has a column `c0`, `c1`, … of every kind, and the row 1.
fn every_kind(backend: Backend, kinds: &[Kind]) -> Server {
    let columns = kinds
        .iter()
        .enumerate()
        .map(|(at, kind)| format!("c{at} {}", kind.declared));
    let columns: Vec<String> = columns.collect();
    let before = match backend {
        Backend::Sqlite => "",
        Backend::Postgres => "CREATE TYPE mood AS ENUM ('sad', 'very happy');",
    };
    let table = format!(
        "{before} CREATE TABLE kinds (id INTEGER PRIMARY KEY, {});",
        columns.join(", ")
    );
    let server = Server::on(backend).before(&table).synced("kinds").start();
    let _ = server
        .client("maker")
        .post("/v1/tables/kinds/rows", &json!({ "id": 1 }))
        .expect(201);
    server
}

const ROW: &str = "/v1/tables/kinds/rows/1";

fn every_type_comes_back_as_it_was_sent(backend: Backend) {
    let kinds = kinds(backend);
    let server = every_kind(backend, &kinds);
    let ana = server.client("ana");
    let mut reader = crate::reader(&server);
    let schema = ana.get("/v1/schema").expect(200).json();
    for (at, kind) in kinds.iter().enumerate() {
        let column = format!("c{at}");
        let told = &schema["tables"][0]["columns"][at + 1];
        assert_eq!(
            (&told["name"], &told["type"]["name"]),
            (&json!(column), &json!(kind.name)),
            "{}",
            kind.declared
        );
        for (sent, back) in &kind.there_and_back {
            let receipt = ana
                .request("PATCH", ROW)
                .edit(&json!({ "columns": { &column: { "value": sent } } }))
                .send();
            let receipt = receipt.expect(200).json();
            assert_eq!(
                receipt["columns"][&column]["outcome"], "applied",
                "{}: {sent}",
                kind.declared
            );
            assert_eq!(
                ana.row("kinds", "1")[&column],
                *back,
                "{}: {sent}",
                kind.declared
            );
            assert_eq!(
                reader.pull().row("1")["columns"],
                json!({ &column: back }),
                "{}: {sent}",
                kind.declared
            );
        }
    }
}

fn what_sql_wrote_is_read_in_the_wires_form(backend: Backend) {
    let kinds = kinds(backend);
    let server = every_kind(backend, &kinds);
    let mut reader = crate::reader(&server);
    for (at, kind) in kinds.iter().enumerate() {
        let (literal, expected) = &kind.sql;
        server.sql(&format!("UPDATE kinds SET c{at} = {literal}"));
        let pulled = reader.pull();
        assert_eq!(
            pulled.row("1")["columns"],
            json!({ format!("c{at}"): expected }),
            "{}",
            kind.declared
        );
    }
    let row = server.anonymous().row("kinds", "1");
    let whole = server.client("new").pull();
    assert_eq!(whole.row("1")["columns"], row);
}

fn a_value_that_a_column_cannot_hold_is_refused(backend: Backend) {
    let kinds = kinds(backend);
    let server = every_kind(backend, &kinds);
    let ana = server.client("ana");
    let before = server.dump();
    for (at, kind) in kinds.iter().enumerate() {
        for bad in &kind.refused {
            let column = format!("c{at}");
            let refused = ana
                .request("PATCH", ROW)
                .edit(&json!({ "columns": { &column: { "value": bad } } }))
                .send();
            assert_eq!(
                (refused.status, refused.code().as_str()),
                (422, "invalid_value"),
                "{}: {bad}: {refused:?}",
                kind.declared
            );
            assert_eq!(refused.json()["field"], column, "{}: {bad}", kind.declared);
        }
    }
    assert_eq!(server.dump(), before);
}

fn equal_values_in_another_form_are_no_change(backend: Backend) {
    let kinds = kinds(backend);
    let server = every_kind(backend, &kinds);
    let ana = server.client("ana");
    for (at, kind) in kinds.iter().enumerate() {
        let column = format!("c{at}");
        for (sent, back) in &kind.there_and_back {
            let write = |value: &Json| {
                let edit = json!({ "columns": { &column: { "value": value } } });
                ana.request("PATCH", ROW)
                    .edit(&edit)
                    .send()
                    .expect(200)
                    .json()["columns"][&column]["outcome"]
                    .clone()
            };
            write(sent);
            assert_eq!(
                write(back),
                "unchanged",
                "{}: {sent} and {back}",
                kind.declared
            );
            assert_eq!(write(sent), "unchanged", "{}: {sent} again", kind.declared);
        }
    }
}

fn null_is_kept_apart_from_empty(backend: Backend) {
    let kinds = kinds(backend);
    let server = every_kind(backend, &kinds);
    let ana = server.client("ana");
    for (at, kind) in kinds.iter().enumerate() {
        let column = format!("c{at}");
        let (sent, _) = &kind.there_and_back[0];
        for value in [sent, &Json::Null] {
            let _ = ana
                .request("PATCH", ROW)
                .edit(&json!({ "columns": { &column: { "value": value } } }))
                .send()
                .expect(200);
            let is_null = server.value(&format!(
                "SELECT CASE WHEN c{at} IS NULL THEN 'null' ELSE 'value' END FROM kinds"
            ));
            let expected = if value.is_null() { "null" } else { "value" };
            assert_eq!(is_null.as_deref(), Some(expected), "{}", kind.declared);
        }
    }
}

fn a_decimal_that_would_become_an_infinity_or_nothing_is_refused(backend: Backend) {
    let table = "CREATE TABLE amounts (id INTEGER PRIMARY KEY, n NUMERIC);";
    let server = Server::on(backend).before(table).synced("amounts").start();
    let ana = server.client("ana");
    let made = json!({ "id": 1, "n": "1" });
    let _ = ana.post("/v1/tables/amounts/rows", &made).expect(201);
    let digits = "0".repeat(400);
    let small = format!("0.{}1", &digits[1..]);
    for (sent, exact) in [("1e400", format!("1{digits}")), ("1e-400", small)] {
        let answer = ana.patch("/v1/tables/amounts/rows/1", &json!({ "n": sent }));
        let expect = match backend {
            Backend::Sqlite => {
                let _ = answer.problem(422, "invalid_value");
                "1".to_owned()
            }
            Backend::Postgres => {
                let _ = answer.expect(200);
                exact
            }
        };
        assert_eq!(ana.row("amounts", "1")["n"], expect, "{sent}");
    }
}
