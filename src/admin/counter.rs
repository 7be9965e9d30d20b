//! Counters with one writer: plain load and store, no locked instruction, read by anybody a moment late.
//!
//! A `Counter` is never set back by others: its owner may be adding at that moment, and one of the two stores would be
//! lost. Resetting it notes where it stands instead, and readers see the difference.

use crate::base::sync::{AtomicU64, Ordering::Relaxed};

/// Is anything counted? Always, but in a build made to measure what it costs: one program both ways, so that nothing but
/// the counting differs.
#[inline]
pub fn counts() -> bool {
    #[cfg(feature = "uncounted")]
    {
        static ANSWER: std::sync::LazyLock<bool> =
            std::sync::LazyLock::new(|| std::env::var_os("RINGDB_UNCOUNTED").is_none());
        *ANSWER
    }
    #[cfg(not(feature = "uncounted"))]
    true
}

/// A word that one loop writes. Order: Relaxed; it publishes nothing.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
    #[inline]
    pub fn set(&self, value: u64) {
        if counts() {
            self.0.store(value, Relaxed);
        }
    }
    /// Adds `n`. Only the owning loop may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }
    /// Raises the word to `value` if it is lower. Only the owning loop may call this.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}

/// A count since the last reset.
#[derive(Default)]
pub struct Counter {
    total: Gauge,
    /// `total` at the last reset.
    zero: Gauge,
}

impl Counter {
    /// Adds `n`. Only the owning loop may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.total.add(n);
    }
    /// The count since the last reset.
    #[inline]
    pub fn get(&self) -> u64 {
        self.total.get().wrapping_sub(self.zero.get())
    }
    /// The count since the start.
    #[inline]
    pub fn total(&self) -> u64 {
        self.total.get()
    }
    /// Counts from 0 again. Anybody may call this; nothing that is added meanwhile is lost.
    pub fn reset(&self) {
        self.zero.set(self.total.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_counter_counts_from_zero_and_forgets_nothing() {
        let counter = Counter::default();
        counter.add(5);
        counter.reset();
        counter.add(2);
        assert_eq!((counter.get(), counter.total()), (2, 7));
    }
}
