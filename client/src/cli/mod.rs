//! The command line: what is asked becomes calls to the library, and answers become text.
//!
//! Uses the library as any app would; must not know SQL or HTTP.

mod args;
mod commands;
mod edges;
mod failure;
mod output;
mod progress;
mod show;
mod table;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use colsync_client::{Client, Settings};

use args::{Args, Command};
use failure::Failure;
use output::Output;

/// Runs what the arguments ask for.
pub(crate) fn main() -> ExitCode {
    let args = match Args::try_parse().and_then(complete) {
        Ok(args) => args,
        Err(refused) => return refuse(&refused),
    };
    let output = Output::new(args.json);
    match run(args, &output) {
        Ok(code) => code.into(),
        Err(failure) => output.failure(&failure),
    }
}

/// What clap cannot require of an option that may stand anywhere.
fn complete(args: Args) -> Result<Args, clap::Error> {
    if args.file.is_none() {
        let missing = "no file is named: give --file, or set COLSYNC_FILE";
        return Err(Args::command().error(ErrorKind::MissingRequiredArgument, missing));
    }
    Ok(args)
}

/// Help and the version are no failures, but clap gives them as such.
fn refuse(refused: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && refused.use_stderr() {
        let text = refused.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let failure = Failure::Arguments(text.trim_end().to_owned());
        return Output::new(true).failure(&failure);
    }
    // Nobody is left to tell if it cannot be printed.
    drop(refused.print());
    ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(failure::FAILED))
}

/// Does what is asked; gives the exit code.
fn run(args: Args, output: &Output) -> Result<u8, Failure> {
    let path = args.file.unwrap_or_default();
    let makes_files = matches!(args.command, Command::Init { .. });
    if !makes_files && !path.exists() {
        // The library would make it, and a misspelt name would go unnoticed.
        return Err(Failure::NoFile(path));
    }
    let settings = Settings {
        server: args.server,
        remote: args.remote.map(description).transpose()?,
        mode: args.mode,
        token: args.key.map(|key| key.0),
        ..Settings::default()
    };
    let client = Client::open(&path, settings)?;
    commands::run(&client, &path, args.command, output)
}

/// The text of an API's description.
fn description(path: PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(&path).map_err(|broken| Failure::Unreadable {
        path,
        reason: broken.to_string(),
    })
}
