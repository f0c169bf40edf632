//! Everything there is about one row after a story has failed: what each device pushed and was answered, and
//! what the server and the files have now. Decides nothing.

use serde_json::Value as Json;

use crate::database::Database;
use crate::{Device, Server};

/// What devices and server remember of the row `id` of the table `todos`, a line each.
#[must_use]
pub fn about(server: &Server, devices: &[Device], id: &str) -> Vec<String> {
    let mut told = Vec::new();
    for (number, device) in (1..).zip(devices) {
        told.push(format!("device {number}: {:?}", pending(device, id)));
        for push in pushes(device) {
            let edits = push["edits"].as_array().cloned().unwrap_or_default();
            let receipts = receipts(server, device, &push["push"]);
            for (at, edit) in edits.iter().enumerate().filter(|(_, e)| e["id"] == id) {
                told.push(format!(
                    "device {number}, push {}: {edit}\n    => {}",
                    push["push"],
                    receipts.get(at).unwrap_or(&Json::Null)
                ));
            }
        }
    }
    let row = server.admin().get(&format!("/admin/v1/rows/todos/{id}"));
    told.push(format!("on the server: {:#}", row.json()));
    told
}

/// What colsync keeps of the row in the device's file.
fn pending(device: &Device, id: &str) -> Vec<Option<String>> {
    device.column(&format!(
        "SELECT 'log ' || seq || ' ' || op || ' ' || coalesce(column_name, '-') FROM colsync_log WHERE row_id = '{id}'
         UNION ALL SELECT 'version ' || version FROM colsync_versions WHERE row_id = '{id}'
         UNION ALL SELECT 'held ' || body FROM colsync_held WHERE row_id = '{id}'
         UNION ALL SELECT 'row ' || coalesce(title, '') || ' ' || coalesce(note, '') FROM todos WHERE id = '{id}'"
    ))
}

/// The bodies of the pushes that the device keeps.
fn pushes(device: &Device) -> Vec<Json> {
    let bodies = device.column("SELECT hex(body) FROM colsync_pushes ORDER BY push");
    bodies.into_iter().flatten().map(|hex| json(&hex)).collect()
}

/// What the server answered a push of the device.
fn receipts(server: &Server, device: &Device, number: &Json) -> Vec<Json> {
    let client = device.value("SELECT value FROM colsync_meta WHERE name = 'client_id'");
    let hex = match &**server {
        Database::Sqlite(_) => "hex(receipts)",
        Database::Postgres { .. } => "encode(receipts, 'hex')",
    };
    let kept = server.value(&format!(
        "SELECT {hex} FROM colsync_pushes WHERE client = '{}' AND number = {number}",
        client.unwrap_or_default()
    ));
    let kept = kept.map(|hex| json(&hex));
    kept.and_then(|json| json.as_array().cloned())
        .unwrap_or_default()
}

/// JSON under zstd, in hexadecimal digits.
fn json(hex: &str) -> Json {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect();
    let plain = zstd::decode_all(&bytes[..]).unwrap_or_default();
    serde_json::from_slice(&plain).unwrap_or_default()
}
