//! Turns and memory: limits the fetches at once from one host and from all hosts, and the bytes of their bodies.
//!
//! One host gets a quarter of all turns and of all memory, so that a slow host leaves room for the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Counters;
use super::failure::Failure;
use super::policy::FetchPolicy;

/// One host, or one request, gets the whole divided by this number.
pub(super) const SHARE: usize = 4;
/// Memory is counted in units of this many bytes.
const ROOM_UNIT_BYTES: usize = 1024;

/// The turns and the memory that the fetches of one host share.
pub(super) struct Host {
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// The hosts of all fetches under way, and the turns and the memory that they share.
pub(super) struct Hosts {
    known: RefCell<HashMap<String, Rc<Host>>>,
    slots: Arc<Semaphore>,
    slots_per_host: usize,
    room: Arc<Semaphore>,
    room_per_host: usize,
    queue_max: usize,
    counters: Arc<Counters>,
}

/// The right to fetch from one host.
pub(super) struct Turn {
    _host_slot: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
    _in_flight: Counted,
}

/// Room for the bytes of one body.
pub(super) struct Room {
    /// Given back once the body is read.
    _host_room: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
}

impl Hosts {
    pub(super) fn new(policy: &FetchPolicy, counters: Arc<Counters>) -> Self {
        let room = units(policy.memory_bytes_max);
        Self {
            known: RefCell::default(),
            slots: Arc::new(Semaphore::new(policy.fetches_max)),
            slots_per_host: policy.fetches_max.div_ceil(SHARE),
            room: Arc::new(Semaphore::new(room)),
            room_per_host: units(policy.body_bytes_max).max(room / SHARE),
            queue_max: policy.queue_max,
            counters,
        }
    }

    /// Finds a host by its name, or adds it.
    pub(super) fn host(&self, name: &str) -> Rc<Host> {
        let mut known = self.known.borrow_mut();
        if let Some(host) = known.get(name) {
            return Rc::clone(host);
        }
        // Hosts without a fetch are forgotten: callers choose the names and may choose many.
        known.retain(|_, host| Rc::strong_count(host) > 1);
        let host = Rc::new(Host {
            slots: Arc::new(Semaphore::new(self.slots_per_host)),
            room: Arc::new(Semaphore::new(self.room_per_host)),
        });
        known.insert(name.to_owned(), Rc::clone(&host));
        host
    }

    /// Waits for a turn to fetch from a host.
    ///
    /// # Errors
    /// `Unavailable` if `queue_max` fetches wait already.
    pub(super) async fn turn(&self, host: &Host) -> Result<Turn, Failure> {
        let at_once = || {
            let host_slot = Arc::clone(&host.slots).try_acquire_owned().ok()?;
            Some((host_slot, Arc::clone(&self.slots).try_acquire_owned().ok()?))
        };
        let (host_slot, slot) = match at_once() {
            Some(slots) => slots,
            None => {
                let _waiting = Counted::within(&self.counters, |counters| &counters.waiting, self.queue_max)
                    .ok_or_else(|| Failure::queue_full(self.queue_max))?;
                // The host's turn comes first, so that a fetch that waits for a slow host holds no turn that others could use.
                let host_slot = acquire(&host.slots, 1).await;
                (host_slot, acquire(&self.slots, 1).await)
            }
        };
        let in_flight = Counted::within(&self.counters, |counters| &counters.in_flight, usize::MAX);
        Ok(Turn { _host_slot: host_slot, _slot: slot, _in_flight: in_flight.expect("no limit is reached; this is a bug") })
    }

    /// Waits for memory for a body of at most `bytes` bytes. All of it is taken before the first byte is read. Bodies that each
    /// held a part and waited for the rest would wait for each other.
    pub(super) async fn room(&self, host: &Host, bytes: usize) -> Room {
        let host_room = acquire(&host.room, units(bytes)).await;
        Room { _host_room: host_room, room: acquire(&self.room, units(bytes)).await }
    }
}

impl Room {
    /// Keeps the memory that a body of `bytes` bytes needs, and gives the rest back.
    pub(super) fn settle(self, bytes: usize) -> OwnedSemaphorePermit {
        let mut room = self.room;
        drop(room.split(room.num_permits().saturating_sub(units(bytes))));
        room
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(ROOM_UNIT_BYTES).min(u32::MAX as usize)
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: usize) -> OwnedSemaphorePermit {
    let permits = u32::try_from(permits).expect("units fit 32 bits; this is a bug");
    Arc::clone(semaphore).acquire_many_owned(permits).await.expect("these semaphores are never closed; this is a bug")
}

/// Counts one in a gauge until it is dropped.
struct Counted {
    counters: Arc<Counters>,
    gauge: fn(&Counters) -> &AtomicUsize,
}

impl Counted {
    fn within(counters: &Arc<Counters>, gauge: fn(&Counters) -> &AtomicUsize, max: usize) -> Option<Self> {
        if gauge(counters).load(Ordering::Relaxed) >= max {
            return None;
        }
        gauge(counters).fetch_add(1, Ordering::Relaxed);
        Some(Self { counters: Arc::clone(counters), gauge })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}
