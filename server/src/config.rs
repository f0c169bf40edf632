//! The configuration: what may be set, its defaults, and what the server refuses to start with.
//!
//! Knows nothing of the database's contents: whether a table or column exists is for `colsync check`
//! and the start. Secrets are hashed on the way in, and a URL is never shown with its password.

mod file;
mod url;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use colsync_shared::schema::{BlindWrites, EditAfterDelete};
use colsync_shared::{Policy, RowPolicy};
use serde::Deserialize;

use crate::auth::KeyHash;

pub use url::{DatabaseUrl, redacted_url};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "colsync.toml";

/// Everything that can be configured, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the rows are.
    pub database: Database,
    /// Where the server answers; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Hash of the administrator's token; without one there is no `/admin`.
    pub admin_token: Option<KeyHash>,
    /// The synced tables in the order of the file; only these are reachable.
    pub tables: Vec<TableConfig>,
    /// What a request may ask for.
    pub limits: Limits,
    /// Who may call; `None` lets everyone in, on a loopback address only.
    pub auth: Option<Auth>,
    /// How far a client's clock may be off before its times are shifted, in µs (default 2 s).
    pub clock_skew: i64,
    /// How long anchors and stored receipts are kept, in days (default 90).
    pub retention_days: u32,
}

/// The database and how many connections it gets.
#[derive(Debug, Clone)]
pub struct Database {
    /// Default: `sqlite://colsync.db`.
    pub url: DatabaseUrl,
    /// Connections for reading (default 8).
    pub connections: u32,
    /// Connections that commit edits: 2 on PostgreSQL; SQLite has one writer.
    pub writers: u32,
}

/// A synced table's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// Its name in the database and on the wire.
    pub name: String,
    /// For whole-row writes.
    pub row_policy: RowPolicy,
    /// For edits of deleted rows.
    pub edit_after_delete: EditAfterDelete,
    /// For bare writes.
    pub blind_writes: BlindWrites,
    /// Whether a client may have rows removed for good.
    pub hard_delete: bool,
    /// Columns with a policy of their own, in the order of the file.
    pub columns: Vec<(String, Policy)>,
    /// Groups of columns that are stamped and decided together, each with its columns' names. A column is in
    /// at most one, and all of a group have one policy, which makes no third value.
    pub groups: Vec<(String, Vec<String>)>,
}

impl TableConfig {
    /// The policy of `column`: its own, or `last_writer_wins`.
    #[must_use]
    pub fn policy(&self, column: &str) -> Policy {
        let own = self.columns.iter().find(|(name, _)| name == column);
        own.map(|(_, policy)| *policy).unwrap_or_default()
    }
}

/// What a request may ask for. What is beyond is refused with a 4xx, or waits for a 503.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a body, before and after decompression.
    pub body_bytes: usize,
    /// Edits of one push.
    pub push_edits: usize,
    /// Operations of one JSON Patch.
    pub patch_operations: usize,
    /// Depth of nested arrays and objects in a body.
    pub json_depth: usize,
    /// Seconds for reading one whole request.
    pub request_seconds: u64,
    /// Submissions waiting in the commit queue.
    pub queue_submissions: usize,
    /// Rows of one page, and between two checkpoints of a pull.
    pub page_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 16 * 1024 * 1024,
            push_edits: 10_000,
            patch_operations: 1_000,
            json_depth: 64,
            request_seconds: 30,
            queue_submissions: 4_096,
            page_rows: 1_000,
        }
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The keys that are known. Never empty, no hash twice.
    pub api_keys: Vec<ApiKey>,
}

/// One API key; a principal may have several, to change them without a gap.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Whom it stands for.
    pub principal: String,
    /// The key's hash.
    pub sha256: KeyHash,
}

/// Settings from the command line or the environment; they go before the file's.
#[derive(Clone, Default)]
pub struct Overrides {
    /// In place of `database_url`.
    pub database_url: Option<String>,
    /// In place of `listen`.
    pub listen: Option<String>,
    /// In place of `admin_token`.
    pub admin_token: Option<String>,
}

/// Why the server does not start with this configuration. Never shows a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML, or has a setting that does not exist or is of another type.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A setting that colsync would not be safe or able to run with.
    #[error("{field}: {reason}")]
    Invalid {
        /// The setting, as a path into the file.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfigError::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

impl Config {
    /// Reads the file at `path`, or `colsync.toml` if there is one, and lays `overrides` over it.
    ///
    /// # Errors
    /// If the file cannot be read, or holds what the server must not start with.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(file) {
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            read => read.map_err(|source| ConfigError::Read {
                path: file.to_owned(),
                source,
            })?,
        };
        Config::parse(&text, overrides)
    }

    /// Reads `text` as the file, and lays `overrides` over it.
    ///
    /// # Errors
    /// If it holds what the server must not start with.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Config, ConfigError> {
        let file: file::File = toml::from_str(text).map_err(|error| syntax(text, error))?;
        file.validate(overrides)
    }

    /// The table called `name`, if it is synced.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableConfig> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// The error without the line it quotes: that may hold a token.
fn syntax(text: &str, mut error: toml::de::Error) -> ConfigError {
    error.set_input(None);
    let until = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().iter().take(until);
    ConfigError::Syntax {
        line: 1 + before.filter(|&&byte| byte == b'\n').count(),
        reason: error.to_string().trim().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, &Overrides::default())
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }

    #[test]
    fn nothing_has_to_be_configured() {
        let config = parse("").unwrap();
        assert_eq!(config.database.url.to_string(), "sqlite://colsync.db");
        assert_eq!(config.database.writers, 1);
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.clock_skew, 2_000_000);
        assert_eq!(config.retention_days, 90);
        assert!(config.tables.is_empty() && config.auth.is_none());
    }

    #[test]
    fn tables_and_columns_keep_the_order_of_the_file() {
        let config = parse(
            "[tables.zebras]\nrow_policy = 'server_wins'\n[tables.apes.columns]\nz = 'max'\na = 'manual'\n
             [tables.monkeys]\nedit_after_delete = 'revive'\nblind_writes = 'record'",
        )
        .unwrap();
        let names: Vec<&str> = config.tables.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["zebras", "apes", "monkeys"]);
        let apes = config.table("apes").unwrap();
        let columns = [
            ("z".to_owned(), Policy::Max),
            ("a".to_owned(), Policy::Manual),
        ];
        assert_eq!(apes.columns, columns);
        assert_eq!(apes.policy("other"), Policy::LastWriterWins);
        assert_eq!(config.tables[0].row_policy, RowPolicy::ServerWins);
    }

    #[test]
    fn a_group_names_columns_of_one_policy() {
        let groups = |columns: &str, groups: &str| {
            format!("[tables.t.columns]\n{columns}\n[tables.t.groups]\n{groups}")
        };
        let text = groups(
            "a = 'manual'\nb = 'manual'",
            "g = ['a', 'b']\nh = ['y', 'x', 'z']",
        );
        let config = parse(&text).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wanted: [(String, Vec<String>); 2] = [
            ("g".to_owned(), names(&["a", "b"])),
            ("h".to_owned(), names(&["y", "x", "z"])),
        ];
        assert_eq!(config.tables[0].groups, wanted);
        for (columns, group, reason) in [
            ("", "g = []", "tables.t.groups.g: needs two columns"),
            ("", "g = ['a']", "tables.t.groups.g: needs two columns"),
            ("", "g = ['a', 'a']", "tables.t.groups.g: names a twice"),
            (
                "",
                "g = ['a', 'b']\nh = ['c', 'a']",
                "tables.t.groups.h: a is in g",
            ),
            ("", "g = ['a', 'sync_txid']", "tables.t.groups.g: sync_txid"),
            ("", "\"\" = ['a', 'b']", "tables.t.groups.: has no name"),
            (
                "a = 'manual'",
                "g = ['a', 'b']",
                "tables.t.groups.g: a is manual and b",
            ),
            (
                "a = 'max'\nb = 'max'",
                "g = ['a', 'b']",
                "tables.t.groups.g: max",
            ),
            ("a = 'counter'", "g = ['b', 'a']", "tables.t.groups.g: "),
        ] {
            refused(&groups(columns, group), reason);
        }
    }

    #[test]
    fn a_setting_goes_to_the_command_line_first() {
        let overrides = Overrides {
            database_url: Some("postgres://db/app".to_owned()),
            listen: Some(String::new()),
            admin_token: None,
        };
        let file = "database_url = 'sqlite://x.db'\nlisten = '[::1]:99'";
        let config = Config::parse(file, &overrides).unwrap();
        assert_eq!(config.database.url.to_string(), "postgres://db/app");
        assert_eq!(config.database.writers, 2);
        assert_eq!(config.listen.to_string(), "[::1]:99");
    }

    #[test]
    fn what_is_not_in_this_version_is_refused_and_not_ignored() {
        refused(
            "[tables.t]\nscope = { column = 'o', claim = 'sub' }",
            "tables.t.scope: ",
        );
        refused("[tables.t]\nhard_delete = 1", "hard_delete");
        refused(
            "[tables.t.columns]\nstock = 'biggest'",
            "last_writer_wins, server_wins",
        );
        refused("[auth]\njwt = {}", "jwt");
        refused(
            "\n[limits]\nbody_byte = 1",
            "line 3: unknown field `body_byte`",
        );
    }

    #[test]
    fn the_server_does_not_start_where_anyone_could_reach_it_unauthenticated() {
        for listen in [
            "0.0.0.0:8080",
            "[::]:8080",
            "192.168.1.2:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            refused(&format!("listen = '{listen}'"), "listen: ");
        }
        assert!(parse("listen = 'localhost:8080'").is_ok());
        let hash = "ab".repeat(32);
        let key = format!("[auth]\napi_keys = [{{ principal = 'a', sha256 = '{hash}' }}]");
        assert!(parse(&format!("listen = '0.0.0.0:8080'\n{key}")).is_ok());
        refused("[auth]\napi_keys = []", "auth.api_keys: ");
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        refused("database_url = 'mysql://h/d'", "database_url: ");
        refused("database_url = 'colsync.db'", "database_url: ");
        refused("database_url = 'sqlite://:memory:'", "database_url: ");
        refused("listen = 'example.com:80'", "listen: ");
        refused("admin_token = 'too short'", "admin_token: ");
        refused("[limits]\npush_edits = 0", "limits.push_edits: ");
        refused("[limits]\njson_depth = 128", "limits.json_depth: ");
        refused("[clock]\nskew_seconds = nan", "clock.skew_seconds: ");
        refused("[retention]\ndays = 0", "retention.days: ");
        refused("[database]\nwriters = 2", "database.writers: ");
        refused("[tables.colsync_meta]", "tables.colsync_meta: ");
        refused(
            "[tables.t.columns]\nsync_version = 'max'",
            "tables.t.columns.sync_version: ",
        );
        let keys = |a: &str, b: &str| {
            format!(
                "[auth]\napi_keys = [{{ principal = 'a', sha256 = '{a}' }}, {{ principal = 'b', sha256 = '{b}' }}]"
            )
        };
        let (good, other) = ("ab".repeat(32), "cd".repeat(32));
        assert!(parse(&keys(&good, &other)).is_ok());
        refused(
            &keys(&good, &good.to_uppercase()),
            "auth.api_keys[1].sha256: ",
        );
        refused(&keys("abcd", &good), "auth.api_keys[0].sha256: ");
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_secret() {
        let file =
            "admin_token = 'hunter2hunter2hunter2'\ndatabase_url = 'postgres://u:hunter2@h/d'";
        let shown = format!("{:?}", parse(file).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        for bad in [
            "admin_token = 'hunter2",
            "admin_token = 'hunter2hunter2hunter2' oops",
            "admin_token = 'hunter2'",
            "database_url = 'x:hunter2@host'",
            "database_url = 'hunter2://host'",
        ] {
            let error = parse(bad).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
