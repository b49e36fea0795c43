//! The gRPC listener: its own threads, which accept connections on a port, on a UNIX socket, or on both.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join;
use tfweb_actors::idle_memory::{give_back_before_waiting, give_back_each_second};
use tfweb_engine::{Code, Error};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_layer::Layer;

use super::accept::{accept_tcp, accept_unix, Accepting};
use super::connection::Timeouts;
use super::connections::Connections;
use super::gate::{Gate, Shared};
use super::observe::Observe;
use super::protocol::GrpcProtocol;
use super::services::Services;
use super::unix_socket;
use crate::observe::Telemetry;
use crate::transport::body_limits::BodyLimits;
use crate::transport::descriptors;
use crate::transport::request_id::RequestIds;
use crate::transport::sockets;
use crate::transport::tls::Tls;
use crate::transport::tokens::Access;

/// The most open connections. With a further one, the longest silent one closes. Each of them holds at most some 160 KiB that nobody
/// counts.
const CONNECTIONS_MAX: usize = 4096;

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
    /// The sockets of the port and that of the path, on which `servers` accept.
    sockets: (Vec<TcpListener>, Option<UnixListener>),
    stopping: watch::Sender<bool>,
    /// Each accepts connections, and ends with the last of them.
    servers: JoinSet<()>,
    connections: Arc<Connections>,
    _threads: OwnThreads,
}

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
        let mut runtime = Builder::new_multi_thread();
        runtime.thread_name("tfweb-grpc").on_thread_park(give_back_before_waiting).enable_all();
        let runtime = runtime.build().map_err(system)?;
        // It wakes a thread that waits. A thread that does not wake holds what it has freed last.
        runtime.spawn(give_back_each_second());
        let handle = runtime.handle().clone();
        let threads = OwnThreads(Some(runtime));
        let _inside = handle.enter();

        let limits = BodyLimits { body_bytes_max: settings.message_bytes_max, ..parts.bodies.clone() };
        let mut services = Services::new(limits, parts.request_timeout);
        for protocol in &*parts.protocols {
            Arc::clone(protocol).add_services(&mut services)?;
        }
        let stopping = watch::Sender::new(false);
        let shared = Shared::new(stopping.subscribe(), Arc::clone(&parts.access), Arc::clone(&parts.protocols));
        let observe = Observe::new(&parts.telemetry, &parts.request_ids, &parts.protocols);
        let services = observe.layer(Gate::new(services.finish()?, shared));
        let connections = Connections::new(descriptors::connections_max(CONNECTIONS_MAX));
        let accepting = Accepting {
            services,
            connections: Arc::clone(&connections),
            timeouts: Timeouts::DEFAULT,
            stopping: stopping.subscribe(),
        };
        let (mut servers, mut address) = (JoinSet::new(), None);
        let sockets = match settings.port {
            0 => Vec::new(),
            port => sockets::listen(host, port).map_err(|error| unavailable(host, settings, &error))?,
        };
        for socket in &sockets {
            socket.set_nonblocking(true).map_err(system)?;
            address = address.or(Some(socket.local_addr().map_err(system)?));
            let listener = socket.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(system)?;
            let tls = parts.tls.as_ref().map(|tls| tls.server_config(&[b"h2"])).transpose()?;
            let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
            servers.spawn(accept_tcp(listener, acceptor, accepting.clone()));
        }
        let mut unix_socket = None;
        if let Some(path) = &settings.socket_path {
            let socket = unix_socket::listen(path).map_err(|error| {
                Error::new(Code::Unavailable, format!("cannot listen on --grpc_socket_path `{}`: {error}", path.display()))
            })?;
            socket.set_nonblocking(true).map_err(system)?;
            let listener = socket.try_clone().and_then(tokio::net::UnixListener::from_std).map_err(system)?;
            servers.spawn(accept_unix(listener, accepting));
            unix_socket = Some(socket);
        }
        let (socket_path, sockets) = (settings.socket_path.clone(), (sockets, unix_socket));
        Ok(Self { address, socket_path, sockets, stopping, servers, connections, _threads: threads })
    }

    /// The first address of the port, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops in order: accepts no more connections and finishes the calls in flight, until `limit` at most. Returns how many
    /// calls have not finished.
    pub async fn stop(mut self, limit: Instant) -> usize {
        if let Some(path) = &self.socket_path {
            unix_socket::remove(path);
        }
        let (tcp, unix) = &self.sockets;
        tcp.iter().for_each(sockets::ignore_new);
        join(sockets::until_accepted(tcp, limit), sockets::until_accepted(unix.as_slice(), limit)).await;
        self.stopping.send_replace(true);
        self.sockets = (Vec::new(), None);
        let ended = async { while self.servers.join_next().await.is_some() {} };
        // If this takes longer, calls are unfinished: each connection has a shorter time of its own.
        let _ = tokio::time::timeout_at(limit.into(), ended).await;
        self.connections.calls()
    }
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
