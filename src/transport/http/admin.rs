//! The port for who operates the server (`--admin_port`): plain HTTP without tokens, for networks that only they reach.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::web;

use crate::http::{mount_operations, App};
use crate::listener::{Listener, Listening};

/// Threads of it: what it answers takes no time.
const WORKERS: usize = 1;
/// Connections that it holds at most.
const CONNECTIONS_MAX: usize = 256;
/// How long an idle connection is kept: they are few, and who asks for health or figures asks seldom.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A port that listens, and a server behind it.
pub struct Operations(Listener);

impl Operations {
    /// Starts to listen. Needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(host: &str, port: u16, app: &web::Data<App>) -> io::Result<Self> {
        let app = app.clone();
        let listening = Listening {
            tls: None,
            workers: Some(WORKERS),
            connections_max: CONNECTIONS_MAX,
            keep_alive: KEEP_ALIVE,
            // It is not stopped in order.
            stop_seconds: 0,
            is_observed: false,
        };
        Listener::start((host, port), &listening, move |services| mount_operations(services, &app)).map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Stops at once: whoever asks next finds nobody, which is true.
    ///
    /// # Errors
    /// If the listener has failed.
    pub async fn stop(self) -> io::Result<()> {
        self.0.cut_off().await
    }
}
