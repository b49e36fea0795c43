//! The flags of how the server is operated: how it ends, where it is watched, and how it is asked whether it is well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use structopt::StructOpt;

use super::{number, Flags, Usage};

/// How long the listeners still serve after readiness is gone, at least: answers tell clients to close their connections
/// meanwhile. With less, clients that use a connection again send requests into it while it closes.
const DRAIN_DELAY_LEAST: Duration = Duration::from_millis(250);
/// How long a stop waits for requests beyond their own time, if not said.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// The longest time that a stop can be given: two days, so that requests of a day can finish.
const DRAIN_MS_LIMIT: u64 = 2 * 86_400_000;

/// What the user typed about operation.
#[derive(StructOpt, Clone, Debug)]
pub struct OperationFlags {
    /// How long to serve on after SIGTERM, with /readyz at 503, so that load balancers notice before the port closes; 250 ms at least even with 0, for clients that reuse connections
    #[structopt(long = "drain_delay_ms", env = "TFWEB_DRAIN_DELAY_MS", value_name = "MS", default_value = "0", parse(try_from_str = number))]
    pub drain_delay_ms: u64,
    /// Most time from SIGTERM to the end, that delay included; what is unfinished then is cut off. The delay, the time of a request and 5 seconds, if not given
    #[structopt(long = "drain_timeout_ms", env = "TFWEB_DRAIN_TIMEOUT_MS", value_name = "MS", parse(try_from_str = number))]
    pub drain_timeout_ms: Option<u64>,
    /// Port of plain HTTP for who operates the server: health, and metrics, which then leave the other port; asks for no token; 0 picks a free one and prints it
    #[structopt(long = "admin_port", env = "TFWEB_ADMIN_PORT", value_name = "PORT", parse(try_from_str = number))]
    pub admin_port: Option<u16>,
    /// Address for that port; --host if not given
    #[structopt(long = "admin_host", env = "TFWEB_ADMIN_HOST", value_name = "HOST")]
    pub admin_host: Option<String>,
    /// Serve nothing: ask the server that runs here with these flags whether it is ready; exit with 0 if so, else with 1
    #[structopt(long = "healthcheck")]
    pub healthcheck: bool,
}

/// How the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it serves on, not ready.
    pub delay: Duration,
    /// Most time for all of it.
    pub timeout: Duration,
}

/// Where health is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Of `/readyz`.
    pub url: String,
}

impl OperationFlags {
    pub(super) fn drain(&self, request_timeout: Duration) -> Result<Drain, Usage> {
        let at_most = |flag: &str, ms: u64| match ms {
            0..=DRAIN_MS_LIMIT => Ok(Duration::from_millis(ms)),
            _ => Err(Usage::wrong(format!("--{flag}: expected at most {DRAIN_MS_LIMIT}, got {ms}"))),
        };
        let delay = at_most("drain_delay_ms", self.drain_delay_ms)?.max(DRAIN_DELAY_LEAST);
        let timeout = match self.drain_timeout_ms {
            None => delay + request_timeout + DRAIN_MARGIN,
            Some(ms) => at_most("drain_timeout_ms", ms)?,
        };
        if timeout <= delay {
            let text = format!("--drain_timeout_ms: expected more than the drain delay of {} ms", delay.as_millis());
            return Err(Usage::wrong(format!("{text}, got {}", timeout.as_millis())));
        }
        Ok(Drain { delay, timeout })
    }

    /// Where to listen for who operates the server.
    pub(super) fn admin_address(&self, host: &str) -> Result<Option<(String, u16)>, Usage> {
        if self.admin_port.is_none() && self.admin_host.is_some() {
            return Err(Usage::wrong("--admin_host: expected --admin_port with it"));
        }
        Ok(self.admin_port.map(|port| (self.admin_host.clone().unwrap_or_else(|| host.to_owned()), port)))
    }
}

impl Flags {
    /// Where the server of these flags says whether it is ready.
    ///
    /// # Errors
    /// [`Usage`] where it cannot be asked.
    pub fn probe(&self) -> Result<Probe, Usage> {
        let wrong = |text: &str| Usage::wrong(format!("--healthcheck: {text}"));
        let (scheme, host, port) = match self.operations.admin_address(&self.host)? {
            Some((host, port)) => ("http", host, port),
            None if self.access.tls_client_ca.is_some() => {
                return Err(wrong("expected --admin_port, since --tls_client_ca lets in nobody without a certificate"));
            }
            None => (if self.access.tls_cert.is_some() { "https" } else { "http" }, self.host.clone(), self.port),
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
        Ok(Probe { url: format!("{scheme}://{host}:{port}/readyz") })
    }
}
