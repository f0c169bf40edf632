//! The `colsync` program.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use colsync_server::auth::new_key;
use colsync_server::cli::{Cli, Command};
use colsync_server::config::{Config, DatabaseUrl, Overrides};
use colsync_server::serve;

fn main() -> ExitCode {
    let log = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(log).init();
    #[cfg(feature = "steps")]
    if let Err(nonsense) = end_at_step() {
        eprintln!("colsync: {nonsense}");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("colsync: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the program as a power cut would, at the step that a test names.
#[cfg(feature = "steps")]
fn end_at_step() -> Result<(), String> {
    colsync_shared::step::end_as_told(|| {
        drop(signal_hook::low_level::raise(signal_hook::consts::SIGKILL));
    })
}

fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(Command::Key { name }) = &cli.command {
        // Made before there is a configuration that would pass.
        print_key(name);
        return Ok(());
    }
    let overrides = Overrides::from(cli.settings);
    let config = Config::load(cli.config.as_deref(), &overrides)?;
    match cli.command {
        None if cli.config.is_none() && is_first_run(&config) => first_run(config),
        None | Some(Command::Serve) => Ok(serve::serve(config, announce)?),
        Some(Command::Adopt { tables, dry_run }) => {
            let sql = serve::adopt(&config, &tables, dry_run)?;
            if dry_run {
                for statement in sql {
                    println!("{statement};");
                }
            } else {
                println!("adopted: {}", tables.join(", "));
            }
            Ok(())
        }
        Some(Command::Check) => {
            for line in serve::check(&config)? {
                println!("{line}");
            }
            Ok(())
        }
        Some(Command::Key { .. }) => Ok(()),
    }
}

fn print_key(name: &str) {
    let (key, hash) = new_key();
    println!("API key of {name}, shown only now: {key}");
    println!("For the configuration:\n\n[auth]");
    println!("api_keys = [{{ principal = {name:?}, sha256 = \"{hash}\" }}]");
}

fn announce(address: &str) {
    println!("listening on http://{address}");
    // Whoever started us waits for this line.
    drop(std::io::stdout().flush());
}

/// Whether nothing is there yet: no configuration and no database.
fn is_first_run(config: &Config) -> bool {
    match &config.database.url {
        DatabaseUrl::Sqlite { path } => config.tables.is_empty() && !Path::new(path).exists(),
        DatabaseUrl::Postgres { .. } => false,
    }
}

const FIRST_CONFIG: &str =
    "# The tables that colsync serves; see docs/protocol.md.\n[tables.todos]\n";
const FIRST_FILE: &str = "colsync.toml";

/// Offers a database with a small table to try things on.
fn first_run(mut config: Config) -> Result<(), Box<dyn std::error::Error>> {
    if std::io::stdin().is_terminal() {
        print!(
            "There is no database yet. Make {} with a small table `todos`? [Y/n] ",
            config.database.url
        );
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim().to_lowercase().starts_with('n') {
            return Ok(serve::serve(config, announce)?);
        }
    }
    config.tables.push(serve::make_example(&config)?);
    if !Path::new(FIRST_FILE).exists() {
        std::fs::write(FIRST_FILE, FIRST_CONFIG)?;
    }
    println!(
        "made {} with a table `todos`, and {FIRST_FILE} that serves it",
        config.database.url
    );
    Ok(serve::serve(config, |address| {
        announce(address);
        let json = "-H 'Content-Type: application/json'";
        println!("\nTry it in another terminal:\n");
        println!(
            "  curl -si {json} -d '{{\"id\":\"0190a000-0000-7000-8000-000000000001\",\"title\":\"milk\"}}' \
             http://{address}/v1/tables/todos/rows"
        );
        println!(
            "  curl -si -X PATCH {json} -d '{{\"done\":true}}' \
             http://{address}/v1/tables/todos/rows/0190a000-0000-7000-8000-000000000001\n"
        );
    })?)
}
