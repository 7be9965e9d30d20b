//! Reclamation: removed entries live until no guard can see them.
//!
//! crossbeam-epoch decides when. It frees at most a few hundred *deferred calls* per 128 pins, and a loop pins once per
//! turn, so a call per entry would let garbage grow without bound. Therefore retired blocks are collected in a bag and
//! handed over as ONE deferred call per bag, and a bag is sealed by count, by bytes, or when its loop goes to sleep.
//!
//! Rules that SAFETY comments cite:
//! 1. A block is retired by exactly one thread: the one whose CAS unlinked it.
//! 2. A block is freed only after every guard that existed at the moment of its retirement is gone.
//! 3. A guard never spans a wait in the kernel or a safepoint.

//!
//! Under loom nothing is freed before the next execution begins: the checker does not see the fences of the real
//! collector (which has loom tests of its own), so it would offer stale words that no real reader could see.

#[cfg(not(loom))]
mod epoch;
#[cfg(loom)]
#[path = "reclaim/graveyard.rs"]
mod epoch;

use super::entry::{Entry, Header, NewEntry};
use std::ptr::NonNull;

#[cfg(loom)]
pub use epoch::bury;
pub use epoch::{Guard, Participant};

/// Something to be freed when no guard can see it any more.
pub(super) enum Garbage {
    Entry(NonNull<Header>),
    Boxed(Box<dyn Send>),
}

impl Drop for Garbage {
    fn drop(&mut self) {
        if let Garbage::Entry(entry) = *self {
            // SAFETY: rules 1 and 2: unreachable, and retired once.
            drop(unsafe { NewEntry::from_raw(entry) });
        }
    }
}

// SAFETY: the pointer is owned garbage (rule 1); freeing it on another thread is what the allocator allows.
unsafe impl Send for Garbage {}

impl Guard<'_> {
    /// Retires an entry that this thread has just unlinked.
    ///
    /// # Safety
    /// Rule 1: the caller's CAS took `entry` out of the table, and nobody can find it from the table any more.
    #[inline]
    pub(super) unsafe fn retire(&self, entry: Entry<'_>) {
        if let Some(block) = NonNull::new(entry.as_ptr()) {
            self.put(Garbage::Entry(block), entry.memory());
        }
    }
    /// Retires an owned object that others may still be reading: it is dropped when they no longer can.
    pub fn retire_boxed(&self, object: Box<dyn Send>, bytes: usize) {
        self.put(Garbage::Boxed(object), bytes);
    }
}
