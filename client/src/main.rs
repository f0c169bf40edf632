//! The `colsync-client` program: keeps the SQLite file of an app in any language in sync.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let log = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(log)
        // What it would trace are the bytes of requests, and the key is among them.
        .filter_module("ureq_proto", log::LevelFilter::Warn)
        .init();
    #[cfg(feature = "steps")]
    if let Err(nonsense) = end_at_step() {
        eprintln!("colsync-client: {nonsense}");
        return ExitCode::FAILURE;
    }
    cli::main()
}

/// Ends the program as a power cut would, at the step that a test names.
#[cfg(feature = "steps")]
fn end_at_step() -> Result<(), String> {
    colsync_shared::step::end_as_told(|| {
        drop(signal_hook::low_level::raise(signal_hook::consts::SIGKILL));
    })
}
