//! Who may call, and what can be reached at all.

use colsync_tests::process::said;
use colsync_tests::tables::{LABELS, TODOS, id};
use colsync_tests::{ADMIN_TOKEN, Backend, Server, on_both};
use serde_json::json;

use crate::{make_todo, one_todo, todo};

on_both![
    without_authentication_no_other_address_than_loopback_is_served,
    a_known_key_is_let_in_and_no_other,
    an_unauthenticated_caller_learns_nothing,
    a_client_belongs_to_the_principal_that_first_used_it,
    a_client_id_that_is_none_is_refused,
    only_configured_tables_are_reachable,
    a_server_without_authentication_says_so,
];

const KEYS: [(&str, &str); 2] = [
    ("alice", "alices-key-0123456789"),
    ("bob", "bobs-key-0123456789"),
];

fn without_authentication_no_other_address_than_loopback_is_served(backend: Backend) {
    let server = Server::on(backend).table(TODOS).prepare();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let output = server.run(&["serve", "--listen", address]);
        assert!(!output.status.success(), "{address}");
        assert!(
            said(&output).contains("listen"),
            "{address}: {}",
            said(&output)
        );
        assert!(
            !said(&output).contains("listening on"),
            "{address}: {}",
            said(&output)
        );
    }
}

fn a_known_key_is_let_in_and_no_other(backend: Backend) {
    let server = Server::on(backend).table(TODOS).api_keys(&KEYS).start();
    let anonymous = server.anonymous();
    for path in ["/v1/schema", "/v1/tables/todos/rows", "/v1/sync/pull"] {
        for (_, key) in KEYS {
            let _ = server.anonymous().token(key).get(path).expect(200);
        }
        let refused = anonymous.get(path).problem(401, "unauthorized");
        assert!(
            refused
                .header("www-authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
        for wrong in [
            "Bearer wrong",
            "Basic alices-key-0123456789",
            "alices-key-0123456789",
            "Bearer",
            "",
        ] {
            let _ = anonymous
                .request("GET", path)
                .header("Authorization", wrong)
                .send()
                .problem(401, "unauthorized");
        }
        let _ = server.admin().get(path).problem(401, "unauthorized");
    }
    let _ = server
        .anonymous()
        .token(KEYS[0].1)
        .get("/admin/v1/clients")
        .problem(401, "unauthorized");
    let _ = server
        .anonymous()
        .token(ADMIN_TOKEN)
        .get("/admin/v1/clients")
        .expect(200);
    let _ = anonymous.get("/healthz").expect(200);
}

fn an_unauthenticated_caller_learns_nothing(backend: Backend) {
    let server = Server::on(backend).table(TODOS).api_keys(&KEYS).start();
    let alice = server.anonymous().token(KEYS[0].1);
    let _ = alice
        .post(
            "/v1/tables/todos/rows",
            &json!({ "id": id(1), "title": "x" }),
        )
        .expect(201);
    let before = server.dump();
    let nobody = server.anonymous();
    let calls = [
        nobody.get(&todo(1)),
        nobody.get(&todo(2)),
        nobody.get("/v1/tables/nothing/rows"),
        nobody.patch(&todo(1), &json!({ "title": "y" })),
        nobody.patch(&todo(1), &json!({ "nothing": "y" })),
        nobody
            .request("PATCH", &todo(1))
            .body("application/json", "no json")
            .send(),
        nobody.put(&todo(1), &json!({})),
        nobody.delete(&todo(1)),
        nobody.post("/v1/tables/todos/rows", &json!({})),
        server.client("ana").push_numbered(1, &[]),
        server.client("ana").push_numbered(7, &[]),
        nobody.try_pull(Some("x"), ""),
    ];
    for answer in calls {
        let _ = answer.problem(401, "unauthorized");
    }
    assert_eq!(server.dump(), before);
}

fn a_client_belongs_to_the_principal_that_first_used_it(backend: Backend) {
    let mut server = Server::on(backend).table(TODOS).api_keys(&KEYS).start();
    let [alice, bob] = KEYS.map(|(_, key)| server.client("laptop").token(key));
    let _ = alice
        .post(
            "/v1/tables/todos/rows",
            &json!({ "id": id(1), "title": "alice" }),
        )
        .expect(201);
    for restarted in [false, true] {
        let before = server.dump();
        let calls = [
            bob.get(&todo(1)),
            bob.patch(&todo(1), &json!({ "title": "bob" })),
            bob.push_numbered(1, &[]),
            bob.try_pull(None, ""),
        ];
        for answer in calls {
            let refused = answer.problem(403, "client_of_another_principal");
            assert_eq!(
                refused.json()["field"],
                "Client-Id",
                "restarted: {restarted}"
            );
        }
        assert_eq!(server.dump(), before);
        let _ = alice.get(&todo(1)).expect(200);
        let _ = server
            .client("phone")
            .token(KEYS[1].1)
            .get(&todo(1))
            .expect(200);
        server.restart();
    }
}

fn a_client_id_that_is_none_is_refused(backend: Backend) {
    let server = one_todo(backend);
    for bad in [
        "laptop",
        "",
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
    ] {
        let refused = server
            .anonymous()
            .request("GET", &todo(1))
            .header("Client-Id", bad)
            .send();
        assert_eq!(
            refused.problem(400, "invalid_header").json()["field"],
            "Client-Id",
            "{bad}"
        );
    }
}

fn only_configured_tables_are_reachable(backend: Backend) {
    let server = Server::on(backend)
        .before(LABELS.sql(backend))
        .table(TODOS)
        .start();
    server.sql("INSERT INTO labels (code, meaning) VALUES ('red', 'stop')");
    let ana = server.client("ana");
    let _ = ana
        .get("/v1/tables/labels/rows")
        .problem(404, "unknown_table");
    let _ = ana
        .get("/v1/tables/labels/rows/red")
        .problem(404, "unknown_table");
    let _ = ana
        .post("/v1/tables/labels/rows", &json!({ "code": "blue" }))
        .problem(404, "unknown_table");
    assert!(!ana.get("/v1/schema").expect(200).text().contains("labels"));
    assert!(
        !server
            .client("reader")
            .try_pull(None, "")
            .expect(200)
            .text()
            .contains("red")
    );
    assert_eq!(
        server.value("SELECT count(*) FROM labels").as_deref(),
        Some("1")
    );
}

fn a_server_without_authentication_says_so(backend: Backend) {
    let server = one_todo(backend);
    make_todo(&server, 2);
    assert!(server.log().contains("authentication"), "{}", server.log());
}
