//! Seats and guards: two lanes for two kinds of garbage.
//!
//! *Entries* are many and small, and a SET costs what its garbage costs. They wait in three buckets, one per epoch of
//! `quiescence.rs`, as a pointer and a length in one word, and go to `recycle.rs` without being read again. The loop says
//! "quiescent" after every window of commands, so a block is free again some three windows after it was retired.
//!
//! *Everything else* (index generations, staged blocks, bundles, whole tables) is rare and goes through crossbeam-epoch,
//! pinned by the same guard.

use super::quiescence::{Epochs, GRACE};
use super::{Entry, LastFound, NewEntry, Section};
use crate::table::recycle;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::OnceLock;

/// Bytes of boxed garbage after which the guard hands it over at once.
const BOXED_BYTES_MAX: usize = 256 << 10;

fn epochs() -> &'static Epochs {
    static EPOCHS: OnceLock<Epochs> = OnceLock::new();
    EPOCHS.get_or_init(Epochs::default)
}

/// Retired entries of one epoch. `address << 16 | length / 8`; length 0: look into the header (large, or holds a blob).
#[derive(Default)]
struct Bucket {
    epoch: u64,
    entries: Vec<u64>,
    bytes: usize,
}

impl Bucket {
    fn empty(&mut self) {
        for packed in self.entries.drain(..) {
            let block = std::ptr::with_exposed_provenance_mut::<u8>((packed >> 16) as usize);
            let len = (packed & 0xffff) as usize * 8;
            if len > 0 {
                // SAFETY: retired once with this length, unreachable, and the grace period is over (rules 1 and 2).
                unsafe { recycle::give(block, len) };
            } else if let Some(block) = NonNull::new(block) {
                // SAFETY: likewise; the entry drops what it holds.
                drop(unsafe { NewEntry::from_raw(block.cast()) });
            }
        }
        self.bytes = 0;
    }
}

/// A thread's seat in the reclamation scheme: an event loop has one, so has every helper thread that reads the table.
pub struct Participant {
    handle: crossbeam_epoch::LocalHandle,
    seat: usize,
    /// Guards alive: only the first enters, only the last leaves.
    depth: Cell<usize>,
    epoch: Cell<u64>,
    buckets: RefCell<[Bucket; GRACE as usize]>,
    /// Bytes of boxed garbage since the last hand-over.
    boxed_bytes: Cell<usize>,
}

/// While a guard lives, nothing that was reachable after its creation (or its last `quiesce`) is freed.
pub struct Guard<'p> {
    boxed: crossbeam_epoch::Guard,
    seat: &'p Participant,
    section: Section,
    last: LastFound,
}

impl Participant {
    /// Takes a seat in the process-wide scheme.
    pub fn new() -> Self {
        Participant {
            handle: crossbeam_epoch::default_collector().register(),
            seat: epochs().take_seat(),
            depth: Cell::new(0),
            epoch: Cell::new(0),
            buckets: RefCell::default(),
            boxed_bytes: Cell::new(0),
        }
    }
    /// Pins the current epoch. Once per turn.
    #[inline]
    pub fn pin(&self) -> Guard<'_> {
        if self.depth.replace(self.depth.get() + 1) == 0 {
            self.arrive(epochs().enter(self.seat));
        }
        Guard { boxed: self.handle.pin(), seat: self, section: Section::default(), last: LastFound::default() }
    }
    /// Bytes that are retired and not free yet.
    pub fn limbo_bytes(&self) -> usize {
        self.buckets.borrow().iter().map(|bucket| bucket.bytes).sum::<usize>() + self.boxed_bytes.get()
    }
    /// Frees what can be freed without waiting: before this thread sleeps. The caller holds no guard.
    pub fn rest(&self) {
        for _ in 0..=GRACE {
            if self.limbo_bytes() == 0 {
                return;
            }
            self.pin().flush();
        }
    }
    /// Notes the announced epoch and empties the buckets whose grace period is over.
    #[inline]
    fn arrive(&self, epoch: u64) {
        if self.epoch.replace(epoch) == epoch {
            return;
        }
        for bucket in self.buckets.borrow_mut().iter_mut() {
            if bucket.epoch + GRACE <= epoch && !bucket.entries.is_empty() {
                bucket.empty();
            }
        }
    }
}

impl Default for Participant {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Participant {
    /// What this thread could not free is left to crossbeam's lane.
    fn drop(&mut self) {
        self.rest();
        let guard = self.pin();
        for mut bucket in self.buckets.take() {
            // SAFETY: the closure owns the bucket; crossbeam delays it until the guards of this moment are gone.
            unsafe { guard.boxed.defer_unchecked(move || bucket.empty()) };
        }
        guard.boxed.flush();
        drop(guard);
        epochs().give_back(self.seat);
    }
}

impl Guard<'_> {
    #[inline]
    pub(super) fn section_mark(&self) -> &Section {
        &self.section
    }
    #[inline]
    pub(super) fn last(&self) -> &LastFound {
        &self.last
    }
    /// Retires an entry that this thread has just unlinked.
    ///
    /// # Safety
    /// Rule 1: the caller's CAS took `entry` out of the table, and nobody can find it from the table any more.
    #[inline]
    pub(in crate::table) unsafe fn retire(&self, entry: Entry<'_>) {
        let epoch = self.seat.epoch.get();
        let mut buckets = self.seat.buckets.borrow_mut();
        let bucket = &mut buckets[(epoch % GRACE) as usize];
        // Whatever this bucket held is three epochs old and was freed on arrival.
        bucket.epoch = epoch;
        let len = entry.recyclable_len().filter(|len| len.div_ceil(8) <= 0xffff).unwrap_or(0);
        bucket.entries.push((entry.as_ptr().expose_provenance() as u64) << 16 | len.div_ceil(8) as u64);
        bucket.bytes += if len > 0 { len } else { entry.memory() };
    }
    /// Bytes that this thread has retired and that are not free yet.
    #[inline]
    pub fn limbo_bytes(&self) -> usize {
        self.seat.limbo_bytes()
    }
    /// What was retired in this epoch holds so many bytes more than its entries: a collection's.
    pub fn pledge(&self, bytes: usize) {
        let mut buckets = self.seat.buckets.borrow_mut();
        let bucket = &mut buckets[(self.seat.epoch.get() % GRACE) as usize];
        if !bucket.entries.is_empty() {
            bucket.bytes += bytes;
        }
    }
    /// Retires an owned object that others may still be reading: it is dropped when they no longer can.
    pub fn retire_boxed(&self, object: Box<dyn Send>, bytes: usize) {
        // SAFETY: the closure owns the object; crossbeam delays it until rule 2 holds.
        unsafe { self.boxed.defer_unchecked(move || drop(object)) };
        let total = self.seat.boxed_bytes.get() + bytes.max(1);
        self.seat.boxed_bytes.set(total);
        if total >= BOXED_BYTES_MAX {
            self.flush_boxed();
        }
    }
    /// Lets boxed garbage of any thread move on, whether this one retired some or not.
    pub fn collect(&self) {
        self.flush_boxed();
    }
    fn flush_boxed(&self) {
        self.seat.boxed_bytes.set(0);
        self.boxed.flush();
    }
    /// Says that nothing read so far is still in use, and lets the epoch move on. Between two windows of commands.
    #[inline]
    pub fn quiesce(&mut self) {
        self.forget_found();
        if self.seat.depth.get() > 1 {
            return; // An outer guard still protects what it read.
        }
        let epoch = epochs().quiesce(self.seat.seat);
        self.seat.arrive(epoch);
        epochs().advance(epoch);
    }
    /// Hands over what is collected and lets the epochs move on: at the end of a turn that wrote, and before sleeping.
    pub fn flush(&self) {
        epochs().advance(self.seat.epoch.get());
        if self.seat.boxed_bytes.get() > 0 {
            self.flush_boxed();
        }
    }
    /// Renews the pin inside a long command: entries seen before must not be used after.
    pub fn repin(&mut self) {
        self.quiesce();
        self.boxed.repin();
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let depth = self.seat.depth.get() - 1;
        self.seat.depth.set(depth);
        if depth == 0 {
            epochs().leave(self.seat.seat);
        }
    }
}
