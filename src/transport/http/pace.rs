//! The least speed at which a client must send a body, or take an answer.

use std::time::Duration;

use tokio::time::Instant;

/// A time limit that moves on with the bytes that a client sends or takes.
///
/// A client may pause for `wait`. A client that is slower than the least rate uses this time up, a little with each byte.
#[derive(Debug)]
pub(super) struct Pace {
    wait: Duration,
    bytes_per_second: u32,
    end: Instant,
}

impl Pace {
    /// Starts now.
    pub(super) fn new(wait: Duration, bytes_per_second: u32) -> Self {
        Self { wait, bytes_per_second, end: Instant::now() + wait }
    }

    /// The moment at which the client is too slow, if it sends or takes nothing until then.
    pub(super) const fn end(&self) -> Instant {
        self.end
    }

    /// Notes that the client has sent or taken bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second));
        self.end = (self.end + earned).min(Instant::now() + self.wait);
    }

    /// From now on the client may pause for `wait` at most.
    pub(super) fn shorten(&mut self, wait: Duration) {
        self.wait = self.wait.min(wait);
        self.end = self.end.min(Instant::now() + self.wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// How long a client lasts that moves `bytes` each second, of at most 1,000 seconds.
    async fn lasts(bytes: usize) -> u64 {
        let mut pace = Pace::new(WAIT, 1000);
        for second in 0..1000 {
            if Instant::now() >= pace.end() {
                return second;
            }
            pace.moved(bytes);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        1000
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slower_than_the_least_rate_lasts_not_long() {
        assert_eq!((lasts(0).await, lasts(1000).await), (10, 1000));
        assert!((10..=11).contains(&lasts(1).await) && (19..=20).contains(&lasts(500).await));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_earns_a_longer_pause() {
        let mut pace = Pace::new(WAIT, 1000);
        pace.moved(1_000_000);
        assert_eq!(pace.end() - Instant::now(), WAIT);
        pace.shorten(WAIT / 2);
        pace.moved(1_000_000);
        assert_eq!(pace.end() - Instant::now(), WAIT / 2);
    }
}
