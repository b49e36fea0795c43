//! What is written to stderr past the log, which is TensorFlow's own log: read from a pipe in its place and logged, so that whoever
//! reads JSON gets nothing else.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{sync_channel, Receiver};
use std::thread;
use std::time::Duration;

use tracing::Level;

/// The target of what came so.
pub(super) const TARGET: &str = "tensorflow";

/// The most bytes of one line; what is longer becomes several.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// How long the end waits for the last of it.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Stderr as a pipe into the log.
pub(super) struct Redirect {
    stderr: OwnedFd,
    ended: Receiver<()>,
}

impl Redirect {
    /// Puts a pipe in the place of stderr.
    pub(super) fn start() -> io::Result<Self> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let (reader, writer) = io::pipe()?;
        let (end, ended) = sync_channel(0);
        thread::Builder::new().name("tfweb-stderr".into()).spawn(move || {
            read(BufReader::new(reader));
            drop(end);
        })?;
        rustix::stdio::dup2_stderr(&writer)?;
        Ok(Self { stderr, ended })
    }

    /// Puts stderr back, and waits until what is in the pipe is logged.
    pub(super) fn stop(self) {
        // With the pipe's last writer the reader ends; if it does not, there is nothing more to be done.
        if rustix::stdio::dup2_stderr(&self.stderr).is_ok() {
            let _ = self.ended.recv_timeout(STOP_WAIT);
        }
    }
}

fn read(mut pipe: impl BufRead) {
    let mut level = Level::WARN;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match pipe.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let line = Line::parse(text.trim_end());
        // What has no level belongs to what came before it.
        level = line.level.unwrap_or(level);
        if !line.text.is_empty() {
            log(level, &line);
        }
    }
}

fn log(level: Level, line: &Line<'_>) {
    let Line { source, text, .. } = line;
    if level == Level::ERROR {
        tracing::error!(target: TARGET, source, "{text}");
    } else if level == Level::WARN {
        tracing::warn!(target: TARGET, source, "{text}");
    } else {
        tracing::info!(target: TARGET, source, "{text}");
    }
}

/// A line, taken apart if it is TensorFlow's.
#[derive(Debug, PartialEq, Eq)]
struct Line<'t> {
    level: Option<Level>,
    /// File and line in TensorFlow.
    source: Option<&'t str>,
    text: &'t str,
}

impl<'t> Line<'t> {
    /// Reads a line as TensorFlow's older log writes it, `2026-11-22 10:00:00.123456: W tensorflow/core/x.cc:12] text`, or as abseil
    /// does, `W0000 00:00:1795341600.123456 1234 x.cc:12] text`.
    fn parse(line: &'t str) -> Self {
        let plain = Self { level: None, source: None, text: line };
        let Some((head, text)) = line.split_once("] ") else {
            let is_warning = line.starts_with("WARNING: ");
            return Self { level: is_warning.then_some(Level::WARN), ..plain };
        };
        let Some(severity) = severity(head) else {
            return plain;
        };
        Self { level: Some(severity), source: head.rsplit(' ').next(), text }
    }
}

fn severity(head: &str) -> Option<Level> {
    let mut words = head.split(' ');
    let first = words.next()?;
    let letter = if first.starts_with(|char: char| char.is_ascii_digit()) {
        let time = words.next()?;
        words.next().filter(|letter| time.ends_with(':') && letter.len() == 1)?
    } else {
        let (letter, date) = first.split_at_checked(1)?;
        Some(letter).filter(|_| date.len() == 4 && date.bytes().all(|byte| byte.is_ascii_digit()))?
    };
    match letter {
        "I" => Some(Level::INFO),
        "W" => Some(Level::WARN),
        "E" | "F" => Some(Level::ERROR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tensorflow_are_taken_apart() {
        for (line, level, source, text) in [
            (
                "2026-11-22 10:00:00.123456: W tensorflow/core/a.cc:12] b] c",
                Some(Level::WARN),
                Some("tensorflow/core/a.cc:12"),
                "b] c",
            ),
            ("I0000 00:00:1795341600.123456    1234 port.cc:153] oneDNN", Some(Level::INFO), Some("port.cc:153"), "oneDNN"),
            ("F1122 10:00:00.123456 1234 check.cc:1] Check failed: x", Some(Level::ERROR), Some("check.cc:1"), "Check failed: x"),
            ("2026-11-22 10:00:00.1: E external/local_xla/a.cc:9] no", Some(Level::ERROR), Some("external/local_xla/a.cc:9"), "no"),
            (
                "WARNING: All log messages before absl::InitializeLog()",
                Some(Level::WARN),
                None,
                "WARNING: All log messages before absl::InitializeLog()",
            ),
            ("*** Check failure stack trace: ***", None, None, "*** Check failure stack trace: ***"),
            ("Infinite [1] loop", None, None, "Infinite [1] loop"),
            ("", None, None, ""),
        ] {
            assert_eq!(Line::parse(line), Line { level, source, text });
        }
    }
}
