//! The flags of how the server is operated: how it ends, and where it is watched.

use std::time::Duration;

use structopt::StructOpt;

use super::{number, Usage};

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
}

/// How the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it serves on, not ready.
    pub delay: Duration,
    /// Most time for all of it.
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
}
