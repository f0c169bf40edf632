//! `/openapi.json` and `/docs`: what they say is so, and nothing is left unsaid.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use colsync_tests::tables::{TODOS, id};
use colsync_tests::{Backend, Server, on_both};
use serde_json::Value as Json;

on_both![
    every_call_is_in_the_document_and_no_other,
    the_document_and_its_page_need_no_key_and_load_nothing_from_elsewhere,
];

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn document(server: &Server) -> Json {
    let answer = server.anonymous().get("/openapi.json").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// The methods of each path.
fn calls(document: &Json) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Json| {
        let names = item.as_object().unwrap().keys();
        names.map(|name| name.to_uppercase()).collect()
    };
    paths
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

fn every_call_is_in_the_document_and_no_other(backend: Backend) {
    let server = Server::on(backend).table(TODOS).start();
    let document = document(&server);
    assert_eq!(document["openapi"], "3.1.0");
    let admin = server.admin();
    for (path, documented) in calls(&document) {
        let real = path.replace("{table}", "todos").replace("{id}", &id(1));
        for method in METHODS {
            let answer = admin.request(method, &real).send();
            if documented.contains(method) {
                assert_ne!(answer.status, 405, "{method} {path}");
                assert_ne!(answer.code(), "not_found", "{method} {path}");
                let told = &document["paths"][&path][method.to_lowercase()]["responses"];
                let status = answer.status.to_string();
                assert!(told.get(&status).is_some(), "{method} {path}: {answer:?}");
            } else {
                let allow = answer.clone().problem(405, "method_not_allowed");
                let allow = allow.header("allow").unwrap_or_default();
                let allow: BTreeSet<String> = allow
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect();
                assert_eq!(allow, documented, "{method} {path}");
            }
        }
    }
}

fn the_document_and_its_page_need_no_key_and_load_nothing_from_elsewhere(backend: Backend) {
    let server = Server::on(backend)
        .table(TODOS)
        .api_keys(&[("ana", "a-key-of-anas-own")])
        .start();
    let stranger = server.anonymous();
    let _ = stranger.get("/v1/schema").problem(401, "unauthorized");
    let text = stranger.get("/openapi.json").expect(200).text();
    assert!(
        !text.contains("priority"),
        "the document knows no table's columns"
    );
    let way = stranger.get("/docs").expect(308);
    let page = stranger.get(way.header("location").unwrap()).expect(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let page = page.text();
    let parts: Vec<&str> = page
        .split(['"', ' ', '\n'])
        .filter(|word| word.ends_with(".js") || word.ends_with(".css"))
        .collect();
    assert!(parts.len() >= 4, "{page}");
    assert!(!page.contains("://"), "{page}");
    for part in parts {
        let part = part.trim_start_matches("./");
        let file = stranger.get(&format!("/docs/{part}")).expect(200);
        if part == "swagger-initializer.js" {
            let text = file.text();
            assert!(
                text.contains("\"/openapi.json\"") && text.contains("\"validatorUrl\": \"none\"")
            );
        }
    }
    for elsewhere in [
        "/docs/nothing",
        "/docs/../Cargo.toml",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
    ] {
        let _ = stranger.get(elsewhere).problem(404, "not_found");
    }
}

/// The text of a source file, or of all in a folder.
fn source(place: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(place);
    if path.is_file() {
        return std::fs::read_to_string(path).unwrap();
    }
    let mut text = String::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "openapi" {
            text.push_str(&source(&format!("{place}/{name}")));
        }
    }
    text
}

/// The string literals that follow right upon `before`.
fn literals<'t>(text: &'t str, before: &str) -> BTreeSet<&'t str> {
    let after = text.split(before).skip(1);
    let quoted = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    quoted.collect()
}

#[test]
fn every_route_of_the_source_is_in_the_document() {
    let server = Server::on(Backend::Sqlite).table(TODOS).start();
    let calls = calls(&document(&server));
    let mut routes = Vec::new();
    for file in ["mod.rs", "admin.rs", "ops.rs", "openapi.rs"] {
        let text = source(&format!("server/src/http/{file}"));
        routes.extend(literals(&text, ".route(").into_iter().map(str::to_owned));
        routes.extend(
            literals(&text, "web::resource(")
                .into_iter()
                .map(str::to_owned),
        );
    }
    assert_eq!(routes.len(), calls.len(), "{routes:?}");
    for route in routes {
        let route = route.replace("{file:.*}", "");
        assert!(calls.keys().any(|path| path.ends_with(&route)), "{route}");
    }
}

#[test]
fn every_problem_code_and_header_of_the_source_is_in_the_document() {
    let server = Server::on(Backend::Sqlite).table(TODOS).start();
    let document = document(&server);
    let named = |list: &Json| -> BTreeSet<String> {
        let names = list.as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let schemas = &document["components"]["schemas"];
    let problems = named(&schemas["Problem"]["properties"]["code"]["enum"]);
    let rejections = named(&schemas["Receipt"]["properties"]["code"]["enum"]);
    let (http, sync) = (source("server/src/http"), source("server/src/sync"));
    let (wire, tests) = (source("shared/src/wire.rs"), "#[cfg(test)]");
    let http = http.split(tests).next().unwrap_or_default().to_owned()
        + http
            .split(tests)
            .skip(1)
            .filter_map(|rest| rest.split_once("\n}\n"))
            .map(|(_, rest)| rest)
            .collect::<Vec<_>>()
            .concat()
            .as_str();
    let mut found = BTreeSet::new();
    for call in [
        "Problem::bad_request(",
        "Problem::forbidden(",
        "Problem::not_found(",
        "Problem::conflict(",
        "Problem::gone(",
        "Problem::payload_too_large(",
        "Problem::unsupported_media_type(",
        "Problem::unprocessable(",
        "Problem::unavailable(",
        "StatusCode::UNAUTHORIZED,",
        "StatusCode::REQUEST_TIMEOUT,",
        "StatusCode::INTERNAL_SERVER_ERROR,",
        "400 => (",
        "404 => (",
        "405 => (",
        "406 => (",
        "413 => (",
    ] {
        let codes = literals(&http, call);
        assert!(!codes.is_empty(), "{call}");
        found.extend(codes);
    }
    found.remove("taken");
    for code in &found {
        assert!(problems.contains(*code), "{code}");
    }
    for text in [&http, &sync, &wire] {
        for code in literals(text, "Rejection::new(") {
            assert!(
                rejections.contains(code) || problems.contains(code),
                "{code}"
            );
            found.insert(code);
        }
    }
    let told: BTreeSet<&str> = problems
        .iter()
        .chain(&rejections)
        .map(String::as_str)
        .collect();
    assert_eq!(told, found);
    let text = document.to_string();
    for header in http
        .split("&str = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        let is_header = header.starts_with("Client-") || header.starts_with("I");
        assert!(
            !is_header || text.contains(&format!("\"name\":\"{header}\"")),
            "{header}"
        );
    }
}
