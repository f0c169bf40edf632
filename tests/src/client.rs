//! A client, or anyone with an HTTP library: what it sends, byte for byte, and what it keeps.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use sha2::Digest as _;
use ureq::Agent;
use ureq::http::Request as HttpRequest;
use uuid::Uuid;

use crate::answer::Answer;
use crate::clock;

/// Longer than any answer takes; a server that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation that reads and writes through HTTP, with a clock of its own.
#[derive(Clone)]
pub struct Client {
    address: Arc<Mutex<String>>,
    agent: Agent,
    id: Option<Uuid>,
    token: Option<String>,
    skew: i64,
    pushes: i64,
    cursor: Option<String>,
    echo: bool,
}

/// A request in the making.
pub struct Request<'a> {
    client: &'a Client,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The lines about rows, in order.
    pub rows: Vec<Json>,
    /// The last checkpoint.
    pub checkpoint: String,
    /// All checkpoints, in order.
    pub checkpoints: Vec<String>,
    /// Whether the last checkpoint says that nothing is left.
    pub complete: bool,
}

impl Client {
    pub(crate) fn new(address: Arc<Mutex<String>>, name: Option<&str>) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0);
        Client {
            address,
            agent: Agent::new_with_config(config.build()),
            id: name.map(client_id),
            token: None,
            skew: 0,
            pushes: 0,
            cursor: None,
            echo: false,
        }
    }

    /// The same client with a clock that is `seconds` ahead of the right time, which it tells.
    #[must_use]
    pub fn skewed(self, seconds: i64) -> Client {
        Client {
            skew: seconds,
            ..self
        }
    }

    /// The same client with a key or token.
    #[must_use]
    pub fn token(self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// The same client, whose pulls do not tell its last push, so that its own writes come back to it.
    #[must_use]
    pub fn echoed(self) -> Client {
        Client { echo: true, ..self }
    }

    /// Its `Client-Id`.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.map(|id| id.to_string()).unwrap_or_default()
    }

    /// What its clock showed `seconds` ago.
    #[must_use]
    pub fn ago(&self, seconds: i64) -> String {
        clock::ago(seconds - self.skew)
    }

    /// A request.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let mut headers = Vec::new();
        if let Some(id) = self.id {
            headers.push(("Client-Id".to_owned(), id.to_string()));
        }
        if let Some(token) = &self.token {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        if self.skew != 0 {
            headers.push(("Client-Time".to_owned(), clock::now_with(self.skew)));
        }
        Request {
            client: self,
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            body: None,
        }
    }

    /// `GET`.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// `POST` of JSON.
    #[must_use]
    pub fn post(&self, path: &str, body: &Json) -> Answer {
        self.request("POST", path).json(body).send()
    }

    /// `PUT` of JSON.
    #[must_use]
    pub fn put(&self, path: &str, body: &Json) -> Answer {
        self.request("PUT", path).json(body).send()
    }

    /// A merge patch.
    #[must_use]
    pub fn patch(&self, path: &str, body: &Json) -> Answer {
        self.request("PATCH", path).merge_patch(body).send()
    }

    /// A merge patch made `seconds` ago by the client's own clock.
    #[must_use]
    pub fn patch_ago(&self, seconds: i64, path: &str, body: &Json) -> Answer {
        let at = self.ago(seconds);
        self.request("PATCH", path)
            .header("Client-Last-Updated", &at)
            .merge_patch(body)
            .send()
    }

    /// `DELETE`.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    /// Creates a row `seconds` ago; gives its version.
    #[track_caller]
    pub fn create_ago(&self, seconds: i64, table: &str, row: &Json) -> i64 {
        let at = self.ago(seconds);
        let path = format!("/v1/tables/{table}/rows");
        let made = self
            .request("POST", &path)
            .header("Client-Last-Updated", &at)
            .json(row)
            .send();
        made.expect(201).version()
    }

    /// The row as it is now.
    #[track_caller]
    #[must_use]
    pub fn row(&self, table: &str, id: &str) -> Json {
        self.get(&row_path(table, id)).expect(200).json()
    }

    /// Sends the next push, which counts from then on.
    #[track_caller]
    pub fn push(&mut self, edits: &[Json]) -> Vec<Json> {
        self.push_with(json!({ "edits": edits }))
    }

    /// Sends the next push, all or nothing.
    #[track_caller]
    pub fn push_atomic(&mut self, edits: &[Json]) -> Vec<Json> {
        self.push_with(json!({ "edits": edits, "atomic": true }))
    }

    #[track_caller]
    fn push_with(&mut self, mut body: Json) -> Vec<Json> {
        self.pushes += 1;
        body["push"] = self.pushes.into();
        let answer = self.post("/v1/sync/push", &body).expect(200).json();
        assert_eq!(answer["push"], self.pushes);
        answer["receipts"].as_array().unwrap().clone()
    }

    /// Sends one edit and gives its receipt.
    #[track_caller]
    pub fn push_one(&mut self, edit: Json) -> Json {
        let mut receipts = self.push(&[edit]);
        assert_eq!(receipts.len(), 1);
        receipts.remove(0)
    }

    /// Sends push `number` as it is; the answer may be a refusal.
    #[must_use]
    pub fn push_numbered(&self, number: i64, edits: &[Json]) -> Answer {
        self.post("/v1/sync/push", &json!({ "push": number, "edits": edits }))
    }

    /// Pulls everything since its last pull.
    #[track_caller]
    pub fn pull(&mut self) -> Pulled {
        self.pull_with("")
    }

    /// The same with further parameters, such as `limit=5`.
    #[track_caller]
    pub fn pull_with(&mut self, parameters: &str) -> Pulled {
        let pulled = Pulled::read(
            &self
                .try_pull(self.cursor.as_deref(), parameters)
                .expect(200),
        );
        self.cursor = Some(pulled.checkpoint.clone());
        pulled
    }

    /// A pull from `cursor`; the answer may be a refusal.
    #[must_use]
    pub fn try_pull(&self, cursor: Option<&str>, parameters: &str) -> Answer {
        self.pull_request(cursor, parameters).send()
    }

    /// A pull from `cursor` in the making.
    #[must_use]
    pub fn pull_request(&self, cursor: Option<&str>, parameters: &str) -> Request<'_> {
        let cursor = cursor
            .map(|cursor| format!("cursor={cursor}"))
            .unwrap_or_default();
        let mut request = self.request("GET", &format!("/v1/sync/pull?{cursor}&{parameters}"));
        if self.id.is_some() && !self.echo {
            request = request.header("Client-Push", &self.pushes.to_string());
        }
        request
    }

    /// Where its next pull goes on.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Sends `bytes` over a connection of their own and reads the answer until the server closes it.
    #[must_use]
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address.lock().unwrap().as_str()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may answer and close before it has read everything.
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Request<'_> {
    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these bytes as its body.
    #[must_use]
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let with_type = self.header("Content-Type", media_type);
        Request {
            body: Some(body.into()),
            ..with_type
        }
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Json) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a merge patch (RFC 7396).
    #[must_use]
    pub fn merge_patch(self, body: &Json) -> Self {
        self.body("application/merge-patch+json", body.to_string())
    }

    /// With a JSON Patch (RFC 6902).
    #[must_use]
    pub fn json_patch(self, body: &Json) -> Self {
        self.body("application/json-patch+json", body.to_string())
    }

    /// With an edit in colsync's own media type.
    #[must_use]
    pub fn edit(self, body: &Json) -> Self {
        self.body("application/vnd.colsync.edit+json", body.to_string())
    }

    /// Sends it.
    ///
    /// # Panics
    /// If no answer comes back.
    #[track_caller]
    #[must_use]
    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// Sends it; an error if no whole answer comes back.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let uri = format!(
            "http://{}{}",
            self.client.address.lock().unwrap(),
            self.path
        );
        let mut request = HttpRequest::builder().method(self.method.as_str()).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = &self.client.agent;
        let answer = match self.body {
            Some(body) => agent.run(request.body(body).unwrap()),
            None => agent.run(request.body(()).unwrap()),
        };
        let mut answer = answer?;
        let body = answer
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec()?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body,
        })
    }
}

impl Pulled {
    /// Reads the answer to a pull, every line of it.
    #[track_caller]
    #[must_use]
    pub fn read(answer: &Answer) -> Pulled {
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let text = answer.text();
        assert!(text.ends_with('\n'), "a line is cut: {text}");
        let lines: Vec<Json> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let last = lines.last().expect("a checkpoint");
        let is_checkpoint = |line: &&Json| line.get("checkpoint").is_some();
        let checkpoints = lines.iter().filter(is_checkpoint);
        let checkpoints: Vec<String> = checkpoints
            .map(|line| line["checkpoint"].as_str().unwrap().to_owned())
            .collect();
        Pulled {
            rows: lines
                .iter()
                .filter(|line| !is_checkpoint(line))
                .cloned()
                .collect(),
            checkpoint: last["checkpoint"]
                .as_str()
                .expect("the last line is a checkpoint")
                .to_owned(),
            checkpoints,
            complete: last["complete"].as_bool().unwrap(),
        }
    }

    /// The one line about the row `id`.
    #[track_caller]
    #[must_use]
    pub fn row(&self, id: &str) -> &Json {
        let found: Vec<&Json> = self.rows.iter().filter(|row| row["id"] == id).collect();
        assert_eq!(found.len(), 1, "{id} in {:#?}", self.rows);
        found[0]
    }

    /// The ids of its rows, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.rows
            .iter()
            .filter_map(|row| row["id"].as_str())
            .collect()
    }
}

/// The path of a row.
#[must_use]
pub fn row_path(table: &str, id: &str) -> String {
    format!("/v1/tables/{table}/rows/{id}")
}

/// The id of the client called `name`: always the same, so that ties between clients are decided alike.
fn client_id(name: &str) -> Uuid {
    let hash = sha2::Sha256::digest(name.as_bytes());
    let bytes: [u8; 16] = hash[..16].try_into().unwrap();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
