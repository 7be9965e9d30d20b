//! Lines, groups and generations: the memory that slots lie in.
//!
//! A **line** is 64 bytes: a head word and seven slots. A **group** is a home line and up to two spill lines that it has
//! claimed from its generation's arena: 21 slots. The home line's head is the group's header, a spill line's head is the
//! link to the next one (index + 1, 0 = none).
//!
//! ```text
//! header: [63:42] version22 | [41:27] first spill line + 1 | [26:24] overflow slot + 1 | [23] MOVED [22] FROZEN | [20:0] Try
//! ```
//! `version` counts reservations, commits and aborts of inserts; `Try(i)` means that an inserter owns slot i and its content
//! is invisible. `overflow slot` non-zero: the group is full for good, and that home slot is set-valued (`bundle.rs`).
//!
//! A **generation** is one allocation, `[head][groups][arena]`, and a handle to it is one word: the address of group 0 with
//! log2(groups) in the low six bits, so that finding a group costs one load of an 8 KiB array and no further indirection.

use super::word::Word;
use crate::base::sync::{AtomicU64, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::with_exposed_provenance_mut;

/// Slots of one line. Loom models shrink it, so that spills and overflow come within reach.
#[cfg(not(loom))]
pub(super) const LINE_SLOTS: usize = 7;
#[cfg(loom)]
pub(super) const LINE_SLOTS: usize = 2;
/// Lines of one group: home and spills.
#[cfg(not(loom))]
pub(super) const GROUP_LINES: usize = 3;
#[cfg(loom)]
pub(super) const GROUP_LINES: usize = 2;
/// Slots of a group with all its lines.
pub(super) const GROUP_SLOTS: usize = LINE_SLOTS * GROUP_LINES;

const SPILL_SHIFT: u32 = 27;
const SPILL_MASK: u64 = (1 << 15) - 1;
const OVERFLOW_SHIFT: u32 = 24;
const VERSION_ONE: u64 = 1 << 42;
const FROZEN: u64 = 1 << 22;
const MOVED: u64 = 1 << 23;

const _: () = assert!(GROUP_SLOTS <= 22 && LINE_SLOTS <= 7);

/// 64 bytes: the head (a group's header, or a spill line's link) and its slots.
#[repr(C)]
#[cfg_attr(not(loom), repr(align(64)))]
pub(super) struct Line {
    pub head: AtomicU64,
    pub slots: [AtomicU64; LINE_SLOTS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == 64);

/// A group header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHead(pub u64);

impl GroupHead {
    pub const FROZEN_BIT: u64 = FROZEN;
    pub const MOVED_BITS: u64 = MOVED | FROZEN;

    #[inline]
    pub fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }
    #[inline]
    pub fn is_moved(self) -> bool {
        self.0 & MOVED != 0
    }
    /// Is slot `i` owned by an inserter?
    #[inline]
    pub fn is_tried(self, i: usize) -> bool {
        self.0 >> i & 1 != 0
    }
    /// Index of the first spill line.
    #[inline]
    pub fn spill(self) -> Option<usize> {
        let field = self.0 >> SPILL_SHIFT & SPILL_MASK;
        (field != 0).then(|| field as usize - 1)
    }
    /// The set-valued home slot of a group that is full for good.
    #[inline]
    pub fn overflow(self) -> Option<usize> {
        let field = self.0 >> OVERFLOW_SHIFT & 7;
        (field != 0).then(|| field as usize - 1)
    }
    pub fn with_try(self, i: usize) -> GroupHead {
        GroupHead((self.0 | 1 << i).wrapping_add(VERSION_ONE))
    }
    pub fn without_try(self, i: usize) -> GroupHead {
        GroupHead((self.0 & !(1 << i)).wrapping_add(VERSION_ONE))
    }
    pub fn with_spill(self, line: usize) -> GroupHead {
        GroupHead((self.0 | (line as u64 + 1) << SPILL_SHIFT).wrapping_add(VERSION_ONE))
    }
    pub fn with_overflow(self, slot: usize) -> GroupHead {
        GroupHead((self.0 | (slot as u64 + 1) << OVERFLOW_SHIFT).wrapping_add(VERSION_ONE))
    }
}

/// The front of a generation's allocation.
pub(super) struct GenerationHead {
    /// The generation that this one is being moved into (packed handle), or 0.
    pub next: AtomicUsize,
    /// Next unit of the move that nobody has claimed.
    pub cursor: AtomicUsize,
    /// Groups that are MOVED.
    pub moved: AtomicUsize,
    /// Arena lines handed out.
    arena_used: AtomicUsize,
}

/// A handle to a generation: address of group 0 | log2(groups).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Generation(usize);

const ALIGN: usize = 64;
const HEAD_SIZE: usize = size_of::<GenerationHead>().next_multiple_of(ALIGN);

impl Generation {
    /// Allocates `1 << log2` groups, all lines UNINIT (`ready` = false, a move's destination) or EMPTY.
    pub fn allocate(log2: u32, ready: bool) -> Generation {
        let layout = Self::layout(log2);
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            handle_alloc_error(layout);
        }
        let head = GenerationHead {
            next: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            arena_used: AtomicUsize::new(0),
        };
        // SAFETY: the block starts with HEAD_SIZE bytes for the head, aligned to 64.
        unsafe { block.cast::<GenerationHead>().write(head) };
        // SAFETY: the head's room is part of the block.
        let lines = unsafe { block.add(HEAD_SIZE) };
        let generation = Generation(lines.expose_provenance() | log2 as usize);
        let start = if ready { Word::EMPTY } else { Word::UNINIT };
        if cfg!(loom) || ready {
            for index in 0..Self::line_count(log2) {
                let is_group = index < 1 << log2;
                let word = if is_group { start } else { Word::UNINIT };
                generation.write_line(index, word);
            }
        }
        generation
    }
    /// Fills a line that nobody else can reach yet.
    fn write_line(self, index: usize, word: Word) {
        let line = Line { head: AtomicU64::new(0), slots: std::array::from_fn(|_| AtomicU64::new(word.0)) };
        // SAFETY: `index` is within the allocation; a private generation (see callers).
        unsafe { self.line_ptr(index).write(line) };
    }
    /// A quarter of the groups, less what the head takes: head, groups and arena then fill a size class of the allocator
    /// (5/4 of a power of two) exactly.
    fn arena_count(log2: u32) -> usize {
        ((1usize << log2) / 4).saturating_sub(HEAD_SIZE / size_of::<Line>()).clamp(1, SPILL_MASK as usize - 1)
    }
    fn line_count(log2: u32) -> usize {
        (1 << log2) + Self::arena_count(log2)
    }
    fn layout(log2: u32) -> Layout {
        let size = HEAD_SIZE + Self::line_count(log2) * size_of::<Line>();
        match Layout::from_size_align(size, ALIGN) {
            Ok(layout) => layout,
            Err(_) => unreachable!("a shard's table is far below isize::MAX"),
        }
    }
    /// Bytes of the allocation.
    pub fn bytes(self) -> usize {
        Self::layout(self.log2()).size()
    }
    #[inline]
    pub fn pack(self) -> usize {
        self.0
    }
    /// # Safety
    /// `packed` came from `pack`, and the generation is alive for as long as the handle is used (it is retired through an
    /// epoch; handles live under a guard).
    #[inline]
    pub unsafe fn unpack(packed: usize) -> Generation {
        Generation(packed)
    }
    #[inline]
    pub fn log2(self) -> u32 {
        (self.0 & 63) as u32
    }
    #[inline]
    pub fn group_count(self) -> usize {
        1 << self.log2()
    }
    #[inline]
    fn line_ptr(self, index: usize) -> *mut Line {
        let base = with_exposed_provenance_mut::<Line>(self.0 & !63);
        debug_assert!(index < Self::line_count(self.log2()));
        // SAFETY: within the allocation: groups come first, the arena behind them.
        unsafe { base.add(index) }
    }
    #[inline]
    pub fn line<'g>(self, index: usize) -> &'g Line {
        // SAFETY: `unpack`'s contract keeps the block alive under the caller's guard; lines are atomics throughout.
        unsafe { &*self.line_ptr(index) }
    }
    #[inline]
    pub fn head<'g>(self) -> &'g GenerationHead {
        let base = with_exposed_provenance_mut::<u8>(self.0 & !63);
        // SAFETY: the head lies HEAD_SIZE bytes before group 0 in the same block.
        let head = unsafe { base.sub(HEAD_SIZE) };
        // SAFETY: written by `allocate`, alive as in `line`.
        unsafe { &*head.cast::<GenerationHead>() }
    }
    /// The generation that this one is being moved into.
    #[inline]
    pub fn next(self) -> Option<Generation> {
        // Acquire: pairs with the AcqRel CAS in `resize::start`: the new generation's memory is initialised.
        let packed = self.head().next.load(Ordering::Acquire);
        (packed != 0).then_some(Generation(packed))
    }
    /// A pointer that may be prefetched.
    #[inline]
    pub fn group_address(self, hash: u64) -> *const Line {
        self.line_ptr(self.group_of(hash))
    }
    /// The home group of a hash.
    #[inline]
    pub fn group_of(self, hash: u64) -> usize {
        hash as usize & (self.group_count() - 1)
    }
    /// Line `number` (1, 2) of the group whose header is `head`, if it has claimed so many.
    #[inline]
    pub fn spill_line<'g>(self, head: GroupHead, number: usize) -> Option<&'g Line> {
        let mut line = self.arena_line(head.spill()?);
        for _ in 1..number {
            // Acquire: pairs with the Release of the CAS that attached the line: its slots are EMPTY or filled.
            let link = line.head.load(Ordering::Acquire);
            line = self.arena_line((link as usize).checked_sub(1)?);
        }
        Some(line)
    }
    #[inline]
    pub fn arena_line<'g>(self, index: usize) -> &'g Line {
        self.line(self.group_count() + index)
    }
    /// Takes a line from the arena; None when it is used up. Its slots are UNINIT.
    pub fn take_arena_line(self) -> Option<usize> {
        let used = &self.head().arena_used;
        // Relaxed: only uniqueness of the index matters; contents are published by whoever attaches the line.
        if used.load(Ordering::Relaxed) >= Self::arena_count(self.log2()) {
            return None;
        }
        let index = used.fetch_add(1, Ordering::Relaxed);
        (index < Self::arena_count(self.log2())).then_some(index)
    }
    /// Frees the memory.
    ///
    /// # Safety
    /// Nobody can reach the generation any more; what its words pointed to lives elsewhere or is freed by the caller.
    pub unsafe fn free(self) {
        let base = with_exposed_provenance_mut::<u8>(self.0 & !63);
        // SAFETY: the block starts HEAD_SIZE before group 0.
        let block = unsafe { base.sub(HEAD_SIZE) };
        // SAFETY: allocated with the same layout; unreachable by the caller's promise.
        unsafe { dealloc(block, Self::layout(self.log2())) };
    }
}
