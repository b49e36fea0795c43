//! The HTTP door over TLS, put together of actix's parts. What actix-web has for this offers HTTP/2 to whoever asks, and its
//! HTTP/2 cannot do what is promised here: it does not tell connections to go when the server stops, and a request whose client
//! has gone away runs on. So this speaks HTTP/1.1 alone, as the door without TLS does.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use actix_http::error::DispatchError;
use actix_http::HttpService;
use actix_server::{GracefulShutdownSignal, Server};
use actix_service::{fn_service, map_config, IntoServiceFactory, ServiceFactoryExt};
use actix_web::dev::AppConfig;
use actix_web::middleware::{from_fn, Condition};
use actix_web::rt::net::TcpStream;
use actix_web::web;
use tokio_rustls::TlsAcceptor;

use crate::http::{mount, App};
use crate::server::{CONNECTIONS_MAX, HEAD_WAIT, KEEP_ALIVE};
use crate::telemetry::observe;
use crate::tls;

/// Starts to listen. The server is to be awaited.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) fn serve(
    place: (&str, u16),
    config: rustls::ServerConfig,
    app: &web::Data<App>,
    static_path: Option<PathBuf>,
    stop_seconds: u64,
) -> io::Result<(SocketAddr, Server)> {
    let listener = TcpListener::bind(place)?;
    let address = listener.local_addr()?;
    let builder = Server::build().disable_signals().max_concurrent_connections(CONNECTIONS_MAX).shutdown_timeout(stop_seconds);
    let (stopping, acceptor, app) = (builder.graceful_shutdown_signal(), TlsAcceptor::from(Arc::new(config)), app.clone());
    let server = builder.listen("tfweb-https", listener, move || {
        let (shared, static_path, signal) = (app.clone(), static_path.clone(), stopping.clone());
        let is_observed = shared.telemetry.observes();
        let services = actix_web::App::new().configure(move |services| mount(services, &shared, static_path.as_deref()));
        let services = services.wrap(Condition::new(is_observed, from_fn(observe)));
        let services = services.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let http = HttpService::build()
            .secure()
            .local_addr(address)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_WAIT)
            .h1_allow_half_closed(false)
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .h1(map_config(services, |()| AppConfig::default()));
        let (acceptor, stopping) = (acceptor.clone(), stopping.clone());
        fn_service(move |tcp| agree(acceptor.clone(), tcp, stopping.clone())).and_then(http)
    });
    Ok((address, server?.run()))
}

type Agreed = (tokio_rustls::server::TlsStream<TcpStream>, Option<SocketAddr>);

/// Agrees on TLS. A handshake is no request: it holds up no stop.
async fn agree(acceptor: TlsAcceptor, tcp: TcpStream, stopping: GracefulShutdownSignal) -> Result<Agreed, DispatchError> {
    let peer = tcp.peer_addr().ok();
    let agreed = tokio::select! {
        agreed = tls::agree(&acceptor, tcp) => agreed,
        () = stopping.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match agreed {
        Ok(stream) => Ok((stream, peer)),
        Err(error) => {
            tracing::debug!("HTTP: no TLS: {error}");
            Err(DispatchError::Io(error))
        }
    }
}
