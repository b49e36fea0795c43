//! How long connections wait, and for what.

use std::time::Duration;

use tokio::sync::watch;

/// How long a client may leave a connection waiting.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    /// For its first request.
    pub(super) head: Duration,
    /// For the next request, when all others are answered.
    pub(super) keep_alive: Duration,
    /// With an answer of which it takes no more.
    pub(super) take: Duration,
    /// With requests that were on their way when it was told to go, for its end after that, and with the rest of a body whose request
    /// is answered.
    pub(super) linger: Duration,
}

/// Waits until connections are told to close.
pub(super) async fn leaving(mut told: watch::Receiver<bool>) {
    // The sender is dropped with its listener, and then nobody is told any more.
    let _ = told.wait_for(|leave| *leave).await;
}
