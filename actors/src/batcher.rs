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

    /// The most rows of a batch.
    #[must_use]
    pub fn batch_rows_max(&self) -> usize {
        self.batch_rows_max
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
    /// first served: one that does not fit any more ends the batch; no later one overtakes it. Empty when nobody waits.
    ///
    /// Only a request that is larger than any batch is taken in parts. A part that is the first of its batch has up to
    /// `part_rows` rows. The rest of the request goes to the end of the queue, so that it takes turns with the others.
    pub fn next_batch(&mut self, part_rows: usize) -> Vec<T> {
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
            } else if request.exceeds(self.batch_rows_max) {
                let rows = if batch.is_empty() { part_rows.max(room) } else { room };
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

    /// Takes `rows` rows of the request at `index`, or all if it has no more; the rest goes to the end.
    fn take_part(&mut self, index: usize, rows: usize) -> Option<T> {
        let mut request = self.queue.remove(index)?;
        if request.rows() <= rows {
            return Some(request);
        }
        let part = request.split_off_front(rows);
        self.queue.push_back(request);
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
            // '!' stands for a request that is never batched.
            self.kind == other.kind && self.kind != '!'
        }
        fn split_off_front(&mut self, rows: usize) -> Self {
            self.rows -= rows;
            Self { rows, ..self.clone() }
        }
    }

    /// Queues requests written as `<rows><kind>` (`x` behind it: abandoned) and gives the batches they run in.
    #[track_caller]
    fn check(max: usize, queue: &str, expect: &str) {
        check_parts(max, max, queue, expect);
    }

    /// The same with parts of `part_rows` rows.
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
            let batch = batcher.next_batch(part_rows);
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
