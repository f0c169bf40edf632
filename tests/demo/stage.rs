//! Who is in the demo: the server, its database, and two devices.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use colsync_client::{Client, Clock, Settings};
use colsync_server::config::{Config, Overrides};
use colsync_server::serve;
use colsync_tests::database::Database;
use serde_json::Value as Json;
use tempfile::TempDir;

/// The administrator's token, for this demo alone.
pub const TOKEN: &str = "the-token-of-the-demo";

/// How far Ben's clock is behind, ms.
const BEHIND_MS: i64 = 3 * 3600 * 1000;

const TABLE: &str = "CREATE TABLE todos (id UUID PRIMARY KEY NOT NULL, title TEXT NOT NULL, \
     done BOOLEAN NOT NULL DEFAULT 0, priority INTEGER, notes TEXT);";

const CONFIG: &str = "[tables.todos]\n[tables.todos.columns]\npriority = \"max\"\n";

const ROWS: &str = "SELECT id || char(31) || title || char(31) || CASE WHEN done THEN 'yes' ELSE 'no' END \
     || char(31) || coalesce(priority, '') || char(31) || coalesce(notes, '') FROM todos";

/// A person with a device.
pub struct Device {
    /// Who.
    pub name: &'static str,
    /// Where the file is.
    pub path: PathBuf,
    /// The file, for plain SQL.
    pub file: Database,
    /// The same file, for colsync.
    pub client: Client,
}

/// The server and both devices.
pub struct Stage {
    /// Everything is in here, and goes with it.
    folder: TempDir,
    server: Option<JoinHandle<()>>,
    /// The server's base URL.
    pub url: String,
    database: Database,
    pub ana: Device,
    pub ben: Device,
}

/// A row's id.
pub fn id(number: u64) -> String {
    format!("01930000-0000-7000-8000-{number:012}")
}

/// SQL with `{n}` for the id of row n.
pub fn filled_in(sql: &str) -> String {
    (1..=9).fold(sql.to_owned(), |sql, n| {
        sql.replace(&format!("{{{n}}}"), &id(n))
    })
}

impl Stage {
    /// Starts the server on a new database and lets both devices sync for the first time.
    pub fn set(listen: &str) -> Stage {
        let folder = TempDir::with_prefix("colsync-demo-").expect("a folder");
        let database = Database::Sqlite(folder.path().join("server.db"));
        database.sql(TABLE);
        let titles = ["Buy milk", "Call Bob", "Pay the rent", "Plan the trip"];
        for (number, title) in (1..).zip(titles) {
            let id = id(number);
            database.sql(&format!(
                "INSERT INTO todos (id, title, priority) VALUES ('{id}', '{title}', 1)"
            ));
        }
        let config = folder.path().join("colsync.toml");
        std::fs::write(&config, CONFIG).expect("the configuration");
        let overrides = Overrides {
            database_url: Some(database.url()),
            listen: Some(listen.to_owned()),
            admin_token: Some(TOKEN.to_owned()),
        };
        let config = Config::load(Some(&config), &overrides).expect("the configuration");
        serve::adopt(&config, &["todos".to_owned()], false).expect("adoption");
        let (answers, answering) = channel();
        let server = std::thread::spawn(move || {
            let done = serve::serve(config, |address| {
                answers.send(address.to_owned()).expect("somebody waits");
            });
            if let Err(failure) = done {
                eprintln!("the server: {failure}");
                std::process::exit(1);
            }
        });
        let url = format!("http://{}", answering.recv().expect("an address"));
        let device = |name, file: &str, clock| {
            let path = folder.path().join(file);
            let settings = Settings {
                server: Some(url.clone()),
                clock,
                ..Settings::default()
            };
            let client = Client::open(&path, settings).expect("a file");
            client.init(&[]).expect("the tables");
            client.sync().expect("a first sync");
            Device {
                name,
                file: Database::Sqlite(path.clone()),
                path,
                client,
            }
        };
        let behind = Clock::ahead_by(-BEHIND_MS * 1000);
        let (ana, ben) = (
            device("Ana", "ana.db", Clock::default()),
            device("Ben", "ben.db", behind),
        );
        Stage {
            server: Some(server),
            url,
            database,
            ana,
            ben,
            folder,
        }
    }

    /// Where the files are.
    pub fn folder(&self) -> std::path::Display<'_> {
        self.folder.path().display()
    }

    /// Writes to a device's file with plain SQL.
    pub fn edit(&self, device: &Device, edits: &[(&str, &str)]) {
        for (_, sql) in edits {
            device.file.sql(&filled_in(sql));
        }
        if device.name == "Ben" {
            // The triggers ask SQLite for the time, and no program can move that clock: so the times become
            // what it would have said.
            let moved = format!("UPDATE colsync_log SET at_ms = at_ms - {BEHIND_MS}");
            device.file.sql(&moved);
        }
    }

    /// A device's rows, column by column as text.
    pub fn rows(&self, device: &Device) -> Vec<Vec<String>> {
        rows(&device.file, "")
    }

    /// The server's rows, as another program sees them.
    pub fn server_rows(&self) -> Vec<Vec<String>> {
        rows(&self.database, "WHERE sync_deleted_at IS NULL")
    }

    /// The ledger, oldest entry first.
    pub fn ledger(&self) -> Vec<Json> {
        let answer = self.call(
            ureq::get(format!("{}/admin/v1/conflicts", self.url))
                .header("Authorization", format!("Bearer {TOKEN}"))
                .call(),
        );
        let mut conflicts = answer["conflicts"].as_array().expect("a list").clone();
        conflicts.reverse();
        conflicts
    }

    /// The receipts of a push that was answered for already: a repeated push gets them again.
    pub fn receipts(&self, client: &str, body: &str) -> Vec<Json> {
        let answer = self.call(
            ureq::post(format!("{}/v1/sync/push", self.url))
                .header("Client-Id", client)
                .header("Content-Type", "application/json")
                .send(body),
        );
        answer["receipts"].as_array().expect("a list").clone()
    }

    fn call(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Json {
        let mut answer = answer.expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Goes on serving until a signal says stop.
    pub fn serve_on(mut self) -> ExitCode {
        match self.server.take().map(JoinHandle::join) {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(_)) | None => ExitCode::FAILURE,
        }
    }
}

fn rows(database: &Database, condition: &str) -> Vec<Vec<String>> {
    let rows = database.column(&format!("{ROWS} {condition} ORDER BY id"));
    let split = |row: String| row.split('\u{1f}').map(str::to_owned).collect();
    rows.into_iter().flatten().map(split).collect()
}
