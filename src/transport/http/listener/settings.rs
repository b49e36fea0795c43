//! The settings of an HTTP listener.

use std::time::Duration;

use crate::transport::descriptors;

/// The settings of an HTTP listener.
#[derive(Clone)]
pub struct ListenerSettings {
    /// TLS; `None` for plain HTTP.
    pub tls: Option<rustls::ServerConfig>,
    /// The number of threads; `None` for one on each core.
    pub workers: Option<usize>,
    /// The most connections. For a further one, the connection ends that has waited longest for its client.
    pub connections_max: usize,
    /// How long an idle connection stays open. Load balancers should close theirs earlier, so that none sends a request into a
    /// closing connection.
    pub keep_alive: Duration,
    /// The time limit of a stop in seconds.
    pub stop_seconds: u64,
}

/// The most connections. Each of them holds at most some 96 KiB that nobody counts.
const CONNECTIONS_MAX: usize = 8192;
/// The admin port has few clients, and they ask seldom.
const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(5);
const ADMIN_CONNECTIONS_MAX: usize = 64;

impl ListenerSettings {
    /// The settings of the port that serves models.
    #[must_use]
    pub fn main(tls: Option<rustls::ServerConfig>, keep_alive: Duration, stop_seconds: u64) -> Self {
        let connections_max = descriptors::connections_max(CONNECTIONS_MAX);
        Self { tls, workers: None, connections_max, keep_alive, stop_seconds }
    }

    /// The settings of the admin port: plain HTTP and one thread, because its answers take no time. It stops at once.
    #[must_use]
    pub fn admin() -> Self {
        Self { tls: None, workers: Some(1), connections_max: ADMIN_CONNECTIONS_MAX, keep_alive: ADMIN_KEEP_ALIVE, stop_seconds: 0 }
    }
}
