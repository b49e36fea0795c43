//! Logs failed requests that are tried again. A store that is down fails each request of each listing, and the log must stay readable:
//! the first failure is a warning, and the others are not, until the store has answered a listing.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Whether a store has failed since its last listing.
#[derive(Clone, Debug, Default)]
pub(super) struct Outage(Arc<AtomicBool>);

impl Outage {
    /// Logs a request that has failed and is tried again after `delay`.
    pub(super) fn retry(&self, failure: &dyn Display, delay: Duration) {
        let delay_ms = delay.as_millis();
        if self.0.swap(true, Ordering::Relaxed) {
            tracing::debug!("{failure}; trying again in {delay_ms} ms");
        } else {
            tracing::warn!("{failure}; trying again in {delay_ms} ms");
        }
    }

    /// Notes that the store has answered a listing.
    pub(super) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
