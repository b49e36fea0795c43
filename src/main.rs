//! The `tfweb` command: flags → serve → exit code.

#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use tfweb::config::{drop_service_links, Config, Flags, Usage};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Requests are taken apart on one thread and answered on another; the system's allocator is slow at that. TensorFlow keeps
/// its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong flags, as most commands report them.
const USAGE_EXIT: u8 = 2;

fn main() -> ExitCode {
    drop_service_links();
    let flags = match Flags::parse(std::env::args()) {
        Ok(flags) => flags,
        Err(usage) => return print(&usage),
    };
    if flags.operations.healthcheck {
        return check_health(&flags);
    }
    let config = match Config::new(flags) {
        Ok(config) => config,
        Err(usage) => return print(&usage),
    };
    log();
    match tfweb::serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tfweb: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Exits with 0 if the server of these flags is ready, else with 1: Docker reserves other codes.
fn check_health(flags: &Flags) -> ExitCode {
    let asked = flags
        .probe()
        .map_err(|usage| usage.text)
        .and_then(|probe| tfweb::healthcheck::ask(&probe).map_err(|error| format!("tfweb: {error}")));
    match asked {
        Ok(said) => {
            let _ = writeln!(std::io::stdout(), "{said}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to stderr, from the level in TFWEB_LOG on. Libraries speak from warnings on; TensorFlow from errors on, unless
/// TF_CPP_MIN_LOG_LEVEL says otherwise: its warnings repeat what answers say.
fn log() {
    let level = std::env::var("TFWEB_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let ours = ["tfweb", "tfweb_actors", "tfweb_engine"].map(|target| (target, level));
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(ours);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(format.with_target(false)).with(targets).init();
    if std::env::var_os("TF_CPP_MIN_LOG_LEVEL").is_none() {
        std::env::set_var("TF_CPP_MIN_LOG_LEVEL", "2");
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
