use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use futures::channel::oneshot;
use futures::poll;

use super::*;

/// The limit of the memory in these tests.
const BYTES_MAX: usize = 256;

fn memory() -> Rc<Memory> {
    Memory::new(BYTES_MAX, Ledger::new(usize::MAX))
}

impl Memory {
    /// Memory of a request that has left the fetcher.
    async fn room_of(&self, bytes: usize) -> Room {
        let mut room = self.room();
        self.grow(&mut room, &Wanted::new(), bytes).await.unwrap();
        room
    }
}

/// A request in these tests.
struct Request {
    admitted: Admitted,
    refused: oneshot::Receiver<(usize, Failure)>,
    wanted: Vec<Rc<Wanted>>,
    rooms: Vec<Room>,
}

impl Request {
    /// Makes a request with URLs. Its first body holds `held` bytes.
    async fn new(memory: &Rc<Memory>, urls: usize, held: usize) -> Self {
        let (waiter, refused) = Waiter::new(urls, usize::MAX);
        let admitted = memory.admit(waiter);
        let wanted: Vec<_> = (0..urls).map(|_| Wanted::new()).collect();
        wanted.iter().enumerate().for_each(|(index, wanted)| admitted.waits_for(index, wanted));
        let mut room = memory.room();
        if held > 0 {
            memory.grow(&mut room, &wanted[0], held).await.unwrap();
        }
        Self { admitted, refused, wanted, rooms: vec![room] }
    }

    fn is_refused(&mut self) -> bool {
        matches!(self.refused.try_recv(), Ok(Some((_, failure))) if failure.told.contains("was given up"))
    }
}

/// Takes memory for one more URL of each request.
fn take_all<'a>(memory: &'a Rc<Memory>, requests: &'a [Request], bytes: usize) -> Vec<Pin<Box<dyn Future<Output = Room> + 'a>>> {
    let take = |request: &'a Request| async move {
        let mut room = memory.room();
        memory.grow(&mut room, request.wanted.last().expect("a url"), bytes).await.unwrap();
        room
    };
    requests.iter().map(|request| Box::pin(take(request)) as Pin<Box<dyn Future<Output = Room> + 'a>>).collect()
}

#[actix::test]
async fn of_requests_that_wait_for_each_other_the_largest_gives_way() {
    let memory = memory();
    let mut requests = Vec::new();
    for held in [60, 63, 62, 61] {
        requests.push(Request::new(&memory, 2, held).await);
    }
    let wanted: Vec<_> = requests.iter().map(|request| Rc::clone(&request.wanted[1])).collect();
    let mut takes: Vec<_> = wanted
        .iter()
        .map(|wanted| {
            Box::pin(async {
                let mut room = memory.room();
                memory.grow(&mut room, wanted, 16).await.unwrap();
                room
            })
        })
        .collect();
    for take in &mut takes {
        assert!(poll!(take).is_pending(), "10 of 256 bytes are free");
    }
    let refused: Vec<bool> = requests.iter_mut().map(Request::is_refused).collect();
    assert_eq!(refused, [false, true, false, false], "one is enough");
    drop((takes.remove(1), requests.remove(1)));
    let mut rooms = Vec::new();
    for take in takes {
        rooms.push(take.await);
    }
    assert_eq!(memory.fetched.bytes(Holding::Fetched), 60 + 62 + 61 + 3 * 16);
}

#[actix::test]
async fn who_holds_memory_for_a_mute_origin_gives_way() {
    let memory = memory();
    let mut mean = Vec::new();
    for _ in 0..4 {
        mean.push(Request::new(&memory, 2, 64).await);
    }
    let other = [Request::new(&memory, 1, 0).await];
    let mut takes = take_all(&memory, &other, 16);
    assert!(poll!(&mut takes[0]).is_pending());
    let refused: Vec<usize> = (0..4).filter(|&place| mean[place].is_refused()).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    drop(mean.remove(refused[0]));
    assert_eq!(takes.remove(0).await.bytes(), 16);
}

#[actix::test]
async fn who_needs_nothing_more_keeps_its_memory() {
    let memory = memory();
    let mut requests = Vec::new();
    for _ in 0..4 {
        requests.push(Request::new(&memory, 1, 64).await);
    }
    let others = [Request::new(&memory, 2, 0).await, Request::new(&memory, 1, 0).await];
    let mut takes = take_all(&memory, &others, 64);
    for take in &mut takes {
        assert!(poll!(take).is_pending());
    }
    assert!(!requests.iter_mut().any(Request::is_refused), "all of them only read");
    drop(requests.remove(0));
    let Poll::Ready(_room) = poll!(&mut takes[0]) else { panic!("the first to ask is the first served") };
    assert!(poll!(&mut takes[1]).is_pending());
    // A body that turns out smaller gives back what it does not need.
    requests[0].rooms[0].settle(0);
    assert!(matches!(poll!(&mut takes[1]), Poll::Ready(_)));
}

#[actix::test]
async fn a_request_waits_for_requests_that_run() {
    let memory = memory();
    let running = memory.room_of(192).await;
    let mut requests = [Request::new(&memory, 2, 32).await];
    let wanted = Rc::clone(&requests[0].wanted[1]);
    let mut room = memory.room();
    let mut take = Box::pin(memory.grow(&mut room, &wanted, 64));
    assert!(poll!(&mut take).is_pending());
    assert!(!requests[0].is_refused(), "the memory comes back without it");
    drop(running);
    assert!(take.await.is_ok());
}

#[actix::test]
async fn a_request_does_not_wait_for_itself() {
    let memory = memory();
    let mut requests = [Request::new(&memory, 2, 200).await];
    let wanted = Rc::clone(&requests[0].wanted[1]);
    let mut room = memory.room();
    assert!(poll!(Box::pin(memory.grow(&mut room, &wanted, 100))).is_pending());
    assert!(requests[0].is_refused());
}

#[actix::test]
async fn a_request_that_holds_nothing_is_in_nobodys_way() {
    let memory = memory();
    let running = memory.room_of(BYTES_MAX).await;
    let mut requests = [Request::new(&memory, 1, 0).await, Request::new(&memory, 1, 0).await];
    let wanted = requests.each_ref().map(|request| Rc::clone(&request.wanted[0]));
    let mut rooms = [memory.room(), memory.room()];
    let [first, second] = &mut rooms;
    let mut takes = [Box::pin(memory.grow(first, &wanted[0], 16)), Box::pin(memory.grow(second, &wanted[1], 16))];
    for take in &mut takes {
        assert!(poll!(take).is_pending());
    }
    assert_eq!(requests.each_mut().map(Request::is_refused), [false, false]);
    drop(running);
    for take in takes {
        assert!(take.await.is_ok());
    }
}

#[actix::test]
async fn who_needs_little_does_not_overtake_who_needs_much() {
    let memory = memory();
    let running = memory.room_of(BYTES_MAX - 16).await;
    let (mut large, mut small) = (memory.room(), memory.room());
    let (first, second) = (Wanted::new(), Wanted::new());
    let mut much = Box::pin(memory.grow(&mut large, &first, 64));
    assert!(poll!(&mut much).is_pending());
    let mut little = Box::pin(memory.grow(&mut small, &second, 16));
    assert!(poll!(&mut little).is_pending(), "16 bytes are free, and another waits");
    drop(running);
    assert!(much.await.is_ok() && little.await.is_ok());
}

#[actix::test]
async fn a_request_that_ends_takes_off_nobody_else() {
    let memory = memory();
    let (first, second) = (Request::new(&memory, 1, 0).await, Request::new(&memory, 1, 0).await);
    drop(first);
    let known = memory.waiters.borrow();
    assert!(known.len() == 1 && Rc::ptr_eq(&known[0], &second.admitted.waiter));
    drop(known);
}

#[actix::test]
async fn a_request_waits_for_those_that_have_given_way() {
    let memory = memory();
    let mut requests = [Request::new(&memory, 2, 100).await, Request::new(&memory, 2, 100).await];
    let wanted = Rc::clone(&requests[0].wanted[1]);
    let mut room = memory.room();
    let mut take = Box::pin(memory.grow(&mut room, &wanted, 156));
    assert!(poll!(&mut take).is_pending());
    assert_eq!(requests.each_mut().map(Request::is_refused), [false, true], "all that is free then is just enough");
    // Another request comes before the one that was refused has left.
    let other = Request::new(&memory, 1, 0).await;
    assert!(!requests[0].is_refused());
    let [first, second] = requests;
    drop((second, other));
    assert!(take.await.is_ok());
    drop(first);
}

#[actix::test]
async fn of_bodies_that_grow_side_by_side_some_go_on_to_their_end() {
    let memory = memory();
    let mut growing = Vec::new();
    for _ in 0..8 {
        growing.push(Some(Request::new(&memory, 1, 32).await));
    }
    // Each body needs 64 bytes in the end. All ask before the first of them is refused or served.
    let grow = |request: Option<Request>| {
        let memory = Rc::clone(&memory);
        async move {
            let Request { admitted, refused, wanted, mut rooms } = request.expect("a request");
            let grown = tokio::select! {
                biased;
                Ok(_) = refused => false,
                grown = memory.grow(&mut rooms[0], &wanted[0], 32) => grown.is_ok(),
            };
            drop((admitted, rooms));
            grown
        }
    };
    let ended = futures::future::join_all(growing.into_iter().map(grow)).await;
    let whole = ended.iter().filter(|whole| **whole).count();
    assert!(whole >= 4, "{ended:?}");
    assert_eq!(memory.fetched.bytes(Holding::Fetched), 0);
    assert!(memory.waiting.borrow().is_empty() && memory.waiters.borrow().is_empty());
}

#[actix::test]
async fn a_full_ledger_refuses_at_once() {
    let ledger = Ledger::new(100);
    let memory = Memory::new(BYTES_MAX, Arc::clone(&ledger));
    let request = Request::new(&memory, 1, 60).await;
    assert_eq!(ledger.bytes(Holding::Fetched), 60);
    let mut room = memory.room();
    let failure = memory.grow(&mut room, &Wanted::new(), 41).await.unwrap_err();
    assert!(failure.told.contains("41 bytes more, and the server holds 60 of 100 bytes"), "{}", failure.told);
    drop((room, request));
    assert_eq!((ledger.bytes(Holding::Fetched), memory.fetched.bytes(Holding::Fetched)), (0, 0));
}
