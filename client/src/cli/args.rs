//! The arguments, and nothing that acts on them.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use colsync_client::Mode;

/// What the exit codes mean; [`super::failure`] gives them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the file, a name that is unknown, or an answer of the server that makes no sense
  2  the arguments are wrong
  3  the server cannot be reached; edits are kept
  4  the server refuses this client (401, 403); edits are kept
  5  synced, but something needs you: dead letters, or edits that wait
  6  another process is syncing the file";

/// Keeps a SQLite file in sync with a colsync server, column by column, offline for days.
///
/// The app goes on reading and writing its tables with any SQLite library; triggers note what it changes.
#[derive(Debug, Parser)]
#[command(name = "colsync-client", version, after_help = EXIT_CODES)]
pub(super) struct Args {
    /// The app's SQLite file
    #[arg(long, value_name = "FILE", env = "COLSYNC_FILE", global = true)]
    pub(super) file: Option<PathBuf>,

    /// The server, such as https://sync.example.org [default: the one that the file knows]
    #[arg(
        long,
        value_name = "URL",
        env = "COLSYNC_SERVER",
        hide_env_values = true,
        global = true
    )]
    pub(super) server: Option<String>,

    /// A file that describes an API that knows no sync, if the server is one [default: what the file knows]
    #[arg(long, value_name = "TOML", env = "COLSYNC_REMOTE", global = true)]
    pub(super) remote: Option<PathBuf>,

    /// The key that the server knows you by; better given in the environment, where other users do not see
    /// it
    #[arg(
        long,
        value_name = "KEY",
        env = "COLSYNC_KEY",
        hide_env_values = true,
        global = true
    )]
    pub(super) key: Option<Key>,

    /// How edits go up: differential, transaction_log or whole_row [default: as the file has it, differential at
    /// first]
    #[arg(long, value_name = "MODE", env = "COLSYNC_MODE", global = true, value_parser = mode)]
    pub(super) mode: Option<Mode>,

    /// Answer in JSON: one document on stdout (watch: one a line), failures on stderr
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

fn mode(name: &str) -> Result<Mode, String> {
    Mode::from_name(name)
        .ok_or_else(|| "there are differential, transaction_log and whole_row".to_owned())
}

/// An API key or token, which no message may show.
#[derive(Clone)]
pub(super) struct Key(pub(super) String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Key {
    type Err = Infallible;

    fn from_str(key: &str) -> Result<Self, Infallible> {
        Ok(Key(key.to_owned()))
    }
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the server's tables in the file and track them; makes the file, too
    Init {
        /// The tables [default: all of the server's]
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Track tables that are in the file: note what the app writes to them
    Track {
        /// The tables
        #[arg(value_name = "TABLE", required = true)]
        tables: Vec<String>,
    },
    /// Stop tracking tables; they stay as they are
    Untrack {
        /// The tables
        #[arg(value_name = "TABLE", required = true)]
        tables: Vec<String>,
        /// Also if they have edits that the server has not got: these are forgotten
        #[arg(long)]
        drop_unpushed: bool,
    },
    /// Push what the app changed and pull what others changed, once
    Sync,
    /// Sync for as long as it runs: when the app writes, and from time to time
    Watch {
        /// Seconds between syncs while nothing is written here
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        interval: Option<Duration>,
    },
    /// What is tracked, what is pending, and how the last sync went
    Status,
    /// The edits that the server has not answered for
    Pending,
    /// A row as it was before its pending edits
    Original {
        /// The row's table
        table: String,
        /// The row's key; of several columns, joined by commas
        id: String,
    },
    /// Put a row back to its Original and forget its pending edits
    Undo {
        /// The row's table
        table: String,
        /// The row's key; of several columns, joined by commas
        id: String,
    },
    /// What became of edits where someone else had edited too
    Conflicts,
    /// The edits that the server refused
    DeadLetters {
        /// None: list.
        #[command(subcommand)]
        what: Option<DeadLetters>,
    },
}

/// What can be done about refused edits.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them
    List,
    /// Make them edits again, to be pushed with the next sync
    Retry {
        /// Their numbers
        #[arg(value_name = "N", required_unless_present = "all")]
        numbers: Vec<i64>,
        /// All there are
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
    /// Forget them
    Discard {
        /// Their numbers
        #[arg(value_name = "N", required = true)]
        numbers: Vec<i64>,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_refused| "not a number".to_owned())?;
    Duration::try_from_secs_f64(number)
        .ok()
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| "it must be more than 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_or_after_the_command() {
        for line in [
            "c --file a.db --json status",
            "c status --file a.db --json",
            "c dead-letters retry 1 --file a.db --json",
        ] {
            let args = parse(line).unwrap();
            assert_eq!(args.file, Some(PathBuf::from("a.db")), "{line}");
            assert!(args.json, "{line}");
        }
    }

    #[test]
    fn dead_letters_are_retried_by_number_or_all() {
        assert!(parse("c dead-letters retry").is_err());
        assert!(parse("c dead-letters retry --all 1").is_err());
        assert!(parse("c dead-letters discard").is_err());
        assert!(parse("c dead-letters retry --all").is_ok());
        let Command::DeadLetters {
            what: Some(DeadLetters::Discard { numbers }),
        } = parse("c dead-letters discard 3 5").unwrap().command
        else {
            panic!("another command");
        };
        assert_eq!(numbers, [3, 5]);
    }

    #[test]
    fn an_interval_is_a_positive_number_of_seconds() {
        for wrong in ["0", "-1", "NaN", "inf", "soon", "0.0000000001"] {
            assert!(parse(&format!("c watch --interval={wrong}")).is_err());
        }
        let Command::Watch { interval } = parse("c watch --interval 0.5").unwrap().command else {
            panic!("another command");
        };
        assert_eq!(interval, Some(Duration::from_millis(500)));
    }

    #[test]
    fn the_key_is_in_no_debug_text_and_no_refusal() {
        let args = parse("c --key s3cret status").unwrap();
        assert!(!format!("{args:?}").contains("s3cret"));
        let refused = parse("c --key s3cret nonsense").unwrap_err();
        assert!(!refused.to_string().contains("s3cret"));
    }

    #[test]
    fn help_tells_the_exit_codes() {
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains("6  another process"), "{help}");
    }
}
