//! The `tfweb` command: flags → serve → exit code.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tfweb::config::{Config, Flags, Usage};
use tracing_subscriber::filter::LevelFilter;

/// Wrong flags, as most commands report them.
const USAGE_EXIT: u8 = 2;

fn main() -> ExitCode {
    let config = match Flags::parse(std::env::args()).and_then(Config::new) {
        Ok(config) => config,
        Err(usage) => return print(&usage),
    };
    let level = std::env::var("TFWEB_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(ansi).with_target(false).init();
    match tfweb::serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tfweb: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(usage: &Usage) -> ExitCode {
    if usage.asked_for {
        // A closed pipe (`tfweb --help | head -1`) is no reason to complain.
        let _ = writeln!(std::io::stdout(), "{}", usage.text);
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", usage.text);
    ExitCode::from(USAGE_EXIT)
}
