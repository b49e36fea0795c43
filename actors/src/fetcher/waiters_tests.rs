use super::*;

/// Tells why a request was refused.
type Refused = oneshot::Receiver<(usize, Failure)>;

/// A request whose bodies may have 100 bytes together, and the fetches of its URLs.
fn request(urls: usize) -> (Rc<Waiter>, Vec<Rc<Wanted>>, Refused) {
    let (waiter, refused) = Waiter::new(urls, 100);
    let wanted: Vec<_> = (0..urls).map(|_| Wanted::new()).collect();
    wanted.iter().enumerate().for_each(|(index, wanted)| waiter.waits_for(index, wanted));
    (waiter, wanted, refused)
}

/// The URL that a request fails with and the words for it, if it was refused.
fn refusal(refused: &mut Refused) -> Option<(usize, String)> {
    refused.try_recv().ok().flatten().map(|(index, failure)| (index, failure.told))
}

#[test]
fn bodies_count_together_and_the_one_that_grows_is_one_too_many() {
    let (waiter, wanted, mut refused) = request(3);
    wanted[0].has_body_of(40);
    wanted[2].has_body_of(60);
    assert_eq!((waiter.is_refused(), refusal(&mut refused)), (false, None), "as many as it may have");
    wanted[2].has_body_of(59);
    wanted[1].has_body_of(2);
    assert!(waiter.is_refused());
    let (index, told) = refusal(&mut refused).unwrap();
    assert!(index == 1 && told.starts_with("is one too many"), "{index} {told}");
    assert!(wanted.iter().all(|wanted| wanted.waiters().is_empty()), "who is refused waits for nothing more");
}

#[test]
fn a_body_that_is_known_already_counts_when_a_request_joins() {
    let wanted = Wanted::new();
    wanted.has_body_of(101);
    let (waiter, mut refused) = Waiter::new(1, 100);
    waiter.waits_for(0, &wanted);
    assert!(waiter.is_refused() && refusal(&mut refused).is_some());
}

#[test]
fn all_who_wait_for_a_fetch_hold_its_memory_until_they_leave() {
    let (first, wanted, mut refused) = request(2);
    let (second, _) = Waiter::new(1, 100);
    second.waits_for(0, &wanted[1]);
    assert_eq!(wanted[1].waiters().len(), 2);
    assert!(first.wants(&wanted[0]) && first.wants(&wanted[1]) && !second.wants(&wanted[0]) && second.wants(&wanted[1]));
    wanted[0].holds(7);
    wanted[1].holds(5);
    assert_eq!((first.held_bytes(), second.held_bytes()), (12, 5));
    first.leave();
    assert!(matches!(refused.try_recv(), Err(oneshot::Canceled)), "nobody refuses it any more");
    assert!(first.held_bytes() == 0 && !first.wants(&wanted[1]) && wanted[1].waiters().len() == 1);
    drop((first, second));
    let (third, _) = Waiter::new(1, 100);
    third.waits_for(0, &wanted[1]);
    assert_eq!(wanted[1].waiters.borrow().len(), 1, "who has gone takes no place");
}

#[test]
fn a_request_gives_way_with_a_url_that_still_waits() {
    let (waiter, wanted, mut refused) = request(3);
    assert!(waiter.lacks(), "no answer has come");
    wanted.iter().for_each(|wanted| wanted.holds(1));
    assert!(!waiter.lacks());
    wanted[2].needs(9);
    assert!(waiter.lacks() && wanted[2].needed_bytes() == 9);
    waiter.give_way();
    let (index, told) = refusal(&mut refused).unwrap();
    assert!(index == 2 && told.starts_with("was given up"), "{index} {told}");
    wanted[2].holds(10);
    assert_eq!((wanted[2].needed_bytes(), waiter.lacks()), (0, false));
}

#[test]
fn a_wait_for_memory_is_late_for_another_reason_than_a_slow_origin() {
    let (wanted, limit) = (Wanted::new(), Duration::from_secs(10));
    assert_eq!(wanted.late(limit).told, Failure::timed_out(limit).told);
    wanted.needs(1);
    assert_eq!(wanted.late(limit).told, Failure::no_memory(limit).told);
}
