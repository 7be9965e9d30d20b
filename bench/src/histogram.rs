//! Log-linear histogram of nanoseconds: 64 steps per power of two, so a percentile is off by at most 1.6 %.

/// Steps per power of two, as bits.
const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
/// Largest power of two told apart: 2^40 ns is 18 minutes.
const POWER_MAX: u32 = 40;

/// Counts of recorded durations.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { counts: vec![0; slot(1 << POWER_MAX) + 1], total: 0, sum_ns: 0, max_ns: 0 }
    }

    /// Counts one duration. **Cost**: one counter in a table of 18 KB.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        let ns = ns.min(1 << POWER_MAX);
        self.counts[slot(ns)] += 1;
        self.total += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Smallest recorded step that `percent` of all records do not exceed; 0 without records.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        let wanted = ((self.total as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(at).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// Mean of all records.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.total).unwrap_or(0)
    }

    /// Largest record.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }
}

/// Place of a duration: exact below 64 ns, then the top seven bits.
fn slot(ns: u64) -> usize {
    let power = 63 - (ns | 1).leading_zeros();
    match power.checked_sub(STEP_BITS) {
        None | Some(0) => ns as usize,
        Some(shift) => (shift as usize) * STEPS + (ns >> shift) as usize,
    }
}

/// Largest duration of a place.
fn upper(at: usize) -> u64 {
    match (at / STEPS).checked_sub(1) {
        None | Some(0) => at as u64,
        Some(shift) => (((at - shift * STEPS) as u64 + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_a_step_that_is_off_by_less_than_two_percent() {
        let mut last = 0;
        for ns in (0..5_000).chain((5_000..50_000_000).step_by(7_919)) {
            let at = slot(ns);
            assert!(at >= last, "steps must grow at {ns}");
            assert!(upper(at) >= ns && upper(at) as f64 <= ns as f64 * 1.02 + 1.0, "{ns} -> {}", upper(at));
            last = at;
        }
    }

    #[test]
    fn percentiles_of_a_ramp_are_the_ramp() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|ns| histogram.record(ns));
        for percent in [50.0, 90.0, 99.0, 99.9, 99.99] {
            let got = histogram.percentile_ns(percent) as f64;
            assert!((got / (percent * 1_000.0) - 1.0).abs() < 0.02, "{percent}: {got}");
        }
        assert_eq!(histogram.max_ns(), 100_000);
    }
}
