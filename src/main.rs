//! The `tfweb` command: flags → serve → exit code.

#![forbid(unsafe_code)]

use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::ExitCode;

use tfweb::config::{tidy_variables, Config, Flags, Usage};
use tfweb::observe::log::{self, Log};

/// One thread decodes a request and another one answers it. The system's allocator is slow when memory moves between threads.
/// TensorFlow keeps its own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for wrong flags that most commands use.
const USAGE_EXIT: u8 = 2;
/// The exit code if the server cannot start.
const FAILURE_EXIT: u8 = 1;
/// The exit code after a panic of the main thread, as Rust gives it.
const PANIC_EXIT: u8 = 101;

fn main() -> ExitCode {
    // The allocator forbids huge pages to the whole process. Where the system gives them to everybody, TensorFlow is to have them. An
    // error means that it does not.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    tidy_variables();
    let flags = match Flags::parse(std::env::args_os()) {
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
    let log = match Log::start(config.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("tfweb: no log: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A return from here would run the exit handlers under TensorFlow's threads. So would a panic.
    let code = match catch_unwind(AssertUnwindSafe(|| tfweb::serve(&config))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            log.fatal(&error);
            FAILURE_EXIT
        }
        Err(_) => PANIC_EXIT,
    };
    log::end_process(code)
}

/// Exits with 0 if the server of these flags is ready, and else with 1. Docker reserves the other codes.
fn check_health(flags: &Flags) -> ExitCode {
    let asked = flags
        .healthcheck_url()
        .map_err(|usage| usage.text)
        .and_then(|url| tfweb::healthcheck::ask(&url).map_err(|error| format!("tfweb: {error}")));
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

fn print(usage: &Usage) -> ExitCode {
    if usage.asked_for {
        // A closed pipe (`tfweb --help | head -1`) is not an error.
        let _ = writeln!(std::io::stdout(), "{}", usage.text);
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", usage.text);
    ExitCode::from(USAGE_EXIT)
}
