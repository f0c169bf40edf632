//! What a table holds, told alike for the server and for a device, so that the two can be compared.
//!
//! The server tells JSON, a device's file tells SQLite's storage classes; both become one line a row here,
//! by the types that the server tells. Nothing of this knows how colsync turns one into the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::client::Client;
use crate::database::Database;

/// A column as `GET /v1/schema` tells it.
struct Column {
    name: String,
    ty: String,
}

/// The living rows of `table` as the server tells them, a line each, sorted.
#[track_caller]
#[must_use]
pub fn on_server(client: &Client, table: &str) -> Vec<String> {
    let columns = columns(client, table);
    let mut lines = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/v1/tables/{table}/rows?{after}");
        let page = client.get(&path).expect(200).json();
        for row in page["rows"].as_array().unwrap() {
            let values = columns
                .iter()
                .map(|column| alike(&column.ty, &row[&column.name]));
            lines.push(Json::from_iter(values).to_string());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("after={}", percent_encoded(next)),
            None => break,
        }
    }
    lines.sort();
    lines
}

/// The rows of `table` in a SQLite file, told like [`on_server`]; `client` is asked for the types alone.
#[track_caller]
#[must_use]
pub fn in_file(file: &Database, client: &Client, table: &str) -> Vec<String> {
    let columns = columns(client, table);
    let told = columns.iter().map(|Column { name, .. }| {
        format!(
            "typeof(\"{name}\"), CASE typeof(\"{name}\") WHEN 'blob' THEN hex(\"{name}\")
             WHEN 'real' THEN printf('%!.17g', \"{name}\") ELSE CAST(\"{name}\" AS TEXT) END"
        )
    });
    let told: Vec<String> = told.collect();
    let query = format!("SELECT json_array({}) FROM \"{table}\"", told.join(", "));
    let mut lines: Vec<String> = Vec::new();
    for row in file.column(&query).into_iter().flatten() {
        let row: Vec<Option<String>> = serde_json::from_str(&row).unwrap();
        let values = columns.iter().zip(row.chunks(2)).map(|(column, stored)| {
            let class = stored[0].as_deref().unwrap();
            alike(&column.ty, &wire(&column.ty, class, stored[1].as_deref()))
        });
        lines.push(Json::from_iter(values).to_string());
    }
    lines.sort();
    lines
}

#[track_caller]
fn columns(client: &Client, table: &str) -> Vec<Column> {
    let schema = client.get("/v1/schema").expect(200).json();
    let tables = schema["tables"].as_array().unwrap();
    let table = tables.iter().find(|found| found["name"] == table);
    let columns = table.unwrap()["columns"].as_array().unwrap().iter();
    let text = |text: &Json| text.as_str().unwrap().to_owned();
    columns
        .map(|column| Column {
            name: text(&column["name"]),
            ty: text(&column["type"]["name"]),
        })
        .collect()
}

/// A stored value as the wire would tell it.
fn wire(ty: &str, class: &str, stored: Option<&str>) -> Json {
    let Some(stored) = stored else {
        return Json::Null;
    };
    match (ty, class) {
        ("bool", "integer") => json!(stored != "0"),
        ("integer" | "real", "integer" | "real") => serde_json::from_str(stored).unwrap(),
        ("json" | "array", "text") => {
            serde_json::from_str(stored).unwrap_or_else(|_| json!(stored))
        }
        (_, "blob") => {
            let bytes = stored
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
            json!(STANDARD.encode(bytes.collect::<Vec<u8>>()))
        }
        _ => json!(stored),
    }
}

/// One spelling for values that are spelled in several ways.
fn alike(ty: &str, value: &Json) -> Json {
    let text = value.as_str();
    match (ty, text) {
        ("integer", Some(text)) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        ("real", _) => value.as_f64().map_or(value.clone(), |number| json!(number)),
        ("decimal", _) if !value.is_null() => {
            let text = text.map_or_else(|| value.to_string(), str::to_owned);
            json!(without_zeros(&text))
        }
        ("date" | "time" | "datetime" | "timestamp", Some(text)) => {
            let text = text.replacen(' ', "T", 1);
            let text = text.trim_end_matches("+00:00").trim_end_matches('Z');
            json!(without_zeros(text))
        }
        _ => value.clone(),
    }
}

/// A number, or a time, without what says nothing at the end of its fraction.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
