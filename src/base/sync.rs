//! The only door to atomics, fences and threads.
//!
//! Under `--cfg loom` the same names come from the model checker, so that `loom-tests/` runs the protocols as they are
//! shipped. `clippy.toml` bans the standard library's atomics elsewhere.

#[cfg(loom)]
pub mod watched;

#[cfg(loom)]
pub use loom::{
    sync::Mutex,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering, fence},
    thread,
};
#[cfg(not(loom))]
#[allow(clippy::disallowed_types)]
pub use std::{
    sync::Mutex,
    sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    thread,
};
#[cfg(loom)]
pub use watched::{AtomicPtr, AtomicU64, AtomicUsize};

/// Statistics and hints that no protocol depends on: the model checker does not branch on them.
#[allow(clippy::disallowed_types)]
pub mod hint {
    pub use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
}

/// Words that the kernel writes or reads: it is no thread of a model, and they lie where it put them.
#[allow(clippy::disallowed_types)]
pub mod kernel {
    pub use std::sync::atomic::{AtomicU16, Ordering};
}

/// Delays the caller at random, so that stress runs meet interleavings that an idle machine never shows.
#[cfg(feature = "chaos")]
pub fn chaos() {
    use std::cell::Cell;
    thread_local!(static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) });
    let dice = STATE.with(|state| {
        let next = state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.set(next ^ (state as *const Cell<u64> as u64) << 7);
        next >> 33
    });
    match dice % 4096 {
        0 => std::thread::sleep(std::time::Duration::from_micros(dice % 50)),
        1..64 => std::thread::yield_now(),
        _ => {}
    }
}

/// One step of a bounded spin: a `pause` on hardware, a yield to the scheduler of the model checker.
#[inline]
pub fn spin() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::hint::spin_loop();
}
