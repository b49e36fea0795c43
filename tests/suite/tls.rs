//! Certificates of the suite's own authority, and clients and servers that speak TLS with them.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use rcgen::{date_time_ymd, BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::origin::Wire;

/// An authority that nobody trusts who is not told to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its certificate, for a file of those to trust.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for a server or client of that name or address, good until the end of a year, and its key.
    pub(crate) fn issue(&self, name: &str, last_year: i32) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: certificate.pem(), key: key.serialize_pem() }
    }

    /// A server of that name or address with such a certificate.
    pub(crate) fn server(&self, name: &str, last_year: i32) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(name, last_year).der();
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = builder.expect("the provider's versions").with_no_client_auth().with_single_cert(chain, key);
        Arc::new(config.expect("a key that fits its certificate"))
    }

    /// A client that trusts this authority, speaks one protocol, and shows a certificate if it has one.
    pub(crate) fn client(&self, protocol: &[u8], pair: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider's versions").with_root_certificates(roots);
        let mut config = match pair.map(Pair::der) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a key that fits its certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }
}

/// A certificate and its key, as files have them.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate");
        (vec![certificate], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}

/// The files of a server, and its authority.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new("servers") };
        files.put(&files.authority.issue("localhost", 2100));
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn put(&self, pair: &Pair) {
        fs::write(self.path("key"), &pair.key).unwrap();
        fs::write(self.path("cert"), &pair.cert).unwrap();
    }

    pub(crate) fn flags(&self) -> String {
        format!("--tls_cert {} --tls_key {}", self.path("cert").display(), self.path("key").display())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// TLS on top of a connection that was accepted.
pub(crate) fn accept(config: &Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Box<dyn Wire>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, tcp)))
}

/// The TLS sessions that a server remembers, and how many of them were resumed.
#[derive(Debug)]
pub(crate) struct Sessions {
    remembered: Arc<ServerSessionMemoryCache>,
    resumed: AtomicUsize,
}

impl Sessions {
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { remembered: ServerSessionMemoryCache::new(64), resumed: AtomicUsize::default() }
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.remembered.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.remembered.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.remembered.take(key)?;
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Some(session)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
