//! Where `tfweb --healthcheck` asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::flags::Flags;
use super::values::{host, Usage};

impl Flags {
    /// The URL at which a server with these flags answers whether it is ready.
    ///
    /// # Errors
    /// [`Usage`] where these flags give no URL that could answer.
    pub fn healthcheck_url(&self) -> Result<String, Usage> {
        let wrong = |text: &str| Usage::wrong(format!("--healthcheck: {text}"));
        let (scheme, host, port) = match self.operations.admin_address(&self.http.host)? {
            Some((host, port)) => ("http", host, port),
            None if self.access.tls_client_ca.is_some() => {
                return Err(wrong("expected --admin_port, since --tls_client_ca refuses a health check, which has no certificate"));
            }
            None => (if self.access.tls_cert.is_some() { "https" } else { "http" }, host("host", &self.http.host)?, self.http.port),
        };
        if port == 0 {
            return Err(wrong("expected the port that the server listens on, got 0"));
        }
        let host = match host.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(_)) | Err(_) => host,
        };
        Ok(format!("{scheme}://{host}:{port}/readyz"))
    }
}
