//! An HTTP listener, with TLS or without. It speaks HTTP/1.1 with actix's parts. It speaks HTTP/2 with h2, to clients that begin
//! with it or choose it in the TLS handshake. actix-web's own listener has four faults for this server. It treats an offer to
//! upgrade as agreed. When it stops, it drops connections that it has accepted and not begun to serve. It does not tell HTTP/2
//! clients that the server stops. It goes on with an HTTP/2 request after its client has gone away.

mod expect;
mod http2;
mod settings;
mod stream;
mod timeouts;
pub(super) mod upgrade_filter;
mod write_timeout;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::HttpService;
use actix_server::{Server, ServerBuilder, ServerHandle};
use actix_service::{fn_factory, fn_service, map_config, IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt};
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::ConnectionType;
use actix_web::middleware::{from_fn, Condition};
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use super::observe::observe;
use super::services::HttpServices;
use crate::transport::{sockets, tls};
use timeouts::{closing, Timeouts};
use upgrade_filter::UpgradeFilter;

pub use settings::ListenerSettings;

/// The name of HTTP/2 in the TLS handshake (ALPN).
pub const HTTP2: &[u8] = b"h2";

/// The time limit for the head of a request.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a client may go on sending a refused body, so that it comes to read the answer.
const LINGER: Duration = Duration::from_secs(1);
/// How long an HTTP/2 client may read nothing of its answer. A slow line recovers long before.
const STALL_WAIT: Duration = Duration::from_secs(60);
/// How long connections that have begun may take until they can be accepted. A packet's way there and back takes less.
const BEGUN_WAIT: Duration = Duration::from_millis(50);
/// How long the accepting thread may take until it no longer waits for its sockets.
const PAUSE_WAIT: Duration = Duration::from_millis(10);
/// How long accepted connections are served before they are told to close, so that requests on their way arrive.
const SETTLE: Duration = Duration::from_millis(250);

/// A server on one host and port.
pub struct Listener {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
    close: watch::Sender<bool>,
}

impl Listener {
    /// Starts to listen. It needs an actix `System` in the current thread.
    ///
    /// # Errors
    /// If it cannot listen on any address of the host.
    pub fn start(host: &str, port: u16, settings: &ListenerSettings, services: &HttpServices) -> io::Result<Self> {
        let sockets = sockets::listen(host, port)?;
        let address = sockets[0].local_addr()?;
        let (close, closing_signal) = watch::channel(false);
        let mut builder = Server::build()
            .disable_signals()
            .max_concurrent_connections(settings.connections_max)
            .shutdown_timeout(settings.stop_seconds);
        if let Some(workers) = settings.workers {
            builder = builder.workers(workers);
        }
        for socket in &sockets {
            builder = serve(builder, socket, settings.clone(), services.clone(), closing_signal.clone())?;
        }
        let server = builder.run();
        Ok(Self { sockets, address, handle: server.handle(), ended: actix::spawn(server), close })
    }

    /// The address of the first socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops in order: refuses new connections, answers the requests on open ones, and closes them. It should be done at `limit`.
    ///
    /// # Errors
    /// If the listener has failed.
    pub async fn stop(self, limit: Instant) -> io::Result<()> {
        self.refuse_new().await;
        // If there is little time, most of it belongs to running requests.
        tokio::time::sleep(SETTLE.min(limit.saturating_duration_since(Instant::now()) / 4)).await;
        self.close.send_replace(true);
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

    /// Refuses new connections without losing one that a client believes to be open. If a socket is only closed, the system
    /// resets the connections that are not accepted yet, although their requests may have come.
    async fn refuse_new(&self) {
        self.sockets.iter().for_each(sockets::ignore_new);
        tokio::time::sleep(BEGUN_WAIT).await;
        // Without the pause, the accepting thread would log the closed socket as a failure.
        self.handle.pause().await;
        tokio::time::sleep(PAUSE_WAIT).await;
        self.sockets.iter().for_each(sockets::refuse);
    }
}

fn serve(
    builder: ServerBuilder,
    socket: &TcpListener,
    settings: ListenerSettings,
    services: HttpServices,
    closing_signal: watch::Receiver<bool>,
) -> io::Result<ServerBuilder> {
    let (address, socket) = (socket.local_addr()?, socket.try_clone()?);
    let Some(tls) = settings.tls.clone() else {
        return builder.listen("tfweb-http", socket, move || {
            let closing = closing_signal.clone();
            let connected = move |tcp| detect_version(tcp, closing.clone());
            fn_service(connected).and_then(connection_service(address, &settings, services.clone(), closing_signal.clone()))
        });
    };
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    builder.listen("tfweb-https", socket, move || {
        let (acceptor, closing) = (acceptor.clone(), closing_signal.clone());
        let connected = move |tcp| handshake(acceptor.clone(), tcp, closing.clone());
        fn_service(connected).and_then(connection_service(address, &settings, services.clone(), closing_signal.clone()))
    })
}

/// An open connection whose HTTP version is known.
struct Connected<T> {
    stream: UpgradeFilter<T>,
    peer: Option<SocketAddr>,
    is_http2: bool,
}

/// Makes the service that answers on connections.
fn connection_service<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    address: SocketAddr,
    settings: &ListenerSettings,
    services: HttpServices,
    closing_signal: watch::Receiver<bool>,
) -> impl ServiceFactory<Connected<T>, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let is_observed = services.telemetry.is_some();
    let services = actix_web::App::new().configure(move |config| services.mount(config));
    // If no request is observed, there is no middleware.
    let services = services.wrap(Condition::new(is_observed, from_fn(observe)));
    let services = services.into_factory().map_err(|error: actix_web::Error| error.error_response());
    let handler_cell = expect::SharedHandler::default();
    let asked = expect::expect_service(Rc::clone(&handler_cell));
    let services = expect::handler_service(map_config(services, |()| AppConfig::default()), Rc::clone(&handler_cell));
    let http1 = HttpService::build();
    let http1 = if settings.tls.is_some() { http1.secure() } else { http1 };
    let close = closing_signal.clone();
    let idle = HeaderValue::from_str(&format!("timeout={}", settings.keep_alive.as_secs()));
    let idle = idle.expect("a number is a header's value; this is a bug");
    let http1 = http1
        .local_addr(address)
        .keep_alive(settings.keep_alive)
        .client_request_timeout(HEAD_WAIT)
        .client_disconnect_timeout(LINGER)
        // If a client closes its side, its request is dropped. It then costs no run, unless one has begun.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || closing(close.clone()))
        .expect(asked)
        .h1(services.map(move |response| with_keep_alive(response, &idle)));
    let timeouts = Timeouts { head: HEAD_WAIT, keep_alive: settings.keep_alive, stall: STALL_WAIT, linger: LINGER };
    fn_factory(move || {
        let (http1, handler_cell, closing_signal) = (http1.new_service(()), Rc::clone(&handler_cell), closing_signal.clone());
        async move {
            let http1 = Rc::new(http1.await?);
            // The line before has made HTTP/1.1's service, and that service has set the handler.
            let handler = handler_cell.borrow().clone().expect("the handler is made before it is called; this is a bug");
            Ok(fn_service(move |Connected { stream, peer, is_http2 }| {
                let (http1, handler, closing_signal) = (Rc::clone(&http1), Rc::clone(&handler), closing_signal.clone());
                async move {
                    if is_http2 {
                        http2::serve(stream, peer, &*handler, timeouts, closing_signal).await;
                        return Ok(());
                    }
                    http1.call((stream, peer)).await
                }
            }))
        }
    })
}

/// Tells an HTTP/1.1 client how long its connection stays open, so that it does not send a request just when the server closes
/// it.
fn with_keep_alive<B>(mut response: ServiceResponse<B>, idle: &HeaderValue) -> ServiceResponse<B> {
    let closes = response.request().head().connection_type() == ConnectionType::Close;
    if !closes && response.response().head().keep_alive() {
        response.headers_mut().insert(HeaderName::from_static("keep-alive"), idle.clone());
    }
    response
}

/// Waits until the client shows its HTTP version. A connection without any byte does not delay a stop.
async fn detect_version(tcp: TcpStream, closing_signal: watch::Receiver<bool>) -> Result<Connected<TcpStream>, DispatchError> {
    let peer = tcp.peer_addr().ok();
    // An error only means that small answers come later.
    let _ = tcp.set_nodelay(true);
    let mut stream = UpgradeFilter::new(tcp);
    let said = tokio::select! {
        // A client that has begun to send is served, even during a stop.
        biased;
        said = tokio::time::timeout(HEAD_WAIT, stream.begins_http2()) => said.map_err(io::Error::from)?,
        () = closing(closing_signal) => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    Ok(Connected { is_http2: said?, stream, peer })
}

/// Does the TLS handshake. A handshake does not delay a stop.
async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    closing_signal: watch::Receiver<bool>,
) -> Result<Connected<TlsStream<TcpStream>>, DispatchError> {
    let peer = tcp.peer_addr().ok();
    let handshake = tokio::select! {
        handshake = tls::handshake(&acceptor, tcp) => handshake,
        () = closing(closing_signal) => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match handshake {
        Ok(stream) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
            Ok(Connected { stream: UpgradeFilter::new(stream), peer, is_http2 })
        }
        Err(error) => {
            tracing::debug!("HTTP: no TLS: {error}");
            Err(DispatchError::Io(error))
        }
    }
}
