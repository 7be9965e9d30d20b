//! The seats and guards of crossbeam-epoch, with bags that are one deferred call each.

use super::Garbage;
use std::cell::{Cell, RefCell};

/// Blocks per bag: one deferred call frees so many.
const BAG_COUNT_MAX: usize = 64;
/// Bytes per bag: large values are handed over at once.
const BAG_BYTES_MAX: usize = 256 << 10;

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
    #[inline]
    pub(super) fn put(&self, garbage: Garbage, bytes: usize) {
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
            self.epoch.defer_unchecked(move || drop(bag));
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
