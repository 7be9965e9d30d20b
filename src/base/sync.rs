//! The only door to atomics, fences and threads.
//!
//! Under `--cfg loom` the same names come from the model checker, so that `loom-tests/` runs the protocols as they are
//! shipped. `clippy.toml` bans the standard library's atomics elsewhere.

#[cfg(all(any(test, feature = "chaos"), not(loom)))]
pub mod chaos;
#[cfg(loom)]
pub mod watched;

#[cfg(loom)]
pub use loom::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering, fence},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
#[cfg(not(loom))]
#[allow(clippy::disallowed_types)]
pub use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
#[cfg(loom)]
pub use watched::{AtomicPtr, AtomicU64, AtomicUsize};

/// Statistics and hints that no protocol depends on: the model checker does not branch on them.
#[allow(clippy::disallowed_types)]
pub mod hint {
    pub use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU16, AtomicUsize, Ordering};
}

/// Words that the kernel writes or reads: it is no thread of a model, and they lie where it put them.
#[allow(clippy::disallowed_types)]
pub mod kernel {
    pub use std::sync::atomic::{AtomicU16, Ordering};
}

/// One step of a bounded spin: a `pause` on hardware, a yield to the scheduler of the model checker.
#[inline]
pub fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}

/// How long a thread has waited for another one that holds a lock and runs: it looks, more and more seldom, and then gives its
/// core away.
#[derive(Default)]
pub struct Patience {
    looks: u32,
}

impl Patience {
    /// Looks before the first yield: some 10 µs, most critical sections are shorter.
    const LOOKS: u32 = 12;
    /// Pauses between two looks at most, 2 µs. A thread that goes from command to command on one object gets some of them done
    /// meanwhile, with what they need in its cache: ZPOPMIN from two loops 0.92 -> 1.01 of one loop's rate (kernel-notes/42).
    const PAUSES: u32 = if cfg!(loom) { 1 } else { 64 };

    /// Waits a little.
    #[inline]
    pub fn wait(&mut self) {
        self.looks = self.looks.saturating_add(1);
        if self.looks > Self::LOOKS {
            return thread::yield_now();
        }
        (0..Self::PAUSES.min(1 << self.looks)).for_each(|_| spin());
    }
}
