//! An HTTP listener, with TLS or without. actix-server accepts connections and has the threads. hyper speaks HTTP/1.1. h2 speaks
//! HTTP/2, to clients that begin with it or choose it in the TLS handshake. actix-web routes and answers the requests of both.
//! actix-web's own listener has five faults for this server. It holds whatever a client sends ahead and reads no answers to. It
//! treats an offer to upgrade as agreed. When it stops, it drops connections that it has accepted and not begun to serve. It does
//! not tell HTTP/2 clients that the server stops. It goes on with an HTTP/2 request after its client has gone away.

mod activity;
mod answer_body;
mod client_stream;
mod connections;
mod handler;
mod http1;
mod http2;
mod http2_request;
mod linger;
mod lookout;
mod refusal;
mod request_body;
mod settings;
mod timeouts;
mod translate;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ::http::HeaderValue;
use actix_http::{Request, Response};
use actix_server::{Server, ServerBuilder, ServerHandle};
use actix_service::{fn_factory, fn_service, map_config, IntoServiceFactory, ServiceFactory, ServiceFactoryExt};
use actix_web::dev::AppConfig;
use actix_web::middleware::{from_fn, Condition};
use actix_web::rt::net::TcpStream;
use tfweb_actors::idle_memory::give_back_each_second;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{watch, Barrier};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::observe::observe;
use super::services::HttpServices;
use crate::transport::{sockets, tls};
use activity::Activity;
use client_stream::ClientStream;
use connections::Connections;
use handler::{Handler, Shared};
use timeouts::{closed, closing, Timeouts};

pub use settings::ListenerSettings;

/// The name of HTTP/2 in the TLS handshake (ALPN).
pub const HTTP2: &[u8] = b"h2";

/// The time limit for the head of a request.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a client may go on sending a refused body, so that it comes to read the answer.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take nothing of its answer. A slow line recovers long before.
const STALL_WAIT: Duration = Duration::from_secs(60);
/// The same while the server stops.
const STOP_STALL_WAIT: Duration = Duration::from_secs(5);
/// How long a connection serves. An hour is far longer than any request, and soon enough that the connections of all clients
/// spread over the servers behind a balancer.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// Connections that a worker accepts beyond its limit. Each of them ends one that waits for its client.
const CONNECTIONS_SPARE: usize = 64;
/// How long a client that has just connected may take for its first byte when the server stops.
const BEGIN_WAIT: Duration = Duration::from_secs(2);
/// The turns after which a worker has begun with all connections that were accepted. tokio lets it begin with 128 in a turn, and the
/// system queues 4,096. When actix stops a worker, it drops the others.
const TURNS: usize = 64;

/// A server on one host and port.
pub struct Listener {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
    drain: watch::Sender<bool>,
    close: watch::Sender<bool>,
    begun: Arc<Barrier>,
}

impl Listener {
    /// Starts to listen. It needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// If it cannot listen on any address of the host.
    pub fn start(host: &str, port: u16, settings: &ListenerSettings, services: &HttpServices) -> io::Result<Self> {
        let sockets = sockets::listen(host, port)?;
        let address = sockets[0].local_addr()?;
        let (drain, close) = (watch::Sender::new(false), watch::Sender::new(false));
        let workers = settings.workers.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let begun = Arc::new(Barrier::new(sockets.len() * workers + 1));
        let signals = Signals { draining: drain.subscribe(), closing: close.subscribe(), begun: Arc::clone(&begun) };
        let (connections_max, spare) = share(settings.connections_max, workers);
        let settings = ListenerSettings { connections_max, ..settings.clone() };
        let mut builder = Server::build()
            .disable_signals()
            .workers(workers)
            .max_concurrent_connections(connections_max + spare)
            .shutdown_timeout(settings.stop_seconds);
        for socket in &sockets {
            builder = serve(builder, socket, settings.clone(), services.clone(), signals.clone())?;
        }
        let server = builder.run();
        Ok(Self { sockets, address, handle: server.handle(), ended: actix::spawn(server), drain, close, begun })
    }

    /// The address of the first socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the connections that are open now to close after their next answer, so that clients and balancers choose a server
    /// again. Later connections are kept open, because a client that is sent back here would only connect once more.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Stops in order: refuses new connections, answers the requests on open ones, and closes them. It should be done at `limit`.
    ///
    /// # Errors
    /// If the listener has failed.
    pub async fn stop(self, limit: Instant) -> io::Result<()> {
        self.sockets.iter().for_each(sockets::ignore_new);
        sockets::until_accepted(&self.sockets, limit).await;
        self.close.send_replace(true);
        // If there is little time, most of it belongs to running requests.
        let wait = limit.saturating_duration_since(Instant::now()) / 4;
        let _ = tokio::time::timeout(wait, self.begun.wait()).await;
        // The accepting thread ends now and closes them too. To close them before would be a failure in its log.
        drop(self.sockets);
        self.handle.stop(true).await;
        self.ended.await.map_err(io::Error::other)?
    }

    /// Stops at once and closes open connections.
    ///
    /// # Errors
    /// If the listener has failed.
    pub async fn cut_off(self) -> io::Result<()> {
        self.handle.stop(false).await;
        self.ended.await.map_err(io::Error::other)?
    }
}

/// The signals of a stop to open connections.
#[derive(Clone)]
struct Signals {
    draining: watch::Receiver<bool>,
    closing: watch::Receiver<bool>,
    /// Where workers say that they have begun with all connections.
    begun: Arc<Barrier>,
}

/// How many connections each worker has, and how many more it accepts.
fn share(connections_max: usize, workers: usize) -> (usize, usize) {
    let share = (connections_max / workers).max(2);
    let spare = CONNECTIONS_SPARE.min(share / 2);
    (share - spare, spare)
}

fn serve(
    builder: ServerBuilder,
    socket: &TcpListener,
    settings: ListenerSettings,
    services: HttpServices,
    signals: Signals,
) -> io::Result<ServerBuilder> {
    let name = if settings.tls.is_some() { "tfweb-https" } else { "tfweb-http" };
    let acceptor = settings.tls.clone().map(|tls| TlsAcceptor::from(Arc::new(tls)));
    let idle = HeaderValue::from_str(&format!("timeout={}", settings.keep_alive.as_secs()));
    let idle = idle.expect("a number is a header's value; this is a bug");
    builder.listen(name, socket.try_clone()?, move || {
        let (acceptor, Signals { mut draining, closing: closing_signal, begun }) = (acceptor.clone(), signals.clone());
        let shared = Shared {
            timeouts: timeouts(settings.keep_alive),
            ledger: Arc::clone(&services.answers.bodies.ledger),
            protocols: Arc::clone(&services.protocols),
            request_ids: Arc::clone(&services.answers.request_ids),
            keep_alive: idle.clone(),
        };
        let connections_max = settings.connections_max;
        let handlers = handlers(services.clone());
        let parts = Rc::new((acceptor, closing_signal, shared, Connections::new(connections_max)));
        let drained = Rc::clone(&parts);
        actix::spawn(give_back_each_second());
        actix::spawn(async move {
            // An error means that the listener was dropped.
            if draining.wait_for(|draining| *draining).await.is_ok() {
                drained.3.end_with_next_answers();
            }
            closing(drained.1.clone()).await;
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            begun.wait().await;
        });
        fn_factory(move || {
            let (handler, parts) = (handlers.new_service(()), Rc::clone(&parts));
            async move {
                let handler = Rc::new(handler.await?);
                Ok::<_, ()>(fn_service(move |tcp| {
                    let (handler, parts) = (Rc::clone(&handler), Rc::clone(&parts));
                    async move {
                        let (acceptor, closing_signal, shared, connections) = &*parts;
                        let activity = Activity::new();
                        // Futures within futures would each have room for all that one of them may become. In a box a connection
                        // takes what it is: one that has said nothing is small.
                        let connection = Box::pin(connection(tcp, acceptor.as_ref(), &*handler, shared, closing_signal, &activity));
                        connections.run(&activity, connection).await;
                        Ok::<_, ()>(())
                    }
                }))
            }
        })
    })
}

fn timeouts(keep_alive: Duration) -> Timeouts {
    Timeouts { head: HEAD_WAIT, keep_alive, stall: STALL_WAIT, stop_stall: STOP_STALL_WAIT, linger: LINGER, age: AGE_MAX }
}

/// Makes the handler of a worker.
fn handlers(services: HttpServices) -> impl ServiceFactory<Request, Config = (), InitError = (), Service: Handler> {
    let is_observed = services.telemetry.is_some();
    let services = actix_web::App::new().configure(move |config| services.mount(config));
    // If no request is observed, there is no middleware.
    let services = services.wrap(Condition::new(is_observed, from_fn(observe)));
    let services = services.into_factory().map_err(|error: actix_web::Error| error.error_response().into());
    let services = services.map(|answer| Response::from(answer).map_into_boxed_body());
    map_config(services, |()| AppConfig::default())
}

/// Serves one connection until it ends.
async fn connection(
    tcp: TcpStream,
    acceptor: Option<&TlsAcceptor>,
    handler: &impl Handler,
    shared: &Shared,
    closing_signal: &watch::Receiver<bool>,
    activity: &Rc<Activity>,
) {
    let peer = tcp.peer_addr().ok();
    let Some(acceptor) = acceptor else {
        // An error only means that small answers come later.
        let _ = tcp.set_nodelay(true);
        let mut stream = ClientStream::new(tcp, &shared.timeouts, Rc::clone(activity));
        let begun = tokio::select! {
            biased;
            begun = tokio::time::timeout(HEAD_WAIT, stream.begins_http2()) => begun,
            () = closed(closing_signal.clone(), BEGIN_WAIT) => return,
        };
        let Ok(Ok(is_http2)) = begun else { return };
        return Box::pin(speak(stream, is_http2, peer, handler, shared, closing_signal)).await;
    };
    // A handshake has its own time limit. On a busy machine many begin at a stop, and a client that sees its end sends its request.
    match tls::handshake(acceptor, tcp).await {
        Ok(stream) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            let stream = ClientStream::new(stream, &shared.timeouts, Rc::clone(activity));
            Box::pin(speak(stream, is_http2, peer, handler, shared, closing_signal)).await;
        }
        Err(error) => tracing::debug!("HTTP: no TLS: {error}"),
    }
}

async fn speak<T: AsyncRead + AsyncWrite + Unpin>(
    stream: ClientStream<T>,
    is_http2: bool,
    peer: Option<SocketAddr>,
    handler: &impl Handler,
    shared: &Shared,
    closing_signal: &watch::Receiver<bool>,
) {
    if is_http2 {
        Box::pin(http2::serve(stream, peer, handler, shared, closing_signal.clone())).await;
    } else {
        Box::pin(http1::serve(stream, peer, handler, shared, closing_signal.clone())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_together_accept_no_more_than_the_port_may_have() {
        for (connections_max, workers, expect) in [(8192, 2, (4032, 64)), (64, 2, (16, 16)), (64, 16, (2, 2)), (1, 4, (1, 1))] {
            assert_eq!(share(connections_max, workers), expect);
        }
    }
}
