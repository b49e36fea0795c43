//! The time limits of a connection.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// The slowest client that is answered takes this many bytes a second. The slowest mobile networks are about as fast.
pub(super) const ANSWER_BYTES_PER_SECOND: u32 = 16 << 10;
/// The most bytes that are read and thrown away on a connection that closes, or of a body whose request is answered. Many clients
/// read no answer before they have sent a whole body, also one that is far too large.
pub(super) const DISCARD_BYTES_MAX: usize = 128 << 20;

/// The time limits of a connection.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// Until its first request has come.
    pub(super) head: Duration,
    /// Until its next request, after all others are answered.
    pub(super) keep_alive: Duration,
    /// Until it takes more of an answer.
    pub(super) stall: Duration,
    /// The same while the server stops.
    pub(super) stop_stall: Duration,
    /// After it was told to close: until its last requests have come, and until it closes. Also until it has sent the rest of a
    /// body whose request is answered.
    pub(super) linger: Duration,
    /// Until it is told to close after its next answer.
    pub(super) age: Duration,
}

/// Waits until connections are told to close.
pub(super) async fn closing(mut closing_signal: watch::Receiver<bool>) {
    // An error means that the listener was dropped, which ends its connections too.
    let _ = closing_signal.wait_for(|close| *close).await;
}

/// Waits until connections close that have sent nothing: a while after connections are told to close.
pub(super) async fn closed(closing_signal: watch::Receiver<bool>, linger: Duration) {
    closing(closing_signal).await;
    sleep(linger).await;
}
