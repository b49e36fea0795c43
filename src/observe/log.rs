//! The log: its level, its format, and its last lines when the process ends.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::Layer;

use super::access_log;
use super::log_writer::LineWriter;
use super::stderr::{self, Redirect};

/// How long the end of the process waits for the last lines.
const FLUSH_WAIT: Duration = Duration::from_secs(1);
/// How long an abort waits, so that the lines before it are written.
const ABORT_WAIT: Duration = Duration::from_millis(250);

static WRITER: OnceLock<LineWriter> = OnceLock::new();
/// Reads the lines that TensorFlow writes to stderr past the log. `None` before the start of the log and at the end of the process.
static REDIRECT: Mutex<Option<Redirect>> = Mutex::new(None);

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// The log of this process, from its start to its end.
pub struct Log {
    writer: LineWriter,
    format: LogFormat,
}

impl Log {
    /// Starts to log to stderr, from the level in TFWEB_LOG on. Libraries log warnings and errors. TensorFlow logs errors unless
    /// TF_CPP_MIN_LOG_LEVEL says otherwise, because its warnings repeat what answers say. Call it once, before other threads run.
    ///
    /// # Errors
    /// If the system has no more threads or files to give.
    pub fn start(format: LogFormat) -> io::Result<Self> {
        if std::env::var_os(stderr::LEVEL_VARIABLE).is_none() {
            std::env::set_var(stderr::LEVEL_VARIABLE, "2");
        }
        let is_terminal = io::stderr().is_terminal();
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        // In a text log, people read TensorFlow's lines unchanged.
        let verbatim = if format == LogFormat::Text { Some(out.try_clone()?) } else { None };
        let writer = LineWriter::start(out, format == LogFormat::Text)?;
        let records = tracing_subscriber::fmt::layer().with_writer(writer.clone());
        let records = match format {
            LogFormat::Text => records.with_ansi(is_terminal).with_target(false).boxed(),
            LogFormat::Json => records.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        };
        tracing_subscriber::registry().with(records).with(targets()).init();
        // This never fails, because the function is called once.
        let _ = WRITER.set(writer.clone());
        panic::set_hook(Box::new(log_panic));
        tfweb_engine::tensorflow::delay_abort(ABORT_WAIT);
        *REDIRECT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Redirect::start(verbatim)?);
        Ok(Self { writer, format })
    }

    /// Logs the error that ends the process.
    pub fn fatal(&self, error: &dyn std::fmt::Display) {
        match self.format {
            LogFormat::Text => self.writer.put(format!("tfweb: {error}\n").into_bytes()),
            LogFormat::Json => tracing::error!("{error}"),
        }
    }
}

/// Ends the process with this exit code, after the remaining lines are written. It waits two seconds at most. Threads of TensorFlow
/// may still run operations.
pub fn end_process(code: u8) -> ! {
    // Held to the end, so that a second thread that ends the process does not cut the lines of the first.
    let mut redirect = REDIRECT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(redirect) = redirect.take() {
        redirect.stop();
    }
    flush();
    tfweb_engine::tensorflow::exit_at_once(code)
}

/// Logs an internal failure once, with the request's id.
pub fn failure(request_id: &[u8], message: &str) {
    tracing::error!(request_id = %request_id.escape_ascii(), "{}", one_line(message));
}

/// Joins the lines of a message. TensorFlow continues a message with a line break and a tab, and a name that others chose may have
/// line breaks too.
#[must_use]
pub fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Writes the lines logged so far. It waits a second at most.
fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_WAIT);
    }
}

fn targets() -> Targets {
    let level = std::env::var("TFWEB_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let of_libraries = level.min(LevelFilter::WARN);
    let ours = ["tfweb", "tfweb_actors", "tfweb_engine", stderr::TARGET].map(|target| (target, level));
    Targets::new()
        .with_default(of_libraries)
        // These match the crates whose names begin with the target of TensorFlow's lines.
        .with_targets(["tensorflow_", "tensorflow::"].map(|target| (target, of_libraries)))
        .with_targets(ours)
        // The exporter reports each problem as a warning and as an error. The error is enough.
        .with_target("opentelemetry-otlp", level.min(LevelFilter::ERROR))
        // The access log has a flag of its own.
        .with_target(access_log::TARGET, level.max(LevelFilter::INFO))
}

fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let thread = thread::current();
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    tracing::error!(backtrace, "thread `{}` panicked at {place}: {message}", thread.name().unwrap_or("unnamed"));
    flush();
}
