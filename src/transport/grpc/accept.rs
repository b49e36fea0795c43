//! Accepts connections, and serves each in a task of its own. TLS handshakes run there too, so that a silent or slow client delays
//! no other.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{self, stopped, Timeouts};
use super::connections::{Connections, OpenConnection};
use super::exchange::CallServices;
use crate::transport::tls;

/// The pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// The pause where another connection closes meanwhile, and gives its descriptor back.
const ACCEPT_SOON: Duration = Duration::from_millis(1);

/// The parts that connections need.
#[derive(Clone)]
pub(super) struct Accepting {
    pub(super) services: CallServices,
    pub(super) connections: Arc<Connections>,
    pub(super) timeouts: Timeouts,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Serves the connections to a port until the server stops and the last of them has ended.
pub(super) async fn accept_tcp(listener: TcpListener, acceptor: Option<TlsAcceptor>, accepting: Accepting) {
    let accept = async move || listener.accept().await;
    let serve = |(tcp, client): (TcpStream, SocketAddr), open: OpenConnection, accepting: Accepting| {
        let acceptor = acceptor.clone();
        async move {
            let client = Some(client.ip());
            match acceptor {
                None => {
                    // An error only means that small answers come later.
                    let _ = tcp.set_nodelay(true);
                    accepting.serve(tcp, client, open).await;
                }
                Some(acceptor) => {
                    // A handshake has its own time limit, also at a stop.
                    let handshake = tokio::select! {
                        handshake = tls::handshake(&acceptor, tcp) => handshake,
                        () = open.must_close() => return,
                    };
                    match handshake {
                        Ok(stream) => accepting.serve(stream, client, open).await,
                        Err(error) => tracing::debug!("gRPC: no TLS: {error}"),
                    }
                }
            }
        }
    };
    accepting.run(accept, serve).await;
}

/// Serves the connections to a UNIX socket until the server stops and the last of them has ended.
pub(super) async fn accept_unix(listener: UnixListener, accepting: Accepting) {
    let serve = |(stream, _), open, accepting: Accepting| async move { accepting.serve(stream, None, open).await };
    accepting.run(async move || listener.accept().await, serve).await;
}

impl Accepting {
    async fn serve<T>(self, io: T, client: Option<IpAddr>, open: OpenConnection)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        connection::serve(io, client, self.services, open, self.timeouts, self.stopping).await;
    }

    async fn run<C, S>(self, accept: impl AsyncFn() -> io::Result<C>, serve: impl Fn(C, OpenConnection, Self) -> S)
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let mut served = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                Some(_) = served.join_next() => continue,
                () = stopped(self.stopping.clone()) => break,
            };
            match accepted {
                Ok(connection) => match self.connections.enter() {
                    Some(open) => drop(served.spawn(serve(connection, open, self.clone()))),
                    None => tracing::debug!("gRPC: every connection is busy; a new one is closed"),
                },
                Err(error) => {
                    tracing::debug!("gRPC: cannot accept: {error}");
                    // It may be for lack of file descriptors.
                    let closes = self.connections.close_silent();
                    tokio::time::sleep(if closes { ACCEPT_SOON } else { ACCEPT_AGAIN }).await;
                }
            }
        }
        // The socket closes, so that clients go elsewhere.
        drop(accept);
        while served.join_next().await.is_some() {}
    }
}
