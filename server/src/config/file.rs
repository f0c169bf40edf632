//! The configuration file as it is written, before it is validated and the defaults are filled in.
//!
//! A setting that does not exist, or not in this version, is refused: one that was ignored in silence
//! could leak rows or lose values.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use colsync_shared::schema::{BlindWrites, EditAfterDelete, RESERVED_PREFIX};
use colsync_shared::{Policy, RowPolicy};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::url::DatabaseUrl;
use super::{ApiKey, Auth, Config, ConfigError, Database, Limits, Overrides, TableConfig};
use crate::auth::KeyHash;

const DATABASE_URL: &str = "sqlite://colsync.db";
const LISTEN: &str = "127.0.0.1:8080";
const CONNECTIONS: u32 = 8;
const POSTGRES_WRITERS: u32 = 2;
/// The fewest characters of an administrator's token.
const TOKEN_LENGTH: usize = 16;
/// serde_json's own bound is 128, of which the first level takes one.
const JSON_DEPTH: usize = 127;
const NOT_IN_THIS_VERSION: &str = "is not in this version of colsync";

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    database_url: Option<String>,
    listen: Option<String>,
    admin_token: Option<String>,
    database: DatabaseEntry,
    tables: InOrder<TableEntry>,
    limits: Limits,
    auth: Option<AuthEntry>,
    clock: Clock,
    retention: Retention,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DatabaseEntry {
    connections: Option<u32>,
    writers: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TableEntry {
    row_policy: RowPolicy,
    edit_after_delete: EditAfterDelete,
    blind_writes: BlindWrites,
    columns: InOrder<PolicyName>,
    groups: InOrder<Vec<String>>,
    scope: Option<toml::Value>,
    hard_delete: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthEntry {
    api_keys: Vec<ApiKeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKeyEntry {
    principal: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Clock {
    skew_seconds: f64,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { skew_seconds: 2.0 }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Retention {
    days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { days: 90 }
    }
}

impl File {
    pub(super) fn validate(self, overrides: &Overrides) -> Result<Config, ConfigError> {
        let auth = self.auth.map(validate_auth).transpose()?;
        let listen = choose(&overrides.listen, self.listen).unwrap_or_else(|| LISTEN.to_owned());
        let listen = validate_listen(&listen, auth.is_some())?;
        let url = choose(&overrides.database_url, self.database_url);
        let url = DatabaseUrl::parse(url.as_deref().unwrap_or(DATABASE_URL))?;
        let admin_token = choose(&overrides.admin_token, self.admin_token)
            .map(|token| validate_token(&token))
            .transpose()?;
        let tables = self.tables.0.into_iter();
        Ok(Config {
            database: self.database.validate(url)?,
            listen,
            admin_token,
            tables: tables
                .map(|(name, table)| table.validate(name))
                .collect::<Result<_, _>>()?,
            limits: validate_limits(self.limits)?,
            auth,
            clock_skew: self.clock.micros()?,
            retention_days: self.retention.validate()?,
        })
    }
}

/// The override, or what the file says. An empty override is an environment variable set to nothing.
fn choose(first: &Option<String>, second: Option<String>) -> Option<String> {
    first.clone().filter(|text| !text.is_empty()).or(second)
}

fn validate_listen(text: &str, authenticated: bool) -> Result<SocketAddr, ConfigError> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let listen: SocketAddr = numeric.parse().map_err(|_not_an_address| {
        let reason = format!("`{text}` is no IP address with a port, such as {LISTEN}");
        ConfigError::invalid("listen", reason)
    })?;
    if !authenticated && !listen.ip().is_loopback() {
        let reason = format!(
            "{listen} can be reached from other machines; configure [auth] first, or listen on {LISTEN}"
        );
        return Err(ConfigError::invalid("listen", reason));
    }
    Ok(listen)
}

fn validate_token(token: &str) -> Result<KeyHash, ConfigError> {
    let refuse = |reason: String| Err(ConfigError::invalid("admin_token", reason));
    if token.chars().count() < TOKEN_LENGTH {
        return refuse(format!("is shorter than {TOKEN_LENGTH} characters"));
    }
    // It travels in a header, whose ends are trimmed.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("has characters other than visible ASCII".to_owned());
    }
    Ok(KeyHash::of(token))
}

fn validate_auth(entry: AuthEntry) -> Result<Auth, ConfigError> {
    if entry.api_keys.is_empty() {
        let reason = "is empty, so that no one could call; leave [auth] out to serve this machine";
        return Err(ConfigError::invalid("auth.api_keys", reason));
    }
    let mut api_keys: Vec<ApiKey> = Vec::new();
    for (position, key) in entry.api_keys.into_iter().enumerate() {
        let field = |member: &str| format!("auth.api_keys[{position}].{member}");
        let sha256 = KeyHash::from_hex(&key.sha256)
            .map_err(|error| ConfigError::invalid(field("sha256"), error.to_string()))?;
        if api_keys.iter().any(|other| other.sha256 == sha256) {
            return Err(ConfigError::invalid(field("sha256"), "is there twice"));
        }
        if key.principal.trim().is_empty() {
            return Err(ConfigError::invalid(field("principal"), "is empty"));
        }
        api_keys.push(ApiKey {
            principal: key.principal,
            sha256,
        });
    }
    Ok(Auth { api_keys })
}

fn validate_limits(limits: Limits) -> Result<Limits, ConfigError> {
    let seconds = usize::try_from(limits.request_seconds).unwrap_or(usize::MAX);
    for (name, value, most) in [
        ("body_bytes", limits.body_bytes, 1 << 30),
        ("push_edits", limits.push_edits, 1_000_000),
        ("patch_operations", limits.patch_operations, 1_000_000),
        ("json_depth", limits.json_depth, JSON_DEPTH),
        ("request_seconds", seconds, 86_400),
        ("queue_submissions", limits.queue_submissions, 1_000_000),
        ("page_rows", limits.page_rows, 1_000_000),
    ] {
        if !(1..=most).contains(&value) {
            let reason = format!("is not between 1 and {most}");
            return Err(ConfigError::invalid(format!("limits.{name}"), reason));
        }
    }
    Ok(limits)
}

impl DatabaseEntry {
    fn validate(self, url: DatabaseUrl) -> Result<Database, ConfigError> {
        let (writers, most_writers) = match url {
            DatabaseUrl::Sqlite { .. } => (1, 1),
            DatabaseUrl::Postgres { .. } => (POSTGRES_WRITERS, 100),
        };
        let writers = self.writers.unwrap_or(writers);
        let connections = self.connections.unwrap_or(CONNECTIONS);
        for (name, value, most) in [
            ("writers", writers, most_writers),
            ("connections", connections, 1_000),
        ] {
            if !(1..=most).contains(&value) {
                let reason = format!("is not between 1 and {most}, which this database takes");
                return Err(ConfigError::invalid(format!("database.{name}"), reason));
            }
        }
        Ok(Database {
            url,
            connections,
            writers,
        })
    }
}

impl TableEntry {
    fn validate(self, name: String) -> Result<TableConfig, ConfigError> {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || lower.starts_with("colsync_") || lower.starts_with("sqlite_") {
            let reason = "is no table that can be synced";
            return Err(ConfigError::invalid(format!("tables.{name}"), reason));
        }
        if self.scope.is_some() {
            let field = format!("tables.{name}.scope");
            return Err(ConfigError::invalid(field, NOT_IN_THIS_VERSION));
        }
        let columns = self.columns.0.into_iter();
        let columns: Vec<(String, Policy)> = columns.map(|(name, p)| (name, p.0)).collect();
        let reserved = |(column, _): &&(String, Policy)| column.starts_with(RESERVED_PREFIX);
        if let Some((column, _)) = columns.iter().find(reserved) {
            let field = format!("tables.{name}.columns.{column}");
            return Err(ConfigError::invalid(field, "is a column of colsync's own"));
        }
        let table = TableConfig {
            name,
            row_policy: self.row_policy,
            edit_after_delete: self.edit_after_delete,
            blind_writes: self.blind_writes,
            hard_delete: self.hard_delete,
            columns,
            groups: self.groups.0,
        };
        validate_groups(&table)?;
        Ok(table)
    }
}

fn validate_groups(table: &TableConfig) -> Result<(), ConfigError> {
    for (position, (group, members)) in table.groups.iter().enumerate() {
        let refuse = |reason: String| {
            let field = format!("tables.{}.groups.{group}", table.name);
            Err(ConfigError::invalid(field, reason))
        };
        let [first, second, ..] = members.as_slice() else {
            return refuse("needs two columns or more".to_owned());
        };
        if group.is_empty() {
            return refuse("has no name".to_owned());
        }
        let earlier = table.groups.iter().take(position);
        for (at, column) in members.iter().enumerate() {
            if column.starts_with(RESERVED_PREFIX) {
                return refuse(format!("{column} is a column of colsync's own"));
            }
            if members.iter().take(at).any(|other| other == column) {
                return refuse(format!("names {column} twice"));
            }
            if let Some((other, _)) = earlier.clone().find(|(_, of)| of.contains(column)) {
                return refuse(format!("{column} is in {other} already"));
            }
        }
        let policy = table.policy(first);
        let differs = members.iter().find(|column| table.policy(column) != policy);
        if let Some(other) = differs {
            return refuse(format!(
                "{first} is {} and {other} {}: the columns of a group have one policy",
                policy.name(),
                table.policy(other).name()
            ));
        }
        match policy {
            Policy::LastWriterWins | Policy::ServerWins | Policy::ClientWins | Policy::Manual => {}
            Policy::Max
            | Policy::Min
            | Policy::Counter
            | Policy::Set
            | Policy::Text
            | Policy::Json => {
                let name = policy.name();
                return refuse(format!(
                    "{name} decides {first} and {second} one by one, which a group must not be"
                ));
            }
        }
    }
    Ok(())
}

impl Clock {
    fn micros(self) -> Result<i64, ConfigError> {
        if !(0.0..=86_400.0).contains(&self.skew_seconds) {
            let reason = "is not between 0 and 86400";
            return Err(ConfigError::invalid("clock.skew_seconds", reason));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most a day of microseconds"
        )]
        let micros = (self.skew_seconds * 1e6).round() as i64;
        Ok(micros)
    }
}

impl Retention {
    fn validate(self) -> Result<u32, ConfigError> {
        if !(1..=36_500).contains(&self.days) {
            let reason = "is not between 1 and 36500";
            return Err(ConfigError::invalid("retention.days", reason));
        }
        Ok(self.days)
    }
}

/// A column's policy by its name.
struct PolicyName(Policy);

impl<'de> Deserialize<'de> for PolicyName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let policies = [
            Policy::LastWriterWins,
            Policy::ServerWins,
            Policy::ClientWins,
            Policy::Max,
            Policy::Min,
            Policy::Manual,
            Policy::Counter,
            Policy::Set,
            Policy::Text,
            Policy::Json,
        ];
        match policies.into_iter().find(|policy| policy.name() == name) {
            Some(policy) => Ok(PolicyName(policy)),
            None => Err(D::Error::custom(format!(
                "`{name}` is no policy; there are {}",
                policies.map(Policy::name).join(", ")
            ))),
        }
    }
}

/// A TOML table in the order of the file: clients get parents before their children.
struct InOrder<T>(Vec<(String, T)>);

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        InOrder(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InOrder<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = InOrder<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<InOrder<T>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(InOrder(entries))
            }
        }

        from.deserialize_map(Entries(PhantomData))
    }
}
