//! A bell: who has to wait for long sleeps until it is rung.
//!
//! ```text
//! sleeper   B1 late += 1      B2 fence   B3 under the lock: is it over? if not, sleep     … it goes on: late -= 1
//! ringer    R1 makes it over  R2 fence   R3 is anybody late? takes the lock, rings
//! ```
//! Invariant: nobody sleeps behind the end. The two SeqCst fences are ordered one way or the other: if B2 comes first, R3 sees
//! the sleeper and rings, after it sleeps or before it asks (the lock); if R2 comes first, B3 sees that it is over. Model:
//! loom-tests/tests/safepoint.rs.
//!
//! Whoever slept stays *late* until it has really gone on, so that a ringer who wants to begin anew can let it pass first.

#![forbid(unsafe_code)]

use super::mutation::{Mutation, fence_unless};
use super::sync::{AtomicU32, Condvar, Mutex, Ordering, fence};
use std::sync::PoisonError;

/// See the module header.
#[derive(Default)]
pub struct Bell {
    late: AtomicU32,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Sleeps until `is_over`. The caller says `gone_on` when it has gone on.
    pub fn sleep_until(&self, is_over: impl Fn() -> bool) {
        self.late.fetch_add(1, Ordering::Relaxed); // B1
        fence(Ordering::SeqCst); // B2  pairs with R2.
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_over() {
            held = self.rung.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
    /// One that has slept has gone on.
    pub fn gone_on(&self) {
        self.late.fetch_sub(1, Ordering::Relaxed);
    }
    /// Are there any that sleep, or have slept and not gone on yet?
    #[inline]
    pub fn is_anybody_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) != 0
    }
    /// Wakes all, behind what ends their wait. Cost: a fence and a load if nobody sleeps.
    #[inline]
    pub fn ring(&self) {
        fence_unless(Mutation::RingWithoutFence); // R2  pairs with B2.
        if self.is_anybody_late() {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner)); // Who has asked in vain sleeps by now.
            self.rung.notify_all();
        }
    }
}
