//! Someone who counts: each push adds one to a value that all share, and is sent again until it is answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use colsync_tests::tables::id;
use colsync_tests::{Client, Server, ago};
use serde_json::{Value as Json, json};

/// The row that all count in.
const ROW: u64 = 1;

/// Between two tries while nobody answers.
const PAUSE: Duration = Duration::from_millis(5);

/// One of those who count.
pub(crate) struct Counter {
    client: Client,
    /// Pushes that were answered; each added one.
    answered: u64,
    /// The push that was sent, and is not known to have arrived.
    open: Option<Json>,
}

impl Counter {
    /// Makes the row; the table `wide` counts in `c0`.
    pub(crate) fn prepare(server: &Server) {
        let row = json!({ "id": id(ROW), "c0": 0 });
        server
            .client("who made the counter")
            .create_ago(3600, "wide", &row);
    }

    pub(crate) fn new(server: &Server, number: u64) -> Counter {
        Counter {
            client: server.client(&format!("counter {number}")),
            answered: 0,
            open: None,
        }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// What has been counted at the server.
    pub(crate) fn counted(server: &Server) -> u64 {
        let counted = server.value("SELECT c0 FROM wide");
        counted.unwrap_or_default().parse().unwrap()
    }

    /// Counts until it is `over`, and until what was sent is answered.
    pub(crate) fn count(&mut self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) || self.open.is_some() {
            if !self.push() {
                std::thread::park_timeout(PAUSE);
            }
        }
    }

    /// Sends what is to be sent; whether it was answered.
    fn push(&mut self) -> bool {
        let next = self.answered + 1;
        let (client, answered) = (&self.client, self.answered);
        let push = self.open.get_or_insert_with(|| {
            let value = json!({ "value": next, "base": answered, "at": ago(0) });
            let edit =
                json!({ "table": "wide", "id": id(ROW), "op": "update", "columns": { "c0": value } });
            json!({ "push": next, "edits": [edit] })
        });
        match client
            .request("POST", "/v1/sync/push")
            .json(push)
            .try_send()
        {
            Ok(answer) if answer.status == 503 => false,
            Ok(answer) => {
                let receipts = answer.expect(200).json()["receipts"].take();
                assert_eq!(receipts[0]["status"], "ok", "{receipts}");
                self.answered = next;
                self.open = None;
                true
            }
            Err(_nobody) => false,
        }
    }
}
