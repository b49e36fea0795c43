//! The gRPC listener: a tonic server with its own threads, on a port, on a UNIX socket, or on both.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tfweb_engine::{Code, Error};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;
use tonic::transport::Server;
use tower_layer::{Identity, Stack};

use super::connections::limited;
use super::gate::{Gate, Shared};
use super::handshakes;
use super::observe::Observe;
use super::protocol::GrpcProtocol;
use super::receive::StampArrival;
use super::services::Services;
use super::unix_socket;
use crate::observe::Telemetry;
use crate::transport::body_limits::BodyLimits;
use crate::transport::http2_limits::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAMS_MAX, STREAM_WINDOW_BYTES};
use crate::transport::request_id::RequestIds;
use crate::transport::sockets;
use crate::transport::tls::Tls;
use crate::transport::tokens::Access;

/// The most open connections. Further ones wait until one ends.
const CONNECTIONS_MAX: usize = 4096;
/// The interval of pings on a silent connection, and the time limit of their answers.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(20);

/// The settings of the gRPC listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The port; 0 for none.
    pub port: u16,
    /// Whether the port is the default, and not one that the user chose.
    pub is_default_port: bool,
    /// A UNIX socket to listen on, with or without a port.
    pub socket_path: Option<PathBuf>,
    /// The most bytes of one message.
    pub message_bytes_max: usize,
}

/// The protocols that the listener serves, with the parts that they share.
pub struct GrpcParts {
    /// The protocols.
    pub protocols: Arc<[Arc<dyn GrpcProtocol>]>,
    /// TLS; `None` for plain connections.
    pub tls: Option<Arc<Tls>>,
    /// The tokens.
    pub access: Arc<Access>,
    /// The limits of bodies.
    pub bodies: BodyLimits,
    /// The time limit of one call.
    pub request_timeout: Duration,
    /// Makes ids for calls without one.
    pub request_ids: Arc<RequestIds>,
    /// Observes each call.
    pub telemetry: Arc<Telemetry>,
}

/// A running gRPC server. When it is dropped, it stops at once.
pub struct GrpcListener {
    address: Option<SocketAddr>,
    socket_path: Option<PathBuf>,
    stopping: watch::Sender<bool>,
    servers: Vec<ServerTask>,
    shared: Arc<Shared>,
    _threads: OwnThreads,
}

type ServerTask = JoinHandle<Result<(), tonic::transport::Error>>;

/// The listener's own threads. A dropped runtime would wait for them, which must not happen on another runtime's thread.
struct OwnThreads(Option<Runtime>);

impl Drop for OwnThreads {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl GrpcListener {
    /// Starts to listen and to serve.
    ///
    /// # Errors
    /// `Unavailable` if it cannot listen on the address or the socket.
    pub fn start(host: &str, settings: &Settings, parts: GrpcParts) -> Result<Self, Error> {
        let system = |error: io::Error| Error::internal(format!("gRPC: {error}"));
        let runtime = Builder::new_multi_thread().thread_name("tfweb-grpc").enable_all().build().map_err(system)?;
        let handle = runtime.handle().clone();
        let threads = OwnThreads(Some(runtime));
        let _inside = handle.enter();

        let limits = BodyLimits { body_bytes_max: settings.message_bytes_max, ..parts.bodies.clone() };
        let mut services = Services::new(limits, parts.request_timeout);
        for protocol in &*parts.protocols {
            Arc::clone(protocol).add_services(&mut services)?;
        }
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stopping = watch::Sender::new(false);
        let shared = Arc::new(Shared::new(stopping.subscribe(), Arc::clone(&parts.access), Arc::clone(&parts.protocols)));
        let gate = StampArrival(Gate::new(services.finish()?, Arc::clone(&shared)));
        let server = || server(&parts);
        let (mut servers, mut address) = (Vec::new(), None);
        let sockets = match settings.port {
            0 => Vec::new(),
            port => sockets::listen(host, port).map_err(|error| unavailable(host, settings, &error))?,
        };
        for socket in sockets {
            socket.set_nonblocking(true).map_err(system)?;
            let own_address = socket.local_addr().map_err(system)?;
            address = address.or(Some(own_address));
            let listener = tokio::net::TcpListener::from_std(socket).map_err(system)?;
            let (gate, permits, stop) = (gate.clone(), Arc::clone(&permits), stop(&stopping));
            servers.push(if let Some(tls) = &parts.tls {
                let acceptor = TlsAcceptor::from(Arc::new(tls.server_config(&[b"h2"])?));
                let incoming = Box::pin(handshakes::accept(listener, acceptor));
                handle.spawn(server().serve_with_incoming_shutdown(gate, limited(incoming, permits), stop))
            } else {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                handle.spawn(server().serve_with_incoming_shutdown(gate, limited(incoming, permits), stop))
            });
        }
        if let Some(path) = &settings.socket_path {
            let listener = unix_socket::listen(path).map_err(|error| {
                Error::new(Code::Unavailable, format!("cannot listen on --grpc_socket_path `{}`: {error}", path.display()))
            })?;
            listener.set_nonblocking(true).map_err(system)?;
            let incoming =
                limited(unix_socket::connections(tokio::net::UnixListener::from_std(listener).map_err(system)?), permits);
            servers.push(handle.spawn(server().serve_with_incoming_shutdown(gate, incoming, stop(&stopping))));
        }
        Ok(Self { address, socket_path: settings.socket_path.clone(), stopping, servers, shared, _threads: threads })
    }

    /// The first address of the port, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops in order: accepts no more connections and finishes the calls in flight, until `limit` at most. Returns how many
    /// calls have not finished.
    ///
    /// # Errors
    /// If a listener has failed.
    pub async fn stop(mut self, limit: Instant) -> io::Result<usize> {
        self.stopping.send_replace(true);
        if let Some(path) = &self.socket_path {
            unix_socket::remove(path);
        }
        let servers = join_all(self.servers.drain(..));
        // If this takes longer and no call is unfinished, a connection's client does not answer. That is no failure.
        for server in tokio::time::timeout_at(limit.into(), servers).await.unwrap_or_default() {
            server.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        Ok(self.shared.in_flight())
    }
}

/// Ends when the server stops.
fn stop(stopping: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopping = stopping.subscribe();
    async move {
        // An error means that the listener was dropped, which is a stop too.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

fn server(parts: &GrpcParts) -> Server<Stack<Observe, Identity>> {
    Server::builder()
        .layer(Observe::new(&parts.telemetry, &parts.request_ids, &parts.protocols))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_WAIT))
}

fn unavailable(host: &str, settings: &Settings, error: &io::Error) -> Error {
    let hint = if settings.is_default_port { "; --grpc_port takes another port, and 0 for none" } else { "" };
    Error::new(Code::Unavailable, format!("cannot listen on {host}:{} for gRPC: {error}{hint}", settings.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_nobody_asked_for_names_its_flag() {
        let mut settings = Settings { port: 50051, is_default_port: true, socket_path: None, message_bytes_max: 1 };
        let text = |settings: &Settings| unavailable("::", settings, &io::Error::from(io::ErrorKind::AddrInUse)).message;
        let expect = "cannot listen on :::50051 for gRPC: address in use; --grpc_port takes another port, and 0 for none";
        assert_eq!(text(&settings), expect);
        settings.is_default_port = false;
        assert!(text(&settings).ends_with("address in use"));
    }
}
