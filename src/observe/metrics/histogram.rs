//! Histograms count how many values lie between fixed bounds. They take no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values between bounds. The threads that observe values and the threads that read them share it.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds, rising. A value that equals a bound counts below it.
    bounds: &'static [u64],
    /// A count for each bound, and last the count of values above all bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The counts of a histogram at the moment when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The upper bounds, rising.
    pub bounds: &'static [u64],
    /// For each bound the number of values between it and the bound before. The last count is of values above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Makes an empty histogram.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let index = self.bounds.partition_point(|&bound| bound < value);
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Reads all counts.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

impl Distribution {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The lowest bound that the share `q` of all values does not exceed. A value above all bounds counts as the last bound. `None`
    /// if no value was counted.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn bound(&self, q: f64) -> Option<u64> {
        let rank = q * self.count() as f64;
        let mut gathered = 0;
        let index = self.counts.iter().position(|&count| {
            gathered += count;
            gathered > 0 && gathered as f64 >= rank
        })?;
        self.bounds.get(index).or(self.bounds.last()).copied()
    }

    /// The value that the share `q` of all values does not exceed. Values count as spread evenly between two bounds, and a value
    /// above all bounds counts as the last bound. `None` if no value was counted.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts and bounds are far below 2^53")]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count() as f64;
        let mut below = 0.0;
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, &count)| count > 0) {
            let upto = below + count as f64;
            if upto >= rank {
                let upper = *self.bounds.get(index).or(self.bounds.last())? as f64;
                let lower = index.checked_sub(1).and_then(|before| self.bounds.get(before)).map_or(0.0, |&bound| bound as f64);
                return Some(lower.min(upper) + (upper - lower).max(0.0) * (rank - below) / count as f64);
            }
            below = upto;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_below_the_bound_it_equals() {
        let histogram = Histogram::new(&[1, 10]);
        [0, 1, 2, 10, 11, 1000].into_iter().for_each(|value| histogram.observe(value));
        assert_eq!(histogram.read(), Distribution { bounds: &[1, 10], counts: vec![2, 2, 2], sum: 1024 });
    }

    #[test]
    fn quantiles_lie_where_the_values_do() {
        let histogram = Histogram::new(&[10, 20, 40]);
        assert_eq!(histogram.read().quantile(0.5), None);
        (0..100).for_each(|value| histogram.observe(value * 20 / 100 + 1));
        let read = histogram.read();
        assert_eq!((read.quantile(0.5), read.quantile(0.25), read.quantile(1.0)), (Some(10.0), Some(5.0), Some(20.0)));
        assert_eq!([0.5, 0.51, 1.0].map(|q| read.bound(q)), [Some(10), Some(20), Some(20)]);
        assert_eq!(Histogram::new(&[10]).read().bound(0.5), None);
        histogram.observe(1_000_000);
        assert_eq!(histogram.read().bound(1.0), Some(40));
        assert_eq!(histogram.read().quantile(1.0), Some(40.0), "nothing is known beyond the last bound");
    }
}
