//! Reads the lines that TensorFlow writes to stderr past the log, through a pipe. TensorFlow's own level filters them, even the
//! lines that TensorFlow writes before it has read its level. A JSON log gets each line as a record, and a text log gets the line
//! itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{sync_channel, Receiver};
use std::thread;
use std::time::Duration;

use tracing::Level;

/// The target of TensorFlow's records.
pub(super) const TARGET: &str = "tensorflow";

/// The variable that holds TensorFlow's level: 0 for information and more, 1 for warnings, 2 for errors.
pub(super) const LEVEL_VARIABLE: &str = "TF_CPP_MIN_LOG_LEVEL";

/// The most bytes of one line. A longer line becomes several.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// How long the stop waits for the last line.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Stderr, redirected into the log.
pub(super) struct Redirect {
    stderr: OwnedFd,
    ended: Receiver<()>,
}

impl Redirect {
    /// Replaces stderr by a pipe. Each line goes to `out` unchanged, or becomes a record of the log if there is no `out`.
    pub(super) fn start(mut out: Option<File>) -> io::Result<Self> {
        let least = least(std::env::var(LEVEL_VARIABLE).ok().as_deref());
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        let (reader, writer) = io::pipe()?;
        let (end, ended) = sync_channel(0);
        thread::Builder::new().name("tfweb-stderr".into()).spawn(move || {
            read(BufReader::new(reader), least, |level, line, bytes| match &mut out {
                // An error means that nobody reads stderr any more. tfweb goes on serving.
                Some(out) => drop(out.write_all(bytes)),
                None => log(level, line),
            });
            drop(end);
        })?;
        rustix::stdio::dup2_stderr(&writer)?;
        Ok(Self { stderr, ended })
    }

    /// Puts stderr back, and waits until the lines in the pipe are written.
    pub(super) fn stop(self) {
        // The reader ends with the pipe's last writer. If it does not end, nothing more can be done.
        if rustix::stdio::dup2_stderr(&self.stderr).is_ok() {
            let _ = self.ended.recv_timeout(STOP_WAIT);
        }
    }
}

/// The least severe level that passes, as TensorFlow reads its variable.
fn least(variable: Option<&str>) -> Level {
    match variable.map_or(0, |level| level.trim().parse().unwrap_or(0)) {
        i32::MIN..=0 => Level::INFO,
        1 => Level::WARN,
        2.. => Level::ERROR,
    }
}

/// Reads lines until the pipe ends. Passes on those that are at least as severe as `least`, and those without a level.
fn read(mut pipe: impl BufRead, least: Level, mut pass_on: impl FnMut(Level, &Line<'_>, &[u8])) {
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
        // In tracing, the less severe of two levels is the greater one.
        if line.level.is_some_and(|level| level > least) {
            continue;
        }
        // A line without a level belongs to the line before it.
        level = line.level.unwrap_or(level);
        pass_on(level, &line, &bytes);
    }
}

fn log(level: Level, line: &Line<'_>) {
    let Line { source, text, .. } = line;
    if text.is_empty() {
        return;
    }
    if level == Level::ERROR {
        tracing::error!(target: TARGET, source, "{text}");
    } else if level == Level::WARN {
        tracing::warn!(target: TARGET, source, "{text}");
    } else {
        tracing::info!(target: TARGET, source, "{text}");
    }
}

/// A line, split into its parts if it is TensorFlow's.
#[derive(Debug, PartialEq, Eq)]
struct Line<'t> {
    level: Option<Level>,
    /// The file and line in TensorFlow's source.
    source: Option<&'t str>,
    text: &'t str,
}

impl<'t> Line<'t> {
    /// Reads a line of TensorFlow's older log, `2026-11-22 10:00:00.123456: W tensorflow/core/x.cc:12] text`, or of abseil,
    /// `W0000 00:00:1795341600.123456 1234 x.cc:12] text`.
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
    fn lines_below_tensorflows_level_are_left_out() {
        const LINES: &str = "WARNING: All log messages before absl::InitializeLog()\nI0000 1 port.cc:153] oneDNN\n\
            free(): invalid pointer\nF1122 1 check.cc:1] Check failed: x\n*** stack trace ***\n";
        let told = |variable| {
            let mut told = Vec::new();
            read(LINES.as_bytes(), least(variable), |level, _, bytes| told.push((level, bytes.to_vec())));
            told
        };
        let lines: Vec<Vec<u8>> = LINES.split_inclusive('\n').map(|line| line.as_bytes().to_vec()).collect();
        for (variable, first) in [(None, 0), (Some("0"), 0), (Some("no number"), 0), (Some("2"), 2), (Some("3"), 2)] {
            let told: Vec<Vec<u8>> = told(variable).into_iter().map(|(_, line)| line).collect();
            assert_eq!(told, lines[first..], "{variable:?}");
        }
        assert_eq!(told(Some("1")).len(), 4);
        let levels: Vec<Level> = told(Some("2")).into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [Level::WARN, Level::ERROR, Level::ERROR]);
    }

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
