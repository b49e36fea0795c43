//! TLS of the HTTP port and the gRPC port: the server's certificate and key, and the authority of client certificates. The server
//! reads the files again when they change. New connections use the new files, and open ones go on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ring::digest::{Context, SHA256};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{ring::default_provider, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tfweb_engine::Error;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;
use x509_cert::Certificate;

use crate::watched_files::{Contents, WatchedFiles};

/// The time limit of a handshake. It allows for several round trips over a slow line.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// The server warns this long before its certificate expires. Certificates that renew themselves have been renewed by then.
const EXPIRY_WARNING: Duration = Duration::from_secs(7 * 86_400);

/// The paths of the certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain, its own certificate first.
    pub cert: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
    /// The authority that signs client certificates; `None` to ask clients for none.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The files in the order in which `parse` expects their contents.
    fn paths(&self) -> Vec<PathBuf> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().cloned().collect()
    }
}

/// The certificates of the last reading.
pub struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Certificates>,
}

struct Certificates {
    /// The hash of all files, which shows a change.
    digest: Vec<u8>,
    certified: Arc<CertifiedKey>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// `InvalidArgument` for files that cannot be used, such as a key of another certificate.
    pub fn open(files: TlsFiles) -> Result<Self, Error> {
        let provider = Arc::new(default_provider());
        let certificates = parse(&files, &WatchedFiles::new(files.paths()).first()?, &provider)?;
        Ok(Self { files, provider, current: ArcSwap::from_pointee(certificates) })
    }

    /// The paths of the files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.paths()
    }

    /// Takes the new contents of the files. Returns whether they differ from those before.
    ///
    /// # Errors
    /// Why they cannot be used. The server then keeps what it has.
    pub fn take(&self, contents: &Contents) -> Result<bool, Error> {
        let certificates = parse(&self.files, contents, &self.provider)?;
        let changed = certificates.digest != self.current.load().digest;
        if changed {
            self.current.store(Arc::new(certificates));
            self.warn_if_expiring();
        }
        Ok(changed)
    }

    /// Logs a warning if the certificate has expired or expires soon.
    pub fn warn_if_expiring(&self) {
        let path = self.files.cert.display();
        match self.current.load().certified.end_entity_cert().ok().and_then(|cert| time_left(cert)) {
            None => tracing::warn!("`{path}`: the certificate's end cannot be read"),
            Some(Duration::ZERO) => tracing::warn!("`{path}`: the certificate has expired; clients will refuse it"),
            Some(left) if left < EXPIRY_WARNING => {
                tracing::warn!("`{path}`: the certificate expires in {} hours", left.as_secs() / 3600);
            }
            Some(_) => {}
        }
    }

    /// The configuration of a listener that offers these protocols (ALPN).
    ///
    /// # Errors
    /// `Internal`; no case is known.
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| Error::internal(error.to_string()))?;
        let mut config = if self.files.client_ca.is_some() {
            let mut config =
                builder.with_client_cert_verifier(Arc::new(ClientVerifier(Arc::clone(self)))).with_cert_resolver(self.clone());
            // A client that resumes a session shows no certificate again, although it may have expired or may no longer be
            // trusted.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        } else {
            builder.with_no_client_auth().with_cert_resolver(self.clone())
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().certified))
    }
}

/// Checks client certificates with the authority of the last reading.
#[derive(Debug)]
struct ClientVerifier(Arc<Tls>);

impl ClientVerifier {
    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let verifier = self.0.current.load().clients.clone();
        verifier.ok_or_else(|| rustls::Error::General("no authority of clients; this is a bug".into()))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints help clients that have several certificates. rustls takes them once, so they would not follow a change of the
        // files.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verifier()?.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Does the TLS handshake with a client, within `HANDSHAKE_WAIT`.
///
/// # Errors
/// Why the handshake failed. The client has had an alert.
pub async fn handshake(acceptor: &TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // An error only means that small answers come later.
    let _ = tcp.set_nodelay(true);
    tokio::time::timeout(HANDSHAKE_WAIT, acceptor.accept(tcp)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn parse(files: &TlsFiles, contents: &Contents, provider: &Arc<CryptoProvider>) -> Result<Certificates, Error> {
    let [cert, key, client_ca @ ..] = contents.as_slice() else { return Err(Error::internal("two files or more; this is a bug")) };
    let mut digest = Context::new(&SHA256);
    for bytes in contents {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    let chain = read_chain(&files.cert, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&files.key, error))?;
    let certified = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| wrong(&files.key, format!("no key of the certificate in `{}`: {error}", files.cert.display())))?;
    let clients = match files.client_ca.as_ref().zip(client_ca.first()) {
        None => None,
        Some((path, bytes)) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_chain(path, bytes)? {
                roots.add(certificate).map_err(|error| wrong(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|error| wrong(path, error))?)
        }
    };
    Ok(Certificates { digest: digest.finish().as_ref().to_vec(), certified: Arc::new(certified), clients })
}

fn read_chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| wrong(path, error))?;
    if chain.is_empty() {
        return Err(wrong(path, "expected certificates in PEM, got none"));
    }
    Ok(chain)
}

fn wrong(path: &Path, what: impl fmt::Display) -> Error {
    Error::invalid(format!("`{}`: {what}", path.display()))
}

/// How long a certificate is still valid; zero if it has expired.
fn time_left(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(end.saturating_sub(now))
}
