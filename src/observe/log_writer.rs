//! Writes log lines to stderr from a thread of its own. A thread that logs never waits for the reader of stderr. If the queue is
//! full, the writer drops lines, counts them, and later logs how many.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The most lines and the most bytes in the queue. With an access line for each request at full load, the thread takes this many
/// in about fifteen turns.
const LINES_MAX: usize = 4096;
const BYTES_MAX: usize = 8 << 20;
/// The pause of the thread after each write. To wake the thread for each line would cost the loggers more than the line.
const LINGER: Duration = Duration::from_millis(5);
/// The thread writes lines together, in pieces of about this many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// The interval of tries to put a flush into a full queue.
const RETRY: Duration = Duration::from_millis(1);

enum Message {
    Line(Vec<u8>),
    /// Write everything before this message, then answer on the channel.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// Queues lines. It never waits.
#[derive(Clone)]
pub(super) struct LineWriter {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
    /// Whether later lines of a record are indented, so that a client's text cannot look like a record of its own.
    indents: bool,
}

impl LineWriter {
    /// Starts the writing thread.
    pub(super) fn start(out: impl Write + Send + 'static, indents: bool) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new().name("tfweb-log".into()).spawn(move || write(&lines, out, &shared))?;
        Ok(Self { queue, counts, indents })
    }

    /// Queues a line with its line end.
    pub(super) fn put(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.counts.bytes.fetch_add(length, Ordering::Relaxed);
        let has_room = before + length <= BYTES_MAX;
        if !has_room || self.queue.try_send(Message::Line(line)).is_err() {
            self.counts.bytes.fetch_sub(length, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all earlier lines are written, for `wait` at most.
    pub(super) fn flush(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            thread::sleep(RETRY);
        }
        // The wait ends in any case. If the lines could not be written, the log cannot say so either.
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Writes until the last sender is dropped.
fn write(lines: &Receiver<Message>, mut out: impl Write, counts: &Counts) {
    let mut buffer = Vec::with_capacity(WRITE_BYTES);
    let mut flushing: Vec<SyncSender<()>> = Vec::new();
    loop {
        let mut next = if flushing.is_empty() { lines.recv().ok() } else { lines.try_recv().ok() };
        if next.is_none() {
            if flushing.is_empty() {
                return;
            }
            // The queue is empty, so the warning about dropped lines below is written too. A receiver may have given up; that is
            // no error.
            for done in flushing.drain(..) {
                let _ = done.try_send(());
            }
        }
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    counts.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    buffer.extend_from_slice(&line);
                }
                Message::Flush(done) => flushing.push(done),
            }
            next = if buffer.len() < WRITE_BYTES { lines.try_recv().ok() } else { None };
        }
        // Logged now, because the loop above has just made room in the queue.
        let dropped = counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "{dropped} lines of this log were dropped: nobody read stderr fast enough");
        }
        // If nobody reads stderr any more, the server goes on.
        let _ = out.write_all(&buffer).and_then(|()| out.flush());
        buffer.clear();
        if flushing.is_empty() {
            thread::sleep(LINGER);
        }
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &LineWriter {
    /// Queues a whole record. The formatter writes each record in one call.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.put(if self.indents { indented(record) } else { record.to_vec() });
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Indents every line of a record except the first.
fn indented(record: &[u8]) -> Vec<u8> {
    let (text, end) = record.split_at(record.len().saturating_sub(1));
    let mut line = Vec::with_capacity(record.len());
    for &byte in text {
        match byte {
            b'\n' => line.extend_from_slice(b"\n    "),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(byte),
        }
    }
    line.extend_from_slice(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    /// A writer that blocks while its lock is held.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_flushed() {
        let out = Slow::default();
        let writer = LineWriter::start(out.clone(), false).unwrap();
        (0..1000).for_each(|i| writer.put(format!("{i}\n").into_bytes()));
        writer.flush(Duration::from_secs(10));
        let expect: String = (0..1000).map(|i| format!("{i}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&out.0.lock().unwrap()), expect);
    }

    #[test]
    fn a_slow_reader_costs_lines_and_no_time() {
        let out = Slow::default();
        let writer = LineWriter::start(out.clone(), false).unwrap();
        let held = out.0.lock().unwrap();
        let begun = Instant::now();
        (0..4 * LINES_MAX).for_each(|_| writer.put(vec![b'x'; 100]));
        writer.put(vec![b'x'; BYTES_MAX]);
        writer.flush(Duration::from_millis(20));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(writer.counts.bytes.load(Ordering::Relaxed) <= BYTES_MAX);
        drop(held);
        writer.flush(Duration::from_secs(10));
        let written = out.0.lock().unwrap().len() / 100;
        // The lines of the queue, and those that the thread had taken.
        assert!((LINES_MAX..2 * LINES_MAX).contains(&written), "{written}");
        assert_eq!(writer.counts.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn records_of_several_lines_are_indented() {
        assert_eq!(indented(b"one\n"), b"one\n");
        assert_eq!(indented(b"one\n2026 INFO two\r3\n"), b"one\n    2026 INFO two\\r3\n");
        assert_eq!(indented(b""), b"");
    }
}
