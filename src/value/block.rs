//! Bytes behind one thin pointer: eight bytes for the owner, one allocation with as little slack as the allocator allows.
//!
//! ```text
//! [len: 1 byte, < 255][bytes …]               short
//! [255][len: 7 bytes, little-endian][bytes …]  long
//! ```
//! The size of the allocation is not kept: it is the allocator's size class of head and bytes together. So an edit
//! reallocates only when the class changes, in both directions, and never leaves more slack than a class has.
//! No bytes at all: the pointer is to a byte 0 that is nobody's, and there is no allocation.
//!
//! Packs (value/pack.rs) and the items of hash tables lie in such blocks.

use crate::base::prefetch::prefetch_lines;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

/// See the module header.
/// Invariant: `start` points to `NOTHING`, or to a block of `room(len)` bytes, alloc'd here, with head and `len` > 0
/// initialised bytes.
pub struct Block {
    start: NonNull<u8>,
}

// SAFETY: a block owns its allocation as a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: a shared block only hands out `&[u8]`.
unsafe impl Sync for Block {}

/// The head of every block without bytes.
static NOTHING: u8 = 0;

const LONG: u8 = u8::MAX;
const LONG_HEAD_LEN: usize = 8;
const LEN_MAX: usize = 1 << 48;

const _: () = assert!(size_of::<Option<Block>>() == 8, "thin, and with a niche");

#[inline]
fn head_len(len: usize) -> usize {
    if len < LONG as usize { 1 } else { LONG_HEAD_LEN }
}

/// Bytes of the allocation that holds `len` bytes.
#[inline]
fn room(len: usize) -> usize {
    if len == 0 { 0 } else { size_class(head_len(len) + len) }
}

/// The allocator's size class for `size` > 0: four classes from one power of two to the next, at least 8 bytes apart.
/// Source: jemalloc's manual, "IMPLEMENTATION NOTES"; base/heap.rs for the 8. If it were wrong, memory would be wasted,
/// nothing else.
#[inline]
pub fn size_class(size: usize) -> usize {
    let spacing = ((1usize << ((size - 1) | 1).ilog2()) >> 2).max(8);
    (size + spacing - 1) & !(spacing - 1)
}

fn layout(room: usize) -> Layout {
    Layout::array::<u8>(room).expect("a block is shorter than the address space")
}

/// `bytes` as the contents of memory that may be uninitialised.
fn as_uninit(bytes: &[u8]) -> &[MaybeUninit<u8>] {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and nobody can write through a shared slice.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

impl Block {
    /// No bytes.
    /// Cost: no allocation.
    #[inline]
    pub const fn new() -> Self {
        match NonNull::new((&raw const NOTHING).cast_mut()) {
            Some(start) => Block { start },
            None => unreachable!(),
        }
    }
    /// The parts, one behind the other.
    #[inline]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut block = Block::new();
        block.splice(0..0, parts);
        block
    }
    #[inline]
    fn head(&self) -> (usize, usize) {
        // SAFETY: the first byte of a block is initialised (invariant), that of `NOTHING` too.
        let first = unsafe { self.start.read() };
        if first < LONG { (1, first as usize) } else { (LONG_HEAD_LEN, self.long_len()) }
    }
    fn long_len(&self) -> usize {
        // SAFETY: the block begins with 255, so a head of eight bytes is initialised (invariant).
        let head = unsafe { self.start.cast::<[u8; LONG_HEAD_LEN]>().read() };
        (u64::from_le_bytes(head) >> 8) as usize
    }
    /// Number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.head().1
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        let (head_len, len) = self.head();
        // SAFETY: the head lies inside the allocation (invariant).
        let first = unsafe { self.start.add(head_len) };
        // SAFETY: `len` initialised bytes follow the head (invariant), and `self` is borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), len) }
    }
    /// The bytes, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (head_len, len) = self.head();
        // SAFETY: the head lies inside the allocation (invariant).
        let first = unsafe { self.start.add(head_len) };
        // SAFETY: as in `bytes`; `self` is borrowed exclusively. An empty slice touches nothing of `NOTHING`.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), len) }
    }
    /// Bytes of the allocation; 0 if there is none.
    #[inline]
    pub fn memory(&self) -> usize {
        room(self.len())
    }
    /// Prefetches the first lines. False: there is nothing behind them.
    #[inline]
    pub fn look_ahead(&self) -> bool {
        prefetch_lines(self.address(), 3);
        false
    }
    /// Where the block lies, for prefetching.
    #[inline]
    pub fn address(&self) -> *const u8 {
        self.start.as_ptr()
    }
    /// Replaces the bytes of `range` by the parts, one behind the other.
    /// Cost: moves what lies behind; reallocates if the size class changes.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        let (old_head, old_len) = self.head();
        assert!(range.start <= range.end && range.end <= old_len, "a range of the block");
        let added: usize = parts.iter().map(|part| part.len()).sum();
        let new_len = old_len - range.len() + added;
        assert!(new_len < LEN_MAX, "a block has a bound");
        let new_head = head_len(new_len);
        let (old_room, new_room) = (room(old_len), room(new_len));
        if new_room == 0 {
            return *self = Block::new();
        }
        if new_room > old_room {
            self.resize(old_room, new_room);
        }
        let all = self.whole(old_room.max(new_room));
        let tail = old_head + range.end..old_head + old_len;
        let tail_to = new_head + range.start + added;
        // What stands in front moves only with the head; whoever could be overwritten moves first.
        if new_head < old_head {
            all.copy_within(old_head..old_head + range.start, new_head);
        }
        if tail.start != tail_to {
            all.copy_within(tail, tail_to);
        }
        if new_head > old_head {
            all.copy_within(old_head..old_head + range.start, new_head);
        }
        let mut at = new_head + range.start;
        for part in parts {
            all[at..at + part.len()].copy_from_slice(as_uninit(part));
            at += part.len();
        }
        let long = (new_len as u64) << 8 | LONG as u64;
        if new_head == 1 {
            all[0] = MaybeUninit::new(new_len as u8);
        } else {
            all[..LONG_HEAD_LEN].copy_from_slice(as_uninit(&long.to_le_bytes()));
        }
        if new_room < old_room {
            self.resize(old_room, new_room);
        }
    }
    /// The whole allocation, which has `room` bytes.
    fn whole(&mut self, room: usize) -> &mut [MaybeUninit<u8>] {
        // SAFETY: only `splice` calls this, right behind the allocation of `room` bytes; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), room) }
    }
    /// Changes the size of the allocation. `from` = 0: there is none yet.
    fn resize(&mut self, from: usize, to: usize) {
        let block = if from == 0 {
            // SAFETY: `to` is the room for at least a byte, so the layout is not empty.
            unsafe { alloc(layout(to)) }
        } else {
            // SAFETY: the block was allocated with `from` bytes (invariant); `to` is not 0 and fits `isize` (`layout`).
            unsafe { realloc(self.start.as_ptr(), layout(from), layout(to).size()) }
        };
        self.start = NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(to)));
    }
}

impl Default for Block {
    fn default() -> Self {
        Block::new()
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Block::of(&[self.bytes()])
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        let room = self.memory();
        if room > 0 {
            // SAFETY: allocated here with this room (invariant), and nobody uses it after `drop`.
            unsafe { dealloc(self.start.as_ptr(), layout(room)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn size_classes_are_those_of_the_allocator() {
        for (size, class) in
            [(1, 8), (8, 8), (9, 16), (33, 40), (64, 64), (65, 80), (113, 128), (129, 160), (257, 320), (4097, 5120)]
        {
            assert_eq!(size_class(size), class, "{size}");
        }
    }

    #[test]
    fn random_splices_agree_with_a_vector() {
        for seed in 0..if cfg!(miri) { 2 } else { 40 } {
            let mut prng = Prng::seeded(seed);
            let (mut block, mut model) = (Block::new(), Vec::new());
            let longest = [3, 40, 300, 2000][seed as usize % 4];
            for event in 0..if cfg!(miri) { 60 } else { 800 } {
                let start = prng.below(model.len() as u64 + 1) as usize;
                let rest = (model.len() - start) as u64;
                // Grows up to about the longest, then shrinks again.
                let most = if model.len() > longest { rest } else { rest.min(10) };
                let end = start + prng.below(most + 1) as usize;
                let mut part = || (0..prng.below(20)).map(|_| prng.next_u64() as u8).collect::<Vec<u8>>();
                let (one, two) = (part(), part());
                block.splice(start..end, &[&one, &two]);
                model.splice(start..end, one.into_iter().chain(two));
                assert!(block.bytes() == model, "seed {seed} event {event}");
                assert_eq!(block.memory() == 0, model.is_empty(), "seed {seed} event {event}");
                assert!(block.clone().bytes_mut() == model);
            }
        }
    }
}
