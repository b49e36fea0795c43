//! The batcher decides which of the waiting requests share the next run.
//!
//! The batcher is pure: it knows no actor and no clock, and it copies no tensor.

use std::collections::VecDeque;

/// A request as the batcher sees it.
pub(crate) trait Waiting: Sized {
    /// How many of its rows still wait, at least 1. A request without rows runs alone and counts as one row.
    fn rows(&self) -> usize;

    /// Whether the whole request is larger than a batch, so that the batcher may divide it.
    fn exceeds(&self, batch_rows_max: usize) -> bool;

    /// Whether nobody waits for its answer any more.
    fn is_abandoned(&self) -> bool;

    /// Whether its rows can be stacked on the rows of `other`.
    fn stacks_with(&self, other: &Self) -> bool;

    /// Divides it into its first `rows` rows and the rest.
    fn split(self, rows: usize) -> (Self, Self);
}

/// The requests that wait for one signature, in the order of their turns.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    queue: VecDeque<T>,
    batch_rows_max: usize,
}

impl<T: Waiting> Batcher<T> {
    /// Makes an empty queue whose batches have at most `batch_rows_max` rows.
    pub(crate) fn new(batch_rows_max: usize) -> Self {
        Self { queue: VecDeque::new(), batch_rows_max }
    }

    /// The most rows of a batch.
    pub(crate) fn batch_rows_max(&self) -> usize {
        self.batch_rows_max
    }

    /// Puts a request at the end of the queue. One that fits into a batch goes before all but the first of the larger ones: it waits
    /// for one part, and not for a part of each of them.
    ///
    /// So no such request is behind the second of the larger ones, and a queue with none at its end is not searched.
    pub(crate) fn push(&mut self, request: T) {
        let is_larger = |request: &T| request.exceeds(self.batch_rows_max);
        if is_larger(&request) || !self.queue.back().is_some_and(is_larger) {
            return self.queue.push_back(request);
        }
        let second = self.queue.iter().enumerate().filter(|(_, request)| is_larger(request)).nth(1);
        let place = second.map_or(self.queue.len(), |(index, _)| index);
        self.queue.insert(place, request);
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops the requests that nobody waits for.
    pub(crate) fn purge(&mut self) {
        self.queue.retain(|request| !request.is_abandoned());
    }

    /// Takes the next batch: the oldest request, and then in order each request that stacks with it, up to the limit of rows.
    ///
    /// A request that no longer fits ends the batch, so that no later request overtakes it. The batch is empty if no request waits.
    ///
    /// Only a request that is larger than any batch is divided. A part that is the first of its batch has as many rows as
    /// `part_rows` says, at least 1. The rest of the request goes to the end of the queue and so takes turns with the other requests.
    pub(crate) fn next_batch(&mut self, part_rows: impl Fn(&T) -> usize) -> Vec<T> {
        let mut batch: Vec<T> = Vec::with_capacity(self.queue.len().min(self.batch_rows_max));
        let mut room = self.batch_rows_max;
        let mut index = 0;
        while let Some(request) = self.queue.get(index) {
            if request.is_abandoned() {
                self.queue.remove(index);
            } else if batch.first().is_some_and(|first| !request.stacks_with(first)) {
                index += 1;
            } else if request.rows() <= room {
                room -= request.rows();
                batch.extend(self.queue.remove(index));
            } else if request.exceeds(self.batch_rows_max) {
                let rows = if batch.is_empty() { part_rows(request) } else { room };
                batch.extend(self.take_part(index, rows));
                break;
            } else {
                break;
            }
            if room == 0 {
                break;
            }
        }
        batch
    }

    /// Takes the first `rows` rows of the request at `index` and puts the rest at the end of the queue. Takes all of a request that
    /// has no more rows.
    fn take_part(&mut self, index: usize, rows: usize) -> Option<T> {
        let request = self.queue.remove(index)?;
        if request.rows() <= rows {
            return Some(request);
        }
        let (part, rest) = request.split(rows);
        self.queue.push_back(rest);
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug)]
    struct Fake {
        rows: usize,
        total: usize,
        kind: char,
        abandoned: bool,
    }

    impl Waiting for Fake {
        fn rows(&self) -> usize {
            self.rows
        }
        fn exceeds(&self, batch_rows_max: usize) -> bool {
            self.total > batch_rows_max
        }
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
        fn stacks_with(&self, other: &Self) -> bool {
            // The kind '!' stands for a request that shares no run.
            self.kind == other.kind && self.kind != '!'
        }
        fn split(self, rows: usize) -> (Self, Self) {
            (Self { rows, ..self.clone() }, Self { rows: self.rows - rows, ..self })
        }
    }

    /// Queues requests, each written as `<rows><kind>` with an `x` behind it if it is abandoned. Expects the batches that they
    /// form.
    #[track_caller]
    fn check(max: usize, queue: &str, expect: &str) {
        check_parts(max, max, queue, expect);
    }

    /// Does the same with parts of `part_rows` rows.
    #[track_caller]
    fn check_parts(max: usize, part_rows: usize, queue: &str, expect: &str) {
        let mut batcher = Batcher::new(max);
        for word in queue.split_whitespace() {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            let rows = digits.parse().unwrap();
            let kind = word[digits.len()..].chars().next().unwrap();
            batcher.push(Fake { rows, total: rows, kind, abandoned: word.ends_with('x') });
        }
        let mut batches = Vec::new();
        while !batcher.is_empty() {
            let batch = batcher.next_batch(|_| part_rows);
            let words: Vec<String> = batch.iter().map(|request| format!("{}{}", request.rows, request.kind)).collect();
            batches.push(words.join("+"));
        }
        assert_eq!(batches.join(" "), expect, "queue {queue}");
    }

    #[test]
    fn rows_fill_batches_in_order() {
        check(4, "1a 1a 1a 1a 1a", "1a+1a+1a+1a 1a");
        check(4, "3a 2a 1a", "3a 2a+1a");
        check(1, "1a 1a", "1a 1a");
    }

    #[test]
    fn large_requests_run_in_parts() {
        check(32, "100a", "32a 32a 32a 4a");
        check(4, "1a 6a 1a", "1a+3a 1a+3a");
    }

    #[test]
    fn parts_may_be_larger_than_batches() {
        check_parts(4, 16, "40a", "16a 16a 8a");
        check_parts(4, 16, "10a 1a", "10a 1a");
        check_parts(4, 16, "1a 40a", "1a+3a 16a 16a 5a");
    }

    #[test]
    fn parts_take_turns_with_other_requests() {
        check(4, "12a 1a 1b 9b", "4a 1a+3a 1b+3b 4a 4b 1a 2b");
        check_parts(4, 8, "20a 4a 4a", "8a 4a 4a 8a 4a");
    }

    #[test]
    fn a_request_waits_for_one_part_of_others_and_not_for_one_of_each() {
        check(4, "8b 8c 8d 1a 1a", "4b 1a+1a 4c 4d 4b 4c 4d");
        check(4, "1a 8b 8c 1a 1d", "1a+1a 4b 1d 4c 4b 4c");
        // The larger ones go on, however many others come.
        let mut batcher = Batcher::new(4);
        let fake = |rows, kind| Fake { rows, total: rows, kind, abandoned: false };
        ['b', 'c', 'd'].into_iter().for_each(|kind| batcher.push(fake(40, kind)));
        let mut turns = String::new();
        for _ in 0..12 {
            batcher.push(fake(1, 'a'));
            turns.extend(batcher.next_batch(|_| 4).first().map(|request| request.kind));
        }
        assert_eq!(turns, "bacadabacada");
    }

    #[test]
    fn unlike_rows_wait_for_their_own_batch() {
        check(4, "1a 1b 1a 1b", "1a+1a 1b+1b");
        check(4, "3a 1b 2a 1b", "3a 1b+1b 2a");
    }

    #[test]
    fn unbatchable_requests_run_alone() {
        check(4, "1! 1! 1a 1a", "1! 1! 1a+1a");
    }

    #[test]
    fn abandoned_requests_take_no_place() {
        check(2, "1ax 1a 1ax 1a", "1a+1a");
        check(2, "1ax", "");
    }
}
