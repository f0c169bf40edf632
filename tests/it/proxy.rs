//! The proxy that breaks requests: what it lets pass is whole, and each kind of fault really happens.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use colsync_tests::edits::insert;
use colsync_tests::tables::id;
use colsync_tests::{Backend, Client, Fault, Plan, Proxy, Pulled, ago, on_both};
use serde_json::json;

use crate::{make_todo, one_todo, todo};

const SEED: u64 = 0x5eed;
const ENOUGH: usize = 2_000;

on_both![
    a_calm_proxy_changes_nothing_and_follows_a_restart,
    each_fault_really_happens,
];

fn a_calm_proxy_changes_nothing_and_follows_a_restart(backend: Backend) {
    let mut server = one_todo(backend);
    let proxy = server.proxy(SEED);
    let mut ana = proxy.client("ana");
    assert_eq!(ana.pull().rows.len(), 1);
    for round in 1..4 {
        ana.push_one(insert(
            "todos",
            &id(10 + round),
            &ago(60),
            &json!({ "title": "new" }),
        ));
        assert!(ana.pull().rows.is_empty());
        let patched = ana.patch(&todo(1), &json!({ "priority": round }));
        assert_eq!(patched.expect(200).json()["status"], "ok");
        let _ = ana.get(&todo(99)).problem(404, "row_not_found");
        let version = format!("\"{}\"", round + 1);
        let known = ana
            .request("GET", &todo(1))
            .header("If-None-Match", &version);
        let _ = known.send().expect(304);
        server.restart();
    }
    let counts = proxy.counts();
    assert_eq!(counts.total(), 0, "{counts}");
    assert!(counts.requests >= 15, "{counts}");
}

fn each_fault_really_happens(backend: Backend) {
    let server = one_todo(backend);
    for number in 2..6 {
        make_todo(&server, number);
    }
    let proxy = server.proxy(SEED);
    for fault in Fault::ALL {
        let mut ana = proxy.client(&format!("{fault:?}"));
        ana.push(&[]);
        let before = proxy.counts().of(fault);
        proxy.plan(Plan::default().with(fault, 1000));
        meets(fault, &ana);
        assert!(proxy.counts().of(fault) > before, "{}", proxy.counts());
        proxy.faults_off();
        assert_eq!(ana.pull().rows.len(), 5, "after {fault:?} all is well");
    }
    let calm = proxy.counts().total();
    proxy.plan(Plan::all(60));
    let ana = proxy.client("ana");
    let mut asked = 0;
    while Fault::ALL.iter().any(|fault| proxy.counts().of(*fault) < 3) {
        drop(ana.request("GET", "/v1/sync/pull").try_send());
        asked += 1;
        assert!(asked < ENOUGH, "{}", proxy.counts());
    }
    assert!(proxy.counts().total() > calm + 20, "{}", proxy.counts());
}

/// How one request looks to a client that meets this fault.
#[track_caller]
fn meets(fault: Fault, ana: &Client) {
    let answer = ana.request("GET", "/v1/sync/pull").try_send();
    match fault {
        Fault::Refuse | Fault::CutRequest | Fault::LoseAnswer | Fault::CutAnswer => {
            assert!(answer.is_err(), "{answer:?}");
        }
        Fault::Duplicate | Fault::LateDuplicate | Fault::Delay => {
            assert_eq!(Pulled::read(&answer.unwrap()).rows.len(), 5);
        }
        Fault::Unavailable => {
            let refused = answer.unwrap().problem(503, "database_unavailable");
            assert_eq!(refused.header("retry-after"), Some("0"));
        }
        Fault::BadGateway => assert!(answer.unwrap().expect(502).text().contains("<h1>")),
        Fault::Truncate => {
            let short = answer.unwrap().expect(200).text();
            assert!(!short.contains(r#""complete":true"#), "{short}");
        }
    }
}

/// A server of events that says one and then waits.
fn endless() -> Arc<Mutex<String>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(b"data: news\n\n").unwrap();
            open.push(stream);
        }
    });
    Arc::new(Mutex::new(address))
}

#[test]
fn an_answer_without_an_end_comes_as_it_is_said() {
    let proxy = Proxy::start(endless(), SEED);
    let listen = || {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream
            .write_all(b"GET /v1/sync/live HTTP/1.1\r\n\r\n")
            .unwrap();
        stream
    };
    let mut lines = BufReader::new(listen()).lines();
    assert!(lines.any(|line| line.unwrap() == "data: news"));
    proxy.plan(Plan::default().with(Fault::LoseAnswer, 1000));
    let mut said = Vec::new();
    drop(listen().read_to_end(&mut said));
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(proxy.counts().total(), 1);
}
