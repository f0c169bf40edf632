//! What is attacked: a server with one table of every type, one of each kind of key, and a few rows.

use colsync_tests::tables::{LABELS, MEMBERS, TICKETS, TableDef, id};
use colsync_tests::{Backend, Server, row_path};
use serde_json::json;

use super::judge::Tally;

/// A column of every type, and every way to merge.
const THINGS: TableDef = TableDef {
    name: "things",
    sqlite: "CREATE TABLE things (id UUID PRIMARY KEY NOT NULL, title TEXT, short VARCHAR(5), done BOOLEAN,
             small SMALLINT, number BIGINT, ratio DOUBLE, price NUMERIC(10,2), ref UUID, day DATE, moment TIME,
             local TIMESTAMP, at TIMESTAMPTZ, blob BLOB, data JSON, tags JSON, stock BIGINT, held TEXT);",
    postgres: "CREATE TABLE things (id uuid PRIMARY KEY, title text, short varchar(5), done boolean,
               small smallint, number bigint, ratio double precision, price numeric(10,2), ref uuid, day date,
               moment time, local timestamp, at timestamptz, blob bytea, data jsonb, tags jsonb, stock bigint,
               held text);",
};

/// Limits so low that requests beyond them are cheap, and a deadline that a suite can wait for.
const LIMITS: &str = "[limits]\nbody_bytes = 65536\npush_edits = 10\npatch_operations = 20\n\
                      request_seconds = 2\npage_rows = 50";

/// The row that most requests are about.
pub(super) fn thing() -> String {
    row_path("things", &id(1))
}

/// A server under attack.
pub(super) struct Subject {
    pub(super) on: Backend,
    pub(super) server: Server,
    /// An open entry of the ledger.
    pub(super) conflict: String,
    /// A checkpoint that it gave.
    pub(super) cursor: String,
}

impl Subject {
    pub(super) fn start(on: Backend) -> Subject {
        let server = Server::on(on)
            .table(THINGS)
            .policy("tags", "set")
            .policy("stock", "counter")
            .policy("data", "json")
            .policy("held", "manual")
            .table(MEMBERS)
            .table(TICKETS)
            .table(LABELS)
            .setting("hard_delete = true")
            .section(LIMITS)
            .start();
        let maker = server.client("maker");
        let row = json!({ "id": id(1), "title": "old", "done": true, "number": 7, "tags": ["a"], "stock": 3,
                          "data": { "a": { "b": [1, 2] } }, "held": "first" });
        maker.create_ago(3600, "things", &row);
        maker.create_ago(
            3600,
            "members",
            &json!({ "team": "a,b", "number": 1, "role": "x" }),
        );
        maker.create_ago(3600, "tickets", &json!({ "id": 1, "subject": "x" }));
        maker.create_ago(
            3600,
            "labels",
            &json!({ "code": "q\"'; --", "meaning": "x" }),
        );
        let _ = maker
            .patch(&thing(), &json!({ "held": "second" }))
            .expect(200);
        let late = server.client("late");
        let held = late
            .request("PATCH", &thing())
            .header("If-Match", "\"1\"")
            .merge_patch(&json!({ "held": "third" }))
            .send()
            .expect(200)
            .json();
        let conflict = held["columns"]["held"]["conflict"].as_str();
        let conflict = conflict.expect("an entry of the ledger").to_owned();
        let cursor = server.client("reader").pull().checkpoint;
        Subject {
            on,
            server,
            conflict,
            cursor,
        }
    }

    /// Everything but the pushes: a push of rejected edits uses its number up.
    pub(super) fn dump(&self) -> String {
        self.server.row_dump()
    }

    pub(super) fn is_unchanged(&self, before: &str, by: &str, tally: &mut Tally) {
        let after = self.dump();
        if after != before {
            let lines: Vec<&str> = before.lines().collect();
            let new: Vec<&str> = after.lines().filter(|line| !lines.contains(line)).collect();
            tally.changed(format!("{:?}: {by} changed {new:?}", self.on));
        }
    }

    /// A thread that panicked, or a fault of the server's own that it logged. Actix tells of every caller that
    /// speaks no HTTP as if that were an error.
    pub(super) fn has_not_panicked(&self, tally: &mut Tally) {
        let log = self.server.log();
        for line in log
            .lines()
            .filter(|line| line.contains("panicked") || line.contains("ERROR colsync"))
        {
            tally.panicked(format!("{:?}: {line}", self.on));
        }
    }
}
