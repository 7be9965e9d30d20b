//! A shard: the unit of growth. Not a unit of locking: there are no locks.
//!
//! The current generations of all shards stand side by side in one small array (8 KiB for 1024 shards: it stays in the first
//! level cache); what writers count stands apart from them, a line per shard, so that counting never invalidates what
//! readers read.

use super::group::Generation;
use crate::base::sync::hint::{AtomicBool, AtomicI64};
use crate::base::sync::{AtomicUsize, Ordering};

/// Keys per group at which the shard with the latest trigger grows. Source: TABLE.md §1.2, spill statistics.
const LOAD_MAX: f64 = 8.0;

/// What a shard's writers count. Hints and statistics: all accesses are Relaxed and no protocol depends on them.
#[repr(align(64))]
pub(super) struct Counts {
    /// Keys: incremented after a commit, decremented by the winner of a removal, so exact at quiescence.
    pub keys: AtomicI64,
    /// Keys with a deadline.
    pub volatile: AtomicI64,
    /// Objects with elements that have deadlines.
    pub timed: AtomicI64,
    /// Above this many keys the shard grows, below `shrink_at` it shrinks.
    pub grow_at: AtomicI64,
    pub shrink_at: AtomicI64,
    /// A move is under way: writers help to drive it.
    pub resizing: AtomicBool,
    /// Stagger in 0..1: shards grow at loads spread over a factor of two, so that they never all double together.
    stagger: f64,
}

impl Counts {
    pub fn new(index: usize, shards: usize) -> Self {
        let reversed = (index as u32).reverse_bits() as f64 / (1u64 << 32) as f64;
        debug_assert!(shards.is_power_of_two());
        let counts = Counts {
            keys: AtomicI64::new(0),
            volatile: AtomicI64::new(0),
            timed: AtomicI64::new(0),
            grow_at: AtomicI64::new(0),
            shrink_at: AtomicI64::new(0),
            resizing: AtomicBool::new(false),
            stagger: reversed,
        };
        counts.resized(0, false);
        counts
    }
    /// Beyond how many keys a generation of `1 << log2` groups is to grow, and below how many it is to shrink.
    pub fn limits(&self, log2: u32) -> (i64, i64) {
        if cfg!(loom) {
            return (i64::MAX, i64::MIN); // Models resize when they say so.
        }
        let groups = (1u64 << log2) as f64;
        let load = LOAD_MAX * (-self.stagger).exp2();
        ((groups * load).max(4.0) as i64, if log2 == 0 { -1 } else { (groups * load / 8.0) as i64 })
    }
    /// Sets the triggers for a generation of `1 << log2` groups, from which a move may have begun already.
    pub fn resized(&self, log2: u32, is_moving: bool) {
        let (grow_at, shrink_at) = self.limits(log2);
        self.grow_at.store(grow_at, Ordering::Relaxed);
        self.shrink_at.store(shrink_at, Ordering::Relaxed);
        self.resizing.store(is_moving, Ordering::Relaxed);
    }
}

/// One shard, as an operation sees it.
#[derive(Clone, Copy)]
pub(super) struct Shard<'t> {
    /// The packed current generation.
    pub current: &'t AtomicUsize,
    pub counts: &'t Counts,
}

impl Shard<'_> {
    /// The generation that operations start in.
    #[inline]
    pub fn generation(&self) -> Generation {
        // Acquire: pairs with `promote` and with the table's creation.
        // SAFETY: a current generation is alive under the caller's guard.
        unsafe { Generation::unpack(self.current.load(Ordering::Acquire)) }
    }
}
