//! The examples of docs/protocol.md: what the page says is asked and answered is so.

use colsync_tests::tables::TableDef;
use colsync_tests::{Answer, Backend, Server, on_both};
use serde_json::{Value as Json, json};

on_both![the_examples_of_the_protocol_page_are_answered_as_they_say];

/// The table that the page's examples speak of.
const TODOS: TableDef = TableDef {
    name: "todos",
    sqlite: "CREATE TABLE todos (id UUID PRIMARY KEY NOT NULL, title TEXT NOT NULL,
             done BOOLEAN NOT NULL DEFAULT 0, notes TEXT, tags JSON, priority INTEGER);",
    postgres: "CREATE TABLE todos (id uuid PRIMARY KEY, title text NOT NULL,
               done boolean NOT NULL DEFAULT false, notes text, tags jsonb, priority bigint);",
};

const ROW: &str = "0190a000-0000-7000-8000-000000000001";

/// Examples of less would mean that the page is not read as it is written.
const EXAMPLES: usize = 8;

/// One block of the page: its first line, its headers, its body.
struct Block {
    first: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let blocks = page.split("```http\n").skip(1).map(|rest| {
        let text = rest.split("\n```").next().unwrap();
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Block {
            first,
            headers,
            body: body.to_owned(),
        }
    });
    blocks.collect()
}

fn the_examples_of_the_protocol_page_are_answered_as_they_say(backend: Backend) {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md"));
    let blocks = blocks(&page.unwrap());
    let mut told = 0;
    for pair in blocks.windows(2) {
        let [asked, answered] = pair else { continue };
        let answer_of_its_own =
            answered.first.starts_with("HTTP/1.1 ") && !asked.first.starts_with("HTTP/1.1 ");
        // Cursors and conflicts are named by ids that only the page's own server knows.
        let named_by_id = asked.first.contains("cursor=") || asked.first.contains("/conflicts/");
        if !answer_of_its_own || named_by_id {
            continue;
        }
        let status: u16 = answered.first.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = ask(backend, asked);
        assert_eq!(answer.status, status, "{}: {answer:?}", asked.first);
        if let Ok(Json::Object(documented)) = serde_json::from_str::<Json>(&answered.body) {
            let real = answer.json();
            for name in documented.keys() {
                // A receipt's `changed` and `conflicts` are there only where there is something to tell.
                let may_miss = ["changed", "conflicts", "next"].contains(&name.as_str());
                assert!(
                    may_miss || real.get(name).is_some(),
                    "{}: no {name} in {real}",
                    asked.first
                );
            }
        }
        told += 1;
    }
    assert!(told >= EXAMPLES, "only {told} examples were found");
}

/// Sends the request of `block` to a server whose one row is at version 2.
fn ask(backend: Backend, block: &Block) -> Answer {
    let server = Server::on(backend).table(TODOS).start();
    let mut words = block.first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    if (method, path) != ("POST", "/v1/tables/todos/rows") {
        let ana = server.client("ana");
        let _ = ana
            .post(
                "/v1/tables/todos/rows",
                &json!({ "id": ROW, "title": "milk" }),
            )
            .expect(201);
        let _ = ana
            .patch(
                &format!("/v1/tables/todos/rows/{ROW}"),
                &json!({ "done": true }),
            )
            .expect(200);
    }
    let client = if path.starts_with("/admin/") {
        server.admin()
    } else {
        server.anonymous()
    };
    let mut request = client.request(method, path);
    for (name, value) in &block.headers {
        if !["Authorization", "Content-Type"].contains(&name.as_str()) {
            request = request.header(name, value);
        }
    }
    let media_type = block
        .headers
        .iter()
        .find(|(name, _)| name == "Content-Type");
    if let Some((_, media_type)) = media_type {
        request = request.body(media_type, block.body.clone());
    }
    request.send()
}
