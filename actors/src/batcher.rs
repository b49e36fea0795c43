//! The batcher: which of the waiting requests share the next run. Pure: no actor, no clock, no tensor copied.

use std::collections::VecDeque;

/// What the batcher needs to know of a waiting request.
pub trait Waiting: Sized {
    /// How many of its rows still wait, at least 1: a request without rows runs alone and counts as one.
    fn rows(&self) -> usize;

    /// Whether it is too large for one run, so that it may be taken in parts.
    fn exceeds(&self, batch_rows_max: usize) -> bool;

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;

    /// Whether its rows can be stacked on those of `other`.
    fn stacks_with(&self, other: &Self) -> bool;

    /// Takes the first `rows` of its rows off.
    fn split_off_front(&mut self, rows: usize) -> Self;
}

/// Requests in the order they came, for one signature.
#[derive(Debug)]
pub struct Batcher<T> {
    queue: VecDeque<T>,
    batch_rows_max: usize,
}

impl<T: Waiting> Batcher<T> {
    /// Makes an empty queue whose batches have at most `batch_rows_max` rows.
    #[must_use]
    pub fn new(batch_rows_max: usize) -> Self {
        Self { queue: VecDeque::new(), batch_rows_max }
    }

    /// Puts a request at the end.
    pub fn push(&mut self, request: T) {
        self.queue.push_back(request);
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops those that nobody waits for.
    pub fn purge(&mut self) {
        self.queue.retain(|request| !request.is_abandoned());
    }

    /// Takes the next batch: the oldest request, and in order those that stack with it, up to the limit of rows. First come,
    /// first served: one that does not fit any more ends the batch; no later one overtakes it. Only a request that is larger
    /// than any batch is taken in parts. Empty when nobody waits.
    pub fn next_batch(&mut self) -> Vec<T> {
        let mut batch: Vec<T> = Vec::with_capacity(self.queue.len().min(self.batch_rows_max));
        let mut room = self.batch_rows_max;
        let mut index = 0;
        while let Some(request) = self.queue.get_mut(index) {
            if request.is_abandoned() {
                self.queue.remove(index);
            } else if batch.first().is_some_and(|first| !request.stacks_with(first)) {
                index += 1;
            } else if request.rows() <= room {
                room -= request.rows();
                batch.extend(self.queue.remove(index));
            } else if room > 0 && request.exceeds(self.batch_rows_max) {
                batch.push(request.split_off_front(room));
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
            // '!' stands for a request that is never batched.
            self.kind == other.kind && self.kind != '!'
        }
        fn split_off_front(&mut self, rows: usize) -> Self {
            self.rows -= rows;
            Self { rows, ..self.clone() }
        }
    }

    /// Queues requests written as `<rows><kind>` (`x` behind it: abandoned) and gives the batches they run in.
    fn check(max: usize, queue: &str, expect: &str) {
        let mut batcher = Batcher::new(max);
        for word in queue.split_whitespace() {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            let rows = digits.parse().unwrap();
            let kind = word[digits.len()..].chars().next().unwrap();
            batcher.push(Fake { rows, total: rows, kind, abandoned: word.ends_with('x') });
        }
        let mut batches = Vec::new();
        while !batcher.is_empty() {
            let batch = batcher.next_batch();
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
        check(4, "1a 6a 1a", "1a+3a 3a+1a");
        check(1, "3a", "1a 1a 1a");
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
