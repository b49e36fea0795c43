//! The signals that stop a server, and the one that makes it look for changes.

use std::io;

use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::watched_files::LookAgain;

/// Receives the signals. It listens before TensorFlow is loaded, which takes a while, so that no signal kills the process without an
/// ordered stop.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Ends pauses at SIGHUP.
    pub look_again: LookAgain,
}

impl Signals {
    /// Starts listening for SIGTERM, SIGINT and SIGHUP. It needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (ask, look_again) = LookAgain::new();
        actix::spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP: looking for changes of models, tokens and certificates now");
                ask.send_replace(());
            }
        });
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, look_again })
    }

    /// Waits for a signal that stops the server, and gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
