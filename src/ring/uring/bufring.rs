//! The provided-buffer ring: free buffers, shared with the kernel, which takes the next one when bytes arrive.
//!
//! ```text
//! reserve ─grow▶ provided (kernel) ─CQE▶ lent (loop) ─give_back▶ returned ─publish▶ provided
//! ```
//!
//! `give_back` only notes a buffer's number; `publish`, once per wait, writes the entries and moves the tail, so that the
//! kernel's cache line is touched once per turn.
//!
//! The ring starts small and grows when a turn has used half of what is in circulation: the kernel takes buffers
//! first-in first-out, so a large ring would walk through all of its memory however little is needed.
//! Source: io_uring_register_buf_ring(3); kernel-notes/02.

use super::super::Filled;
use super::super::bufs::{Mapping, Pool};
use crate::base::sync::kernel::{AtomicU16, Ordering};
use io_uring::{Submitter, types::BufRingEntry};
use std::io;
use std::mem::size_of;
use std::ptr::NonNull;

/// Our only buffer group.
pub(super) const GROUP: u16 = 0;
/// Buffers in circulation at first.
const START_COUNT: u16 = 64;

const _: () = assert!(size_of::<BufRingEntry>() == 16, "struct io_uring_buf is ABI");

/// Buffers and the ring through which the kernel gets them.
pub(super) struct BufRing {
    pool: Pool,
    entries: Mapping,
    tail: u16,
    returned: Vec<u16>,
    in_use: u16,
    lent_peak: usize,
}

impl BufRing {
    /// Registers a ring of `count` entries (a power of two).
    /// Errors: EINVAL before Linux 5.19, ENOMEM under a small RLIMIT_MEMLOCK.
    pub fn register(submitter: &Submitter<'_>, count: u16, buffer_len: u32) -> io::Result<BufRing> {
        assert!(count.is_power_of_two() && count <= 1 << 15);
        let pool = Pool::new(count, buffer_len)?;
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let address = entries.start().as_ptr() as u64;
        // SAFETY: `entries` is zeroed, page-aligned and `count` entries long. It outlives the registration: `Uring`
        // drops its ring first, and leaks the memory if operations are left.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let mut ring = BufRing { pool, entries, tail: 0, returned: Vec::new(), in_use: 0, lent_peak: 0 };
        ring.grow_to(START_COUNT);
        Ok(ring)
    }

    /// Buffers that the kernel can take now, at least once `publish` was called and every completion reaped.
    pub fn free_count(&self) -> usize {
        usize::from(self.in_use) - self.pool.lent_count()
    }

    /// A receive completed into `buffer`.
    #[inline]
    pub fn lend(&mut self, buffer: u16, len: usize) -> Filled {
        let filled = self.pool.lend(buffer, len);
        self.lent_peak = self.lent_peak.max(self.pool.lent_count());
        filled
    }

    #[inline]
    pub fn give_back(&mut self, filled: Filled) {
        self.returned.push(self.pool.take_back(filled));
    }

    /// A buffer came with a completion that nobody wants.
    pub fn discard(&mut self, buffer: u16) {
        let filled = self.pool.lend(buffer, 0);
        self.give_back(filled);
    }

    #[inline]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        self.pool.bytes(filled)
    }

    /// A receive found the ring empty: bring more buffers into circulation, if there are any.
    pub fn ran_dry(&mut self) {
        self.grow_to(self.in_use.saturating_mul(2));
    }

    /// Makes returned buffers the kernel's, and more of them if the last turn used many.
    pub fn publish(&mut self) {
        if self.lent_peak * 2 > usize::from(self.in_use) {
            self.grow_to(self.in_use.saturating_mul(2));
        }
        self.lent_peak = 0;
        if self.returned.is_empty() {
            return;
        }
        let mut returned = std::mem::take(&mut self.returned);
        for buffer in returned.drain(..) {
            self.write_entry(buffer);
        }
        self.returned = returned;
        // Order: Release, pairs with the kernel's acquire load of the tail: it sees the entries before the tail.
        self.shared_tail().store(self.tail, Ordering::Release);
    }

    /// Adds never-used buffers to those to be published.
    fn grow_to(&mut self, in_use: u16) {
        let in_use = in_use.min(self.pool.count());
        if in_use > self.in_use {
            self.returned.extend(self.in_use..in_use);
            self.in_use = in_use;
        }
    }

    /// Writes `buffer` into the entry at the tail. The ring has an entry for every buffer, so that entry is free.
    fn write_entry(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (self.pool.count() - 1));
        let (address, len) = (self.pool.address(buffer) as u64, self.pool.buffer_len() as u32);
        let entries: NonNull<BufRingEntry> = self.entries.start().cast();
        // SAFETY: `index` is below the count of entries in the mapping.
        let entry = unsafe { entries.add(index) };
        // SAFETY: the entry lies beyond the tail published so far, so the kernel does not read it; no other reference to
        // it exists. Page alignment covers the entry's.
        let entry = unsafe { &mut *entry.as_ptr() };
        // The last two bytes of entry 0 are the ring's tail: setting the three fields leaves them alone.
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn shared_tail(&self) -> &AtomicU16 {
        let entries: NonNull<BufRingEntry> = self.entries.start().cast();
        // SAFETY: `entries` is the start of a registered ring of at least one entry.
        let tail = unsafe { BufRingEntry::tail(entries.as_ptr()) };
        // SAFETY: aligned, inside the mapping, alive as long as `self`; written by us only through this atomic.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }
    }

    /// Never unmaps what the kernel may still write to.
    pub fn leak(&mut self) {
        self.pool.leak();
        self.entries.leak();
    }
}
