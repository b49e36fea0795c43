use std::future::Future;
use std::pin::Pin;

use futures::poll;

use super::super::hosts::Hosts;
use super::*;

/// A fetch that waits for its turn or has it.
type Taking<'a> = Pin<Box<dyn Future<Output = Result<Turn, Failure>> + 'a>>;

/// A request with that many URLs, and its fetches.
fn request(urls: usize) -> (Rc<Waiter>, Vec<Rc<Wanted>>) {
    let (waiter, _) = Waiter::new(urls, usize::MAX);
    let wanted: Vec<_> = (0..urls).map(|_| Wanted::new()).collect();
    wanted.iter().enumerate().for_each(|(index, wanted)| waiter.waits_for(index, wanted));
    (waiter, wanted)
}

fn turns(number: usize, waiting_max: usize) -> Rc<Turns> {
    Turns::new(Kind::Fetches, number, waiting_max, &Arc::default())
}

/// Polls all, and gives the turns of those that have one.
async fn taken(taking: &mut Vec<(usize, Taking<'_>)>) -> Vec<(usize, Turn)> {
    let mut taken = Vec::new();
    let mut waiting = Vec::new();
    for (number, mut take) in taking.drain(..) {
        match poll!(&mut take) {
            std::task::Poll::Ready(turn) => taken.push((number, turn.unwrap())),
            std::task::Poll::Pending => waiting.push((number, take)),
        }
    }
    *taking = waiting;
    taken
}

fn take<'a>(turns: &'a Rc<Turns>, wanted: &'a [Rc<Wanted>], hosts: &'a [Rc<Host>]) -> Vec<(usize, Taking<'a>)> {
    let one = |(number, wanted): (usize, &'a Rc<Wanted>)| {
        let taking: Taking<'a> = Box::pin(turns.take(wanted, &hosts[number % hosts.len()]));
        (number, taking)
    };
    wanted.iter().enumerate().map(one).collect()
}

fn named(hosts: &Hosts, number: usize) -> Vec<Rc<Host>> {
    (0..number).map(|number| hosts.host(&format!("{number}.example"))).collect()
}

#[actix::test]
async fn a_request_with_many_slow_hosts_leaves_turns_for_others() {
    let (turns, hosts) = (turns(64, 512), Hosts::new(1));
    let (mute, good) = (named(&hosts, 4), [hosts.host("good.example")]);
    let (_first, wanted) = request(160);
    let mut mean = take(&turns, &wanted, &mute);
    let held = taken(&mut mean).await;
    assert_eq!(held.len(), 16, "a quarter");
    for _ in 0..3 {
        let (_other, wanted) = request(1);
        assert_eq!(taken(&mut take(&turns, &wanted, &good)).await.len(), 1, "another request has its turn at once");
    }
}

#[actix::test]
async fn a_host_has_a_quarter_whoever_asks() {
    let (turns, hosts) = (turns(64, 512), Hosts::new(1));
    let one = named(&hosts, 1);
    let requests: Vec<_> = (0..5).map(|_| request(10)).collect();
    let mut taking: Vec<_> = requests.iter().flat_map(|(_, wanted)| take(&turns, wanted, &one)).collect();
    assert_eq!(taken(&mut taking).await.len(), 16);
}

#[actix::test]
async fn a_free_turn_goes_round_the_requests_and_then_round_their_hosts() {
    let (turns, hosts) = (turns(2, 512), Hosts::new(1));
    let all = named(&hosts, 20);
    let first = request(2);
    let mut held: Vec<_> = taken(&mut take(&turns, &first.1[..1], &all[18..])).await;
    let second = request(1);
    held.extend(taken(&mut take(&turns, &second.1, &all[19..])).await);
    // Nothing is free. Three requests wait: for 4 URLs of two hosts, for 3, for 1. Numbers tell them apart.
    let requests = [request(4), request(3), request(1)];
    let mut taking = Vec::new();
    for (place, (_, wanted)) in requests.iter().enumerate() {
        let hosts = if place == 0 { &all[..2] } else { &all[2 + 4 * place..6 + 4 * place] };
        taking.extend(take(&turns, wanted, hosts).into_iter().map(|(number, take)| (10 * place + number, take)));
        assert!(taken(&mut taking).await.is_empty());
    }
    let mut order = Vec::new();
    while !held.is_empty() {
        held.remove(0);
        let next = taken(&mut taking).await;
        order.extend(next.iter().map(|(number, _)| *number));
        held.extend(next);
    }
    // Of the first request the hosts alternate by themselves: 0 and 2 are of one host, 1 and 3 of the other.
    assert_eq!(order, [0, 10, 20, 1, 11, 2, 12, 3]);
}

#[actix::test]
async fn a_request_that_came_after_anothers_turn_is_behind_it() {
    let (turns, hosts) = (turns(1, 512), Hosts::new(1));
    let all = named(&hosts, 3);
    let (_first, first) = request(2);
    let (_second, second) = request(1);
    let mut taking = take(&turns, &first, &all[..2]);
    let held = taken(&mut taking).await;
    taking.extend(take(&turns, &second, &all[2..]).into_iter().map(|(_, take)| (10, take)));
    assert_eq!((held[0].0, taken(&mut taking).await.len()), (0, 0));
    drop(held);
    assert_eq!(taken(&mut taking).await.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
}

#[actix::test]
async fn a_fetch_starts_in_the_turn_of_whoever_waits_for_it() {
    let (turns, hosts) = (turns(8, 512), Hosts::new(1));
    let all = named(&hosts, 20);
    let (_mean, wanted) = request(10);
    let mut taking = take(&turns, &wanted, &all);
    let _held = taken(&mut taking).await;
    assert_eq!(taking.len(), 8, "it has its quarter");
    let (other, _) = Waiter::new(1, usize::MAX);
    other.waits_for(0, &wanted[9]);
    let (_third, more) = request(1);
    let mut third = take(&turns, &more, &all[19..]);
    assert_eq!(taken(&mut third).await.len(), 1);
    assert_eq!(taken(&mut taking).await.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [9]);
}

#[actix::test]
async fn figures_show_who_waits_and_who_has_a_turn() {
    for (kind, in_flight) in [(Kind::Fetches, 1), (Kind::LookUps, 0)] {
        let counters = Arc::<Counters>::default();
        let (turns, hosts) = (Turns::new(kind, 1, 512, &counters), Hosts::new(1));
        let all = named(&hosts, 2);
        let (_request, wanted) = request(2);
        let figures = || (counters.in_flight.load(Ordering::Relaxed), counters.waiting.load(Ordering::Relaxed));
        let mut taking = take(&turns, &wanted, &all);
        let held = taken(&mut taking).await;
        assert_eq!(figures(), (in_flight, 1), "{kind:?}");
        drop(held);
        let held = taken(&mut taking).await;
        assert_eq!(figures(), (in_flight, 0), "{kind:?}");
        drop(held);
        assert_eq!(figures(), (0, 0), "{kind:?}");
    }
}

#[actix::test]
async fn who_leaves_takes_no_turn_and_no_place() {
    let (turns, hosts) = (turns(1, 2), Hosts::new(1));
    let all = named(&hosts, 4);
    let requests: Vec<_> = (0..4).map(|_| request(1)).collect();
    let mut taking: Vec<_> = requests.iter().flat_map(|(_, wanted)| take(&turns, wanted, &all)).collect();
    let refused = taking.pop().unwrap();
    let held = taken(&mut taking).await;
    assert_eq!((held.len(), taking.len()), (1, 2));
    assert!(refused.1.await.is_err_and(|failure| failure.told.contains("2 urls wait to be fetched (limit 2)")));
    drop(taking.remove(0));
    drop(held);
    assert_eq!(taken(&mut taking).await.len(), 1, "the turn passes by the one that has left");
    assert_eq!((turns.free.get(), turns.waiting.borrow().len()), (1, 0));
}
