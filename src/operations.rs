//! The port for who operates the server (`--admin_port`): plain HTTP without tokens, for networks that only they reach.

use std::io;
use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use actix_web::{web, HttpServer};
use tokio::task::JoinHandle;

use crate::http::{mount_operations, App};

/// Threads of it: what it answers takes no time.
const WORKERS: usize = 1;
/// Connections that it holds at most.
const CONNECTIONS_MAX: usize = 256;

/// A port that listens, and a server behind it.
pub struct Operations {
    address: SocketAddr,
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
}

impl Operations {
    /// Starts to listen. Needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(host: &str, port: u16, app: &web::Data<App>) -> io::Result<Self> {
        let app = app.clone();
        let http = HttpServer::new(move || actix_web::App::new().configure(|services| mount_operations(services, &app)));
        let http = http.disable_signals().workers(WORKERS).max_connections(CONNECTIONS_MAX).bind((host, port))?;
        let address = http.addrs()[0];
        let server = http.run();
        Ok(Self { address, handle: server.handle(), ended: actix::spawn(server) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops at once: whoever asks next finds nobody, which is true.
    ///
    /// # Errors
    /// If the listener has failed.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(false).await;
        self.ended.await.map_err(io::Error::other)?
    }
}
