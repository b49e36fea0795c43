//! The open connections. Where there are as many as the limit allows, the one that has been silent for the longest time closes for
//! a new one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// All open connections.
pub(super) struct Connections {
    begun: Instant,
    connections_max: usize,
    open: Mutex<Open>,
    /// The calls of all connections whose message is complete, and which are not answered.
    calls: AtomicUsize,
}

#[derive(Default)]
struct Open {
    places: BTreeMap<u64, Arc<Place>>,
    next: u64,
}

/// The state of one connection.
struct Place {
    /// The calls whose message is complete, and which are not answered.
    calls: AtomicUsize,
    /// When the last call was answered, or when the connection was accepted. In milliseconds.
    silent_since_ms: AtomicUsize,
    close: Notify,
}

/// An open connection. Dropped, it leaves its place to another.
pub(super) struct OpenConnection {
    connections: Arc<Connections>,
    place: Arc<Place>,
    number: u64,
}

/// A call that a connection must not close on.
pub(super) struct Busy {
    connections: Arc<Connections>,
    place: Arc<Place>,
}

impl Connections {
    pub(super) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), connections_max, open: Mutex::default(), calls: AtomicUsize::new(0) })
    }

    /// Opens a connection; `None` if all others are busy.
    pub(super) fn enter(self: &Arc<Self>) -> Option<OpenConnection> {
        let mut open = self.lock();
        if open.places.len() >= self.connections_max && !close_silent(&mut open) {
            return None;
        }
        let place = Place {
            calls: AtomicUsize::new(0),
            silent_since_ms: AtomicUsize::new(milliseconds(self.begun.elapsed())),
            close: Notify::new(),
        };
        let (place, number) = (Arc::new(place), open.next);
        open.next += 1;
        open.places.insert(number, Arc::clone(&place));
        Some(OpenConnection { connections: Arc::clone(self), place, number })
    }

    /// Closes the connection that has been silent for the longest time. Returns whether there was one.
    pub(super) fn close_silent(&self) -> bool {
        close_silent(&mut self.lock())
    }

    /// The number of calls whose message is complete, and which are not answered.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close_silent(open: &mut Open) -> bool {
    let silent = open.places.iter().filter(|(_, place)| place.calls.load(Ordering::Relaxed) == 0);
    let oldest = silent.min_by_key(|(_, place)| place.silent_since_ms.load(Ordering::Relaxed)).map(|(number, _)| *number);
    let Some(place) = oldest.and_then(|number| open.places.remove(&number)) else { return false };
    place.close.notify_one();
    true
}

fn milliseconds(time: Duration) -> usize {
    usize::try_from(time.as_millis()).unwrap_or(usize::MAX)
}

impl OpenConnection {
    /// Waits until the connection must close for another.
    pub(super) async fn must_close(&self) {
        self.place.close.notified().await;
    }

    /// Whether a call's message is complete, and its answer is not sent.
    pub(super) fn is_busy(&self) -> bool {
        self.place.calls.load(Ordering::Relaxed) > 0
    }

    /// Notes a call whose message is complete, until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.connections.calls.fetch_add(1, Ordering::Relaxed);
        self.place.calls.fetch_add(1, Ordering::Relaxed);
        Busy { connections: Arc::clone(&self.connections), place: Arc::clone(&self.place) }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.lock().places.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.place.silent_since_ms.store(milliseconds(self.connections.begun.elapsed()), Ordering::Relaxed);
        self.place.calls.fetch_sub(1, Ordering::Relaxed);
        self.connections.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_silent_one_goes_and_the_busy_one_stays() {
        let connections = Connections::new(2);
        let [busy, silent] = [(); 2].map(|()| connections.enter().unwrap());
        let call = busy.busy();
        let third = connections.enter().expect("the silent one's place");
        assert!(silent.must_close().now_or_never().is_some() && busy.must_close().now_or_never().is_none());
        drop(silent);
        let also_busy = third.busy();
        assert!(connections.enter().is_none(), "nobody is silent");
        assert_eq!(connections.calls(), 2);
        drop(call);
        assert!(connections.enter().is_some() && busy.must_close().now_or_never().is_some());
        drop(also_busy);
        assert_eq!(connections.calls(), 0);
    }

    #[test]
    fn the_longest_silent_one_goes_first() {
        let connections = Connections::new(2);
        let [first, second] = [(); 2].map(|()| connections.enter().unwrap());
        std::iter::repeat_with(|| connections.begun.elapsed()).find(|time| milliseconds(*time) > 0);
        let begun = connections.begun.elapsed();
        std::iter::repeat_with(|| connections.begun.elapsed()).find(|time| milliseconds(*time) > milliseconds(begun));
        drop(first.busy());
        assert!(connections.close_silent() && second.must_close().now_or_never().is_some());
        assert!(first.must_close().now_or_never().is_none());
    }
}
