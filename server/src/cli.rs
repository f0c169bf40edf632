//! The command line: its arguments and nothing that acts on them.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, redacted_url};

/// Column-level differential sync between a database and clients that are offline half of the time.
///
/// Without a command it serves the tables that the configuration names, from sqlite://colsync.db on
/// 127.0.0.1:8080 if nothing else is said.
#[derive(Debug, Parser)]
#[command(name = "colsync", version)]
pub struct Cli {
    /// The configuration [default: colsync.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Settings that go before those of the file.
    #[command(flatten)]
    pub settings: Settings,

    /// What to do; `None`: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Settings that may be given on the command line or in the environment.
#[derive(Args, Clone)]
pub struct Settings {
    /// sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE [default: sqlite://colsync.db]
    #[arg(
        long,
        value_name = "URL",
        env = "COLSYNC_DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    pub database_url: Option<String>,

    /// Where to answer [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "COLSYNC_LISTEN", global = true)]
    pub listen: Option<String>,

    /// The administrator's token; better given in the environment, where other users do not see it
    #[arg(
        long,
        value_name = "TOKEN",
        env = "COLSYNC_ADMIN_TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub admin_token: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field(
                "database_url",
                &self.database_url.as_deref().map(redacted_url),
            )
            .field("listen", &self.listen)
            .field("admin_token", &self.admin_token.as_ref().map(|_| "***"))
            .finish()
    }
}

impl From<Settings> for Overrides {
    fn from(settings: Settings) -> Self {
        Overrides {
            database_url: settings.database_url,
            listen: settings.listen,
            admin_token: settings.admin_token,
        }
    }
}

/// What colsync can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the configured tables
    Serve,
    /// Add colsync's columns and triggers to tables that exist
    Adopt {
        /// The tables
        #[arg(long = "table", value_name = "TABLE", required = true, num_args = 1..)]
        tables: Vec<String>,
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare the configuration with the database
    Check,
    /// Make an API key and print it with its line for the configuration
    Key {
        /// The principal that the key stands for
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_or_after_the_command() {
        for line in [
            "colsync --listen [::1]:1",
            "colsync --listen [::1]:1 serve",
            "colsync serve --listen [::1]:1",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.settings.listen.as_deref(), Some("[::1]:1"), "{line}");
        }
    }

    #[test]
    fn adopt_takes_several_tables() {
        let line = "colsync adopt --table a b --table c --dry-run";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::Adopt { tables, dry_run }) = cli.command else {
            panic!("{:?}", cli.command);
        };
        assert_eq!(tables, ["a", "b", "c"]);
        assert!(dry_run);
        assert!(Cli::try_parse_from(["colsync", "adopt"]).is_err());
    }
}
