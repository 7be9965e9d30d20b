//! A log-linear histogram: 32 buckets for every doubling, so a value is known to 1/32 of itself.
//!
//! ```text
//! value   0 … 63    64 65 … 127    128 … 255   …  2^40
//! bucket  0 … 63    64 64 … 95      96 … 127   …  1151     below 64 a value is its bucket; later 32 share a doubling
//! ```
//! One loop writes, anybody reads. Nobody clears somebody else's buckets: a reset begins a new *era* of the loop, the owner
//! clears its histogram before the era's first value, and until then readers take it for empty. 9 KiB each, so the ones
//! that may never be used are allocated when their first value comes.

use super::counter::Gauge;
use crate::base::sync::{AtomicU64, Ordering};

/// log2 of the buckets of a doubling.
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;
/// Values from 2^40 on (18 minutes in nanoseconds) share the last bucket.
const VALUE_BITS: u32 = 40;
const BUCKETS: usize = (VALUE_BITS - FINE_BITS + 1) as usize * FINE;

/// See the module header.
pub struct Histogram {
    counts: [Gauge; BUCKETS],
    max: Gauge,
    era: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: std::array::from_fn(|_| Gauge::default()), max: Gauge::default(), era: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Notes a value that stands for `weight` values. Only the owning loop may call this.
    /// Order: Release after clearing; pairs with Acquire in `Distribution::add`, so that no reader counts an old bucket
    /// into the new era.
    #[inline]
    pub fn record(&self, era: u64, value: u64, weight: u64) {
        if self.era.load(Ordering::Relaxed) != era {
            self.counts.iter().chain([&self.max]).for_each(|word| word.set(0));
            self.era.store(era, Ordering::Release);
        }
        self.counts[bucket_of(value)].add(weight);
        self.max.raise(value);
    }
}

/// What several histograms hold together, at one moment.
pub struct Distribution {
    counts: Box<[u64]>,
    pub count: u64,
    pub max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { counts: vec![0; BUCKETS].into(), count: 0, max: 0 }
    }
}

impl Distribution {
    /// Adds what a histogram has of this era.
    pub fn add(&mut self, histogram: &Histogram, era: u64) {
        if histogram.era.load(Ordering::Acquire) != era {
            return;
        }
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.get();
            self.count += count.get();
        }
        self.max = self.max.max(histogram.max.get());
    }
    /// The sum of several histograms, each with its era.
    pub fn of<'h>(histograms: impl IntoIterator<Item = (&'h Histogram, u64)>) -> Self {
        let mut all = Distribution::default();
        histograms.into_iter().for_each(|(histogram, era)| all.add(histogram, era));
        all
    }
    /// The value that `percent` of all values do not pass: the upper end of its bucket, at most the largest value seen; at
    /// 0 percent the lower end of the first bucket in use. 0 if there are no values.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.count as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        match found {
            None => self.max,
            Some(bucket) if percent == 0.0 => start_of(bucket),
            Some(bucket) => (start_of(bucket + 1) - 1).min(self.max),
        }
    }
    /// How many values are below each power of two, from 2^`bits` on up to the first that has all.
    /// Shape: (the power, values below it)
    pub fn below_powers(&self, bits: u32) -> impl Iterator<Item = (u64, u64)> {
        let mut at = 0;
        let mut below = 0;
        let steps = (bits..=VALUE_BITS).map(move |power| {
            let end = if power == VALUE_BITS { BUCKETS } else { bucket_of(1 << power) };
            below += self.counts[at..end].iter().sum::<u64>();
            at = end;
            (1 << power, below)
        });
        let mut is_whole = false;
        steps.take_while(move |&(_, below)| !std::mem::replace(&mut is_whole, below == self.count))
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << VALUE_BITS) - 1);
    let shift = (value | FINE as u64).ilog2() - FINE_BITS;
    shift as usize * FINE + (value >> shift) as usize
}

/// The smallest value of a bucket.
fn start_of(bucket: usize) -> u64 {
    match bucket / FINE {
        0 => bucket as u64,
        row => ((FINE + bucket % FINE) as u64) << (row - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_a_bucket_that_is_at_most_a_32nd_wide() {
        for value in (0..20_000).chain((14..VALUE_BITS).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
        {
            let (start, end) = (start_of(bucket_of(value)), start_of(bucket_of(value) + 1));
            assert!(start <= value && value < end && end - start <= value / 32 + 1, "{value}: {start}..{end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket_of((1 << VALUE_BITS) - 1), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_taken_over_all_loops() {
        let loops = [Histogram::default(), Histogram::default()];
        let percentile = |percent| Distribution::of(loops.iter().map(|h| (h, 0))).percentile(percent);
        assert_eq!(percentile(99.0), 0);
        loops[0].record(0, 3, 99);
        loops[1].record(0, 1000, 1);
        assert_eq!([0.0, 50.0, 99.0, 100.0].map(percentile), [3, 3, 3, 1000]);
    }

    #[test]
    fn a_new_era_starts_empty() {
        let histogram = Histogram::default();
        histogram.record(0, 7, 1);
        assert_eq!(Distribution::of([(&histogram, 1)]).count, 0);
        histogram.record(1, 5, 1);
        let now = Distribution::of([(&histogram, 1)]);
        assert_eq!((now.count, now.max), (1, 5));
    }

    #[test]
    fn powers_are_listed_up_to_the_one_that_has_all() {
        let histogram = Histogram::default();
        [(100, 2), (1023, 1), (1024, 1), (5000, 4)]
            .iter()
            .for_each(|&(value, weight)| histogram.record(0, value, weight));
        let all = Distribution::of([(&histogram, 0)]);
        assert_eq!(all.below_powers(10).collect::<Vec<_>>(), [(1024, 3), (2048, 4), (4096, 4), (8192, 8)]);
        assert_eq!(Distribution::default().below_powers(10).collect::<Vec<_>>(), [(1024, 0)]);
    }
}
