//! Looks up a host's addresses, checks each of them, and dials these addresses only.
//!
//! No second look-up happens between the check and the connection, so an attacker's name server has no chance to give another
//! answer. awc sends a request on a connection that was opened here, and opens none.

use std::cell::Cell;
use std::fmt;
use std::future::{ready, Future};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::{header, Uri};
use awc::{Client, Connector, SendClientRequest};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{crypto, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use url::Url;

use super::connection::{Link, OriginConnection};
use super::failure::Failure;
use super::rules::{Refusal, Rules};

/// The most addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;

/// The most TLS sessions that are remembered. An origin decides how large one is: its ticket and its certificates have at most
/// 64 KiB each, so all have at most 32 MiB.
const TLS_SESSIONS_MAX: usize = 256;

/// Finds the addresses of a host name.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Finds all addresses of `host`, which is a name and not an address.
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Asks the system, which looks into its hosts file and asks its name servers.
#[derive(Debug)]
pub struct SystemResolver {
    /// One permit for each look-up. A look-up cannot be cut short: it keeps its thread and its permit for as long as the system
    /// takes.
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    /// Makes a resolver that runs at most `lookups_max` look-ups at once. Others wait.
    #[must_use]
    pub fn new(lookups_max: usize) -> Self {
        Self { lookups: Arc::new(Semaphore::new(lookups_max)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = move || {
                let _place = place;
                let addresses = (host.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            };
            tokio::task::spawn_blocking(lookup).await.map_err(io::Error::other)?
        })
    }
}

/// Opens connections to the addresses that the rules allow.
pub(super) struct Dialer {
    tls: TlsConnector,
    rules: Arc<Rules>,
    resolver: Arc<dyn Resolve>,
    timeout: Duration,
}

impl Dialer {
    pub(super) fn new(rules: Arc<Rules>, resolver: Arc<dyn Resolve>, timeout: Duration) -> Self {
        Self { tls: tls(), rules, resolver, timeout }
    }

    /// Opens a connection for one request: to one of a URL's addresses, over TLS for https.
    pub(super) async fn dial(&self, url: &Url, addresses: &[SocketAddr]) -> io::Result<OriginConnection> {
        let tcp = self.connect(addresses).await?;
        let is_secure = url.scheme() == "https";
        let link = if is_secure { self.secure(url.host_str().unwrap_or_default(), tcp).await? } else { Link::Tcp(tcp) };
        Ok(OriginConnection::new(link))
    }

    /// Finds the addresses of a URL's host, and checks that the rules allow each of them. `turn` is waited for before a name is
    /// looked up.
    pub(super) async fn addresses<T>(
        &self,
        url: &Url,
        turn: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let found = match without_brackets(host).parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => {
                let _turn = turn.await?;
                self.resolver.resolve(host.to_owned()).await.map_err(|error| Refusal::Unresolved(error.to_string()))
            }
        };
        let checked = found.and_then(|addresses| self.rules.check_addresses(host, port, &addresses).map(|()| addresses));
        let addresses = checked.map_err(|refusal| self.failure(refusal, host, port))?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Makes the failure of a host. The caller is told that a name was not found only if `--url_allow` names the host. Of any other
    /// host this would tell strangers which names the network inside has.
    fn failure(&self, refusal: Refusal, host: &str, port: u16) -> Failure {
        if let (Refusal::Unresolved(reason), true) = (&refusal, self.rules.names(host, port)) {
            return Failure::name_not_found(reason.clone());
        }
        refusal.into()
    }

    /// Tries one address after another. Each gets an equal share of the time, so that none uses up the time of the next.
    async fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::TimedOut.into();
        for (tried, address) in addresses.iter().take(ADDRESSES_MAX).enumerate() {
            let left = addresses.len().min(ADDRESSES_MAX) - tried;
            match tokio::time::timeout(self.timeout / (left as u32), TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    async fn secure(&self, host: &str, tcp: TcpStream) -> io::Result<Link> {
        let name = ServerName::try_from(without_brackets(host).to_owned()).map_err(io::Error::other)?;
        Ok(Link::Tls(Box::new(self.tls.connect(name, tcp).await?)))
    }
}

/// Sends a request for a URL on a connection that is open.
pub(super) fn get(url: &Url, connection: OriginConnection) -> SendClientRequest {
    let opened = Rc::new(Cell::new(Some(connection)));
    let connect = move |info: ConnectInfo<Uri>| {
        let connection = opened.take().ok_or(ConnectError::Unresolved);
        ready(connection.map(|connection| Connection::new(info.request().clone(), connection)))
    };
    let client = Client::builder()
        .connector(Connector::new().connector(fn_service::<_, _, ConnectInfo<Uri>, _, _, ()>(connect)))
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .add_default_header((header::USER_AGENT, concat!("tfweb/", env!("CARGO_PKG_VERSION"))))
        .add_default_header((header::ACCEPT, "*/*"))
        .add_default_header((header::ACCEPT_ENCODING, "gzip, deflate"))
        .finish();
    // TLS is spoken below awc and not within it, so that the connection sees where a TLS connection ends, too.
    let mut shown = url.clone();
    let port = url.port_or_known_default();
    // These calls cannot fail: both schemes have hosts and ports.
    let _ = shown.set_scheme("http");
    let _ = shown.set_port(port);
    client.get(shown.as_str()).force_close().send()
}

/// Removes the brackets that an IPv6 address has in URLs.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Makes a TLS connector that verifies servers against the system's root certificates and Mozilla's. Containers often have none
/// of their own.
///
/// All connections share it, and with it the TLS sessions that rustls remembers. A new connection resumes such a session. That
/// saves sending and verifying certificates, and in TLS 1.2 a round trip.
fn tls() -> TlsConnector {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!("system's root certificates: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3; this is a bug")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_MAX);
    // With HTTP/2 a slow body would share its connection with other fetches.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config).into()
}
