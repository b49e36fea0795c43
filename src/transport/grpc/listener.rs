//! The gRPC door: a tonic server on a runtime and threads of its own, on a port, a UNIX socket, or both.

mod bounded;
mod connections;
mod gate;
mod handshakes;
mod receive;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, Stream};
use tfweb_engine::{Code, Error};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{watch, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;
use tower_layer::{Identity, Stack};

use crate::body::Limits;
use crate::config::GrpcConfig;
use crate::http::App;
use crate::http2::{CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, STREAMS_MAX, STREAM_WINDOW_BYTES};
use crate::protocol::tf_serving_grpc::Door;
use crate::telemetry::Observe;
use crate::tls::Tls;
use tfweb_proto::model_server::ModelServer;
use tfweb_proto::tensorflow::serving::model_service_server::ModelServiceServer;
use tfweb_proto::tensorflow::serving::prediction_service_server::PredictionServiceServer;
use tfweb_proto::DESCRIPTORS;

use bounded::Bounded;
use connections::limited;
use gate::{Gate, Shared};
use receive::{Arrive, Receive};

/// Connections at once; further ones wait until one ends.
const CONNECTIONS_MAX: usize = 4096;
/// The most bytes of a message that asks for health or descriptors.
const QUESTION_BYTES_MAX: usize = 16 << 10;
/// How often to ask a silent connection whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_WAIT: Duration = Duration::from_secs(20);

/// A gRPC server that listens. Dropped, it stops at once.
pub struct Grpc {
    address: Option<SocketAddr>,
    socket_path: Option<PathBuf>,
    stopping: watch::Sender<bool>,
    servers: Vec<Serving>,
    shared: Arc<Shared>,
    _threads: Threads,
}

type Serving = JoinHandle<Result<(), tonic::transport::Error>>;

/// The door's own runtime. One that is simply dropped would wait, which another runtime's thread must not.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Grpc {
    /// Starts to listen and serves.
    ///
    /// # Errors
    /// `Unavailable` where the address or the socket cannot be listened on.
    pub fn start(host: &str, config: &GrpcConfig, tls: Option<&Arc<Tls>>, app: Arc<App>) -> Result<Self, Error> {
        let system = |error: io::Error| Error::internal(format!("gRPC: {error}"));
        let runtime = Builder::new_multi_thread().thread_name("tfweb-grpc").enable_all().build().map_err(system)?;
        let handle = runtime.handle().clone();
        let threads = Threads(Some(runtime));
        let _inside = handle.enter();

        let door = Door { app: Arc::clone(&app), message_bytes_max: config.message_bytes_max, typed_values: config.typed_values };
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let stopping = watch::Sender::new(false);
        let shared = Arc::new(Shared::new(stopping.subscribe(), Arc::clone(&app.access)));
        let gate = Arrive(Gate::new(services(&door)?, Arc::clone(&shared)));
        let (mut servers, mut address) = (Vec::new(), None);
        if config.port != 0 {
            let listener = TcpListener::bind((host, config.port)).map_err(|error| unavailable(host, config, &error))?;
            listener.set_nonblocking(true).map_err(system)?;
            address = Some(listener.local_addr().map_err(system)?);
            let listener = tokio::net::TcpListener::from_std(listener).map_err(system)?;
            let (gate, places, stop) = (gate.clone(), Arc::clone(&places), stop(&stopping));
            servers.push(if let Some(tls) = tls {
                let acceptor = TlsAcceptor::from(Arc::new(tls.server_config(&[b"h2"])?));
                let incoming = Box::pin(handshakes::agreed(listener, acceptor));
                handle.spawn(server(&app).serve_with_incoming_shutdown(gate, limited(incoming, places), stop))
            } else {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                handle.spawn(server(&app).serve_with_incoming_shutdown(gate, limited(incoming, places), stop))
            });
        }
        if let Some(path) = &config.socket_path {
            let listener = listen(path).map_err(|error| {
                Error::new(Code::Unavailable, format!("cannot listen on --grpc_socket_path `{}`: {error}", path.display()))
            })?;
            listener.set_nonblocking(true).map_err(system)?;
            let incoming = limited(connections(tokio::net::UnixListener::from_std(listener).map_err(system)?), places);
            servers.push(handle.spawn(server(&app).serve_with_incoming_shutdown(gate, incoming, stop(&stopping))));
        }
        Ok(Self { address, socket_path: config.socket_path.clone(), stopping, servers, shared, _threads: threads })
    }

    /// Where it listens, if on a port.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops: accepting ends, requests in flight finish, until `limit` at most. Gives how many have not finished.
    ///
    /// # Errors
    /// If a listener has failed.
    pub async fn stop(mut self, limit: Instant) -> io::Result<usize> {
        self.stopping.send_replace(true);
        if let Some(path) = &self.socket_path {
            // Gone already, it needs no removing.
            let _ = std::fs::remove_file(path);
        }
        let servers = join_all(self.servers.drain(..));
        // What takes longer, if no request, is a connection whose client does not answer.
        for server in tokio::time::timeout_at(limit.into(), servers).await.unwrap_or_default() {
            server.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        Ok(self.shared.inside())
    }
}

/// Ends when the server is to stop.
fn stop(stopping: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopping = stopping.subscribe();
    async move {
        // A sender that is gone means the same.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// All services.
fn services(door: &Door) -> Result<Routes, Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let undescribed = |error: tonic_reflection::server::Error| Error::internal(format!("gRPC reflection: {error}; this is a bug"));
    let bytes_max = door.message_bytes_max;
    Ok(Routes::new(received(PredictionServiceServer::new(door.clone()).max_decoding_message_size(bytes_max), door))
        .add_service(received(ModelServiceServer::new(door.clone()).max_decoding_message_size(bytes_max), door))
        .add_service(received(ModelServer::new(door.clone()).max_decoding_message_size(bytes_max), door))
        .add_service(question(HealthServer::new(door.clone()).max_decoding_message_size(QUESTION_BYTES_MAX)))
        .add_service(question(reflection().build_v1().map_err(undescribed)?.max_decoding_message_size(QUESTION_BYTES_MAX)))
        // Most clients still ask for the older name of the same.
        .add_service(question(reflection().build_v1alpha().map_err(undescribed)?.max_decoding_message_size(QUESTION_BYTES_MAX))))
}

/// A service that takes tensors or a configuration.
fn received<S>(service: S, door: &Door) -> Receive<Bounded<S>> {
    let bytes_max = door.message_bytes_max;
    let limits = Limits { body_bytes_max: bytes_max, room: Arc::clone(&door.app.bodies.room) };
    Receive::new(Bounded::new(service, bytes_max, "; raise --grpc_message_size"), limits, door.app.request_timeout)
}

/// A service that is asked for health or descriptors.
fn question<S>(service: S) -> Bounded<S> {
    Bounded::new(service, QUESTION_BYTES_MAX, "")
}

fn server(app: &Arc<App>) -> Server<Stack<Observe, Identity>> {
    Server::builder()
        .layer(Observe(Arc::clone(app)))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_WAIT))
}

fn unavailable(host: &str, config: &GrpcConfig, error: &io::Error) -> Error {
    let hint = if config.is_default_port { "; --grpc_port takes another port, and 0 for none" } else { "" };
    Error::new(Code::Unavailable, format!("cannot listen on {host}:{} for gRPC: {error}{hint}", config.port))
}

/// Listens on a socket; in the place of one that a server has left behind, but not of one that is listened on.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
}

fn connections(listener: tokio::net::UnixListener) -> impl Stream<Item = io::Result<tokio::net::UnixStream>> + Unpin {
    let accept =
        |listener: tokio::net::UnixListener| async move { Some((listener.accept().await.map(|(stream, _)| stream), listener)) };
    Box::pin(stream::unfold(listener, accept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_nobody_asked_for_names_its_flag() {
        let mut config =
            GrpcConfig { port: 50051, is_default_port: true, socket_path: None, message_bytes_max: 1, typed_values: false };
        let text = |config: &GrpcConfig| unavailable("::", config, &io::Error::from(io::ErrorKind::AddrInUse)).message;
        let expect = "cannot listen on :::50051 for gRPC: address in use; --grpc_port takes another port, and 0 for none";
        assert_eq!(text(&config), expect);
        config.is_default_port = false;
        assert!(text(&config).ends_with("address in use"));
    }
}
