//! The time limits of a connection.

use std::time::Duration;

use tokio::sync::watch;

/// The time limits of a connection, in which the client must do something.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// Until its first request has come.
    pub(super) head: Duration,
    /// Until its next request, after all others are answered.
    pub(super) keep_alive: Duration,
    /// Until it reads more of an answer.
    pub(super) stall: Duration,
    /// After it was told to close: until its last requests have come, and until it closes. Also until it has sent the rest of a
    /// body whose request is answered.
    pub(super) linger: Duration,
}

/// Waits until connections are told to close.
pub(super) async fn closing(mut closing_signal: watch::Receiver<bool>) {
    // An error means that the listener was dropped, which ends its connections too.
    let _ = closing_signal.wait_for(|close| *close).await;
}
