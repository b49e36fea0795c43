//! The hosts of all fetches under way, and what each of them has of the turns and of the memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::waiters::Tally;

/// Memory is counted in units of this many bytes.
const ROOM_UNIT_BYTES: usize = 1024;

/// The turns and the room that the fetches of one host share.
pub(super) struct Host {
    pub(super) tally: Tally,
    /// Room for the bodies that are read, each at its largest possible size.
    room: Arc<Semaphore>,
}

/// The hosts of all fetches under way.
pub(super) struct Hosts {
    known: RefCell<HashMap<String, Rc<Host>>>,
    room_per_host: usize,
}

impl Hosts {
    /// Makes an empty table. The bodies that are read from one host at a time hold at most `bytes_per_host` bytes.
    pub(super) fn new(bytes_per_host: usize) -> Self {
        Self { known: RefCell::default(), room_per_host: units(bytes_per_host) }
    }

    /// Finds a host by its name, or adds it.
    pub(super) fn host(&self, name: &str) -> Rc<Host> {
        let mut known = self.known.borrow_mut();
        if let Some(host) = known.get(name) {
            return Rc::clone(host);
        }
        // Hosts without a fetch are forgotten: callers choose the names and may choose many.
        known.retain(|_, host| Rc::strong_count(host) > 1);
        let host = Rc::new(Host { tally: Tally::default(), room: Arc::new(Semaphore::new(self.room_per_host)) });
        known.insert(name.to_owned(), Rc::clone(&host));
        host
    }
}

impl Host {
    /// Waits until a body of at most `bytes` bytes may be read from the host. It may as long as the permit lives.
    pub(super) async fn room(&self, bytes: usize) -> SemaphorePermit<'_> {
        let units = u32::try_from(units(bytes)).expect("units fit 32 bits; this is a bug");
        self.room.acquire_many(units).await.expect("the semaphore is never closed; this is a bug")
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(ROOM_UNIT_BYTES).min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[actix::test]
    async fn bodies_of_one_host_wait_for_room() {
        let hosts = Hosts::new(3 * ROOM_UNIT_BYTES);
        let host = hosts.host("one.example");
        let large = host.room(ROOM_UNIT_BYTES + 1).await;
        let small = poll!(Box::pin(host.room(ROOM_UNIT_BYTES)));
        assert!(small.is_ready(), "one unit is left");
        let mut other = Box::pin(host.room(1));
        assert!(poll!(&mut other).is_pending());
        assert!(
            poll!(Box::pin(hosts.host("two.example").room(3 * ROOM_UNIT_BYTES))).is_ready(),
            "another host has room of its own"
        );
        drop(large);
        assert!(poll!(&mut other).is_ready());
    }

    #[test]
    fn hosts_without_a_fetch_are_forgotten() {
        let hosts = Hosts::new(1);
        let kept: Vec<_> = (0..3).map(|number| hosts.host(&format!("kept-{number}.example"))).collect();
        for number in 0..100_000 {
            hosts.host(&format!("{number}.example"));
        }
        assert!(hosts.known.borrow().len() <= kept.len() + 1);
        assert!(Rc::ptr_eq(&hosts.host("kept-1.example"), &kept[1]));
    }
}
