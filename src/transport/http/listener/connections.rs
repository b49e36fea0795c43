//! The open connections of a worker. Beyond the limit, those that have waited longest for their clients end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use futures::future::{abortable, AbortHandle};

use super::activity::Activity;

/// One in this many connections ends at once. To look at all of them for each new one would take longer than to serve it.
const ENDED_AT_ONCE: usize = 64;

/// The open connections of a worker.
pub(super) struct Connections {
    max: usize,
    open: RefCell<BTreeMap<u64, (Rc<Activity>, AbortHandle)>>,
    next: Cell<u64>,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: RefCell::default(), next: Cell::default() }
    }

    /// Runs a connection. Beyond the limit, it first ends the connections that have waited longest for their clients; those that
    /// the server works for do not end.
    pub(super) async fn run(&self, activity: &Rc<Activity>, connection: impl Future<Output = ()>) {
        if self.open.borrow().len() >= self.max {
            self.end_longest_waiting();
        }
        let (connection, handle) = abortable(connection);
        let number = self.next.replace(self.next.get() + 1);
        self.open.borrow_mut().insert(number, (Rc::clone(activity), handle));
        let _open = Open { connections: self, number };
        // An error means that it was ended for another one.
        let _ = connection.await;
    }

    /// Makes each open connection end with its next answer.
    pub(super) fn end_with_next_answers(&self) {
        self.open.borrow().values().for_each(|(activity, _)| activity.set_old());
    }

    fn end_longest_waiting(&self) {
        let open = self.open.borrow();
        let waiting = open.values().filter(|(_, handle)| !handle.is_aborted());
        let mut waiting: Vec<_> = waiting.filter_map(|(activity, handle)| Some((activity.waits_since()?, handle))).collect();
        let count = self.max.div_ceil(ENDED_AT_ONCE).min(waiting.len());
        if count < waiting.len() {
            waiting.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        waiting[..count].iter().for_each(|(_, handle)| handle.abort());
    }
}

/// A place among the open connections.
struct Open<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn the_longest_waiting_one_ends_for_a_new_one() {
        let connections = Connections::new(3);
        let [busy, waiting, young, new] = [(); 4].map(|()| Activity::new());
        let running = busy.begin();
        let mut open = [&busy, &waiting, &young].map(|activity| Box::pin(connections.run(activity, pending())));
        open.iter_mut().for_each(|open| assert!(open.now_or_never().is_none()));
        let mut new = Box::pin(connections.run(&new, pending()));
        assert!((&mut new).now_or_never().is_none());
        let ended = open.each_mut().map(|open| open.now_or_never().is_some());
        assert_eq!((ended, connections.open.borrow().len()), ([false, true, false], 3));
        drop((running, open, new));
        assert!(connections.open.borrow().is_empty());
    }

    #[actix_web::test]
    async fn of_many_a_share_ends_at_once() {
        let connections = Connections::new(2 * ENDED_AT_ONCE);
        let activities: Vec<_> = (0..=connections.max).map(|_| Activity::new()).collect();
        let mut open: Vec<_> = activities.iter().map(|activity| Box::pin(connections.run(activity, pending()))).collect();
        open.iter_mut().for_each(|open| assert!(open.now_or_never().is_none()));
        let ended = open.iter_mut().map(|open| open.now_or_never().is_some());
        assert_eq!(ended.collect::<Vec<_>>()[..3], [true, true, false], "the longest waiting two");
    }

    #[actix_web::test]
    async fn who_waits_for_a_body_waits_for_the_client() {
        let connections = Connections::new(1);
        let uploading = Activity::new();
        let _running = uploading.begin();
        let mut open = Box::pin(connections.run(&uploading, pending()));
        assert!((&mut open).now_or_never().is_none());
        let others = [Activity::new(), Activity::new()];
        let awaiting = {
            let mut over = Box::pin(connections.run(&others[0], pending()));
            assert!((&mut over).now_or_never().is_none() && (&mut open).now_or_never().is_none(), "the server works for it");
            uploading.await_body()
        };
        assert!(Box::pin(connections.run(&others[1], pending())).now_or_never().is_none());
        assert!(open.now_or_never().is_some());
        drop(awaiting);
    }
}
