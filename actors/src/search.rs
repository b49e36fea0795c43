//! The search for the requests that make a batch fail. Pure.
//!
//! A run that fails tells only that one of its requests is bad, and a run that ends well answers all of its requests. So the search
//! halves a group that failed until a bad request is alone. The requests outside the last run that failed may be good, and go back
//! to those of which nothing is known. The first runs hold as many requests as are likely to be good together
//! ([`FailureShare`]): where a quarter of the requests is bad, a group of 32 fails almost surely, and its run is wasted.

use std::collections::VecDeque;

/// How much of the share of bad requests each request replaces: the share follows about the last 24 requests. A longer
/// memory is slow to notice many bad requests, and a shorter one takes a few for many.
const SHARE_OF_ONE: f64 = 1.0 / 24.0;
/// A run should end well at least every second time, for then the search takes the fewest runs. So the requests of a run times
/// their share of bad ones is the logarithm of 2.
const BAD_IN_A_RUN_MAX: f64 = std::f64::consts::LN_2;

/// The requests of a batch that have no answer yet.
pub(crate) struct Search<T> {
    /// Those of which nothing is known, in order.
    unknown: VecDeque<T>,
    /// Those among which one is bad, in order. Their last run failed, and the rest of that run ended well since.
    suspects: VecDeque<T>,
}

impl<T> Search<T> {
    pub(crate) fn new(requests: Vec<T>) -> Self {
        Self { unknown: requests.into(), suspects: VecDeque::new() }
    }

    /// Whether no request is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.suspects.is_empty()
    }

    /// Takes the requests of the next run: half of the suspects, or up to `requests_max` of those of which nothing is known.
    pub(crate) fn next_group(&mut self, requests_max: usize) -> Vec<T> {
        if self.suspects.is_empty() {
            let count = self.unknown.len().min(requests_max);
            self.unknown.drain(..count).collect()
        } else {
            let count = self.suspects.len().div_ceil(2);
            self.suspects.drain(..count).collect()
        }
    }

    /// Notes that the run of `group` failed. Its requests are the suspects now, and a group of one is done.
    pub(crate) fn failed(&mut self, group: Vec<T>) {
        let others = std::mem::take(&mut self.suspects);
        others.into_iter().rev().for_each(|request| self.unknown.push_front(request));
        self.suspects = group.into();
    }

    /// Takes all requests that are left.
    pub(crate) fn take_rest(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.unknown))
    }
}

/// The share of a signature's latest requests that failed by themselves.
#[derive(Debug, Default)]
pub(crate) struct FailureShare(f64);

impl FailureShare {
    /// Notes that a request failed alone.
    pub(crate) fn bad(&mut self) {
        self.0 += (1.0 - self.0) * SHARE_OF_ONE;
    }

    /// Notes that the run of `requests` requests ended well.
    pub(crate) fn good(&mut self, requests: usize) {
        self.0 *= (1.0 - SHARE_OF_ONE).powi(i32::try_from(requests).unwrap_or(i32::MAX));
    }

    /// The most requests of a run, at least 1.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive; a cast of infinity gives the maximum"
    )]
    pub(crate) fn group_max(&self) -> usize {
        ((BAD_IN_A_RUN_MAX / self.0) as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches among `count` requests, of which those in `bad` are bad. Gives the requests of each run.
    fn search(count: usize, bad: &[usize], share: &mut FailureShare) -> Vec<Vec<usize>> {
        let (mut search, mut runs, mut answered) = (Search::new((0..count).collect()), Vec::new(), Vec::new());
        while !search.is_empty() {
            let group = search.next_group(share.group_max());
            runs.push(group.clone());
            assert!(!group.is_empty() && runs.len() <= 3 * count, "{runs:?}");
            if !group.iter().any(|request| bad.contains(request)) {
                share.good(group.len());
                answered.extend(group);
            } else if group.len() == 1 {
                share.bad();
                answered.extend(&group);
                search.failed(Vec::new());
            } else {
                search.failed(group);
            }
        }
        answered.sort_unstable();
        assert_eq!(answered, (0..count).collect::<Vec<_>>(), "each is answered once");
        runs
    }

    #[test]
    fn one_bad_request_is_found_by_halves() {
        let runs = search(8, &[2], &mut FailureShare::default());
        assert_eq!(runs, [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![0, 1, 2, 3], vec![0, 1], vec![2], vec![3, 4, 5, 6, 7]]);
        let runs = search(8, &[5], &mut FailureShare::default());
        assert_eq!(runs[1..], [vec![0, 1, 2, 3], vec![4, 5], vec![4], vec![5], vec![6, 7]]);
    }

    #[test]
    fn good_requests_share_one_run() {
        assert_eq!(search(32, &[], &mut FailureShare::default()).len(), 1);
    }

    #[test]
    fn a_rare_bad_request_is_soon_forgotten() {
        let mut share = FailureShare::default();
        assert_eq!(search(32, &[17], &mut share).len(), 8);
        assert!(search(32, &[], &mut share).len() <= 2);
        assert_eq!(search(32, &[], &mut share).len(), 1);
    }

    /// How many runs a hundred batches of 32 take of which each request is bad with a probability of `bad_percent`.
    fn runs_of_3200(bad_percent: usize) -> usize {
        let (mut share, mut noise) = (FailureShare::default(), 1_usize);
        let mut is_bad = |_: &usize| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % 100 < bad_percent
        };
        (0..100).map(|_| search(32, &(0..32).filter(&mut is_bad).collect::<Vec<_>>(), &mut share).len()).sum()
    }

    #[test]
    fn many_bad_requests_take_hardly_more_runs_than_requests() {
        assert_eq!(runs_of_3200(0), 100);
        assert!(runs_of_3200(2) < 700, "{}", runs_of_3200(2));
        assert!(runs_of_3200(25) < 3200, "{}", runs_of_3200(25));
        assert!(runs_of_3200(50) < 3700, "{}", runs_of_3200(50));
        assert!(runs_of_3200(100) < 3300, "{}", runs_of_3200(100));
    }

    #[test]
    fn the_share_follows_the_latest_requests() {
        let mut share = FailureShare::default();
        assert_eq!(share.group_max(), usize::MAX);
        (0..1000).for_each(|_| share.bad());
        assert_eq!(share.group_max(), 1);
        share.good(16);
        assert_eq!(share.group_max(), 1, "half of the latest");
        share.good(80);
        assert!((30..60).contains(&share.group_max()), "{share:?}");
        share.good(10_000_000_000);
        assert_eq!(share.group_max(), usize::MAX);
    }
}
