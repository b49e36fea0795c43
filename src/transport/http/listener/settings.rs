//! How a listener listens.

use std::time::Duration;

/// How a listener listens.
#[derive(Clone)]
pub struct Listening {
    /// TLS; none for plain HTTP.
    pub tls: Option<rustls::ServerConfig>,
    /// Threads; one for each core if none.
    pub workers: Option<usize>,
    /// Connections a worker holds at most; more wait in the system's queue.
    pub connections_max: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a stop may take, in seconds.
    pub stop_seconds: u64,
}

/// How long an idle connection is kept: longer than load balancers keep theirs (60 s is common), so that they close first and
/// never send into a closing connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that a worker holds at most; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// The same at the admin port: clients that ask for health or figures are few and ask seldom.
const ADMIN_KEEP_ALIVE: Duration = Duration::from_secs(5);
const ADMIN_CONNECTIONS_MAX: usize = 256;

impl Listening {
    /// The port where models are served.
    #[must_use]
    pub fn main(tls: Option<rustls::ServerConfig>, stop_seconds: u64) -> Self {
        Self { tls, workers: None, connections_max: CONNECTIONS_MAX, keep_alive: KEEP_ALIVE, stop_seconds }
    }

    /// The port for operators: plain HTTP, one thread, for its answers take no time. It is not stopped in order.
    #[must_use]
    pub fn admin() -> Self {
        Self { tls: None, workers: Some(1), connections_max: ADMIN_CONNECTIONS_MAX, keep_alive: ADMIN_KEEP_ALIVE, stop_seconds: 0 }
    }
}
