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

use super::entry::{Entry, Header, NewEntry};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// Blocks per bag: one deferred call frees so many.
const BAG_COUNT_MAX: usize = 64;
/// Bytes per bag: large values are handed over at once.
const BAG_BYTES_MAX: usize = 256 << 10;

/// Something to be freed when no guard can see it any more.
pub(super) enum Garbage {
    Entry(NonNull<Header>),
    Boxed(Box<dyn Send>),
}

// SAFETY: the pointer is owned garbage (rule 1); freeing it on another thread is what the allocator allows.
unsafe impl Send for Garbage {}

/// A thread's seat in the reclamation scheme: an event loop has one, so has every helper thread that reads the table.
pub struct Participant {
    handle: crossbeam_epoch::LocalHandle,
    bag: RefCell<Vec<Garbage>>,
    bytes: Cell<usize>,
}

/// While a guard lives, nothing that was reachable after its creation is freed.
pub struct Guard<'p> {
    epoch: crossbeam_epoch::Guard,
    seat: &'p Participant,
}

impl Participant {
    /// Takes a seat in the process-wide collector.
    pub fn new() -> Self {
        let handle = crossbeam_epoch::default_collector().register();
        Participant { handle, bag: RefCell::new(Vec::with_capacity(BAG_COUNT_MAX)), bytes: Cell::new(0) }
    }
    /// Pins the current epoch. Once per turn.
    #[inline]
    pub fn pin(&self) -> Guard<'_> {
        Guard { epoch: self.handle.pin(), seat: self }
    }
    /// Bytes in the bag that is not handed over yet.
    pub fn limbo_bytes(&self) -> usize {
        self.bytes.get()
    }
}

impl Default for Participant {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.pin().flush();
    }
}

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
    /// Retires an owned object that others may still be reading.
    pub(super) fn retire_boxed(&self, object: Box<dyn Send>, bytes: usize) {
        self.put(Garbage::Boxed(object), bytes);
    }
    #[inline]
    fn put(&self, garbage: Garbage, bytes: usize) {
        let mut bag = self.seat.bag.borrow_mut();
        bag.push(garbage);
        self.seat.bytes.set(self.seat.bytes.get() + bytes);
        if bag.len() >= BAG_COUNT_MAX || self.seat.bytes.get() >= BAG_BYTES_MAX {
            drop(bag);
            self.seal();
        }
    }
    /// Hands the bag over as one deferred call.
    fn seal(&self) {
        let bag = self.seat.bag.replace(Vec::with_capacity(BAG_COUNT_MAX));
        self.seat.bytes.set(0);
        if bag.is_empty() {
            return;
        }
        // SAFETY: the closure owns the bag and touches nothing else; the epoch delays it until rule 2 holds.
        unsafe {
            self.epoch.defer_unchecked(move || {
                for garbage in bag {
                    match garbage {
                        // SAFETY: rules 1 and 2: unreachable, and retired once.
                        Garbage::Entry(entry) => drop(NewEntry::from_raw(entry)),
                        Garbage::Boxed(object) => drop(object),
                    }
                }
            });
        }
    }
    /// Hands over what is collected and lets the collector advance: at the end of a turn that wrote, and before sleeping.
    pub fn flush(&self) {
        self.seal();
        self.epoch.flush();
    }
    /// Renews the pin inside a long command: entries seen before must not be used after.
    pub fn repin(&mut self) {
        self.epoch.repin();
    }
}
