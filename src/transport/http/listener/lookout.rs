//! Looks after an HTTP/1.1 connection beside its requests: whether it waits too long, is old, or has to close.
//!
//! A timer for each request would cost more than all this. So the connection is looked at when it might have waited too long, and its
//! requests only note when they end.

use std::rc::Rc;

use futures::future::{FutureExt, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, Instant};

use super::activity::Activity;
use super::timeouts::{closing, Timeouts};

/// The next step for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It has waited for a request for too long.
    Late,
    /// It was told to close, and nothing is left of its requests.
    Finished,
}

enum Event {
    Told,
    Look,
}

/// Looks after a connection.
pub(super) struct Lookout {
    activity: Rc<Activity>,
    timeouts: Timeouts,
    begun: Instant,
    /// After it was told to close: the time that it has for its last requests.
    closes: Option<Instant>,
    /// They are polled only when they have something to tell, and not with every request.
    events: FuturesUnordered<LocalBoxFuture<'static, Event>>,
}

impl Lookout {
    pub(super) fn new(activity: &Rc<Activity>, timeouts: Timeouts, closing_signal: watch::Receiver<bool>) -> Self {
        let begun = Instant::now();
        let events = FuturesUnordered::new();
        events.push(closing(closing_signal).map(|()| Event::Told).boxed_local());
        let this = Self { activity: Rc::clone(activity), timeouts, begun, closes: None, events };
        this.look_at(begun + timeouts.head.min(timeouts.keep_alive));
        this
    }

    /// Waits until there is something to do.
    pub(super) async fn next(&mut self) -> Finding {
        loop {
            let event = self.events.next().await;
            let now = Instant::now();
            if matches!(event, Some(Event::Told)) {
                self.activity.set_stopping();
                self.closes = Some(now + self.timeouts.linger);
            }
            match self.look(now) {
                Ok(next) => self.look_at(next),
                Err(finding) => return finding,
            }
        }
    }

    fn look_at(&self, time: Instant) {
        self.events.push(sleep_until(time).map(|()| Event::Look).boxed_local());
    }

    /// Finds out what to do, or when to look again.
    fn look(&self, now: Instant) -> Result<Instant, Finding> {
        let Timeouts { head, keep_alive, linger, age, .. } = self.timeouts;
        if let Some(closes) = self.closes {
            // After an answer that did not say so, the client may have sent one more request.
            return match self.activity.idle_since().map(|since| closes.max(since + linger)) {
                Some(end) if end <= now => Err(Finding::Finished),
                Some(end) => Ok(end),
                None => Ok(now + linger),
            };
        }
        let age_end = self.begun + age;
        if age_end <= now {
            self.activity.set_old();
        }
        let wait = if self.activity.has_asked() { keep_alive } else { head };
        let end = match self.activity.idle_since() {
            Some(since) if since + wait <= now => return Err(Finding::Late),
            Some(since) => since + wait,
            None => now + keep_alive,
        };
        Ok(if age_end <= now { end } else { end.min(age_end) })
    }
}
