//! The flags of operating the server: how it stops, the admin port, and the health check.

use std::time::Duration;

use structopt::StructOpt;

use super::values::{host, number, switch, Usage};

/// The minimum time for which listeners serve on after `/readyz` turned to 503. During it, open connections are told
/// to close. With less time, clients that use a connection again send requests into it while it closes.
const DRAIN_DELAY_LEAST: Duration = Duration::from_millis(250);
/// How long a stop waits for requests beyond their own time, unless the flag is given.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// The longest time that a stop can be given: two days, so that requests that take a day can finish.
const DRAIN_MS_LIMIT: u64 = 2 * 86_400_000;

/// The flags of operation as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "Health and stopping")]
pub struct OperationFlags {
    /// Time in milliseconds for which the server still serves after SIGTERM, while /readyz answers 503, so that load balancers notice before the port closes. The minimum is 250 ms, also with 0
    #[structopt(long = "drain_delay_ms", env = "TFWEB_DRAIN_DELAY_MS", value_name = "MS", default_value = "0", parse(try_from_str = number))]
    pub drain_delay_ms: u64,
    /// Maximum time in milliseconds from SIGTERM to the end, including --drain_delay_ms. The server then cuts off unfinished requests and exits with code 75. Default: --drain_delay_ms, --request_timeout_ms and 5 seconds together
    #[structopt(long = "drain_timeout_ms", env = "TFWEB_DRAIN_TIMEOUT_MS", value_name = "MS", parse(try_from_str = number))]
    pub drain_timeout_ms: Option<u64>,
    /// Further HTTP port for operators, plain and without tokens: health and metrics. The other port then has no metrics. With 0 the system picks a free port, and the log names it
    #[structopt(long = "admin_port", env = "TFWEB_ADMIN_PORT", value_name = "PORT", parse(try_from_str = number))]
    pub admin_port: Option<u16>,
    /// Address for the admin port. Default: --host
    #[structopt(long = "admin_host", env = "TFWEB_ADMIN_HOST", value_name = "HOST")]
    pub admin_host: Option<String>,
    /// Serve nothing. Ask the server that runs on this machine with the same flags whether it is ready; exit with 0 if it is, with 1 if not
    #[structopt(long = "healthcheck", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub healthcheck: bool,
}

/// How the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it serves on while `/readyz` answers 503.
    pub delay: Duration,
    /// The maximum time for the whole stop.
    pub timeout: Duration,
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

    /// Where the admin port listens; none without `--admin_port`.
    pub(super) fn admin_address(&self, main_host: &str) -> Result<Option<(String, u16)>, Usage> {
        if self.admin_port.is_none() && self.admin_host.is_some() {
            return Err(Usage::wrong("--admin_host: expected --admin_port with it"));
        }
        let Some(port) = self.admin_port else { return Ok(None) };
        let address = match &self.admin_host {
            Some(text) => host("admin_host", text)?,
            None => host("host", main_host)?,
        };
        Ok(Some((address, port)))
    }
}
