//! Counters, one set per loop: written by their loop alone with plain load + store, summed when somebody asks.

use crate::base::sync::{AtomicU64, Ordering};

/// A counter with one writer. Order: Relaxed; a reader may see it a moment late.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning loop may call this: no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What one loop counts. 128-aligned: neighbours' counters never share a line.
#[derive(Default)]
#[repr(align(128))]
pub struct LoopStats {
    pub commands: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    pub dirty: Counter,
    pub connections: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub errors: Counter,
}
