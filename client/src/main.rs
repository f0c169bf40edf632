//! The `colsync-client` program: keeps the SQLite file of an app in any language in sync.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let log = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(log)
        // What it would trace are the bytes of requests, and the key is among them.
        .filter_module("ureq_proto", log::LevelFilter::Warn)
        .init();
    cli::main()
}
