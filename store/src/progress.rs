//! Shows the progress of a long download. A terminal gets one line that is redrawn, and a log gets a line now and then. A short
//! download shows nothing.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{IsTerminal, Write as _};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{select, Either};

/// How long a download takes before it shows its progress.
const QUIET: Duration = Duration::from_secs(2);
/// The interval of redrawing the line on a terminal.
const REDRAWN: Duration = Duration::from_millis(200);
/// The interval of lines in a log.
const LOGGED: Duration = Duration::from_secs(10);

/// The progress of a download.
#[derive(Debug)]
pub(super) struct Progress {
    what: String,
    /// All bytes; 0 if the number is not known.
    bytes: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// Begins the progress of a download with `bytes` bytes; 0 if the number is not known.
    pub(super) fn new(what: impl Into<String>, bytes: u64) -> Self {
        Self { what: what.into(), bytes: AtomicU64::new(bytes), done: AtomicU64::new(0) }
    }

    /// Adds bytes that have come.
    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Begins again, with `done` of `bytes` bytes.
    #[cfg(feature = "http")]
    pub(super) fn restart(&self, bytes: u64, done: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }

    /// Does the work, and shows its progress meanwhile.
    ///
    /// # Cancel safety
    /// That of the work.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        let mut work = pin!(work);
        let mut wait = QUIET;
        let output = loop {
            match select(work, pin!(tokio::time::sleep(wait))).await {
                Either::Left((output, _)) => break output,
                Either::Right(((), rest)) => work = rest,
            }
            let done = self.done.load(Ordering::Relaxed);
            let line = line(&self.what, done, self.bytes.load(Ordering::Relaxed), start.elapsed());
            if is_terminal {
                wait = REDRAWN;
                draw(&line);
            } else {
                wait = LOGGED;
                tracing::info!("{line}");
            }
        };
        if is_terminal && start.elapsed() >= QUIET {
            draw("");
        }
        output
    }
}

/// Replaces the current line of the terminal.
fn draw(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[2K{line}");
    let _ = stderr.flush();
}

fn line(what: &str, done: u64, bytes: u64, elapsed: Duration) -> String {
    let per_second = u64::try_from(u128::from(done) * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX);
    let mut line = format!("{what}: {}", megabytes(done));
    if bytes > 0 {
        let _ = write!(line, " of {}", megabytes(bytes));
    }
    let _ = write!(line, " MB, {} MB/s", megabytes(per_second));
    if per_second > 0 && bytes > done {
        let seconds = (bytes - done).div_ceil(per_second);
        let _ = match seconds {
            0..=119 => write!(line, ", {seconds} s left"),
            _ => write!(line, ", {} min left", seconds.div_ceil(60)),
        };
    }
    line
}

/// Megabytes with one decimal.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_bytes_speed_and_time_left() {
        let check = |done, bytes, seconds, expected: &str| {
            assert_eq!(line("s3://b/m", done, bytes, Duration::from_secs(seconds)), expected);
        };
        check(12_345_678, 50_000_000, 4, "s3://b/m: 12.3 of 50.0 MB, 3.0 MB/s, 13 s left");
        check(1_000_000, 2_000_000_000, 1, "s3://b/m: 1.0 of 2000.0 MB, 1.0 MB/s, 34 min left");
        check(5_000_000, 0, 5, "s3://b/m: 5.0 MB, 1.0 MB/s");
        check(0, 10_000_000, 0, "s3://b/m: 0.0 of 10.0 MB, 0.0 MB/s");
        check(10_000_000, 10_000_000, 1, "s3://b/m: 10.0 of 10.0 MB, 10.0 MB/s");
    }
}
