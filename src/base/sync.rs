//! The only door to atomics, fences and threads.
//!
//! Under `--cfg loom` the same names come from the model checker, so that `loom-tests/` runs the protocols as they are
//! shipped. `clippy.toml` bans the standard library's atomics elsewhere.

#[cfg(loom)]
pub use loom::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};
#[cfg(not(loom))]
#[allow(clippy::disallowed_types)]
pub use std::{
    sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};

/// One step of a bounded spin: a `pause` on hardware, a yield to the scheduler of the model checker.
#[inline]
pub fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}
