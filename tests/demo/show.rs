//! What the demo prints.

use std::io::Read as _;

use colsync_client::{Conflict, Report};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value as Json;

use crate::stage::{Device, Stage, TOKEN, filled_in};

/// Columns of a terminal that is wide enough for three files beside each other.
const WIDTH: u16 = 150;

/// A step of the story.
pub fn heading(text: &str) {
    println!("\n\u{1b}[1m{text}\u{1b}[0m\n");
}

fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(titles);
    table
}

/// The end of an id, by which the demo's rows are told apart.
fn short(id: &str) -> String {
    id.chars()
        .skip_while(|c| *c != '8')
        .skip(5)
        .collect::<String>()
        .trim_start_matches('0')
        .to_owned()
}

/// Rows of several files, side by side.
pub fn tables(files: &[(&str, &Vec<Vec<String>>)]) {
    let mut outer = Table::new();
    outer.load_preset(presets::NOTHING);
    outer.set_header(files.iter().map(|(name, _)| format!("{name}:")));
    outer.add_row(files.iter().map(|(_, rows)| {
        let mut inner = Table::new();
        inner.load_preset(presets::UTF8_FULL_CONDENSED);
        inner.set_header(["row", "title", "done", "prio", "notes"]);
        for row in *rows {
            let mut cells = row.clone();
            cells[0] = short(&cells[0]);
            inner.add_row(cells);
        }
        inner.to_string()
    }));
    println!("{outer}");
}

/// What was written, by whom.
pub fn edits(people: &[(&str, &[(&str, &str)])]) {
    let mut table = table(&["who", "does", "SQL"]);
    for (who, edits) in people {
        for (what, sql) in *edits {
            let sql = filled_in(sql).replace("01930000-0000-7000-8000-00000000000", "…");
            table.add_row([*who, *what, &sql]);
        }
    }
    println!("{table}\n");
}

/// What a sync sent and got.
pub fn synced(stage: &Stage, device: &Device, report: &Report) {
    let client = device.client.status().expect("a status").client;
    println!(
        "{} syncs: {} edits up in {} bytes, {} rows down in {} bytes",
        device.name,
        report.pushed,
        report.sent_bytes,
        report.pulled + report.removed,
        report.received_bytes
    );
    if report.pushed == 0 {
        return;
    }
    let kept = device
        .file
        .value("SELECT hex(body) FROM colsync_pushes ORDER BY push DESC LIMIT 1");
    let body = inflate(&kept.expect("a push"));
    let push: Json = serde_json::from_str(&body).expect("JSON");
    println!("  the push, {} bytes before compression:", body.len());
    let mut lines = table(&[
        "row",
        "op",
        "from",
        "sent: column = value, and when",
        "receipt",
    ]);
    let receipts = stage.receipts(&client, &body);
    for (edit, receipt) in push["edits"]
        .as_array()
        .expect("edits")
        .iter()
        .zip(&receipts)
    {
        let columns = edit["columns"].as_object().cloned().unwrap_or_default();
        let at = |json: &Json| json["at"].as_str().unwrap_or_default()[11..23].to_owned();
        let sent: Vec<String> = columns
            .iter()
            .map(|(name, column)| format!("{name} = {}", column["value"]))
            .collect();
        let outcomes = receipt["columns"].as_object().cloned().unwrap_or_default();
        let mut told: Vec<String> = outcomes
            .iter()
            .map(|(name, column)| {
                let outcome = column["outcome"].as_str().unwrap_or_default();
                match column.get("value") {
                    Some(value) => format!("{name}: {outcome}, it is {value}"),
                    None => format!("{name}: {outcome}"),
                }
            })
            .collect();
        if let Some(changed) = receipt["changed"]
            .as_object()
            .filter(|changed| !changed.is_empty())
        {
            let names: Vec<String> = changed
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            told.push(format!("changed meanwhile: {}", names.join(", ")));
        }
        if receipt["deleted"] == Json::Bool(true) {
            told.push("the row is deleted".to_owned());
        }
        let base = edit["base_version"]
            .as_i64()
            .map(|version| format!("v{version}"));
        lines.add_row([
            short(edit["id"].as_str().unwrap_or_default()),
            edit["op"].as_str().unwrap_or_default().to_owned(),
            base.unwrap_or_default(),
            format!("{}\nat {}", sent.join(", "), at(edit))
                .trim()
                .to_owned(),
            told.join("\n"),
        ]);
    }
    println!("{lines}\n");
}

fn inflate(hex: &str) -> String {
    let digits = hex.as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let mut text = String::new();
    let mut decoder = zstd::Decoder::new(bytes.as_slice()).expect("zstd");
    decoder.read_to_string(&mut text).expect("a push");
    text
}

/// The server's ledger.
pub fn ledger(conflicts: &[Json]) {
    println!("GET /admin/v1/conflicts");
    let mut lines = table(&[
        "row",
        "column",
        "kind",
        "kept",
        "lost",
        "lost: written at",
        "skew",
    ]);
    for conflict in conflicts {
        let side = |side: &Json| match side["value"].as_object() {
            Some(row) => Json::Object(row.clone()).to_string(),
            None => side["value"].to_string(),
        };
        let skew = conflict["skew_us"].as_i64().unwrap_or(0) / 1_000_000;
        lines.add_row([
            short(conflict["row"].as_str().unwrap_or_default()),
            conflict["column"]
                .as_str()
                .unwrap_or("(the row)")
                .to_owned(),
            conflict["kind"].as_str().unwrap_or_default().to_owned(),
            side(&conflict["kept"]),
            side(&conflict["lost"]),
            conflict["lost"]["at"]
                .as_str()
                .unwrap_or("nobody")
                .to_owned(),
            format!("{skew} s"),
        ]);
    }
    println!("{lines}\n");
}

/// What a client was told of its conflicts.
pub fn conflicts(conflicts: &[Conflict]) {
    println!("colsync-client conflicts");
    let mut lines = table(&[
        "row", "column", "outcome", "base", "mine", "theirs", "result",
    ]);
    let text = |value: &Option<Json>| value.as_ref().map(Json::to_string).unwrap_or_default();
    for conflict in conflicts {
        lines.add_row([
            short(&conflict.id),
            conflict.column.clone().unwrap_or("(the row)".to_owned()),
            conflict.outcome.clone(),
            text(&conflict.base),
            text(&conflict.mine),
            text(&conflict.theirs),
            text(&conflict.result),
        ]);
    }
    println!("{lines}");
}

/// Where to go on.
pub fn to_try(stage: &Stage) {
    let url = &stage.url;
    let ana = stage.ana.path.display();
    println!(
        "\nThe server goes on at {url}; the files are in {}. In another terminal:\n",
        stage.folder()
    );
    println!("  curl -s {url}/v1/tables/todos/rows");
    println!(
        "  curl -s -X PATCH -H 'Content-Type: application/json' -d '{{\"done\":true}}' \\\n    {url}/v1/tables/todos/rows/{}",
        crate::stage::id(2)
    );
    println!("  curl -s -H 'Authorization: Bearer {TOKEN}' {url}/admin/v1/conflicts");
    println!("  cargo run -q --release --bin colsync-client -- --file {ana} watch");
    println!("\nCtrl-C ends it.");
}
